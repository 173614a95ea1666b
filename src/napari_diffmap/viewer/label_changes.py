"""A change of a label map that is computed first, shown, and made only then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.labels import cleaning, ops
from napari_diffmap.maps.orientation_map import oriented

if TYPE_CHECKING:
    from napari_diffmap.maps import PhaseMap
    from napari_diffmap.maps.labels.label_maps import LabelTable

Operation = Literal["merge", "split", "grow", "clean small", "majority", "fill holes", "delete"]
Scope = Literal["all labels", "chosen labels", "drawn region"]
SCOPES: tuple[Scope, ...] = ("all labels", "chosen labels", "drawn region")
#: Operations on chosen labels, and how many they need; the others have a scope.
NEEDS: dict[str, int] = {"merge": 2, "split": 1, "delete": 1}
#: How the value of an operation is told.
_VALUES: dict[str, str] = {
    "split": " at {}°",
    "grow": " by {}",
    "clean small": " below {}",
    "majority": " {0} × {0} pixels",
    "fill holes": " up to {}",
}


@dataclass(frozen=True, eq=False)
class Proposal:
    """A change that was computed and not made.

    Attributes
    ----------
    name
        Of the label map.
    note
        What was done, for the record.
    pixels, values
        Flat numbers, rising, and the labels that they would get.
    """

    name: str
    note: str
    pixels: NDArray[np.int64]
    values: NDArray[np.int32]

    def text(self) -> str:
        """One line: how many pixels would change."""
        n, gone = len(self.pixels), int((self.values == 0).sum())
        if not n:
            return f"{self.note}: nothing would change"
        told = f", {gone} of them to no label" if gone else ""
        return f"{self.note}: {count_of(n)} would change{told}"


@dataclass(frozen=True, eq=False)
class LabelChange:
    """What shall be done to a label map.

    Attributes
    ----------
    name, before
        Of the label map, and a copy of it that nobody changes.
    operation
        *merge*, *split* and *delete* are done to the chosen labels.
    value
        *split*: degrees, 0 into connected pieces.  *grow*: pixels.  *clean small*: pixels that a
        piece needs.  *majority*: width of the window, pixels.  *fill holes*: pixels of the
        largest hole, 0 for all.
    chosen
        Numbers; the first lends its number to what is merged.
    scope, region
        Where the other operations may change something.
    found
        The map by which labels are split.
    """

    name: str
    before: ops.Labels
    operation: Operation
    value: float
    chosen: tuple[int, ...]
    scope: Scope
    region: ops.Mask | None
    found: PhaseMap

    def note(self) -> str:
        """What is done, in words."""
        some = ", ".join(map(str, self.chosen[:6])) + (" …" if len(self.chosen) > 6 else "")
        value = f"{self.value:g}"
        if self.operation in ("grow", "clean small", "fill holes"):
            value = count_of(int(self.value))
        value = _VALUES.get(self.operation, "").format(value) if self.value else ""
        if self.operation in NEEDS:
            return f"{self.operation} {some}{value}"
        where = {"chosen labels": f", labels {some}", "drawn region": ", in the region"}
        return self.operation + value + where.get(self.scope, "")

    def compute(self) -> Proposal:
        """What would change."""
        scoped = self.operation not in NEEDS
        after = ops.restricted(
            self.before,
            self._after(),
            numbers=self.chosen if scoped and self.scope == "chosen labels" else None,
            within=self.region if scoped and self.scope == "drawn region" else None,
        )
        return Proposal(self.name, self.note(), *ops.difference(self.before, after))

    def _after(self) -> ops.Labels:
        before, value = self.before, self.value
        if self.operation == "merge":
            return ops.merge(before, self.chosen)
        if self.operation == "delete":
            return ops.erase(before, self.chosen)
        if self.operation == "split":
            return self._split()
        if self.operation == "grow":
            return cleaning.grow(before, value)
        if self.operation == "clean small":
            return cleaning.clean_small(before, int(value))
        if self.operation == "majority":
            return cleaning.majority(before, int(value))
        return cleaning.fill_holes(before, int(value) or None)

    def _split(self) -> ops.Labels:
        after = self.before
        for number in self.chosen:
            after = (
                ops.split_by_orientation(after, number, oriented(self.found), self.value)
                if self.value
                else ops.split(after, number)
            )
        return after


def count_of(n: int) -> str:
    """A number of pixels in words."""
    return f"{n} pixel" + "s" * (n != 1)


def by_size(numbers: Sequence[int], table: LabelTable | None) -> tuple[int, ...]:
    """Numbers, the label with most pixels first."""

    def size(number: int) -> int:
        row = None if table is None else table.row_of(number)
        return 0 if table is None or row is None else int(table.pixels[row])

    return tuple(sorted(numbers, key=lambda number: (-size(number), number)))
