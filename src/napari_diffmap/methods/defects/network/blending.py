"""Large images by overlapping tiles that are blended: no seams, bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

#: Images up to this side (px) are done whole.
TILE = 640
#: Pixels that neighbouring tiles share; more than a network looks about.
OVERLAP = 96
#: Tiles begin at multiples of it: the coarse levels of a network have the same grid in each.
_GRID = 8


def blended(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    image: NDArray[np.float32],
    tile: int = TILE,
    overlap: int = OVERLAP,
) -> NDArray[np.float32]:
    """What a function of pixels says of an image, tile by tile.

    Where tiles overlap their answers are averaged with Gaussian weights that fall to the tile's
    border, where a network sees least of what is about a pixel.

    Parameters
    ----------
    predict
        ``(c, y, x)`` to ``(k, y, x)``.
    image
        ``(c, Y, X)``.
    tile, overlap
        Pixels; tiles at the border lie inside the image.

    Returns
    -------
    (k, Y, X) float32
    """
    height, width = image.shape[-2:]
    if max(height, width) <= tile:
        return predict(image)
    total: NDArray[np.float32] | None = None
    weights = np.zeros((height, width), np.float32)
    for rows in _parts(height, tile, overlap):
        for columns in _parts(width, tile, overlap):
            said = predict(np.ascontiguousarray(image[:, rows, columns]))
            weight = np.outer(_bell(rows, height, overlap), _bell(columns, width, overlap)).astype(
                np.float32
            )
            if total is None:
                total = np.zeros((len(said), height, width), np.float32)
            total[:, rows, columns] += said * weight
            weights[rows, columns] += weight
    assert total is not None
    total /= weights
    return total


def _parts(length: int, tile: int, overlap: int) -> Iterator[slice]:
    """Tiles along an axis, as even as can be."""
    if length <= tile:
        yield slice(0, length)
        return
    # Beginning on the grid costs some of the overlap: none may be lost.
    step = max(1, tile - overlap - _GRID)
    count = -(-(length - overlap) // step)
    starts = np.linspace(0, length - tile, count).astype(int) // _GRID * _GRID
    *others, last = sorted({int(start) for start in starts})
    for begin in others:
        yield slice(begin, begin + tile)
    yield slice(last, length)


def _bell(part: slice, length: int, overlap: int) -> NDArray[np.float64]:
    """Weights along a tile: 1 inside, falling towards sides that have a neighbour."""
    place = np.arange(part.start, part.stop) + 0.5
    inside = np.full(len(place), np.inf)
    if part.start > 0:
        inside = np.minimum(inside, place - part.start)
    if part.stop < length:
        inside = np.minimum(inside, part.stop - place)
    depth = np.clip(1 - inside / overlap, 0, 1)
    return np.exp(-0.5 * (4.8 * depth) ** 2)
