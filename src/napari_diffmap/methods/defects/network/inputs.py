"""What a network is shown, and the marks it learns: images at one sampling and one scale."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Pixels per lattice constant that networks are trained at.
SPACING: Final = 8.0
#: Radius of a mark, in lattice constants.
MARK: Final = 0.22
#: Standard deviation of a usual column, in lattice constants.
COLUMN: Final = 0.18
#: The slow background is that of a Gaussian of so many lattice constants.
_SLOW = 2.0
#: Values beyond so many scales say no more than these.
_MOST = 12.0


def resampled(
    image: NDArray[np.floating], spacing: float, wanted: float = SPACING
) -> tuple[NDArray[np.float32], float]:
    """An image with another number of pixels per lattice constant.

    Parameters
    ----------
    image
        ``(Y, X)``, finite.
    spacing, wanted
        Pixels per lattice constant it has, and shall have.

    Returns
    -------
    image, zoom
        Float32, and by what places ``(y, x)`` are multiplied: pixel centres at 0 stay at 0.
    """
    from scipy import ndimage

    zoom = wanted / spacing
    source = np.asarray(image, dtype=np.float32)
    if abs(zoom - 1) < 1e-3:
        return source.copy(), 1.0
    if zoom < 1:  # what the new pixels cannot show would come back as waves
        source = ndimage.gaussian_filter(source, 0.5 * np.sqrt(1 / zoom**2 - 1))
    shape = tuple(int((n - 1) * zoom) + 1 for n in source.shape)
    out = ndimage.affine_transform(
        source, np.full(2, 1 / zoom), output_shape=shape, order=1 if zoom < 1 else 3, mode="nearest"
    )
    return out.astype(np.float32), zoom


def standardised(
    image: NDArray[np.floating], spacing: float = SPACING, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """An image without its slow background, in units of its spread.

    Parameters
    ----------
    image
        ``(Y, X)``; values that are not finite become 0.
    spacing
        Pixels per lattice constant.
    valid
        ``(Y, X)``: where the background and the scale are measured; all by default.
    """
    from scipy import ndimage

    known = np.isfinite(image)
    if valid is not None:
        known &= valid
    if not known.any():
        return np.zeros(image.shape, np.float32)
    values = np.where(known, image, 0).astype(np.float32)
    sigma = _SLOW * spacing
    share = ndimage.gaussian_filter(known.astype(np.float32), sigma, mode="constant")
    slow = ndimage.gaussian_filter(values, sigma, mode="constant") / np.maximum(share, 1e-6)
    fast = np.where(known, values - slow, 0)
    low, high = np.percentile(fast[known], (16, 84))
    scale = max(0.5 * float(high - low), 1e-12)
    return np.clip(fast / scale, -_MOST, _MOST).astype(np.float32)


def seen(
    image_std: NDArray[np.floating],
    residual: NDArray[np.floating] | None = None,
    sites: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """The input of a network.

    Parameters
    ----------
    image_std
        ``(Y, X)`` as `standardised` makes it, with `SPACING` pixels per lattice constant.
    residual
        ``(Y, X)``, image minus model in sigma; not finite where there is no lattice, None where
        there is none at all.
    sites
        ``(Y, X)``: where the sites of the lattice are, see `PristineFit`.

    Returns
    -------
    (4, Y, X) float32
        Image, residual, residual as a column would add it up (in its own sigma), sites.
    """
    from scipy import ndimage

    out = np.zeros((4, *image_std.shape), np.float32)
    out[0] = np.where(np.isfinite(image_std), image_std, 0)
    if residual is not None:
        left = np.clip(np.where(np.isfinite(residual), residual, 0), -_MOST, _MOST)
        summed = ndimage.gaussian_filter(left, COLUMN * SPACING)
        spread = 1.4826 * float(np.median(np.abs(summed)))
        out[1] = left
        if spread > 0:
            out[2] = np.clip(summed / spread, -_MOST, _MOST)
    if sites is not None:
        out[3] = sites
    return out


def marks(
    shape: tuple[int, int],
    places: NDArray[np.floating],
    excess: NDArray[np.bool_],
    radius: float = MARK * SPACING,
) -> NDArray[np.float32]:
    """Disks at defects, with soft rims.

    Parameters
    ----------
    shape
        Pixels of the image.
    places
        ``(n, 2)`` y, x in pixels.
    excess
        ``(n,)``: whether there is too much intensity, else too little.
    radius
        Pixels.

    Returns
    -------
    (2, Y, X) float32
        0–1: lacking intensity, excess intensity.
    """
    out = np.zeros((2, *shape), np.float32)
    reach = int(np.ceil(radius + 1))
    for (y, x), more in zip(np.asarray(places, dtype=float), excess, strict=True):
        rows = slice(max(0, round(y) - reach), max(0, round(y) + reach + 1))
        columns = slice(max(0, round(x) - reach), max(0, round(x) + reach + 1))
        part = out[int(more), rows, columns]
        if part.size:
            rr = np.arange(rows.start, rows.start + part.shape[0])[:, None] - y
            cc = np.arange(columns.start, columns.start + part.shape[1])[None] - x
            np.maximum(part, np.clip(radius + 0.5 - np.hypot(rr, cc), 0, 1), out=part)
    return out
