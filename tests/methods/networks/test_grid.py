"""Bins of orientations: what is taught decodes to the truth, whatever its symmetric variant."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_diffmap.methods.networks.grid import OrientationGrid
from napari_diffmap.methods.orientation.rotations import disorientation


@pytest.fixture(scope="module")
def grid(cathode) -> OrientationGrid:
    return OrientationGrid(cathode, 4.0, 36)


def dense(grid: OrientationGrid, matrices: Tensor, phase: Tensor) -> Tensor:
    """What is taught as a density ``(b, angles, columns)``."""
    taught = grid.taught(matrices, phase)
    out = torch.zeros(len(matrices), grid.angles * grid.columns)
    out.scatter_add_(1, taught.angle * grid.columns + taught.column, taught.weight)
    return out.reshape(-1, grid.angles, grid.columns)


@pytest.mark.parametrize("phase", [0, 1])
def test_taught_bins_lie_about_the_truth(grid, matrices, phase) -> None:
    taught = grid.taught(matrices, torch.full((len(matrices),), phase))
    assert torch.allclose(taught.weight.sum(1), torch.ones(len(matrices)), atol=1e-5)
    assert (grid.phase[taught.column] == phase).all()
    bins = grid.matrices(taught.column, taught.angle.float())
    off = torch.rad2deg(disorientation(bins, matrices[:, None], grid.operators[phase]))
    # A bin is half a step of angle and about a step of zone axis away at most.
    assert off[taught.weight > 0.05].max() < 0.5 * 360 / 36 + 0.5 * 360 / 36 + 6
    nearest = torch.where(taught.weight > 0, off, 180.0).amin(1)
    assert nearest.median() < 5


@pytest.mark.parametrize("phase", [0, 1])
def test_symmetric_variants_are_taught_alike(grid, matrices, phase) -> None:
    which = torch.full((len(matrices),), phase)
    first = dense(grid, matrices, which)
    for operator in grid.operators[phase]:
        same = dense(grid, matrices @ operator.T, which)
        assert (first - same).abs().sum((1, 2)).median() < 1e-3


def test_a_turn_in_the_plane_moves_the_angle_alone(grid, matrices) -> None:
    which = torch.zeros(len(matrices), dtype=torch.long)
    step = 2 * np.pi / grid.angles
    turn = torch.tensor(
        [[np.cos(step), -np.sin(step), 0], [np.sin(step), np.cos(step), 0], [0, 0, 1]],
        dtype=torch.float32,
    )
    before = dense(grid, matrices, which)
    after = dense(grid, turn @ matrices, which)
    assert (after - before.roll(1, 1)).abs().sum((1, 2)).max() < 0.05


def test_the_half_turn_is_another_bin(grid, matrices) -> None:
    which = torch.zeros(len(matrices), dtype=torch.long)
    half = torch.tensor([-1.0, -1.0, 1.0])[:, None]
    before, after = dense(grid, matrices, which), dense(grid, half * matrices, which)
    assert (after - before.roll(grid.angles // 2, 1)).abs().sum((1, 2)).max() < 0.05
