"""How much of a spot stands at any place of a pattern, found there or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SpotSignal:
    """Spot response of a batch of patterns, to be read at any place.

    Attributes
    ----------
    response
        ``(b, ky, kx)`` response to the spot-shaped kernel; NaN where nothing can be
        said.
    level, noise
        ``(b, rings)`` mean and spread of the response in each ring about the beam.
    ring
        Width of a ring, pixels.
    centers
        ``(b, 2)`` direct beam (ky, kx), pixels.
    to_pixels
        ``(2, 2)`` takes (ky, kx) in 1/Å to pixels about the beam.
    step
        What one count adds to the response; 0 where values are no counts.
    """

    response: Tensor
    level: Tensor
    noise: Tensor
    ring: float
    centers: Tensor
    to_pixels: Tensor
    step: float = 0.0

    def take(self, index: Tensor) -> SpotSignal:
        """Some of the patterns."""
        return replace(
            self,
            response=self.response[index],
            level=self.level[index],
            noise=self.noise[index],
            centers=self.centers[index],
        )

    @staticmethod
    def joined(pieces: Sequence[SpotSignal]) -> SpotSignal:
        """Consecutive batches as one."""
        return replace(
            pieces[0],
            response=torch.cat([p.response for p in pieces]),
            level=torch.cat([p.level for p in pieces]),
            noise=torch.cat([p.noise for p in pieces]),
            centers=torch.cat([p.centers for p in pieces]),
        )

    def at(self, kx: Tensor, ky: Tensor) -> tuple[Tensor, Tensor]:
        """Response above its ring's level over the noise there, and that noise.

        Parameters
        ----------
        kx, ky
            ``(b, …)`` places relative to the beam, 1/Å.

        Returns
        -------
        significance, noise
            ``(b, …)``; 0 and infinity where nothing can be said.
        """
        b, height, width = self.response.shape
        shape = kx.shape
        kx, ky = kx.reshape(b, -1), ky.reshape(b, -1)
        m = self.to_pixels
        dy, dx = m[0, 0] * ky + m[0, 1] * kx, m[1, 0] * ky + m[1, 1] * kx
        row = torch.round(dy + self.centers[:, :1])
        column = torch.round(dx + self.centers[:, 1:])
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        flat = torch.where(inside, row * width + column, 0.0).long()
        ring = (torch.hypot(dy, dx) / self.ring).long().clamp_max(self.noise.shape[1] - 1)
        response = self.response.reshape(b, -1).gather(1, flat)
        noise = self.noise.gather(1, ring)
        z = (response - self.level.gather(1, ring)) / noise
        known = inside & torch.isfinite(z)
        return (
            torch.where(known, z, 0.0).reshape(shape),
            torch.where(known, noise, torch.inf).reshape(shape),
        )
