"""What the fits need of a scan: beams, spots about them, and the shells of a phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.errors import CalibrationError
from napari_diffmap.methods.registration.bad_pixels import find_bad_pixels
from napari_diffmap.methods.registration.spot_size import measure_spot_sigma
from napari_diffmap.methods.registration.spots import Detector, SpotFinder, smallest_step
from napari_diffmap.scan.beam import BeamMethod, measure_beams
from napari_diffmap.scan.descan import DescanFit, fit_descan
from napari_diffmap.scan.rings import ring_points
from napari_diffmap.scan.sampling import sample_patterns
from napari_diffmap.scan.shell_model import Shells, SpotList

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.methods.calibration.parameters import CalibrationParameters
    from napari_diffmap.scan.scan import Scan

#: Patterns searched for spots between two looks at whether to stop.
_BATCH = 16
#: With fewer spots in all, rings are looked for.
_FEWEST_SPOTS = 20
#: A phase may have at most about so many reflections in reach.
_MOST_REFLECTIONS = 60_000


@dataclass(frozen=True, eq=False)
class SampledPatterns:
    """Patterns spread over a scan, and what was measured of them.

    Attributes
    ----------
    frames, places
        ``(n, ky, kx)`` and their scan positions ``(n, 2)``.
    bad
        Hot and dead pixels.
    beams
        ``(n, 2)`` measured direct beams, pixels.
    radius
        Radius of the direct beam, pixels.
    method
        How they were measured.
    descan
        The beam's walk fitted to them.
    """

    frames: NDArray[np.float32]
    places: NDArray[np.float64]
    bad: NDArray[np.bool_] | None
    beams: NDArray[np.float64]
    radius: float
    method: BeamMethod
    descan: DescanFit


def sample(scan: Scan, parameters: CalibrationParameters) -> SampledPatterns:
    """Read patterns, measure their direct beams and fit the beam's walk.

    Raises
    ------
    CalibrationError
        If there is no common direct beam.
    """
    scan.need_patterns("a calibration needs")
    frames, places = sample_patterns(scan, parameters.patterns)
    bad = find_bad_pixels(frames)
    calibration = scan.calibration
    guess = calibration.center if calibration.center_origin == "entered" else None
    beams, radius, method = measure_beams(frames, guess, parameters.beam, bad)
    order = parameters.descan_order
    fit = fit_descan(beams, places, scan.shape, "auto" if order == "auto" else int(order))
    return SampledPatterns(frames, places, bad, beams, radius, method, fit)


def find_spots(
    scan: Scan,
    sampled: SampledPatterns,
    parameters: CalibrationParameters,
    check: Callable[[], object] = lambda: None,
) -> SpotList:
    """Spots, or points on rings, about the fitted beam, in detector pixels.

    Raises
    ------
    CalibrationError
        If there are none.
    """
    centers = sampled.beams - sampled.descan.residuals
    # A pattern without a beam of its own has the place that the walk gives it.
    nowhere = ~np.isfinite(centers).all(axis=1)
    if nowhere.any():
        centers = centers.copy()
        centers[nowhere] = np.nanmedian(centers, axis=0)
    shape = (int(scan.shape[-2]), int(scan.shape[-1]))
    inner = parameters.inner_radius or max(4.0, 2.5 * sampled.radius)
    detector = Detector(
        shape=shape,
        pixel_size=1.0,
        q_min=inner,
        q_max=float(np.hypot(*shape)),
        spot_sigma=float(np.clip(0.75 * sampled.radius, 1.0, 6.0)),
        threshold=parameters.spot_threshold,
        bad=sampled.bad,
        quantum=smallest_step(scan.dtype, sampled.frames),
    )
    chosen = slice(None, None, max(1, len(sampled.frames) // 40))
    sigma = measure_spot_sigma(sampled.frames[chosen], centers[chosen], detector)
    if parameters.features == "rings":
        return ring_points(sampled.frames, centers, inner, parameters.spot_threshold, sampled.bad)
    finder = SpotFinder(
        Detector(**{**detector.__dict__, "spot_sigma": float(np.clip(sigma, 0.7, 12.0))})
    )
    offsets, pattern, trust = [], [], []
    for start in range(0, len(sampled.frames), _BATCH):
        check()
        part = slice(start, start + _BATCH)
        found = finder.find(
            torch.as_tensor(sampled.frames[part]),
            torch.as_tensor(centers[part], dtype=torch.float32),
        )
        which, place = torch.nonzero(found.intensity > 0, as_tuple=True)
        offsets.append(torch.stack((found.ky, found.kx), dim=-1)[which, place].numpy())
        pattern.append(which.numpy() + start)
        trust.append(found.trust[which, place].numpy())
    if parameters.features == "auto" and sum(map(len, offsets)) < _FEWEST_SPOTS:
        points = ring_points(sampled.frames, centers, inner, bad=sampled.bad)
        if len(points) > _FEWEST_SPOTS:
            return points
    if not sum(map(len, offsets)):
        raise CalibrationError(
            f"no spots found in {len(sampled.frames)} patterns: lower the spot threshold"
        )
    return SpotList(
        np.concatenate(offsets).astype(np.float64),
        np.concatenate(pattern).astype(np.int64),
        np.concatenate(trust).astype(np.float64),
    )


def listed_spots(scan: Scan, most: int) -> SpotList:
    """Spots of a measured peak list in pixels about its own centre.

    Those of a calibrated list are divided by the stated pixel size.

    Raises
    ------
    CalibrationError
        If the pixel size of a calibrated list, or the centre of another, is unknown.
    """
    peaks, calibration = scan.peaks, scan.calibration
    if peaks is None or not len(peaks):
        raise CalibrationError(f"{scan.name} holds no peaks")
    if calibration.pixel_size is None and peaks.calibrated:
        raise CalibrationError(f"{scan.name} has no pixel size: give it in 1/Å per pixel")
    unit = calibration.pixel_size or 1.0 if peaks.calibrated else 1.0
    rows, columns = scan.shape[:2]
    step = max(1, round(float(np.sqrt(rows * columns / most))))
    offsets, pattern = [], []
    for number, (y, x) in enumerate(np.ndindex(-(-rows // step), -(-columns // step))):
        here = np.asarray(peaks.at(y * step, x * step), dtype=np.float64)
        offsets.append(here[here[:, 2] > 0, :2] / unit)
        pattern.append(np.full(len(offsets[-1]), number))
    every = np.concatenate(offsets)
    return SpotList(every, np.concatenate(pattern).astype(np.int64), np.ones(len(every)))


def shells_of(phase: CrystalPhase, reach: float) -> Shells:
    """Shells of a phase up to `reach` (1/Å), fewer where there would be too many.

    A shell's weight is how often a random orientation shows a spot of it: the number of
    its reflections over their length (the share of a sphere near the Ewald sphere), and
    the fourth root of their strength for what a detector picks up.
    """
    most = (_MOST_REFLECTIONS / (4 / 3 * np.pi * phase.volume)) ** (1 / 3)
    found = reflections(phase, float(min(reach, most)))
    lengths = np.round(found.lengths, 6)
    unique, which = np.unique(lengths, return_inverse=True)
    strength = (found.amplitude2 / found.amplitude2.max()) ** 0.25
    weight = np.bincount(which.reshape(-1), strength / lengths).astype(np.float64)
    return Shells(unique, weight)
