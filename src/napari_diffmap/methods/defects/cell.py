"""What sits in a unit cell: the mean of all cells, its sublattices and how bright they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Bins of the mean cell along each lattice vector.
_BINS = 24


def mean_cell(image: NDArray[np.float64], fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of all unit cells, ``(bins, bins)`` over fractional coordinates.

    Parameters
    ----------
    image
        ``(Y, X)``.
    fractions
        ``(Y, X, 2)`` of each pixel, 0–1.
    """
    from scipy.ndimage import gaussian_filter

    bins = (fractions * _BINS).astype(np.int64) % _BINS
    number = (bins[..., 0] * _BINS + bins[..., 1]).ravel()
    counts = np.bincount(number, minlength=_BINS**2)
    sums = np.bincount(number, image.ravel(), minlength=_BINS**2)
    cell = (sums / np.maximum(counts, 1)).reshape(_BINS, _BINS)
    return np.asarray(gaussian_filter(cell, 0.06 * _BINS, mode="wrap"))


def basis_of(
    cell: NDArray[np.float64], hexagonal: bool, vectors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractional places of the sublattices, brightest first, and how bright they are."""
    from scipy.ndimage import map_coordinates, maximum_filter

    def at(places: NDArray[np.float64]) -> NDArray[np.float64]:
        # A bin's value is that of its middle.
        return np.asarray(
            map_coordinates(cell, (places % 1.0).T * _BINS - 0.5, order=1, mode="grid-wrap")
        )

    top = np.unravel_index(int(np.argmax(cell)), cell.shape)
    first = _top_of(cell, np.array([top]))[0]
    if hexagonal:
        # Sites of three-fold symmetry: the brightest, and one of the two others is empty.
        both = first + np.array([[1 / 3, 1 / 3], [2 / 3, 2 / 3]])
        one, two = at(both)
        weak, empty = (both[0], two) if one >= two else (both[1], one)
        symmetric = _symmetric_origin(cell, first)
        bright = np.array([at(symmetric[None])[0], max(one, two)]) - empty
        return np.stack((symmetric, symmetric + weak - first)), bright
    peaks = np.argwhere(cell == maximum_filter(cell, 5, mode="wrap"))
    heights = cell[tuple(peaks.T)] - cell.min()
    kept = peaks[heights > 0.25 * heights.max()]
    places = _top_of(cell, kept)
    bright = at(places) - cell.min()
    order = np.argsort(-bright)
    return places[order], bright[order]


def _top_of(cell: NDArray[np.float64], peaks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Fractional places of maxima, by parabolas."""
    places = []
    for y, x in peaks:
        shift = []
        for dy, dx in ((1, 0), (0, 1)):
            low = cell[(y - dy) % _BINS, (x - dx) % _BINS]
            high = cell[(y + dy) % _BINS, (x + dx) % _BINS]
            bend = low - 2 * cell[y, x] + high
            shift.append(0.5 * (low - high) / bend if bend < 0 else 0.0)
        places.append((np.array([y, x]) + 0.5 + np.clip(shift, -0.5, 0.5)) / _BINS)
    return np.array(places)


#: Two stars of waves: those of each are turned into each other by 120°.
_STARS = np.array([[(1, 0), (0, 1), (-1, -1)], [(1, -1), (1, 2), (-2, -1)]])


def _symmetric_origin(cell: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """The three-fold axis nearest to a place of a cell.

    About an axis the waves of a star have one phase.  All pixels tell phases, and the tails of
    neighbours do not draw them aside as they do a maximum.
    """
    spectrum = np.fft.fft2(cell)
    rows, wanted, weights = [], [], []
    for star in _STARS:
        values = spectrum[star[:, 0] % _BINS, star[:, 1] % _BINS]
        # A bin's value is that of its middle.
        values = values * np.exp(2j * np.pi * star @ (first - 0.5 / _BINS))
        common = (values * np.abs(values)).sum()
        rows.append(star)
        wanted.append(np.angle(common * np.conj(values)) / (2 * np.pi))
        weights.append(np.abs(values))
    root = np.concatenate(weights)[:, None]
    shift = np.linalg.lstsq(np.concatenate(rows) * root, np.concatenate(wanted) * root[:, 0])[0]
    # Farther away lies another axis, or noise.
    return np.asarray(first + shift) if np.abs(shift).max() < 0.12 else first
