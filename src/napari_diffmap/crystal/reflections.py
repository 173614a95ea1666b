"""Reflections of a phase with their kinematic intensities for electrons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.errors import PhaseError

#: A reflection is absent below this share of what all atoms in phase would give.
ABSENT = 1e-8

#: Beyond this a library would not fit any machine; the user chose the wrong unit.
_MOST = 400_000


@dataclass(frozen=True, eq=False)
class Reflections:
    """Reflections of one phase, by rising length, then by h, k, l.

    Attributes
    ----------
    hkl
        ``(n, 3)`` int64 Miller indices.
    g
        ``(n, 3)`` float64 reciprocal vectors in the crystal Cartesian frame
        (e1 ∥ a, e3 ∥ c*), 1/Å without 2π.
    amplitude2
        ``(n,)`` kinematic |F|² in Å², Debye–Waller factors and occupancies in.
    """

    hkl: NDArray[np.int64]
    g: NDArray[np.float64]
    amplitude2: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.hkl)

    @property
    def lengths(self) -> NDArray[np.float64]:
        """|g| in 1/Å, ``(n,)``."""
        return np.asarray(np.linalg.norm(self.g, axis=1))


def scattering_factors(element: str, g: NDArray[np.float64]) -> NDArray[np.float64]:
    """Electron scattering factor of a neutral atom, first Born approximation.

    Parameters
    ----------
    element
        Element symbol.
    g
        Lengths of reciprocal vectors, 1/Å.

    Returns
    -------
    ndarray
        f(g) in Å.

    Notes
    -----
    Lobato & Van Dyck, *Acta Cryst.* A70 (2014) 636: the sum over five terms
    ``a (2 + b g²) / (1 + b g²)²``; the table is diffsims'.
    """
    from diffsims.utils.lobato_scattering_params import ATOMIC_SCATTERING_PARAMS_LOBATO

    table = ATOMIC_SCATTERING_PARAMS_LOBATO.get(element)
    if table is None:
        raise PhaseError(f"no electron scattering factor is known for {element!r}")
    a, b = np.asarray(table, dtype=np.float64).T
    x = np.asarray(g, dtype=np.float64)[..., None] ** 2 * b
    return np.asarray((a * (2 + x) / (1 + x) ** 2).sum(axis=-1))


def reflections(phase: CrystalPhase, g_max: float) -> Reflections:
    """All reflections of `phase` up to `g_max`, extinct ones left out.

    Parameters
    ----------
    phase
        The crystal.
    g_max
        Longest reciprocal vector, 1/Å.

    Raises
    ------
    PhaseError
        If `g_max` is not positive or would give more reflections than any
        pattern can hold.
    """
    return _reflections(phase, round(float(g_max), 9))


@lru_cache(maxsize=64)
def _reflections(phase: CrystalPhase, g_max: float) -> Reflections:
    if not g_max > 0:
        raise PhaseError(f"reflections up to {g_max:g} 1/Å: give a positive limit")
    expected = 4 / 3 * np.pi * g_max**3 * phase.volume
    if expected > _MOST:
        raise PhaseError(
            f"{phase.name} has {expected:.0f} reflections up to {g_max:g} 1/Å: give a smaller"
            " outer limit, or check the pixel size (1/Å per pixel)"
        )
    # |h| <= |a| g_max: the plane spacing bounds each index.
    reach = np.floor(np.linalg.norm(phase.base, axis=1) * g_max + 1e-9).astype(int)
    hkl = np.array(list(product(*(range(-n, n + 1) for n in reach))), dtype=np.int64)
    g = hkl @ phase.reciprocal
    lengths = np.linalg.norm(g, axis=1)
    inside = (lengths <= g_max) & np.any(hkl != 0, axis=1)
    hkl, g, lengths = hkl[inside], g[inside], lengths[inside]
    if not len(hkl):
        raise PhaseError(f"{phase.name} has no reflection below {g_max:g} 1/Å")
    amplitude2 = np.abs(structure_factors(phase, hkl)) ** 2
    in_phase2 = sum(np.abs(weight) for weight in _weights(phase, lengths)) ** 2
    present = amplitude2 > ABSENT * in_phase2
    if not present.any():
        raise PhaseError(f"{phase.name} has no reflection below {g_max:g} 1/Å")
    hkl, g, lengths = hkl[present], g[present], lengths[present]
    amplitude2 = amplitude2[present]
    order = np.lexsort((hkl[:, 2], hkl[:, 1], hkl[:, 0], np.round(lengths, 7)))
    return Reflections(hkl[order], g[order], amplitude2[order])


def structure_factors(phase: CrystalPhase, hkl: NDArray[np.int64]) -> NDArray[np.complex128]:
    """F = Σ occ f exp(−B g²/4) exp(2πi h·x) in Å.

    Parameters
    ----------
    phase
        The crystal.
    hkl
        ``(n, 3)`` Miller indices.
    """
    lengths = np.linalg.norm(hkl @ phase.reciprocal, axis=1)
    total = np.zeros(len(hkl), dtype=np.complex128)
    for i, weight in enumerate(_weights(phase, lengths)):
        total += weight * np.exp(2j * np.pi * (hkl @ phase.xyz[i]))
    return total


def _weights(phase: CrystalPhase, lengths: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Weights occ f exp(−B g²/4) of every atom."""
    factors = {e: scattering_factors(e, lengths) for e in dict.fromkeys(phase.elements)}
    for i, element in enumerate(phase.elements):
        damping = np.exp(-phase.b_iso[i] * lengths**2 / 4)
        yield phase.occupancy[i] * factors[element] * damping
