"""Bloch waves against abTEM's multislice: the same scattering, solved slice by slice.

What differs by construction: multislice has every Laue zone and each atom's potential in one
slice of 0.7–1 Å; here only the zeroth zone takes part.  In gold that matters most.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from orix.quaternion import Rotation

from napari_diffmap.crystal.bloch import BlochWaves, bloch_waves, dynamical_spots, potential
from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import excitation_errors

#: Twelve beams over thickness by ``benchmarks/peers/abtem_multislice.py`` (1.0.11), three tilts.
PEER = np.load(Path(__file__).parent / "abtem_multislice.npz")
VOLTAGE_KV = 200.0
#: Reflections that take part, 1/Å; those beyond change R by about 0.01 in LiNiO2.
G_MAX = 3.2


@cache
def crystal(name: str) -> CrystalPhase:
    if name != "GaAs":
        return load_phase(name)
    faces = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return replace(
        load_phase("Si"),
        name=name,
        base=5.6533 * np.eye(3),
        elements=("Ga",) * 4 + ("As",) * 4,
        xyz=np.concatenate((faces, faces + 0.25)),
        b_iso=np.full(8, 0.6),
    )


def peer(name: str, tilt: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thickness ``(t,)``, and intensities ``(t, m)`` of the diffracted beams."""
    return PEER[f"{name}-thickness"], PEER[f"{name}-intensity"][tilt, :, 1:]


def zone_waves(name: str, tilt: int, phase: CrystalPhase) -> tuple[BlochWaves, list[int]]:
    """All beams of the zeroth Laue zone, and which of them are the peer's."""
    found = reflections(phase, G_MAX)
    of = potential(phase, found, VOLTAGE_KV)
    along, turned = (found.g @ PEER[f"{name}-rotations"][i] for i in (0, tilt))
    zone = np.flatnonzero(np.abs(along[:, 2]) < 1e-6)
    errors = excitation_errors(torch.as_tensor(turned[zone]), of.wavelength)
    between = of.between(torch.as_tensor([*zone, len(found)]))
    between = between.to(torch.complex128 if between.is_complex() else torch.float64)
    place = {tuple(hkl): i for i, hkl in enumerate(found.hkl[zone].tolist())}
    wanted = [place[tuple(hkl)] for hkl in PEER[f"{name}-hkl"][1:].tolist()]
    return bloch_waves(between, errors, of.wavelength, 0.0), wanted


def behind(
    solved: tuple[BlochWaves, list[int]], thickness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intensities ``(t, m)`` as the peer's."""
    waves, wanted = solved
    return waves.intensities(torch.as_tensor(thickness)).numpy()[:, wanted]


def residual(got: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """R = Σ|I − I₀| / Σ I₀ over beams and thicknesses."""
    return float(np.abs(got - expected).sum() / expected.sum())


#: R reached: 0.026, 0.020, 0.009 in LiNiO2; 0.088, 0.054, 0.035 in gold, which falls to
#: 0.032, 0.022, 0.054 where all Laue zones take part (2000 beams).
@pytest.mark.parametrize("tilt", [0, 1, 2])
@pytest.mark.parametrize(("name", "bound"), [("LiNiO2", 0.035), ("Au", 0.11)])
def test_beams_over_thickness_are_those_of_multislice(name: str, bound: float, tilt: int) -> None:
    """Twelve beams to 400 Å, on a zone axis and up to 1° off it."""
    thickness, expected = peer(name, tilt)
    assert expected.max() > 0.1  # far from kinematic
    got = behind(zone_waves(name, tilt, crystal(name)), thickness)
    assert residual(got, expected) < bound


@pytest.mark.parametrize("tilt", [0, 1, 2])
def test_a_crystal_without_centre_of_inversion(tilt: int) -> None:
    """GaAs along [110]: (002) and (00-2) differ.  Inside out R is 0.47, 0.55, 0.21."""
    thickness, expected = peer("GaAs", tilt)
    got = behind(zone_waves("GaAs", tilt, crystal("GaAs")), thickness)
    assert residual(got, expected) < 0.05


@pytest.mark.parametrize("tilt", [0, 1, 2])
@pytest.mark.parametrize("name", ["LiNiO2", "Au"])
def test_pendelloesung_periods_are_those_of_multislice(name: str, tilt: int) -> None:
    """The thickness that fits best is the true one, to a percent.

    A percent of potential is a percent of the period; the relativistic mass is 1.39 times.
    The far Laue zones, which are left out here, lengthen periods on the axis by half a percent.
    """
    thickness, expected = peer(name, tilt)
    solved = zone_waves(name, tilt, crystal(name))
    factors = np.linspace(0.94, 1.06, 61)
    misfit = [residual(behind(solved, thickness * factor), expected) for factor in factors]
    assert factors[np.argmin(misfit)] == pytest.approx(1, abs=0.01)
    assert min(misfit) < 0.04
    assert min(misfit[0], misfit[-1]) > 0.1


def test_another_tilt_or_motion_is_told_apart() -> None:
    """What the bounds above would let pass: none of these."""
    name, phase = "LiNiO2", crystal("LiNiO2")
    still = replace(phase, b_iso=np.zeros_like(phase.b_iso))
    thickness, expected = peer(name, 2)
    for tilt, wrong in ((1, phase), (2, still)):
        assert residual(behind(zone_waves(name, tilt, wrong), thickness), expected) > 0.15


@pytest.mark.parametrize("tilt", [0, 2])
def test_spots_of_a_batch_come_near_with_more_beams(tilt: int) -> None:
    """`dynamical_spots` chooses its beams itself, from all Laue zones."""
    name, every = "LiNiO2", slice(4, None, 8)
    thickness, expected = (values[every] for values in peer(name, tilt))
    rotation = PEER[f"{name}-rotations"][tilt]
    quaternions = torch.as_tensor(np.asarray(Rotation.from_matrix(rotation).data))
    at = PEER[f"{name}-hkl"][1:] @ crystal(name).reciprocal @ rotation
    misfit = []
    for g_max, beams in ((1.6, 60), (2.6, 300), (G_MAX, 500)):
        found = reflections(crystal(name), g_max)
        of = potential(crystal(name), found, VOLTAGE_KV)
        got = dynamical_spots(
            of,
            found,
            quaternions.expand(len(thickness), 4),
            torch.as_tensor(thickness),
            beams=beams,
            absorption=0.0,
        )
        errors = excitation_errors(torch.as_tensor(at), of.wavelength).numpy()
        gap = (
            np.abs(got.kx[0].numpy()[:, None] - at[:, 0])
            + np.abs(got.ky[0].numpy()[:, None] - at[:, 1])
            + np.abs(got.excitation[0].numpy()[:, None] - errors)
        )
        assert gap.min(axis=0).max() < 1e-5
        misfit.append(residual(got.intensity.numpy()[:, gap.argmin(axis=0)], expected))
    assert misfit[0] > misfit[1] > misfit[2]
    assert misfit[2] < 0.05
