"""The mean of frames that lie shifted on the sample, on a canvas that grows with the drift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class MeanImage:
    """Frames added at fractions of a pixel, and taken off again.

    Parameters
    ----------
    shape
        Rows and columns of a frame.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._origin = np.array([-(n // 4) for n in shape])  # sample place of the first pixel
        size = tuple(n + 2 * (n // 4) for n in shape)
        self._sum = np.zeros(size, dtype=np.float32)
        self._weight = np.zeros(size, dtype=np.float32)

    def add(self, frame: NDArray[Any], shift: NDArray[np.float64], times: float = 1.0) -> None:
        """Add a frame.

        Parameters
        ----------
        frame
            ``(Y, X)``.
        shift
            How far the sample has moved in it.
        times
            Its weight; -1 takes off what was added.
        """
        corner = -np.asarray(shift, dtype=np.float64)
        whole = np.floor(corner).astype(int)
        part = corner - whole
        y, x = self._room(whole)
        rows, columns = self.shape
        for dy, wy in ((0, 1 - part[0]), (1, part[0])):
            for dx, wx in ((0, 1 - part[1]), (1, part[1])):
                share = np.float32(wy * wx * times)
                if share:
                    at = np.s_[y + dy : y + dy + rows, x + dx : x + dx + columns]
                    self._sum[at] += share * frame
                    self._weight[at] += share

    def window(self, shift: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and number of frames where a frame of this shift (to a pixel) looks.

        Where there is none the mean is that of all.
        """
        y, x = self._room(-np.round(np.asarray(shift)).astype(int))
        at = np.s_[y : y + self.shape[0], x : x + self.shape[1]]
        weight = self._weight[at]
        known = weight > 0.01
        mean = np.divide(self._sum[at], weight, out=np.zeros(self.shape, np.float32), where=known)
        if not known.all():
            mean[~known] = mean[known].mean() if known.any() else 0.0
        return mean, weight

    def _room(self, corner: NDArray[Any]) -> tuple[int, int]:
        """Index of a corner on the canvas, which grows where a frame would not fit."""
        start = corner - self._origin
        stop = start + np.asarray(self.shape) + 1
        low = np.maximum(-start, 0)
        high = np.maximum(stop - np.asarray(self._sum.shape), 0)
        if low.any() or high.any():
            more = np.asarray(self.shape) // 4
            pad = [
                (int(a + m if a else 0), int(b + m if b else 0))
                for a, b, m in zip(low, high, more, strict=True)
            ]
            self._sum, self._weight = np.pad(self._sum, pad), np.pad(self._weight, pad)
            self._origin = self._origin - np.array([p[0] for p in pad])
            start = corner - self._origin
        return int(start[0]), int(start[1])
