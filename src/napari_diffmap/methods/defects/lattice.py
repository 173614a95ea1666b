"""The lattice of an image: where its sites are, with the smooth distortion of the scan.

The displacement of a lattice from a perfect one is read off the phase of its Bragg components
(Hÿtch, Snoeck & Kilaas, Ultramicroscopy 74, 131 (1998)), and fitted with few smooth functions;
what sits in a cell is read off the mean of all cells.
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

__all__ = ["Lattice", "NoLatticeError", "Sites", "find_lattice", "follow_lattice"]

#: Half waves of the displacement along each side of the image, and bins of the mean cell.
_ORDER, _BINS = 4, 24
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
        return _displacement(self.distortion, self.shape, np.asarray(places, dtype=np.float64))

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

    def fractions(self, places: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Fractional coordinates of places in their cell, 0–1, ``(n, 2)``."""
        some = np.asarray(places, dtype=np.float64)
        ideal = some - self.displacement(some)
        return np.asarray(((ideal - self.origin) @ np.linalg.inv(self.vectors)) % 1.0)


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
    order = int(np.clip(min(shape) / spacing / 5, 1, _ORDER))
    spectrum = np.fft.fft2(image * taper(shape))
    g = start.vectors
    if start.hexagonal and g[0] @ g[1] < 0:
        g = g * [[1], [-1]]
    waves = _HEXAGONAL if start.hexagonal else _OBLIQUE
    coefficients = np.zeros((2, _ORDER, _ORDER))
    for _ in range(3):
        slope, coefficients = _displaced(spectrum, shape, g, waves, order)
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
    cell = _mean_cell(image, bare)
    basis, bright = _basis(cell, start.hexagonal, vectors)
    origin = bare.origin + basis[0] @ vectors
    if like is not None and len(like.basis) != len(basis):
        raise NoLatticeError("the lattice of this frame is unlike that of the frame before")
    return Lattice(
        shape, origin, vectors, (basis - basis[0]) % 1.0, bright, coefficients,
        start.hexagonal, start.clearness,
    )  # fmt: skip


def _displaced(
    spectrum: NDArray[np.complex128],
    shape: tuple[int, int],
    g: NDArray[np.float64],
    waves: list[tuple[int, int]],
    most: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacement of a lattice from the perfect one of reciprocal vectors `g`.

    Phases are known but for whole turns.  So what they do from point to point is fitted first,
    which is less than half a turn, and then the phases that this leaves.

    Returns
    -------
    slope, coefficients
        ``(2, 2)`` its linear part, rows y and x of the displacement, columns along y and x; and
        ``(2, k, k)`` the rest over cosines, of `most` half waves in all at most.
    """
    components, vectors = [], []
    shortest = float(np.hypot(*g.T).min())
    for wave in waves:
        vector = np.array(wave) @ g
        if np.hypot(*vector) > 0.45:
            continue
        values, places = _demodulated(spectrum, shape, vector, shortest)
        components.append(values)
        vectors.append(vector)
    if len(vectors) < 2:
        raise NoLatticeError("the lattice is too fine for the pixels: record it with smaller ones")
    terms = _terms(places.reshape(-1, 2), shape).reshape(*places.shape[:2], -1)
    # Noise is alike in all components: a weight is the power, on one scale.
    scale = max(float((np.abs(values) ** 2).mean()) for values in components)
    steps = _Equations(terms.shape[-1], 0, most)
    for values, vector in zip(components, vectors, strict=True):
        for axis in (0, 1):
            low, high = (np.take(values, k, axis=axis) for k in _halves(values.shape[axis]))
            change = high * np.conj(low)
            design = np.diff(terms, axis=axis)
            steps.add(design, vector, np.angle(change), np.abs(change) / scale)
    found = steps.solved()
    rest = _Equations(terms.shape[-1], len(vectors), most)
    for number, (values, vector) in enumerate(zip(components, vectors, strict=True)):
        said = terms @ found.T @ vector
        left = values * np.exp(2j * np.pi * said)
        mean = (left * np.abs(left)).mean()
        phase = np.angle(left * np.conj(mean))
        # Where half a turn is left nobody knows which way.
        weight = np.abs(values) ** 2 / scale * np.clip(1.2 - np.abs(phase) / 2.2, 0.02, 1)
        rest.add(terms, vector, phase - 2 * np.pi * said, weight, number)
    found = rest.solved()
    coefficients = np.zeros((2, _ORDER, _ORDER))
    coefficients[:, *np.array(_WAVES).T] = found[:, 2:]
    return found[:, :2] / np.array(shape), coefficients


def _halves(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the points before and behind each step."""
    return np.arange(length - 1), np.arange(1, length)


class _Equations:
    """Least squares for the coefficients of a displacement, phase = -2π g · u + a constant."""

    def __init__(self, terms: int, constants: int, most: int) -> None:
        self.terms, self.constants = terms, constants
        size = 2 * terms + constants
        self.normal, self.right = np.zeros((size, size)), np.zeros(size)
        self.free = np.concatenate((np.tile(_wave_sums() <= most, 2), np.ones(constants, bool)))

    def add(
        self,
        terms: NDArray[np.float64],
        vector: NDArray[np.float64],
        phase: NDArray[np.float64],
        weight: NDArray[np.float64],
        constant: int | None = None,
    ) -> None:
        """Phases at points, ``(…, terms)``, ``(…)``; `constant` is the number of their own."""
        flat = terms.reshape(-1, self.terms)
        design = np.zeros((len(flat), len(self.right)))
        for k in (0, 1):
            design[:, k * self.terms : (k + 1) * self.terms] = -2 * np.pi * vector[k] * flat
        if constant is not None:
            design[:, 2 * self.terms + constant] = 1
        weighted = design * weight.reshape(-1, 1)
        self.normal += weighted.T @ design
        self.right += weighted.T @ phase.ravel()

    def solved(self) -> NDArray[np.float64]:
        """``(2, terms)`` along y and x."""
        normal, right = self.normal.copy(), np.where(self.free, self.right, 0.0)
        size = float(np.trace(normal)) / len(normal)
        # Short waves must earn their place: a ridge that grows with their number of half waves.
        ridge = np.concatenate((np.tile(_wave_orders(), 2), np.zeros(self.constants)))
        normal[np.diag_indices_from(normal)] += size * (1e-9 + 1e-3 * ridge)
        # A small field has no room for short waves.
        normal = np.where(np.outer(self.free, self.free), normal, np.diag(np.diag(normal) + size))
        found = np.linalg.solve(normal, right)[: 2 * self.terms]
        return np.asarray(found, dtype=np.float64).reshape(2, self.terms)


#: Cosines of a displacement: none that is a mere shift.
_WAVES = [(i, j) for i in range(_ORDER) for j in range(_ORDER) if 0 < i + j < _ORDER + 1]


def _wave_orders() -> NDArray[np.float64]:
    return np.array([0.0, 0.0, *(float(i * i + j * j) for i, j in _WAVES)])


def _wave_sums() -> NDArray[np.int64]:
    """Half waves of each term; one of a linear term, as a slope of one cell is always told."""
    return np.array([1, 1, *(i + j if i + j > 1 else 2 for i, j in _WAVES)])


def _terms(places: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Functions a displacement is made of, at some places: y, x, cosines."""
    middle = np.array(shape) / 2
    t = (places + 0.5) / np.array(shape)
    y, x = (np.cos(np.pi * np.arange(_ORDER)[:, None] * t[:, k]) for k in range(2))
    cosines = [y[i] * x[j] for i, j in _WAVES]
    return np.stack([*((places - middle) / np.array(shape)).T, *cosines], axis=1)


def _displacement(
    coefficients: NDArray[np.float64], shape: tuple[int, int], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    if not coefficients.any():
        return np.zeros_like(places)
    t = (places + 0.5) / np.array(shape)
    y, x = (np.cos(np.pi * np.arange(coefficients.shape[1])[:, None] * t[:, k]) for k in range(2))
    found = np.einsum("kij,in,jn->nk", coefficients, y, x, optimize=True)
    return np.asarray(found, dtype=np.float64)


def _demodulated(
    spectrum: NDArray[np.complex128],
    shape: tuple[int, int],
    vector: NDArray[np.float64],
    shortest: float,
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """The slowly varying factor of one Bragg component on a coarse grid, and where its points are.

    Of the spectrum only what lies near the vector is kept, so that the grid can be as coarse.
    """
    half = [max(2, int(np.floor(0.3 * shortest * n))) for n in shape]
    half = [min(h, 10) for h in half]
    centre = vector * np.array(shape)
    nearest = np.rint(centre).astype(int)
    offset = centre - nearest
    offsets = [np.arange(-h, h + 1) for h in half]
    index = [(c + o) % n for c, o, n in zip(nearest, offsets, shape, strict=True)]
    part = spectrum[np.ix_(*index)]
    fall = [
        np.exp(-(((o - d) / (0.5 * h)) ** 2) / 2)
        for o, d, h in zip(offsets, offset, half, strict=True)
    ]
    part = part * np.outer(*fall)
    grid = [np.linspace(0, n - 1, 2 * h + 3) for n, h in zip(shape, half, strict=True)]
    # The remainder of the vector is taken out exactly, so that a perfect lattice gives one phase.
    wave = [
        np.exp(2j * np.pi * np.outer(p / n, o - d))
        for p, n, o, d in zip(grid, shape, offsets, offset, strict=True)
    ]
    values: NDArray[np.complex128] = wave[0] @ part @ wave[1].T
    return values, np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1)


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


def _mean_cell(image: NDArray[np.float64], lattice: Lattice) -> NDArray[np.float64]:
    """Mean of all unit cells, ``(bins, bins)`` over fractional coordinates."""
    from scipy.ndimage import gaussian_filter

    grid = np.indices(image.shape).reshape(2, -1).T.astype(np.float64)
    bins = (lattice.fractions(grid) * _BINS).astype(np.int64) % _BINS
    number = bins[:, 0] * _BINS + bins[:, 1]
    counts = np.bincount(number, minlength=_BINS**2)
    sums = np.bincount(number, image.ravel(), minlength=_BINS**2)
    cell = (sums / np.maximum(counts, 1)).reshape(_BINS, _BINS)
    return np.asarray(gaussian_filter(cell, 0.06 * _BINS, mode="wrap"))


def _basis(
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
