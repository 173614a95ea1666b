"""Patterns on demand: what the lazy pattern layer reads from."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.display import Stretch, contrast_limits

#: Decoded patterns kept for going back and forth.
_KEEP_BYTES = 128 << 20
#: Patterns that take longer (s) are read ahead of the mouse: so many, while it goes from
#: one position to another no farther away than that.
_SLOW, _AHEAD, _FAR = 0.002, 4, 4


class PatternSource:
    """An array ``(y, x, ky, kx)`` that decodes one pattern at a time and keeps the last ones.

    It is handed to napari as it is: a dask array with a chunk per pattern takes
    a second to slice at 1024 x 1024 positions, and larger chunks decode
    hundreds of patterns to show one.  A pattern loaded beforehand with `frame` in
    another thread is handed to the layer without touching the file, so moving
    about never blocks the window.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    on_error
        Told in one line when a pattern cannot be read; the layer then shows NaN.
    """

    def __init__(self, scan: Scan, on_error: Callable[[str], None] | None = None) -> None:
        self.scan = scan
        self.shape = scan.shape
        self.ndim = 4
        self.dtype = np.dtype(np.float32)
        self.stretch = Stretch()
        self.low, self.top = 0.0, 1.0
        self._on_error = on_error
        #: What the last pattern that was read took.
        self.seconds = 0.0
        self._frames: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._lock = Lock()
        size = scan.shape[2] * scan.shape[3] * max(scan.dtype.itemsize, 1)
        self._keep = max(4, _KEEP_BYTES // max(size, 1))

    def frame(self, y: int, x: int) -> NDArray[Any]:
        """Counts of one pattern; NaN where no frame was recorded."""
        with self._lock:
            if (y, x) in self._frames:
                self._frames.move_to_end((y, x))
                return self._frames[y, x]
        start = time.perf_counter()
        frame = self.scan.pattern(y, x)
        self.seconds = time.perf_counter() - start
        with self._lock:
            self._frames[y, x] = frame
            while len(self._frames) > self._keep:
                self._frames.popitem(last=False)
        return frame

    def grow(self, scan: Scan, new: NDArray[np.bool_]) -> None:
        """Read from the same scan with more frames; those that were missing are read anew."""
        with self._lock:
            self.scan = scan
            for place in [place for place in self._frames if new[place]]:
                del self._frames[place]

    def loaded(self, y: int, x: int) -> bool:
        """Whether a pattern is in memory already."""
        with self._lock:
            return (y, x) in self._frames

    def ahead(self, before: tuple[int, int], now: tuple[int, int]) -> list[tuple[int, int]]:
        """Where the mouse goes next if it goes on so, as far as that is not in memory.

        Empty where patterns come so fast that nothing is won.
        """
        step = (now[0] - before[0], now[1] - before[1])
        if self.seconds < _SLOW or not any(step) or max(map(abs, step)) > _FAR:
            return []
        ways = [(now[0] + k * step[0], now[1] + k * step[1]) for k in range(1, _AHEAD + 1)]
        inside = [(y, x) for y, x in ways if 0 <= y < self.shape[0] and 0 <= x < self.shape[1]]
        return [place for place in inside if not self.loaded(*place)]

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        index = index if isinstance(index, tuple) else (index,)
        index = (*index, *(slice(None),) * (4 - len(index)))
        ys, xs = (
            np.atleast_1d(np.arange(n)[i]) for n, i in zip(self.shape[:2], index[:2], strict=True)
        )
        stack = np.empty((len(ys), len(xs), *self.shape[2:]), dtype=np.float32)
        for i, y in enumerate(ys):
            for j, x in enumerate(xs):
                stack[i, j] = self._shown(int(y), int(x))
        drop = tuple(0 if np.ndim(np.arange(2)[i]) == 0 else slice(None) for i in _ends(index))
        return stack[(*drop, *index[2:])]

    def _shown(self, y: int, x: int) -> NDArray[np.float32]:
        try:
            frame = self.frame(y, x)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            if self._on_error is not None:
                self._on_error(f"cannot read pattern {y}, {x}: {error}")
            return np.full(self.shape[2:], np.nan, dtype=np.float32)
        return self.stretch.apply(frame, self.top)

    def set_levels(self, sample: NDArray[Any]) -> None:
        """Take black and white from some patterns (percentiles, not one pattern's extremes)."""
        self.low, self.top = contrast_limits(sample, 1.0, 99.9)

    @property
    def limits(self) -> tuple[float, float]:
        """Contrast limits of the layer for the present stretch."""
        return self.stretch.limits(self.low, self.top)

    @property
    def size(self) -> int:
        """Number of values, part of what napari asks of layer data."""
        return int(np.prod(self.shape, dtype=np.int64))


def _ends(index: tuple[Any, ...]) -> tuple[Any, Any]:
    """The two scan indices, made harmless for asking whether they drop an axis."""
    first, second = (
        0 if np.ndim(i) == 0 and not isinstance(i, slice) else slice(0, 2) for i in index[:2]
    )
    return first, second
