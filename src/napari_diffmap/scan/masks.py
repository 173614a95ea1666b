"""A mask on the detector as the few blocks of pixels that a sum must touch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Most pixels of a block: what fits the vector registers of common processors.
_MOST_LANES = 32
#: Bytes of a cache line; a block is never longer.
_LINE = 64
#: Blocks added up before they are widened: 16-bit counts then fit 31 bits, and 32-bit floats
#: stay as good as exact.
_MOST_BLOCKS, _MOST_WEIGHTED = 32768, 16


def lanes_of(itemsize: int) -> int:
    """Pixels of a block for values of so many bytes."""
    return min(_MOST_LANES, _LINE // itemsize)


@dataclass(frozen=True, eq=False)
class MaskBlocks:
    """The blocks of neighbouring pixels in which a mask has any.

    Attributes
    ----------
    offsets
        ``(n,)`` int64: bytes from the first pixel of a pattern to each block.
    masks
        ``(n, lanes)`` unsigned integers of the pixels' size: all bits set where a pixel counts.
    ends
        ``(g,)`` int64: after which blocks their sum is widened.
    first
        ``(n, lanes)`` float32 weight of each pixel in the first sum; None where all weigh 1.
    second
        ``(n, lanes)`` float32 weight of each pixel in the second sum; None without one.
    """

    offsets: NDArray[np.int64]
    masks: NDArray[Any]
    ends: NDArray[np.int64]
    first: NDArray[np.float32] | None
    second: NDArray[np.float32] | None

    @property
    def touched(self) -> int:
        """Bytes of a pattern that are read."""
        return self.masks.nbytes


def blocks_of(
    mask: NDArray[np.bool_],
    itemsize: int,
    row_bytes: int,
    *,
    first: NDArray[np.float32] | None = None,
    second: NDArray[np.float32] | None = None,
) -> MaskBlocks:
    """Blocks of a mask for patterns as they lie in memory.

    Parameters
    ----------
    mask
        ``(ky, kx)``; kx is at least `lanes_of(itemsize)`.
    itemsize
        Bytes of a pixel.
    row_bytes
        Bytes from one detector row to the next; negative where rows lie bottom up.
    first, second
        ``(ky, kx)`` weights; see `MaskBlocks`.
    """
    ky, kx = mask.shape
    lanes = lanes_of(itemsize)
    count = -(-kx // lanes)
    padded = np.zeros((ky, count * lanes), dtype=bool)
    padded[:, :kx] = mask
    rows, numbers = np.nonzero(padded.reshape(ky, count, lanes).any(axis=2))
    # The last block of a row reaches back rather than beyond the row.
    begins = np.minimum(numbers * lanes, kx - lanes)
    columns = begins[:, None] + np.arange(lanes)
    counts = mask[rows[:, None], columns] & (columns >= (numbers * lanes)[:, None])
    unsigned = np.dtype(f"u{itemsize}")
    masks = np.where(counts, np.array(np.iinfo(unsigned).max, unsigned), unsigned.type(0))

    def chosen(weights: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if weights is None:
            return None
        return np.ascontiguousarray(weights[rows[:, None], columns], dtype=np.float32)

    most = _MOST_BLOCKS if first is None and second is None else _MOST_WEIGHTED
    return MaskBlocks(
        offsets=(rows * row_bytes + begins * itemsize).astype(np.int64),
        masks=np.ascontiguousarray(masks),
        ends=np.append(np.arange(most, len(rows), most), len(rows)).astype(np.int64),
        first=chosen(first),
        second=chosen(second),
    )


@dataclass(frozen=True, eq=False)
class WeightedMask:
    """What is summed of a pattern: some pixels, with up to two weights each.

    Attributes
    ----------
    mask
        ``(ky, kx)``; True where a pixel counts.
    first, second
        ``(ky, kx)`` weights of the pixels in both sums; None where all weigh 1, or without a
        second sum.
    """

    mask: NDArray[np.bool_]
    first: NDArray[np.float32] | None = None
    second: NDArray[np.float32] | None = None

    def blocks(self, shape: tuple[int, int], itemsize: int, row_bytes: int) -> MaskBlocks:
        """What to sum of patterns as they lie in memory; see `sums.sums`."""
        return _blocks(self, shape[1], itemsize, row_bytes)


@lru_cache(maxsize=64)
def _blocks(weighted: WeightedMask, width: int, itemsize: int, row_bytes: int) -> MaskBlocks:
    """Patterns narrower than a block are filled up to its width, and so is the mask."""
    short = ((0, 0), (0, width - weighted.mask.shape[1]))
    first, second = (
        None if weights is None else np.pad(weights, short)
        for weights in (weighted.first, weighted.second)
    )
    return blocks_of(np.pad(weighted.mask, short), itemsize, row_bytes, first=first, second=second)
