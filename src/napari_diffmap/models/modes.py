"""Rotations as a network says them: a few modes, each a rotation and a weight.

A rotation comes out as six numbers made orthonormal (Zhou et al., CVPR 2019: a continuous
representation of SO(3), which Euler angles and quaternions are not).  The loss is
set-valued: what a pattern cannot tell apart by the crystal's symmetry is one answer, and
modes share what it cannot tell apart otherwise, as a crystal and its half turn about the beam.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Numbers of a mode: six of the rotation, its weight, its sharpness.
_NUMBERS = 8


class ModesHead(nn.Module):
    """From features to `modes` rotations, and whether there is a crystal at all."""

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.linear = nn.Linear(width, modes * _NUMBERS + 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``(b, width)`` to matrices ``(b, m, 3, 3)``, log weights and log sharpness, none."""
        out = self.linear(x)
        modes = out[:, :-1].reshape(len(x), self.modes, _NUMBERS)
        weight = torch.log_softmax(modes[..., 6], 1)
        return orthonormal(modes[..., :6]), weight, modes[..., 7].clamp(-2, 7), out[:, -1]


def orthonormal(numbers: Tensor) -> Tensor:
    """Rotations ``(…, 3, 3)`` of six numbers each, by Gram and Schmidt."""
    first = nn.functional.normalize(numbers[..., :3], dim=-1)
    second = numbers[..., 3:6]
    second = second - (first * second).sum(-1, keepdim=True) * first
    second = nn.functional.normalize(second, dim=-1)
    return torch.stack((first, second, torch.linalg.cross(first, second)), -2)


def closeness(matrices: Tensor, truth: Tensor, operators: Tensor) -> Tensor:
    """Cosine of the disorientation, ``(b, m)``.

    Parameters
    ----------
    matrices, truth
        ``(b, m, 3, 3)`` and ``(b, 3, 3)`` crystal → laboratory.
    operators
        ``(s, 3, 3)`` proper rotations of the crystal.
    """
    between = matrices.transpose(-1, -2) @ truth[:, None]
    trace = torch.einsum("bmij,sji->bms", between, operators).amax(-1)
    return (trace - 1) / 2


def mixture_loss(weight: Tensor, sharp: Tensor, cosine: Tensor) -> Tensor:
    """−log density of the truth under a mixture of the modes, ``(b,)``.

    Each mode is a matrix-Fisher law of one sharpness κ, ``p ∝ exp(κ (cos θ − 1))``, whose
    norm for sharp modes is ``κ^(3/2)`` up to a constant (Mardia & Jupp, *Directional
    Statistics*, 2000, ch. 13).

    Parameters
    ----------
    weight, sharp
        ``(b, m)`` log weights and log sharpness of `ModesHead`.
    cosine
        ``(b, m)`` from `closeness`.
    """
    kappa = torch.exp(sharp)
    return -torch.logsumexp(weight + 1.5 * sharp + kappa * (cosine - 1), 1)
