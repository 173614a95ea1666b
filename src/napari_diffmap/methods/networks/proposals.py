"""From a density over orientations to a few distinct ones, each with its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.methods.networks.grid import OrientationGrid
from napari_diffmap.methods.networks.upright import about_beam
from napari_diffmap.methods.orientation.refine import turned

#: A proposal nearer than this to the truth is right before it is polished, degrees.
NEAR_DEG = 5.0
#: Bins looked at: what lies outside them has no say.
_BINS = 48
#: Bins nearer than so many steps of the in-plane angle belong to one mode.
_ABOUT = 4 / 3


@dataclass(frozen=True, eq=False)
class Proposals:
    """Orientations that a network holds possible, likeliest first.

    Attributes
    ----------
    matrices
        ``(b, k, 3, 3)`` crystal → laboratory.
    phase
        ``(b, k)`` number of the phase.
    probability
        ``(b, k)``; 0 fills up.
    phases
        ``(b, n)`` probability of each phase.
    crystal
        ``(b,)`` probability that the pattern is one of a crystal at all.
    """

    matrices: Tensor
    phase: Tensor
    probability: Tensor
    phases: Tensor
    crystal: Tensor

    def first(self, count: int) -> Proposals:
        """The likeliest `count`."""
        return Proposals(
            self.matrices[:, :count],
            self.phase[:, :count],
            self.probability[:, :count],
            self.phases,
            self.crystal,
        )


class Density(Protocol):
    """What a network says of any orientation."""

    def log_probability(self, matrices: Tensor, phase: Tensor) -> Tensor:
        """Of crystal → laboratory matrices ``(b, k, 3, 3)`` of phases ``(b, k)``: ``(b, k)``."""
        ...


@dataclass(frozen=True, eq=False)
class GridDensity:
    """Probability of the bins about an orientation.

    Attributes
    ----------
    grid
        The bins.
    logp
        ``(b, angles · columns)`` log probabilities.
    """

    grid: OrientationGrid
    logp: Tensor

    def log_probability(self, matrices: Tensor, phase: Tensor) -> Tensor:
        """Log of the mean probability of the bins that an orientation is shared among."""
        b, k = phase.shape
        taught = self.grid.taught(matrices.reshape(-1, 3, 3), phase.reshape(-1))
        place = (taught.angle * self.grid.columns + taught.column).reshape(b, -1)
        said = self.logp.gather(1, place).reshape(b * k, -1).exp()
        mean = (said * taught.weight).sum(1)
        return torch.log(mean.clamp_min(1e-30)).reshape(b, k)


class NoDensity:
    """Where a network's modes say nothing of orientations between them."""

    def log_probability(self, matrices: Tensor, phase: Tensor) -> Tensor:
        """Zero for all, ``(b, k)``."""
        return torch.zeros(phase.shape, device=matrices.device)


def proposals(
    grid: OrientationGrid,
    logp: Tensor,
    none: Tensor,
    count: int,
) -> Proposals:
    """The modes of a density.

    Parameters
    ----------
    grid
        The bins.
    logp, none
        ``(b, angles, columns)`` log probabilities and ``(b,)``: of what a `PolarNet` says.
    count
        Modes wanted.

    Notes
    -----
    The likeliest bin is a mode; with the bins about it, crystal symmetry considered, it
    gives the mean orientation and the probability of the mode; then the next.  Bins about it
    are those nearer than one and a third steps of the in-plane angle: an orientation between
    two bins is shared by both.
    """
    b, angles, columns = logp.shape
    whole = logp.reshape(b, -1).exp()
    by_phase = whole.reshape(b, angles, columns).sum(1)
    phases = torch.stack([by_phase[:, first:last].sum(1) for first, last in _spans(grid)], dim=1)
    top, place = whole.topk(_BINS, dim=1)
    angle, column = place // columns, place % columns
    matrices = grid.matrices(column, angle.float())
    phase = grid.phase.to(logp.device)[column]
    left, reach = top.clone(), _ABOUT * 2 * np.pi / angles
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(count):
        best = left.argmax(1, keepdim=True)
        own = phase.gather(1, best)
        turn, angle_off = _turn_from(grid, matrices, phase, best)
        near = (phase == own) & (angle_off < reach)
        weight = torch.where(near, left, 0.0)
        total = weight.sum(1)
        mean = (weight[..., None] * turn).sum(1) / total.clamp_min(1e-12)[:, None]
        start = matrices.gather(1, best[..., None, None].expand(-1, -1, 3, 3))[:, 0]
        found.append((turned(start, mean), own[:, 0], total))
        left = torch.where(near, 0.0, left)
    probability = torch.stack([one[2] for one in found], 1)
    return Proposals(
        torch.stack([one[0] for one in found], 1),
        torch.stack([one[1] for one in found], 1),
        probability,
        phases,
        torch.sigmoid(-none),
    )


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Of logits ``(b, angles, columns)``; the temperature makes them what they say."""
    flat = logits.reshape(len(logits), -1) / temperature
    return torch.log_softmax(flat, 1).reshape(logits.shape)


def with_half_turns(said: Proposals, count: int) -> Proposals:
    """The likeliest `count` also turned by 180° about the beam, behind the others."""
    half = torch.tensor([-1.0, -1.0, 1.0], device=said.matrices.device)[:, None]
    return Proposals(
        torch.cat((said.matrices, half * said.matrices[:, :count]), 1),
        torch.cat((said.phase, said.phase[:, :count]), 1),
        torch.cat((said.probability, torch.zeros_like(said.probability[:, :count])), 1),
        said.phases,
        said.crystal,
    )


def modes_of(outs: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]], angles: Tensor) -> Proposals:
    """What a `ModesHead` says of patterns turned upright, likeliest first; there is one phase.

    Parameters
    ----------
    outs
        What it says of each turn.
    angles
        ``(turns, b)`` angles that the patterns were turned back by, radians.

    Notes
    -----
    The probability of a mode is that of its weight to lie within `NEAR_DEG` of it: of a
    sharpness κ the errors about three axes are normal with variance 1/κ.
    """
    back = about_beam(angles)
    matrices = torch.cat([b[:, None] @ out[0] for b, out in zip(back, outs, strict=True)], 1)
    weight = torch.cat([out[1].exp() * _inside(out[2]) for out in outs], 1) / len(outs)
    probability, order = weight.sort(1, descending=True)
    picked = order[..., None, None].expand(-1, -1, 3, 3)
    none = torch.stack([out[3] for out in outs]).mean(0)
    return Proposals(
        matrices.gather(1, picked),
        torch.zeros_like(order),
        probability,
        torch.ones_like(probability[:, :1]),
        torch.sigmoid(-none),
    )


def _inside(sharp: Tensor) -> Tensor:
    """Share of a mode of log sharpness `sharp` within `NEAR_DEG` (chi law of three axes)."""
    x = np.deg2rad(NEAR_DEG) * torch.exp(0.5 * sharp)
    share: Tensor = torch.erf(x / 2**0.5) - (2 / np.pi) ** 0.5 * x * torch.exp(-0.5 * x**2)
    return share


def _spans(grid: OrientationGrid) -> list[tuple[int, int]]:
    return list(zip(grid.first[:-1], grid.first[1:], strict=True))


def _turn_from(
    grid: OrientationGrid, matrices: Tensor, phase: Tensor, best: Tensor
) -> tuple[Tensor, Tensor]:
    """Smallest turn (laboratory rotation vector) from each pattern's best bin to each bin."""
    b, n = phase.shape
    start = matrices.gather(1, best[..., None, None].expand(-1, -1, 3, 3))
    own = phase.gather(1, best)[:, 0]
    turn = matrices.new_zeros(b, n, 3)
    angle = matrices.new_full((b, n), np.pi)
    for i in own.unique().tolist():
        mine = torch.nonzero(own == i)[:, 0]
        operators = grid.operators[i].to(matrices.device)
        # A variant of M is M S; from the best bin to it the turn is M S Bᵀ, whose trace is
        # that of S (Bᵀ M).
        back = start[mine].transpose(-1, -2)
        inner = back @ matrices[mine]
        trace = torch.einsum("bnij,mji->bnm", inner, operators)
        best_trace, variant = trace.max(-1)
        rotation = matrices[mine] @ operators[variant] @ back
        angle[mine] = torch.acos(((best_trace - 1) / 2).clamp(-1, 1))
        axis = torch.stack(
            (
                rotation[..., 2, 1] - rotation[..., 1, 2],
                rotation[..., 0, 2] - rotation[..., 2, 0],
                rotation[..., 1, 0] - rotation[..., 0, 1],
            ),
            -1,
        )
        turn[mine] = 0.5 * axis  # small turns only are used
    return turn, angle
