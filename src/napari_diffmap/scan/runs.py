"""The kernel under the hand: sums over row runs, touching only the pixels a shape covers."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WEIGHT = {"sum": 0, "mean": 0, "com_y": 1, "com_x": 2, "dpc_y": 3, "dpc_x": 4}


@dataclass(frozen=True, eq=False)
class RowRuns:
    """A mask as runs of pixels along detector rows.

    Attributes
    ----------
    runs
        ``(n, 3)`` int64: row, first column, end column (exclusive).
    pixels
        Number of pixels covered.
    """

    runs: NDArray[np.int64]
    pixels: int

    @classmethod
    def from_mask(cls, mask: NDArray[np.bool_]) -> RowRuns:
        """Runs of a boolean mask ``(ky, kx)``."""
        padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
        padded[:, 1:-1] = mask
        step = np.diff(padded, axis=1)
        rows, starts = np.nonzero(step == 1)
        _, ends = np.nonzero(step == -1)
        return cls(np.stack((rows, starts, ends), axis=1).astype(np.int64), int(mask.sum()))


@lru_cache(maxsize=1)
def _kernel() -> Any:
    """Compile on first use: importing numba costs half a second."""
    from numba import njit

    # Sums may be reordered to use vector registers, but NaN and inf stay themselves.
    @njit(nogil=True, fastmath={"reassoc", "nsz", "contract"}, cache=True)
    def sum_runs(patterns, runs, cy, cx, weight, out):  # type: ignore[no-untyped-def]  # pragma: no cover
        for p in range(patterns.shape[0]):
            total = 0.0
            weighted = 0.0
            for r in range(runs.shape[0]):
                row, start, stop = runs[r, 0], runs[r, 1], runs[r, 2]
                part = 0.0
                if weight == 2:
                    first = 0.0
                    for k in range(start, stop):
                        value = float(patterns[p, row, k])
                        part += value
                        first += value * (k - cx)
                    weighted += first
                elif weight == 4:
                    first = 0.0
                    for k in range(start, stop):
                        value = float(patterns[p, row, k])
                        part += value
                        if k > cx:
                            first += value
                        elif k < cx:
                            first -= value
                    weighted += first
                else:
                    for k in range(start, stop):
                        part += float(patterns[p, row, k])
                    if weight == 1:
                        weighted += part * (row - cy)
                    elif weight == 3:
                        if row > cy:
                            weighted += part
                        elif row < cy:
                            weighted -= part
                total += part
            out[p, 0] = total
            out[p, 1] = weighted

    return sum_runs


def moments(
    patterns: NDArray[Any],
    runs: RowRuns,
    center: tuple[float, float],
    response: str,
    pool: Executor,
) -> NDArray[np.float64]:
    """Total and weighted total of every pattern inside the runs.

    Parameters
    ----------
    patterns
        ``(n, ky, kx)``, real, any dtype.
    runs
        Pixels to sum.
    center
        Zero of the weights ``(ky, kx)`` in pixels.
    response
        ``com_y com_x`` weigh by distance from the centre (pixels), ``dpc_y
        dpc_x`` by its sign; ``sum`` and ``mean`` leave the second column 0.
    pool
        Threads to share the patterns between.

    Returns
    -------
    ndarray
        ``(n, 2)`` float64.
    """
    out = np.zeros((patterns.shape[0], 2))
    if not runs.pixels or not patterns.shape[0]:
        return out
    native = patterns.dtype.newbyteorder("=")
    if native == np.float16:
        native = np.dtype(np.float32)
    elif native.kind == "b":
        native = np.dtype(np.uint8)
    # numba reads the machine's byte order, no half floats, and sums no booleans
    if patterns.dtype != native:
        patterns = patterns.astype(native)
    kernel = _kernel()
    cy, cx, weight = float(center[0]), float(center[1]), _WEIGHT[response]
    cuts = np.linspace(0, patterns.shape[0], (os.cpu_count() or 1) + 1).astype(int)
    jobs = [
        pool.submit(kernel, patterns[a:b], runs.runs, cy, cx, weight, out[a:b])
        for a, b in pairwise(cuts)
        if b > a
    ]
    for job in jobs:
        job.result()
    return out
