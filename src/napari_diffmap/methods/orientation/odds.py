"""What one predicted reflection says: its odds, and its mean intensity.

Where an orientation predicts a reflection of mean intensity μ (in units of the
noise there) and z is measured, ``ln p(z | μ) − ln p(z | no reflection)`` are the
log odds of the reflection.  One that is predicted and seen adds, one that is
missing takes away, and a faint one counts for what it is worth.

The mean intensity is that of two-beam dynamical theory averaged over thickness,
``I = 1 / (2 ξ²) / (s² + 1/ξ² + s₀²)``, with the extinction distance ξ, the
excitation error s and ``s₀ = 1 / (π √(2 ⟨t²⟩))`` (Hirsch et al., *Electron
Microscopy of Thin Crystals*, 1965, ch. 8): saturated for strong reflections near
the Bragg condition, ∝ |F|² / s² far from it, ∝ |F|² t² for thin crystals.  What
many-beam interference and the thickness do to a single reflection is a spread
about that mean, taken as a gamma law.  A small share of places may show a spot of
unknown origin, so that a single one never decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.crystal.bloch import potential_scale
from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.crystal.reflections import Reflections
from napari_diffmap.methods.registration.significance import root_deviance
from napari_diffmap.scan.calibration import electron_wavelength

#: Shape of the gamma law of dynamical intensities about their mean.
DYNAMICAL_SHAPE = 0.7
#: Share of reflections that scatter as widely whatever the law of the others.
_STRANGE = 0.1
#: Share of places with a spot of unknown origin, and the range (ln) of its height.
_STRAY, _STRAY_RANGE = 1e-3, 6.0

#: The table: background counts under a spot e (ln, even), significance z in even steps
#: of asinh(z / 2), and ln μ in even steps.
_E_STEP, _E_FIRST, _E_COUNT = 1.5, -7.5, 11
_Z_STEP, _Z_FIRST, _Z_COUNT = 0.08, -18, 120
MU_STEP, MU_FIRST, MU_COUNT = 0.05, -4.2, 340
ROWS = _E_COUNT * _Z_COUNT


@lru_cache(maxsize=8)
def log_odds_table(shape: float) -> Tensor:
    """Log odds of a reflection, ``(e, z, ln μ)`` float32; rows by `row_of`.

    Parameters
    ----------
    shape
        Of the gamma law of intensities about their mean.
    """
    z = 2 * torch.sinh(_Z_STEP * (torch.arange(_Z_COUNT, dtype=torch.float64) + _Z_FIRST))
    u = torch.linspace(-14.0, 3.0, 171, dtype=torch.float64)  # ln of intensity over mean
    weight = torch.softmax(shape * (u - torch.exp(u)), 0)
    if shape != DYNAMICAL_SHAPE:
        wide = torch.softmax(DYNAMICAL_SHAPE * (u - torch.exp(u)), 0)
        weight = (1 - _STRANGE) * weight + _STRANGE * wide
    half = 0.5 * np.log(2 * np.pi)
    absent = -0.5 * z**2 - half
    strays = np.log(_STRAY / _STRAY_RANGE) - torch.log(z.clamp_min(1.0))
    strays = torch.where(z > 1, strays, -60.0)
    none = torch.logaddexp(absent + np.log1p(-_STRAY), strays)[:, None]
    # Heights depend on ln μ + u only, which lie on one grid: u in every second of its steps.
    finer = round(float(u[1] - u[0]) / MU_STEP)
    steps = torch.arange(MU_COUNT + finer * (len(u) - 1), dtype=torch.float64)
    height = torch.exp(MU_FIRST + float(u[0]) + MU_STEP * steps)
    table = torch.empty(_E_COUNT, _Z_COUNT, MU_COUNT)
    for i in range(_E_COUNT):
        e = np.exp(_E_FIRST + _E_STEP * i)
        counts = e + height * np.sqrt(e)
        place = root_deviance(height, torch.tensor(e, dtype=torch.float64))
        # How the counts of the reflection itself scatter, and the steps of u smeared.
        slope = torch.log(counts / e) / place.clamp_min(1e-6)
        variance = (slope**2 * counts).clamp_min(1.0)
        variance = variance + (0.1 * slope * height * np.sqrt(e)) ** 2
        each = torch.exp(-0.5 * (z[:, None] - place) ** 2 / variance) * torch.rsqrt(variance)
        present = each.unfold(1, finer * (len(u) - 1) + 1, 1)[..., ::finer] @ weight
        present = torch.log(present.clamp_min(1e-37)) - half
        table[i] = torch.logaddexp(present, strays[:, None]) - none
    return table


def row_of(z: Tensor, background: Tensor) -> Tensor:
    """Row of the table, ``(e · z)`` flat, for significances and backgrounds, int64."""
    row = torch.round(torch.asinh(0.5 * z) / _Z_STEP) - _Z_FIRST
    level = torch.round((torch.log(background.clamp(1e-8, 1e8)) - _E_FIRST) / _E_STEP)
    level = level.clamp(0, _E_COUNT - 1)
    return (level * _Z_COUNT + row.clamp(0, _Z_COUNT - 1)).long()


@dataclass(frozen=True, eq=False)
class Rocking:
    """Mean intensities ``exp(height − narrow s²) / (s² + width2)`` of reflections.

    Attributes
    ----------
    g
        ``(n, 3)`` crystal Cartesian, 1/Å.
    height
        ``(n,)`` ln of 1 / (2 ξ²).
    width2
        ``(n,)`` 1/ξ² + s₀² and what precession adds, 1/Å²; 1 in the kinematic model.
    narrow
        ``(n,)`` 1 / (2 σ²) of the kinematic model, Å²; 0 in the dynamical one.
    """

    g: Tensor
    height: Tensor
    width2: Tensor
    narrow: Tensor

    def mean(self, excitation: Tensor) -> Tensor:
        """Logarithm of the mean intensity at excitation errors ``(…, n)`` (1/Å)."""
        s2 = excitation * excitation
        return self.height - torch.log(s2 + self.width2) - self.narrow * s2


@dataclass(frozen=True)
class IntensityModel:
    """How mean intensities follow the tilt; the same for all phases.

    Attributes
    ----------
    sigma
        Gaussian width of the accepted excitation error (1/Å) of the kinematic model;
        None for the dynamical one.
    thickness
        Root mean square thickness of the crystals, Å; used by the dynamical model.
    power
        Power of |F|² that intensities follow; used by the kinematic model.
    shape
        Of the gamma law of intensities about their mean: 1 / shape is their variance
        relative to the mean squared.
    """

    sigma: float | None = None
    thickness: float = 350.0
    power: float = 0.7
    shape: float = DYNAMICAL_SHAPE

    def __str__(self) -> str:
        if self.sigma is None:
            return f"dynamical, {self.thickness / 10:g} nm"
        return (
            f"kinematic, {self.sigma:g} 1/Å, |F|^{2 * self.power:g}, spread {self.shape**-0.5:.2g}"
        )


def rocking(
    phase: CrystalPhase,
    found: Reflections,
    model: IntensityModel,
    voltage_kv: float,
    precession_deg: float,
    device: torch.device,
) -> Rocking:
    """Mean intensities of the reflections of a phase.

    Parameters
    ----------
    phase, found
        The crystal and its reflections.
    model
        Dynamical or kinematic.
    voltage_kv
        Accelerating voltage, kV.
    precession_deg
        Precession angle, degrees; it widens what is accepted.
    device
        Where it is computed.
    """
    swing2 = 0.5 * (np.linalg.norm(found.g, axis=1) * np.sin(np.deg2rad(precession_deg))) ** 2
    if model.sigma is not None:
        relative = np.maximum(found.amplitude2 / found.amplitude2.max(), 1e-30)
        height = model.power * np.log(relative)
        width2 = np.ones_like(swing2)
        narrow = 0.5 / (model.sigma**2 + swing2)
    else:
        potential = np.sqrt(found.amplitude2) * potential_scale(phase, voltage_kv)
        inverse2 = (electron_wavelength(voltage_kv) * potential) ** 2  # 1/ξ²
        height = np.log(np.maximum(0.5 * inverse2, 1e-30))
        width2 = inverse2 + 1 / (2 * (np.pi * model.thickness) ** 2) + swing2
        narrow = np.zeros_like(swing2)
    values = (found.g, height, width2, narrow)
    return Rocking(*(torch.as_tensor(v, dtype=torch.float32, device=device) for v in values))
