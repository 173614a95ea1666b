"""Geometry of a scan's patterns: the beam's drift, the size of a spot, the usable circle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.methods.registration.bad_pixels import find_bad_pixels
from napari_diffmap.methods.registration.spots import (
    Detector,
    PeakBatch,
    SpotFinder,
    smallest_step,
)
from napari_diffmap.scan.center import find_direct_beam

if TYPE_CHECKING:
    from napari_diffmap.methods.orientation.parameters import OrientationParameters
    from napari_diffmap.scan.scan import Scan

#: Patterns looked at before a run.
_SAMPLED = 256


@dataclass(frozen=True, eq=False)
class Geometry:
    """What must be known before patterns can be matched.

    Attributes
    ----------
    plane
        ``(3, 2)``: direct beam (ky, kx) = plane[0] + plane[1] · y + plane[2] · x.
    follow
        Measure each pattern's own beam about that plane.
    beam_radius
        Radius of the direct beam at half height, pixels.
    voltage_kv, pixel_size, q_min, q_max
        kV and 1/Å.
    spot_sigma
        Gaussian width of a spot, pixels.
    bad
        ``(ky, kx)`` bool hot and dead pixels; None when there are none.
    """

    plane: NDArray[np.float64]
    follow: bool
    beam_radius: float
    voltage_kv: float
    pixel_size: float
    q_min: float
    q_max: float
    spot_sigma: float
    bad: NDArray[np.bool_] | None = None

    def centers(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Direct beam of a block of positions, ``(ny, nx, 2)``."""
        y = np.arange(rows.start, rows.stop)[:, None, None]
        x = np.arange(columns.start, columns.stop)[None, :, None]
        return np.asarray(self.plane[0] + self.plane[1] * y + self.plane[2] * x)


def find_geometry(scan: Scan, parameters: OrientationParameters) -> Geometry:
    """Take the geometry from the parameters, the scan's calibration, or the patterns.

    Raises
    ------
    BadInputError
        If the scan has no patterns.
    CalibrationError
        If voltage or pixel size is unknown, or no direct beam is found.
    """
    scan.need_patterns("orientations need")
    calibration = scan.calibration
    voltage = parameters.voltage_kv or calibration.voltage_kv
    if voltage is None:
        raise CalibrationError(f"{scan.name} has no voltage: give it in kV, e.g. 200")
    if scan.peaks is not None and scan.peaks.calibrated:
        return _from_peaks(scan, parameters, voltage)
    pixel_size = parameters.pixel_size or calibration.pixel_size
    if pixel_size is None:
        raise CalibrationError(f"{scan.name} has no pixel size: give it in 1/Å per pixel")
    frames, places = sample_patterns(scan)
    mean = frames.mean(axis=0)
    bad = find_bad_pixels(frames) if parameters.hot_pixels else None
    entered = parameters.center or calibration.center
    center, radius = _beam(mean, entered)
    constant = np.zeros((3, 2))
    constant[0] = center
    plane = constant
    if parameters.descan != "none":
        measured = beam_positions(frames, np.tile(center, (len(frames), 1)), radius, bad)
        plane = fit_plane(measured, places, constant)
        if parameters.center or calibration.center_origin == "entered":
            # What the user entered is the centre of the mean pattern.
            middle = (np.array(scan.shape[:2]) - 1) / 2
            plane[0] += center - (plane[0] + plane[1] * middle[0] + plane[2] * middle[1])
    if parameters.q_max is None and not _on_detector(center, scan.shape[-2:]):
        raise CalibrationError(
            f"the centre ({center[0]:g}, {center[1]:g}) lies off the detector of {scan.shape[-2]}"
            f" × {scan.shape[-1]}: give (row, column) in pixels, or the outer limit too"
        )
    q_max = parameters.q_max or largest_circle(scan.shape[-2:], center) * pixel_size
    if q_max <= parameters.q_min:
        raise CalibrationError(
            f"the detector reaches {q_max:.3g} 1/Å only: check the pixel size and the inner limit"
        )
    shape = (int(scan.shape[-2]), int(scan.shape[-1]))
    guess = float(np.clip(0.75 * radius, 1.0, 6.0))
    step = smallest_step(scan.dtype)
    first = Detector(shape, pixel_size, parameters.q_min, q_max, guess, 6.0, bad=bad, quantum=step)
    spot_sigma = (
        0.75 * parameters.spot_radius
        if parameters.spot_radius
        else _spot_sigma(frames, places, plane, first)
    )
    return Geometry(
        plane=plane,
        follow=parameters.descan == "pattern",
        beam_radius=radius,
        voltage_kv=voltage,
        pixel_size=pixel_size,
        q_min=parameters.q_min,
        q_max=q_max,
        spot_sigma=float(np.clip(spot_sigma, 0.7, 12.0)),
        bad=bad,
    )


def _from_peaks(scan: Scan, parameters: OrientationParameters, voltage: float) -> Geometry:
    """A calibrated peak list needs neither centre nor pixel size."""
    peaks = scan.peaks
    if peaks is None or not len(peaks):
        raise BadInputError(f"{scan.name} holds no peaks")
    reach = float(np.percentile(np.hypot(peaks.ky, peaks.kx), 99.5))
    q_max = parameters.q_max or reach
    if q_max <= parameters.q_min:
        raise CalibrationError(
            f"the peaks reach {q_max:.3g} 1/Å only: check their calibration and the inner limit"
        )
    return Geometry(
        plane=np.zeros((3, 2)),
        follow=False,
        beam_radius=1.0,
        voltage_kv=voltage,
        pixel_size=parameters.pixel_size or scan.calibration.pixel_size or q_max / 64,
        q_min=parameters.q_min,
        q_max=q_max,
        spot_sigma=1.0,
    )


def _spot_sigma(
    frames: NDArray[np.float32],
    places: NDArray[np.float64],
    plane: NDArray[np.float64],
    detector: Detector,
) -> float:
    """`measure_spot_sigma` on a few dozen of the sampled patterns."""
    chosen = slice(None, None, max(1, len(frames) // 40))
    return measure_spot_sigma(frames[chosen], plane[0] + places[chosen] @ plane[1:], detector)


def measure_spot_sigma(
    frames: NDArray[np.float32],
    centers: NDArray[np.float64],
    detector: Detector,
) -> float:
    """Gaussian width (pixels) of the Bragg spots, from the mean shape of the clearest ones.

    The direct beam does not tell it: it may be saturated, or stand in a halo.

    Parameters
    ----------
    frames, centers
        ``(n, ky, kx)`` patterns and ``(n, 2)`` beam positions, pixels.
    detector
        Geometry; its `spot_sigma` is the first guess.
    """
    sigma = detector.spot_sigma
    beams = torch.as_tensor(centers, dtype=torch.float32)
    for _ in range(3):
        finder = SpotFinder(replace(detector, spot_sigma=sigma, threshold=6.0))
        peaks = finder.find(torch.as_tensor(frames), beams)
        measured = _mean_spot_radius(
            finder.clean(torch.as_tensor(frames)).numpy(), centers, peaks, detector, sigma
        )
        if measured is None:
            return sigma
        previous, sigma = sigma, float(np.clip(measured / 1.177, 0.7, 12.0))
        if abs(sigma - previous) < 0.1 * previous:
            break
    return sigma


def _mean_spot_radius(
    images: NDArray[np.float32],
    centers: NDArray[np.float64],
    peaks: PeakBatch,
    detector: Detector,
    sigma: float,
) -> float | None:
    """Radius (pixels) at half height of the median of the clearest spots; None without spots."""
    reach = int(np.ceil(max(4.0, 3.5 * sigma)))
    intensity = peaks.intensity.numpy()
    strongest = np.argsort(-intensity, axis=1)[:, :5]
    shapes = []
    for i, order in enumerate(strongest):
        for j in order[intensity[i, order] > 0]:
            y = round(float(peaks.ky[i, j]) / detector.pixel_size + centers[i, 0])
            x = round(float(peaks.kx[i, j]) / detector.pixel_size + centers[i, 1])
            window = images[i, y - reach : y + reach + 1, x - reach : x + reach + 1]
            if min(y, x) < reach or window.shape != (2 * reach + 1,) * 2:
                continue
            rim = np.concatenate((window[0], window[-1], window[:, 0], window[:, -1]))
            lifted = window - np.median(rim)
            if lifted.sum() > 0:
                shapes.append(lifted / np.sqrt((lifted**2).sum()))
    if len(shapes) < 5:
        return None
    shape = np.mean(shapes, axis=0)
    dy, dx = np.indices(shape.shape) - reach
    radius = np.hypot(dy, dx)
    profile = np.array(
        [shape[(radius >= r - 0.5) & (radius < r + 0.5)].mean() for r in range(reach)]
    )
    below = np.flatnonzero(profile < 0.5 * profile[0])
    if not below.size:
        return None
    last = below[0]
    step = (profile[last - 1] - 0.5 * profile[0]) / (profile[last - 1] - profile[last])
    return float(last - 1 + step)


def _on_detector(center: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    return all(-0.5 <= c <= size - 0.5 for c, size in zip(center, shape, strict=True))


def largest_circle(shape: tuple[int, ...], center: NDArray[np.float64]) -> float:
    """Radius (pixels) of the largest circle about the beam that the detector holds."""
    room = (center[0], shape[0] - 1 - center[0], center[1], shape[1] - 1 - center[1])
    return float(max(4.0, min(room)))


def sample_patterns(
    scan: Scan, most: int = _SAMPLED
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Patterns spread over the scan, ``(n, ky, kx)``, and their positions ``(n, 2)``.

    Raises
    ------
    BadInputError
        If none of them holds a frame.
    """
    ny, nx = scan.shape[:2]
    step = max(1, int(np.ceil(np.sqrt(ny * nx / most))))
    rows, columns = (
        slice(min(step // 2, ny - 1), None, step),
        slice(min(step // 2, nx - 1), None, step),
    )
    frames = np.asarray(scan.data[rows, columns].compute()).reshape(-1, *scan.shape[-2:])
    if np.iscomplexobj(frames):
        frames = np.abs(frames)
    y, x = np.meshgrid(np.arange(ny)[rows], np.arange(nx)[columns], indexing="ij")
    places = np.stack((y.ravel(), x.ravel()), axis=1).astype(np.float64)
    frames = np.nan_to_num(frames.astype(np.float32), posinf=0.0, neginf=0.0)
    good = frames.max(axis=(1, 2)) > frames.min(axis=(1, 2))
    if scan.missing is not None:
        good &= ~scan.missing[rows, columns].ravel()
    if not good.any():
        raise BadInputError(f"{scan.name}: none of the sampled positions holds a pattern")
    return frames[good], places[good]


def _beam(
    mean: NDArray[np.float32], center: tuple[float, float] | None
) -> tuple[NDArray[np.float64], float]:
    """Centre and radius of the direct beam of the mean pattern, pixels."""
    try:
        cy, cx, radius = find_direct_beam(mean.astype(np.float64))
    except CalibrationError:
        if center is None:
            raise
        return np.array(center), 1.5
    if center is None:
        return np.array((cy, cx)), radius
    away = np.hypot(cy - center[0], cx - center[1]) > max(4.0, 2 * radius)
    # The brightest blob is no beam where a stop covers it.
    return np.array(center), 1.5 if away else radius


def beam_positions(
    frames: NDArray[np.float32],
    centers: NDArray[np.float64],
    radius: float,
    bad: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Centre of mass of the direct beam of each pattern near a first guess.

    Parameters
    ----------
    frames
        ``(n, ky, kx)``.
    centers
        ``(n, 2)`` first guess, pixels.
    radius
        Radius of the beam, pixels.
    bad
        Pixels to leave out.

    Returns
    -------
    ndarray (n, 2)
        NaN where there is no beam.
    """
    from scipy import ndimage

    found = np.full((len(frames), 2), np.nan)
    reach = int(np.ceil(max(4.0, 2.5 * radius)))
    for i, frame in enumerate(frames):
        image = frame
        guess = centers[i].copy()
        if bad is not None:
            image = np.where(bad, ndimage.median_filter(frame, 3), frame)
        for _ in range(3):
            y0, x0 = (round(float(v)) for v in guess)
            ys = slice(max(0, y0 - reach), min(image.shape[0], y0 + reach + 1))
            xs = slice(max(0, x0 - reach), min(image.shape[1], x0 + reach + 1))
            window = image[ys, xs]
            if window.size < 9:
                break
            weight = np.clip(window - 0.25 * float(window.max()), 0, None)
            if not weight.sum() > 0:
                break
            wy, wx = ndimage.center_of_mass(weight)
            guess = np.array((ys.start + wy, xs.start + wx))
            found[i] = guess
    return found


def fit_plane(
    positions: NDArray[np.float64], places: NDArray[np.float64], fallback: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Robust plane through beam positions over the scan, ``(3, 2)``.

    Positions far from the plane (Bragg disks mistaken for the beam) lose their
    weight (Tukey's biweight); `fallback` is returned where nothing plausible is left.
    """
    good = np.isfinite(positions).all(axis=1)
    if good.sum() < 3:
        return fallback.copy()
    positions, places = positions[good], places[good]
    design = np.column_stack((np.ones(len(places)), places))
    free = np.ptp(places, axis=0) > 0
    columns = np.concatenate(([True], free & (len(places) >= 8)))
    plane = np.zeros((3, 2))
    plane[0] = np.median(positions, axis=0)
    for _ in range(12):
        rest = np.linalg.norm(positions - design @ plane, axis=1)
        scale = max(0.05, 1.4826 * float(np.median(rest)))
        weight = np.clip(1 - (rest / (4.7 * scale)) ** 2, 0, None) ** 2
        if weight.sum() < 3:
            return fallback.copy()
        root = np.sqrt(weight)[:, None]
        plane[columns] = np.linalg.lstsq(design[:, columns] * root, positions * root, rcond=None)[0]
    rest = np.linalg.norm(positions - design @ plane, axis=1)
    spread = float(np.median(rest))
    return plane if spread < 3.0 else fallback.copy()
