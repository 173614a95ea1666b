"""The zone grid covers the sphere for every symmetry, in any setting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.simulate import rotation_matrices
from napari_diffmap.methods.orientation.zones import (
    fibonacci_sphere,
    zone_axes,
    zone_neighbours,
    zone_rotations,
)


def operators(name: str) -> np.ndarray:
    if name == "none":
        return np.eye(3)[None]
    if name == "2/m":
        return np.stack((np.eye(3), np.diag([-1.0, 1.0, -1.0])))
    return rotation_matrices(torch.as_tensor(load_phase(name).symmetry)).numpy()


@pytest.mark.parametrize("name", ["none", "2/m", "LiNiO2", "WS2", "NiO"])
@pytest.mark.parametrize("step", [2.0, 5.0])
def test_every_direction_is_near_a_zone(name: str, step: float) -> None:
    ops = operators(name)
    zones = zone_axes(ops, step)
    directions = fibonacci_sphere(4001)
    images = np.concatenate((ops, -ops))
    best = np.max([(directions @ image.T @ zones.T).max(axis=1) for image in images], axis=0)
    worst = np.rad2deg(np.arccos(np.clip(best.min(), -1, 1)))
    assert worst < 0.85 * step
    # No more zones than the part of the sphere needs, and its border.
    ideal = 4 * np.pi / (np.deg2rad(step) ** 2 * np.sqrt(3) / 2) / (2 * len(ops))
    assert len(zones) < 1.5 * ideal + 40


def test_zone_rotations_take_z_to_the_zone() -> None:
    zones = np.concatenate((zone_axes(operators("LiNiO2"), 5.0), [[0, 0, 1], [0, 0, -1]]))
    matrices = rotation_matrices(torch.as_tensor(zone_rotations(zones))).numpy()
    np.testing.assert_allclose(matrices @ [0, 0, 1], zones, atol=1e-9)


def test_neighbours_lie_within_two_steps_over_the_border_too() -> None:
    ops = operators("LiNiO2")
    zones = zone_axes(ops, 4.0)
    near = zone_neighbours(zones, ops)
    assert near.shape == (len(zones), 6)
    images = np.concatenate((ops, -ops))
    for i in range(0, len(zones), 7):
        cosines = np.max([zones[near[i]] @ (image @ zones[i]) for image in images], axis=0)
        assert np.rad2deg(np.arccos(np.clip(cosines, -1, 1))).max() < 9.0
        assert i not in near[i]
