"""What an image has that its pristine lattice has not: inputs of a network.

Every site of a sublattice is given the same amplitude, so that a defect is left over in full.
(A model that fits each site on its own explains the defect too, and leaves nothing.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Gaussians that a column is made of, standard deviations in lattice constants: together they make
#: a column of any width that is met, and its tails.
WIDTHS: Final = (0.14, 0.2, 0.4)
#: The slow background is that of a Gaussian of so many lattice constants, taken away so many
#: times: once leaves a fifth of a cloud of seven lattice constants.
_SLOW, _TIMES = 1.0, 2
_ROUNDS = 3
#: Pixels that a fit is made on, at most.
_MOST_PIXELS = 200_000


@dataclass(frozen=True, eq=False)
class PristineFit:
    """An image explained by its pristine lattice.

    Attributes
    ----------
    residual
        ``(Y, X)`` float32: image minus lattice and slow background, in standard deviations.
    sites
        ``(Y, X)`` float32: 1 at sites of the first sublattice, -1 at those of the others, narrow
        blobs.
    """

    residual: NDArray[np.float32]
    sites: NDArray[np.float32]


def pristine_fit(
    image: NDArray[np.floating],
    places: NDArray[np.floating],
    sublattice: NDArray[np.integer],
    spacing: float,
) -> PristineFit:
    """Image minus its pristine lattice, over the spread of that difference.

    Gaussians of a few widths at each site, with one set of amplitudes a sublattice, are fitted by
    least squares in which pixels far off count less (Huber weights).  A slow background is taken
    from image and model alike, so that images of all sizes are treated the same.

    Parameters
    ----------
    image
        ``(Y, X)``, at some 6 to 12 px per lattice constant; what is not finite is 0 in the answer.
    places, sublattice
        ``(n, 2)`` y, x in pixels and ``(n,)`` kinds, with a margin of two lattice constants.
    spacing
        Lattice constant in pixels.
    """
    from scipy import ndimage

    from napari_diffmap.methods.defects.simulated import render

    finite = np.isfinite(image)
    if not len(places) or finite.sum() < 100:
        nothing = np.zeros(image.shape, np.float32)
        return PristineFit(nothing, nothing)

    def fast(values: NDArray[np.floating]) -> NDArray[np.float32]:
        some = np.asarray(values, np.float32)
        for _ in range(_TIMES):
            some = some - ndimage.gaussian_filter(some, _SLOW * spacing, truncate=3)
        return some

    rim = round(2 * spacing)
    around = (image.shape[0] + 2 * rim, image.shape[1] + 2 * rim)
    narrow = [
        render(around, some + rim, np.ones(len(some)), WIDTHS[0] * spacing).astype(np.float32)
        for some in (places[sublattice == kind] for kind in np.unique(sublattice))
    ]

    def column(blobs: NDArray[np.float32], width: float) -> NDArray[np.float32]:
        """The same sites with wider columns."""
        more = spacing * float(np.sqrt(width**2 - WIDTHS[0] ** 2))
        smooth = ndimage.gaussian_filter(blobs, more, truncate=3, mode="constant")
        return fast(smooth[rim:-rim, rim:-rim])

    values = fast(np.where(finite, image, np.median(image[finite])))
    design = np.stack([column(blobs, width).ravel() for blobs in narrow for width in WIDTHS])
    some = np.flatnonzero(finite)
    some = some[:: -(-len(some) // _MOST_PIXELS)]
    found = _fitted(design[:, some], values.ravel()[some])
    left = values - (found @ design).reshape(values.shape)
    spread = max(1.4826 * float(np.median(np.abs(left[finite]))), 1e-12)
    inner = [blobs[rim:-rim, rim:-rim] for blobs in narrow]
    sites = inner[0] - sum(inner[1:], np.zeros_like(inner[0]))
    return PristineFit(np.where(finite, left / spread, 0).astype(np.float32), sites)


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
