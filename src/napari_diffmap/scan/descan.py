"""Robust fit of the beam's walk over the scan, with what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.calibration import Calibration, Origin, polynomial_terms

#: Terms of each order of the polynomial besides the constant.
_TERMS = {0: 0, 1: 2, 2: 5}
#: Tukey's biweight: residuals beyond so many robust sigmas have no weight.
_CUT = 4.7
#: No beam is measured better than this, pixels.
_FINEST = 0.03
#: Trial subsets of the first, coarse fit.
_TRIALS = 80


@dataclass(frozen=True, eq=False)
class DescanFit:
    """A polynomial through beam positions.

    Attributes
    ----------
    center
        Beam in the middle of the scan (ky, kx), pixels.
    coefficients
        ``(0, 2 or 5; 2)``: see `Calibration.descan`.
    places, residuals
        ``(n, 2)`` scan positions, and measured less fitted beam in pixels.
    inliers
        ``(n,)`` bool: positions that the fit counts on.
    """

    center: tuple[float, float]
    coefficients: NDArray[np.float64]
    places: NDArray[np.float64]
    residuals: NDArray[np.float64]
    inliers: NDArray[np.bool_]

    @property
    def order(self) -> int:
        """Order of the polynomial: 0, 1 or 2."""
        return next(k for k, terms in _TERMS.items() if terms == len(self.coefficients))

    @property
    def rms(self) -> float:
        """Root mean square distance (pixels) of the inliers from the fit."""
        return float(np.sqrt((self.residuals[self.inliers] ** 2).sum(axis=1).mean()))

    @property
    def inlier_share(self) -> float:
        """Share of the patterns whose beam lies on the fit."""
        return float(self.inliers.mean())

    @property
    def walk(self) -> float:
        """Largest distance (pixels) between the beam and its place in the middle."""
        moved = self._moved(self.places)
        return float(np.linalg.norm(moved, axis=1).max()) if len(moved) else 0.0

    def _moved(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        terms = _terms(places - self._middle, len(self.coefficients))
        return np.asarray(terms @ self.coefficients)

    #: Middle of the scan, set by the fit.
    _middle: NDArray[np.float64] | float = 0.0

    def in_words(self) -> str:
        """The residual in one line."""
        used = int(self.inliers.sum())
        return (
            f"RMS {self.rms:.2f} px on {used} of {len(self.inliers)} patterns,"
            f" order {self.order}, walk {self.walk:.1f} px"
        )

    def residual_map(self, scan_shape: tuple[int, int]) -> NDArray[np.float32]:
        """Distance from the fit (pixels) on the scan; NaN where it was not measured."""
        image = np.full(scan_shape, np.nan, dtype=np.float32)
        y, x = self.places.astype(int).T
        image[y, x] = np.linalg.norm(self.residuals, axis=1)
        return image

    def applied_to(self, calibration: Calibration, origin: Origin = "measured") -> Calibration:
        """The calibration with this centre and descan."""
        words = self.in_words()
        done = calibration.with_center(self.center, origin, words)
        if not len(self.coefficients):
            return done.without("descan")
        rows = tuple((float(y), float(x)) for y, x in self.coefficients)
        return done.with_descan(rows, origin, words)


def fit_descan(
    positions: NDArray[np.float64],
    places: NDArray[np.float64],
    scan_shape: tuple[int, ...],
    order: Literal["auto"] | int = "auto",
) -> DescanFit:
    """Fit the beam's place over the scan, deaf to Bragg disks mistaken for it.

    A coarse fit by least median of squares over small subsets finds what most
    patterns agree on; Tukey's biweight refines it.  With ``auto`` a higher order is
    taken only where it explains more than its coefficients cost (Schwarz's
    criterion) and moves the beam by a tenth of a pixel at least.

    Parameters
    ----------
    positions
        ``(n, 2)`` measured beams (ky, kx), pixels; NaN where there was none.
    places
        ``(n, 2)`` scan positions (row, column).
    scan_shape
        Rows and columns of the scan.
    order
        0: the beam stands still; 1: a plane; 2: a paraboloid; or ``auto``.

    Raises
    ------
    CalibrationError
        If less than a third of the patterns agree on any beam.
    """
    if order not in ("auto", 0, 1, 2):
        raise CalibrationError(f"a descan of order {order} is not known: give auto, 0, 1 or 2")
    finite = np.isfinite(positions).all(axis=1)
    if not finite.any():
        raise CalibrationError("no pattern has a direct beam: give the centre by hand")
    middle = (np.asarray(scan_shape[:2], dtype=np.float64) - 1) / 2
    wanted = (0, 1, 2) if order == "auto" else (int(order),)
    fits = [_fit(positions[finite], places[finite] - middle, _TERMS[k]) for k in wanted]
    constant, coefficients = _choose(fits, positions[finite], places[finite] - middle)
    terms = _terms(places - middle, len(coefficients))
    residuals = positions - constant - terms @ coefficients
    scale = _scale(residuals[finite])
    with np.errstate(invalid="ignore"):
        inliers = np.linalg.norm(residuals, axis=1) < _CUT * scale
    if inliers.sum() < max(1, len(places) / 3) or scale > 4.0:
        raise CalibrationError(
            f"the direct beam of only {int(inliers.sum())} of {len(places)} patterns lies in one"
            " place: measure it by inversion or give the centre by hand"
        )
    return DescanFit(
        (float(constant[0]), float(constant[1])), coefficients, places, residuals, inliers, middle
    )


def _terms(places: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return polynomial_terms(places[:, 0], places[:, 1], count)


def _fit(
    positions: NDArray[np.float64], places: NDArray[np.float64], terms: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Constant ``(2,)`` and coefficients ``(terms, 2)`` of one order."""
    half = np.maximum(np.abs(places).max(axis=0), 0.5)
    scaled = _terms(places / half, terms)
    # A term that does not vary over these positions cannot be told from the constant.
    free = np.ptp(scaled, axis=0) > 1e-9 if terms else np.zeros(0, dtype=bool)
    _drop_dependent(scaled, free)
    design = np.column_stack((np.ones(len(places)), scaled[:, free]))
    if len(places) < 3 * design.shape[1]:
        free[:] = False
        design = design[:, :1]
    solution = _robust(design, positions)
    coefficients = np.zeros((terms, 2))
    coefficients[free] = solution[1:]
    unit = polynomial_terms(half[0], half[1], terms)
    return solution[0], coefficients / (unit[:, None] if terms else 1.0)


def _drop_dependent(scaled: NDArray[np.float64], free: NDArray[np.bool_]) -> None:
    """Give up terms that the ones before them already span (a scan of one line)."""
    kept = [np.ones(len(scaled))]
    for i in np.flatnonzero(free):
        basis = np.column_stack(kept)
        rest = scaled[:, i] - basis @ np.linalg.lstsq(basis, scaled[:, i], rcond=None)[0]
        if np.abs(rest).max() > 1e-6:
            kept.append(scaled[:, i])
        else:
            free[i] = False


def _robust(design: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least median of squares over subsets, then Tukey's biweight; ``(columns, 2)``."""
    rng = np.random.default_rng(0)
    size = design.shape[1]
    best, least = np.zeros((size, 2)), np.inf
    best[0] = np.median(values, axis=0)
    least = float(np.median(np.linalg.norm(values - design @ best, axis=1)))
    for _ in range(_TRIALS if len(values) > size else 0):
        chosen = rng.choice(len(values), size + (size > 1), replace=False)
        trial = np.linalg.lstsq(design[chosen], values[chosen], rcond=None)[0]
        median = float(np.median(np.linalg.norm(values - design @ trial, axis=1)))
        if median < least:
            best, least = trial, median
    for _ in range(20):
        rest = values - design @ best
        scale = _scale(rest)
        share = np.clip(1 - ((rest**2).sum(axis=1) / (_CUT * scale) ** 2), 0, None)
        if np.count_nonzero(share) < size:
            break
        new = np.linalg.lstsq(design * share[:, None], values * share[:, None], rcond=None)[0]
        done = np.abs(design @ (new - best)).max() < 1e-4
        best = new
        if done:
            break
    return best


def _scale(residuals: NDArray[np.float64]) -> float:
    """Robust sigma of one coordinate from distances in the plane, pixels."""
    # The median of a Rayleigh distribution is 1.1774 sigma.
    distance = np.linalg.norm(residuals, axis=1)
    return max(_FINEST, float(np.median(distance)) / 1.1774)


def _choose(
    fits: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    positions: NDArray[np.float64],
    places: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The order that earns its coefficients (Schwarz's criterion on clipped squares)."""
    rests = [positions - constant - _terms(places, len(c)) @ c for constant, c in fits]
    clip = 3 * min(_scale(rest) for rest in rests)
    best, chosen = np.inf, 0
    for i, (rest, (_, coefficients)) in enumerate(zip(rests, fits, strict=True)):
        squares = np.minimum((rest**2).sum(axis=1), clip**2).sum() + 1e-12
        cost = 2 * len(rest) * np.log(squares) + 2 * len(coefficients) * np.log(2 * len(rest))
        moved = _terms(places, len(coefficients)) @ coefficients
        if i and np.linalg.norm(moved - moved.mean(axis=0), axis=1).max() < 0.1:
            continue
        if cost < best:
            best, chosen = cost, i
    return fits[chosen]
