"""What an answer predicts for one pattern: spots to draw, angles and zone axis to read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import gcd
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_diffmap.crystal.phases import CrystalPhase, load_phases
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.errors import CalibrationError
from napari_diffmap.maps.quaternions import bunge
from napari_diffmap.methods.orientation.frames import in_detector_frame
from napari_diffmap.methods.orientation.geometry import Geometry, largest_circle
from napari_diffmap.methods.orientation.method import OrientationMethod
from napari_diffmap.methods.orientation.parameters import OrientationParameters
from napari_diffmap.scan.center import find_direct_beam, mean_pattern

if TYPE_CHECKING:
    from napari_diffmap.scan.scan import Scan

#: Spots weaker than this share of the strongest are not drawn.
_FAINTEST = 0.02


@dataclass(frozen=True, eq=False)
class PredictedSpots:
    """Simulated spots of one answer.

    Attributes
    ----------
    ky, kx
        ``(n,)`` places in detector pixels, strongest first.
    intensity
        ``(n,)`` kinematic intensity, the strongest 1.
    hkl
        ``(n, 3)`` Miller indices.
    excitation
        ``(n,)`` excitation errors, 1/Å.
    """

    ky: NDArray[np.float64]
    kx: NDArray[np.float64]
    intensity: NDArray[np.float64]
    hkl: NDArray[np.int64]
    excitation: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ky)


@dataclass(frozen=True, eq=False)
class AnswerDescription:
    """One answer in numbers a user reads.

    Attributes
    ----------
    phase
        The crystal.
    phase_id
        Its index.
    score
        Normalised correlation; NaN when not known.
    euler_deg
        Bunge angles (φ1, Φ, φ2), degrees, as orix defines them (laboratory → crystal).
    zone_axis
        Low-index direction [u v w] nearest to the beam.
    zone_offset_deg
        Its angle to the beam, degrees.
    rotation
        ``(4,)`` unit quaternion.
    spots
        What it predicts.
    """

    phase: CrystalPhase
    phase_id: int
    score: float
    euler_deg: tuple[float, float, float]
    zone_axis: tuple[int, int, int]
    zone_offset_deg: float
    rotation: NDArray[np.float64]
    spots: PredictedSpots


def describe_pixel(
    scan: Scan,
    method: OrientationMethod | OrientationParameters,
    rotations: ArrayLike,
    phase_ids: ArrayLike,
    scores: ArrayLike | None = None,
    *,
    position: tuple[int, int] | None = None,
) -> tuple[AnswerDescription, ...]:
    """Describe the answers of one scan position, best first.

    Parameters
    ----------
    scan
        The scan, for geometry that the method does not hold.
    method
        The method that found them, or its parameters.
    rotations
        ``(n, 4)`` quaternions, laboratory → crystal.
    phase_ids
        ``(n,)`` indices of the phases; -1 is left out.
    scores
        ``(n,)`` if known.
    position
        Scan position (y, x); it places the direct beam where the beam drifts.

    Raises
    ------
    CalibrationError
        If voltage or pixel size is unknown.
    """
    if isinstance(method, OrientationParameters):
        phases, parameters, geometry = load_phases(method.phases), method, None
    else:
        phases, parameters, geometry = method.phases, method.parameters, method.geometry
    geometry = geometry or _plain_geometry(scan, parameters)
    y, x = position or ((scan.shape[0] - 1) // 2, (scan.shape[1] - 1) // 2)
    center = geometry.centers(slice(y, y + 1), slice(x, x + 1))[0, 0]
    if scan.peaks is not None:
        center = np.array(scan.calibration.center or center)
    quaternions = np.asarray(rotations, dtype=np.float64).reshape(-1, 4)
    ids = np.asarray(phase_ids).reshape(-1)
    known = np.full(len(ids), np.nan) if scores is None else np.asarray(scores).reshape(-1)
    return tuple(
        _describe(phases[int(i)], int(i), float(score), q, geometry, parameters, center)
        for q, i, score in zip(quaternions, ids, known, strict=True)
        if i >= 0
    )


def _plain_geometry(scan: Scan, parameters: OrientationParameters) -> Geometry:
    """Geometry from parameters and calibration alone; a missing centre is measured."""
    calibration = scan.calibration
    voltage = parameters.voltage_kv or calibration.voltage_kv
    pixel_size = parameters.pixel_size or calibration.pixel_size
    if voltage is None or pixel_size is None:
        raise CalibrationError(f"{scan.name}: give voltage (kV) and pixel size (1/Å) first")
    center = parameters.center or calibration.center
    if center is None:
        center = find_direct_beam(mean_pattern(scan))[:2]
    used = calibration.with_center((float(center[0]), float(center[1])), "measured")
    if scan.peaks is not None and scan.peaks.calibrated:
        used = used.without("ellipse").without("descan")
        if used.rotation_deg is not None:
            used = used.with_rotation(used.rotation_deg, used.rotation_origin)
    shape = (int(scan.shape[0]), int(scan.shape[1]))
    q_max = parameters.q_max or largest_circle(scan.shape[-2:], np.array(center)) * pixel_size
    return Geometry(used, shape, False, 1.5, voltage, pixel_size, parameters.q_min, q_max, 1.0)


def _describe(
    phase: CrystalPhase,
    number: int,
    score: float,
    rotation: NDArray[np.float64],
    geometry: Geometry,
    parameters: OrientationParameters,
    center: NDArray[np.float64],
) -> AnswerDescription:
    unit = rotation / np.linalg.norm(rotation)
    first, tilt, second = np.rad2deg(bunge(unit[None])[0])
    zone, offset = nearest_zone_axis(phase, unit)
    return AnswerDescription(
        phase=phase,
        phase_id=number,
        score=score,
        euler_deg=(float(first), float(tilt), float(second)),
        zone_axis=zone,
        zone_offset_deg=offset,
        rotation=unit,
        spots=predict_spots(phase, in_detector_frame(unit, geometry), geometry, parameters, center),
    )


def predict_spots(
    phase: CrystalPhase,
    rotation: NDArray[np.float64],
    geometry: Geometry,
    parameters: OrientationParameters,
    center: NDArray[np.float64],
) -> PredictedSpots:
    """Simulated spots of one orientation, strongest first, in detector pixels.

    The orientation is the detector's (see `frames`); ellipse and transposition are drawn in.
    """
    from napari_diffmap.crystal.simulate import spots

    found = reflections(phase, geometry.q_max)
    simulated = spots(
        found,
        rotation[None],
        geometry.voltage_kv,
        parameters.sigma_excitation,
        precession_deg=parameters.precession_deg,
    )
    kx, ky = simulated.kx[0].numpy().astype(float), simulated.ky[0].numpy().astype(float)
    intensity = simulated.intensity[0].numpy().astype(float)
    q = np.hypot(kx, ky)
    inside = (q >= geometry.q_min) & (q <= geometry.q_max)
    strongest = float(intensity[inside].max()) if inside.any() else 0.0
    chosen = np.flatnonzero(inside & (intensity > _FAINTEST * max(strongest, 1e-30)))
    chosen = chosen[np.argsort(-intensity[chosen], kind="stable")]
    pixels = geometry.to_pixels(np.stack((ky, kx), axis=1)[chosen], center)
    return PredictedSpots(
        ky=pixels[:, 0],
        kx=pixels[:, 1],
        intensity=intensity[chosen] / max(strongest, 1e-30),
        hkl=found.hkl[chosen],
        excitation=simulated.excitation[0].numpy().astype(float)[chosen],
    )


@lru_cache(maxsize=4)
def _low_indices(most: int) -> NDArray[np.int64]:
    grid = [v for v in product(range(-most, most + 1), repeat=3) if any(v) and gcd(*v) == 1]
    return np.array(grid)


def nearest_zone_axis(
    phase: CrystalPhase, rotation: NDArray[np.float64], most: int = 6
) -> tuple[tuple[int, int, int], float]:
    """Low-index direction nearest to the beam, and its angle to it in degrees.

    A simpler direction wins over a complicated one that is nearer by less than
    what the indices are larger: each step of the largest index weighs 0.7°.
    """
    a, b, c, d = rotation
    # O z, the beam in the crystal: third column of the rotation matrix.
    beam = np.array([2 * (b * d + a * c), 2 * (c * d - a * b), a * a - b * b - c * c + d * d])
    indices = _low_indices(most)
    directions = indices @ phase.base
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angle = np.rad2deg(np.arccos(np.clip(directions @ beam, -1, 1)))
    best = int(np.argmin(angle + 0.7 * np.abs(indices).max(axis=1)))
    u, v, w = (int(i) for i in indices[best])
    return (u, v, w), float(angle[best])
