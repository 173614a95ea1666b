"""From spots to the n best orientations: candidates are weighed by their log odds and ranked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.methods.orientation.answers import Answers, predicted, put, repeats
from napari_diffmap.methods.orientation.candidates import CandidateSearch, SearchSettings
from napari_diffmap.methods.orientation.likelihood import COARSE_TILTS, Likelihood, Measured
from napari_diffmap.methods.orientation.odds import IntensityModel, rocking
from napari_diffmap.methods.orientation.places import Places, spread_of
from napari_diffmap.methods.orientation.refine import Candidates, Fit, evaluate
from napari_diffmap.methods.orientation.rotations import matrices_to_quaternions, pick
from napari_diffmap.methods.orientation.spotmap import SpotMap
from napari_diffmap.methods.registration.spots import PeakBatch

#: Candidates that reach the last stage, and how many more for every further phase.
_LAST, _LAST_MORE = 6, 2
#: Tilts tried first where finalists of another intensity model are weighed again.
_AGAIN = (1, 0.6)
#: How well places of spots are predicted and calibrated at best and at worst, pixels.
_SURE = (0.2, 1.5)


class OrientationSearch(CandidateSearch):
    """Matches batches of spot lists against all phases at once.

    Parameters
    ----------
    phases, settings, device, progress
        As of `CandidateSearch`.

    Attributes
    ----------
    intensities
        Model of the intensities that ranks; see `use`.
    sure
        How well places of spots are predicted, 1/Å; see `measure_places`.
    """

    def __init__(
        self,
        phases: Sequence[CrystalPhase],
        settings: SearchSettings,
        device: torch.device | str = "cpu",
        progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        super().__init__(phases, settings, device, progress)
        self.use(settings.intensities[0])
        self.sure = _SURE[0] * settings.pixel_size

    def _make_likelihood(self, model: IntensityModel, lists: Tensor | None = None) -> Likelihood:
        s = self.settings
        return Likelihood(
            [
                rocking(
                    p.library.phase,
                    p.library.reflections,
                    model,
                    s.voltage_kv,
                    s.precession_deg,
                    self.device,
                )
                for p in self.phases
            ],
            [p.rotations for p in self.phases],
            [p.partner for p in self.phases],
            self.optics,
            s.zone_step_deg,
            model.shape,
            lists,
        )

    def use(self, model: IntensityModel) -> None:
        """Rank by an intensity model from now on."""
        self.intensities, self._likelihood = model, self._make_likelihood(model)

    def prepared(self, peaks: PeakBatch) -> tuple[PeakBatch, Candidates, SpotMap]:
        """Spots of a batch, and the candidates that wait to be weighed by `evidence`."""
        pool, spots = self.candidates(peaks)
        measured = self._likelihood.measured(peaks, spots, self._places)
        return peaks, self._finalists(self._likelihood, pool, measured), spots

    def measure_places(self, prepared: Sequence[tuple[PeakBatch, Candidates, SpotMap]]) -> None:
        """Take from the best answers how far off spots lie: strain, wrong calibration."""
        gaps, reach = [], 2 * self.widths[2]
        for peaks, pool, spots in prepared:
            fit = evaluate(self.optics, pool, spots, self.widths[1])
            gap = torch.hypot(fit.gap_x, fit.gap_y)
            strong = fit.template > 0.3 * fit.template.amax(dim=-1, keepdim=True)
            clear = torch.nn.functional.pad(peaks.clear, (0, 1))
            met = clear.gather(1, fit.number.reshape(len(clear), -1)).reshape(gap.shape)
            met = met & strong & (gap < reach)
            best = torch.where(met, fit.template, 0.0).sum(-1).argmax(1)[:, None, None]
            row = best.expand(-1, 1, gap.shape[2])
            gaps.append(gap.gather(1, row)[met.gather(1, row)])
        least, most = (pixels * self.settings.pixel_size for pixels in _SURE)
        self.sure = spread_of(torch.cat(gaps), reach, least, most)

    def evidence(
        self, model: IntensityModel, prepared: Sequence[tuple[PeakBatch, Candidates, SpotMap]]
    ) -> float:
        """Mean log odds of the best answers under an intensity model."""
        likelihood = self._make_likelihood(model, self._likelihood.lists)
        odds = []
        for peaks, pool, spots in prepared:
            measured = likelihood.measured(peaks, spots, self._places)
            tilts = (_AGAIN, *likelihood.fine_tilts) if self.settings.refine else ()
            odds.append(likelihood.climb(pool.matrices, pool.source, measured, tilts)[1].amax(1))
        return float(torch.cat(odds).mean())

    def match(self, peaks: PeakBatch, n_best: int, only: Sequence[int] | None = None) -> Answers:
        """The n best distinct answers of every pattern of a batch, of some phases or of all."""
        pool, spots = self.candidates(peaks, only)
        measured = self._likelihood.measured(peaks, spots, self._places)
        return self._ranked(self._weighed(self._likelihood, pool, measured), measured, n_best)

    def refined(self, peaks: PeakBatch, matrices: Tensor, phase: Tensor) -> Answers:
        """The answer that each pattern has near a given orientation; see `from_starts`."""
        pool, spots = self.from_starts(peaks, matrices, phase)
        measured = self._likelihood.measured(peaks, spots, self._places)
        tilts = (*COARSE_TILTS[1:], *self._likelihood.fine_tilts) if self.settings.refine else ()
        pool = pool.moved(*self._likelihood.climb(pool.matrices, pool.source, measured, tilts))
        return self._ranked(pool, measured, 1)

    @property
    def _places(self) -> Places:
        s = self.settings
        hidden = max(self.widths[1], 2.5 * s.spot)
        return Places(hidden, 2 * self.widths[2], self.sure, s.spot)

    def _finalists(
        self, likelihood: Likelihood, pool: Candidates, measured: Measured
    ) -> Candidates:
        """Tilt candidates to their largest log odds, coarsely; the best that differ."""
        if not self.settings.refine:
            return pool
        pool = pool.moved(*likelihood.climb(pool.matrices, pool.source, measured, COARSE_TILTS))
        count = _LAST + _LAST_MORE * (len(self.phases) - 1)
        return self.distinct(pool, count, self.settings.distinct_deg / 4)

    def _weighed(self, likelihood: Likelihood, pool: Candidates, measured: Measured) -> Candidates:
        """The finalists, tilted finely to their largest log odds."""
        pool = self._finalists(likelihood, pool, measured)
        tilts = likelihood.fine_tilts if self.settings.refine else ()
        return pool.moved(*likelihood.climb(pool.matrices, pool.source, measured, tilts))

    def _ranked(self, pool: Candidates, measured: Measured, n_best: int) -> Answers:
        """Keep distinct answers, best first, with what speaks for them."""
        spots = measured.spots
        fit = evaluate(self.optics, pool, spots, self.widths[2 if self.settings.refine else 1])
        explained, found, left = self._shares(fit, spots, measured.peaks.clear)
        matrices, phase, odds = pool.matrices, pool.phase, pool.score
        some = (measured.peaks.intensity > 0).any(dim=1, keepdim=True)
        left_over = torch.where(some, odds.clamp_min(0), 0.0)
        order = []
        rival = rival_phase = left_over[:, 0]
        for place in range(n_best):
            best = left_over.argmax(dim=1, keepdim=True)
            order.append(torch.where(left_over.gather(1, best) > 0, best, -1))
            near = self._same(matrices, phase, best, self.settings.distinct_deg)
            left_over = torch.where(near, 0.0, left_over).scatter(1, best, 0.0)
            if place == 0:
                own = phase == phase.gather(1, best)
                rival = torch.where(own, left_over, 0.0).amax(dim=1)
                rival_phase = torch.where(own, 0.0, left_over).amax(dim=1)
        picked = torch.cat(order, dim=1)
        none = picked < 0
        index = picked.clamp_min(0)
        first = index[:, :1, None].expand(-1, 1, left.shape[2])
        best_odds = odds.gather(1, index)
        most = torch.maximum(measured.best, odds.amax(dim=1))
        score = (best_odds / most[:, None].clamp_min(1.0)).clamp(0, 1)
        return Answers(
            matrices=pick(matrices, index),
            phase=torch.where(none, -1, phase.gather(1, index)),
            score=torch.where(none, -1.0, score),
            odds=torch.where(none, 0.0, best_odds),
            explained=torch.where(none, 0.0, explained.gather(1, index)),
            found=torch.where(none, 0.0, found.gather(1, index)),
            rival=rival,
            rival_phase=rival_phase,
            unexplained=left.gather(1, first)[:, 0],
            number=pool.number.gather(
                1, index[..., None].expand(*index.shape, pool.number.shape[2])
            ),
            known=torch.ones_like(rival),
        )

    def same_as(self, first: Answers, rows: Tensor, places: int, other: Answers) -> Tensor:
        """Whether the best answer of another set is among the first `places` of `rows`."""
        repeated = repeats(self.operators, first.take(rows), other, self.settings.distinct_deg)
        return repeated[:, :places].any(dim=1)

    def put(self, first: Answers, rows: Tensor, place: int, other: Answers) -> None:
        """Insert best answers of another set at a place; what they repeat, or the last, goes."""
        put(self.operators, first, rows, place, other, self.settings.distinct_deg)

    def predicted(self, answers: Answers, least: float) -> tuple[Tensor, Tensor]:
        """Where the best answers show spots; see `answers.predicted`."""
        return predicted([phase.model for phase in self.phases], answers, least)

    def _shares(self, fit: Fit, spots: SpotMap, clear: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Explained and found shares ``(b, k)``, and clear spots left ``(b, k, p)`` bool."""
        close = torch.hypot(fit.gap_x, fit.gap_y) < self.widths[1]
        strong = fit.template > 0.08 * fit.template.amax(dim=-1, keepdim=True)
        met = close & strong & (fit.matched > 0)
        b, k, _ = met.shape
        spare = spots.kx.shape[1] - 1
        hit = torch.zeros(b, k, spare + 1, dtype=torch.bool, device=met.device)
        hit.scatter_(2, torch.where(met, fit.number, spare), True)
        hit = hit[..., :spare]
        amplitude = (spots.amplitude[:, :spare] * clear)[:, None]
        explained = (amplitude * hit).sum(-1) / amplitude.sum(-1).clamp_min(1e-9)
        weight = fit.template**2
        found = (weight * (close & (fit.matched > 0))).sum(-1) / weight.sum(-1).clamp_min(1e-9)
        return explained, found, clear[:, None] & ~hit

    def rotations(self, answers: Answers) -> NDArray[np.float32]:
        """Unit quaternions ``(b, n, 4)``, laboratory → crystal, of answers."""
        return matrices_to_quaternions(answers.matrices.transpose(-1, -2).cpu().numpy())
