"""Simulated spots: frame, signs and excitation errors against diffsims, orix and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.crystal.frames import from_pyxem, to_pyxem
from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import Reflections, reflections
from napari_diffmap.crystal.simulate import (
    Spots,
    excitation_errors,
    precession_widened,
    render,
    rotation_matrices,
    spots,
)
from napari_diffmap.scan.calibration import electron_wavelength


def one_reflection(g: tuple[float, float, float]) -> Reflections:
    return Reflections(np.array([[1, 0, 0]]), np.array([g]), np.array([1.0]))


def random_rotations(n: int, seed: int = 0) -> np.ndarray:
    q = np.random.default_rng(seed).normal(size=(n, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def test_matrices_are_those_of_orix() -> None:
    from orix.quaternion import Rotation

    q = random_rotations(20)
    np.testing.assert_allclose(
        rotation_matrices(torch.as_tensor(q)).numpy(), Rotation(q).to_matrix(), atol=1e-9
    )


def test_orientation_takes_laboratory_to_crystal_as_in_orix() -> None:
    """k = O⁻¹ g, with orix's own rotation of vectors."""
    from orix.quaternion import Orientation
    from orix.vector import Vector3d

    q = random_rotations(5)
    found = reflections(load_phase("LiNiO2"), 0.8)
    ours = spots(found, q, 200, dtype=torch.float64)
    for i in range(5):
        theirs = (~Orientation(q[i]) * Vector3d(found.g)).data
        np.testing.assert_allclose(ours.kx[i].numpy(), theirs[:, 0], atol=1e-9)
        np.testing.assert_allclose(ours.ky[i].numpy(), theirs[:, 1], atol=1e-9)


def test_crystal_turned_from_x_to_y_moves_its_spots_from_x_to_y() -> None:
    """By hand: turn the crystal +30° about the beam; g along x goes 30° towards y (down)."""
    angle = np.deg2rad(30)
    # Laboratory → crystal undoes the turn of the crystal.
    q = np.array([[np.cos(angle / 2), 0, 0, -np.sin(angle / 2)]])
    found = spots(one_reflection((0.5, 0, 0)), q, 200, dtype=torch.float64)
    assert float(found.kx) == pytest.approx(0.5 * np.cos(angle))
    assert float(found.ky) == pytest.approx(0.5 * np.sin(angle))


def test_bunge_angles_of_orix_turn_the_pattern_as_documented() -> None:
    """φ1 turns laboratory axes into crystal axes: the pattern turns by φ1 from x to y."""
    from orix.quaternion import Orientation

    o = Orientation.from_euler(np.deg2rad([40.0, 0.0, 0.0]))
    found = spots(one_reflection((0.5, 0, 0)), o.data, 200, dtype=torch.float64)
    assert np.rad2deg(np.arctan2(float(found.ky), float(found.kx))) == pytest.approx(40.0)


def test_excitation_error_is_the_distance_to_the_ewald_sphere() -> None:
    """Along the diffracted beam's foil normal: |k0 + g + s z| = |k0| to second order in s."""
    wavelength = electron_wavelength(200)
    k0 = 1 / wavelength
    rng = np.random.default_rng(1)
    k = rng.normal(0, 0.4, (200, 3))
    k[:, 2] *= 0.05
    s = excitation_errors(torch.as_tensor(k), wavelength).numpy()
    # The exact distance to the sphere, along z.
    transverse = (k[:, :2] ** 2).sum(1)
    exact = np.sqrt(k0**2 - transverse) - k0 - k[:, 2]
    assert (np.abs(s - exact) < 2e-3 * np.abs(exact) + 1e-6).all()


def test_reflection_on_the_sphere_is_brightest() -> None:
    wavelength = electron_wavelength(200)
    q = 1.3
    z = np.sqrt(1 / wavelength**2 - q**2) - 1 / wavelength
    assert z < 0  # the sphere bends away from the crystal's forward side
    on = spots(one_reflection((q, 0, z)), [[1.0, 0, 0, 0]], 200, 0.01, dtype=torch.float64)
    off = spots(one_reflection((q, 0, -z)), [[1.0, 0, 0, 0]], 200, 0.01, dtype=torch.float64)
    assert float(on.intensity) == pytest.approx(1.0, abs=1e-6)
    assert float(off.intensity) < 0.1


def test_frame_agrees_with_diffsims() -> None:
    """diffsims looks against the beam: its z and y are ours reversed, see `frames`."""
    from diffsims.generators.simulation_generator import SimulationGenerator
    from orix.quaternion import Rotation

    q = random_rotations(4, seed=3)
    for name in ("LiNiO2", "Si"):
        phase = load_phase(name)
        theirs = SimulationGenerator(
            accelerating_voltage=200, scattering_params="lobato", minimum_intensity=1e-20
        ).calculate_diffraction2d(
            phase.orix,
            rotation=Rotation(to_pyxem(q)),
            reciprocal_radius=1.2,
            max_excitation_error=0.03,
            with_direct_beam=False,
        )
        found = reflections(phase, 1.2)
        ours = spots(found, q, 200, dtype=torch.float64)
        for i in range(4):
            excited = np.abs(ours.excitation[i].numpy()) < 0.03
            mine = np.stack((ours.kx[i].numpy(), ours.ky[i].numpy()), axis=1)[excited]
            coordinates = theirs.coordinates[i].data[:, :2] * (1, -1)
            # Extinct reflections are in their list, with no intensity.
            bright = np.asarray(theirs.coordinates[i].intensity) > 1e-9
            gaps = np.linalg.norm(coordinates[bright][:, None] - mine[None], axis=2)
            assert len(mine) > 3
            assert abs(int(bright.sum()) - len(mine)) <= 1  # one may sit on the limit
            assert np.sort(gaps.min(axis=0))[:-1].max() < 1e-4


def test_frames_go_there_and_back() -> None:
    from orix.quaternion import Rotation

    q = random_rotations(9)
    np.testing.assert_allclose(from_pyxem(to_pyxem(q)), q)
    theirs = (Rotation(q) * Rotation([0, 1, 0, 0])).data
    np.testing.assert_allclose(np.abs((to_pyxem(q) * theirs).sum(1)), 1)


def test_gradient_is_that_of_finite_differences() -> None:
    found = reflections(load_phase("LiNiO2"), 0.9)
    q = torch.tensor(random_rotations(3, seed=5), dtype=torch.float64, requires_grad=True)
    weight = torch.linspace(0.2, 1.0, len(found), dtype=torch.float64)

    def value(rotations: torch.Tensor) -> torch.Tensor:
        unit = rotations / rotations.norm(dim=1, keepdim=True)
        s = spots(found, unit, 200, 0.02)
        return (s.intensity * weight * (1 + s.kx + 0.5 * s.ky**2)).sum()

    assert torch.autograd.gradcheck(value, (q,), eps=1e-7, atol=1e-4, rtol=1e-4)


def test_render_gradient_follows_a_spot() -> None:
    kx = torch.tensor([[0.31]], dtype=torch.float64, requires_grad=True)
    still = torch.zeros(1, 1, dtype=torch.float64)

    def value(x: torch.Tensor) -> torch.Tensor:
        made = Spots(x, still + 0.1, still, still + 3.0)
        image = render(made, (32, 32), (16.0, 15.0), 0.05, 1.2)
        return (image * torch.arange(32, dtype=torch.float64)).sum()

    assert torch.autograd.gradcheck(value, (kx,), eps=1e-6, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.floats(0.6, 2.0))
def test_rendered_spot_keeps_sum_and_place(ky: float, kx: float, width: float) -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    made = Spots(one * kx, one * ky, one * 0, one * 5.0)
    image = render(made, (64, 60), (31.0, 29.5), 0.05, width)[0].numpy()
    assert image.sum() == pytest.approx(5.0, rel=1e-6)
    y, x = np.indices(image.shape)
    assert (image * y).sum() / 5 == pytest.approx(31.0 + ky / 0.05, abs=0.02)
    assert (image * x).sum() / 5 == pytest.approx(29.5 + kx / 0.05, abs=0.02)


def test_spots_beyond_the_detector_are_left_out() -> None:
    one = torch.ones(1, 1)
    made = Spots(one * 5.0, one * 0.0, one * 0, one)
    assert float(render(made, (32, 32), (15.5, 15.5), 0.05).sum()) == 0.0


def test_precession_widens_far_reflections_only() -> None:
    lengths = torch.tensor([0.0, 0.5, 1.0])
    width = precession_widened(0.01, lengths, 1.0)
    assert float(width[0]) == pytest.approx(0.01)
    assert float(width[2]) == pytest.approx(np.hypot(0.01, np.sin(np.deg2rad(1)) / np.sqrt(2)))
    # The root mean square of a sine swing over one turn.
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    swing = 1.0 * np.sin(np.deg2rad(1)) * np.cos(turn)
    assert float(width[2]) == pytest.approx(np.sqrt(0.01**2 + swing.var()), rel=1e-4)
