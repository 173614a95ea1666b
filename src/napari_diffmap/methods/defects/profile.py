"""How a column looks: the width and the tails of the probe, from the mean unit cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.kernels import add_blobs
from napari_diffmap.methods.defects.lattice import Lattice

#: Width of the tails over that of the core.
TAIL = 3.0
#: Widths that are tried, in lattice constants.
_NARROW, _WIDE = 0.05, 0.32


@dataclass(frozen=True)
class Profile:
    """A column's image.

    Attributes
    ----------
    sigma
        Standard deviation of its core, pixels.
    tail
        Height of a Gaussian `TAIL` times as wide, over that of the core.
    """

    sigma: float
    tail: float = 0.0


def find_profile(image: NDArray[np.floating[Any]], lattice: Lattice) -> Profile:
    """The width of columns, by least squares over the middle of an image.

    Tails of columns lie over each other and make an even ground, which the background of the
    site model takes: only the core is fitted here.

    Parameters
    ----------
    image
        ``(Y, X)``.
    lattice
        Of the image.
    """
    from scipy.ndimage import gaussian_filter
    from scipy.optimize import minimize_scalar

    values = np.asarray(image, dtype=np.float64)
    side = [slice(max(0, n // 2 - 160), n // 2 + 160) for n in values.shape]
    part = np.where(np.isfinite(values), values, np.nanmean(values))[side[0], side[1]]
    ground = gaussian_filter(part, 1.5 * lattice.spacing)
    sites = lattice.sites(-0.5 * lattice.spacing)
    places = sites.places - (side[0].start, side[1].start)

    def misfit(sigma: float) -> float:
        columns = []
        for kind in range(len(lattice.basis)):
            mine = places[sites.sublattice == kind]
            blobs = add_blobs(np.zeros(part.shape), mine, np.ones(len(mine)), sigma)
            columns.append((blobs - gaussian_filter(blobs, 1.5 * lattice.spacing)).ravel())
        design = np.stack(columns, axis=1)
        wanted = (part - ground).ravel()
        heights = np.linalg.lstsq(design, wanted)[0]
        return float(((design @ heights - wanted) ** 2).sum())

    bounds = (max(0.6, _NARROW * lattice.spacing), max(0.9, _WIDE * lattice.spacing))
    found = minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": 0.02})
    return Profile(float(found.x))
