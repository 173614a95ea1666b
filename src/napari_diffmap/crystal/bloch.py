"""Dynamical intensities of many orientations at once, by Bloch waves (torch).

De Graef, *Introduction to Conventional Transmission Electron Microscopy* (2003),
ch. 5: for N beams the structure matrix holds ``A_gg = 2 k₀ s_g`` and ``A_gh = U_{g−h}``;
with its eigenvalues λ_j and eigenvectors C the wave behind a foil of thickness t is
``ψ_g = Σ_j C_gj exp(iπ λ_j t / k₀) C*_0j``.  Absorption is a share κ of the potential and
enters to first order, ``λ_j → λ_j + iκ ⟨C_j| U |C_j⟩`` (Humphreys, *Rep. Prog. Phys.* 42
(1979) 1825); what all waves lose alike is left out, as it changes no ratio of beams.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.crystal.reflections import Reflections, structure_factors
from napari_diffmap.crystal.simulate import Spots, excitation_errors, rotation_matrices
from napari_diffmap.scan.calibration import electron_wavelength

#: m₀c² in keV.
REST_KEV = 510.99895
#: Imaginary over real part of the potential; 0.02 (light) to 0.1 (heavy) at 200 kV.
ABSORPTION = 0.05


@dataclass(frozen=True, eq=False)
class Potential:
    """Fourier coefficients of the potential of one phase at one voltage.

    Attributes
    ----------
    hkl
        ``(n + 1, 3)`` indices of the reflections; the direct beam is the last.
    strength
        ``(n + 1,)`` |U_g| in 1/Å².
    wavelength
        Å, relativistic.
    """

    hkl: Tensor
    strength: Tensor
    wavelength: float
    _table: Tensor
    _place: Tensor
    _middle: int

    def between(self, numbers: Tensor) -> Tensor:
        """U_{g−h} of all pairs of beams, ``(…, m, m)``, the diagonal 0; `numbers` ``(…, m)``."""
        place = self._place[numbers]
        return self._table[place[..., :, None] - place[..., None, :] + self._middle]


def potential_scale(phase: CrystalPhase, voltage_kv: float) -> float:
    """U_g over F_g in 1/Å³, relativistic mass in: ``γ / (π V)``; 1/ξ_g is λ |U_g|."""
    return (1 + voltage_kv / REST_KEV) / (np.pi * phase.volume)


def potential(
    phase: CrystalPhase,
    found: Reflections,
    voltage_kv: float,
    device: torch.device | str = "cpu",
) -> Potential:
    """Fourier coefficients between all pairs of reflections.

    Parameters
    ----------
    phase, found
        The crystal and its reflections.
    voltage_kv
        Accelerating voltage, kV.
    device
        Where it is used.
    """
    # Differences of listed reflections lie within the table, so that one number is a place.
    reach = 2 * np.abs(found.hkl).max(axis=0)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1)
    factor = potential_scale(phase, voltage_kv)
    # V(r) = Σ U_g exp(2πi g·r): its coefficients are the conjugates of structure factors, which
    # are summed with exp(+2πi g·r).  With a centre of inversion both are real.
    table = structure_factors(phase, grid.reshape(-1, 3)).conj() * factor
    table[len(table) // 2] = 0
    width = 2 * reach + 1
    if np.abs(table.imag).max() < 1e-6 * np.abs(table).max():
        values = torch.as_tensor(table.real, dtype=torch.float32)
    else:
        values = torch.as_tensor(table, dtype=torch.complex64)
    strength = np.append(np.sqrt(found.amplitude2) * factor, 0.0)
    hkl = np.concatenate((found.hkl, np.zeros((1, 3), dtype=np.int64)))
    return Potential(
        hkl=torch.as_tensor(hkl, device=device),
        strength=torch.as_tensor(strength, dtype=torch.float32, device=device),
        wavelength=electron_wavelength(voltage_kv),
        _table=values.to(device),
        _place=torch.as_tensor(
            (hkl[:, 0] * width[1] + hkl[:, 1]) * width[2] + hkl[:, 2],
            dtype=torch.int32,
            device=device,
        ),
        _middle=len(table) // 2,
    )


def strongest_beams(of: Potential, numbers: Tensor, excitation: Tensor, most: int) -> Tensor:
    """Beams that matter most: those of the largest ``|U_g| / (|U_g| + 2 k₀ |s_g|)``.

    Parameters
    ----------
    of
        The potential.
    numbers, excitation
        ``(…, n)`` reflections and their excitation errors, 1/Å.
    most
        Beams kept.

    Returns
    -------
    Tensor
        ``(…, m)`` places among the n.
    """
    strength = of.strength[numbers].to(excitation.dtype)
    mixing = strength / (strength + 2 / of.wavelength * excitation.abs() + 1e-12)
    return mixing.topk(min(most, numbers.shape[-1]), dim=-1).indices


@dataclass(frozen=True, eq=False)
class BlochWaves:
    """Solutions for a batch of orientations.

    Attributes
    ----------
    phase_per_length
        ``(…, m + 1)`` π λ_j / k₀, radians per Å.
    fade_per_length
        ``(…, m + 1)`` amplitude lost per Å beyond the mean.
    waves
        ``(…, m + 1, m + 1)`` eigenvectors, a column each; the direct beam is the last row.
    """

    phase_per_length: Tensor
    fade_per_length: Tensor
    waves: Tensor

    def intensities(self, thickness: Tensor) -> Tensor:
        """Of the diffracted beams behind foils ``(…, t)`` Å thick: ``(…, t, m)``, incident 1."""
        fade = torch.exp(-self.fade_per_length[..., None, :] * thickness[..., None])
        turn = self.phase_per_length[..., None, :] * thickness[..., None]
        start = self.waves[..., -1:, :].conj()
        if self.waves.is_complex():
            wave = start * fade * torch.polar(torch.ones_like(turn), turn)
            behind = wave @ self.waves[..., :-1, :].transpose(-1, -2)
            return behind.real**2 + behind.imag**2
        beams = self.waves[..., :-1, :].transpose(-1, -2)
        even = (start * fade * torch.cos(turn)) @ beams
        odd = (start * fade * torch.sin(turn)) @ beams
        return even**2 + odd**2


def bloch_waves(of: Tensor, excitation: Tensor, wavelength: float, absorption: float) -> BlochWaves:
    """Solve the structure matrix of each of a batch of orientations.

    Parameters
    ----------
    of
        ``(…, m + 1, m + 1)`` coefficients between the beams, the direct one last; from
        `Potential.between`.
    excitation
        ``(…, m)`` excitation errors of the diffracted beams, 1/Å.
    wavelength
        Å.
    absorption
        Imaginary over real part of the potential.
    """
    diagonal = torch.nn.functional.pad(excitation * (2 / wavelength), (0, 1))
    diagonal = diagonal.to(of.real.dtype)
    values, waves = torch.linalg.eigh(of + torch.diag_embed(diagonal).to(of.dtype))
    weight = waves.real**2 + waves.imag**2 if waves.is_complex() else waves**2
    # ⟨C_j| U |C_j⟩ is the eigenvalue without what the excitation errors give to it.
    inner = values - (weight * diagonal[..., None]).sum(-2)
    scale = float(np.pi * wavelength)
    return BlochWaves(scale * values, scale * absorption * inner, waves)


def dynamical_spots(
    of: Potential,
    found: Reflections,
    rotations: Tensor,
    thickness: Tensor,
    *,
    beams: int = 40,
    absorption: float = ABSORPTION,
) -> Spots:
    """Spots of a batch of orientations, each behind foils of its own thicknesses.

    Parameters
    ----------
    of, found
        The potential and the reflections it was made of.
    rotations
        ``(n, 4)`` unit quaternions, laboratory → crystal.
    thickness
        ``(n,)`` Å, or ``(n, t)``: further ones cost next to nothing.
    beams
        Diffracted beams that take part in each.
    absorption
        Imaginary over real part of the potential.

    Returns
    -------
    Spots
        ``(n, m)`` of the beams that take part; intensities relative to the incident beam,
        ``(n, t, m)`` for several thicknesses.
    """
    g = torch.as_tensor(found.g, dtype=rotations.dtype, device=rotations.device)
    k = torch.matmul(g, rotation_matrices(rotations))
    errors = excitation_errors(k, of.wavelength)
    every = torch.arange(len(found), device=k.device).expand(errors.shape)
    chosen = strongest_beams(of, every, errors, beams)
    direct = torch.full_like(chosen[:, :1], len(found))
    s = errors.gather(1, chosen)
    between = of.between(torch.cat((chosen, direct), 1))
    if s.dtype == torch.float64:
        between = between.to(torch.complex128 if between.is_complex() else s.dtype)
    waves = bloch_waves(between, s, of.wavelength, absorption)
    k = k.gather(1, chosen[..., None].expand(-1, -1, 3))
    several = thickness.dim() == 2
    intensity = waves.intensities(thickness if several else thickness[:, None])
    return Spots(k[..., 0], k[..., 1], s, intensity if several else intensity[:, 0])
