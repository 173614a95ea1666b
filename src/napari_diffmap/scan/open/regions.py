"""Array-like views of files: nothing is held open, nothing is read until indexed.

Every region opens its file for one read and closes it again, so a scan can be
pickled to a cluster, no handle leaks and a file may be replaced while napari
shows it.  Values arrive in native byte order.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError

#: Bytes of one Dask chunk: some rows of patterns, decoded in one go.
CHUNK_BYTES = 32 << 20
#: A stored block that would make a chunk larger than this is decoded in parts instead.
MAX_CHUNK_BYTES = 256 << 20

Index = tuple[Any, ...]


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same dtype in the machine's byte order (torch and numba read no other)."""
    return dtype.newbyteorder("=")


class Region(ABC):
    """Part of a file, indexed like an array.

    Attributes
    ----------
    path
        The file.
    shape, dtype
        Of the array this region stands for; `dtype` is in native byte order.
    stored_chunks
        Block shape in the file, None where it is contiguous.
    unwritten
        True over the sample axes where the file has a place for a frame but none
        was ever written (it would read as zeros); None where all are there.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stored_chunks: tuple[int, ...] | None = None
    unwritten: NDArray[np.bool_] | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array once decoded."""
        return self.dtype.itemsize * math.prod(self.shape)

    @abstractmethod
    def read(self, index: Index) -> NDArray[Any]:
        """Values at `index` (integers and slices, one per axis)."""

    def view(self, index: Index) -> NDArray[Any] | None:
        """A map of the file at `index` that stays open as long as it is held.

        Parameters
        ----------
        index
            Integers and rising slices, for the first axes or all.

        Returns
        -------
        ndarray or None
            In the stored byte order and any strides; None where values must be decoded.
        """
        del index
        return None

    def laid_out(self, scan_shape: tuple[int, int]) -> Region | None:
        """Frames of a flat stack on scan positions, row by row; None where they lie otherwise."""
        if tuple(self.shape[:2]) == tuple(scan_shape):
            return self
        if self.ndim != 3:
            return None
        return FrameGrid(self, grid_index(self.shape[0], scan_shape))

    def __getitem__(self, index: Any) -> NDArray[Any]:
        full, turned = _forward(_complete(index, self.ndim), self.shape)
        try:
            values = self.read(full)
        except ScanFileError:
            raise
        except Exception as error:
            # Decoders raise anything on damaged bytes.
            reason = " ".join(str(error).split())[:120]
            raise ScanFileError(
                f"{self.path.name}: frames cannot be read ({reason}):"
                " the file is damaged or was moved"
            ) from error
        return np.asarray(values).astype(self.dtype, copy=False)[turned]

    def __dask_tokenize__(self) -> Any:
        try:
            stat = os.stat(self.path)
            state = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            state = (0, 0)
        rest = {k: v for k, v in vars(self).items() if k != "path"}
        return (type(self).__name__, str(self.path), state, tokenize(sorted(rest.items(), key=str)))


def _complete(index: Any, ndim: int) -> Index:
    """An index with one entry per axis."""
    items = index if isinstance(index, tuple) else (index,)
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if dots:
        at = dots[0]
        fill = ndim - len(items) + 1
        items = items[:at] + (slice(None),) * fill + items[at + 1 :]
    return items + (slice(None),) * (ndim - len(items))


def _forward(index: Index, shape: tuple[int, ...]) -> tuple[Index, Index]:
    """The same index in integers and rising slices, and what brings the result to it."""
    forward: list[Any] = []
    turned: list[Any] = []
    for part, size in zip(index, shape, strict=True):
        if isinstance(part, list | np.ndarray):
            picks = np.arange(size)[part]
            low, high = (int(picks.min()), int(picks.max()) + 1) if picks.size else (0, 0)
            forward.append(slice(low, high))
            turned.append(picks - low)
            continue
        if not isinstance(part, slice):
            forward.append(int(part) % size)
            continue
        rows = range(*part.indices(size))
        if rows.step < 0:
            forward.append(slice(rows[-1], rows[0] + 1, -rows.step) if rows else slice(0, 0))
            turned.append(slice(None, None, -1))
        else:
            forward.append(part)
            turned.append(slice(None))
    return tuple(forward), tuple(turned)


class FileRegion(Region):
    """Fixed-size records in a flat file, memory-mapped for each read.

    Parameters
    ----------
    path
        The file.
    shape
        Array shape, detector axes last.
    dtype
        Stored dtype, any byte order.
    offset
        Byte where the first record starts.
    order
        ``"F"`` where the first axis runs fastest.
    head, tail
        Bytes around every frame (the last two axes) that are not data.
    flip
        Whether detector rows are stored bottom up.
    """

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        dtype: Any,
        offset: int = 0,
        *,
        order: Literal["C", "F"] = "C",
        head: int = 0,
        tail: int = 0,
        flip: bool = False,
    ) -> None:
        self.path = path
        self.shape = tuple(int(n) for n in shape)
        self._stored = np.dtype(dtype)
        self.dtype = native(self._stored)
        self._offset = int(offset)
        self._order: Literal["C", "F"] = order
        self._head = head
        self._tail = tail
        self._flip = flip

    def _view(self) -> NDArray[Any]:
        if not (self._head or self._tail):
            view: NDArray[Any] = np.memmap(
                self.path,
                dtype=self._stored,
                mode="r",
                offset=self._offset,
                shape=self.shape,
                order=self._order,
            )
        else:
            record = np.dtype(
                [
                    ("head", f"V{self._head}"),
                    ("data", self._stored, self.shape[-2:]),
                    ("tail", f"V{self._tail}"),
                ]
            )
            records = np.memmap(
                self.path,
                dtype=record,
                mode="r",
                offset=self._offset,
                shape=self.shape[:-2] or (1,),
            )
            view = records["data"] if self.shape[:-2] else records["data"][0]
        return view[..., ::-1, :] if self._flip else view

    def view(self, index: Index) -> NDArray[Any] | None:
        """Where whole patterns lie side by side."""
        return self._view()[index] if self._order == "C" else None

    def read(self, index: Index) -> NDArray[Any]:
        """Copy out of a map that is closed again at once."""
        return np.array(self._view()[index], dtype=self.dtype)


class ScatteredFrames(Region):
    """Frames at given byte offsets of a file ``(n, ky, kx)``."""

    def __init__(
        self, path: Path, offsets: NDArray[np.int64], frame_shape: tuple[int, ...], dtype: Any
    ) -> None:
        self.path = path
        self._offsets = np.asarray(offsets, dtype=np.int64)
        self._stored = np.dtype(dtype)
        self.dtype = native(self._stored)
        self.shape = (len(self._offsets), *frame_shape)

    def read(self, index: Index) -> NDArray[Any]:
        """Seek to each frame asked for."""
        frames = np.atleast_1d(self._offsets[index[0]])
        ky, kx = self.shape[1:]
        out = np.empty((len(frames), ky, kx), dtype=self.dtype)
        with self.path.open("rb") as file:
            for i, start in enumerate(frames):
                file.seek(int(start))
                out[i] = np.fromfile(file, self._stored, ky * kx).reshape(ky, kx)
        picked = out[(slice(None), *index[1:])]
        return picked if isinstance(index[0], slice) else picked[0]


class FrameGrid(Region):
    """Frames of a flat stack laid out on scan positions.

    Parameters
    ----------
    frames
        ``(n, ky, kx)``.
    index
        Frame of every position ``(y, x)``; -1 where no frame was recorded.
    """

    def __init__(self, frames: Region, index: NDArray[np.int64]) -> None:
        self.path = frames.path
        self._frames = frames
        self._index = index
        self.shape = (*index.shape, *frames.shape[1:])
        self.dtype = frames.dtype

    @property
    def missing(self) -> NDArray[np.bool_] | None:
        """Positions without a frame, None when there is none."""
        absent = self._index < 0
        return absent if absent.any() else None

    def view(self, index: Index) -> NDArray[Any] | None:
        """Where the frames asked for are there, in equal steps along each axis."""
        depth = self._index.ndim
        wanted = self._index[index[:depth]]
        if not wanted.size or wanted.min() < 0:
            return None
        first = int(wanted.flat[0])
        steps = []
        laid = np.zeros_like(wanted)
        for axis, size in enumerate(wanted.shape):
            start = np.zeros(wanted.ndim, dtype=int)
            start[axis] = min(1, size - 1)
            steps.append(int(wanted[tuple(start)]) - first)
            along = np.arange(size).reshape(-1, *[1] * (wanted.ndim - axis - 1))
            laid += steps[-1] * along
        if min(steps, default=0) < 0 or (laid + first != wanted).any():
            return None
        frames = self._frames.view((slice(first, int(wanted.max()) + 1), *index[depth:]))
        if frames is None:
            return None
        strides = (*(step * frames.strides[0] for step in steps), *frames.strides[1:])
        shape = (*wanted.shape, *frames.shape[1:])
        return np.lib.stride_tricks.as_strided(frames, shape, strides, subok=True, writeable=False)

    def read(self, index: Index) -> NDArray[Any]:
        """Read runs of consecutive frames together; absent ones are NaN (0 for integers)."""
        depth = self._index.ndim
        wanted = self._index[index[:depth]]
        detector = index[depth:]
        flat = np.atleast_1d(wanted).ravel()
        frame_shape = tuple(
            len(range(*part.indices(size))) if isinstance(part, slice) else 1
            for part, size in zip(detector, self.shape[depth:], strict=True)
        )
        fill = np.nan if self.dtype.kind in "fc" else 0
        out = np.full((flat.size, *frame_shape), fill, dtype=self.dtype)
        breaks = np.flatnonzero((np.diff(flat) != 1) | (flat[:-1] < 0)) + 1
        for start, stop in zip(
            np.concatenate(([0], breaks)), np.concatenate((breaks, [flat.size])), strict=True
        ):
            if flat.size and flat[start] >= 0:
                run = slice(int(flat[start]), int(flat[stop - 1]) + 1)
                out[start:stop] = self._frames[(run, *detector)].reshape(-1, *frame_shape)
        kept = tuple(
            n for n, part in zip(frame_shape, detector, strict=True) if isinstance(part, slice)
        )
        return out.reshape((*np.shape(wanted), *kept))


class Stacked(Region):
    """Several regions of equal frames one after another along the first axis."""

    def __init__(self, parts: Sequence[Region]) -> None:
        self.path = parts[0].path
        self._parts = tuple(parts)
        self._starts = np.concatenate(([0], np.cumsum([part.shape[0] for part in parts])))
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype
        self.stored_chunks = parts[0].stored_chunks

    def read(self, index: Index) -> NDArray[Any]:
        """Read from every part that the index touches."""
        first, rest = index[0], index[1:]
        if not isinstance(first, slice):
            part = int(np.searchsorted(self._starts, first, side="right")) - 1
            return self._parts[part][(int(first - self._starts[part]), *rest)]
        start, stop, step = first.indices(self.shape[0])
        pieces = [
            part[(slice(max(0, start - low), min(part.shape[0], stop - low)), *rest)]
            for part, low in zip(self._parts, self._starts, strict=False)
            if low < stop and low + part.shape[0] > start
        ]
        if not pieces:
            return self._parts[0][(slice(0, 0), *rest)]
        return np.concatenate(pieces)[::step]


def frame_chunks(
    shape: tuple[int, ...],
    itemsize: int,
    frame_axes: Sequence[int],
    stored: tuple[int, ...] | None = None,
    target: int = CHUNK_BYTES,
) -> tuple[int, ...]:
    """Chunk shape that holds whole patterns and follows the blocks of the file.

    Parameters
    ----------
    shape, itemsize
        Of the array.
    frame_axes
        Axes of one pattern; never split.
    stored
        Block shape in the file.
    target
        Wanted bytes of a chunk.
    """
    ndim = len(shape)
    frames = {axis % ndim for axis in frame_axes}
    frame_bytes = itemsize * math.prod(shape[a] for a in frames)
    chunks = [
        shape[a] if a in frames else min(shape[a], stored[a] if stored else 1) for a in range(ndim)
    ]
    sample = [a for a in range(ndim) if a not in frames]
    if frame_bytes * math.prod(chunks[a] for a in sample) > MAX_CHUNK_BYTES:
        for a in sample:
            chunks[a] = 1
    for a in reversed(sample):
        size = frame_bytes * math.prod(chunks[b] for b in sample)
        chunks[a] = min(shape[a], chunks[a] * max(1, target // max(1, size)))
        if chunks[a] < shape[a]:
            break
    return tuple(max(1, n) for n in chunks)


def cuts_patterns(region: Region, frame_axes: Sequence[int]) -> bool:
    """Whether stored blocks run across so many patterns that each is decoded many times."""
    if region.stored_chunks is None:
        return False
    frames = {axis % region.ndim for axis in frame_axes}
    whole = [
        region.shape[a] if a in frames else min(region.shape[a], region.stored_chunks[a])
        for a in range(region.ndim)
    ]
    return region.dtype.itemsize * math.prod(whole) > MAX_CHUNK_BYTES


def lazy(region: Region, frame_axes: Sequence[int] = (-2, -1)) -> da.Array:
    """A Dask array over a region, whole patterns in every chunk."""
    chunks = frame_chunks(region.shape, region.dtype.itemsize, frame_axes, region.stored_chunks)
    array: da.Array = da.from_array(
        region,
        chunks=chunks,
        name=f"scan-{tokenize(region, chunks)}",
        asarray=False,
        meta=np.empty((0,) * region.ndim, dtype=region.dtype),
    )
    return array


def grid_index(frames: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Row-major layout of the frames present on `shape`; -1 beyond the last one."""
    index = np.arange(math.prod(shape), dtype=np.int64)
    index[frames:] = -1
    return index.reshape(shape)
