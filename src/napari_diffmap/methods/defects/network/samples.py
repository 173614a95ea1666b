"""Images with known defects, and patches of them to learn from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.methods.defects.monolayers import MONOLAYERS
from napari_diffmap.methods.defects.network.inputs import SPACING, marks, seen, standardised
from napari_diffmap.methods.defects.network.residual import PristineFit, pristine_fit
from napari_diffmap.methods.defects.scenes import random_scene
from napari_diffmap.methods.defects.simulated import Simulated

#: Share of the images in which no lattice was found, and of those in which it was found badly.
_NO_LATTICE, _BAD_LATTICE = 0.12, 0.2


@dataclass(frozen=True, eq=False)
class Sample:
    """An image as a network sees it, and what is true of it.

    Attributes
    ----------
    seen
        ``(4, Y, X)`` float32, see `inputs.seen`.
    marks
        ``(2, Y, X)`` float32, 0–1.
    weight
        ``(Y, X)`` float32: what a pixel counts; 0 where nothing is known.
    places, excess
        ``(n, 2)`` y, x in pixels, and ``(n,)`` bool; of the known defects.
    """

    seen: NDArray[np.float32]
    marks: NDArray[np.float32]
    weight: NDArray[np.float32]
    places: NDArray[np.float64]
    excess: NDArray[np.bool_]


def sample_of(scene: Simulated, rng: np.random.Generator) -> Sample:
    """A simulated image with a lattice as a finder gives it, at times none or a bad one."""
    draw = rng.random()
    fit = None
    if draw > _NO_LATTICE:
        whole = scene.whole is not None and rng.random() < 0.8
        places, kind = scene.sites, scene.sublattice
        if whole and scene.whole is not None and scene.whole_sublattice is not None:
            places, kind = scene.whole, scene.whole_sublattice
        off = rng.uniform(0, 0.1) if draw < _NO_LATTICE + _BAD_LATTICE else rng.uniform(0, 0.015)
        places = places + rng.normal(scale=off * scene.spacing / np.sqrt(2), size=2)
        fit = pristine_fit(scene.image, places, kind, scene.spacing)
    truth = scene.truth
    image = standardised(scene.image, SPACING)
    return Sample(
        seen_with(image, fit),
        marks(scene.image.shape, truth.places, truth.excess),
        np.ones(scene.image.shape, np.float32),
        truth.places,
        truth.excess,
    )


def seen_with(image_std: NDArray[np.float32], fit: PristineFit | None) -> NDArray[np.float32]:
    """The input of a network, with what a lattice adds where there is one."""
    return seen(image_std) if fit is None else seen(image_std, fit.residual, fit.sites)


def simulated_samples(
    rng: np.random.Generator,
    count: int,
    size: int = 128,
    materials: Sequence[str] = tuple(MONOLAYERS),
) -> list[Sample]:
    """Random images, see `random_scene`."""
    return [sample_of(random_scene(rng, size, SPACING, materials), rng) for _ in range(count)]


class Pool:
    """Samples to draw patches from.

    Parameters
    ----------
    samples
        At least one, none smaller than `patch`.
    patch
        Pixels a side.
    seed
        Of what is drawn.
    """

    def __init__(self, samples: Sequence[Sample], patch: int, seed: int) -> None:
        self.samples, self.patch = list(samples), patch
        self.random = np.random.default_rng(seed)

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Patches, turned and mirrored at random.

        Returns
        -------
        seen, marks, weight
            ``(count, 4, …)``, ``(count, 2, …)`` and ``(count, 1, patch, patch)``, float32.
        """
        parts: tuple[list[NDArray[np.float32]], ...] = ([], [], [])
        for _ in range(count):
            sample = self.samples[int(self.random.integers(len(self.samples)))]
            y, x = self._corner(sample)
            here = (..., slice(y, y + self.patch), slice(x, x + self.patch))
            turns, mirror = int(self.random.integers(4)), bool(self.random.integers(2))
            values_of = (sample.seen[here], sample.marks[here], sample.weight[here][None])
            for kept, values in zip(parts, values_of, strict=True):
                turned = np.rot90(values, turns, axes=(-2, -1))
                kept.append(turned[..., ::-1] if mirror else turned)
        one, two, three = (torch.from_numpy(np.ascontiguousarray(np.stack(part))) for part in parts)
        return one, two, three

    def _corner(self, sample: Sample) -> tuple[int, int]:
        """Where a patch begins: every second one holds a defect, where there is any."""
        limits = np.array(sample.seen.shape[-2:]) - self.patch
        corner = self.random.integers(0, limits + 1)
        if len(sample.places) and self.random.random() < 0.5:
            place = sample.places[int(self.random.integers(len(sample.places)))]
            within = self.random.uniform(0.1, 0.9, 2) * self.patch
            corner = np.clip(np.rint(place - within).astype(int), 0, limits)
        return int(corner[0]), int(corner[1])

    def state(self) -> Tensor:
        """State of the random numbers as bytes."""
        text = json.dumps(self.random.bit_generator.state)
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)

    def restore(self, state: Tensor) -> None:
        """Go on from `state`."""
        record: Mapping[str, object] = json.loads(bytes(state.cpu().to(torch.uint8).tolist()))
        self.random.bit_generator.state = record
