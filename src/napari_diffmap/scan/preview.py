"""A first image of a scan within a moment: a few positions, spread evenly, then more of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.detectors import Detector, tile_image
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import read_tile

#: Positions of the coarsest image.
_FIRST = 64


def preview_images(
    scan: Scan, detectors: Sequence[Detector], seconds: float = 0.05
) -> list[NDArray[np.float32]]:
    """Virtual images as well as they can be had in a given time.

    Positions a power of two apart are read, then those half as far apart, until the time is
    over; each stands for the square around it.  The first, coarsest image is always made.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    detectors
        Any number of detectors.
    seconds
        Time to take.

    Returns
    -------
    list of ndarray
        One ``(y, x)`` float32 image a detector; NaN where a position read holds no frame.

    Raises
    ------
    RunError
        If the file cannot be read.
    """
    end = time.perf_counter() + seconds
    ny, nx = scan.shape[:2]
    images = [np.full((ny, nx), np.nan, dtype=np.float32) for _ in detectors]
    step = 1
    while -(-ny // step) * -(-nx // step) > _FIRST:
        step *= 2
    first = True
    while step >= 1:
        begins = [min(start + step // 2, size - 1) for start, size in ((0, ny), (0, nx))]
        for y in range(begins[0], ny, step):
            columns = slice(begins[1], nx, step)
            if not first and time.perf_counter() > end:
                return images
            row = read_tile(scan, slice(y, y + 1), columns)
            last = y + step >= ny
            rows = slice(max(0, y - step // 2), ny if last else y - step // 2 + step)
            for image, detector in zip(images, detectors, strict=True):
                _spread(image[rows], tile_image(row, detector)[0], step)
        first = False
        step //= 2
    return images


def _spread(rows: NDArray[np.float32], values: NDArray[np.float32], step: int) -> None:
    """Let each value stand for the columns around it, in place."""
    wide = np.repeat(values, step)[: rows.shape[1]]
    rows[:, : len(wide)] = wide
    rows[:, len(wide) :] = values[-1]
