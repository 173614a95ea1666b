"""A loaded model as a proposer: spots in, orientations out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

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
from napari_diffmap.methods.registration.spots import PeakBatch

#: Orientations proposed of each pattern.
PROPOSED = 4
#: Of so many the half turn about the beam too: few patterns tell it, the refined answer may.
TURNED = 2
#: Patterns that go through a network at once.
_PIECE = 32


class DensityProposer:
    """A `PolarNet`: the modes of its density over all phases.

    Parameters
    ----------
    network, seen, grid
        What was trained.
    names
        Names of the phases of the grid.
    wanted
        Names of the phases that the sample may be, in the search's order.
    temperature
        See `proposals`.
    """

    def __init__(
        self,
        network: nn.Module,
        seen: PolarInput,
        grid: OrientationGrid,
        names: Sequence[str],
        wanted: Sequence[str],
        *,
        temperature: float = 1.0,
        count: int = PROPOSED,
        turned: int = TURNED,
    ) -> None:
        self.network, self.seen, self.grid = network.eval(), seen, grid
        self.temperature, self.count, self.turned = temperature, count, turned
        places = {name: i for i, name in enumerate(wanted)}
        self._number = torch.tensor([places.get(name, -1) for name in names])
        missing = [name for name in wanted if name not in names]
        if missing:
            raise BadInputError(
                f"the network was trained for {', '.join(names)}, not for {', '.join(missing)}:"
                " take another network or the templates"
            )

    @torch.inference_mode()
    def propose(
        self, peaks: PeakBatch, only: Sequence[int] | None = None
    ) -> tuple[Proposals, Density]:
        """The likeliest orientations of each pattern, of all phases wanted or of some."""
        logits, none = self._said(self.seen.draw(peaks))
        number = self._number.to(logits.device)
        tried = number >= 0
        if only is not None:
            tried = tried & torch.isin(number, torch.tensor(list(only), device=number.device))
        if not bool(tried.all()):
            shut = ~tried[self.grid.phase.to(logits.device)]
            logits = logits.masked_fill(shut, -torch.inf)
        logp = log_probabilities(logits, self.temperature)
        said = proposals(self.grid, logp, none, self.count)
        own = torch.argsort(torch.where(number < 0, len(number), number))
        said = with_half_turns(replace(said, phase=number[said.phase]), self.turned)
        return said, GridDensity(self.grid, logp.reshape(len(logp), -1), own)

    def _said(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """In pieces of one size: sums round with their length, answers must not."""
        short = -len(drawn) % _PIECE
        filled = torch.nn.functional.pad(drawn, (0, 0, 0, 0, 0, short))
        pieces = [self.network(piece) for piece in filled.split(_PIECE)]
        logits, none = (torch.cat([piece[i] for piece in pieces]) for i in range(2))
        return logits[: len(drawn)], none[: len(drawn)]


class ModesProposer:
    """A network of timm's families: the modes it says of its one phase."""

    def __init__(
        self, network: nn.Module, seen: SquareInput, phase: str, wanted: Sequence[str]
    ) -> None:
        if list(wanted) != [phase]:
            raise BadInputError(
                f"the network was trained for {phase} alone: map only that, or take the templates"
            )
        self.network, self.seen = network.eval(), seen

    @torch.inference_mode()
    def propose(
        self, peaks: PeakBatch, only: Sequence[int] | None = None
    ) -> tuple[Proposals, Density]:
        """The likeliest orientations of each pattern."""
        return modes_of(self.network(self.seen.draw(peaks))), NoDensity()
