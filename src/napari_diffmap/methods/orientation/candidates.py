"""Coarse search and geometric refinement: orientations whose spots lie on the measured ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.crystal.simulate import precession_widened, rotation_matrices
from napari_diffmap.methods.orientation.answers import same
from napari_diffmap.methods.orientation.library import (
    TemplateLibrary,
    build_library,
    friedel_partners,
    parts,
    relative_heights,
    template_spectra,
)
from napari_diffmap.methods.orientation.match import correlate
from napari_diffmap.methods.orientation.odds import IntensityModel
from napari_diffmap.methods.orientation.polar import PolarGrid, peak_spectra, phase_table
from napari_diffmap.methods.orientation.refine import (
    FOLLOWED,
    Candidates,
    Model,
    Optics,
    climb,
    evaluate,
    follow,
    visible,
)
from napari_diffmap.methods.orientation.rotations import template_matrices
from napari_diffmap.methods.orientation.spotmap import SpotMap, build_spot_map
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.scan.calibration import electron_wavelength

#: Zone axes taken from the coarse search, each with its half turn about the beam.
_COARSE = 8
#: Candidates of a phase that are refined, and that are handed on.
_REFINED = 16
_HANDED_ON = 10
#: Kernel widths of the coarse search and the two refinement stages, 1/Å; never
#: narrower than so many pixels.
_WIDTHS = ((0.04, 1.8), (0.03, 1.3), (0.018, 0.8))
#: Steps of the two stages.
STEPS = (2, 4)
#: Orientations nearer than this count as one while candidates are thinned out, degrees.
_SAME = 0.5
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
class PhaseSearch:
    """What the search holds of one phase.

    Attributes
    ----------
    library
        Templates of the zone axes.
    model
        All reflections, to predict spots from.
    operators, rotations
        ``(m, 3, 3)`` symmetry and ``(n, 4)`` zone rotations.
    seen, partner
        ``(n, s)`` reflections that may come into view of each zone; −g of every g.
    cached
        Spectra of the templates, where the memory allows.
    source
        Number of the first zone's list of reflections; see `Candidates.source`.
    """

    library: TemplateLibrary
    model: Model
    operators: Tensor
    rotations: Tensor
    seen: Tensor
    partner: Tensor
    cached: list[Tensor] | None
    source: int


class CandidateSearch:
    """Finds for batches of spot lists orientations of all phases that meet the spots.

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

    Attributes
    ----------
    widths
        Widths of the kernels of the coarse search and of the two refinement stages, 1/Å.
    phases
        What was prepared of each phase.
    operators
        Symmetry of each phase.
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
        self.optics = Optics(
            electron_wavelength(settings.voltage_kv), settings.q_min, settings.q_max
        )
        self._table = phase_table(self.grid, device=self.device)
        self.phases: list[PhaseSearch] = []
        for i, phase in enumerate(phases):
            if progress is not None:
                progress(i, len(phases), f"templates of {phase.name}")
            self.phases.append(self._prepare(phase, settings.memory // (2 * len(phases))))
        self.operators = [phase.operators for phase in self.phases]
        if progress is not None:
            progress(len(phases), len(phases), "templates")

    def _prepare(self, phase: CrystalPhase, memory: int) -> PhaseSearch:
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
            optics=self.optics,
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
        return PhaseSearch(
            library=library,
            model=fitted,
            operators=torch.as_tensor(library.operators, dtype=torch.float32, device=self.device),
            rotations=rotations,
            seen=seen,
            partner=torch.as_tensor(friedel_partners(found), device=self.device),
            cached=cached,
            source=sum(2 * len(other.library) for other in self.phases),
        )

    @property
    def tried(self) -> int:
        """Orientations the coarse search looks at."""
        return sum(2 * len(phase.library) * self.grid.angles for phase in self.phases)

    @property
    def batch(self) -> int:
        """Patterns that fit the working memory at once."""
        s = self.settings
        zones = min(_CHUNK, max(len(p.library) for p in self.phases))
        coarse = zones * 2 * (self.grid.frequencies * 16 + self.grid.angles * 4)
        fine = 2 * _COARSE * len(self.phases) * FOLLOWED * 200
        return int(np.clip(s.memory // (4 * max(coarse, fine)), 1, 64))

    def amplitudes(self, peaks: PeakBatch, power: float) -> Tensor:
        """Measured heights: intensities to a power, the strongest 1, ``(b, p)``."""
        top = peaks.intensity.amax(dim=1, keepdim=True).clamp_min(1e-12)
        height = (peaks.intensity / top).clamp_min(0) ** power
        return torch.where(peaks.intensity > 0, height, 0.0)

    def _spot_map(self, peaks: PeakBatch) -> tuple[Tensor, SpotMap]:
        """Heights of the spots of a batch, and their lookup."""
        amplitude = peaks.trust * self.amplitudes(peaks, self.settings.intensity_power)
        reach = 2.4 * self.widths[1]
        return amplitude, build_spot_map(peaks, amplitude, self.settings.q_max, reach=reach)

    def candidates(
        self, peaks: PeakBatch, only: Sequence[int] | None = None
    ) -> tuple[Candidates, SpotMap]:
        """Candidates of a batch, climbed to the spots; and the lookup of its spots.

        Parameters
        ----------
        peaks
            Spots of a batch of patterns.
        only
            Phases that are tried, by number; all when left out.
        """
        amplitude, spots = self._spot_map(peaks)
        spectra = peak_spectra(
            self.grid,
            torch.hypot(peaks.kx, peaks.ky),
            torch.atan2(peaks.ky, peaks.kx),
            amplitude,
            self._table,
        )
        norm = torch.sqrt(spots.norm2)
        tried = range(len(self.phases)) if only is None else only
        pool = Candidates.pooled([self._coarse(i, spectra, norm) for i in tried])
        return self._refined(pool, spots, tried), spots

    def from_starts(
        self, peaks: PeakBatch, matrices: Tensor, phase: Tensor
    ) -> tuple[Candidates, SpotMap]:
        """One candidate a pattern, climbed from a given orientation.

        Parameters
        ----------
        peaks
            Spots of a batch of patterns.
        matrices
            ``(b, 3, 3)`` crystal → laboratory; any of the symmetric variants.
        phase
            ``(b,)`` number of the phase of each.
        """
        _, spots = self._spot_map(peaks)
        return self._climbed(self.starting(matrices[:, None], phase[:, None]), spots), spots

    def starting(self, matrices: Tensor, phase: Tensor) -> Candidates:
        """Candidates at given orientations, with the reflections that they follow.

        Parameters
        ----------
        matrices, phase
            ``(b, k, 3, 3)`` crystal → laboratory, any of the symmetric variants, and
            ``(b, k)`` number of the phase of each.
        """
        shape = phase.shape
        matrices, phase = matrices.reshape(-1, 3, 3), phase.reshape(-1)
        variants = torch.empty_like(matrices)
        source = torch.zeros_like(phase)
        lists: dict[int, Tensor] = {}
        for i in phase.unique().tolist():
            mine, held = phase == i, self.phases[i]
            variants[mine], zone, mirrored = _nearest_zone(held, matrices[mine])
            seen = held.seen[zone]
            lists[i] = torch.where(mirrored[:, None], held.partner[seen], seen)
            source[mine] = held.source + 2 * zone + mirrored.long()
        width = max(seen.shape[1] for seen in lists.values())
        g = matrices.new_zeros((len(phase), width, 3))
        height = matrices.new_zeros((len(phase), width))
        sigma = torch.ones_like(height)
        number = torch.zeros(height.shape, dtype=torch.long, device=height.device)
        for i, seen in lists.items():
            mine, model, n = phase == i, self.phases[i].model, seen.shape[1]
            g[mine, :n], height[mine, :n] = model.g[seen], model.height[seen]
            sigma[mine, :n], number[mine, :n] = model.sigma[seen], seen
        flat = Candidates(
            variants, phase, g, height, sigma, number, torch.zeros_like(height[:, 0]), source
        )
        columns = (getattr(flat, field.name) for field in fields(Candidates))
        return Candidates(*(values.reshape(*shape, *values.shape[1:]) for values in columns))

    def _climbed(self, pool: Candidates, spots: SpotMap) -> Candidates:
        """Candidates climbed to the spots, none left out."""
        if not self.settings.refine:
            return pool
        pool = climb(self.optics, pool, spots, self.widths[1], STEPS[0])
        return climb(self.optics, pool, spots, self.widths[2], STEPS[1])

    def _coarse(self, number: int, spectra: Tensor, norm: Tensor) -> Candidates:
        """Best zone axes of one phase, each with its half turn about the beam."""
        phase = self.phases[number]
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
        source = phase.source + 2 * zone + mirrored.long()
        return replace(pool, source=torch.cat((source, source), dim=1))

    def _refined(self, pool: Candidates, spots: SpotMap, phases: Sequence[int]) -> Candidates:
        """Climb in two stages; what ran into one another goes between them."""
        if not self.settings.refine:
            return pool
        score = evaluate(self.optics, pool, spots, 1.2 * self.widths[1]).score
        best = [
            torch.where(pool.phase == i, score, -1.0)
            .topk(min(_REFINED, 2 * _COARSE), dim=1)
            .indices
            for i in phases
        ]
        pool = pool.take(torch.cat(best, dim=1))
        pool = climb(self.optics, pool, spots, self.widths[1], STEPS[0])
        pool = self.distinct(pool, _HANDED_ON + 4 * (len(self.phases) - 1), _SAME)
        return climb(self.optics, pool, spots, self.widths[2], STEPS[1])

    def distinct(self, pool: Candidates, count: int, within_deg: float) -> Candidates:
        """The best candidates that have not run into one another; two of every phase at least."""
        score = pool.score.clone()
        chosen = []
        count = min(count, score.shape[1])
        wanted = [i for i in range(len(self.phases)) for _ in range(2)]
        for place in range(count):
            considered = score
            if place < len(wanted) and len(self.phases) > 1:
                considered = torch.where(pool.phase == wanted[place], score, score - 1e5)
            best = considered.argmax(dim=1, keepdim=True)
            chosen.append(best)
            near = self._same(pool.matrices, pool.phase, best, within_deg)
            # Near ones stay available behind all others, should there be no others.
            score = torch.where(near, score - 1e4, score)
            score = score.scatter(1, best, -1e7)
        return pool.take(torch.cat(chosen, dim=1))

    def _same(self, matrices: Tensor, phase: Tensor, best: Tensor, within_deg: float) -> Tensor:
        """Which candidates are the same answer as `best` ``(b, 1)``."""
        return same(self.operators, matrices, phase, best, within_deg)

    def zone_scores(self, peaks: PeakBatch) -> list[tuple[NDArray[np.float64], Tensor]]:
        """Zone axes ``(n, 3)`` of each phase, and how well each fits at best, ``(b, n)``."""
        amplitude, spots = self._spot_map(peaks)
        q, theta = torch.hypot(peaks.kx, peaks.ky), torch.atan2(peaks.ky, peaks.kx)
        spectra = peak_spectra(self.grid, q, theta, amplitude, self._table)
        norm, width = torch.sqrt(spots.norm2), self.widths[0]
        found = []
        for phase in self.phases:
            coarse = correlate(
                spectra, norm, phase.library, self.grid, width, cached=phase.cached, chunk=_CHUNK
            )
            found.append((phase.library.zones, coarse.score.amax(dim=2)))
        return found


def _nearest_zone(phase: PhaseSearch, matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each orientation the symmetric variant whose beam lies nearest to a template's.

    Returns
    -------
    matrices : Tensor
        ``(b, 3, 3)`` crystal → laboratory, the variant.
    zone, mirrored : Tensor
        ``(b,)`` number of the template, and whether it is its mirror copy: the beam runs
        against its zone axis then.
    """
    zones = torch.as_tensor(phase.library.zones, dtype=torch.float32, device=matrices.device)
    zones = zones / torch.linalg.vector_norm(zones, dim=1, keepdim=True)
    beams = torch.einsum("mij,bj->bmi", phase.operators, matrices[:, 2])
    shape, found = beams.shape[:2], []
    for part in torch.split(beams.reshape(-1, 3), 4096):
        along = part @ zones.T
        found.append(along.abs().max(dim=1))
    near = torch.cat([one.values for one in found]).reshape(shape)
    zone = torch.cat([one.indices for one in found]).reshape(shape)
    variant = near.argmax(dim=1, keepdim=True)
    zone = zone.gather(1, variant)[:, 0]
    operator = phase.operators[variant[:, 0]]
    beam = torch.einsum("bij,bj->bi", operator, matrices[:, 2])
    against = (beam * zones[zone]).sum(dim=1) < 0
    return matrices @ operator.transpose(-1, -2), zone, against
