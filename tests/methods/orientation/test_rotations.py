"""Rotations: the in-plane angle's sign, the mirror copy, disorientation against orix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.quaternion import Orientation, Rotation

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.methods.orientation.rotations import (
    disorientation,
    matrices_to_quaternions,
    pick,
    template_matrices,
)

angles = st.floats(-7, 7)
seeds = st.integers(0, 2**31)


def matrix(q: np.ndarray) -> np.ndarray:
    """Laboratory → crystal matrices as orix makes them."""
    return np.asarray(Rotation(q).to_matrix())


def template(q: np.ndarray, mirrored: bool, angle: float) -> np.ndarray:
    n = len(q)
    turn = torch.full((n,), angle, dtype=torch.float64)
    return template_matrices(torch.as_tensor(q), torch.full((n,), mirrored), turn).numpy()


def test_in_plane_angle_turns_from_x_towards_y() -> None:
    """A spot on the right of the beam (+kx) turns down (+ky) by +90°."""
    plain = template(np.array([[1.0, 0, 0, 0]]), False, np.pi / 2)[0]
    np.testing.assert_allclose(plain @ (1, 0, 0), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(plain @ (0, 1, 0), (-1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(plain @ (0, 0, 1), (0, 0, 1), atol=1e-12)


@settings(max_examples=40)
@given(seeds, angles)
def test_template_is_the_zone_turned_in_the_plane(bench: Any, seed: int, angle: float) -> None:
    q = bench.random_rotations(5, seed)
    g = np.random.default_rng(seed).normal(size=3)
    base = matrix(q).transpose(0, 2, 1) @ g  # (n, 3) spots of the zone itself
    turned = template(q, False, angle) @ g
    # In the plane a turn is a complex factor; along the beam nothing changes.
    plane = (base[:, 0] + 1j * base[:, 1]) * np.exp(1j * angle)
    np.testing.assert_allclose(turned[:, 0] + 1j * turned[:, 1], plane, atol=1e-10)
    np.testing.assert_allclose(turned[:, 2], base[:, 2], atol=1e-10)


@settings(max_examples=40)
@given(seeds)
def test_mirror_copy_draws_the_mirrored_pattern(bench: Any, seed: int) -> None:
    """−g of the mirror copy lies where g would, with ky reversed, at the same height kz."""
    q = bench.random_rotations(5, seed)
    g = np.random.default_rng(seed).normal(size=3)
    plain, mirrored = template(q, False, 0.0), template(q, True, 0.0)
    np.testing.assert_allclose(mirrored @ -g, plain @ g * (1, -1, 1), atol=1e-10)
    # It is the crystal turned, not reflected.
    np.testing.assert_allclose(np.linalg.det(mirrored), 1, atol=1e-10)


@pytest.mark.parametrize("name", ["NiO", "LiNiO2", "WS2"])
def test_disorientation_is_orixs(bench: Any, name: str) -> None:
    phase = load_phase(name)
    q, r = bench.random_rotations(40, 1), bench.random_rotations(40, 2)
    operators = torch.as_tensor(matrix(phase.symmetry))
    ours = disorientation(
        torch.as_tensor(matrix(q)).transpose(-1, -2)[:, None],
        torch.as_tensor(matrix(r)).transpose(-1, -2)[:, None],
        operators,
    )[:, 0]
    group = phase.point_group.laue
    theirs = Orientation(q, symmetry=group).angle_with(Orientation(r, symmetry=group))
    np.testing.assert_allclose(np.rad2deg(ours.numpy()), np.rad2deg(theirs), atol=0.02)


@settings(max_examples=60)
@given(seeds)
def test_quaternions_come_back(bench: Any, seed: int) -> None:
    q = bench.random_rotations(6, seed).reshape(2, 3, 4)
    back = matrices_to_quaternions(matrix(q.reshape(-1, 4)).reshape(2, 3, 3, 3))
    assert back.shape == (2, 3, 4)
    assert back.dtype == np.float32
    assert (back[..., 0] >= 0).all()
    np.testing.assert_allclose(np.abs((back * q).sum(axis=-1)), 1, atol=1e-6)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0), (0, 0.6, -0.8)])
def test_half_turns_come_back(axis: tuple[float, float, float]) -> None:
    """Where the usual formula with a in the denominator fails."""
    q = np.array([[0.0, *axis]])
    back = matrices_to_quaternions(matrix(q))
    np.testing.assert_allclose(np.abs((back * q).sum()), 1, atol=1e-6)


def test_pick_takes_each_patterns_own() -> None:
    matrices = torch.arange(2 * 4 * 9).reshape(2, 4, 3, 3)
    index = torch.tensor([[3, 0], [1, 1]])
    taken = pick(matrices, index)
    assert torch.equal(taken[0, 0], matrices[0, 3])
    assert torch.equal(taken[0, 1], matrices[0, 0])
    assert torch.equal(taken[1, 0], matrices[1, 1])
    assert torch.equal(taken[1, 1], matrices[1, 1])
