"""Stacks without patterns (STXM, image series): images by plane, traces by position."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.display import contrast_limits

#: Stacks up to this size stay decoded in memory.
_KEEP_BYTES = 1 << 30
#: Frames of a movie that are looked at for black and white levels.
_LEVEL_FRAMES = 5


class StackData:
    """Images and traces of a stack ``(energy or time, y, x)``.

    Parameters
    ----------
    scan
        An STXM or image-series scan.
    """

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self._array: NDArray[Any] | None = None
        self._shifted: NDArray[np.float32] | None = None
        self._lock = Lock()

    @property
    def shifted(self) -> bool:
        """Whether aligned frames stand in for the measured ones."""
        return self._shifted is not None

    def show_shifted(self, stack: NDArray[np.float32] | None) -> None:
        """Let aligned frames ``(energy, y, x)`` stand in for the measured ones; None: no longer."""
        self._shifted = stack

    def whole(self) -> NDArray[Any]:
        """The stack ``(energy, y, x)`` in memory; NaN where no frame was recorded."""
        return self._whole(self._data())

    def measured(self) -> NDArray[Any]:
        """The same without any alignment."""
        return self._whole(self._measured())

    def _whole(self, stack: Any) -> NDArray[Any]:
        data = np.asarray(stack)
        if self.scan.missing is not None and self.scan.missing.any():
            data = data.astype(np.float32)
            data[self.scan.missing] = np.nan
        return data

    def _data(self) -> Any:
        return self._measured() if self._shifted is None else self._shifted

    def _measured(self) -> Any:
        """The decoded stack when it fits memory, else the lazy one."""
        if self.scan.nbytes > _KEEP_BYTES:
            return self.scan.data
        with self._lock:
            if self._array is None:
                self._array = np.asarray(self.scan.data.compute(scheduler="threads"))
            return self._array

    def movie(self) -> tuple[Any, tuple[float, float]]:
        """The stack ``(time, y, x)`` to be shown, lazy where it is large, and its grey levels."""
        shown = self.whole() if self.scan.nbytes <= _KEEP_BYTES else self.scan.data
        picks = np.unique(np.linspace(0, shown.shape[0] - 1, _LEVEL_FRAMES).astype(int))
        return shown, contrast_limits(np.stack([np.asarray(shown[i]) for i in picks]))

    def image(self, plane: int | None) -> NDArray[np.float32]:
        """One plane, or the mean of all, ``(y, x)``; NaN where no frame was recorded."""
        data = self._data()
        if plane is not None:
            image = np.asarray(data[plane], dtype=np.float32)
            if self.scan.missing is not None and self.scan.missing[plane]:
                image = np.full_like(image, np.nan)
            return image
        return self.mean_image(np.ones(data.shape[0], dtype=bool))

    def mean_image(self, planes: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Mean of some planes ``(energy,)``, ``(y, x)``; NaN where none of them was recorded."""
        data = self._data()
        if self.scan.missing is not None:
            planes = planes & ~self.scan.missing
        if not planes.any():
            return np.full(data.shape[1:], np.nan, dtype=np.float32)
        if self.shifted:
            return mean_known(data[planes])
        return np.asarray(data[planes].mean(axis=0), dtype=np.float32)

    def trace(self, y: int, x: int) -> NDArray[np.float64]:
        """Values of one position over all planes; NaN where no frame was recorded."""
        return self._with_gaps(np.asarray(self._data()[:, y, x], dtype=np.float64))

    def mean_trace(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean over a region ``(y, x)`` for every plane."""
        data = self._data()
        return self._with_gaps(mean_inside(data, mask))

    def _with_gaps(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.scan.missing is not None:
            values = values.copy()
            values[self.scan.missing] = np.nan
        return values


def mean_known(stack: NDArray[Any]) -> NDArray[np.float32]:
    """Mean over the first axis ``(n, y, x)`` of what is known; NaN where nothing is."""
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    total = np.where(known, stack, 0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def mean_inside(stack: Any, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the known pixels of a region ``(y, x)`` for every plane ``(n,)``."""
    found = np.full(stack.shape[0], np.nan)
    for i in range(stack.shape[0]):
        inside = np.asarray(stack[i])[mask]
        inside = inside[np.isfinite(inside)] if inside.dtype.kind == "f" else inside
        if inside.size:
            found[i] = inside.mean(dtype=np.float64)
    return found
