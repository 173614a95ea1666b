"""How likely orientations make a pattern: what ranks the finalists and sets their tilt.

The log odds of all predicted reflections (see `odds`) are summed: measured spots
that an orientation leaves unexplained add nothing, so of two orientations the one
that predicts what is there, and not what is not, wins.  Tilts of shrinking size
are tried about every candidate: turned by less than a degree its spots stay where
they are and only their excitation errors change, ``s → s + τ · k``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.crystal.simulate import excitation_errors, rotation_matrices
from napari_diffmap.methods.orientation.odds import (
    DYNAMICAL_SHAPE,
    MU_COUNT,
    MU_FIRST,
    MU_STEP,
    ROWS,
    Rocking,
    log_odds_table,
    row_of,
)
from napari_diffmap.methods.orientation.places import Places
from napari_diffmap.methods.orientation.refine import Optics, turned
from napari_diffmap.methods.orientation.spotmap import SpotMap, build_spot_map
from napari_diffmap.methods.registration.significance import background_counts, root_deviance
from napari_diffmap.methods.registration.spots import PeakBatch

#: Reflections looked at per candidate.
LOOKED_AT = 96
#: A spot found so clearly is read where it lies, not between.
_CLEAR = 6.0
#: A gap counts as its Student-t surprise: like a normal law's at first, hardly more
#: beyond so many times its variance, since calibrations err and crystals are strained.
_TAIL = 5.0
#: Most that a place without a spot may add where intensities spread little.
_UNMET = 0.2
#: Overall scales tried first, ln about the measured over the predicted sum.
_SCALES = tuple(float(v) for v in np.arange(-2.5, 3.6, 1.0))
_SCALE_STEP = 0.6
#: Tilts tried about a candidate: rings of the hexagonal stencil and degrees a step.
COARSE_TILTS = ((2, 1.0), (2, 0.6))
FINE_TILTS = ((2, 0.3), (1, 0.2), (1, 0.12), (1, 0.07))
#: And these, where intensities spread so little that they tell such tilts apart.
FINEST_TILTS = ((1, 0.1), (1, 0.07), (1, 0.05), (1, 0.035), (1, 0.025))


@dataclass(frozen=True, eq=False)
class Measured:
    """What a likelihood reads of a batch of patterns.

    Attributes
    ----------
    peaks, spots
        Measured spots and their lookup.
    significance
        ``(b, p + 1)`` of the spots, as counts; the spare place holds 0.
    hidden
        Lookup of spots taken away; None when there are none.
    places
        How far spots may lie from where they are predicted.
    largest
        Largest log odds of each row of the table.
    best
        ``(b,)`` the largest log odds that a perfect prediction would have.
    """

    peaks: PeakBatch
    spots: SpotMap
    significance: Tensor
    hidden: SpotMap | None
    places: Places
    largest: Tensor
    best: Tensor

    def at(self, kx: Tensor, ky: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Row of the table, noise, weight and number of the spot at places ``(b, …)``.

        The noise is infinite where nothing is known.  A clear spot counts the less the
        farther off it lies; in its skirts there is no other.  Where none is met the
        number is that of the spare place.
        """
        number, px, py, _ = self.spots.lookup(kx, ky)
        near = self.significance.gather(1, number.reshape(len(number), -1)).reshape(kx.shape)
        gap2 = (px - kx) ** 2 + (py - ky) ** 2
        clear = near >= _CLEAR
        near = torch.where(gap2 < self.places.far**2, near, 0.0)
        if self.peaks.signal is None:
            shape = (-1, *([1] * (kx.dim() - 1)))
            z = torch.where(clear, near, 0.0)
            noise = self.peaks.faintest_noise.reshape(shape).expand(kx.shape)
            background = torch.full_like(z, torch.inf)
        else:
            z, noise = self.peaks.signal.at(kx, ky)
            background = background_counts(noise, self.peaks.signal.step)
            z = torch.where(clear, near, root_deviance(z, background))
        if self.hidden is not None:
            gone, *_ = self.hidden.lookup(kx, ky)
            noise = torch.where(gone < self.hidden.kx.shape[1] - 1, torch.inf, noise)
        row = row_of(z, background)
        spread = self.places.sure**2 + (self.places.spot / near.clamp_min(1.0)) ** 2
        surprise = _TAIL * torch.log1p(gap2 / (2 * _TAIL * spread))
        weight = (1 - surprise / self.largest.take(row).clamp_min(1e-3)).clamp_min(0)
        spare = self.significance.shape[1] - 1
        number = torch.where(near > 0, number, spare)
        return row, noise, torch.where(clear & (near > 0), weight, 1.0), number


class Likelihood:
    """Log odds of orientations of all phases.

    Parameters
    ----------
    rockings
        Mean intensities of each phase's reflections.
    rotations
        ``(n, 4)`` zone rotations of each phase's library.
    partners
        For each phase the number of −g for every g.
    optics
        Wavelength and limits.
    zone_step_deg
        Distance of neighbouring zones: what can come into view is chosen once.
    shape
        Of the law of intensities about their mean; see `IntensityModel`.
    lists
        Those of another model, to save choosing them.

    Attributes
    ----------
    fine_tilts
        Stencils worth trying last.
    lists
        ``(n, s)`` reflections that candidates look at; see `Candidates.source`.
    """

    def __init__(
        self,
        rockings: Sequence[Rocking],
        rotations: Sequence[Tensor],
        partners: Sequence[Tensor],
        optics: Optics,
        zone_step_deg: float,
        shape: float = DYNAMICAL_SHAPE,
        lists: Tensor | None = None,
    ) -> None:
        device = rockings[0].g.device
        self.optics = optics
        table = log_odds_table(shape)
        self._narrow_law = shape > DYNAMICAL_SHAPE
        self.fine_tilts = FINE_TILTS + (FINEST_TILTS if self._narrow_law else ())
        if self._narrow_law:
            # Tails of a Gaussian are not to be relied on: where no spot is found the law
            # is the wide one, and what stands there speaks for no orientation.
            table = torch.cat((table, log_odds_table(DYNAMICAL_SHAPE).clamp_max(_UNMET)))
        table = table.to(device)
        self._flat = table.reshape(-1)
        self._best = table.reshape(-1, MU_COUNT).amax(1)
        # A reflection that is none fills up.
        none = Rocking(torch.zeros(1, 3), torch.tensor([-1e4]), torch.ones(1), torch.zeros(1))
        self._g, self._height, self._width2, self._narrow = (
            torch.cat([*(getattr(r, f.name) for r in rockings), getattr(none, f.name).to(device)])
            for f in fields(Rocking)
        )
        self._kinematic = bool((self._narrow > 0).any())
        if lists is None:
            lists = self._chosen(rockings, rotations, partners, zone_step_deg)
        self.lists = lists

    def _chosen(
        self,
        rockings: Sequence[Rocking],
        rotations: Sequence[Tensor],
        partners: Sequence[Tensor],
        zone_step_deg: float,
    ) -> Tensor:
        slack = np.deg2rad(0.7 * zone_step_deg + 0.8)
        lists: list[Tensor] = []
        first = 0
        for one, zones, partner in zip(rockings, rotations, partners, strict=True):
            seen = brightest(one, zones, self.optics, slack)
            # Two lists a zone: its mirror copy shows the Friedel partners.
            both = torch.stack((seen, partner[seen]), 1).reshape(-1, seen.shape[1]) + first
            short = LOOKED_AT - both.shape[1]
            lists.append(torch.nn.functional.pad(both, (0, short), value=len(self._g) - 1))
            first += len(one.g)
        return torch.cat(lists)

    def measured(self, peaks: PeakBatch, spots: SpotMap, places: Places) -> Measured:
        """Prepare spots and signal to be read; see `Measured`."""
        spare = torch.zeros(len(peaks), 1, device=peaks.kx.device)
        z = peaks.significance
        background = torch.full_like(z, torch.inf)
        if peaks.noise is not None and peaks.signal is not None:
            background = background_counts(peaks.noise, peaks.signal.step)
        z = root_deviance(z, background)
        best = self._best[row_of(z, background)] * (peaks.clear & (z >= _CLEAR))
        hidden = None
        if peaks.hidden is not None:
            hidden = build_spot_map(peaks, peaks.hidden.float(), self.optics.q_max, places.hidden)
        return Measured(
            peaks=peaks,
            spots=spots,
            significance=torch.cat((z, spare), 1),
            hidden=hidden,
            places=places,
            largest=self._best,
            best=best.clamp_min(0).sum(1),
        )

    def climb(
        self,
        matrices: Tensor,
        source: Tensor,
        measured: Measured,
        tilts: Sequence[tuple[int, float]],
    ) -> tuple[Tensor, Tensor]:
        """Tilt candidates to where their log odds are largest.

        Parameters
        ----------
        matrices, source
            ``(b, k, 3, 3)`` crystal → laboratory, and ``(b, k)`` lists of reflections;
            see `Candidates.source`.
        measured
            From `measured`.
        tilts
            Stencils tried one after the other.

        Returns
        -------
        matrices, log_odds
            ``(b, k, 3, 3)`` and ``(b, k)``.
        """
        index = self.lists[source]
        k = torch.matmul(self._g[index], matrices.transpose(-1, -2))
        kx, ky = k[..., 0], k[..., 1]
        errors = excitation_errors(k, self.optics.wavelength)
        width2 = self._width2[index]
        row, noise, weight, number = measured.at(kx, ky)
        q2 = kx * kx + ky * ky
        usable = (q2 >= self.optics.q_min**2) & (q2 <= self.optics.q_max**2)
        usable &= torch.isfinite(noise)
        row = torch.where(usable, row, 0) * MU_COUNT
        if self._narrow_law:
            row = row + (number == measured.significance.shape[1] - 1) * (ROWS * MU_COUNT)
        base = self._height[index] - torch.log(noise.clamp_min(1e-12))
        base = torch.where(usable, base, -1e4)
        # Scale at which the predicted sum is the measured one.
        total = (measured.peaks.intensity * measured.peaks.clear).sum(1, keepdim=True)
        narrow = self._narrow[index]
        mean = self._height[index] - torch.log(errors**2 + width2) - narrow * errors**2
        sum_ = torch.logsumexp(torch.where(usable, mean, -1e4), -1)
        narrow = narrow / -MU_STEP
        scale = torch.log(total.clamp_min(1e-12)) - sum_
        base = (base - MU_FIRST) / MU_STEP

        def each(tilted: Tensor, at: Tensor) -> Tensor:
            at = (at / MU_STEP)[..., None]
            if self._kinematic:
                fall = (tilted * tilted).mul_(narrow)
                place = fall.add_(base).add_(at)
            else:
                place = torch.log(torch.addcmul(width2, tilted, tilted))
                place = place.mul_(-1 / MU_STEP).add_(base).add_(at)
            return self._flat.take(place.clamp_(0, MU_COUNT - 1).long().add_(row))

        def value(tilted: Tensor, at: Tensor) -> Tensor:
            found: Tensor = torch.linalg.vecdot(each(tilted, at), weight)
            return found

        first, best = scale, torch.full_like(scale, -torch.inf)
        for offset in _SCALES:
            now = value(errors, first + offset)
            scale = torch.where(now > best, first + offset, scale)
            best = torch.maximum(best, now)
        weight = weight * foremost(each(errors, scale) * weight, number, measured)
        best = value(errors, scale)
        tilt = torch.zeros(*best.shape, 2, device=best.device)
        step = _SCALE_STEP
        for rings, degrees in tilts:
            start = tilt
            for point in hexagon(rings, float(np.deg2rad(degrees))):
                here = start + torch.tensor(point, device=best.device)
                tilted = errors + here[..., :1] * kx + here[..., 1:] * ky
                now = value(tilted, scale)
                better = now > best
                best = torch.where(better, now, best)
                tilt = torch.where(better[..., None], here, tilt)
            tilted = errors + tilt[..., :1] * kx + tilt[..., 1:] * ky
            middle = scale
            for offset in (-step, step):
                now = value(tilted, middle + offset)
                scale = torch.where(now > best, middle + offset, scale)
                best = torch.maximum(best, now)
            step *= 0.7
        # ds = τ·k is ω × k along −z: ω = (−τ_y, τ_x, 0).
        turn = torch.stack((-tilt[..., 1], tilt[..., 0], torch.zeros_like(best)), -1)
        return turned(matrices, turn), best


def foremost(odds: Tensor, number: Tensor, measured: Measured) -> Tensor:
    """Which reflections ``(b, k, n)`` count, as 0 or 1: of those that meet one spot the likeliest.

    Zones one above the other project reflections onto the same place; there is one
    spot, and it is seen once.
    """
    spare = measured.significance.shape[1] - 1
    # The first of equals.
    odds = odds - 1e-4 * torch.arange(odds.shape[-1], device=odds.device)
    most = torch.full((*odds.shape[:2], spare + 1), -torch.inf, device=odds.device)
    most = most.scatter_reduce(2, number, odds, "amax")
    return ((number == spare) | (odds >= most.gather(2, number))).to(odds.dtype)


def hexagon(rings: int, step: float) -> list[tuple[float, float]]:
    """Points of a hexagonal lattice about the middle, the middle left out, nearest first."""
    points = [
        ((i + j / 2) * step, j * step * 3**0.5 / 2)
        for i in range(-rings, rings + 1)
        for j in range(-rings, rings + 1)
        if (i, j) != (0, 0) and abs(i + j) <= rings
    ]
    return sorted(points, key=lambda p: p[0] ** 2 + p[1] ** 2)


def brightest(one: Rocking, rotations: Tensor, optics: Optics, slack: float) -> Tensor:
    """Reflections of the largest mean intensity within `slack` radians of zones, ``(n, s)``."""
    chosen = []
    for part in torch.tensor_split(rotations, max(1, len(rotations) * len(one.g) // 2_000_000)):
        k = torch.matmul(one.g, rotation_matrices(part))
        lengths = torch.linalg.vector_norm(one.g, dim=1)
        s = excitation_errors(k, optics.wavelength).abs()
        mean = one.mean((s - slack * lengths).clamp_min(0))
        q2 = (k[..., :2] ** 2).sum(-1)
        inside = (q2 >= (optics.q_min * (1 - slack)) ** 2) & (
            q2 <= (optics.q_max * (1 + slack)) ** 2
        )
        mean = torch.where(inside, mean, -1e4)
        chosen.append(mean.topk(min(LOOKED_AT, mean.shape[1]), dim=1).indices)
    return torch.cat(chosen)
