"""A network on polar patterns: turned patterns give turned answers, by its build.

Rings are channels, angles are a circle: every layer treats all angles alike, so what it
has learnt of a pattern holds for all its turns in the plane.  The last layer gives for
each angle a logit of each beam direction (columns): a density over orientations.

Inside, channels lie last: all layers are plain matrix products, which processors do best.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Norm(nn.BatchNorm1d):
    """Batch normalisation of the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        """``(…, channels)`` to the same."""
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)


class Circular(nn.Module):
    """Linear layer over neighbouring angles on a circle.

    Parameters
    ----------
    inward, outward
        Channels.
    reach
        Neighbours it sees, itself included (odd).
    stride
        Angles of the input for one of the output.
    """

    def __init__(self, inward: int, outward: int, reach: int, stride: int = 1) -> None:
        super().__init__()
        self.reach, self.stride = reach, stride
        self.linear = nn.Linear(reach * inward, outward, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, stride · angles, inward)`` to ``(b, angles, outward)``."""
        half = self.reach // 2
        wide = torch.cat((x[:, -half:], x, x[:, :half]), 1)
        seen = wide.unfold(1, self.reach, self.stride)  # (b, angles, inward, reach)
        out: Tensor = self.linear(seen.transpose(2, 3).flatten(2))
        return out


class Block(nn.Module):
    """Residual bottleneck on a circle."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        inner = width // 2
        self.layers = nn.Sequential(
            nn.Linear(width, inner, bias=False),
            Norm(inner),
            nn.ReLU(inplace=True),
            Circular(inner, inner, reach),
            Norm(inner),
            nn.ReLU(inplace=True),
            nn.Linear(inner, width, bias=False),
            Norm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(b, angles, width)`` to the same."""
        return torch.relu(x + self.layers(x))


class PolarNet(nn.Module):
    """Density over beam directions and in-plane angles of a polar pattern.

    Parameters
    ----------
    rings
        Channels of the input: rings times what is known of each.
    columns
        Beam directions of all phases.
    width, depth, reach
        Channels, blocks, and angles that a block sees at once.
    stride
        Angles of the input for one of the output.
    """

    def __init__(
        self,
        rings: int,
        columns: int,
        width: int = 128,
        depth: int = 8,
        reach: int = 5,
        stride: int = 2,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Circular(rings, width, 5, stride), Norm(width), nn.ReLU(inplace=True)
        )
        self.trunk = nn.Sequential(*(Block(width, reach) for _ in range(depth)))
        self.head = nn.Linear(width, columns)
        #: Whether the pattern is one of no crystal at all.
        self.none = nn.Linear(2 * width, 1)

    def keep(self, columns: Tensor) -> None:
        """From now on only these beam directions are told of."""
        weight, bias = self.head.weight[columns], self.head.bias[columns]
        self.head = nn.Linear(weight.shape[1], len(columns))
        self.head.weight, self.head.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(b, stride · angles, rings)`` to logits ``(b, angles, columns)`` and ``(b,)``."""
        x = self.trunk(self.stem(x))
        pooled = torch.cat((x.mean(1), x.amax(1)), 1)
        return self.head(x), self.none(pooled)[:, 0]
