"""The lattice of an image: where its sites are, with the smooth distortion of the scan.

`bragg` finds its reciprocal vectors, `displacement` its distortion, `cell` what sits in a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.bragg import (
    NoLatticeError,
    Reciprocal,
    find_reciprocal,
    taper,
    without_slow,
)
from napari_diffmap.methods.defects.cell import basis_of, mean_cell
from napari_diffmap.methods.defects.displacement import (
    ORDER,
    displaced,
    displacement_at,
    displacement_of_pixels,
)

__all__ = ["Lattice", "NoLatticeError", "Sites", "find_lattice", "follow_lattice"]

#: Bragg components that displacements are read from, as sums of two reciprocal vectors; those of
#: a hexagonal lattice 60° apart.
_HEXAGONAL = [(1, 0), (0, 1), (1, -1), (1, 1), (2, -1), (1, -2)]
_OBLIQUE = [(1, 0), (0, 1), (1, 1), (1, -1)]


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites of a lattice.

    Attributes
    ----------
    places
        ``(n, 2)`` y and x in pixels.
    sublattice
        ``(n,)`` int8, 0 the brightest.
    cells
        ``(n, 2)`` int, numbers of the unit cell.
    """

    places: NDArray[np.float64]
    sublattice: NDArray[np.int8]
    cells: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lattice:
    """A lattice as an image shows it.

    Attributes
    ----------
    shape
        Of the image.
    origin
        ``(2,)`` y, x of a site of sublattice 0.
    vectors
        ``(2, 2)``: rows a1 and a2 as (y, x) in pixels; 60° apart where hexagonal.
    basis
        ``(m, 2)`` fractional places of the sublattices, brightest first.
    brightness
        ``(m,)`` intensity of the mean cell there, above its darkest place.
    distortion
        ``(2, k, k)`` coefficients of the displacement along y and x over cosines, pixels.
    hexagonal
        Whether the lattice is.
    clearness
        See `Reciprocal`.
    """

    shape: tuple[int, int]
    origin: NDArray[np.float64]
    vectors: NDArray[np.float64]
    basis: NDArray[np.float64]
    brightness: NDArray[np.float64]
    distortion: NDArray[np.float64]
    hexagonal: bool
    clearness: float

    @property
    def spacing(self) -> float:
        """Mean length of the lattice vectors in pixels."""
        return float(np.hypot(*self.vectors.T).mean())

    @property
    def angle(self) -> float:
        """Direction of a1, radians from x towards y."""
        return float(np.arctan2(self.vectors[0, 0], self.vectors[0, 1]))

    @cached_property
    def neighbour(self) -> float:
        """Distance of neighbouring sites of one sublattice, pixels."""
        a, b = self.vectors
        return float(min(np.hypot(*v) for v in (a, b, a - b, a + b)))

    @cached_property
    def bond(self) -> float:
        """Distance of neighbouring sites of any sublattice, pixels."""
        steps = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
        gaps = (self.basis[:, None, None] - self.basis[None, :, None] + steps) @ self.vectors
        lengths = np.hypot(gaps[..., 0], gaps[..., 1])
        return float(lengths[lengths > 1e-6].min())

    def displacement(self, places: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """How far sites that would lie at some places are displaced, ``(n, 2)`` pixels."""
        return displacement_at(self.distortion, self.shape, np.asarray(places, dtype=np.float64))

    def sites(self, margin: float = 0.0) -> Sites:
        """All sites at least `margin` pixels within the image (negative: beyond it)."""
        reach = abs(margin) + 2 * self.spacing + np.abs(self.distortion).sum()
        corners = np.array([(y, x) for y in (0, 1) for x in (0, 1)]) * (np.array(self.shape) - 1)
        wide = corners + np.sign(corners - np.array(self.shape) / 2) * reach
        there = (wide - self.origin) @ np.linalg.inv(self.vectors)
        low, high = np.floor(there.min(0)).astype(int), np.ceil(there.max(0)).astype(int)
        grid = np.meshgrid(
            *(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"
        )
        cells = np.stack(grid, axis=-1).reshape(-1, 2)
        places, kinds, numbers = [], [], []
        for kind, part in enumerate(self.basis):
            ideal = (cells + part) @ self.vectors + self.origin
            near = ((ideal > -reach) & (ideal < np.array(self.shape) + reach)).all(axis=1)
            some = ideal[near] + self.displacement(ideal[near])
            inside = ((some >= margin) & (some <= np.array(self.shape) - 1 - margin)).all(axis=1)
            places.append(some[inside])
            numbers.append(cells[near][inside])
            kinds.append(np.full(int(inside.sum()), kind, dtype=np.int8))
        return Sites(np.concatenate(places), np.concatenate(kinds), np.concatenate(numbers))

    @cached_property
    def _tree(self) -> tuple[Any, Sites]:
        from scipy.spatial import cKDTree

        sites = self.sites(-self.spacing)
        return cKDTree(sites.places), sites

    def nearest(
        self, places: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.float64]]:
        """The site nearest to each place: its place ``(n, 2)``, sublattice, distance in pixels."""
        tree, sites = self._tree
        if not len(places):
            return np.zeros((0, 2)), np.zeros(0, np.int8), np.zeros(0)
        gap, number = tree.query(np.asarray(places, dtype=np.float64))
        return sites.places[number], sites.sublattice[number], gap

    def fractions(self) -> NDArray[np.float64]:
        """Fractional coordinates of each pixel in its cell, 0–1, ``(Y, X, 2)``."""
        y, x = (np.arange(n, dtype=np.float64) for n in self.shape)
        moved = displacement_of_pixels(self.distortion, self.shape)
        to = np.linalg.inv(self.vectors)
        along = y[:, None] - moved[0] - self.origin[0], x - moved[1] - self.origin[1]
        return np.stack(
            [(along[0] * to[0, k] + along[1] * to[1, k]) % 1.0 for k in (0, 1)], axis=-1
        )


def find_lattice(image: NDArray[np.floating[Any]], spacing: float | None = None) -> Lattice:
    """The lattice of an image.

    Parameters
    ----------
    image
        ``(Y, X)``.
    spacing
        Lattice constant a of a hexagonal lattice in pixels, where it is known to 8 %.

    Raises
    ------
    NoLatticeError
        If the image shows none.
    """
    found = find_reciprocal(image, spacing)
    lattice = _fitted(image, found)
    if spacing is not None:
        a, b = lattice.vectors
        sides = np.array([np.hypot(*side) for side in (a, b, a - b)])
        if not 0.88 < sides.mean() / spacing < 1.12 or sides.max() / sides.min() > 1.25:
            raise NoLatticeError("what looks like a lattice is too distorted to be one")
    return lattice


def follow_lattice(image: NDArray[np.floating[Any]], before: Lattice) -> Lattice:
    """The lattice of the next frame of a movie, begun from that of the one before.

    Raises
    ------
    NoLatticeError
        If the frame shows none.
    """
    vectors = np.asarray(np.linalg.inv(before.vectors).T, dtype=np.float64)
    start = Reciprocal(vectors, before.clearness, before.hexagonal)
    return _fitted(image, start, like=before)


def _fitted(
    frame: NDArray[np.floating[Any]], start: Reciprocal, like: Lattice | None = None
) -> Lattice:
    shape = (frame.shape[0], frame.shape[1])
    spacing = 1 / float(np.hypot(*start.vectors.T).mean())
    image = without_slow(frame, spacing)
    order = int(np.clip(min(shape) / spacing / 7, 1, ORDER))
    spectrum = np.fft.fft2(image * taper(shape, 0.4))
    g = start.vectors
    if start.hexagonal and g[0] @ g[1] < 0:
        g = g * [[1], [-1]]
    waves = _HEXAGONAL if start.hexagonal else _OBLIQUE
    coefficients = np.zeros((2, ORDER, ORDER))
    for _ in range(3):
        slope, coefficients = displaced(spectrum, shape, g, waves, order)
        # The linear part of a displacement u = S r is another lattice: g' = g - Sᵀ g.
        if np.abs(slope).max() < 1e-5:
            break
        g = g @ (np.eye(2) - slope)
    # Rows of the inverse of g's transpose: a_i · g_j = δ_ij.
    vectors = np.linalg.inv(g).T
    vectors = _reduced(np.asarray(vectors, dtype=np.float64), start.hexagonal)
    bare = Lattice(
        shape, np.array(shape) / 2, vectors, np.zeros((1, 2)), np.ones(1), coefficients,
        start.hexagonal, start.clearness,
    )  # fmt: skip
    cell = mean_cell(image, bare.fractions())
    basis, bright = basis_of(cell, start.hexagonal, vectors)
    origin = bare.origin + basis[0] @ vectors
    if like is not None and len(like.basis) != len(basis):
        raise NoLatticeError("the lattice of this frame is unlike that of the frame before")
    return Lattice(
        shape, origin, vectors, (basis - basis[0]) % 1.0, bright, coefficients,
        start.hexagonal, start.clearness,
    )  # fmt: skip


def _reduced(vectors: NDArray[np.float64], hexagonal: bool) -> NDArray[np.float64]:
    """Vectors of the same lattice: the two shortest, right-handed from x to y, 60° apart if
    hexagonal, the first between 0° and 60° (0° and 180° otherwise).
    """
    a, b = vectors
    steps = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if (i, j) != (0, 0)]
    some = np.array([i * a + j * b for i, j in steps])
    angle = np.arctan2(some[:, 0], some[:, 1])
    length = np.hypot(*some.T)
    if hexagonal:
        six = np.argsort(length)[:6]
        turn = angle[six] % (2 * np.pi)
        first = six[np.argmin(turn)]
        gap = (angle - angle[first]) % (2 * np.pi)
        second = six[np.argmin(np.abs(gap[six] - np.pi / 3))]
        return np.stack((some[first], some[second]))
    order = np.argsort(length)
    first = next(i for i in order if 0 <= angle[i] < np.pi)
    cross = some[first, 1] * some[:, 0] - some[first, 0] * some[:, 1]
    second = next(i for i in order if cross[i] > 0.3 * length[first] * length[i])
    return np.stack((some[first], some[second]))
