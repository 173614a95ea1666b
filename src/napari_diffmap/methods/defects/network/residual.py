"""What an image has that its pristine lattice has not: the second input of a network.

Every site of a sublattice is given the same amplitude, so that a defect is left over in full.
(A model that fits each site on its own explains the defect too, and leaves nothing.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Widths of a column that are tried, standard deviation in lattice constants.
WIDTHS: Final = (0.13, 0.16, 0.2, 0.25, 0.31)
#: Tails of the probe are this many times as wide.
_TAIL = 2.5
#: The slow background is that of a Gaussian of so many lattice constants.
_SLOW = 1.5
_ROUNDS = 3
#: Pixels that a fit is made on, at most.
_MOST_PIXELS = 200_000


def pristine_residual(
    image: NDArray[np.floating],
    places: NDArray[np.floating],
    sublattice: NDArray[np.integer],
    spacing: float,
) -> NDArray[np.float32]:
    """Image minus its pristine lattice, in standard deviations, see `pristine_fit`."""
    return pristine_fit(image, places, sublattice, spacing)[0]


def pristine_fit(
    image: NDArray[np.floating],
    places: NDArray[np.floating],
    sublattice: NDArray[np.integer],
    spacing: float,
    widths: Sequence[float] = WIDTHS,
) -> tuple[NDArray[np.float32], float]:
    """Image minus its pristine lattice, over the spread of that difference.

    Two Gaussians at each site with one pair of amplitudes a sublattice are fitted by least squares
    in which pixels far off count less (Huber weights).  A slow background is taken from image and
    model alike, so that images of all sizes are treated the same.

    Parameters
    ----------
    image
        ``(Y, X)``, at some 6 to 12 px per lattice constant; what is not finite is 0 in the answer.
    places, sublattice
        ``(n, 2)`` y, x in pixels and ``(n,)`` 0 or 1, with a margin about the image.
    spacing
        Lattice constant in pixels.
    widths
        Of columns to try, standard deviation in lattice constants; `WIDTHS` or some of them (all
        frames of a movie have one).

    Returns
    -------
    residual, width
        ``(Y, X)`` float32 in standard deviations, and the width that fits.
    """
    from scipy import ndimage

    from napari_diffmap.methods.defects.simulated import render

    finite = np.isfinite(image)
    if not len(places) or finite.sum() < 100:
        return np.zeros(image.shape, np.float32), widths[0]

    def fast(values: NDArray[np.floating]) -> NDArray[np.float32]:
        some = np.asarray(values, np.float32)
        return np.asarray(some - ndimage.gaussian_filter(some, _SLOW * spacing, truncate=3))

    values = fast(np.where(finite, image, np.median(image[finite])))
    rim = round(2 * spacing)
    around = (image.shape[0] + 2 * rim, image.shape[1] + 2 * rim)
    narrow = [
        render(around, some + rim, np.ones(len(some)), WIDTHS[0] * spacing).astype(np.float32)
        for some in (places[sublattice == kind] for kind in np.unique(sublattice))
    ]

    def column(blobs: NDArray[np.float32], share: float) -> NDArray[np.float32]:
        """The same sites with wider columns."""
        more = spacing * float(np.sqrt(max(0.0, share**2 - WIDTHS[0] ** 2)))
        smooth = ndimage.gaussian_filter(blobs, more, truncate=3, mode="constant")
        return fast(smooth[rim:-rim, rim:-rim])

    flat = np.flatnonzero(finite)
    flat = flat[:: -(-len(flat) // _MOST_PIXELS)]
    best, lowest, width = values, np.inf, widths[0]
    for share in widths:
        columns = [column(blobs, wide) for blobs in narrow for wide in (share, _TAIL * share)]
        design = np.stack([one.ravel()[flat] for one in columns])
        found = _fitted(design, values.ravel()[flat])
        left = values.ravel()[flat] - found @ design
        spread = float(np.median(np.abs(left)))
        if spread < lowest:
            lowest, width = spread, share
            best = values - np.tensordot(found, np.stack(columns), axes=1)
    scaled = np.where(finite, best / max(1.4826 * lowest, 1e-12), 0)
    return scaled.astype(np.float32), width


def _fitted(design: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coefficients of the rows of `design` that make `values`, by robust least squares."""
    weight = np.ones_like(values)
    found = np.zeros(len(design), np.float32)
    for _ in range(_ROUNDS):
        weighted = design * weight
        normal = (weighted @ design.T).astype(np.float64)
        normal += 1e-6 * np.trace(normal) / len(normal) * np.eye(len(normal))
        found = np.linalg.solve(normal, (weighted @ values).astype(np.float64)).astype(np.float32)
        left = np.abs(values - found @ design)
        scale = max(1.4826 * float(np.median(left)), 1e-12)
        weight = (1 / np.maximum(left / (2 * scale), 1)).astype(np.float32)
    return found
