"""Peaks that neighbouring scan positions agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.peaks import PeakTable

_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


@dataclass(frozen=True, eq=False)
class Consistency:
    """What the filter did.

    Attributes
    ----------
    seen
        ``(n,)`` neighbouring positions (of up to eight) that saw the peak too.
    kept, dropped
        Numbers of peaks.
    tolerance
        Distance up to which two peaks are the same, in the unit of the table.
    by_chance
        Share of false peaks that unrelated ones nearby let pass.
    """

    seen: NDArray[np.int64]
    kept: int
    dropped: int
    tolerance: float
    by_chance: float

    def in_words(self) -> str:
        """The outcome in one line."""
        total = max(1, self.kept + self.dropped)
        return (
            f"{self.kept:,} spots kept, {self.dropped:,} ({100 * self.dropped / total:.1f} %)"
            f" seen at too few neighbours dropped; {100 * self.by_chance:.0f} % of false ones"
            " pass by chance"
        )


def seen_by_neighbours(table: PeakTable, tolerance: float) -> NDArray[np.int64]:
    """How many of the eight neighbouring positions have a peak at the same place, ``(n,)``.

    Parameters
    ----------
    table
        Any table.
    tolerance
        Largest distance between two peaks that are the same, in the table's unit.
    """
    from scipy.spatial import cKDTree

    seen = np.zeros(len(table), dtype=np.int64)
    if not len(table):
        return seen
    # Positions stand so far apart that peaks of two are never neighbours in the tree.
    apart = 4 * tolerance
    place = table.position
    ky, kx = table.ky.astype(np.float64), table.kx.astype(np.float64)
    tree = cKDTree(np.stack((place * apart, ky, kx), axis=1))
    y, x = np.divmod(place, table.shape[1])
    for dy, dx in _NEIGHBOURS:
        there = (
            (y + dy >= 0) & (y + dy < table.shape[0]) & (x + dx >= 0) & (x + dx < table.shape[1])
        )
        moved = (place + dy * table.shape[1] + dx)[there]
        asked = np.stack((moved * apart, ky[there], kx[there]), axis=1)
        gap, _ = tree.query(asked, distance_upper_bound=tolerance, workers=-1)
        seen[there] += np.isfinite(gap)
    return seen


def keep_consistent(
    table: PeakTable, least: int = 1, tolerance: float | None = None
) -> tuple[PeakTable, Consistency]:
    """Drop peaks that too few neighbouring positions see.

    A crystal is wider than a scan step, noise is not: a peak at one position only is
    suspect.  Positions without any neighbour that holds a pattern cannot be judged and
    keep their peaks.

    Parameters
    ----------
    table
        Registered peaks.
    least
        Neighbours (of up to eight) that must see a peak for it to stay.
    tolerance
        Distance up to which two peaks are the same, in the table's unit; the usual
        width of a spot, and a pixel at least, when left out.

    Returns
    -------
    PeakTable, Consistency
        What is kept, and what was done.
    """
    if tolerance is None:
        source = table.source
        reach = float(max(np.abs(table.ky).max(initial=0), np.abs(table.kx).max(initial=0)))
        tolerance = max(1.0, source.spot_sigma) * source.scale if source else max(reach, 1e-6) / 60
    seen = seen_by_neighbours(table, tolerance)
    judged = _judged(table)[table.position]
    keep = (seen >= least) | ~judged
    kept = int(keep.sum())
    found = Consistency(seen, kept, len(table) - kept, tolerance, _by_chance(table, tolerance))
    return table.keep(keep), found


def _judged(table: PeakTable) -> NDArray[np.bool_]:
    """Positions that have a neighbour with a pattern, ``(y * x,)``."""
    there = np.ones(table.shape, dtype=bool) if table.noise is None else ~np.isnan(table.noise)
    padded = np.pad(there, 1)
    rows, columns = table.shape
    around = np.zeros(table.shape, dtype=bool)
    for dy, dx in _NEIGHBOURS:
        around |= padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
    return around.ravel()


def _by_chance(table: PeakTable, tolerance: float) -> float:
    """Share of peaks at random places of the searched field that meet another by chance."""
    if not len(table):
        return 0.0
    reach = float(np.quantile(np.hypot(table.ky, table.kx), 0.98))
    typical = float(np.median(np.diff(table.offsets)))
    hits = len(_NEIGHBOURS) * typical * (tolerance / max(reach, tolerance)) ** 2
    return float(1 - np.exp(-hits))
