"""Polar patterns: the grid, and spots drawn into it.

An in-plane rotation is a shift along the angle, so all of them are tried at once
by a Fourier transform over the angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PolarGrid:
    """Rings and angles.

    Attributes
    ----------
    q_min, q_max
        Inner and outer limit, 1/Å.
    rings, angles
        Number of rings (bin centres evenly spaced) and of angles (even number).
    """

    q_min: float
    q_max: float
    rings: int
    angles: int

    @property
    def ring_step(self) -> float:
        """Distance of neighbouring rings, 1/Å."""
        return (self.q_max - self.q_min) / self.rings

    @property
    def radii(self) -> np.ndarray:
        """Ring centres, 1/Å."""
        return np.asarray(self.q_min + (np.arange(self.rings) + 0.5) * self.ring_step)

    @property
    def frequencies(self) -> int:
        """Number of Fourier terms over the angle."""
        return self.angles // 2 + 1


def phase_table(grid: PolarGrid, steps: int = 1440, device: torch.device | str = "cpu") -> Tensor:
    """``exp(−i f θ)`` on a fine grid of angles, ``(steps, frequencies)`` complex64."""
    theta = torch.arange(steps, dtype=torch.float64) * (2 * np.pi / steps)
    f = torch.arange(grid.frequencies, dtype=torch.float64)
    return (
        torch.polar(torch.ones(1, 1, dtype=torch.float64), -theta[:, None] * f)
        .to(torch.complex64)
        .to(device)
    )


def peak_spectra(
    grid: PolarGrid, q: Tensor, theta: Tensor, amplitude: Tensor, table: Tensor
) -> Tensor:
    """Fourier terms over the angle of peaks drawn as points.

    Parameters
    ----------
    grid
        The polar grid.
    q, theta, amplitude
        ``(b, p)`` radius (1/Å), angle (radians, from x towards y) and height;
        unused places have a height of 0.
    table
        From `phase_table`.

    Returns
    -------
    Tensor
        ``(b, rings, frequencies)`` complex64; a peak between two rings is shared.
    """
    b = q.shape[0]
    place = (q - grid.q_min) / grid.ring_step - 0.5
    lower = torch.floor(place)
    upper_share = place - lower
    steps = table.shape[0]
    index = torch.remainder(torch.round(theta * (steps / (2 * np.pi))).long(), steps)
    waves = table[index]  # (b, p, f)
    out = torch.zeros(b * grid.rings, grid.frequencies, dtype=table.dtype, device=q.device)
    first = torch.arange(b, device=q.device)[:, None] * grid.rings
    for ring, share in ((lower, 1 - upper_share), (lower + 1, upper_share)):
        inside = (ring >= 0) & (ring < grid.rings)
        weight = torch.where(inside, share * amplitude, torch.zeros_like(share))
        rows = first + ring.clamp(0, grid.rings - 1).long()
        out.index_add_(
            0,
            rows.reshape(-1),
            (waves * weight[..., None]).reshape(-1, grid.frequencies),
        )
    return out.reshape(b, grid.rings, grid.frequencies)
