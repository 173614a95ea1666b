"""The template library of one phase: spots of every zone axis, spectra on demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.crystal.reflections import Reflections, reflections
from napari_diffmap.crystal.simulate import excitation_errors, rotation_matrices
from napari_diffmap.methods.orientation.polar import PolarGrid
from napari_diffmap.methods.orientation.zones import zone_axes, zone_neighbours, zone_rotations
from napari_diffmap.scan.calibration import electron_wavelength

#: Spots kept of a template, strongest first; a zone of a large cell has more.
_MOST_SPOTS = 128


@dataclass(frozen=True, eq=False)
class TemplateLibrary:
    """Templates of one phase.

    Attributes
    ----------
    phase, reflections
        The crystal and its reflections up to the outer limit.
    operators
        ``(m, 3, 3)`` proper rotations of the Laue group.
    zones, rotations
        ``(n, 3)`` zone axes and ``(n, 4)`` rotations that take z to them.
    neighbours
        ``(n, 6)`` nearest zones of each.
    q, theta, amplitude
        ``(n, s)`` spots of each zone; a height of 0 fills up.
    """

    phase: CrystalPhase
    reflections: Reflections
    operators: NDArray[np.float64]
    zones: NDArray[np.float64]
    rotations: NDArray[np.float64]
    neighbours: Tensor
    q: Tensor
    theta: Tensor
    amplitude: Tensor

    def __len__(self) -> int:
        return len(self.zones)


def build_library(
    phase: CrystalPhase,
    grid: PolarGrid,
    *,
    voltage_kv: float,
    sigma: float,
    zone_step_deg: float,
    intensity_power: float,
    device: torch.device | str = "cpu",
) -> TemplateLibrary:
    """Simulate every zone axis of a phase.

    Parameters
    ----------
    phase, grid
        What and on which polar grid.
    voltage_kv, sigma
        Voltage (kV) and width of the accepted excitation error (1/Å).
    zone_step_deg
        Distance of neighbouring zone axes, degrees.
    intensity_power
        Exponent of the simulated intensities.
    device
        Where the templates live.
    """
    found = reflections(phase, grid.q_max)
    symmetry = torch.as_tensor(phase.symmetry, dtype=torch.float64)
    operators = rotation_matrices(symmetry).numpy()
    zones = zone_axes(operators, zone_step_deg)
    rotations = zone_rotations(zones)
    wavelength = electron_wavelength(voltage_kv)
    heights = relative_heights(found, intensity_power)
    parts = [
        _spots(chunk, found, heights, grid, wavelength, sigma)
        for chunk in np.array_split(rotations, max(1, len(rotations) * len(found) // 2_000_000))
    ]
    width = max(part[0].shape[1] for part in parts)
    q, theta, amplitude = (
        torch.cat([_padded(part[i], width) for part in parts]).to(device) for i in range(3)
    )
    return TemplateLibrary(
        phase=phase,
        reflections=found,
        operators=operators,
        zones=zones,
        rotations=rotations,
        neighbours=torch.as_tensor(zone_neighbours(zones, operators), device=device),
        q=q,
        theta=theta,
        amplitude=amplitude,
    )


def relative_heights(found: Reflections, power: float) -> NDArray[np.float64]:
    """|F|² to a power, the strongest reflection 1, ``(n,)``."""
    return np.asarray((found.amplitude2 / found.amplitude2.max()) ** power)


def friedel_partners(found: Reflections) -> NDArray[np.int64]:
    """For each reflection g the place of −g in the list, ``(n,)``."""
    places = {tuple(hkl): i for i, hkl in enumerate(found.hkl.tolist())}
    return np.array([places[-h, -k, -m] for h, k, m in found.hkl.tolist()])


def _spots(
    rotations: NDArray[np.float64],
    found: Reflections,
    heights: NDArray[np.float64],
    grid: PolarGrid,
    wavelength: float,
    sigma: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Strongest spots of a few zones: radius, angle, height ``(n, s)``."""
    matrices = rotation_matrices(torch.as_tensor(rotations, dtype=torch.float32))
    k = torch.einsum("nji,mj->nmi", matrices, torch.as_tensor(found.g, dtype=torch.float32))
    s = excitation_errors(k, wavelength)
    weight = torch.as_tensor(heights, dtype=torch.float32) * torch.exp(-0.5 * (s / sigma) ** 2)
    q = torch.hypot(k[..., 0], k[..., 1])
    weight = torch.where((q >= grid.q_min) & (q <= grid.q_max), weight, 0.0)
    keep = min(_MOST_SPOTS, weight.shape[1])
    top, index = torch.topk(weight, keep, dim=1)
    top = torch.where(top > 0.01, top, 0.0)
    used = max(1, int((top > 0).sum(dim=1).max()))
    top, index = top[:, :used], index[:, :used]
    k = torch.gather(k[..., :2], 1, index[..., None].expand(-1, -1, 2))
    return torch.gather(q, 1, index), torch.atan2(k[..., 1], k[..., 0]), top


def _padded(values: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[1]))


def template_spectra(
    library: TemplateLibrary, part: slice, grid: PolarGrid, width: float
) -> Tensor:
    """Fourier terms over the angle of a part of the templates, each of unit norm.

    Parameters
    ----------
    library, part
        Which templates.
    grid
        The polar grid.
    width
        Gaussian width of a spot, 1/Å.

    Returns
    -------
    Tensor
        ``(frequencies, rings, 2 n)`` float32: real parts, then imaginary parts.
    """
    q, theta, height = library.q[part], library.theta[part], library.amplitude[part]
    radii = torch.as_tensor(grid.radii, dtype=q.dtype, device=q.device)
    f = torch.arange(grid.frequencies, dtype=q.dtype, device=q.device)
    rings = torch.exp(-0.5 * ((radii[None, :, None] - q[:, None, :]) / width) ** 2)
    rings = rings * height[:, None, :]  # (n, rings, s)
    spread = width / q.clamp_min(1e-3)
    damping = spread[..., None] * torch.exp(-0.5 * (f * spread[..., None]) ** 2)  # (n, s, f)
    angle = theta[..., None] * f
    real = torch.bmm(rings, damping * torch.cos(angle))
    imaginary = torch.bmm(rings, -damping * torch.sin(angle))
    # Parseval (terms 1 … count twice in a real signal), each ring weighted by its area:
    # the norm is that of the flat pattern.
    twice = torch.full((grid.frequencies,), 2.0, dtype=q.dtype, device=q.device)
    twice[0] = 1.0
    power = ((real**2 + imaginary**2) * twice).sum(dim=2)
    norm = torch.sqrt((power * radii).sum(dim=1))[:, None, None]
    scale = (radii[0] ** 0.5) / norm.clamp_min(1e-12)
    both = torch.cat((real * scale, imaginary * scale), dim=0)  # (2n, rings, f)
    return both.permute(2, 1, 0).contiguous()


def parts(library: TemplateLibrary, size: int) -> Iterator[slice]:
    """Slices that cover the library, `size` templates each."""
    for start in range(0, len(library), size):
        yield slice(start, min(start + size, len(library)))
