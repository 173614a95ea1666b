"""What networks of either kind learn from simulated patterns, and how they are validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.methods.networks.domain import Domain
from napari_diffmap.methods.networks.grid import OrientationGrid
from napari_diffmap.methods.networks.inputs import PolarInput, SquareInput
from napari_diffmap.methods.networks.labelled import Labelled, Split, check_split
from napari_diffmap.methods.networks.patterns import PatternPool, Truth
from napari_diffmap.methods.networks.proposals import (
    NEAR_DEG,
    Proposals,
    log_probabilities,
    modes_of,
    proposals,
)
from napari_diffmap.methods.networks.upright import CHOICES, about_beam, angle_of_spot
from napari_diffmap.methods.orientation.method import join_peaks
from napari_diffmap.methods.orientation.rotations import disorientation
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.models.modes import closeness, mixture_loss

#: Batches drawn from a pool between two renewals of a part of it.
_DRAWN = 8
#: A pattern with fewer clear spots is not validated on.
_SPOTS = 5


class OrientationTask:
    """Patterns to learn from and others to be judged on."""

    def __init__(
        self,
        phases: Sequence[CrystalPhase],
        domain: Domain,
        pool: int,
        seed: int,
        device: torch.device | str = "cpu",
        held_out: int = 1024,
    ) -> None:
        self.phases = tuple(phases)
        self.pool = PatternPool(phases, domain, pool, seed, device)
        # Crystals are drawn from other numbers: none is in both.
        judged = PatternPool(phases, domain, held_out, seed + 10_000_019, device)
        judged.fill()
        self.held_out = judged.draw(held_out)
        self._drawn = 0
        self._learnt: Labelled | None = None
        self._judged: Labelled | None = None
        self._share = 0.0

    def add_labelled(self, some: Labelled, split: Split, share: float) -> None:
        """Learn from measured patterns as well, and be judged on grains kept apart.

        Parameters
        ----------
        some, split
            Patterns with labels, and which are learnt from.
        share
            Of each batch.

        Raises
        ------
        BadInputError
            If a grain is on both sides.
        """
        check_split(split, some.grain)
        learnt, judged = some.take(split.learn), some.take(split.judge)
        self._learnt = learnt if self._learnt is None else self._learnt.and_also(learnt)
        self._judged = judged if self._judged is None else self._judged.and_also(judged)
        self._share = share

    def drawn(self, batch: int) -> tuple[PeakBatch, Truth]:
        """A fresh batch."""
        if self._learnt is None:
            return self._simulated(batch)
        count = round(batch * self._share)
        peaks, truth = self._learnt.draw(count, self.pool.random)
        others, more = self._simulated(batch - count)
        return join_peaks([peaks, others]), Truth(
            torch.cat((_two(truth.matrices), more.matrices)),
            torch.cat((_two(truth.phase), more.phase)),
            torch.cat((torch.nn.functional.pad(truth.share, (0, 1)), more.share)),
        )

    def _simulated(self, batch: int) -> tuple[PeakBatch, Truth]:
        if not self.pool.ready:
            self.pool.fill()
        elif self._drawn % _DRAWN == 0:
            self.pool.renew()
        self._drawn += 1
        return self.pool.draw(batch)

    def state(self) -> dict[str, Tensor]:
        """Random state; the pool is filled anew from it."""
        return {"random": self.pool.random.get_state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the random numbers of `state`."""
        self.pool.random.set_state(state["random"].cpu().to(torch.uint8))

    def said(self, network: nn.Module, peaks: PeakBatch) -> Proposals:
        """What a network proposes."""
        raise NotImplementedError

    def figures(self, network: nn.Module) -> dict[str, float]:
        """Shares of the held-out single crystals that are proposed right."""
        figures = self._figures(network, *self.held_out)
        if self._judged is not None:
            j = self._judged
            truth = Truth(j.matrices[:, None], j.phase[:, None], torch.ones(len(j), 1))
            measured = self._figures(network, j.peaks, truth)
            figures |= {f"labelled_{k}": v for k, v in measured.items()}
        return figures

    def _figures(self, network: nn.Module, peaks: PeakBatch, truth: Truth) -> dict[str, float]:
        said = self.said(network, peaks)
        alone = truth.share[:, 1:].sum(1) == 0
        one = truth.crystal & alone & (peaks.count >= _SPOTS)
        anywhere = torch.zeros_like(one)
        off, twin = torch.full((2, len(one)), 180.0, device=one.device)
        half_turn = torch.tensor([-1.0, -1.0, 1.0], device=one.device)[:, None]
        for i, operators in enumerate(self.operators):
            mine = truth.phase[:, 0] == i
            by = self._off(said, truth.matrices[:, 0], operators, i)[mine]
            turned = self._off(said, half_turn * truth.matrices[:, 0], operators, i)[mine]
            off[mine], twin[mine] = by[:, 0], torch.minimum(by, turned)[:, 0]
            anywhere[mine] = by.amin(1) < NEAR_DEG
        right = off < NEAR_DEG
        phase = said.phases.argmax(1) == truth.phase[:, 0]
        kinds = [one & (truth.phase[:, 0] == i) for i in range(len(self.operators))]
        return {
            "right": _share(right[one]),
            "right_up_to_half_turn": _share(twin[one] < NEAR_DEG),
            "among_proposals": _share(anywhere[one]),
            "within_3deg": _share(off[one] < 3),
            "within_3deg_up_to_half_turn": _share(twin[one] < 3),
            "said": float(said.probability[one, 0].mean()),
            "phase": _share(phase[one]),
            "phase_balanced": float(
                torch.tensor([_share(phase[kind]) for kind in kinds if kind.any()]).mean()
            ),
            "judged_on": float(one.sum()),
            "calibration_error": calibration_error(said.probability[one, 0], right[one]),
        }

    def calibrated(self, network: nn.Module) -> dict[str, float]:
        """Numbers that make what the network says of itself true, from held-out patterns."""
        return {}

    def _off(self, said: Proposals, truth: Tensor, operators: Tensor, phase: int) -> Tensor:
        """Degrees between the proposals and the truth; 180 where the phase is another."""
        off = torch.rad2deg(
            disorientation(said.matrices, truth[:, None], operators.to(truth.device))
        )
        return torch.where(said.phase == phase, off, 180.0)

    @property
    def operators(self) -> list[Tensor]:
        """Symmetry of each phase."""
        raise NotImplementedError

    def loss(self, network: nn.Module, batch: int) -> Tensor:
        """Loss of a fresh batch."""
        raise NotImplementedError

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on the held-out patterns."""
        raise NotImplementedError


class DensityTask(OrientationTask):
    """A density over bins of orientations of all phases, for a `PolarNet`."""

    def __init__(
        self,
        phases: Sequence[CrystalPhase],
        domain: Domain,
        seen: PolarInput,
        grid: OrientationGrid,
        *,
        pool: int,
        seed: int,
        device: torch.device | str = "cpu",
        held_out: int = 1024,
    ) -> None:
        super().__init__(phases, domain, pool, seed, device, held_out)
        self.seen, self.grid, self.temperature = seen, grid, 1.0

    @property
    def operators(self) -> list[Tensor]:
        """Symmetry of each phase."""
        return self.grid.operators

    def loss(self, network: nn.Module, batch: int) -> Tensor:
        """−log of the probability given to the bins about the truth."""
        peaks, truth = self.drawn(batch)
        return self._loss(network(self.seen.draw(peaks)), truth)

    def _loss(self, out: tuple[Tensor, Tensor], truth: Truth) -> Tensor:
        logits, none = out
        flat = logits.reshape(len(logits), -1)
        told = torch.zeros(len(flat), device=flat.device)
        for c in range(truth.share.shape[1]):
            taught = self.grid.taught(truth.matrices[:, c], truth.phase[:, c])
            place = taught.angle * self.grid.columns + taught.column
            told = told + truth.share[:, c] * (flat.gather(1, place) * taught.weight).sum(1)
        surprise = (flat.logsumexp(1) - told) * truth.crystal
        crystals = truth.crystal.sum().clamp_min(1)
        return surprise.sum() / crystals + binary_cross_entropy_with_logits(
            none, (~truth.crystal).float()
        )

    def said(self, network: nn.Module, peaks: PeakBatch) -> Proposals:
        """What a network proposes."""
        logits, none = network(self.seen.draw(peaks))
        return proposals(self.grid, log_probabilities(logits, self.temperature), none, 4)

    def calibrated(self, network: nn.Module) -> dict[str, float]:
        """The temperatures at which held-out orientations and phases are least surprising."""
        peaks, truth = self.held_out
        logits, none = network(self.seen.draw(peaks))
        tried = torch.exp(torch.linspace(-0.5, 0.7, 25)).tolist()
        surprise = [float(self._loss((logits / t, none), truth)) for t in tried]
        self.temperature = tried[int(np.argmin(surprise))]
        alone = truth.crystal & (truth.share[:, 1:].sum(1) == 0) & (peaks.count >= _SPOTS)
        if len(self.phases) == 1 or not alone.any():
            return {"temperature": self.temperature}
        said = self.said(network, peaks).phases[alone].clamp_min(1e-12).log()
        told = truth.phase[alone, 0]
        flat = torch.exp(torch.linspace(-1.5, 1.5, 61)).tolist()
        wrong = [float(cross_entropy(said / t, told)) for t in flat]
        return {
            "temperature": self.temperature,
            "phase_temperature": flat[int(np.argmin(wrong))],
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on the held-out patterns."""
        peaks, truth = self.held_out
        loss = self._loss(network(self.seen.draw(peaks)), truth)
        return {"loss": float(loss), **self.figures(network)}


class ModesTask(OrientationTask):
    """A few modes over the rotations of one phase, for a network of timm's families."""

    def __init__(
        self,
        phases: Sequence[CrystalPhase],
        domain: Domain,
        seen: SquareInput,
        *,
        pool: int,
        seed: int,
        device: torch.device | str = "cpu",
        held_out: int = 1024,
    ) -> None:
        super().__init__(phases, domain, pool, seed, device, held_out)
        self.seen = seen
        self._operators = [operators_of(phase) for phase in self.phases]

    @property
    def operators(self) -> list[Tensor]:
        """Symmetry of each phase."""
        return self._operators

    def loss(self, network: nn.Module, batch: int) -> Tensor:
        """−log density of the truth."""
        peaks, truth = self.drawn(batch)
        chance = torch.rand(batch, generator=self.pool.random, device=self.pool.device)
        rank = (CHOICES * chance).long()
        return self._loss(network, peaks, truth, rank)

    def _loss(self, network: nn.Module, peaks: PeakBatch, truth: Truth, rank: Tensor) -> Tensor:
        angle = angle_of_spot(peaks, rank)
        matrices, weight, sharp, none = network(self.seen.draw(peaks, angle))
        upright = about_beam(-angle)
        operators = self._operators[0].to(matrices.device)
        surprise = torch.zeros(len(matrices), device=matrices.device)
        for c in range(truth.share.shape[1]):
            cosine = closeness(matrices, upright @ truth.matrices[:, c], operators)
            surprise = surprise + truth.share[:, c] * mixture_loss(weight, sharp, cosine)
        crystals = truth.crystal.sum().clamp_min(1)
        return surprise.sum() / crystals + binary_cross_entropy_with_logits(
            none, (~truth.crystal).float()
        )

    def said(self, network: nn.Module, peaks: PeakBatch) -> Proposals:
        """What a network proposes."""
        angle = angle_of_spot(peaks, torch.zeros_like(peaks.count))
        return modes_of([network(self.seen.draw(peaks, angle))], angle[None])

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on the held-out patterns."""
        peaks, truth = self.held_out
        loss = self._loss(network, peaks, truth, torch.zeros_like(peaks.count))
        return {"loss": float(loss), **self.figures(network)}


def calibration_error(said: Tensor, right: Tensor, bins: int = 10) -> float:
    """Expected calibration error: mean distance of what is said from what is right.

    Parameters
    ----------
    said, right
        ``(n,)`` probabilities and whether they were right.
    bins
        Equal parts of 0–1 in which both are averaged (Guo et al., ICML 2017).
    """
    place = (said * bins).long().clamp(0, bins - 1)
    error = 0.0
    for i in range(bins):
        here = place == i
        if here.any():
            gap = said[here].mean() - right[here].float().mean()
            error += float(gap.abs() * here.float().mean())
    return error


def operators_of(phase: CrystalPhase) -> Tensor:
    """``(m, 3, 3)`` proper rotations of a phase's Laue group."""
    from napari_diffmap.crystal.simulate import rotation_matrices

    return rotation_matrices(torch.as_tensor(phase.symmetry, dtype=torch.float64)).float()


def _two(values: Tensor) -> Tensor:
    """The one crystal of each pattern, twice."""
    return torch.cat((values, values), 1)


def _share(flags: Tensor) -> float:
    return float(flags.float().mean()) if len(flags) else float("nan")
