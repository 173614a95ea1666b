"""Scan positions of a list of points, laid out on rows and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

T = TypeVar("T", bound=np.generic)

#: A position may miss its grid point by this share of a step (rounded decimals).
_SLACK = 0.25
#: More empty cells than this share of the points mean that there is no grid.
_SPARSE = 4


@dataclass(frozen=True, eq=False)
class Grid:
    """Rows and columns of points in any order.

    Attributes
    ----------
    rows, columns
        ``(n,)`` int: where each point belongs.
    shape
        Extent of the points, rows and columns.
    step
        ``(dy, dx)`` in the unit of the coordinates; 0 along an axis with one line.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    shape: tuple[int, int]
    step: tuple[float, float]

    @property
    def in_order(self) -> bool:
        """Whether the points come row by row, left to right, without a gap."""
        flat = self.rows * self.shape[1] + self.columns
        return bool(np.array_equal(flat, np.arange(self.shape[0] * self.shape[1])))

    @property
    def n_empty(self) -> int:
        """Cells without a point."""
        return self.shape[0] * self.shape[1] - self.rows.size

    def place(self, values: NDArray[T], fill: float) -> NDArray[T]:
        """Point values ``(n, …)`` as a map ``(Y, X, …)``; `fill` in empty cells."""
        out = np.full((*self.shape, *values.shape[1:]), fill, dtype=values.dtype)
        out[self.rows, self.columns] = values
        return out


def grid_of(
    x: NDArray[np.float64], y: NDArray[np.float64], *, step: tuple[float, float] | None = None
) -> Grid:
    """Find the rectangular grid that points lie on.

    Parameters
    ----------
    x, y
        ``(n,)`` coordinates in any order.
    step
        ``(dy, dx)`` that the file claims; used where the coordinates agree
        with it (a header often has more digits than the columns).

    Raises
    ------
    BadInputError
        If the points are hexagonal, irregular or doubled.
    """
    if x.size == 0 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadInputError("positions are missing or not finite")
    columns, dx = _lattice("x", x, step[1] if step else 0.0)
    rows, dy = _lattice("y", y, step[0] if step else 0.0)
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    if shape[0] * shape[1] > 100 + _SPARSE * x.size:
        raise BadInputError(
            f"{x.size} positions do not lie on a regular grid: resample them to a square grid"
        )
    flat = rows * shape[1] + columns
    if np.unique(flat).size != flat.size:
        raise BadInputError(
            "two rows share one position: the file joins several maps or is not on a square grid"
        )
    if _is_checkerboard(rows, columns, shape):
        raise BadInputError(
            "the positions form a hexagonal grid: resample them to a square grid first"
        )
    return Grid(rows, columns, shape, (dy, dx))


def _lattice(
    name: str, values: NDArray[np.float64], claimed: float
) -> tuple[NDArray[np.intp], float]:
    """Index of each value on an even lattice, and its step."""
    lines = np.unique(values)
    start, span = float(lines[0]), float(lines[-1] - lines[0])
    if span == 0:
        return np.zeros(values.size, dtype=np.intp), 0.0
    gaps = np.diff(lines)
    # Rounded decimals split one line into two that differ in the last digit.
    gaps = gaps[gaps > 0.05 * np.median(gaps[gaps > 1e-6 * span])]
    step = float(np.min(gaps[gaps > 0.5 * np.median(gaps)]))
    step = span / max(1, round(span / step))
    # A header has more digits than the columns; use it where the two agree.
    if abs(step - claimed) < 0.05 * step and _fits(lines, start, claimed):
        step = claimed
    if not _fits(lines, start, step):
        raise BadInputError(
            f"the {name} positions are not evenly spaced: resample the map to a square grid"
        )
    return np.rint((values - start) / step).astype(np.intp), step


def _fits(lines: NDArray[np.float64], start: float, step: float) -> bool:
    place = (lines - start) / step
    return bool(np.max(np.abs(place - np.rint(place))) < _SLACK)


def _is_checkerboard(
    rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, int]
) -> bool:
    """Hexagonal grids fill every second cell, shifted from row to row."""
    if min(shape) < 2 or rows.size < 4:
        return False
    parity = (rows + columns) & 1
    return bool((parity == parity[0]).all())
