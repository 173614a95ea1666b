"""Sums over the pixels about each site, compiled: a frame has thousands of sites."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def _add_blobs(
    image: NDArray[np.float64],
    places: NDArray[np.float64],
    amplitudes: NDArray[np.float64],
    sigma: float,
    reach: int,
) -> None:
    rows, columns = image.shape
    x_part = np.empty(2 * reach + 1)
    for i in range(len(places)):
        y, x = places[i, 0], places[i, 1]
        cy, cx = int(np.rint(y)), int(np.rint(x))
        first, last = max(cx - reach, 0), min(cx + reach, columns - 1)
        for column in range(first, last + 1):
            x_part[column - first] = np.exp(-((column - x) ** 2) / (2 * sigma * sigma))
        for row in range(max(cy - reach, 0), min(cy + reach, rows - 1) + 1):
            y_part = amplitudes[i] * np.exp(-((row - y) ** 2) / (2 * sigma * sigma))
            for column in range(first, last + 1):
                image[row, column] += y_part * x_part[column - first]


@njit(nogil=True, cache=True)
def _scores(
    counts: NDArray[np.float64],
    expected: NDArray[np.float64],
    places: NDArray[np.float64],
    sigma: float,
    reach: int,
    slope: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> None:
    rows, columns = counts.shape
    x_part = np.empty(2 * reach + 1)
    for i in range(len(places)):
        y, x = places[i, 0], places[i, 1]
        cy, cx = int(np.rint(y)), int(np.rint(x))
        first, last = max(cx - reach, 0), min(cx + reach, columns - 1)
        for column in range(first, last + 1):
            x_part[column - first] = np.exp(-((column - x) ** 2) / (2 * sigma * sigma))
        a = b = 0.0
        for row in range(max(cy - reach, 0), min(cy + reach, rows - 1) + 1):
            y_part = np.exp(-((row - y) ** 2) / (2 * sigma * sigma))
            for column in range(first, last + 1):
                g = y_part * x_part[column - first]
                e = expected[row, column]
                a += (counts[row, column] / e - 1.0) * g
                b += g * g / e
        slope[i] = a
        weight[i] = b


def add_blobs(
    image: NDArray[np.float64],
    places: NDArray[np.float64],
    amplitudes: NDArray[np.floating[Any]],
    sigma: float,
) -> NDArray[np.float64]:
    """Add Gaussians to an image, cut off at four standard deviations.

    Parameters
    ----------
    image
        ``(Y, X)``, changed in place and returned.
    places, amplitudes
        ``(n, 2)`` y, x, and ``(n,)`` heights.
    sigma
        Standard deviation in pixels.
    """
    _add_blobs(
        image,
        np.ascontiguousarray(places, dtype=np.float64),
        np.ascontiguousarray(amplitudes, dtype=np.float64),
        float(sigma),
        int(np.ceil(4 * sigma)),
    )
    return image


def scores(
    counts: NDArray[np.float64],
    expected: NDArray[np.float64],
    places: NDArray[np.float64],
    sigma: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First derivative and Fisher information of a Poisson likelihood by a blob's height.

    Parameters
    ----------
    counts, expected
        ``(Y, X)``; `expected` is above 0.
    places
        ``(n, 2)``.
    sigma
        Of the blobs, pixels.

    Returns
    -------
    slope, weight
        ``(n,)``: the height that is missing is slope / weight, its variance 1 / weight.
    """
    slope, weight = np.empty(len(places)), np.empty(len(places))
    _scores(
        counts,
        expected,
        np.ascontiguousarray(places, dtype=np.float64),
        float(sigma),
        int(np.ceil(3 * sigma)),
        slope,
        weight,
    )
    return slope, weight
