"""Simulated spot lists of random crystals, as a spot finder would report them (torch).

Bloch waves are solved for a pool of random orientations, each at several thicknesses;
a batch draws from the pool and is turned in the plane, lit with its own dose, mixed,
miscalibrated and counted.  The pool is renewed little by little while a network learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.crystal.bloch import dynamical_spots, potential
from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import rotation_matrices, spots
from napari_diffmap.methods.networks.domain import Domain
from napari_diffmap.methods.registration.spots import PeakBatch, trust_of

#: Spots kept of a simulated crystal, and of a measured pattern.
_KEPT, _SEEN = 56, 64
#: Beams of the Bloch waves, and how far beyond the pattern they are sought, 1/Å.
_BEAMS, _BEYOND = 72, 0.4
#: Thicknesses looked at of each solved orientation.
_DEPTHS = 3
#: Orientations solved at once.
_CHUNK = 256
#: Natural logarithm of how much crystals with other cells are stretched.
_OTHER = (0.08, 0.4)
#: A spot must stand out so much to be found.
_FOUND = 3.5


@dataclass(frozen=True, eq=False)
class Truth:
    """What the patterns of a batch are.

    Attributes
    ----------
    matrices, phase
        ``(b, c, 3, 3)`` crystal → laboratory and ``(b, c)`` of the one or two crystals.
    share
        ``(b, c)`` of the diffracted intensity; sums to 1, all 0 where there is no crystal.
    """

    matrices: Tensor
    phase: Tensor
    share: Tensor

    @property
    def crystal(self) -> Tensor:
        """``(b,)`` bool: whether there is any."""
        return self.share[:, 0] > 0


class PatternPool:
    """Crystals in random orientations whose intensities are known.

    Parameters
    ----------
    phases
        What they are of, evenly.
    domain
        Conditions.
    size
        Orientations held of each phase.
    seed
        Of everything random.
    device
        Where it is simulated and kept.
    """

    def __init__(
        self,
        phases: Sequence[CrystalPhase],
        domain: Domain,
        size: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.phases, self.domain = tuple(phases), domain
        self.device = torch.device(device)
        self.random = torch.Generator(self.device).manual_seed(seed)
        self.size = max(_CHUNK, size // _CHUNK * _CHUNK)
        # Beams beyond the edge of the pattern scatter into it.
        g_max = domain.q_max[1] + _BEYOND
        self._outermost = domain.q_max[1] * 1.03
        self._found = [reflections(phase, g_max) for phase in self.phases]
        self._potential = [
            potential(phase, found, domain.voltage_kv, self.device)
            for phase, found in zip(self.phases, self._found, strict=True)
        ]
        shape = (len(self.phases), self.size)
        self._matrices = torch.zeros(*shape, 3, 3, device=self.device)
        self._k = torch.zeros(*shape, _KEPT, 2, device=self.device)
        self._intensity = torch.zeros(*shape, _DEPTHS, _KEPT, device=self.device)
        self._next = 0
        self._full = False

    def fill(self) -> None:
        """Solve all of the pool."""
        for _ in range(self.size // _CHUNK):
            self.renew()

    def renew(self) -> None:
        """Solve the oldest part of the pool anew."""
        place = slice(self._next, self._next + _CHUNK)
        for i in range(len(self.phases)):
            self._solve(i, place)
        self._full = self._full or place.stop >= self.size
        self._next = place.stop % self.size

    @property
    def ready(self) -> bool:
        """Whether all of it is solved."""
        return self._full

    @property
    def _ready(self) -> int:
        return self.size if self._full else self._next

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = torch.rand(*shape, generator=self.random, device=self.device)
        return low + (high - low) * drawn

    def _log_uniform(self, batch: int, bounds: tuple[float, float]) -> Tensor:
        low, high = np.log(bounds)
        return torch.exp(self._uniform(batch, 1, low=low, high=high))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random, device=self.device)

    def _solve(self, number: int, place: slice) -> None:
        q = self._normal(_CHUNK, 4)
        q = q / torch.linalg.vector_norm(q, dim=1, keepdim=True)
        d = self.domain
        low, high = (10 * value for value in d.thickness_nm)
        depths = self._uniform(_CHUNK, _DEPTHS, low=low, high=high)
        n_kinematic = round(d.kinematic * _CHUNK)
        kx, ky, intensity = self._dynamical(number, q[n_kinematic:], depths[n_kinematic:])
        if n_kinematic:
            more = self._kinematic(number, q[:n_kinematic])
            kx, ky, intensity = (
                torch.cat(pair) for pair in zip(more, (kx, ky, intensity), strict=True)
            )
        self._k[number, place] = torch.stack((kx, ky), -1)
        self._intensity[number, place] = intensity
        self._matrices[number, place] = rotation_matrices(q).transpose(-1, -2)

    def _dynamical(self, number: int, q: Tensor, depths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        drawn = dynamical_spots(
            self._potential[number], self._found[number], q, depths, beams=_BEAMS
        )
        inside = torch.hypot(drawn.kx, drawn.ky) < self._outermost
        return _strongest(drawn.kx, drawn.ky, drawn.intensity * inside[:, None])

    def _kinematic(self, number: int, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        d = self.domain
        found = spots(self._found[number], q, d.voltage_kv, 1.0)
        sigma = self._uniform(len(q), _DEPTHS, 1, low=d.sigma[0], high=d.sigma[1])
        level = self._uniform(len(q), _DEPTHS, 1, low=0.3, high=1.0)
        amplitude2 = torch.as_tensor(
            self._found[number].amplitude2, dtype=torch.float32, device=self.device
        )
        fall = torch.exp(-0.5 * (found.excitation[:, None] / sigma) ** 2)
        inside = torch.hypot(found.kx, found.ky) < self._outermost
        intensity = ((amplitude2 / amplitude2.max()) * fall) ** level
        return _strongest(found.kx, found.ky, intensity * inside[:, None])

    # ------------------------------------------------------------- drawing

    def draw(self, batch: int) -> tuple[PeakBatch, Truth]:
        """A batch of spot lists and what they are of."""
        d = self.domain
        crystals = 2
        phase = torch.randint(
            len(self.phases), (batch, crystals), generator=self.random, device=self.device
        )
        which = torch.randint(
            self._ready, (batch, crystals), generator=self.random, device=self.device
        )
        depth = torch.randint(_DEPTHS, (batch, crystals), generator=self.random, device=self.device)
        k = self._k[phase, which]
        intensity = self._intensity[phase, which, depth]
        matrices = self._matrices[phase, which]
        k, matrices = self._turned(k, matrices)
        second = self._uniform(batch, low=0.1, high=0.5)
        second = torch.where(self._uniform(batch) < d.two_grains, second, 0.0)
        share = torch.stack((1 - second, second), 1)
        intensity = intensity / intensity.sum(-1, keepdim=True).clamp_min(1e-20)
        intensity = (intensity * share[..., None]).reshape(batch, -1)
        strange = self._uniform(batch, 1) < d.strange
        nothing = ~strange & (self._uniform(batch, 1) < d.nothing)
        k = torch.where(
            strange[..., None], self._stretched(k.reshape(batch, -1, 2)), k.reshape(batch, -1, 2)
        )
        peaks = self._found_spots(k, intensity * ~nothing, nothing)
        crystal = (peaks.count >= 2) & ~(strange | nothing)[:, 0]
        return peaks, Truth(matrices, phase, share * crystal[:, None])

    def _turned(self, k: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Turned about the beam at random: an exact way to see more orientations."""
        turn = self._uniform(*k.shape[:2], high=2 * np.pi)
        cos, sin = torch.cos(turn), torch.sin(turn)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        about = torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, one), -1)
        about = about.reshape(*turn.shape, 3, 3)
        return k @ about[..., :2, :2].transpose(-1, -2), about @ matrices

    def _stretched(self, k: Tensor) -> Tensor:
        """Spots of crystals with other cells: stretched along two axes, by 8 % at least."""
        b = len(k)
        size = self._uniform(b, 2, low=_OTHER[0], high=_OTHER[1])
        sign = torch.where(self._uniform(b, 2) < 0.5, -1.0, 1.0)
        turn = self._uniform(b, high=2 * np.pi)
        cos, sin = torch.cos(turn), torch.sin(turn)
        axes = torch.stack((cos, -sin, sin, cos), -1).reshape(b, 2, 2)
        return k @ (axes * torch.exp(size * sign)[:, None] @ axes.transpose(-1, -2))

    def _found_spots(self, k: Tensor, share: Tensor, nothing: Tensor) -> PeakBatch:
        """Counted, miscalibrated, and with stray spots: what a spot finder would report."""
        b, n, _ = k.shape
        d = self.domain
        dose = self._log_uniform(b, d.dose)
        diffuse, dark = dose * self._log_uniform(b, d.diffuse), self._log_uniform(b, d.dark)
        falloff = self._uniform(b, 1, low=d.falloff[0], high=d.falloff[1])
        spread = self._uniform(b, 1, low=d.jitter[0], high=d.jitter[1])
        expected = dose * share * torch.exp(spread * self._normal(b, n))
        behind = diffuse * torch.exp(-torch.linalg.vector_norm(k, dim=-1) / falloff) + dark
        counted = expected + torch.sqrt(expected + behind) * self._normal(b, n)
        counted = torch.where(share > 0, counted, 0.0)
        noise = torch.sqrt(behind)
        stretch = d.ellipse * self._normal(b, 2, 2)
        stretch = torch.eye(2, device=k.device) * (
            1 + d.scale_error * self._normal(b, 1, 1)
        ) + 0.5 * (stretch + stretch.transpose(-1, -2))
        k = k @ stretch
        k = k + d.center_error * self._normal(b, 1, 2)
        off = d.spot_error * (1 + 10 / (counted / noise).clamp_min(2.0))
        k = k + off[..., None] * self._normal(b, n, 2)
        # Stray spots; there are many where there is no crystal.
        room = 24
        many = torch.where(nothing[:, 0], 12.0, d.stray_spots)
        stray = torch.arange(room, device=k.device) < torch.poisson(many, self.random)[:, None]
        where_q = torch.sqrt(self._uniform(b, room, low=0.01, high=d.q_max[1] ** 2))
        where_angle = self._uniform(b, room, high=2 * np.pi)
        places = torch.stack(
            (where_q * torch.cos(where_angle), where_q * torch.sin(where_angle)), -1
        )
        height = _FOUND * torch.exp(self._uniform(b, room, high=3.0))
        behind_stray = torch.sqrt(diffuse * torch.exp(-where_q / falloff) + dark)
        k = torch.cat((k, places), 1)
        counted = torch.cat((counted, height * behind_stray * stray), 1)
        noise = torch.cat((noise, behind_stray), 1)
        return self._limited(k, counted, noise)

    def _limited(self, k: Tensor, counted: Tensor, noise: Tensor) -> PeakBatch:
        """Spots that are found within the limits of the pattern, most significant first."""
        b, d = len(k), self.domain
        q = torch.linalg.vector_norm(k, dim=-1)
        inner = self._uniform(b, 1, low=d.q_min[0], high=d.q_min[1])
        outer = self._uniform(b, 1, low=d.q_max[0], high=d.q_max[1])
        z = counted / noise
        z = torch.where((q >= inner) & (q <= outer) & (z > _FOUND), z, 0.0)
        top, index = z.topk(_SEEN, dim=1)
        there = top > 0
        k = k.gather(1, index[..., None].expand(-1, -1, 2))
        counted, noise = counted.gather(1, index), noise.gather(1, index)
        return PeakBatch(
            kx=torch.where(there, k[..., 0], 0.0),
            ky=torch.where(there, k[..., 1], 0.0),
            intensity=torch.where(there, counted, 0.0),
            trust=torch.where(there, trust_of(top), 0.0),
            noise=torch.where(there, noise, 1.0),
        )


def _strongest(kx: Tensor, ky: Tensor, intensity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The spots that are strongest at any depth: ``(b, _KEPT)`` and ``(b, depths, _KEPT)``."""
    at_best = (intensity / intensity.amax(-1, keepdim=True).clamp_min(1e-20)).amax(1)
    keep = min(_KEPT, at_best.shape[1])
    index = at_best.topk(keep, dim=1).indices
    short = (0, _KEPT - keep)
    x, y = (torch.nn.functional.pad(v.gather(1, index), short) for v in (kx, ky))
    wide = index[:, None].expand(-1, intensity.shape[1], -1)
    return x, y, torch.nn.functional.pad(intensity.gather(2, wide), short)
