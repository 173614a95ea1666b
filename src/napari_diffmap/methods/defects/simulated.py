"""Simulated images of hexagonal monolayers with defects, and what is true of them.

A column is a probe-shaped blob of Z to the power 1.7, a frame is Poisson noise about the sum.
That is the contrast model of the published table that finders are compared by; what it leaves
out (channelling, aberrations other than tails) is in no image made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.kernels import add_blobs
from napari_diffmap.methods.defects.monolayers import MONOLAYERS

#: Unit cell: fractional places of the brighter and the weaker sublattice.
BASIS = np.array([[0.0, 0.0], [1 / 3, 1 / 3]])


@dataclass(frozen=True, eq=False)
class Truth:
    """Where the defects of a simulated image are.

    Attributes
    ----------
    places
        ``(n, 2)`` y and x in pixels.
    excess
        ``(n,)`` bool: brighter than what belongs there, else darker.
    sublattice
        ``(n,)`` int8: 0, 1, or -1 off the lattice.
    ratio
        ``(n,)`` amplitude over that of the pristine site; off the lattice, over sublattice 0.
    names
        What each is, e.g. ``S vacancy``.
    """

    places: NDArray[np.float64]
    excess: NDArray[np.bool_]
    sublattice: NDArray[np.int8]
    ratio: NDArray[np.float32]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated image.

    Attributes
    ----------
    image
        ``(Y, X)`` float32 counts.
    truth
        Its defects.
    expected
        ``(Y, X)`` float32 counts without noise.
    pristine
        ``(Y, X)`` float32 counts without noise, defects and contamination.
    sites, sublattice
        ``(m, 2)`` and ``(m,)``: the lattice.
    spacing
        Lattice constant in pixels.
    whole, whole_sublattice
        ``(k, 2)`` and ``(k,)``: the (first) lattice as a finder sees it, without holes, edges and
        grain boundaries; None where it is the same as `sites`.
    """

    image: NDArray[np.float32]
    truth: Truth
    expected: NDArray[np.float32]
    pristine: NDArray[np.float32]
    sites: NDArray[np.float64]
    sublattice: NDArray[np.int8]
    spacing: float
    whole: NDArray[np.float64] | None = None
    whole_sublattice: NDArray[np.int8] | None = None


def lattice_sites(
    shape: tuple[int, int], spacing: float, angle: float, origin: NDArray[np.float64], margin: float
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Sites of a hexagonal lattice within an image and `margin` pixels around it.

    Parameters
    ----------
    shape
        Of the image.
    spacing, angle
        Lattice constant in pixels, and radians from x towards y of the first vector.
    origin
        ``(2,)`` y, x of a site of the brighter sublattice.
    margin
        May be negative.

    Returns
    -------
    places, sublattice
        ``(m, 2)`` y, x and ``(m,)``.
    """
    turn = np.array([angle, angle + np.pi / 3])
    vectors = spacing * np.stack((np.sin(turn), np.cos(turn)), axis=1)
    reach = int(np.ceil(2 * (max(shape) + abs(margin)) / spacing)) + 2
    n = np.arange(-reach, reach + 1)
    cells = np.stack(np.meshgrid(n, n, indexing="ij"), axis=-1).reshape(-1, 2)
    middle = np.round(np.linalg.solve(vectors.T, np.array(shape) / 2 - origin))
    places, kinds = [], []
    for kind, part in enumerate(BASIS):
        some = (cells + middle + part) @ vectors + origin
        inside = ((some >= -margin) & (some <= np.array(shape) - 1 + margin)).all(axis=1)
        places.append(some[inside])
        kinds.append(np.full(int(inside.sum()), kind, dtype=np.int8))
    return np.concatenate(places), np.concatenate(kinds)


def render(
    shape: tuple[int, int],
    places: NDArray[np.float64],
    amplitudes: NDArray[np.floating],
    sigma: float,
    tail: float = 0.0,
) -> NDArray[np.float64]:
    """Blobs at sub-pixel places: a Gaussian of height 1 and, of its integral, a wide tail.

    Parameters
    ----------
    shape
        Of the image.
    places, amplitudes
        ``(n, 2)`` y, x, and ``(n,)`` heights.
    sigma
        Of the probe in pixels.
    tail
        Share of the intensity in a Gaussian three times as wide.
    """
    image = add_blobs(np.zeros(shape), places, amplitudes * (1 - tail), sigma)
    if tail > 0:
        add_blobs(image, places, amplitudes * tail / 9, 3 * sigma)
    return image


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], order: int = 4
) -> NDArray[np.float64]:
    """A random smooth field from 0 to 1: cosines up to `order` - 1 half waves a side."""
    t = [(np.arange(n) + 0.5) / n for n in shape]
    y, x = (np.cos(np.pi * np.outer(np.arange(order), s)) for s in t)
    weights = rng.normal(size=(order, order))
    weights[0, 0] = 0
    field = np.einsum("ij,iy,jx->yx", weights, y, x)
    field -= field.min()
    return np.asarray(field / max(float(field.max()), 1e-12))


def simulate(
    rng: np.random.Generator,
    material: str = "WS2",
    *,
    size: int = 512,
    pixel_nm: float = 0.03,
    probe_nm: float = 0.06,
    tail: float = 0.0,
    peak: float = 100.0,
    background: float = 0.3,
    vacancies: int = 45,
    dopants: int = 30,
    dopant: str = "Mo",
    angle: float | None = None,
    distortion: float = 0.0,
    jitter: float = 0.0,
) -> Simulated:
    """An image of vacancies of the weaker sublattice and dopants on the brighter one.

    Parameters
    ----------
    rng
        Random numbers.
    material
        Name in `MONOLAYERS`.
    size
        Pixels a side.
    pixel_nm, probe_nm
        Pixel, and standard deviation of the probe.
    tail
        Share of the probe in its tails, see `render`.
    peak
        Counts at the middle of a column of the brighter sublattice.
    background
        Smooth background from 0 to this share of `peak`.
    vacancies, dopants
        How many: single vacancies of the weaker sublattice, `dopant` on the brighter.
    dopant
        Symbol of the atom.
    angle
        Of the lattice, radians; None: random.
    distortion
        Smooth distortion of the scan, root mean square in pixels.
    jitter
        Shift of each line of the scan, standard deviation in pixels.
    """
    layer, shape = MONOLAYERS[material], (size, size)
    spacing, sigma = layer.spacing_nm / pixel_nm, probe_nm / pixel_nm
    turn = rng.uniform(0, np.pi / 3) if angle is None else angle
    sites, kind = lattice_sites(shape, spacing, turn, rng.uniform(0, size, 2), 4 * sigma)
    inside = ((sites > 8) & (sites < size - 9)).all(axis=1)
    weak = rng.choice(np.flatnonzero(inside & (kind == 1)), vacancies, replace=False)
    strong = rng.choice(np.flatnonzero(inside & (kind == 0)), dopants, replace=False)
    pristine = np.array(layer.amplitudes)[kind]
    ratios = np.ones(len(sites))
    ratios[weak] = layer.ratio(1, *layer.columns[1][1:]) if len(layer.columns[1]) > 1 else 0.0
    ratios[strong] = layer.ratio(0, dopant)
    places = sites + displaced(rng, sites, shape, distortion)
    ground = background * smooth_field(rng, shape)
    expected = peak * (render(shape, places, pristine * ratios, sigma, tail) + ground)
    bare = peak * (render(shape, places, pristine, sigma, tail) + ground)
    if jitter > 0:
        moves = rng.normal(scale=jitter, size=size)
        expected, bare = jittered(expected, moves), jittered(bare, moves)
    chosen = np.concatenate((weak, strong))
    anion = layer.columns[1][0]
    names = (f"{anion} vacancy",) * vacancies + (f"{dopant} on {layer.columns[0][0]}",) * dopants
    truth = Truth(places[chosen], ratios[chosen] > 1, kind[chosen], _f4(ratios[chosen]), names)
    image = rng.poisson(np.maximum(expected, 0))
    return Simulated(_f4(image), truth, _f4(expected), _f4(bare), places, kind, spacing)


def _f4(values: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def displaced(
    rng: np.random.Generator, places: NDArray[np.float64], shape: tuple[int, int], rms: float
) -> NDArray[np.float64]:
    """Smooth random displacements of places.

    Parameters
    ----------
    rng
        Random numbers.
    places
        ``(n, 2)`` y, x.
    shape
        Of the image.
    rms
        Root mean square, pixels.

    Returns
    -------
    NDArray
        ``(n, 2)`` pixels.
    """
    if rms <= 0 or not len(places):
        return np.zeros_like(places)
    t = (places + 0.5) / np.array(shape)
    found = np.empty_like(places)
    for axis in range(2):
        y, x = (np.cos(np.pi * np.arange(3)[:, None] * t[:, k]) for k in range(2))
        found[:, axis] = np.einsum("ij,in,jn->n", rng.normal(size=(3, 3)), y, x)
    found -= found.mean(axis=0)
    return np.asarray(found * rms / max(float(np.sqrt((found**2).sum(1).mean())), 1e-9))


def jittered(image: NDArray[np.float64], moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each line of an image moved along itself.

    Parameters
    ----------
    image
        ``(Y, X)``.
    moves
        ``(Y,)`` pixels.
    """
    x = np.arange(image.shape[1])
    return np.stack([np.interp(x - d, x, row) for row, d in zip(image, moves, strict=True)])
