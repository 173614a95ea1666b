"""Reciprocal vectors of a lattice seen in an image, from the peaks of its power spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

#: A peak counts from this many times the median power of its ring.
_CLEAR = 8.0
#: The same of the six peaks of a hexagon of known size, as the logarithm of their mean.
_HEXAGON = 2.2
#: Peaks lie this share of their distance from the middle off a regular hexagon at most.
_SHEAR = 0.14
#: Values farther from the median than this many standard deviations are cut down.
_CUT = 3.0
#: Peaks that are looked at, strongest first.
_MOST = 60
#: A lattice constant has this many pixels at least.
SHORTEST = 3.5


class NoLatticeError(BadInputError):
    """An image shows no lattice."""


@dataclass(frozen=True, eq=False)
class Reciprocal:
    """Two reciprocal vectors that all peaks are sums of.

    Attributes
    ----------
    vectors
        ``(2, 2)`` cycles per pixel along y and x.
    clearness
        Power of the weaker one over the median power at its length.
    hexagonal
        Whether a third peak makes a hexagon of them.
    """

    vectors: NDArray[np.float64]
    clearness: float
    hexagonal: bool


def standardised(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """An image without gaps, outliers and mean: NaN becomes the mean, 0.1 % are cut off."""
    values = np.asarray(image, dtype=np.float64)
    known = np.isfinite(values)
    if not known.any():
        raise NoLatticeError("the image holds no values: choose another frame")
    low, high = np.percentile(values[known], (0.05, 99.95))
    filled = np.where(known, np.clip(values, low, high), values[known].mean())
    return np.asarray(filled - filled.mean())


def taper(shape: tuple[int, int], share: float = 0.25) -> NDArray[np.float64]:
    """A window that falls to 0 at the border of an image, along `share` of each side."""
    from scipy.signal.windows import tukey

    return np.outer(tukey(shape[0], share), tukey(shape[1], share))


def find_reciprocal(image: NDArray[np.floating], spacing: float | None = None) -> Reciprocal:
    """The shortest reciprocal vectors of a lattice.

    Parameters
    ----------
    image
        ``(Y, X)``.
    spacing
        Lattice constant a of a hexagonal lattice in pixels, where it is known to 8 %.

    Raises
    ------
    NoLatticeError
        If there is none.
    """
    if spacing is not None:
        return _template(image, spacing)
    power, size = _whitened(standardised(image))
    peaks, heights = _peaks(power, size, min(image.shape))
    hexagon = _hexagon(peaks, heights)
    return _oblique(peaks, heights) if hexagon is None else _inner(power, hexagon)


def without_slow(image: NDArray[np.floating], spacing: float) -> NDArray[np.float64]:
    """An image less what varies over more than a cell, with bright atoms and dirt cut down.

    Parameters
    ----------
    image
        ``(Y, X)``.
    spacing
        Lattice constant in pixels.
    """
    from scipy.ndimage import gaussian_filter

    values = standardised(image)
    values = values - gaussian_filter(values, 1.5 * spacing, truncate=3)
    # Judged by what is as wide as an atom: single pixels are noise, and may stand out.
    smooth = gaussian_filter(values, 0.12 * spacing, truncate=3)
    smooth -= float(np.median(smooth))
    limit = _CUT * 1.4826 * float(np.median(np.abs(smooth)))
    return np.asarray(values - (smooth - np.clip(smooth, -limit, limit)))


def _template(image: NDArray[np.floating], spacing: float) -> Reciprocal:
    """The hexagon of a size that is known to 8 %: six peaks together are clear where one is not."""
    from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter

    if spacing < SHORTEST:
        raise NoLatticeError(
            f"a lattice constant of {spacing:.1f} pixels is too short: record more magnified images"
        )
    values = gaussian_filter(without_slow(image, spacing), 0.12 * spacing)
    size = min(2048, int(2 ** np.ceil(np.log2(4 * max(image.shape)))))
    values = values[:size, :size]
    window = taper((values.shape[0], values.shape[1]), 0.6)
    power = np.abs(np.fft.fftshift(np.fft.fft2(values * window, (size, size)))) ** 2
    shortest = 2 / np.sqrt(3) / spacing
    # Drift shears a lattice: its peaks may lie beside the corners of a regular hexagon.
    near = maximum_filter(power, 2 * max(1, round(0.04 * shortest * size)) + 1)
    length = shortest * np.linspace(0.92, 1.08, 33)[:, None, None]
    step = np.deg2rad(max(0.25, min(1.0, 40 * spacing / min(image.shape) / 4)))
    turn = np.arange(0, np.pi / 3, step)[None, :, None] + np.pi / 3 * np.arange(3)

    def ring(factor: float, offset: float) -> NDArray[np.float64]:
        at = [size // 2 + size * factor * length * f(turn + offset) for f in (np.sin, np.cos)]
        found = map_coordinates(near, at, order=1)
        return np.asarray(np.log(found / np.median(found) + 1e-12).mean(axis=-1))

    first = ring(1.0, 0.0)
    both = first + np.clip(ring(np.sqrt(3), np.pi / 6), -1, None)
    i, j = np.unravel_index(int(np.argmax(both)), both.shape)
    if first[i, j] < _HEXAGON:
        raise NoLatticeError(
            f"no hexagonal lattice of {spacing:.1f} pixels is seen: check the pixel size and the"
            " material"
        )
    # Every third lattice point makes a lattice, too: then there are peaks further in.
    if ring(1 / np.sqrt(3), np.pi / 6)[i, j] > max(_HEXAGON, first[i, j] - 2):
        raise NoLatticeError(
            f"the lattice is larger than {spacing:.1f} pixels: check the pixel size and the"
            " material"
        )
    angle = turn[0, j, :2]
    vectors = length[i, 0, 0] * np.stack((np.sin(angle), np.cos(angle)), axis=1)
    return Reciprocal(_sheared(power, vectors), float(np.exp(first[i, j])), hexagonal=True)


def _sheared(power: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two vectors of the hexagon of peaks near a regular one: the brightest three that close."""
    from scipy.ndimage import map_coordinates, maximum_filter

    size = power.shape[0]
    logs = np.log(power + 1e-12 * power.max())
    top = np.argwhere(power == maximum_filter(power, 5))
    top = top[(top > 1).all(axis=1) & (top < size - 2).all(axis=1)]
    shifts = np.stack([_vertex(power, top[:, 0], top[:, 1], axis) for axis in (0, 1)], axis=1)
    peaks = (top - size // 2 + shifts) / size
    length = float(np.hypot(*vectors.T).mean())
    ways = []
    for aim in (vectors[0], vectors[1] - vectors[0]):
        gap = np.hypot(*(peaks - aim).T)
        near = np.flatnonzero(gap < _SHEAR * length)
        best = near[np.argsort(-logs[tuple(top[near].T)])[:6]]
        ways.append([(peaks[k], float(logs[tuple(top[k])]), gap[k] / length) for k in best])
    found, highest = vectors, -np.inf
    for one, height, far in ways[0]:
        for other, more, away in ways[1]:
            sum_at = (one + other) * size + size // 2
            third = float(map_coordinates(logs, sum_at[:, None], order=1, mode="nearest")[0])
            score = height + more + third - 0.5 * ((far / 0.06) ** 2 + (away / 0.06) ** 2)
            if score > highest:
                found, highest = np.stack((one, one + other)), score
    return found


def _whitened(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Power over the median power at the same frequency, ``(n, n)``, zero frequency in the
    middle; and n.
    """
    size = int(2 ** np.ceil(np.log2(2 * max(image.shape))))
    size = min(size, 2048)
    part = image[:size, :size]
    spectrum = np.fft.fftshift(
        np.fft.fft2(part * taper((part.shape[0], part.shape[1]), 1.0), (size, size))
    )
    power = np.abs(spectrum) ** 2
    axis = np.arange(size) - size // 2
    radius = np.hypot(*np.meshgrid(axis, axis, indexing="ij"))
    ring = np.minimum(radius.astype(int), size // 2)
    order = np.argsort(ring.ravel(), kind="stable")
    begins = np.searchsorted(ring.ravel()[order], np.arange(size // 2 + 2))
    sorted_power = power.ravel()[order]
    # Wide rings: a median over few pixels would take the peaks of a short ring for its floor.
    medians = np.array(
        [
            np.median(sorted_power[begins[max(0, r - 2)] : begins[min(r + 3, size // 2 + 1)]])
            for r in range(size // 2 + 1)
        ]
    )
    return power / np.maximum(medians, 1e-12)[ring], size


def _peaks(
    power: NDArray[np.float64], size: int, side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clear peaks of a half plane, strongest first: ``(n, 2)`` cycles per pixel and heights."""
    from scipy.ndimage import maximum_filter

    middle = size // 2
    axis = (np.arange(size) - middle) / size
    radius = np.hypot(*np.meshgrid(axis, axis, indexing="ij"))
    inside = (radius > 3.5 / side) & (radius < 2 / np.sqrt(3) / SHORTEST)
    top = (power == maximum_filter(power, 5)) & inside & (power > _CLEAR)
    top[:middle] = False
    top[middle, :middle] = False
    y, x = np.nonzero(top)
    order = np.argsort(-power[y, x])[:_MOST]
    y, x = y[order], x[order]
    if not len(y):
        raise NoLatticeError("no lattice is seen: the image is too noisy, or shows no crystal")
    shifts = np.stack([_vertex(power, y, x, axis) for axis in (0, 1)], axis=1)
    return (np.stack((y, x), axis=1) - middle + shifts) / size, power[y, x]


def _vertex(
    power: NDArray[np.float64], y: NDArray[np.int64], x: NDArray[np.int64], axis: int
) -> NDArray[np.float64]:
    """Sub-pixel shift of peaks by a parabola through the logarithm."""
    dy, dx = (1, 0) if axis == 0 else (0, 1)
    ends = power.shape[0] - 1
    before = np.log(power[np.maximum(y - dy, 0), np.maximum(x - dx, 0)] + 1e-12)
    here = np.log(power[y, x] + 1e-12)
    after = np.log(power[np.minimum(y + dy, ends), np.minimum(x + dx, ends)] + 1e-12)
    bend = before - 2 * here + after
    return np.where(bend < -1e-9, np.clip(0.5 * (before - after) / bend, -0.5, 0.5), 0.0)


def _hexagon(peaks: NDArray[np.float64], heights: NDArray[np.float64]) -> Reciprocal | None:
    """Three peaks of equal length 60° apart; of several such rings the innermost clear one."""
    both = np.concatenate((peaks, -peaks))
    strength = np.concatenate((heights, heights))
    found: list[tuple[float, float, NDArray[np.float64]]] = []
    for i, g in enumerate(peaks):
        length = np.hypot(*g)
        ring = []
        for turn in (np.pi / 3, 2 * np.pi / 3):
            c, s = np.cos(turn), np.sin(turn)
            aim = np.array([c * g[0] + s * g[1], -s * g[0] + c * g[1]])
            gap = np.hypot(*(both - aim).T)
            near = gap < _SHEAR * length
            ring.append(int(np.argmax(np.where(near, strength, -1))) if near.any() else -1)
        if min(ring) < 0:
            continue
        clear = float(min(heights[i], strength[ring[0]], strength[ring[1]]))
        # The mean of three makes a vector exact: g2 = g1 + g3 in any lattice.
        one, two, three = g, both[ring[0]], both[ring[1]]
        closing = one + three - two
        if np.hypot(*closing) > 0.04 * length:
            continue
        found.append((length, clear, np.stack((one - closing / 3, two + closing / 3))))
    if not found:
        return None
    best = max(found, key=lambda f: f[1])
    _, clear, vectors = best
    return Reciprocal(vectors, clear, hexagonal=True)


def _inner(power: NDArray[np.float64], found: Reciprocal) -> Reciprocal:
    """The first ring, where what was found is the second.

    The second ring of a honeycomb outshines the first, which lies at 0.58 of its radius and 30°
    aside; without noise by so much that the first is not among the clear peaks.
    """
    one, two = found.vectors
    inner = np.stack((one + two, 2 * two - one)) / 3
    size, middle = power.shape[0], power.shape[0] // 2
    offsets = np.arange(-9, 10)
    far = np.hypot(*np.meshgrid(offsets, offsets, indexing="ij"))
    contrast = []
    for vector in (*inner, inner[1] - inner[0]):
        y, x = np.rint(vector * size + middle).astype(int)
        part = power[y - 9 : y + 10, x - 9 : x + 10]
        if part.shape != far.shape:
            return found
        contrast.append(float(part[far < 3].max() / max(np.median(part[far > 5]), 1e-30)))
    if min(contrast) < _CLEAR:
        return found
    return Reciprocal(inner, min(contrast), hexagonal=True)


def _oblique(peaks: NDArray[np.float64], heights: NDArray[np.float64]) -> Reciprocal:
    """The two shortest of the clear peaks that are not parallel."""
    clear = heights > max(3 * _CLEAR, 0.01 * heights.max())
    kept, strength = peaks[clear], heights[clear]
    order = np.argsort(np.hypot(*kept.T))
    for i, first in enumerate(order):
        for second in order[i + 1 :]:
            a, b = kept[first], kept[second]
            sine = abs(a[0] * b[1] - a[1] * b[0]) / (np.hypot(*a) * np.hypot(*b))
            if sine > 0.4:
                weaker = float(min(strength[first], strength[second]))
                return Reciprocal(np.stack((a, b)), weaker, hexagonal=False)
    raise NoLatticeError("no lattice is seen: the image is too noisy, or shows no crystal")
