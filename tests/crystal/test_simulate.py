"""Frame and signs of the simulator against orix and diffsims; gradients; drawn spots."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.quaternion import Rotation
from orix.vector import Vector3d

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import render, rotation_matrices, spots
from napari_diffmap.scan.calibration import electron_wavelength


@pytest.fixture(scope="module")
def nickelate():
    return reflections(load_phase("LiNiO2"), 1.3)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_spot_of_g_lies_at_the_transposed_orientation(seed, nickelate):
    """DESIGN: (kx, ky) = (Oᵀ g)_{x, y}, with orix doing the turning."""
    rotation = Rotation(np.random.default_rng(seed).normal(size=(1, 4))).unit
    found = spots(nickelate, rotation.data, 200.0, dtype=torch.float64)
    turned = (~rotation * Vector3d(nickelate.g)).data
    np.testing.assert_allclose(found.kx[0], turned[:, 0], atol=1e-12)
    np.testing.assert_allclose(found.ky[0], turned[:, 1], atol=1e-12)


def test_against_diffsims_whose_frame_is_turned_about_x():
    """diffsims looks against the beam: its y is up and its z out of the page.

    Turning by 180° about x takes one frame into the other; then the same spots
    are excited at the same places.
    """
    from diffsims.generators.simulation_generator import SimulationGenerator

    phase = load_phase("Al")
    ours = reflections(phase, 1.4)
    rng = np.random.default_rng(3)
    generator = SimulationGenerator(accelerating_voltage=200, minimum_intensity=1e-6)
    half_turn = Rotation.from_axes_angles([1, 0, 0], np.pi)
    for _ in range(6):
        rotation = Rotation(rng.normal(size=(1, 4))).unit
        simulation = generator.calculate_diffraction2d(
            phase.orix,
            rotation=rotation,
            reciprocal_radius=1.4,
            max_excitation_error=0.02,
            with_direct_beam=False,
        )
        theirs = {
            tuple(np.rint(m).astype(int)): xyz
            for m, xyz in zip(simulation.coordinates.hkl, simulation.coordinates.data, strict=True)
        }
        found = spots(ours, (rotation * ~half_turn).data, 200.0, dtype=torch.float64)
        where = {tuple(m): i for i, m in enumerate(ours.hkl)}
        error = found.excitation[0].numpy()
        surely = {tuple(m) for m, s in zip(ours.hkl, error, strict=True) if abs(s) < 0.0195}
        perhaps = {tuple(m) for m, s in zip(ours.hkl, error, strict=True) if abs(s) < 0.0205}
        assert surely <= set(theirs) <= perhaps
        for m, (x, y, _) in theirs.items():
            i = where[m]
            np.testing.assert_allclose([found.kx[0, i], -found.ky[0, i]], [x, y], atol=1e-6)


def test_turning_the_crystal_about_the_beam_turns_the_pattern(nickelate):
    """A crystal turned by +a about z (x towards y) moves each spot by +a (x towards y)."""
    angle = np.deg2rad(25)
    turn = Rotation.from_axes_angles([0, 0, 1], angle)
    start = Rotation(np.random.default_rng(0).normal(size=(1, 4))).unit
    # O takes laboratory to crystal: turning the crystal by T gives O T⁻¹.
    turned = start * ~turn
    a = spots(nickelate, start.data, 200.0, dtype=torch.float64)
    b = spots(nickelate, turned.data, 200.0, dtype=torch.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    np.testing.assert_allclose(b.kx, cos * a.kx - sin * a.ky, atol=1e-12)
    np.testing.assert_allclose(b.ky, sin * a.kx + cos * a.ky, atol=1e-12)
    np.testing.assert_allclose(b.intensity, a.intensity, rtol=1e-6)


def test_excitation_error_is_the_distance_to_the_ewald_sphere(nickelate):
    """Along z: a point moved by s along the beam lies on the sphere."""
    rotation = Rotation(np.random.default_rng(1).normal(size=(1, 4))).unit
    found = spots(nickelate, rotation.data, 200.0, dtype=torch.float64)
    k0 = 1 / electron_wavelength(200.0)
    k = (~rotation * Vector3d(nickelate.g)).data
    near = np.abs(found.excitation[0].numpy()) < 0.05
    radius2 = k[:, 0] ** 2 + k[:, 1] ** 2 + (k[:, 2] + found.excitation[0].numpy() + k0) ** 2
    np.testing.assert_allclose(np.sqrt(radius2[near]), k0, atol=1e-4)


def test_matrices_are_orix_matrices():
    rotation = Rotation(np.random.default_rng(2).normal(size=(7, 4))).unit
    np.testing.assert_allclose(
        rotation_matrices(torch.tensor(rotation.data)), rotation.to_matrix(), atol=1e-12
    )


def test_gradient_against_finite_differences(nickelate):
    q = torch.tensor(
        Rotation(np.random.default_rng(5).normal(size=(1, 4))).unit.data,
        dtype=torch.float64,
        requires_grad=True,
    )

    def brightness(values: torch.Tensor) -> torch.Tensor:
        found = spots(nickelate, values, 200.0)
        return render(found, (48, 48), (23.5, 23.5), 0.055)[0, 20:40, 10:30].sum()

    assert torch.autograd.gradcheck(brightness, (q,), eps=1e-6, atol=1e-3, rtol=1e-3)


@settings(deadline=None, max_examples=15)
@given(shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)))
def test_drawn_spots_keep_their_place_and_sum(shift, nickelate):
    """The centre of mass of one drawn spot is its float position to 0.01 px."""
    one = type(nickelate)(nickelate.hkl[:1], nickelate.g[:1], nickelate.amplitude2[:1])
    found = spots(one, np.array([[1.0, 0, 0, 0]]), 200.0, sigma=10.0, dtype=torch.float64)
    center = (20 + shift[0], 20 + shift[1])
    image = render(found, (41, 41), center, 0.05)[0].numpy()
    y, x = np.mgrid[:41, :41]
    assert image.sum() == pytest.approx(float(found.intensity[0, 0]), rel=1e-6)
    assert (image * y).sum() / image.sum() == pytest.approx(
        center[0] + float(found.ky[0, 0]) / 0.05, abs=0.01
    )
    assert (image * x).sum() / image.sum() == pytest.approx(
        center[1] + float(found.kx[0, 0]) / 0.05, abs=0.01
    )
