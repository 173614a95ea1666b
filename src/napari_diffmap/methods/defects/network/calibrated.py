"""Finds from maps of probability: peaks, sub-pixel places, probabilities that mean it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.network.inputs import SPACING

#: Finds of one kind are at least this far apart, in lattice constants.
APART: Final = 0.4
#: A find within this distance of a true defect is that defect, in lattice constants.
TOLERANCE: Final = 0.38
#: Lower peaks are not looked at.
_LOWEST = 0.02
_KINDS = ("lacking", "excess")


@dataclass(frozen=True, eq=False)
class Peaks:
    """Finds of one image, best first.

    Attributes
    ----------
    places
        ``(n, 2)`` float64 y, x in pixels.
    excess
        ``(n,)`` bool: too much intensity, else too little.
    height
        ``(n,)`` float32: mean of what the members say at the peak, 0–1.
    spread
        ``(n,)`` float32: standard deviation of the members there.
    probability
        ``(n,)`` float32: calibrated, that there is a defect.
    error
        ``(n,)`` float32: standard deviation of each coordinate, pixels; NaN where not calibrated.
    """

    places: NDArray[np.float64]
    excess: NDArray[np.bool_]
    height: NDArray[np.float32]
    spread: NDArray[np.float32]
    probability: NDArray[np.float32]
    error: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.places)

    def take(self, index: NDArray[np.bool_] | NDArray[np.integer]) -> Peaks:
        """Some of them."""
        return Peaks(*(getattr(self, field.name)[index] for field in fields(self)))

    def zoomed(self, zoom: float) -> Peaks:
        """The same in an image with `zoom` times as many pixels along each side."""
        return replace(self, places=self.places * zoom, error=(self.error * zoom).astype("f4"))


def peaks(
    probability: NDArray[np.float32],
    spread: NDArray[np.float32] | None = None,
    spacing: float = SPACING,
    calibration: Mapping[str, float] | None = None,
    lowest: float = _LOWEST,
) -> Peaks:
    """Local maxima of the maps of lacking and of excess intensity.

    Parameters
    ----------
    probability, spread
        ``(2, Y, X)`` mean and standard deviation of the members.
    spacing
        Lattice constant in pixels.
    calibration
        As `calibrated_from` gives it; without it a peak's height is its probability.
    lowest
        Least calibrated probability of what is given.
    """
    numbers = dict(calibration or {})
    parts: list[tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32], bool]] = []
    for kind in range(2):
        places, height = _maxima(probability[kind], spacing)
        at = tuple(np.rint(places).astype(int).T)
        apart = np.zeros(len(places), np.float32) if spread is None else spread[kind][at]
        parts.append((places, height, apart.astype(np.float32), bool(kind)))
    excess = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
    height = np.concatenate([part[1] for part in parts])
    said = _sigmoid(
        np.where(
            excess,
            _line(numbers, "excess", height),
            _line(numbers, "lacking", height),
        )
    ).astype(np.float32)
    error = np.float32(numbers.get("place_error", np.nan) * spacing)
    found = Peaks(
        np.concatenate([part[0] for part in parts]),
        excess,
        height,
        np.concatenate([part[2] for part in parts]),
        said,
        # Half a mark is as far as a poor peak is ever off.
        np.full(len(said), error, np.float32),
    )
    found = found.take(np.argsort(-found.probability, kind="stable"))
    return _without_doubles(found.take(found.probability >= lowest), 0.75 * APART * spacing)


def _maxima(
    image: NDArray[np.float32], spacing: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Sub-pixel places of local maxima, and how high they are."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, 0.08 * spacing)
    radius = max(1, round(APART * spacing) - 1)
    disk = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius + 0.5
    top = (smooth == ndimage.maximum_filter(smooth, footprint=disk)) & (smooth > _LOWEST / 4)
    places = np.argwhere(top).astype(np.float64)
    height = smooth[top].astype(np.float32)
    reach = max(1, round(0.3 * spacing))
    wide = np.pad(image, reach + 1)
    offsets = np.arange(-reach, reach + 1)
    for _ in range(2):  # the second round looks about the place that the first one found
        whole = np.clip(np.rint(places), 0, np.array(image.shape) - 1).astype(int)
        rows = (whole[:, 0, None] + offsets + reach + 1)[:, :, None]
        columns = (whole[:, 1, None] + offsets + reach + 1)[:, None, :]
        weight = wide[rows, columns].astype(np.float64) ** 2 + 1e-12
        y = whole[:, 0, None, None] + offsets[:, None] - places[:, 0, None, None]
        x = whole[:, 1, None, None] + offsets - places[:, 1, None, None]
        weight *= np.exp(-(y**2 + x**2) / (2 * (0.2 * spacing) ** 2))
        total = weight.sum((1, 2))
        # Weights fall off about the old place, which halves the step: about 1.5 times it is right.
        step = np.stack([(weight * y).sum((1, 2)), (weight * x).sum((1, 2))], axis=1)
        places = places + np.clip(1.4 * step / total[:, None], -0.3 * spacing, 0.3 * spacing)
    return np.clip(places, 0, np.array(image.shape) - 1), height


def _without_doubles(found: Peaks, distance: float) -> Peaks:
    """Of finds of either kind at one place the more probable one."""
    from scipy.spatial import cKDTree

    keep = np.ones(len(found), dtype=bool)
    if len(found) > 1:
        for first, second in sorted(map(sorted, cKDTree(found.places).query_pairs(distance))):
            if keep[first]:
                keep[second] = False
    return found.take(keep)


# ---------------------------------------------------------------- probabilities


def _logit(height: NDArray[np.floating]) -> NDArray[np.float64]:
    clipped = np.clip(height.astype(np.float64), 1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _sigmoid(value: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-value)))


def _line(
    numbers: Mapping[str, float], kind: str, height: NDArray[np.floating]
) -> NDArray[np.float64]:
    slope, offset = numbers.get(f"{kind}_slope", 1.0), numbers.get(f"{kind}_offset", 0.0)
    return slope * _logit(height) + offset


def calibrated_from(
    found: Sequence[Peaks],
    truth: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]],
    spacing: float = SPACING,
) -> dict[str, float]:
    """Numbers that make probabilities true: Platt's line for each kind, and how far places are off.

    Parameters
    ----------
    found
        Peaks of images, down to low ones, not calibrated.
    truth
        Places and kinds of the defects of each.
    spacing
        Lattice constant in pixels.
    """
    right, off = [], []
    for some, (places, excess) in zip(found, truth, strict=True):
        partner, distance = matched(some.places, some.excess, places, excess, TOLERANCE * spacing)
        right.append(partner >= 0)
        off.append(distance[partner >= 0])
    kinds = np.concatenate([some.excess for some in found])
    heights = np.concatenate([some.height for some in found])
    hits = np.concatenate(right)
    numbers: dict[str, float] = {}
    for kind, name in enumerate(_KINDS):
        mine = kinds == bool(kind)
        numbers[f"{name}_slope"], numbers[f"{name}_offset"] = _platt(
            _logit(heights[mine]), hits[mine]
        )
    distances = np.concatenate(off)
    if len(distances):
        numbers["place_error"] = round(float(np.sqrt((distances**2).mean() / 2) / spacing), 4)
    return numbers


def _platt(x: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of a logistic line, near the identity where little is known."""
    beta = np.array([1.0, 0.0])
    if len(x) == 0:
        return 1.0, 0.0
    design = np.stack((x, np.ones_like(x)), axis=1)
    prior = np.array([1.0, 0.0])
    for _ in range(50):
        p = _sigmoid(design @ beta)
        gradient = design.T @ (right - p) - (beta - prior)
        curve = (design * (p * (1 - p))[:, None]).T @ design + np.eye(2)
        step = np.linalg.solve(curve, gradient)
        beta = beta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:
            break
    return round(float(max(beta[0], 0.05)), 5), round(float(beta[1]), 5)


def calibration_error(
    said: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 10
) -> float:
    """Expected calibration error: mean distance of what is said from what is right.

    Parameters
    ----------
    said, right
        ``(n,)`` probabilities, and whether there was a defect.
    bins
        Equal parts of 0–1 in which both are averaged (Guo et al., ICML 2017).
    """
    if len(said) == 0:
        return float("nan")
    place = np.clip((said * bins).astype(int), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    gap = np.bincount(place, np.asarray(said, float) - right, minlength=bins)
    return float(np.abs(gap).sum() / count.sum())


# -------------------------------------------------------------------- figures


def matched(
    places: NDArray[np.floating],
    excess: NDArray[np.bool_],
    true_places: NDArray[np.floating],
    true_excess: NDArray[np.bool_],
    reach: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which true defect each find is: as many pairs of one kind as can be, then the closest.

    Parameters
    ----------
    places, excess
        ``(n, 2)`` and ``(n,)``: finds.
    true_places, true_excess
        ``(m, 2)`` and ``(m,)``: defects.
    reach
        Largest distance of a pair, in the unit of the places.

    Returns
    -------
    partner, distance
        ``(n,)``: number of the defect, -1 for none; distance, NaN for none.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    partner = np.full(len(places), -1, dtype=np.int64)
    distance = np.full(len(places), np.nan)
    if len(places) == 0 or len(true_places) == 0:
        return partner, distance
    far = cdist(places, true_places)
    may = (far <= reach) & (excess[:, None] == true_excess[None])
    rows, columns = linear_sum_assignment(np.where(may, far, 1e3 * reach))
    good = may[rows, columns]
    partner[rows[good]] = columns[good]
    distance[rows[good]] = far[rows[good], columns[good]]
    return partner, distance


def scores(
    found: Sequence[Peaks],
    truth: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]],
    threshold: float = 0.5,
    spacing: float = SPACING,
) -> dict[str, float]:
    """Precision, recall, F1, place error and calibration error of finds.

    Parameters
    ----------
    found, truth
        Of each image, see `calibrated_from`.
    threshold
        Least probability of a find that counts.
    spacing
        Lattice constant in pixels.
    """
    hits = given = there = 0
    said: list[NDArray[np.floating]] = [np.zeros(0)]
    right, off = [np.zeros(0, bool)], [np.zeros(0)]
    for some, (places, excess) in zip(found, truth, strict=True):
        partner, _ = matched(some.places, some.excess, places, excess, TOLERANCE * spacing)
        said.append(some.probability)
        right.append(partner >= 0)
        sure = some.take(some.probability >= threshold)
        partner, far = matched(sure.places, sure.excess, places, excess, TOLERANCE * spacing)
        hits += int((partner >= 0).sum())
        given += len(sure)
        there += len(places)
        off.append(far[partner >= 0])
    distances = np.concatenate(off)
    return {
        "precision": hits / given if given else float("nan"),
        "recall": hits / there if there else float("nan"),
        "f1": 2 * hits / (given + there) if given + there else float("nan"),
        "place_error": float(np.sqrt((distances**2).mean() / 2) / spacing)
        if len(distances)
        else float("nan"),
        "calibration_error": calibration_error(np.concatenate(said), np.concatenate(right)),
        "defects": float(there),
    }
