"""The answers of a map at one position: numbers, words and simulated spots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.ambiguity import AMBIGUITY
from napari_diffmap.maps.quaternions import rotate_vector

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.crystal.reflections import Reflections
    from napari_diffmap.maps import OrientationMap
    from napari_diffmap.methods.orientation import OrientationMethod
    from napari_diffmap.scan.scan import Scan

#: A simulated spot weaker than this share of the strongest is not drawn.
_FAINT = 0.01
#: Largest index of a zone axis: cells as long as LiNiO2's need it near their basal plane.
_LARGEST_INDEX = 15
#: The simplest direction within the first of these angles that holds one, degrees.
_CLOSE = (2.0, 5.0)
_MOST_SPOTS = 150


@dataclass(frozen=True)
class Answer:
    """One answer at one position.

    Attributes
    ----------
    phase
        Name of the phase.
    color
        Its colour.
    euler
        Bunge Euler angles (φ1, Φ, φ2) in degrees, laboratory → crystal.
    zone
        Lattice direction nearest to the beam, e.g. ``[1 0 1]``.
    zone_off
        Angle between it and the beam, degrees.
    score
        Score of the matcher.
    """

    phase: str
    color: str
    euler: tuple[float, float, float]
    zone: str
    zone_off: float
    score: float


def answers_at(found: OrientationMap, y: int, x: int) -> list[Answer]:
    """All answers at a position, best first; none where nothing was mapped."""
    from orix.quaternion import Orientation

    answers = []
    for rank in range(found.n_best):
        number = int(found.phase_ids[y, x, rank])
        if number < 0:
            continue
        phase = found.phases[number]
        rotation = found.rotations[y, x, rank].astype(np.float64)
        euler = Orientation(rotation[np.newaxis]).to_euler(degrees=True)[0]
        beam = rotate_vector(rotation[np.newaxis], (0.0, 0.0, 1.0))[0]
        zone, off = nearest_zone(beam, np.asarray(phase.orix.structure.lattice.base))
        answers.append(
            Answer(
                phase.name,
                phase.color,
                (float(euler[0]), float(euler[1]), float(euler[2])),
                zone,
                off,
                float(found.scores[y, x, rank]),
            )
        )
    return answers


@lru_cache(maxsize=1)
def _directions() -> NDArray[np.int64]:
    """Lattice directions without common divisor, one of each pair of opposites."""
    n = _LARGEST_INDEX
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1),) * 3, indexing="ij"), axis=-1)
    every = grid.reshape(-1, 3)
    every = every[np.any(every != 0, axis=1)]
    every = every[np.gcd.reduce(every, axis=1) == 1]
    first = every[np.arange(len(every)), np.argmax(every != 0, axis=1)]
    every = every[first > 0]
    order = np.lexsort((np.abs(every).sum(axis=1), np.abs(every).max(axis=1)))
    return every[order]


def nearest_zone(beam: NDArray[np.floating], base: NDArray[np.floating]) -> tuple[str, float]:
    """The simple lattice direction nearest to the beam.

    Parameters
    ----------
    beam
        Direction in the crystal Cartesian frame.
    base
        Cell vectors a, b, c as rows, same frame.

    Returns
    -------
    text, degrees
        ``[u v w]`` (the sign does not matter for a zone axis) and how far off it
        is: the simplest direction within 2°, else within 5°, else the nearest.
    """
    directions = _directions()
    cartesian = directions @ base
    cosine = np.abs(cartesian @ beam) / (np.linalg.norm(cartesian, axis=1) * np.linalg.norm(beam))
    angle = np.rad2deg(np.arccos(np.clip(cosine, 0, 1)))
    best = int(np.argmin(angle))
    for limit in _CLOSE:
        close = np.flatnonzero(angle <= limit)
        if close.size:
            best = int(close[0])
            break
    return "[" + " ".join(str(i) for i in directions[best]) + "]", float(angle[best])


def doubt_line(found: OrientationMap, y: int, x: int) -> str:
    """Reliability and cause of doubt at a position, in words."""
    code = int(found.ambiguity[y, x])
    reliability = float(found.reliability[y, x])
    sure = "" if np.isnan(reliability) else f"reliability {100 * reliability:.0f} %"
    cause = "" if code == 0 else f"in doubt: {AMBIGUITY[code]}"
    return " · ".join(part for part in (sure, cause) if part)


def beam_center(scan: Scan, method: OrientationMethod | None, y: int, x: int) -> Any:
    """Direct beam of one position: as followed by the matcher, else the scan's centre."""
    if method is not None and method.geometry is not None:
        return method.geometry.centers(slice(y, y + 1), slice(x, x + 1))[0, 0]
    return scan.calibration.center


def simulated_spots(
    scan: Scan,
    phase: CrystalPhase,
    rotation: NDArray[np.floating],
    center: tuple[float, float],
    *,
    sigma: float = 0.02,
    precession_deg: float = 0.0,
) -> tuple[NDArray[np.float64], list[str]]:
    """Spots of an orientation on the detector.

    Parameters
    ----------
    scan
        Gives pixel size, voltage and detector.
    phase
        With its structure.
    rotation
        ``(4,)`` unit quaternion, laboratory → crystal.
    center
        Direct beam (ky, kx), pixels.
    sigma, precession_deg
        Width of the excitation error (1/Å) and precession angle (degrees).

    Returns
    -------
    pixels, hkl
        ``(n, 2)`` positions (ky, kx) and their Miller indices, strongest first.
    """
    from napari_diffmap.crystal.simulate import spots

    size, voltage = scan.calibration.pixel_size, scan.calibration.voltage_kv
    if size is None or voltage is None:
        return np.zeros((0, 2)), []
    shape = np.asarray(scan.shape[2:])
    reach = float(np.hypot(*np.maximum(center, shape - 1 - np.asarray(center)))) * size
    every = _reflections(phase, round(reach, 3))
    found = spots(every, rotation[np.newaxis], voltage, sigma, precession_deg=precession_deg)
    pixels = np.stack((found.ky[0].numpy(), found.kx[0].numpy()), axis=1) / size + center
    intensity = found.intensity[0].numpy()
    inside = np.all((pixels >= -0.5) & (pixels <= shape - 0.5), axis=1)
    strong = np.flatnonzero(inside & (intensity > _FAINT * intensity.max(initial=0)))
    order = strong[np.argsort(-intensity[strong])][:_MOST_SPOTS]
    labels = [" ".join(str(i) for i in every.hkl[n]) for n in order]
    return pixels[order].astype(np.float64), labels


@lru_cache(maxsize=16)
def _reflections(phase: CrystalPhase, g_max: float) -> Reflections:
    from napari_diffmap.crystal.reflections import reflections

    return reflections(phase, g_max)


def measured_spots(
    scan: Scan, method: OrientationMethod | None, y: int, x: int
) -> NDArray[np.float64] | None:
    """Measured spots of one position, ``(n, 2)`` detector pixels; None when not known.

    Those of the peak list, else those the matcher found.
    """
    size, center = scan.calibration.pixel_size, scan.calibration.center
    if scan.peaks is not None and center is not None:
        unit = size if scan.peaks.calibrated else 1.0
        if unit is None:
            return None
        return np.asarray(scan.peaks.at(y, x)[:, :2], dtype=np.float64) / unit + center
    if method is None or method.geometry is None or size is None:
        return None
    from napari_diffmap.scan.tiles import Tile

    frame = np.asarray(scan.data[y : y + 1, x : x + 1].compute(scheduler="synchronous"))
    gap = np.zeros((1, 1), dtype=bool)
    if scan.missing is not None:
        gap = scan.missing[y : y + 1, x : x + 1]
    peaks, _ = method.find_spots(Tile(slice(y, y + 1), slice(x, x + 1), frame, gap))
    kept = (peaks.intensity[0] > 0).cpu().numpy()
    k = np.stack((peaks.ky[0].cpu().numpy(), peaks.kx[0].cpu().numpy()), axis=1)[kept]
    return np.asarray(k, dtype=np.float64) / size + beam_center(scan, method, y, x)


def with_structure(phase: Any, known: Sequence[CrystalPhase]) -> CrystalPhase | None:
    """The phase with its atoms: itself, or the one of that name among those loaded."""
    if hasattr(phase, "elements"):
        return phase  # type: ignore[no-any-return]
    return next((other for other in known if other.name == phase.name), None)
