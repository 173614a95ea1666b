"""A scan piece by piece: work done here, one piece after another, or on a cluster's workers.

Whatever runs over a scan – a method's maps, the spots of a peak table – is a function of a tile.
An *executor* takes it over all positions that are still to be done, in any order, and gives
back what came out of each piece.  Pieces are small enough for *stop* to act within half a
second, and where memory runs out a piece is halved and tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.jobs.control import JobControl
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BlockReader, Tile

T = TypeVar("T")

#: Seconds a piece may take.
_PIECE_SECONDS = 0.4
_FIRST_PIECE, _LARGEST_PIECE = 16, 4096


@dataclass(frozen=True, eq=False)
class Done(Generic[T]):
    """What came out of one piece.

    Attributes
    ----------
    rows, columns
        Scan positions of the piece.
    found
        What the work gave for its tile.
    seconds
        Time that passed for it.
    """

    rows: slice
    columns: slice
    found: T
    seconds: float


class Executor(Protocol):
    """Runs work over the pieces of a scan."""

    def over(
        self, scan: Scan, work: Callable[[Tile], T], todo: NDArray[np.bool_], control: JobControl
    ) -> Iterator[Done[T]]:
        """Run `work` on every piece that holds a position where `todo` is True.

        Parameters
        ----------
        scan
            A 4D-STEM scan.
        work
            From a tile to anything; it may see a position that is not to be done beside
            others that are.
        todo
            ``(y, x)`` bool; may change while the run goes on.
        control
            Asked between pieces.

        Raises
        ------
        CancelledError
            When stopped.
        RunError
            When the file cannot be read, or a cluster is lost.
        Exception
            What `work` raises.
        """
        ...


class InProcess:
    """One piece after another in the calling thread, sized by the pace so far.

    Parameters
    ----------
    reader
        Where tiles come from; blocks it keeps are not decoded again.
    """

    def __init__(self, reader: BlockReader | None = None) -> None:
        self._reader = reader
        self._pace: float | None = None

    def over(
        self, scan: Scan, work: Callable[[Tile], T], todo: NDArray[np.bool_], control: JobControl
    ) -> Iterator[Done[T]]:
        """See `Executor`."""
        reader = self._reader or BlockReader(scan, keep_bytes=0)
        for number, block in enumerate(reader.blocks):
            if not todo[block].any():
                continue
            rest = [reader.read(number)]
            while rest:
                piece, left = cut(rest.pop(), self._size())
                rest += reversed(left)
                if not todo[piece.rows, piece.columns].any():
                    continue
                control.check()
                start = time.perf_counter()
                for part, found in in_halves(work, piece):
                    seconds = time.perf_counter() - start
                    self._pace = seconds / max(1, part.missing.size)
                    yield Done(part.rows, part.columns, found, seconds)
                    start = time.perf_counter()

    def _size(self) -> int:
        if self._pace is None:
            return _FIRST_PIECE
        return int(np.clip(_PIECE_SECONDS / max(self._pace, 1e-7), 1, _LARGEST_PIECE))


def is_out_of_memory(error: BaseException) -> bool:
    """Torch raises its own subclass of RuntimeError, numpy a MemoryError."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def in_halves(work: Callable[[Tile], T], tile: Tile) -> Iterator[tuple[Tile, T]]:
    """The work on a tile, or on its halves, quarters … where memory runs out.

    Raises
    ------
    MemoryError, RuntimeError
        If a single pattern is too much.
    """
    try:
        found = work(tile)
    except (MemoryError, RuntimeError) as error:
        patterns = tile.missing.size
        if not is_out_of_memory(error) or patterns < 2:
            raise
        # Not in the handler: the traceback would hold on to the memory.
        halves = patterns // 2
    else:
        yield tile, found
        return
    _free_device_memory()
    rest = [tile]
    while rest:
        head, left = cut(rest.pop(), halves)
        rest += reversed(left)
        yield from in_halves(work, head)


def _free_device_memory() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def cut(tile: Tile, size: int) -> tuple[Tile, list[Tile]]:
    """About `size` patterns from the beginning of a tile, and what is left of it in order."""
    ny, nx = tile.shape
    if size >= ny * nx:
        return tile, []
    if size >= nx:
        height = size // nx
        left = [_part(tile, slice(height, ny), slice(0, nx))]
        return _part(tile, slice(0, height), slice(0, nx)), left
    left = [_part(tile, slice(0, 1), slice(size, nx))]
    if ny > 1:
        left.append(_part(tile, slice(1, ny), slice(0, nx)))
    return _part(tile, slice(0, 1), slice(0, size)), left


def _part(tile: Tile, rows: slice, columns: slice) -> Tile:
    y, x = tile.rows.start, tile.columns.start
    return Tile(
        slice(y + rows.start, y + rows.stop),
        slice(x + columns.start, x + columns.stop),
        tile.patterns[rows, columns],
        tile.missing[rows, columns],
    )
