"""Kinematic spot patterns, batched and differentiable (torch).

Frames as everywhere in this package: x right, y down, z along the beam into the
page; a rotation O takes laboratory to crystal directions, so a reflection g lies
at ``k = Oᵀ g`` in the laboratory and is seen at ``(kx, ky)``.

Source: Ophus et al., *Microsc. Microanal.* 28 (2022) 390, eq. 2 (excitation error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.scan.calibration import electron_wavelength

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_diffmap.crystal.reflections import Reflections


@dataclass(frozen=True, eq=False)
class Spots:
    """Spots of a batch of patterns, every reflection in each.

    Attributes
    ----------
    kx, ky
        ``(n, m)`` positions, 1/Å.
    excitation
        ``(n, m)`` excitation errors s_g, 1/Å.
    intensity
        ``(n, m)`` |F|² times the excitation weight, Å².
    """

    kx: Tensor
    ky: Tensor
    excitation: Tensor
    intensity: Tensor


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """Active matrices ``(..., 3, 3)`` of unit quaternions (a, b, c, d), as in orix."""
    a, b, c, d = quaternions.unbind(-1)
    rows = (
        (a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)),
        (2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)),
        (2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def excitation_errors(k: Tensor, wavelength: float) -> Tensor:
    """Excitation error of reflections at laboratory vectors `k`.

    Parameters
    ----------
    k
        ``(..., 3)`` reciprocal vectors in the laboratory frame, 1/Å.
    wavelength
        Electron wavelength, Å.

    Returns
    -------
    Tensor
        ``s = −g·(2k₀ + g) / (2 |k₀ + g| cos α)`` with k₀ = (0, 0, 1/λ) and α the
        angle between the diffracted beam and the foil normal z; positive inside
        the Ewald sphere.
    """
    k0 = 1.0 / wavelength
    return -(2 * k0 * k[..., 2] + (k * k).sum(-1)) / (2 * (k0 + k[..., 2]))


def precession_widened(sigma: float, lengths: Tensor, precession_deg: float) -> Tensor:
    """Excitation width (Gaussian sigma, 1/Å) of each reflection under precession.

    During one turn of the beam by an angle φ the excitation error of g swings by
    ±|g| sin φ like a sine; its root mean square adds to the width.
    """
    swing = lengths * float(np.sin(np.deg2rad(precession_deg))) / np.sqrt(2.0)
    return torch.sqrt(sigma**2 + swing**2)


def spots(
    reflections: Reflections,
    rotations: Tensor | ArrayLike,
    voltage_kv: float,
    sigma: float = 0.02,
    *,
    precession_deg: float = 0.0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Spots:
    """Simulate the spots of a batch of orientations.

    Parameters
    ----------
    reflections
        Of one phase, see `crystal.reflections.reflections`.
    rotations
        ``(n, 4)`` unit quaternions, laboratory → crystal.  Gradients flow through
        a tensor given here.
    voltage_kv
        Accelerating voltage, kV.
    sigma
        Gaussian width of the accepted excitation error, 1/Å.
    precession_deg
        Precession angle, degrees.
    device, dtype
        Where and how it is computed; a tensor's own for `rotations` given as one.

    Returns
    -------
    Spots
        Positions, excitation errors and intensities ``(n, m)``.
    """
    if isinstance(rotations, Tensor):
        device, dtype = rotations.device, rotations.dtype
    else:
        rotations = torch.as_tensor(np.asarray(rotations), device=device, dtype=dtype)
    g = torch.as_tensor(reflections.g, device=device, dtype=dtype)
    amplitude2 = torch.as_tensor(reflections.amplitude2, device=device, dtype=dtype)
    # k = Oᵀ g for every pair, (n, m, 3).
    k = torch.einsum("nji,mj->nmi", rotation_matrices(rotations), g)
    s = excitation_errors(k, electron_wavelength(voltage_kv))
    width = precession_widened(sigma, torch.linalg.vector_norm(g, dim=-1), precession_deg)
    weight = torch.exp(-0.5 * (s / width) ** 2)
    return Spots(k[..., 0], k[..., 1], s, amplitude2 * weight)


def render(
    spots: Spots,
    shape: tuple[int, int],
    center: tuple[float, float] | Tensor,
    pixel_size: float,
    psf_sigma: float = 1.0,
    *,
    cutoff: float = 1e-4,
) -> Tensor:
    """Draw spots as Gaussians of equal width at their exact positions.

    Parameters
    ----------
    spots
        From `spots`.
    shape
        Pattern shape ``(ky, kx)`` in pixels.
    center
        Direct beam ``(ky, kx)`` in pixels, one for all or ``(n, 2)``.
    pixel_size
        Detector pixel, 1/Å.
    psf_sigma
        Gaussian width of a spot, pixels; each spot's sum is its intensity.
    cutoff
        Spots weaker than this share of their pattern's strongest are not drawn.

    Returns
    -------
    Tensor
        ``(n, ky, kx)`` float images; gradients flow to positions and intensities.
    """
    n = spots.kx.shape[0]
    device, dtype = spots.kx.device, spots.kx.dtype
    middle = torch.as_tensor(center, device=device, dtype=dtype).expand(n, 2)
    y = spots.ky / pixel_size + middle[:, :1]
    x = spots.kx / pixel_size + middle[:, 1:]
    strongest = spots.intensity.detach().amax(dim=1, keepdim=True)
    reach = 4 * psf_sigma
    seen = (spots.intensity.detach() > cutoff * strongest) & (
        (y > -reach) & (y < shape[0] - 1 + reach) & (x > -reach) & (x < shape[1] - 1 + reach)
    )
    image = torch.zeros(n * shape[0] * shape[1], device=device, dtype=dtype)
    which, spot = torch.nonzero(seen.detach(), as_tuple=True)
    y, x, strength = y[which, spot], x[which, spot], spots.intensity[which, spot]
    half = int(np.ceil(reach))
    steps = torch.arange(-half, half + 1, device=device)
    rows = torch.round(y.detach()).long()[:, None] + steps
    columns = torch.round(x.detach()).long()[:, None] + steps
    wy = torch.exp(-0.5 * ((rows - y[:, None]) / psf_sigma) ** 2)
    wx = torch.exp(-0.5 * ((columns - x[:, None]) / psf_sigma) ** 2)
    # Normalised over the whole window, so a spot keeps its sum at any sub-pixel shift.
    wy = wy / wy.sum(1, keepdim=True) * ((rows >= 0) & (rows < shape[0]))
    wx = wx / wx.sum(1, keepdim=True) * ((columns >= 0) & (columns < shape[1]))
    values = strength[:, None, None] * wy[:, :, None] * wx[:, None, :]
    flat = (
        which[:, None, None] * (shape[0] * shape[1])
        + rows.clamp(0, shape[0] - 1)[:, :, None] * shape[1]
        + columns.clamp(0, shape[1] - 1)[:, None, :]
    )
    image = image.index_add(0, flat.reshape(-1), values.reshape(-1))
    return image.reshape(n, *shape)
