"""Stacks without patterns (STXM, image series): images by plane, traces by position."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.scan import Scan

#: Stacks up to this size stay decoded in memory.
_KEEP_BYTES = 1 << 30


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
        self._lock = Lock()

    def _data(self) -> Any:
        """The decoded stack when it fits memory, else the lazy one."""
        if self.scan.nbytes > _KEEP_BYTES:
            return self.scan.data
        with self._lock:
            if self._array is None:
                self._array = np.asarray(self.scan.data.compute(scheduler="threads"))
            return self._array

    def image(self, plane: int | None) -> NDArray[np.float32]:
        """One plane, or the mean of all, ``(y, x)``; NaN where no frame was recorded."""
        data = self._data()
        if plane is not None:
            image = np.asarray(data[plane], dtype=np.float32)
            if self.scan.missing is not None and self.scan.missing[plane]:
                image = np.full_like(image, np.nan)
            return image
        there = slice(None) if self.scan.missing is None else ~self.scan.missing
        return np.asarray(data[there].mean(axis=0), dtype=np.float32)

    def trace(self, y: int, x: int) -> NDArray[np.float64]:
        """Values of one position over all planes; NaN where no frame was recorded."""
        return self._with_gaps(np.asarray(self._data()[:, y, x], dtype=np.float64))

    def mean_trace(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean over a region ``(y, x)`` for every plane."""
        data = self._data()
        values = [np.asarray(data[i])[mask].mean(dtype=np.float64) for i in range(data.shape[0])]
        return self._with_gaps(np.asarray(values))

    def _with_gaps(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.scan.missing is not None:
            values = values.copy()
            values[self.scan.missing] = np.nan
        return values
