"""What networks for defects learn, and how they are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_diffmap.methods.defects.network.calibrated import (
    Peaks,
    calibrated_from,
    peaks,
    scores,
)
from napari_diffmap.methods.defects.network.losses import marks_loss
from napari_diffmap.methods.defects.network.recipe import DefectRecipe
from napari_diffmap.methods.defects.network.samples import Pool, Sample, simulated_samples
from napari_diffmap.methods.defects.network.unet import Ensemble

#: Steps between two simulated images that take the place of older ones.
_RENEW = 2


class MarksTask:
    """Marks of given samples; every member of an ensemble draws its own patches.

    Parameters
    ----------
    learnt, judged
        Samples to learn from, and others to be judged on.
    patch
        Pixels a side of what is learnt at once.
    seed
        Of everything random.
    """

    def __init__(
        self, learnt: Sequence[Sample], judged: Sequence[Sample], patch: int, seed: int
    ) -> None:
        self.pool = Pool(learnt, patch, seed)
        self.held_out = tuple(judged)

    def batches(self, members: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """``(members, batch, …)`` inputs, marks and weights."""
        drawn = self.pool.draw(members * batch)
        one, two, three = (part.unflatten(0, (members, batch)) for part in drawn)
        return one, two, three

    def loss(self, network: nn.Module, batch: int) -> Tensor:
        """Sum over the members of the loss of a fresh batch."""
        assert isinstance(network, Ensemble)
        device = next(network.parameters()).device
        inputs, labels, weight = (part.to(device) for part in self.batches(len(network), batch))
        logits = network.each(inputs)
        losses = [marks_loss(*parts) for parts in zip(logits, labels, weight, strict=True)]
        return torch.stack(losses).mean()

    def said(self, network: nn.Module, sample: Sample) -> NDArray[np.float32]:
        """``(members, 2, Y, X)`` probabilities."""
        device = next(network.parameters()).device
        logits = network(torch.from_numpy(sample.seen[None]).to(device))
        return np.asarray(torch.sigmoid(logits[:, 0]).cpu().numpy())

    def found(
        self, network: nn.Module, calibration: Mapping[str, float] | None = None
    ) -> list[Peaks]:
        """Finds in the held-out samples."""
        said = (self.said(network, sample) for sample in self.held_out)
        return [peaks(one.mean(0), one.std(0), calibration=calibration) for one in said]

    @property
    def truth(self) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        """Defects of the held-out samples."""
        return [(sample.places, sample.excess) for sample in self.held_out]

    def figures(
        self, network: nn.Module, calibration: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Precision, recall and the like on the held-out samples."""
        return scores(self.found(network, calibration), self.truth)

    def calibrated(self, network: nn.Module) -> dict[str, float]:
        """Numbers that make what the network says true, from the held-out samples."""
        return calibrated_from(self.found(network), self.truth)

    def held_out_loss(self, network: nn.Module) -> float:
        """Mean loss of the members."""
        device = next(network.parameters()).device
        losses = []
        for sample in self.held_out:
            logits = network(torch.from_numpy(sample.seen[None]).to(device))
            labels = torch.from_numpy(sample.marks[None]).to(device)
            weight = torch.from_numpy(sample.weight[None, None]).to(device)
            losses += [float(marks_loss(one, labels, weight)) for one in logits]
        return float(np.mean(losses))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on the held-out samples."""
        return {"loss": self.held_out_loss(network), **self.figures(network)}

    def state(self) -> dict[str, Tensor]:
        """Random state of the batches."""
        return {"random": self.pool.state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        self.pool.restore(state["random"])


class SimulatedTask(MarksTask):
    """Simulated monolayers, ever new ones."""

    def __init__(self, recipe: DefectRecipe) -> None:
        self.recipe = recipe
        # Drawn from other numbers: no image is in both.
        apart = np.random.default_rng(recipe.plan.seed + 10_000_019)
        judged = simulated_samples(apart, recipe.held_out, recipe.scene, recipe.materials)
        super().__init__([], judged, recipe.patch, recipe.plan.seed)
        self._steps = 0

    def batches(self, members: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """``(members, batch, …)`` inputs, marks and weights."""
        samples, recipe = self.pool.samples, self.recipe
        if not samples:
            samples += self._fresh(recipe.pool)
        elif self._steps % _RENEW == 0:
            samples[self._steps // _RENEW % len(samples)] = self._fresh(1)[0]
        self._steps += 1
        return super().batches(members, batch)

    def judged_anew(
        self, network: nn.Module, calibration: Mapping[str, float], count: int
    ) -> dict[str, dict[str, float]]:
        """Figures of a calibrated network on fresh images that nothing was tuned on, by material.

        Parameters
        ----------
        network, calibration
            Trained, and what `calibrated` gave.
        count
            Images of each set.
        """
        random = np.random.default_rng(self.recipe.plan.seed + 20_000_003)
        carbon = tuple(name for name in self.recipe.materials if name == "graphene")
        others = tuple(name for name in self.recipe.materials if name != "graphene")
        figures = {}
        for names in (others, carbon):
            if names:
                fresh = simulated_samples(random, count, self.recipe.scene, names)
                judge = MarksTask([], fresh, self.recipe.patch, 0)
                title = f"simulated, never learnt from: {', '.join(names)}"
                figures[title] = judge.figures(network, calibration)
        return figures

    def _fresh(self, count: int) -> list[Sample]:
        recipe = self.recipe
        return simulated_samples(self.pool.random, count, recipe.scene, recipe.materials)
