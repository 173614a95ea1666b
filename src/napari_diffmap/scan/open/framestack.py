"""Frames from several places as one stack, cropped where their sizes differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.notes import shape_text
from napari_diffmap.scan.open.regions import Index, Region

#: A frame smaller than this part of the median one is no part of the stack.
_SMALLEST = 0.5


class FrameStack(Region):
    """Pictures ``(y, x)`` one after another; their top left corners fall together.

    Parameters
    ----------
    parts
        One region a frame; None where there is none (it reads as NaN).
    home
        File or folder that the stack was opened from.
    shape
        Rows and columns that every frame has.
    squared
        Whether frames are waves whose intensity is wanted.
    """

    def __init__(
        self,
        parts: Sequence[Region | None],
        home: Path,
        shape: tuple[int, int],
        *,
        squared: bool = False,
    ) -> None:
        self.path = home
        self._parts = tuple(parts)
        self._squared = squared
        self.shape = (len(self._parts), *shape)
        dtype = np.result_type(*(part.dtype for part in self._parts if part is not None))
        if squared or dtype.kind == "c":
            dtype = np.empty(0, dtype=dtype).real.dtype
        self.dtype = np.result_type(dtype, np.float32) if None in self._parts else dtype

    def read(self, index: Index) -> NDArray[Any]:
        """Read each frame asked for."""
        wanted = np.arange(len(self._parts))[index[0]]
        inside = tuple(
            slice(*part.indices(size)) if isinstance(part, slice) else part
            for part, size in zip(index[1:], self.shape[1:], strict=True)
        )
        frames = [self._frame(self._parts[int(i)], inside) for i in np.atleast_1d(wanted)]
        if not isinstance(index[0], slice):
            return frames[0]
        if frames:
            return np.stack(frames)
        return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *inside)]

    def _frame(self, part: Region | None, inside: Index) -> NDArray[Any]:
        if part is None:
            empty = np.broadcast_to(np.array(np.nan, self.dtype), self.shape[1:])
            return np.array(empty[inside])
        frame = part[inside]
        if self._squared or frame.dtype.kind == "c":
            size = np.abs(frame)
            frame = size * size if self._squared else size
        return frame.astype(self.dtype, copy=False)


class Plane(Region):
    """One picture of a stack, or a view of a region with its leading axes fixed."""

    def __init__(self, inner: Region, *at: int) -> None:
        self.path = inner.path
        self._inner = inner
        self._at = at
        self.shape = inner.shape[len(at) :]
        self.dtype = inner.dtype

    def read(self, index: Index) -> NDArray[Any]:
        """Read that picture."""
        return self._inner[(*self._at, *index)]


def common_size(
    shapes: Sequence[tuple[int, ...] | None], notes: list[str], name: str
) -> tuple[int, int]:
    """Rows and columns that every frame has; differences are said.

    Parameters
    ----------
    shapes
        Shape of each frame, None where there is none.
    notes
        Takes the line about frames that are cropped.
    name
        Of the file, for the error.

    Raises
    ------
    ScanFileError
        If a frame is far smaller than the others.
    """
    there = np.array([shape for shape in shapes if shape is not None], dtype=np.int64)
    rows, columns = (int(n) for n in there.min(axis=0))
    low, high = shape_text(there.min(axis=0)), shape_text(there.max(axis=0))
    if low == high:
        return rows, columns
    if (there.min(axis=0) < _SMALLEST * np.median(there, axis=0)).any():
        raise ScanFileError(
            f"{name}: its frames are {low} to {high} pixels and make no stack:"
            " take out those of another size"
        )
    notes.append(
        f"frames differ in size ({low} to {high} pixels): cropped to their common {low} from the"
        " top left"
    )
    return rows, columns
