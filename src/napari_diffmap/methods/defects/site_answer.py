"""What the site model says of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.lattice import Sites
from napari_diffmap.methods.defects.profile import Profile

#: Where the misfit of the pixels around is this many times the usual, there is no such lattice.
MISFIT: Final = 1.7


@dataclass(frozen=True, eq=False)
class SiteAnswer:
    """What the site model says of an image.

    Attributes
    ----------
    sites
        All sites at least a column's width within the image.
    ratio, error
        ``(n,)`` amplitude of each over the pristine one of its kind, and its standard deviation.
    z
        ``(n,)`` deviation of the ratio from that of its kind in robust standard deviations.
    probability
        ``(n,)`` that the site is a defect.
    fitted
        ``(n,)`` bool: False where the image does not show this lattice.
    expected
        ``(Y, X)`` float32: the image as the model has it, defects too.
    difference
        ``(Y, X)`` float32: image less the pristine lattice and the ground, in the image's units.
    left
        ``(Y, X)`` float32: image less `expected`, in standard deviations.
    misfit
        ``(Y, X)`` float32: local mean square of `left` over its median; above `MISFIT` too where
        the columns are not where the lattice has them.
    amplitudes
        ``(m,)`` height of a pristine column of each sublattice, in the image's units.
    profile
        Of a column.
    gain
        Image units a count.
    """

    sites: Sites
    ratio: NDArray[np.float64]
    error: NDArray[np.float64]
    z: NDArray[np.float64]
    probability: NDArray[np.float64]
    fitted: NDArray[np.bool_]
    expected: NDArray[np.float32]
    difference: NDArray[np.float32]
    left: NDArray[np.float32]
    misfit: NDArray[np.float32]
    amplitudes: NDArray[np.float64]
    profile: Profile
    gain: float

    def fitted_at(self, places: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Whether the image shows the lattice at some places, ``(n,)``."""
        return np.asarray(values_at(self.misfit, places, 1) < MISFIT)

    def height_at(self, places: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Height of a column that would explain the difference at some places, ``(n,)``."""
        return np.asarray(values_at(self._matched(self.difference), places, 1), dtype=np.float64)

    def _matched(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Least-squares height of a column at every pixel."""
        from scipy.ndimage import gaussian_filter

        sigma = self.profile.sigma
        # Sum of g·image over sum of g² is a Gaussian filter, less its norm.
        return np.asarray(2 * gaussian_filter(image.astype(np.float64), sigma), dtype=np.float64)

    def peaks(self, lowest: float, apart: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns that the model lacks.

        Parameters
        ----------
        lowest
            Least height in standard deviations of the noise.
        apart
            Pixels between them.

        Returns
        -------
        places, z
            ``(n, 2)`` y, x and ``(n,)`` heights in standard deviations.
        """
        from scipy.ndimage import gaussian_filter
        from skimage.feature import peak_local_max

        smooth = gaussian_filter(self.left.astype(np.float64), self.profile.sigma)
        spread = 1.4826 * float(np.median(np.abs(smooth - np.median(smooth))))
        z = smooth / max(spread, 1e-12)
        top = peak_local_max(
            z, min_distance=max(1, round(apart)), threshold_abs=lowest, exclude_border=False
        )
        return self.refined(top.astype(np.float64), apart), z[tuple(top.T)]

    def refined(self, places: NDArray[np.floating[Any]], reach: float) -> NDArray[np.float64]:
        """Places of atoms that are brighter than their surroundings, by their centre of mass.

        Parameters
        ----------
        places
            ``(n, 2)`` to begin from.
        reach
            Farther than this many pixels none is moved.
        """
        from scipy.ndimage import map_coordinates

        if not len(places):
            return np.zeros((0, 2))
        smooth = self._matched(self.difference)
        r = max(1.0, min(reach, 1.2 * self.profile.sigma))
        offsets = np.arange(-np.ceil(2 * r), np.ceil(2 * r) + 1) / 2
        grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 2)
        grid = grid[np.hypot(*grid.T) <= r]
        found = np.asarray(places, dtype=np.float64).copy()
        for _ in range(4):
            at = (found[:, None] + grid).reshape(-1, 2)
            height = map_coordinates(smooth, at.T, order=1, mode="nearest").reshape(len(found), -1)
            weight = np.clip(height - height.min(axis=1, keepdims=True), 0, None) + 1e-12
            found += (weight[..., None] * grid).sum(axis=1) / weight.sum(axis=1)[:, None]
        far = np.hypot(*(found - places).T) > reach
        return np.where(far[:, None], places, found)


def values_at(image: NDArray[Any], places: NDArray[np.floating[Any]], order: int) -> NDArray[Any]:
    """Values of an image at places ``(n, 2)``, interpolated; the nearest beyond its border."""
    from scipy.ndimage import map_coordinates

    return np.asarray(map_coordinates(image, np.asarray(places).T, order=order, mode="nearest"))
