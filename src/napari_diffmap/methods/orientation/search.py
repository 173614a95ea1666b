"""From spots to the n best orientations: coarse search, refinement, ranking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.crystal.simulate import precession_widened, rotation_matrices
from napari_diffmap.methods.orientation.answers import Answers, predicted, put, repeats, same
from napari_diffmap.methods.orientation.library import (
    TemplateLibrary,
    build_library,
    friedel_partners,
    parts,
    relative_heights,
    template_spectra,
)
from napari_diffmap.methods.orientation.likelihood import (
    COARSE_TILTS,
    Likelihood,
    Measured,
    Places,
)
from napari_diffmap.methods.orientation.match import correlate
from napari_diffmap.methods.orientation.odds import IntensityModel, rocking
from napari_diffmap.methods.orientation.polar import PolarGrid, peak_spectra, phase_table
from napari_diffmap.methods.orientation.refine import (
    FOLLOWED,
    Candidates,
    Fit,
    Model,
    Optics,
    climb,
    evaluate,
    follow,
    visible,
)
from napari_diffmap.methods.orientation.rotations import (
    matrices_to_quaternions,
    pick,
    template_matrices,
)
from napari_diffmap.methods.orientation.spotmap import SpotMap, build_spot_map
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.scan.calibration import electron_wavelength

#: Zone axes taken from the coarse search, each with its half turn about the beam.
_COARSE = 10
#: Candidates of a phase that are refined, that are weighed, and of all phases that
#: reach the last stage.
_REFINED = 16
_WEIGHED = 12
_LAST = 6
#: Kernel widths of the coarse search and the two refinement stages, 1/Å; never
#: narrower than so many pixels.
_WIDTHS = ((0.04, 1.8), (0.03, 1.3), (0.018, 0.8))
_STEPS = (2, 4)
#: Orientations nearer than this count as one while candidates are thinned out, degrees.
_SAME = 0.5
#: Tilts tried first where finalists of another intensity model are weighed again.
_AGAIN = (1, 0.6)
#: How well places of spots are predicted and calibrated at best and at worst, pixels.
_SURE = (0.2, 1.5)
#: Median length of a gap in the plane over its standard deviation along one axis.
_MEDIAN_GAP = 1.177
#: A template chunk of the coarse search.
_CHUNK = 512


@dataclass(frozen=True)
class SearchSettings:
    """What the search needs to know; see `OrientationParameters`.

    Lengths in 1/Å, angles in degrees, voltage in kV, memory in bytes; `spot` is the
    Gaussian width of a spot; `intensities` are the models of which one is chosen.
    """

    voltage_kv: float
    pixel_size: float
    q_min: float
    q_max: float
    rings: int
    angles: int
    zone_step_deg: float
    sigma: float
    precession_deg: float
    intensity_power: float
    refine: bool
    distinct_deg: float
    memory: int
    spot: float = 0.03
    intensities: tuple[IntensityModel, ...] = (IntensityModel(),)


@dataclass(frozen=True, eq=False)
class _PhaseSearch:
    library: TemplateLibrary
    model: Model
    operators: Tensor
    rotations: Tensor
    seen: Tensor
    partner: Tensor
    cached: list[Tensor] | None


class OrientationSearch:
    """Matches batches of spot lists against all phases at once.

    Parameters
    ----------
    phases
        What the sample may be.
    settings
        See `SearchSettings`.
    device
        Torch device.
    progress
        Called with (done, total, what) while the libraries are built.
    """

    def __init__(
        self,
        phases: Sequence[CrystalPhase],
        settings: SearchSettings,
        device: torch.device | str = "cpu",
        progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.settings = settings
        self.device = torch.device(device)
        self.grid = PolarGrid(settings.q_min, settings.q_max, settings.rings, settings.angles)
        self.widths = tuple(max(w, n * settings.pixel_size) for w, n in _WIDTHS)
        self._optics = Optics(
            electron_wavelength(settings.voltage_kv), settings.q_min, settings.q_max
        )
        self._table = phase_table(self.grid, device=self.device)
        self._phases: list[_PhaseSearch] = []
        for i, phase in enumerate(phases):
            if progress is not None:
                progress(i, len(phases), f"templates of {phase.name}")
            self._phases.append(self._prepare(phase, settings.memory // (2 * len(phases))))
        self._operators = [phase.operators for phase in self._phases]
        self.use(settings.intensities[0])
        #: How well places of spots are predicted, 1/Å; see `measure_places`.
        self.sure = _SURE[0] * settings.pixel_size
        if progress is not None:
            progress(len(phases), len(phases), "templates")

    def _make_likelihood(self, model: IntensityModel) -> Likelihood:
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
                for p in self._phases
            ],
            [p.rotations for p in self._phases],
            [p.partner for p in self._phases],
            self._optics,
            s.zone_step_deg,
            model.shape,
        )

    def use(self, model: IntensityModel) -> None:
        """Rank by an intensity model from now on."""
        self.intensities, self._likelihood = model, self._make_likelihood(model)

    def prepared(self, peaks: PeakBatch) -> tuple[PeakBatch, Candidates, SpotMap]:
        """Spots of a batch, and the candidates that wait to be weighed by `evidence`."""
        pool, spots = self._candidates(peaks)
        measured = self._likelihood.measured(peaks, spots, self._places)
        return peaks, self._finalists(self._likelihood, pool, measured), spots

    def measure_places(self, prepared: Sequence[tuple[PeakBatch, Candidates, SpotMap]]) -> None:
        """Take from the best answers how far off spots lie: strain, wrong calibration."""
        gaps = []
        for peaks, pool, spots in prepared:
            fit = evaluate(self._optics, pool, spots, self.widths[1])
            gap = torch.hypot(fit.gap_x, fit.gap_y)
            strong = fit.template > 0.3 * fit.template.amax(dim=-1, keepdim=True)
            clear = torch.nn.functional.pad(peaks.clear, (0, 1))
            met = clear.gather(1, fit.number.reshape(len(clear), -1)).reshape(gap.shape)
            met = met & strong & (gap < 2 * self.widths[2])
            best = torch.where(met, fit.template, 0.0).sum(-1).argmax(1)[:, None, None]
            row = best.expand(-1, 1, gap.shape[2])
            gaps.append(gap.gather(1, row)[met.gather(1, row)])
        found = torch.cat(gaps)
        if len(found):
            least, most = (pixels * self.settings.pixel_size for pixels in _SURE)
            self.sure = float((found.median() / _MEDIAN_GAP).clamp(least, most))

    def evidence(
        self, model: IntensityModel, prepared: Sequence[tuple[PeakBatch, Candidates, SpotMap]]
    ) -> float:
        """Mean log odds of the best answers under an intensity model."""
        likelihood = self._make_likelihood(model)
        odds = []
        for peaks, pool, spots in prepared:
            measured = likelihood.measured(peaks, spots, self._places)
            tilts = (_AGAIN, *likelihood.fine_tilts) if self.settings.refine else ()
            odds.append(likelihood.climb(pool.matrices, pool.source, measured, tilts)[1].amax(1))
        return float(torch.cat(odds).mean())

    def _prepare(self, phase: CrystalPhase, memory: int) -> _PhaseSearch:
        s = self.settings
        library = build_library(
            phase,
            self.grid,
            voltage_kv=s.voltage_kv,
            sigma=s.sigma,
            zone_step_deg=s.zone_step_deg,
            intensity_power=s.intensity_power,
            device=self.device,
        )
        found = library.reflections
        g = torch.as_tensor(found.g, dtype=torch.float32, device=self.device)
        lengths = torch.linalg.vector_norm(g, dim=1)

        heights = relative_heights(found, s.intensity_power)
        fitted = Model(
            g=g,
            height=torch.as_tensor(heights, dtype=torch.float32, device=self.device),
            sigma=precession_widened(s.sigma, lengths, s.precession_deg),
            optics=self._optics,
        )
        size = 8 * self.grid.frequencies * self.grid.rings * len(library)
        cached = None
        if size <= memory:
            cached = [
                template_spectra(library, part, self.grid, self.widths[0])
                for part in parts(library, _CHUNK)
            ]
        rotations = torch.as_tensor(library.rotations, dtype=torch.float32, device=self.device)
        # Candidates travel about a zone step; what can come into view is chosen once.
        slack = 1.2 * np.deg2rad(min(4.0, s.zone_step_deg))
        pieces = max(1, len(rotations) * len(found) // 2_000_000)
        seen = torch.cat(
            [
                visible(fitted, rotation_matrices(part).transpose(-1, -2), slack)
                for part in torch.tensor_split(rotations, pieces)
            ]
        )
        return _PhaseSearch(
            library=library,
            model=fitted,
            operators=torch.as_tensor(library.operators, dtype=torch.float32, device=self.device),
            rotations=rotations,
            seen=seen,
            partner=torch.as_tensor(friedel_partners(found), device=self.device),
            cached=cached,
        )

    @property
    def tried(self) -> int:
        """Orientations the coarse search looks at."""
        return sum(2 * len(phase.library) * self.grid.angles for phase in self._phases)

    @property
    def batch(self) -> int:
        """Patterns that fit the working memory at once."""
        s = self.settings
        zones = min(_CHUNK, max(len(p.library) for p in self._phases))
        coarse = zones * 2 * (self.grid.frequencies * 16 + self.grid.angles * 4)
        fine = 2 * _COARSE * len(self._phases) * FOLLOWED * 200
        return int(np.clip(s.memory // (4 * max(coarse, fine)), 1, 64))

    # ------------------------------------------------------------- search

    def amplitudes(self, peaks: PeakBatch, power: float) -> Tensor:
        """Measured heights: intensities to a power, the strongest 1, ``(b, p)``."""
        top = peaks.intensity.amax(dim=1, keepdim=True).clamp_min(1e-12)
        height = (peaks.intensity / top).clamp_min(0) ** power
        return torch.where(peaks.intensity > 0, height, 0.0)

    def match(self, peaks: PeakBatch, n_best: int) -> Answers:
        """The n best distinct answers of every pattern of a batch."""
        pool, spots = self._candidates(peaks)
        measured = self._likelihood.measured(peaks, spots, self._places)
        return self._ranked(self._weighed(self._likelihood, pool, measured), measured, n_best)

    @property
    def _places(self) -> Places:
        s = self.settings
        hidden = max(self.widths[1], 2.5 * s.spot)
        return Places(hidden, 2 * self.widths[2], self.sure, s.spot)

    def _candidates(self, peaks: PeakBatch) -> tuple[Candidates, SpotMap]:
        """What the coarse search finds, climbed to the spots; and the spots."""
        amplitude = peaks.trust * self.amplitudes(peaks, self.settings.intensity_power)
        spots = build_spot_map(peaks, amplitude, self.settings.q_max, reach=2.4 * self.widths[1])
        spectra = peak_spectra(
            self.grid,
            torch.hypot(peaks.kx, peaks.ky),
            torch.atan2(peaks.ky, peaks.kx),
            amplitude,
            self._table,
        )
        norm = torch.sqrt(spots.norm2)
        pool = Candidates.pooled([self._coarse(i, spectra, norm) for i in range(len(self._phases))])
        return self._refined(pool, spots), spots

    def _coarse(self, number: int, spectra: Tensor, norm: Tensor) -> Candidates:
        """Best zone axes of one phase, each with its half turn about the beam."""
        phase = self._phases[number]
        coarse = correlate(
            spectra,
            norm,
            phase.library,
            self.grid,
            self.widths[0],
            cached=phase.cached,
            chunk=_CHUNK,
        )
        around = coarse.score[:, phase.library.neighbours].amax(dim=2)
        b = len(coarse.score)
        score = torch.where(coarse.score >= around, coarse.score, coarse.score - 10.0)
        count = min(_COARSE, score[0].numel())
        index = torch.topk(score.reshape(b, -1), count, dim=1).indices
        zone, mirrored = index // 2, index % 2 == 1
        angle = coarse.angle.reshape(b, -1).gather(1, index) * (2 * np.pi / self.grid.angles)
        matrices = template_matrices(phase.rotations[zone], mirrored, angle)
        half_turn = torch.tensor([-1.0, -1.0, 1.0], device=self.device)
        matrices = torch.cat((matrices, half_turn[:, None] * matrices), dim=1)
        seen = phase.seen[zone]
        # The mirror copy shows the Friedel partners.
        seen = torch.where(mirrored[..., None], phase.partner[seen], seen)
        pool = follow(phase.model, matrices, torch.cat((seen, seen), dim=1), number)
        source = self._likelihood.source(number, zone, mirrored)
        return replace(pool, source=torch.cat((source, source), dim=1))

    def _refined(self, pool: Candidates, spots: SpotMap) -> Candidates:
        """Climb in two stages; what ran into one another goes between them."""
        if not self.settings.refine:
            return pool
        score = evaluate(self._optics, pool, spots, 1.2 * self.widths[1]).score
        best = [
            torch.where(pool.phase == i, score, -1.0)
            .topk(min(_REFINED, 2 * _COARSE), dim=1)
            .indices
            for i in range(len(self._phases))
        ]
        pool = pool.take(torch.cat(best, dim=1))
        pool = climb(self._optics, pool, spots, self.widths[1], _STEPS[0])
        pool = self._distinct(pool, _WEIGHED + 4 * (len(self._phases) - 1), _SAME)
        return climb(self._optics, pool, spots, self.widths[2], _STEPS[1])

    def _finalists(
        self, likelihood: Likelihood, pool: Candidates, measured: Measured
    ) -> Candidates:
        """Tilt candidates to their largest log odds, coarsely; the best that differ."""
        if not self.settings.refine:
            return pool
        pool = pool.moved(*likelihood.climb(pool.matrices, pool.source, measured, COARSE_TILTS))
        count = _LAST + 2 * (len(self._phases) - 1)
        return self._distinct(pool, count, self.settings.distinct_deg / 4)

    def _weighed(self, likelihood: Likelihood, pool: Candidates, measured: Measured) -> Candidates:
        """The finalists, tilted finely to their largest log odds."""
        pool = self._finalists(likelihood, pool, measured)
        tilts = likelihood.fine_tilts if self.settings.refine else ()
        return pool.moved(*likelihood.climb(pool.matrices, pool.source, measured, tilts))

    def _distinct(self, pool: Candidates, count: int, within_deg: float) -> Candidates:
        """The best candidates that have not run into one another; two of every phase at least."""
        score = pool.score.clone()
        chosen = []
        count = min(count, score.shape[1])
        wanted = [i for i in range(len(self._phases)) for _ in range(2)]
        for place in range(count):
            considered = score
            if place < len(wanted) and len(self._phases) > 1:
                considered = torch.where(pool.phase == wanted[place], score, score - 1e5)
            best = considered.argmax(dim=1, keepdim=True)
            chosen.append(best)
            near = self._same(pool.matrices, pool.phase, best, within_deg)
            # Near ones stay available behind all others, should there be no others.
            score = torch.where(near, score - 1e4, score)
            score = score.scatter(1, best, -1e7)
        return pool.take(torch.cat(chosen, dim=1))

    def _ranked(self, pool: Candidates, measured: Measured, n_best: int) -> Answers:
        """Keep distinct answers, best first, with what speaks for them."""
        spots = measured.spots
        fit = evaluate(self._optics, pool, spots, self.widths[2 if self.settings.refine else 1])
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
        )

    def _same(self, matrices: Tensor, phase: Tensor, best: Tensor, within_deg: float) -> Tensor:
        """Which candidates are the same answer as `best` ``(b, 1)``."""
        return same(self._operators, matrices, phase, best, within_deg)

    def same_as(self, first: Answers, rows: Tensor, places: int, other: Answers) -> Tensor:
        """Whether the best answer of another set is among the first `places` of `rows`."""
        repeated = repeats(self._operators, first.take(rows), other, self.settings.distinct_deg)
        return repeated[:, :places].any(dim=1)

    def put(self, first: Answers, rows: Tensor, place: int, other: Answers) -> None:
        """Insert best answers of another set at a place; what they repeat, or the last, goes."""
        put(self._operators, first, rows, place, other, self.settings.distinct_deg)

    def zone_scores(self, peaks: PeakBatch) -> list[tuple[NDArray[np.float64], Tensor]]:
        """Zone axes ``(n, 3)`` of each phase, and how well each fits at best, ``(b, n)``."""
        amplitude = peaks.trust * self.amplitudes(peaks, self.settings.intensity_power)
        q, theta = torch.hypot(peaks.kx, peaks.ky), torch.atan2(peaks.ky, peaks.kx)
        spectra = peak_spectra(self.grid, q, theta, amplitude, self._table)
        spots = build_spot_map(peaks, amplitude, self.settings.q_max, reach=2.4 * self.widths[1])
        norm, width = torch.sqrt(spots.norm2), self.widths[0]
        found = []
        for phase in self._phases:
            coarse = correlate(
                spectra, norm, phase.library, self.grid, width, cached=phase.cached, chunk=_CHUNK
            )
            found.append((phase.library.zones, coarse.score.amax(dim=2)))
        return found

    def predicted(self, answers: Answers, least: float) -> tuple[Tensor, Tensor]:
        """Where the best answers show spots; see `answers.predicted`."""
        return predicted([phase.model for phase in self._phases], answers, least)

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
