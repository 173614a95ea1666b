"""Simulated images of hexagonal monolayers with defects, and what is true of them.

A column is a probe-shaped blob of Z to the power 1.7, a frame is Poisson noise about the sum.
That is the contrast model of the published table that finders are compared by; what it leaves
out (channelling, aberrations other than tails) is in no image made here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.kernels import add_blobs
from napari_diffmap.methods.defects.monolayers import MONOLAYERS, Monolayer

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
    places = sites + _displaced(rng, sites, shape, distortion)
    ground = background * smooth_field(rng, shape)
    expected = peak * (render(shape, places, pristine * ratios, sigma, tail) + ground)
    bare = peak * (render(shape, places, pristine, sigma, tail) + ground)
    if jitter > 0:
        moves = rng.normal(scale=jitter, size=size)
        expected, bare = _jittered(expected, moves), _jittered(bare, moves)
    chosen = np.concatenate((weak, strong))
    anion = layer.columns[1][0]
    names = (f"{anion} vacancy",) * vacancies + (f"{dopant} on {layer.columns[0][0]}",) * dopants
    truth = Truth(places[chosen], ratios[chosen] > 1, kind[chosen], _f4(ratios[chosen]), names)
    image = rng.poisson(np.maximum(expected, 0))
    return Simulated(_f4(image), truth, _f4(expected), _f4(bare), places, kind, spacing)


def _f4(values: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _displaced(
    rng: np.random.Generator, places: NDArray[np.float64], shape: tuple[int, int], rms: float
) -> NDArray[np.float64]:
    """Smooth displacements of places, ``(n, 2)`` pixels."""
    if rms <= 0 or not len(places):
        return np.zeros_like(places)
    t = (places + 0.5) / np.array(shape)
    found = np.empty_like(places)
    for axis in range(2):
        y, x = (np.cos(np.pi * np.arange(3)[:, None] * t[:, k]) for k in range(2))
        found[:, axis] = np.einsum("ij,in,jn->n", rng.normal(size=(3, 3)), y, x)
    found -= found.mean(axis=0)
    return np.asarray(found * rms / max(float(np.sqrt((found**2).sum(1).mean())), 1e-9))


def _jittered(image: NDArray[np.float64], moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each line moved along itself."""
    x = np.arange(image.shape[1])
    return np.stack([np.interp(x - d, x, row) for row, d in zip(image, moves, strict=True)])


# ------------------------------------------------------------------- many kinds, to learn from


def random_scene(
    rng: np.random.Generator,
    size: int = 128,
    spacing: float = 8.0,
    materials: Sequence[str] = tuple(MONOLAYERS),
) -> Simulated:
    """An image of any monolayer with any of its defects, as measured ones come.

    Contamination, holes, grain boundaries, tails of the probe, distortion of the scan, noise of
    any dose, some of it smeared as by resampling.

    Parameters
    ----------
    rng
        Random numbers.
    size
        Pixels a side.
    spacing
        Lattice constant in pixels; the image's differs by up to 6 %.
    materials
        Names in `MONOLAYERS` to draw from.  Graphene comes more often: it is the only one like it.
    """
    often = np.array([1.7 if name == "graphene" else 1.0 for name in materials])
    layer = MONOLAYERS[str(rng.choice(list(materials), p=often / often.sum()))]
    return _Scene(rng, layer, size, spacing * rng.uniform(0.94, 1.06)).made()


class _Scene:
    """What goes into one random image."""

    def __init__(
        self, rng: np.random.Generator, layer: Monolayer, size: int, spacing: float
    ) -> None:
        self.rng, self.layer, self.size, self.spacing = rng, layer, size, spacing
        self.shape = (size, size)
        self.carbon = layer.name == "graphene"
        # The probe covers 0.045–0.09 nm; a graphene bond is shorter than one of a dichalcogenide.
        self.sigma = spacing * rng.uniform(0.045, 0.085) / layer.spacing_nm
        self.tail = rng.choice([0.0, rng.uniform(0.1, 0.5)])
        self.found: list[tuple[NDArray[np.float64], bool, int, float, str]] = []

    def made(self) -> Simulated:
        rng, size = self.rng, self.size
        places, kind, whole, whole_kind = self._lattice()
        both = np.concatenate((places, whole))
        both += _displaced(rng, both, self.shape, rng.choice([0.0, rng.uniform(0, 2)]))
        places, whole = both[: len(places)], both[len(places) :]
        pristine = np.array(self.layer.amplitudes)[kind]
        ratios = self._defects(places, kind)
        moved = places.copy()
        extra, weights = self._adatoms(moved, kind, ratios)
        shape = self.shape
        image = render(shape, moved, pristine * ratios, self.sigma, self.tail)
        bare = render(shape, places, pristine * (ratios >= 0), self.sigma, self.tail)
        if len(extra):
            image += render(shape, extra, weights, self.sigma, self.tail)
        level = rng.uniform(0.02, 0.6) * (1 if not self.carbon else rng.uniform(0.5, 3))
        ground = level * (rng.uniform(0, 1) + smooth_field(rng, shape, int(rng.integers(2, 5))))
        dirt = self._contamination()
        peak = float(np.exp(rng.uniform(np.log(12), np.log(1500))))
        if self.carbon:
            # Carbon is measured with many electrons a pixel of this size, and barely seen.
            peak = float(np.exp(rng.uniform(np.log(15), np.log(800))))
        expected, bare = peak * (image + ground + dirt), peak * (bare + ground)
        if rng.random() < 0.5:
            moves = rng.normal(scale=rng.uniform(0, 0.5), size=size)
            expected, bare = _jittered(expected, moves), _jittered(bare, moves)
        noisy = rng.poisson(np.maximum(expected, 0)).astype(np.float64)
        if rng.random() < 0.3:
            from scipy.ndimage import gaussian_filter

            noisy = gaussian_filter(noisy, rng.uniform(0.3, 0.9))
        elif rng.random() < 0.3:
            noisy += rng.normal(scale=rng.uniform(0, 2), size=shape)
        truth = self._truth()
        sites = places, kind, self.spacing, whole, whole_kind
        return Simulated(_f4(noisy), truth, _f4(expected), _f4(bare), *sites)

    def _lattice(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.float64], NDArray[np.int8]]:
        """Sites and their kinds, and those of the whole lattice that they are of."""
        rng, size = self.rng, self.size
        margin = 4 * self.sigma + 3
        make = [
            lattice_sites(
                self.shape, self.spacing, rng.uniform(0, np.pi / 3), rng.uniform(0, size, 2), margin
            )
            for _ in range(2)
        ]
        places, kind = whole, whole_kind = make[0]
        line = self._line()
        draw = rng.random()
        if draw < 0.12:  # a grain boundary
            other, their = make[1]
            mine, theirs = line(places) < -0.25 * self.spacing, line(other) > 0.25 * self.spacing
            places = np.concatenate((places[mine], other[theirs]))
            kind = np.concatenate((kind[mine], their[theirs]))
        elif draw < 0.22:  # an edge
            keep = line(places) < 0
            places, kind = places[keep], kind[keep]
        elif draw < 0.32:  # a hole
            middle, radius = rng.uniform(0, size, 2), rng.uniform(0.8, 3.5) * self.spacing
            keep = np.hypot(*(places - middle).T) > radius
            places, kind = places[keep], kind[keep]
        return places, kind, whole, whole_kind

    def _line(self) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Distance of places from a random line, on one side negative."""
        turn, at = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.2, 0.8, 2) * self.size
        normal = np.array([np.sin(turn), np.cos(turn)])
        return lambda places: np.asarray((places - at) @ normal)

    def _note(
        self, place: NDArray[np.float64], excess: bool, kind: int, ratio: float, name: str
    ) -> None:
        self.found.append((place, excess, kind, ratio, name))

    def _defects(self, places: NDArray[np.float64], kind: NDArray[np.int8]) -> NDArray[np.float64]:
        """Amplitude of each site over that of the pristine one; defects are noted."""
        rng, layer = self.rng, self.layer
        ratios = np.ones(len(places))
        # A little of every column differs: height, tilt, vibration.
        ratios += rng.normal(scale=rng.uniform(0, 0.04), size=len(places))
        density = rng.choice([0.0, rng.uniform(0, 0.03), rng.uniform(0, 0.1)])
        count = rng.binomial(len(places), density) if len(places) else 0
        for i in rng.choice(len(places), count, replace=False):
            k = int(kind[i])
            column = layer.columns[k]
            draw = rng.random()
            if draw < 0.5 and not self.carbon:
                left = column[1:] if rng.random() < 0.8 else ()
            elif draw < 0.35:
                left = ()
            else:
                left = (str(rng.choice(layer.dopants[k])), *column[1:])
            ratio = layer.ratio(k, *left) if left else 0.0
            if abs(ratio - 1) < 0.15:
                continue
            ratios[i] = ratio
            name = "+".join(left) if left else "vacancy"
            self._note(places[i], ratio > 1, k, ratio, name)
        return ratios

    def _adatoms(
        self, places: NDArray[np.float64], kind: NDArray[np.int8], ratios: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Atoms on no site; groups of silicon in graphene push their neighbours away."""
        rng, layer = self.rng, self.layer
        base = layer.amplitudes[0]
        if self.carbon and rng.random() < 0.6:
            return self._silicon(places, kind, ratios)
        if rng.random() < 0.75:
            return np.zeros((0, 2)), np.zeros(0)
        count = int(rng.integers(1, 5))
        atoms = rng.choice(["Si", "S", "Mo", "W"] if not self.carbon else ["Si", "O", "Fe"], count)
        spots = rng.uniform(0, self.size, (count, 2))
        weights = np.array([layer.ratio(0, str(atom)) for atom in atoms]) * base
        for spot, weight, atom in zip(spots, weights, atoms, strict=True):
            if weight > 0.2:
                self._note(spot, True, -1, float(weight), f"{atom} adatom")
        return spots, weights

    def _silicon(
        self, places: NDArray[np.float64], kind: NDArray[np.int8], ratios: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One to four silicon atoms in place of carbon, 0.6–0.8 lattice constants apart."""
        rng = self.rng
        spots: list[NDArray[np.float64]] = []
        for _ in range(int(rng.integers(1, 4))):
            if not len(places):
                break
            start = places[rng.integers(len(places))]
            turn, number = rng.uniform(0, 2 * np.pi), int(rng.choice([1, 1, 2, 3, 4]))
            arm = self.spacing * rng.uniform(0.85, 1.25)
            group = [start]
            for j in range(1, number):
                step = arm * np.array([np.sin(turn), np.cos(turn)])
                group.append(group[0 if j < 3 else 1] + step)
                turn += np.pi / 3
            for spot in group:
                near = np.hypot(*(places - spot).T) < 0.5 * self.spacing
                ratios[near] = 0.0
                self.found = [f for f in self.found if np.hypot(*(f[0] - spot)) > self.spacing / 2]
                self._note(spot, True, -1, self.layer.ratio(0, "Si"), "Si")
                spots.append(spot)
        weights = np.full(len(spots), self.layer.ratio(0, "Si"))
        return np.array(spots).reshape(-1, 2), weights * rng.uniform(0.5, 1.1, len(spots))

    def _contamination(self) -> NDArray[np.float64]:
        """Amorphous carbon: many light atoms anywhere in a cloud."""
        rng, size = self.rng, self.size
        if rng.random() > 0.35:
            return np.zeros(self.shape)
        cloud = np.clip(smooth_field(rng, self.shape, 5) - rng.uniform(0.4, 0.8), 0, None)
        cloud /= max(float(cloud.max()), 1e-9)
        tries = rng.uniform(0, size, (int(3 * (size / self.spacing) ** 2), 2))
        y, x = tries.astype(int).T
        atoms = tries[rng.random(len(tries)) < cloud[y, x]]
        light = brightness_of_carbon(self.layer) * rng.uniform(0.5, 2)
        lumps = render(self.shape, atoms, np.full(len(atoms), light), 1.2 * self.sigma)
        return lumps + cloud * light * rng.uniform(0, 4)

    def _truth(self) -> Truth:
        inside = [f for f in self.found if (f[0] > -0.5).all() and (f[0] < self.size - 0.5).all()]
        return Truth(
            np.array([f[0] for f in inside]).reshape(-1, 2),
            np.array([f[1] for f in inside], dtype=bool),
            np.array([f[2] for f in inside], dtype=np.int8),
            _f4(np.array([f[3] for f in inside])),
            tuple(f[4] for f in inside),
        )


def brightness_of_carbon(layer: Monolayer) -> float:
    """A carbon atom over a column of the brighter sublattice."""
    return layer.ratio(0, "C")
