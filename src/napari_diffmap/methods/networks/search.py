"""Matching from a network's proposals: the coarse search is left out, the rest is the matcher's.

Where the refined answer is not sure, the coarse search is done after all, and the likelihood
ranks the candidates of both: a network saves time where it is right, and costs no answer elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.methods.networks.proposals import Density, Proposals
from napari_diffmap.methods.orientation.answers import Answers
from napari_diffmap.methods.orientation.candidates import STEPS, SearchSettings
from napari_diffmap.methods.orientation.doubt import FEWEST_SPOTS, Evidence, reliability_model
from napari_diffmap.methods.orientation.likelihood import COARSE_TILTS, Likelihood, Measured
from napari_diffmap.methods.orientation.refine import Candidates, climb
from napari_diffmap.methods.orientation.search import OrientationSearch
from napari_diffmap.methods.orientation.spotmap import SpotMap
from napari_diffmap.methods.registration.spots import PeakBatch

#: How much a unit of the network's log probability weighs beside one of the log odds.
PRIOR = 0.5
#: Candidates kept after the first steps of the climb, and to be tilted finely.
KEPT = (4, 3)
#: Answers of less reliability are sought by the templates, too.
SURE = 0.9
#: Log probability below which orientations count as equally unlikely.
_LEAST = -12.0


class Proposer(Protocol):
    """A network that proposes orientations; phases are numbered as the search's."""

    def propose(
        self, peaks: PeakBatch, only: Sequence[int] | None = None
    ) -> tuple[Proposals, Density]:
        """The likeliest orientations of each pattern, of all phases or of some."""
        ...


@dataclass(frozen=True, eq=False)
class _Pool:
    """Candidates with what the network says of orientations."""

    candidates: Candidates
    spots: SpotMap
    density: Density
    known: Tensor


class NetworkSearch(OrientationSearch):
    """Refines and ranks what a network proposes.

    Parameters
    ----------
    proposer
        The network.
    phases, settings, device, progress
        As of `OrientationSearch`.
    prior
        See `PRIOR`.
    """

    def __init__(
        self,
        proposer: Proposer,
        phases: Sequence[CrystalPhase],
        settings: SearchSettings,
        device: torch.device | str = "cpu",
        progress: Callable[[int, int, str], None] | None = None,
        prior: float = PRIOR,
    ) -> None:
        super().__init__(phases, settings, device, progress)
        self.proposer, self.prior, self.kept = proposer, prior, KEPT
        #: See `SURE`; 0 asks the network alone.
        self.least = SURE

    def candidates(
        self, peaks: PeakBatch, only: Sequence[int] | None = None
    ) -> tuple[Candidates, SpotMap]:
        """The network's proposals, climbed to the spots; and the lookup of the spots."""
        pool = self._proposed(peaks, only)
        return pool.candidates, pool.spots

    def match(self, peaks: PeakBatch, n_best: int, only: Sequence[int] | None = None) -> Answers:
        """The n best distinct answers of every pattern of a batch, of some phases or of all."""
        pool = self._proposed(peaks, only)
        measured = self._likelihood.measured(peaks, pool.spots, self._places)
        weighed = self._weighed(self._likelihood, pool.candidates, measured)
        said = pool.density.log_probability(weighed.matrices, weighed.phase).clamp_min(_LEAST)
        # Never more than the log odds: what they need to be stays what it is.
        behind = said - said.amax(1, keepdim=True)
        told = replace(weighed, score=weighed.score + self.prior * behind)
        answers = self._ranked(told, measured, n_best)
        rows = torch.nonzero(self._unsure(answers, peaks))[:, 0]
        if len(rows):
            again = self._with_templates(weighed.of(rows), peaks.take(rows), n_best, only)
            answers = answers.replaced(rows, again)
        return replace(answers, known=pool.known)

    def _unsure(self, answers: Answers, peaks: PeakBatch) -> Tensor:
        """Patterns whose best answer is less reliable than wanted, ``(b,)`` bool."""

        def numbers(values: Tensor) -> NDArray[np.float32]:
            return np.asarray(values.cpu().numpy(), dtype=np.float32)

        nothing = np.zeros(len(peaks), dtype=np.float32)
        evidence = Evidence(
            score=numbers(answers.score[:, 0].clamp_min(0)),
            odds=numbers(answers.odds[:, 0]),
            rival=numbers(answers.rival),
            rival_phase=numbers(answers.rival_phase),
            explained=numbers(answers.explained[:, 0]),
            found=numbers(answers.found[:, 0]),
            spots=peaks.count.cpu().numpy().astype(np.int64),
            second=nothing,
            second_share=nothing,
            empty=nothing > 0,
        )
        unsure = reliability_model().probability(evidence) < self.least
        some = evidence.spots >= FEWEST_SPOTS
        return torch.as_tensor(unsure & some, device=answers.odds.device)

    def _with_templates(
        self, own: Candidates, peaks: PeakBatch, n_best: int, only: Sequence[int] | None
    ) -> Answers:
        """The best of the network's candidates and of the templates'."""
        found, spots = super().candidates(peaks, only)
        likelihood = self._likelihood
        measured = likelihood.measured(peaks, spots, self._places)
        found = super()._finalists(likelihood, found, measured)
        tilts = likelihood.fine_tilts if self.settings.refine else ()
        found = found.moved(*likelihood.climb(found.matrices, found.source, measured, tilts))
        return self._ranked(Candidates.pooled([own, found]), measured, n_best)

    def _proposed(self, peaks: PeakBatch, only: Sequence[int] | None) -> _Pool:
        _, spots = self._spot_map(peaks)
        said, density = self.proposer.propose(peaks, only)
        pool = self.starting(said.matrices, said.phase)
        if self.settings.refine:
            pool = climb(self.optics, pool, spots, self.widths[1], STEPS[0])
            # What does not come near the spots by now never will.
            best = pool.score.topk(min(self.kept[0], pool.score.shape[1]), dim=1).indices
            pool = climb(self.optics, pool.take(best), spots, self.widths[2], STEPS[1])
        return _Pool(pool, spots, density, said.crystal)

    def _finalists(
        self, likelihood: Likelihood, pool: Candidates, measured: Measured
    ) -> Candidates:
        """Tilt candidates to their largest log odds, coarsely; the best that differ."""
        if not self.settings.refine:
            return pool
        pool = pool.moved(*likelihood.climb(pool.matrices, pool.source, measured, COARSE_TILTS))
        return self.distinct(pool, self.kept[1], self.settings.distinct_deg / 4)
