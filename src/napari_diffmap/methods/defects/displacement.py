"""How the lattice of an image is displaced from a perfect one: smooth functions of the place.

The displacement is read off the phases of the Bragg components (Hÿtch, Snoeck & Kilaas,
Ultramicroscopy 74, 131 (1998)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.bragg import NoLatticeError

#: Half waves of the displacement along each side of the image.
ORDER = 4


def displaced(
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
    coefficients = np.zeros((2, ORDER, ORDER))
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
        normal[np.diag_indices_from(normal)] += size * (1e-9 + 2e-3 * ridge)
        # A small field has no room for short waves.
        normal = np.where(np.outer(self.free, self.free), normal, np.diag(np.diag(normal) + size))
        found = np.linalg.solve(normal, right)[: 2 * self.terms]
        return np.asarray(found, dtype=np.float64).reshape(2, self.terms)


#: Cosines of a displacement: none that is a mere shift.
_WAVES = [(i, j) for i in range(ORDER) for j in range(ORDER) if 0 < i + j < ORDER + 1]


def _wave_orders() -> NDArray[np.float64]:
    return np.array([0.0, 0.0, *(float(i * i + j * j) for i, j in _WAVES)])


def _wave_sums() -> NDArray[np.int64]:
    """Half waves of each term; one of a linear term, as a slope of one cell is always told."""
    return np.array([1, 1, *(i + j if i + j > 1 else 2 for i, j in _WAVES)])


def _terms(places: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Functions a displacement is made of, at some places: y, x, cosines."""
    middle = np.array(shape) / 2
    t = (places + 0.5) / np.array(shape)
    y, x = (np.cos(np.pi * np.arange(ORDER)[:, None] * t[:, k]) for k in range(2))
    cosines = [y[i] * x[j] for i, j in _WAVES]
    return np.stack([*((places - middle) / np.array(shape)).T, *cosines], axis=1)


def displacement_at(
    coefficients: NDArray[np.float64], shape: tuple[int, int], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Displacement that coefficients ``(2, k, k)`` make at places, ``(n, 2)`` pixels."""
    if not coefficients.any():
        return np.zeros_like(places)
    t = (places + 0.5) / np.array(shape)
    y, x = (np.cos(np.pi * np.arange(coefficients.shape[1])[:, None] * t[:, k]) for k in range(2))
    found = np.einsum("kij,in,jn->nk", coefficients, y, x, optimize=True)
    return np.asarray(found, dtype=np.float64)


def displacement_of_pixels(
    coefficients: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """The same at every pixel, ``(2, Y, X)``: a product, as cosines are along y and along x."""
    orders = np.arange(coefficients.shape[1])
    y, x = (np.cos(np.pi * np.outer((np.arange(n) + 0.5) / n, orders)) for n in shape)
    return np.asarray(y @ coefficients @ x.T)


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
