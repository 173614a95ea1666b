"""What networks see of a pattern: its spots on a polar or a square grid.

Spots instead of raw pixels: background, disk size, detector and dose are dealt with where
the matcher deals with them, and a peak list serves as well as a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.methods.registration.spots import PeakBatch

#: Exponents of the intensities, relative to the strongest: where spots are, how strong.
_POWERS = (0.1, 0.5)


@dataclass(frozen=True)
class PolarInput:
    """Spots on rings and angles.

    Attributes
    ----------
    q_min, q_max
        Limits, 1/Å.
    rings, angles
        Rings between the limits, and angles of a full turn.
    """

    q_min: float = 0.08
    q_max: float = 1.5
    rings: int = 40
    angles: int = 72

    @property
    def channels(self) -> int:
        """Channels of what `draw` returns: the rings for each power, and the faintest visible."""
        return len(_POWERS) * self.rings + 1

    def draw(self, peaks: PeakBatch) -> Tensor:
        """``(b, angles, channels)``; a spot between bins is shared among its four neighbours."""
        q, theta = torch.hypot(peaks.kx, peaks.ky), torch.atan2(peaks.ky, peaks.kx)
        ring = (q - self.q_min) * (self.rings / (self.q_max - self.q_min)) - 0.5
        angle = torch.remainder(theta * (self.angles / (2 * np.pi)), self.angles)
        inner, first = torch.floor(ring), torch.floor(angle)
        places, shares = [], []
        for row, by_row in ((inner, 1 - (ring - inner)), (inner + 1, ring - inner)):
            inside = (row >= 0) & (row < self.rings)
            for column, by_angle in ((first, 1 - (angle - first)), (first + 1, angle - first)):
                places.append(column % self.angles * self.channels + row.clamp(0, self.rings - 1))
                shares.append(torch.where(inside, by_row * by_angle, 0.0))
        out = _drawn(peaks, places, shares, self.angles * self.channels, self.rings)
        out = out.reshape(len(peaks), self.angles, self.channels)
        out[..., -1] = _faintest(peaks)[:, None]
        return out


@dataclass(frozen=True)
class SquareInput:
    """Spots on a square grid about the direct beam.

    Attributes
    ----------
    q_max
        Half its edge, 1/Å.
    size
        Pixels along an edge.
    """

    q_max: float = 1.5
    size: int = 64

    @property
    def channels(self) -> int:
        """Channels of what `draw` returns."""
        return len(_POWERS) + 1

    def draw(self, peaks: PeakBatch, angle: Tensor | None = None) -> Tensor:
        """``(b, channels, size, size)``; a spot between pixels is shared among its neighbours.

        The pattern is turned by −`angle` ``(b,)``, radians, before.
        """
        scale = (self.size - 1) / (2 * self.q_max)
        kx, ky = peaks.kx, peaks.ky
        if angle is not None:
            cos, sin = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
            kx, ky = cos * kx + sin * ky, cos * ky - sin * kx
        x, y = (kx + self.q_max) * scale, (ky + self.q_max) * scale
        left, top = torch.floor(x), torch.floor(y)
        places, shares = [], []
        for row, by_row in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, by_column in ((left, 1 - (x - left)), (left + 1, x - left)):
                inside = (row >= 0) & (row < self.size) & (column >= 0) & (column < self.size)
                places.append(torch.where(inside, row * self.size + column, 0.0))
                shares.append(torch.where(inside, by_row * by_column, 0.0))
        area = self.size * self.size
        out = _drawn(peaks, places, shares, self.channels * area, area)
        out = out.reshape(len(peaks), self.channels, self.size, self.size)
        out[:, -1] = _faintest(peaks)[:, None, None]
        return out


def _drawn(
    peaks: PeakBatch, places: list[Tensor], shares: list[Tensor], room: int, apart: int
) -> Tensor:
    """Heights of the spots at their places, ``(b, room)``; powers lie `apart` from one another."""
    heights = _heights(peaks)
    b = len(peaks)
    start = torch.arange(b, device=heights.device)[:, None] * room
    out = torch.zeros(b * room, device=heights.device)
    for place, share in zip(places, shares, strict=True):
        flat = start + place.long()
        for i in range(heights.shape[1]):
            out.index_add_(0, (flat + i * apart).reshape(-1), (share * heights[:, i]).reshape(-1))
    return out.reshape(b, room)


def _heights(peaks: PeakBatch) -> Tensor:
    """Relative intensities to each power, weighed by trust, ``(b, powers, p)``."""
    top = peaks.intensity.amax(1, keepdim=True).clamp_min(1e-12)
    share = (peaks.intensity / top).clamp_min(0)
    there = (peaks.intensity > 0) * peaks.trust
    return torch.stack([there * share**power for power in _POWERS], 1)


def _faintest(peaks: PeakBatch) -> Tensor:
    """How faint a spot could be and still be seen: noise over the strongest, as a logarithm."""
    top = peaks.intensity.amax(1).clamp_min(1e-12)
    return (torch.log10(peaks.faintest_noise / top) / 3).clamp(-2, 0.5)
