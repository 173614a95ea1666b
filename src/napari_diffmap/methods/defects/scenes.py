"""Random scenes of monolayers to learn from: any, with any defects, as measured ones come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.monolayers import MONOLAYERS, Monolayer
from napari_diffmap.methods.defects.simulated import (
    Simulated,
    Truth,
    displaced,
    jittered,
    lattice_sites,
    render,
    smooth_field,
)


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
        both += displaced(rng, both, self.shape, rng.choice([0.0, rng.uniform(0, 2)]))
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
            expected, bare = jittered(expected, moves), jittered(bare, moves)
        noisy = rng.poisson(np.maximum(expected, 0)).astype(np.float64)
        if rng.random() < 0.3:
            from scipy.ndimage import gaussian_filter

            noisy = gaussian_filter(noisy, rng.uniform(0.3, 0.9))
        elif rng.random() < 0.3:
            noisy += rng.normal(scale=rng.uniform(0, 2), size=shape)
        sites = places, kind, self.spacing, whole, whole_kind
        clean, without = expected.astype(np.float32), bare.astype(np.float32)
        return Simulated(noisy.astype(np.float32), self._truth(), clean, without, *sites)

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
        light = self.layer.ratio(0, "C") * rng.uniform(0.5, 2)
        lumps = render(self.shape, atoms, np.full(len(atoms), light), 1.2 * self.sigma)
        return lumps + cloud * light * rng.uniform(0, 4)

    def _truth(self) -> Truth:
        inside = [f for f in self.found if (f[0] > -0.5).all() and (f[0] < self.size - 0.5).all()]
        return Truth(
            np.array([f[0] for f in inside]).reshape(-1, 2),
            np.array([f[1] for f in inside], dtype=bool),
            np.array([f[2] for f in inside], dtype=np.int8),
            np.array([f[3] for f in inside], dtype=np.float32),
            tuple(f[4] for f in inside),
        )
