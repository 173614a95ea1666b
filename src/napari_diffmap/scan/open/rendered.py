"""Patterns drawn from peaks on demand, at any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from napari_diffmap.scan.open.regions import Index, Region
from napari_diffmap.scan.peaks import PeakTable


class RenderedPeaks(Region):
    """Patterns drawn from a peak list: a Gaussian of the peak's intensity at each position.

    Gaussians are added at float positions, so overlapping spots keep their sum and
    no spot is rounded to a pixel.

    Parameters
    ----------
    path
        The peak list.
    peaks
        Positions relative to the direct beam.
    pixel_size
        Unit of `peaks` per detector pixel.
    shape
        Pixels of a pattern ``(ky, kx)``.
    sigma
        Width of the Gaussians in pixels.
    center
        Pixel of the direct beam; the middle of the pattern without one.
    """

    def __init__(
        self,
        path: Path,
        peaks: PeakTable,
        pixel_size: float,
        shape: tuple[int, int],
        sigma: float,
        center: tuple[float, float] | None = None,
    ) -> None:
        self.path = path
        self._peaks = peaks
        self.pixel_size = pixel_size
        self._sigma = sigma
        self.center = center or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
        self.shape = (*peaks.shape, *shape)
        self.dtype = np.dtype(np.float32)

    def __dask_tokenize__(self) -> Any:
        # The peaks themselves: two tables of a scan may have as many.
        peaks = self._peaks
        return tokenize(
            str(self.path),
            (peaks.offsets, peaks.ky, peaks.kx, peaks.intensity),
            (self.shape, self.pixel_size, self._sigma, self.center),
        )

    def read(self, index: Index) -> NDArray[Any]:
        """Draw the patterns asked for, then cut the detector."""
        columns = self.shape[1]
        rows = np.arange(self.shape[0])[index[0]]
        across = np.arange(columns)[index[1]]
        wanted = np.add.outer(rows * columns, across)
        patterns = self.draw(np.atleast_1d(wanted).ravel())
        patterns = patterns.reshape((*wanted.shape, *self.shape[2:]))
        return patterns[(..., *index[2:])]

    def draw(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Patterns ``(n, ky, kx)`` of the given scan positions (row-major)."""
        height, width = self.shape[2:]
        offsets = self._peaks.offsets
        starts, stops = offsets[positions], offsets[positions + 1]
        counts = stops - starts
        rows = np.repeat(starts - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
        rows = rows + np.arange(int(counts.sum()))
        pattern = np.repeat(np.arange(len(positions)), counts)
        y = self._peaks.ky[rows] / self.pixel_size + self.center[0]
        x = self._peaks.kx[rows] / self.pixel_size + self.center[1]
        reach = int(np.ceil(4 * self._sigma))
        window = np.arange(-reach, reach + 1)
        at_y = np.round(y).astype(np.int64)[:, None] + window
        at_x = np.round(x).astype(np.int64)[:, None] + window
        weight_y = np.exp(-0.5 * ((at_y - y[:, None]) / self._sigma) ** 2)
        weight_x = np.exp(-0.5 * ((at_x - x[:, None]) / self._sigma) ** 2)
        # Each peak adds its own intensity: sampled weights sum to one inside the frame.
        weight_y *= self._peaks.intensity[rows, None] / (2 * np.pi * self._sigma**2)
        weight_y[(at_y < 0) | (at_y >= height)] = 0
        weight_x[(at_x < 0) | (at_x >= width)] = 0
        out = np.zeros((len(positions), height, width), dtype=np.float64)
        np.add.at(
            out,
            (
                pattern[:, None, None],
                np.clip(at_y, 0, height - 1)[:, :, None],
                np.clip(at_x, 0, width - 1)[:, None, :],
            ),
            weight_y[:, :, None] * weight_x[:, None, :],
        )
        return out.astype(np.float32)
