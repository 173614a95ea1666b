"""Geometry of a scan's patterns, as the matcher needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.methods.registration.bad_pixels import find_bad_pixels
from napari_diffmap.methods.registration.spot_size import measure_spot_sigma
from napari_diffmap.methods.registration.spots import Detector, smallest_step
from napari_diffmap.scan.beam import beam_positions
from napari_diffmap.scan.calibration import Calibration, Origin
from napari_diffmap.scan.center import find_direct_beam
from napari_diffmap.scan.descan import fit_descan
from napari_diffmap.scan.sampling import sample_patterns

if TYPE_CHECKING:
    from napari_diffmap.methods.orientation.parameters import OrientationParameters
    from napari_diffmap.scan.scan import Scan


@dataclass(frozen=True, eq=False)
class Geometry:
    """What must be known before patterns can be matched.

    Attributes
    ----------
    calibration
        Direct beam, its walk over the scan, ellipse, rotation; always with a centre.
    scan_shape
        Rows and columns of the scan.
    follow
        Measure each pattern's own beam about that place.
    beam_radius
        Radius of the direct beam at half height, pixels.
    voltage_kv, pixel_size, q_min, q_max
        kV and 1/Å.
    spot_sigma
        Gaussian width of a spot, pixels.
    bad
        ``(ky, kx)`` bool hot and dead pixels; None when there are none.
    step
        What one count adds to a pixel; 0 where values are no counts.
    matrix
        ``(2, 2)`` from detector offsets (ky, kx) to undistorted ones, pixels.
    """

    calibration: Calibration
    scan_shape: tuple[int, int]
    follow: bool
    beam_radius: float
    voltage_kv: float
    pixel_size: float
    q_min: float
    q_max: float
    spot_sigma: float
    bad: NDArray[np.bool_] | None = None
    step: float = 0.0
    matrix: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", self.calibration.undistortion)

    def centers(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Direct beam of a block of positions, ``(ny, nx, 2)``."""
        y = np.arange(rows.start, rows.stop)[:, None]
        x = np.arange(columns.start, columns.stop)[None, :]
        return self.calibration.centers(y, x, self.scan_shape)

    @property
    def plane(self) -> NDArray[np.float64]:
        """Direct beam ``(3 or 6, 2)`` as polynomial in row and column counted from 0.

        Coefficients of 1, y, x and, for a descan of second order, y², yx, x².
        """
        descan = np.asarray(self.calibration.descan or np.zeros((2, 2)))
        y0, x0 = ((n - 1) / 2 for n in self.scan_shape)
        linear = descan[:2].copy()
        if len(descan) > 2:
            yy, yx, xx = descan[2:]
            linear[0] -= 2 * y0 * yy + x0 * yx
            linear[1] -= 2 * x0 * xx + y0 * yx
        first = self.calibration.centers(0, 0, self.scan_shape)
        return np.vstack((first, linear, descan[2:]))

    @property
    def rotation_deg(self) -> float:
        """Direction of the scan's x axis on the (undistorted) detector, degrees."""
        return self.calibration.rotation_deg or 0.0

    @property
    def distorted(self) -> bool:
        """Whether detector offsets are more than scaled reciprocal vectors."""
        return self.calibration.ellipse is not None or self.calibration.transposed

    def to_pixels(self, k: ArrayLike, center: ArrayLike) -> NDArray[np.float64]:
        """Where reciprocal vectors ``(n, 2)`` (ky, kx) in 1/Å fall on the detector, pixels."""
        offsets = np.asarray(k, dtype=np.float64) / self.pixel_size
        return np.asarray(offsets @ np.linalg.inv(self.matrix).T + center)


def find_geometry(scan: Scan, parameters: OrientationParameters) -> Geometry:
    """Take the geometry from the parameters, the scan's calibration, or the patterns.

    A descan of the calibration is used as it is; without one it is measured here.

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
    bad = find_bad_pixels(frames) if parameters.hot_pixels else None
    center, radius = _beam(frames.mean(axis=0), parameters.center or calibration.center)
    shape = (int(scan.shape[-2]), int(scan.shape[-1]))
    used = _beam_calibration(scan, parameters, frames, places, center, radius, bad)
    if used.center is None:  # never: for the type checker
        raise CalibrationError(f"{scan.name} has no centre: give the centre by hand")
    center = np.array(used.center)
    if parameters.q_max is None and not _on_detector(center, shape):
        raise CalibrationError(
            f"the centre ({center[0]:g}, {center[1]:g}) lies off the detector of {shape[0]}"
            f" × {shape[1]}: give (row, column) in pixels, or the outer limit too"
        )
    q_max = parameters.q_max or largest_circle(shape, center) * pixel_size
    if q_max <= parameters.q_min:
        raise CalibrationError(
            f"the detector reaches {q_max:.3g} 1/Å only: check the pixel size and the inner limit"
        )
    guess = float(np.clip(0.75 * radius, 1.0, 6.0))
    step = smallest_step(scan.dtype, frames)
    first = Detector(shape, pixel_size, parameters.q_min, q_max, guess, 6.0, bad=bad, quantum=step)
    spot_sigma = (
        0.75 * parameters.spot_radius
        if parameters.spot_radius
        else sampled_spot_sigma(frames, used.centers(places[:, 0], places[:, 1], scan.shape), first)
    )
    return Geometry(
        calibration=used,
        scan_shape=(int(scan.shape[0]), int(scan.shape[1])),
        follow=parameters.descan == "pattern",
        beam_radius=radius,
        voltage_kv=voltage,
        pixel_size=pixel_size,
        q_min=parameters.q_min,
        q_max=q_max,
        spot_sigma=float(np.clip(spot_sigma, 0.7, 12.0)),
        bad=bad,
        step=step,
    )


def _beam_calibration(
    scan: Scan,
    parameters: OrientationParameters,
    frames: NDArray[np.float32],
    places: NDArray[np.float64],
    center: NDArray[np.float64],
    radius: float,
    bad: NDArray[np.bool_] | None,
) -> Calibration:
    """The scan's calibration with centre and descan as they are used."""
    calibration = scan.calibration
    entered = parameters.center is not None or calibration.center_origin == "entered"
    origin: Origin = "entered" if entered else "measured"
    still = calibration.with_center((float(center[0]), float(center[1])), origin)
    if parameters.descan == "none":
        return still.without("descan")
    if calibration.descan is not None:
        return still
    measured = beam_positions(frames, np.tile(center, (len(frames), 1)), radius, bad)
    try:
        fit = fit_descan(measured, places, scan.shape, 1)
    except CalibrationError:
        return still
    # What the user entered is the centre of the mean pattern.
    moved = fit.applied_to(calibration)
    return moved.with_center(still.center, "entered") if entered and still.center else moved


def _from_peaks(scan: Scan, parameters: OrientationParameters, voltage: float) -> Geometry:
    """A calibrated peak list needs neither centre nor pixel size, and is undistorted."""
    peaks = scan.peaks
    if peaks is None or not len(peaks):
        raise BadInputError(f"{scan.name} holds no peaks")
    reach = float(np.percentile(np.hypot(peaks.ky, peaks.kx), 99.5))
    q_max = parameters.q_max or reach
    if q_max <= parameters.q_min:
        raise CalibrationError(
            f"the peaks reach {q_max:.3g} 1/Å only: check their calibration and the inner limit"
        )
    # Whoever calibrated the list took ellipse and transposition out; the scan is still turned.
    kept = Calibration().with_center((0.0, 0.0), "file")
    if scan.calibration.rotation_deg is not None:
        kept = kept.with_rotation(scan.calibration.rotation_deg, scan.calibration.rotation_origin)
    return Geometry(
        calibration=kept,
        scan_shape=(int(scan.shape[0]), int(scan.shape[1])),
        follow=False,
        beam_radius=1.0,
        voltage_kv=voltage,
        pixel_size=parameters.pixel_size or scan.calibration.pixel_size or q_max / 64,
        q_min=parameters.q_min,
        q_max=q_max,
        spot_sigma=1.0,
    )


def sampled_spot_sigma(
    frames: NDArray[np.float32], centers: NDArray[np.float64], detector: Detector
) -> float:
    """`measure_spot_sigma` on a few dozen of the sampled patterns."""
    chosen = slice(None, None, max(1, len(frames) // 40))
    return measure_spot_sigma(frames[chosen], centers[chosen], detector)


def _on_detector(center: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    return all(-0.5 <= c <= size - 0.5 for c, size in zip(center, shape, strict=True))


def largest_circle(shape: tuple[int, ...], center: NDArray[np.float64]) -> float:
    """Radius (pixels) of the largest circle about the beam that the detector holds."""
    room = (center[0], shape[0] - 1 - center[0], center[1], shape[1] - 1 - center[1])
    return float(max(4.0, min(room)))


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
