"""Dynamical spot intensities by the Bloch-wave method, to test kinematic matching honestly.

De Graef, *Introduction to Conventional Transmission Electron Microscopy* (2003),
ch. 5: A_gg = 2 k0 s_g, A_gh = U_{g-h}; psi(t) = C exp(i pi L t / k0) C^-1 psi(0).
No absorption; zero-order Laue zone and higher ones alike.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.crystal.reflections import reflections, scattering_factors
from napari_diffmap.crystal.simulate import rotation_matrices
from napari_diffmap.methods.orientation.odds import REST_KEV
from napari_diffmap.scan.calibration import electron_wavelength


def structure_factors(phase: CrystalPhase, hkl: NDArray[np.int64]) -> NDArray[np.complex128]:
    """Complex F(hkl) in Å, displacement factors and occupancies in."""
    length = np.linalg.norm(hkl @ phase.reciprocal, axis=-1)
    total = np.zeros(hkl.shape[:-1], dtype=np.complex128)
    for i, element in enumerate(phase.elements):
        f = scattering_factors(element, length) * np.exp(-phase.b_iso[i] * length**2 / 4)
        total += phase.occupancy[i] * f * np.exp(2j * np.pi * (hkl @ phase.xyz[i]))
    return total


def bloch_spots(
    phase: CrystalPhase,
    rotations: NDArray[np.float64],
    thickness: NDArray[np.float64],
    voltage_kv: float,
    q_max: float,
    *,
    s_max: float = 0.1,
    most_beams: int = 120,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """kx, ky (1/Å) and intensity (share of the incident beam) of every orientation.

    `thickness` in Å, one a rotation.
    """
    k0 = 1 / electron_wavelength(voltage_kv)
    found = reflections(phase, q_max)
    reach = np.ceil(np.linalg.norm(phase.base, axis=1) * 2 * q_max).astype(int) + 1
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), -1)
    potential = structure_factors(phase, grid) * (1 + voltage_kv / REST_KEV)
    potential /= np.pi * phase.volume
    relative = (found.amplitude2 / found.amplitude2.max()) ** 0.25
    result = []
    matrices = rotation_matrices(torch.as_tensor(rotations)).numpy()
    for matrix, t in zip(matrices, thickness, strict=True):
        k = found.g @ matrix
        s = -(2 * k0 * k[:, 2] + (k**2).sum(1)) / (2 * (k0 + k[:, 2]))
        near = np.flatnonzero(np.abs(s) < s_max)
        near = near[np.argsort(np.abs(s[near]) / relative[near])][:most_beams]
        hkl = np.concatenate((np.zeros((1, 3), dtype=np.int64), found.hkl[near]))
        gaps = hkl[:, None] - hkl[None] + reach
        inside = np.all((gaps >= 0) & (gaps <= 2 * reach), axis=-1)
        gaps = np.where(inside[..., None], gaps, reach)
        matrix_a = np.where(inside, potential[gaps[..., 0], gaps[..., 1], gaps[..., 2]], 0)
        np.fill_diagonal(matrix_a, 2 * k0 * np.concatenate(([0.0], s[near])))
        values, vectors = np.linalg.eigh((matrix_a + matrix_a.conj().T) / 2)
        wave = vectors @ (np.exp(1j * np.pi * values / k0 * t) * vectors[0].conj())
        result.append((k[near, 0], k[near, 1], np.abs(wave[1:]) ** 2))
    return result
