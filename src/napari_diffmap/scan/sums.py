"""Sums over a mask of every pattern, on all cores, touching only the bytes they need.

A pattern is read in blocks of at most a cache line, masked, widened and added up in vector
registers: exact integers for counts, double precision for floats.  Patterns are addressed
where they lie, in the file's own dtype and byte order, so a memory-mapped file is summed
without being copied.  The next patterns' blocks are fetched ahead: a mask jumps about in
memory, and the processor alone does not foresee where.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.masks import MaskBlocks, blocks_of, lanes_of

#: Fewer patterns than these are not worth another thread.
_SHARE = 64


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """Threads of our own: numba's parallel layer must not be entered from two threads."""
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="diffmap-sum")


def readable(patterns: NDArray[Any], lanes: int) -> NDArray[Any]:
    """The same patterns as the kernel can read them: where they lie if possible.

    Half floats become floats, truth values bytes; pixels of a row are put side by side, rows
    narrower than a block are filled up with zeros.
    """
    if patterns.dtype.kind == "b":
        patterns = patterns.view(np.uint8)
    elif patterns.dtype.kind == "f" and patterns.dtype.itemsize not in (4, 8):
        patterns = patterns.astype(np.float64 if patterns.dtype.itemsize > 8 else np.float32)
    short = lanes - patterns.shape[-1]
    if short > 0:
        return np.pad(patterns, [(0, 0)] * (patterns.ndim - 1) + [(0, short)])
    side_by_side = patterns.strides[-1] == patterns.itemsize
    return patterns if side_by_side else np.ascontiguousarray(patterns)


def addresses_of(patterns: NDArray[Any]) -> NDArray[np.int64]:
    """Where the first pixel of each pattern of ``(…, ky, kx)`` lies in memory, flat."""
    where = np.array(patterns.__array_interface__["data"][0], dtype=np.int64)
    for size, step in zip(patterns.shape[:-2], patterns.strides[:-2], strict=True):
        where = where[..., None] + step * np.arange(size, dtype=np.int64)
    return where.reshape(-1)


def sums(
    patterns: NDArray[Any], blocks: Callable[[tuple[int, int], int, int], MaskBlocks]
) -> NDArray[np.float64]:
    """Both sums of every pattern inside a mask.

    Parameters
    ----------
    patterns
        ``(…, ky, kx)``, real, any dtype, byte order and strides.
    blocks
        Called with the detector shape, the bytes of a pixel and of a row; gives what to sum.

    Returns
    -------
    ndarray
        ``(…, 2)`` float64: the sum of the pixels (weighted where the blocks say so), and
        the sum with the second weights (0 without).
    """
    out = np.zeros((*patterns.shape[:-2], 2))
    if not out.size:
        return out
    patterns = readable(patterns, lanes_of(max(patterns.itemsize, 1)))
    ky, kx = patterns.shape[-2:]
    chosen = blocks((ky, kx), patterns.itemsize, patterns.strides[-2])
    if not len(chosen.offsets):
        return out
    where, flat = addresses_of(patterns), out.reshape(-1, 2)
    threads = max(1, min(os.cpu_count() or 1, len(where) // _SHARE))
    if threads == 1:  # not worth waiting for a thread that may be at something else
        _sum_part(where, chosen, patterns.dtype, flat)
        return out
    cuts = np.linspace(0, len(where), threads + 1).astype(int)
    jobs = [
        _pool().submit(_sum_part, where[a:b], chosen, patterns.dtype, flat[a:b])
        for a, b in pairwise(cuts)
    ]
    for job in jobs:
        job.result()
    return out


def warm_up() -> None:
    """Load or compile the kernel for the usual dtypes, so that nobody waits for it later."""
    mask = np.ones((1, 64), dtype=bool)
    for dtype in (np.uint8, np.uint16, np.float32):
        patterns = np.zeros((1, 1, 64), dtype=dtype)
        sums(patterns, lambda _shape, size, row: blocks_of(mask, size, row))


def _sum_part(
    where: NDArray[np.int64], blocks: MaskBlocks, dtype: np.dtype[Any], out: NDArray[np.float64]
) -> None:
    # Imported on first use: numba costs half a second.
    from napari_diffmap.scan.kernel import sum_patterns

    sample = np.empty(0, dtype=dtype.newbyteorder("="))
    swapped = None if dtype.isnative else True
    b = blocks
    sum_patterns(where, b.offsets, b.masks, b.ends, b.first, b.second, swapped, sample, out)
