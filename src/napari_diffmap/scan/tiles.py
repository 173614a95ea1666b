"""Reading a scan tile by tile: every stored chunk is decoded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from itertools import pairwise, product
from threading import Lock
from typing import Any

import numpy as np
from dask.utils import parse_bytes
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, RunError
from napari_diffmap.scan.masks import WeightedMask
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.sums import sums

#: Default size of a decoded block; large enough to hide per-block overhead,
#: small enough that a handful fit any laptop.
BLOCK_BYTES = 64 << 20


#: Decoded patterns that may stay in memory, so that a dragged detector is fast; and what
#: the user may say instead.
KEEP_BYTES, MEMORY_VARIABLE = 1 << 30, "DIFFMAP_MEMORY"


def memory_allowed() -> int:
    """Bytes of patterns that a window may keep: ``DIFFMAP_MEMORY`` (such as ``4 GB``), or 1 GiB.

    Raises
    ------
    BadInputError
        If the variable holds no size.
    """
    said = os.environ.get(MEMORY_VARIABLE, "").strip()
    if not said:
        return KEEP_BYTES
    try:
        return max(int(parse_bytes(said)), 0)
    except ValueError as error:
        raise BadInputError(
            f"{MEMORY_VARIABLE}={said} is no size: say how much, such as 4 GB"
        ) from error


@dataclass(frozen=True, eq=False)
class Tile:
    """A block of scan positions with all their patterns.

    Attributes
    ----------
    rows, columns
        Scan positions covered.
    patterns
        ``(ny, nx, ky, kx)`` in the file's own dtype; mapped ones also in its byte order.
    missing
        ``(ny, nx)``; True where the file holds no frame.
    """

    rows: slice
    columns: slice
    patterns: NDArray[Any]
    missing: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, int]:
        """Scan positions ``(ny, nx)``."""
        return self.missing.shape[0], self.missing.shape[1]

    def sums(self, weighted: WeightedMask) -> NDArray[np.float64]:
        """Both sums of every pattern, ``(ny, nx, 2)``; see `sums.sums`."""
        return sums(self.patterns, weighted.blocks)

    def split(self, max_patterns: int) -> Iterator[Tile]:
        """Smaller tiles of at most `max_patterns` patterns (views, no copy)."""
        ny, nx = self.shape
        width = min(nx, max(1, max_patterns))
        height = max(1, max_patterns // width)
        for y, x in product(range(0, ny, height), range(0, nx, width)):
            part = (slice(y, min(ny, y + height)), slice(x, min(nx, x + width)))
            yield Tile(
                slice(self.rows.start + part[0].start, self.rows.start + part[0].stop),
                slice(self.columns.start + part[1].start, self.columns.start + part[1].stop),
                self.patterns[part],
                self.missing[part],
            )


def _cuts(chunks: tuple[int, ...], step: int) -> list[int]:
    """Cut positions along an axis, on chunk borders wherever a chunk fits `step`."""
    cuts = [0]
    position = 0
    for chunk in chunks:
        if position + chunk - cuts[-1] > step and position > cuts[-1]:
            cuts.append(position)
        while position + chunk - cuts[-1] > step:
            cuts.append(cuts[-1] + step)
        position += chunk
    if position > cuts[-1]:
        cuts.append(position)
    return cuts


def plan_blocks(scan: Scan, max_bytes: int = BLOCK_BYTES) -> list[tuple[slice, slice]]:
    """Cut the scan into blocks of rows and columns of at most about `max_bytes`.

    Blocks follow the chunks of the file, so no chunk is decoded twice unless it
    is itself larger than `max_bytes`.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    max_bytes
        Upper bound on the decoded bytes of one block (one pattern at least).

    Raises
    ------
    BadInputError
        If the scan has no scan positions.
    """
    scan.need_patterns("tiles need")
    ny, nx = scan.shape[:2]
    pattern_bytes = scan.nbytes // (ny * nx)
    patterns = max(1, max_bytes // max(1, pattern_bytes))
    chunk_y, chunk_x = scan.data.chunks[:2]
    width = min(nx, max(patterns // max(chunk_y), 1))
    if width < nx:
        width = max(width // max(chunk_x) * max(chunk_x), min(width, max(chunk_x)))
    height = max(1, patterns // width)
    rows = [slice(a, b) for a, b in pairwise(_cuts(chunk_y, height))]
    columns = [slice(a, b) for a, b in pairwise(_cuts(chunk_x, width))]
    return list(product(rows, columns))


def read_tile(scan: Scan, rows: slice, columns: slice) -> Tile:
    """Some positions with their patterns: mapped where the file has them as they are, or decoded.

    Raises
    ------
    RunError
        If the file vanished or cannot be decoded.
    """
    try:
        patterns = None if scan.stored is None else scan.stored.view((rows, columns))
        if patterns is None:
            patterns = np.asarray(scan.data[rows, columns].compute(scheduler="threads"))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RunError(
            f"{scan.name}: cannot read rows {rows.start}-{rows.stop - 1}"
            f" ({error}); is the file still there?"
        ) from error
    absent = scan.missing
    missing = np.zeros(patterns.shape[:2], dtype=bool) if absent is None else absent[rows, columns]
    return Tile(rows, columns, patterns, missing)


class BlockReader:
    """Blocks of a scan, the first ones kept.

    What lies in its file as it is, is mapped, in the file's byte order and strides; the rest is
    decoded.  A map that is not kept is closed when its tile goes, so a scan of any size takes
    no more memory than a block.

    A pass over a scan visits every block in order.  A cache that drops the
    least recently used block would then miss every time once the scan is
    larger than the cache; keeping the first blocks for good hits on all of them.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    keep_bytes
        Bytes that may stay in memory, decoded or mapped.
    max_bytes
        Bytes of one block.
    """

    def __init__(
        self, scan: Scan, *, keep_bytes: int = KEEP_BYTES, max_bytes: int = BLOCK_BYTES
    ) -> None:
        self.scan = scan
        self.blocks = plan_blocks(scan, max_bytes)
        self._keep_bytes = keep_bytes
        self._kept: dict[int, Tile] = {}
        self._kept_bytes = 0
        self._lock = Lock()

    @property
    def resident(self) -> bool:
        """Whether the whole scan is decoded in memory."""
        return len(self._kept) == len(self.blocks)

    def with_kept(self, made: Callable[[Tile], Tile]) -> BlockReader:
        """The same reader with other tiles in the place of those it keeps."""
        other = copy(self)
        other._lock = Lock()
        other._kept = {index: made(tile) for index, tile in sorted(self._kept.items())}
        return other

    def read(self, index: int) -> Tile:
        """One block.

        Raises
        ------
        RunError
            If the file vanished or cannot be decoded.
        """
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        tile = read_tile(self.scan, *self.blocks[index])
        # A pass that was ended may still be reading the same block.
        with self._lock:
            fits = self._kept_bytes + tile.patterns.nbytes <= self._keep_bytes
            if index not in self._kept and fits:
                self._kept[index] = tile
                self._kept_bytes += tile.patterns.nbytes
        return tile

    def __iter__(self) -> Iterator[Tile]:
        for index in range(len(self.blocks)):
            yield self.read(index)


def iter_tiles(scan: Scan, max_bytes: int = BLOCK_BYTES) -> Iterator[Tile]:
    """All tiles of a scan in order, none kept."""
    yield from BlockReader(scan, keep_bytes=0, max_bytes=max_bytes)
