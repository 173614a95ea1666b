"""Label maps from what was found, and what a table of their labels says."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.edits.corrections import LabelMap
from napari_diffmap.maps.labels.ops import Labels, Mask, checked
from napari_diffmap.maps.orientation_map import oriented

if TYPE_CHECKING:
    from napari_diffmap.maps.phase_map import PhaseMap

Quantity = Literal["score", "reliability"]
#: What a threshold can be set on.
QUANTITIES: tuple[Quantity, ...] = ("score", "reliability")

#: Okabe–Ito without black, for the first labels.
_FIRST_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
#: The golden angle keeps the hues of neighbouring numbers apart.
_GOLDEN = 0.6180339887498949
#: Number up to which colours are all different; then they come again.
MOST_COLORS = 1 << 14


# ------------------------------------------------------------- constructors
def empty(name: str, shape: tuple[int, int]) -> LabelMap:
    """A label map without labels, to paint on."""
    return LabelMap(name, np.zeros(shape, dtype=np.int32), source="empty")


def phase_labels(found: PhaseMap, name: str = "phase labels") -> LabelMap:
    """A label for each phase, numbered from 1 in the map's order."""
    base = found.best_phase_ids.astype(np.int32) + 1
    return LabelMap(
        name,
        base,
        {i + 1: phase.name for i, phase in enumerate(found.phases)},
        {i + 1: phase.color for i, phase in enumerate(found.phases)},
        "phases of the map",
    )


def grain_labels(
    found: PhaseMap, threshold: float = 5.0, min_size: int = 1, name: str = "grains"
) -> LabelMap:
    """A label for each grain.

    Parameters
    ----------
    found, threshold, min_size
        See `maps.find_grains`: the map, degrees, pixels.
    name
        Of the label map.

    Raises
    ------
    BadInputError
        If the map has no orientations.
    """
    from napari_diffmap.maps.grains.find import find_grains

    grains = find_grains(oriented(found), threshold=threshold, min_size=min_size)
    source = f"grains of the map, {threshold:g}°, at least {min_size} pixels"
    return LabelMap(name, grains.labels, source=source)


def mask_labels(mask: Mask, name: str, source: str) -> LabelMap:
    """A label for each connected part of a mask."""
    return LabelMap(name, components_of(mask), source=source)


def components_of(mask: Mask) -> Labels:
    """Connected parts (four neighbours) of a mask, numbered from 1 in reading order."""
    from napari_diffmap.maps.labels.ops import pieces_of

    return pieces_of(mask.astype(np.int32))[0]


def threshold_mask(
    found: PhaseMap, quantity: Quantity, value: float, *, above: bool = True
) -> Mask:
    """Where a quantity of the map reaches a value, or stays below it; never where it is unknown.

    Parameters
    ----------
    found
        The map.
    quantity
        ``score`` of the first answer, or ``reliability`` (0–1).
    value
        Threshold.
    above
        At least the value; else less.
    """
    if quantity not in QUANTITIES:
        raise BadInputError(f"a threshold is set on score or reliability, not {quantity!r}")
    values = found.best_scores if quantity == "score" else found.reliability
    with np.errstate(invalid="ignore"):
        mask: Mask = values >= value if above else values < value
    return mask


# -------------------------------------------------------------------- table
@dataclass(frozen=True, eq=False)
class LabelTable:
    """The labels of a map; all arrays have a row for each, by rising number.

    Attributes
    ----------
    numbers
        ``(n,)``.
    names
        Names; empty where there is none.
    pixels
        ``(n,)`` counts.
    areas
        ``(n,)`` in `unit`.
    shares
        ``(n,)`` of all pixels of the map, 0–1.
    boxes
        ``(n, 4)`` rows and columns ``y0, x0, y1, x1``, the last ones excluded.
    centers
        ``(n, 2)`` row and column of the pixel of the label nearest to its centroid.
    unit
        Of the areas: ``nm²`` or ``pixel``.
    """

    numbers: NDArray[np.int64]
    names: tuple[str, ...]
    pixels: NDArray[np.int64]
    areas: NDArray[np.float64]
    shares: NDArray[np.float64]
    boxes: NDArray[np.int64]
    centers: NDArray[np.int64]
    unit: str

    def __len__(self) -> int:
        return len(self.numbers)

    def row_of(self, number: int) -> int | None:
        """Row of a label; None if no pixel has it."""
        row = int(np.searchsorted(self.numbers, number))
        return row if row < len(self) and self.numbers[row] == number else None


def counts(
    labels: Labels,
    names: Mapping[int, str] | None = None,
    step: tuple[float, float] = (1.0, 1.0),
    step_unit: str = "pixel",
) -> LabelTable:
    """What a table of the labels says; 0 has no row.

    Parameters
    ----------
    labels
        Label map.
    names
        Of numbers.
    step, step_unit
        Distance of neighbouring pixels ``(dy, dx)``, and its unit.
    """
    labels = checked(labels)
    numbers, member = _dense(labels)
    n = len(numbers)
    flat = member.reshape(-1)
    pixels = np.bincount(flat, minlength=n + 1)[1:].astype(np.int64)
    boxes, centers = _places(member, pixels)
    names = names or {}
    return LabelTable(
        numbers=numbers,
        names=tuple(names.get(number, "") for number in numbers.tolist()),
        pixels=pixels,
        areas=np.asarray(pixels * (step[0] * step[1]), dtype=np.float64),
        shares=pixels / max(labels.size, 1),
        boxes=boxes,
        centers=centers,
        unit="pixel" if step_unit == "pixel" else f"{step_unit}²",
    )


def _dense(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Numbers above 0, rising, and for each pixel the place of its own, from 1; else 0."""
    top = int(labels.max(initial=0))
    if top > 4 * labels.size + 256:
        numbers, place = np.unique(labels, return_inverse=True)
        shift = 0 if len(numbers) and numbers[0] == 0 else 1
        member = place.reshape(labels.shape) + shift
        return numbers[numbers > 0].astype(np.int64), member.astype(np.int32)
    there = np.bincount(labels.reshape(-1), minlength=top + 1) > 0
    there[0] = False
    table = np.where(there, np.cumsum(there), 0).astype(np.int32)
    return np.flatnonzero(there).astype(np.int64), table[labels]


def _places(
    member: NDArray[np.int32], pixels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Boxes and centre pixels of the labels 1 … n."""
    from scipy.ndimage import find_objects

    n = len(pixels)
    if not n:
        return np.zeros((0, 4), dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    slices = find_objects(member, n)
    boxes = np.array([(a.start, b.start, a.stop, b.stop) for a, b in slices], dtype=np.int64)
    # Pixels label by label, then the nearest of each to its centroid; in reading order
    # among several.
    flat = member.reshape(-1)
    order = np.argsort(flat, kind="stable")[int(flat.size - pixels.sum()) :]
    y, x = np.divmod(order, member.shape[1])
    starts = np.cumsum(pixels) - pixels
    away = np.zeros(len(order))
    for place in (y, x):
        middle = np.add.reduceat(place, starts) / pixels
        away += (place - np.repeat(middle, pixels)) ** 2
    nearest = np.repeat(np.minimum.reduceat(away, starts), pixels) == away
    rows = np.flatnonzero(nearest)
    first = rows[np.searchsorted(rows, starts)]
    return boxes, np.stack((y[first], x[first]), axis=1).astype(np.int64)


# ------------------------------------------------------------------ colours
def default_color(number: int) -> str:
    """Colour of a label that the user gave none, ``#rrggbb``."""
    if 1 <= number <= len(_FIRST_COLORS):
        return _FIRST_COLORS[number - 1]
    hue = number * _GOLDEN % 1
    red, green, blue = colorsys.hsv_to_rgb(
        hue, 0.5 + 0.15 * (number % 3), 0.95 - 0.2 * (number % 2)
    )
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def color_of(labels: LabelMap, number: int) -> str:
    """Colour of a label as it is shown, ``#rrggbb``."""
    if number in labels.colors:
        return labels.colors[number]
    return default_color((number - 1) % MOST_COLORS + 1)


def color_table(labels: LabelMap, n: int) -> NDArray[np.float32]:
    """``(n + 1, 4)`` RGBA 0–1 of the labels 0 … n; 0 is transparent."""
    table = np.zeros((n + 1, 4), dtype=np.float32)
    table[1:] = _default_table(n)
    for number, color in labels.colors.items():
        if 1 <= number <= n:
            table[number] = _rgba(color)
    return table


_DEFAULTS: list[tuple[float, ...]] = []


def _default_table(n: int) -> NDArray[np.float32]:
    while len(_DEFAULTS) < n:
        _DEFAULTS.append(_rgba(default_color(len(_DEFAULTS) + 1)))
    return np.array(_DEFAULTS[:n], dtype=np.float32).reshape(n, 4)


def _rgba(color: str) -> tuple[float, ...]:
    return (*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)
