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
        ``(b, ky, kx)`` response to the spot-shaped kernel.
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
    blind
        ``(ky, kx)`` bool: seams and bad pixels too wide to see past; None without any.
    shaded
        ``(b, ky / block, kx / block)`` bool: blocks where something stands before the
        detector; None where that cannot be told.
    block
        Pixels of a block.
    """

    response: Tensor
    level: Tensor
    noise: Tensor
    ring: float
    centers: Tensor
    to_pixels: Tensor
    step: float = 0.0
    blind: Tensor | None = None
    shaded: Tensor | None = None
    block: int = 8

    def take(self, index: Tensor) -> SpotSignal:
        """Some of the patterns."""
        return replace(
            self,
            response=self.response[index],
            level=self.level[index],
            noise=self.noise[index],
            centers=self.centers[index],
            shaded=None if self.shaded is None else self.shaded[index],
        )

    @staticmethod
    def joined(pieces: Sequence[SpotSignal]) -> SpotSignal:
        """Consecutive batches as one."""
        shaded = [p.shaded for p in pieces if p.shaded is not None]
        return replace(
            pieces[0],
            response=torch.cat([p.response for p in pieces]),
            level=torch.cat([p.level for p in pieces]),
            noise=torch.cat([p.noise for p in pieces]),
            centers=torch.cat([p.centers for p in pieces]),
            shaded=torch.cat(shaded) if len(shaded) == len(pieces) else None,
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
        y, x = dy + self.centers[:, :1], dx + self.centers[:, 1:]
        row, column = torch.round(y), torch.round(x)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        flat = torch.where(inside, row * width + column, 0.0).long()
        ring = (torch.hypot(dy, dx) / self.ring).long().clamp_max(self.noise.shape[1] - 1)
        response = self._between(y, x)
        noise = self.noise.gather(1, ring)
        z = (response - self.level.gather(1, ring)) / noise
        known = inside
        if self.blind is not None:
            known = known & ~self.blind.reshape(-1)[flat]
        if self.shaded is not None:
            down, across = self.shaded.shape[1:]
            line = torch.div(flat, width * self.block, rounding_mode="floor").clamp_max(down - 1)
            place = torch.div(flat % width, self.block, rounding_mode="floor")
            index = line * across + place.clamp_max(across - 1)
            known = known & ~self.shaded.reshape(b, -1).gather(1, index)
        return (
            torch.where(known, z, 0.0).reshape(shape),
            torch.where(known, noise, torch.inf).reshape(shape),
        )

    def _between(self, y: Tensor, x: Tensor) -> Tensor:
        """Response between pixels, linearly: places a hair apart must read alike."""
        b, height, width = self.response.shape
        flat = self.response.reshape(b, -1)
        y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
        top, left = y.floor().clamp_max(height - 2), x.floor().clamp_max(width - 2)
        down, right = y - top, x - left
        corner = (top * width + left).long()
        above = torch.lerp(flat.gather(1, corner), flat.gather(1, corner + 1), right)
        corner += width
        below = torch.lerp(flat.gather(1, corner), flat.gather(1, corner + 1), right)
        return torch.lerp(above, below, down)


def shaded_blocks(images: Tensor, centers: Tensor, block: int) -> Tensor:
    """Where something stands before the detector: blocks that count next to nothing.

    A block is shaded where it counts less than a fifth of what is usual (geometric
    mean) at its distance from the beam, and that is not chance.

    Parameters
    ----------
    images
        ``(b, ky, kx)`` counts.
    centers
        ``(b, 2)`` direct beam (ky, kx), pixels.
    block
        Pixels of a block.
    """
    sums = torch.nn.functional.avg_pool2d(images[:, None], block)[:, 0] * block**2
    b, down, across = sums.shape
    half = (block - 1) / 2
    y = torch.arange(down, device=images.device) * block + half - centers[:, :1]
    x = torch.arange(across, device=images.device) * block + half - centers[:, 1:]
    ring = (torch.hypot(y[:, :, None], x[:, None]) / (1.5 * block)).long().reshape(b, -1)
    count = int(ring.max()) + 1
    logs = torch.log1p(sums.clamp_min(0)).reshape(b, -1)
    zeros = torch.zeros(b, count, device=images.device)
    size = zeros.scatter_add(1, ring, torch.ones_like(logs)).clamp_min(1.0)
    usual = torch.exp(zeros.scatter_add(1, ring, logs) / size).gather(1, ring)
    shaded = (usual > 30) & (torch.exp(logs) < 0.2 * usual)
    return shaded.reshape(b, down, across)
