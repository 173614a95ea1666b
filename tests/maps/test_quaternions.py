"""Disorientations and means against orix and against analytic truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.quaternion import Orientation, Rotation
from orix.vector import Vector3d

from napari_diffmap.maps.quaternions import (
    HALF_TURN,
    conjugate,
    disorientation,
    group_means,
    laue_operators,
    multiply,
    nearest_variant,
    rotate_vector,
)

LAUE = ["-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m"]
#: Angles between float32 quaternions cannot be known better.
FLOAT32_DEG = 2e-5


def random_quaternions(seed, n):
    q = np.random.default_rng(seed).normal(size=(n, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def test_products_and_rotations_are_orix_ones():
    p, q = random_quaternions(0, 50), random_quaternions(1, 50)
    np.testing.assert_allclose(multiply(p, q), (Rotation(p) * Rotation(q)).data, atol=1e-12)
    np.testing.assert_allclose(conjugate(p), (~Rotation(p)).data, atol=1e-12)
    v = (0.2, -0.5, 0.7)
    np.testing.assert_allclose(rotate_vector(p, v), (Rotation(p) * Vector3d(v)).data, atol=1e-12)


@pytest.mark.parametrize("group", [*LAUE, "-43m", "3m", "mm2", "321", "1"])
def test_disorientation_is_orix_one(make_phase, group):
    phase = make_phase(group)
    p, q = random_quaternions(2, 400), random_quaternions(3, 400)
    proper = phase.point_group.laue_proper_subgroup
    theirs = np.rad2deg(Orientation(p, symmetry=proper).angle_with(Orientation(q, symmetry=proper)))
    ours = disorientation(p, q, laue_operators(phase))
    np.testing.assert_allclose(ours, theirs, atol=FLOAT32_DEG)


@pytest.mark.parametrize("group", LAUE)
def test_half_turn_is_a_turn_about_the_beam_before_the_crystal(make_phase, group):
    phase = make_phase(group)
    p, q = random_quaternions(4, 100), random_quaternions(5, 100)
    beam = Rotation.from_axes_angles((0, 0, 1), np.pi)
    turned = (Rotation(q) * beam).data
    ours = disorientation(p, q, laue_operators(phase), half_turn=True)
    np.testing.assert_allclose(ours, disorientation(p, turned, laue_operators(phase)), atol=1e-4)
    assert (
        disorientation(p, multiply(p, HALF_TURN), laue_operators(phase), half_turn=True).max()
        < 1e-4
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(LAUE), st.integers(0, 2**31))
def test_disorientation_symmetric_and_invariant(make_phase, group, seed):
    operators = laue_operators(make_phase(group))
    p, q, turn = (random_quaternions(seed + i, 5) for i in range(3))
    rng = np.random.default_rng(seed)
    s1, s2 = (operators[rng.integers(0, len(operators), 5)] for _ in range(2))
    angle = disorientation(p, q, operators)
    for other in (
        disorientation(q, p, operators),
        disorientation(multiply(s1, p), multiply(s2, q), operators),
        disorientation(multiply(p, turn[:1]), multiply(q, turn[:1]), operators),
        disorientation(-p, q, operators),
    ):
        np.testing.assert_allclose(other, angle, atol=FLOAT32_DEG)
    assert (angle >= 0).all()
    assert disorientation(p, multiply(s1, p), operators).max() < 1e-5


@pytest.mark.parametrize("angle", [1e-3, 0.1, 2.0, 14.9, 44.0])
def test_small_angles_survive_single_precision(make_phase, angle):
    p = random_quaternions(6, 50).astype(np.float32)
    turn = Rotation.from_axes_angles((1, 2, 3), np.deg2rad(angle)).data
    q = multiply(turn, p)
    found = disorientation(p, q.astype(np.float32), laue_operators(make_phase("m-3m")))
    np.testing.assert_allclose(found, angle, atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LAUE), st.integers(0, 2**31))
def test_nearest_variant_is_equivalent_and_nearest(make_phase, group, seed):
    operators = laue_operators(make_phase(group))
    q, reference = random_quaternions(seed, 4), random_quaternions(seed + 1, 4)
    near = nearest_variant(q, reference, operators)
    assert disorientation(near, q, operators).max() < 1e-5
    plain = np.rad2deg(2 * np.arccos(np.clip((near * reference).sum(1), -1, 1)))
    np.testing.assert_allclose(plain, disorientation(q, reference, operators), atol=1e-4)


@pytest.mark.parametrize("group", ["-1", "-3m", "6/mmm", "m-3m"])
def test_group_means_find_the_middle_of_any_variants(make_phase, group):
    operators = laue_operators(make_phase(group))
    truth = random_quaternions(7, 6)
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(6), 200)
    axes = rng.normal(size=(600, 3))
    axes = np.concatenate((axes, -axes)).reshape(2, 6, 100, 3).transpose(1, 0, 2, 3).reshape(-1, 3)
    spread = Rotation.from_axes_angles(axes, np.deg2rad(3)).data  # every turn with its opposite
    q = multiply(spread, truth[groups])
    q = multiply(operators[rng.integers(0, len(operators), len(q))], q)
    order = rng.permutation(len(q))
    mean = group_means(q[order], groups[order], 6, operators)
    assert disorientation(mean, truth, operators).max() < 1e-4
    np.testing.assert_allclose(np.linalg.norm(mean, axis=1), 1, atol=1e-12)
