"""Rotation between scan and detector from the deflection of the beam.

The deflection by a thin sample is the gradient of its phase, which has no curl.  Seen
in a turned or mirrored frame it has one: the angle that leaves the least is the
rotation, up to half a turn, which the sign of the phase decides where it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.calibration import Calibration, polynomial_terms
from napari_diffmap.scan.tiles import iter_tiles

if TYPE_CHECKING:
    from napari_diffmap.scan.scan import Scan

#: Fewest rows and columns of a scan in which a curl means something.
_FEWEST = 8
#: The best frame must leave less than this share of the curl that the worst leaves,
#: and clearly less than the best frame of the other handedness.
_CLEAR, _HANDED = 0.8, 0.9
#: Skewness of the phase from which its sign is believed.
_SKEW = 0.5
#: An angle less certain than this (degrees) is refused.
_UNSURE = 5.0
_BLOCKS = 4
#: Positions averaged over (Gaussian sigma).
_BLUR = 1.0


@dataclass(frozen=True, eq=False)
class RotationFit:
    """Rotation of the scan against the detector.

    Attributes
    ----------
    rotation_deg, error_deg
        See `Calibration.rotation_deg`, and its standard error (jackknife over blocks).
    transposed
        See `Calibration.transposed`.
    curl, curl_before
        Curl left at this rotation, and at none, as shares of the whole change of the
        deflection (0: a pure gradient; 1: a pure rotation).
    handedness
        Curl left by the best frame of the other handedness.
    half_turn
        Whether the sign of the phase decided between this angle and its opposite.
    problem
        Why it must not be used; empty when it may.
    """

    rotation_deg: float
    error_deg: float
    transposed: bool
    curl: float
    curl_before: float
    handedness: float
    half_turn: bool
    problem: str = ""

    def in_words(self) -> str:
        """The residual in one line."""
        sure = "" if self.half_turn else "; 180° more is as likely: compare with a known sample"
        return (
            f"curl {100 * self.curl_before:.0f} % without it, {100 * self.curl:.0f} % with it;"
            f" ±{self.error_deg:.1f}°{sure}"
        )

    def applied_to(self, calibration: Calibration) -> Calibration:
        """The calibration with this rotation.

        Raises
        ------
        CalibrationError
            If it must not be used.
        """
        if self.problem:
            raise CalibrationError(self.problem)
        return calibration.with_rotation(
            self.rotation_deg, "measured", self.in_words(), transposed=self.transposed
        )


def deflection(
    scan: Scan, center: tuple[float, float], check: Callable[[], object] = lambda: None
) -> NDArray[np.float64]:
    """Centre of mass ``(y, x, 2)`` of every pattern about `center`, pixels; NaN where missing.

    Parameters
    ----------
    scan
        A 4D-STEM scan; all of it is read, tile by tile.
    center
        Direct beam (ky, kx), pixels.
    check
        Called for every tile; raises to stop.
    """
    ny, nx, height, width = scan.shape
    found = np.full((ny, nx, 2), np.nan)
    ky = np.arange(height) - center[0]
    kx = np.arange(width) - center[1]
    for tile in iter_tiles(scan):
        check()
        counts = np.asarray(tile.patterns)
        counts = np.abs(counts) if np.iscomplexobj(counts) else counts
        rows = counts.sum(axis=3, dtype=np.float64)
        columns = counts.sum(axis=2, dtype=np.float64)
        total = rows.sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            here = np.stack((rows @ ky, columns @ kx), axis=-1) / total[..., None]
        here[tile.missing] = np.nan
        found[tile.rows, tile.columns] = here
    return found


def fit_rotation(
    shift: NDArray[np.float64], steps: tuple[float, float] = (1.0, 1.0)
) -> RotationFit:
    """The rotation, and handedness, in which the deflection has the least curl.

    Parameters
    ----------
    shift
        ``(y, x, 2)`` deflection (ky, kx), any unit; NaN where it was not measured.  A
        plane over the scan (descan) is taken out here.
    steps
        Distance of neighbouring rows and columns.

    Raises
    ------
    CalibrationError
        If the scan is too small.
    """
    if min(shift.shape[:2]) < _FEWEST:
        raise CalibrationError(
            f"a rotation needs a scan of {_FEWEST} × {_FEWEST} positions at least, not"
            f" {shift.shape[0]} × {shift.shape[1]}: enter it"
        )
    field = _without_plane(shift)
    gradients = _gradients(field, steps)
    best = {swap: _least_curl(gradients, swap) for swap in (False, True)}
    swap = min(best, key=lambda s: best[s][1])
    angle, curl = best[swap]
    total = float(np.nansum(gradients**2)) or 1.0
    errors = _jackknife(gradients, swap, angle)
    rotation, decided = _resolved(field, angle, swap, steps)
    most = _curl(gradients, swap, angle + math.pi / 2) / total
    result = RotationFit(
        rotation_deg=math.degrees(rotation),
        error_deg=math.degrees(errors),
        transposed=swap,
        curl=curl / total,
        curl_before=_curl(gradients, False, 0.0) / total,
        handedness=best[not swap][1] / total,
        half_turn=decided,
    )
    return _judged(result, most)


def _judged(fit: RotationFit, most: float) -> RotationFit:
    if fit.curl > _CLEAR * most or fit.error_deg > _UNSURE:
        return replace(
            fit,
            problem="the deflection does not tell it (curl"
            f" {100 * fit.curl:.0f} % at best, {100 * most:.0f} % at worst,"
            f" ±{fit.error_deg:.0f}°): enter the rotation",
        )
    if fit.curl > _HANDED * fit.handedness:
        return replace(
            fit,
            problem="the deflection does not tell whether the detector is transposed: enter the"
            " rotation",
        )
    return fit


def _without_plane(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """The deflection less a robust plane over the scan, outliers limited."""
    ny, nx = shift.shape[:2]
    y, x = np.indices((ny, nx)).reshape(2, -1).astype(np.float64)
    design = np.column_stack((np.ones(ny * nx), polynomial_terms(y - ny / 2, x - nx / 2, 2)))
    flat = shift.reshape(-1, 2).copy()
    good = np.isfinite(flat).all(axis=1)
    if good.sum() < 4:
        raise CalibrationError("no deflection was measured: the patterns hold no counts")
    for _ in range(3):
        rest = flat - design @ np.linalg.lstsq(design[good], flat[good], rcond=None)[0]
        size = np.linalg.norm(rest, axis=1)
        good = np.isfinite(size) & (size <= 4 * np.nanmedian(size) + 1e-12)
    flat[~good] = np.nan
    rest = flat - design @ np.linalg.lstsq(design[good], flat[good], rcond=None)[0]
    return _smoothed(rest.reshape(shift.shape))


def _smoothed(field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise of neighbouring positions has as much curl as divergence: average over them."""
    from scipy import ndimage

    known: NDArray[np.bool_] = np.asarray(np.isfinite(field).all(axis=-1))
    weight = ndimage.gaussian_filter(known.astype(np.float64), _BLUR)
    filled = np.where(known[..., None], field, 0.0)
    mean = ndimage.gaussian_filter(filled, (_BLUR, _BLUR, 0)) / np.maximum(weight, 1e-9)[..., None]
    return np.where(weight[..., None] > 0.25, mean, np.nan)


def _gradients(field: NDArray[np.float64], steps: tuple[float, float]) -> NDArray[np.float64]:
    """``(y, x, 2, 2)``: change of the deflection (y, x) along scan (y, x)."""
    along_y = np.gradient(field, steps[0], axis=0)
    along_x = np.gradient(field, steps[1], axis=1)
    return np.stack((along_y, along_x), axis=-1)


def _curl(gradients: NDArray[np.float64], swap: bool, angle: float) -> float:
    """Sum of squared curl after turning the deflection back by `angle` into the scan."""
    g = gradients[..., ::-1, :] if swap else gradients
    cosine, sine = math.cos(angle), math.sin(angle)
    # v_scan = R(-angle) v_detector: x' = c x + s y, y' = -s x + c y.
    y_along_x = -sine * g[..., 1, 1] + cosine * g[..., 0, 1]
    x_along_y = cosine * g[..., 1, 0] + sine * g[..., 0, 0]
    return float(np.nansum((y_along_x - x_along_y) ** 2))


def _least_curl(gradients: NDArray[np.float64], swap: bool) -> tuple[float, float]:
    """Angle in -90 … 90° with the least curl, and that curl (exact: it is a sinusoid)."""
    at = [_curl(gradients, swap, angle) for angle in (0.0, math.pi / 4, math.pi / 2)]
    # curl(angle) = mean + a cos 2 angle + b sin 2 angle
    mean = (at[0] + at[2]) / 2
    a, b = (at[0] - at[2]) / 2, at[1] - mean
    angle = (math.atan2(b, a) + math.pi) / 2
    angle = (angle + math.pi / 2) % math.pi - math.pi / 2
    return angle, mean - math.hypot(a, b)


def _jackknife(gradients: NDArray[np.float64], swap: bool, angle: float) -> float:
    """Standard error of the angle from leaving out blocks of the scan."""
    offs = []
    for i in range(_BLOCKS):
        for j in range(_BLOCKS):
            part = gradients.copy()
            ny, nx = part.shape[:2]
            part[
                i * ny // _BLOCKS : (i + 1) * ny // _BLOCKS,
                j * nx // _BLOCKS : (j + 1) * nx // _BLOCKS,
            ] = np.nan
            other = _least_curl(part, swap)[0]
            offs.append((other - angle + math.pi / 2) % math.pi - math.pi / 2)
    n = _BLOCKS**2
    return math.sqrt((n - 1) / n * float(np.sum(np.square(offs))))


def _resolved(
    field: NDArray[np.float64], angle: float, swap: bool, steps: tuple[float, float]
) -> tuple[float, bool]:
    """The angle or its opposite: matter bends the beam towards itself.

    The beam is drawn to atoms (a positive potential), so the integrated deflection is
    bright and peaked where they are: its skewness is positive in the right frame.
    """
    v = field[..., ::-1] if swap else field
    cosine, sine = math.cos(angle), math.sin(angle)
    x = cosine * v[..., 1] + sine * v[..., 0]
    y = -sine * v[..., 1] + cosine * v[..., 0]
    phase = _integrated(np.nan_to_num(y), np.nan_to_num(x), steps)
    phase = phase - np.median(phase)
    spread = float(phase.std()) or 1.0
    skewness = float(((phase - phase.mean()) ** 3).mean()) / spread**3
    if skewness < 0:
        angle = angle + math.pi if angle <= 0 else angle - math.pi
    return angle, abs(skewness) > _SKEW


def _integrated(
    y: NDArray[np.float64], x: NDArray[np.float64], steps: tuple[float, float]
) -> NDArray[np.float64]:
    """Scalar field whose gradient comes nearest (Fourier, mirrored edges)."""
    y = np.block([[y, y[:, ::-1]], [-y[::-1], -y[::-1, ::-1]]])
    x = np.block([[x, -x[:, ::-1]], [x[::-1], -x[::-1, ::-1]]])
    fy = np.fft.fftfreq(y.shape[0], steps[0])[:, None]
    fx = np.fft.fftfreq(x.shape[1], steps[1])[None, :]
    square = fy**2 + fx**2
    square[0, 0] = 1.0  # the mean of a phase means nothing; the sum above it is 0
    spectrum = (fy * np.fft.fft2(y) + fx * np.fft.fft2(x)) / (2j * np.pi * square)
    half = np.fft.ifft2(spectrum).real
    return np.asarray(half[: y.shape[0] // 2, : x.shape[1] // 2])
