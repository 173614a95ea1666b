"""Bloch waves against py4DSTEM's, against two beams by hand, and against what must be kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.crystal.bloch import (
    bloch_waves,
    dynamical_spots,
    potential,
    strongest_beams,
)
from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.scan.calibration import electron_wavelength

#: Spot lists by ``benchmarks/peers/py4dstem_patterns.py`` (0.14.18), of twelve patterns each.
PEER = Path(__file__).parent / "py4dstem_bloch.npz"
WAVELENGTH = electron_wavelength(200.0)


def random_rotations(n: int, seed: int) -> torch.Tensor:
    q = np.random.default_rng(seed).normal(size=(n, 4))
    return torch.as_tensor(q / np.linalg.norm(q, axis=1, keepdims=True), dtype=torch.float32)


@pytest.mark.parametrize(("name", "residual"), [("LiNiO2", 0.04), ("NiO", 0.04), ("Au", 0.08)])
def test_intensities_are_those_of_py4dstem(name: str, residual: float) -> None:
    """Ratios of beams; scattering factors and absorption (Weickenmayer & Kohl) are others."""
    peer, phase = np.load(PEER), load_phase(name)
    found = reflections(phase, 1.6)
    rotations = torch.as_tensor(peer[f"{name}-rotations"], dtype=torch.float32)
    thickness = torch.as_tensor(peer[f"{name}-thickness"], dtype=torch.float32)
    ours = dynamical_spots(potential(phase, found, 200.0), found, rotations, thickness, beams=60)
    apart = []
    for i in range(len(rotations)):
        here = peer[f"{name}-pattern"] == i
        kx, ky, theirs = (peer[f"{name}-{key}"][here] for key in ("kx", "ky", "intensity"))
        gap = np.hypot(ours.kx[i].numpy()[:, None] - kx, ours.ky[i].numpy()[:, None] - ky)
        same, shared = gap.argmin(axis=1), gap.min(axis=1) < 2e-3
        assert theirs[same[shared]].sum() > 0.98 * theirs.sum()
        a, b = ours.intensity[i].numpy()[shared], theirs[same[shared]]
        apart.append(0.5 * np.abs(a / a.sum() - b / b.sum()).sum())
    assert np.median(apart) < residual


@given(
    extinction=st.floats(100, 2000),
    excitation=st.floats(-0.02, 0.02),
    thickness=st.floats(1, 2000),
)
@settings(deadline=None)
def test_two_beams_by_hand(extinction: float, excitation: float, thickness: float) -> None:
    """Hirsch et al. (1965): I = sin²(π t √(s² + ξ⁻²)) / (1 + s² ξ²), with U = 1 / (λ ξ)."""
    u = 1 / (WAVELENGTH * extinction)
    between = torch.tensor([[0.0, u], [u, 0.0]], dtype=torch.float64)
    s = torch.tensor([excitation], dtype=torch.float64)
    waves = bloch_waves(between, s, WAVELENGTH, 0.0)
    got = waves.intensities(torch.tensor([thickness], dtype=torch.float64))
    effective = np.sqrt(excitation**2 + extinction**-2.0)
    expected = np.sin(np.pi * thickness * effective) ** 2 / (effective * extinction) ** 2
    assert float(got) == pytest.approx(expected, abs=1e-7)


def test_thin_foils_scatter_kinematically() -> None:
    """I → (π t / ξ)² as t → 0, for every beam."""
    found = reflections(load_phase("NiO"), 1.2)
    of = potential(load_phase("NiO"), found, 200.0)
    numbers = torch.arange(30)
    between = of.between(torch.cat((numbers, torch.tensor([len(found)])))).double()
    waves = bloch_waves(between, torch.zeros(30, dtype=torch.float64), WAVELENGTH, 0.0)
    got = waves.intensities(torch.tensor([0.5], dtype=torch.float64))[0]
    expected = (np.pi * 0.5 * WAVELENGTH * of.strength[:30].double()) ** 2
    torch.testing.assert_close(got, expected, rtol=0.01, atol=1e-9)


@pytest.mark.parametrize("name", ["LiNiO2", "WS2"])
def test_nothing_is_lost_without_absorption_and_something_with_it(name: str) -> None:
    found = reflections(load_phase(name), 1.2)
    of = potential(load_phase(name), found, 200.0)
    chosen = torch.arange(50)
    between = of.between(torch.cat((chosen, torch.tensor([len(found)])))).double()
    s = torch.as_tensor(np.random.default_rng(0).normal(0, 0.01, 50))
    thickness = torch.tensor([100.0, 400.0, 900.0], dtype=torch.float64)
    kept = bloch_waves(between, s, WAVELENGTH, 0.0)
    start = kept.waves[-1]
    torch.testing.assert_close((start**2).sum(), torch.tensor(1.0, dtype=torch.float64))
    diffracted = kept.intensities(thickness).sum(-1)
    assert ((diffracted > 0) & (diffracted < 1)).all()
    direct = (torch.polar(start**2, kept.phase_per_length * thickness[:, None])).sum(-1).abs() ** 2
    torch.testing.assert_close(direct + diffracted, torch.ones(3, dtype=torch.float64))


def test_where_the_origin_lies_changes_no_intensity() -> None:
    """Away from a centre of inversion the coefficients are complex; the pattern is the same."""
    from dataclasses import replace

    phase = load_phase("NiO")
    moved = replace(phase, xyz=phase.xyz + np.array([0.11, 0.23, 0.07]))
    q, thickness = random_rotations(6, 3), torch.linspace(100, 600, 6)
    patterns = []
    for crystal in (phase, moved):
        found = reflections(crystal, 1.2)
        of = potential(crystal, found, 200.0)
        assert of.between(torch.tensor([0, 1])).is_complex() == (crystal is moved)
        patterns.append(dynamical_spots(of, found, q, thickness, beams=30).intensity)
    torch.testing.assert_close(patterns[1], patterns[0], rtol=1e-3, atol=1e-5)


def test_beams_that_matter_come_first() -> None:
    """Strong ones at the Bragg condition; more beams change the strong spots little."""
    phase = load_phase("LiNiO2")
    found = reflections(phase, 1.5)
    of = potential(phase, found, 200.0)
    numbers = torch.arange(len(found))
    s = torch.full((len(found),), 0.05)
    s[7] = 0.0
    assert int(strongest_beams(of, numbers, s, 3)[0]) == 7
    q, thickness = random_rotations(20, 5), torch.full((20,), 300.0)
    few, many = (dynamical_spots(of, found, q, thickness, beams=n) for n in (30, 90))
    gap = torch.hypot(few.kx[:, :, None] - many.kx[:, None], few.ky[:, :, None] - many.ky[:, None])
    matched = many.intensity.gather(1, gap.argmin(2))
    off = (few.intensity - matched).abs().sum(1) / matched.sum(1)
    assert float(off.median()) < 0.03


def test_intensity_is_differentiable_in_the_orientation() -> None:
    phase = load_phase("NiO")
    found = reflections(phase, 1.0)
    of = potential(phase, found, 200.0)
    q = random_rotations(1, 9).double().requires_grad_()

    def strongest(rotations: torch.Tensor) -> torch.Tensor:
        thickness = torch.tensor([200.0], dtype=torch.float64)
        return dynamical_spots(of, found, rotations, thickness, beams=20).intensity.amax()

    strongest(q).backward()
    step = 1e-4 * torch.tensor([[0.3, -0.5, 0.2, 0.4]], dtype=torch.float64)
    ahead, behind = (float(strongest(q.detach() + sign * step)) for sign in (1, -1))
    assert q.grad is not None
    assert float((q.grad * step).sum()) == pytest.approx((ahead - behind) / 2, rel=0.05, abs=1e-6)
