"""A loaded model as a proposer: spots in, orientations out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.networks.grid import OrientationGrid
from napari_diffmap.methods.networks.inputs import PolarInput, SquareInput
from napari_diffmap.methods.networks.proposals import (
    Density,
    GridDensity,
    NoDensity,
    Proposals,
    log_probabilities,
    modes_of,
    proposals,
    with_half_turns,
)
from napari_diffmap.methods.networks.upright import TURNS, angle_of_spot
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.models.runner import Runner

#: Orientations proposed of each pattern.
PROPOSED = 4
#: Of so many the half turn about the beam too: few patterns tell it, the refined answer may.
TURNED = 2
#: Patterns that go through a network at once on processors, where larger batches gain nothing.
_PIECE = 32


def runner_of(network: nn.Module, device: torch.device | str) -> Runner:
    """A network on a device; on a processor its answers are the same however patterns are cut."""
    return Runner(network, device, piece=_PIECE if torch.device(device).type == "cpu" else None)


class DensityProposer:
    """A `PolarNet`: the modes of its density over all phases.

    Parameters
    ----------
    network, seen, grid
        What was trained; the grid's phases are the search's.
    device
        Where the network runs.
    temperature, count
        See `log_probabilities` and `proposals`.
    phase_temperature
        Makes the probabilities of the phases what they say.
    turned
        See `with_half_turns`.
    """

    def __init__(
        self,
        network: nn.Module,
        seen: PolarInput,
        grid: OrientationGrid,
        *,
        device: torch.device | str = "cpu",
        temperature: float = 1.0,
        phase_temperature: float = 1.0,
        count: int = PROPOSED,
        turned: int = TURNED,
    ) -> None:
        self.runner, self.seen, self.grid = runner_of(network, device), seen, grid
        self.temperature, self.count, self.turned = temperature, count, turned
        self.phase_temperature = phase_temperature

    @torch.inference_mode()
    def propose(
        self, peaks: PeakBatch, only: Sequence[int] | None = None
    ) -> tuple[Proposals, Density]:
        """The likeliest orientations of each pattern, of all phases wanted or of some."""
        logits, none = self.runner.run(self.seen.draw(peaks))
        if only is not None and len(set(only)) < len(self.grid.operators):
            phase = self.grid.phase.to(logits.device)
            shut = ~torch.isin(phase, torch.tensor(list(only), device=phase.device))
            logits = logits.masked_fill(shut, -torch.inf)
        logp = log_probabilities(logits, self.temperature)
        said = with_half_turns(proposals(self.grid, logp, none, self.count), self.turned)
        phases = torch.softmax(said.phases.clamp_min(1e-12).log() / self.phase_temperature, 1)
        said = replace(said, phases=phases)
        return said, GridDensity(self.grid, logp.reshape(len(logp), -1))


class ModesProposer:
    """A network of timm's families: the modes it says of its one phase."""

    def __init__(
        self,
        network: nn.Module,
        seen: SquareInput,
        phase: str,
        wanted: Sequence[str],
        device: torch.device | str = "cpu",
    ) -> None:
        if list(wanted) != [phase]:
            raise BadInputError(
                f"the network was trained for {phase} alone: map only that, or take the templates"
            )
        self.runner, self.seen = runner_of(network, device), seen

    @torch.inference_mode()
    def propose(
        self, peaks: PeakBatch, only: Sequence[int] | None = None
    ) -> tuple[Proposals, Density]:
        """The likeliest orientations of each pattern."""
        angles = torch.stack(
            [angle_of_spot(peaks, torch.full_like(peaks.count, turn)) for turn in range(TURNS)]
        )
        outs = [self.runner.run(self.seen.draw(peaks, angle)) for angle in angles]
        said = modes_of(outs, angles).first(PROPOSED)
        return with_half_turns(said, PROPOSED), NoDensity()
