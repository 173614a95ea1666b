"""Measured diffraction peaks, one row a peak, with a row pointer per position."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError


@dataclass(frozen=True, eq=False)
class PeakTable:
    """Peaks of every scan position, stored flat (compressed sparse rows).

    Attributes
    ----------
    shape
        Scan shape ``(y, x)``.
    offsets
        ``(y * x + 1,)`` int64: peaks of position *i* (row-major) are rows
        ``offsets[i]:offsets[i + 1]``.
    ky, kx
        Position relative to the direct beam, in 1/Å when `calibrated`, else in
        pixels.
    intensity
        Integrated intensity.
    calibrated
        Whether positions are in 1/Å.
    """

    shape: tuple[int, int]
    offsets: NDArray[np.int64]
    ky: NDArray[np.float32]
    kx: NDArray[np.float32]
    intensity: NDArray[np.float32]
    calibrated: bool = True

    def __post_init__(self) -> None:
        rows = self.shape[0] * self.shape[1]
        if self.offsets.shape != (rows + 1,) or self.offsets[-1] != self.ky.size:
            raise BadInputError("the peak list does not fit its scan shape")

    def __len__(self) -> int:
        return int(self.ky.size)

    def at(self, y: int, x: int) -> NDArray[np.float32]:
        """Peaks of one position as ``(n, 3)``: ky, kx, intensity."""
        i = y * self.shape[1] + x
        rows = slice(self.offsets[i], self.offsets[i + 1])
        return np.stack((self.ky[rows], self.kx[rows], self.intensity[rows]), axis=1)

    def count_map(self) -> NDArray[np.int64]:
        """Number of peaks at each position, ``(y, x)``."""
        return np.diff(self.offsets).reshape(self.shape)

    def reshaped(self, shape: tuple[int, int]) -> PeakTable:
        """The same peaks on another scan shape of the same size."""
        return replace(self, shape=shape)
