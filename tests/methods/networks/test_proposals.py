"""Modes of a density: the truth and its half turn come out as two, a phase as its share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_diffmap.methods.networks.grid import OrientationGrid
from napari_diffmap.methods.networks.proposals import (
    NEAR_DEG,
    GridDensity,
    log_probabilities,
    modes_of,
    proposals,
)
from napari_diffmap.methods.networks.upright import about_beam
from napari_diffmap.methods.orientation.rotations import disorientation

HALF = torch.tensor([-1.0, -1.0, 1.0])[:, None]


@pytest.fixture(scope="module")
def grid(cathode) -> OrientationGrid:
    return OrientationGrid(cathode, 4.0, 36)


def density(grid, *parts) -> torch.Tensor:
    """Log probabilities of a mixture of orientations ``(share, matrices, phase)``."""
    n = len(parts[0][1])
    out = torch.zeros(n, grid.angles * grid.columns)
    for share, matrices, phase in parts:
        taught = grid.taught(matrices, torch.full((n,), phase))
        place = taught.angle * grid.columns + taught.column
        out.scatter_add_(1, place, share * taught.weight)
    return torch.log(out.reshape(n, grid.angles, grid.columns) + 1e-9)


@pytest.mark.parametrize("phase", [0, 1])
def test_the_taught_orientation_comes_back(grid, matrices, phase) -> None:
    said = proposals(grid, density(grid, (1.0, matrices, phase)), torch.zeros(len(matrices)), 2)
    off = torch.rad2deg(
        disorientation(said.matrices[:, :1], matrices[:, None], grid.operators[phase])
    )[:, 0]
    assert (said.phase[:, 0] == phase).all()
    assert off.median() < 1.0
    assert off.quantile(0.95) < 3.5
    assert said.probability[:, 0].min() > 0.5


def test_an_orientation_and_its_half_turn_are_two_modes(grid, matrices) -> None:
    logp = density(grid, (0.6, matrices, 0), (0.4, HALF * matrices, 0))
    said = proposals(grid, logp, torch.zeros(len(matrices)), 4)
    truth, turned = (
        torch.rad2deg(disorientation(said.matrices, m[:, None], grid.operators[0])).amin(1)
        for m in (matrices, HALF * matrices)
    )
    assert (truth < 5).float().mean() > 0.95
    assert (turned < 5).float().mean() > 0.95


def test_phases_have_their_shares(grid, matrices) -> None:
    logp = density(grid, (0.7, matrices, 0), (0.3, matrices, 1))
    said = proposals(grid, logp, torch.zeros(len(matrices)), 2)
    assert torch.allclose(said.phases[:, 0], torch.tensor(0.7), atol=0.01)
    assert torch.allclose(said.phases.sum(1), torch.tensor(1.0), atol=1e-3)


def test_density_of_any_orientation(grid, matrices) -> None:
    logp = density(grid, (1.0, matrices, 0))
    said = GridDensity(grid, logp.reshape(len(logp), -1))
    both = torch.stack((matrices, HALF * matrices), 1)
    there = said.log_probability(both, torch.zeros(len(matrices), 2, dtype=torch.long))
    assert (there[:, 0] > there[:, 1]).float().mean() > 0.97
    elsewhere = said.log_probability(both, torch.ones(len(matrices), 2, dtype=torch.long))
    assert (elsewhere[:, 0] < there[:, 0]).all()


def test_a_temperature_flattens() -> None:
    logits = torch.randn(3, 4, 5)
    sharp, flat = log_probabilities(logits), log_probabilities(logits, 3.0)
    assert torch.allclose(sharp.exp().sum((1, 2)), torch.ones(3), atol=1e-5)
    assert (flat.amax((1, 2)) < sharp.amax((1, 2))).all()


def test_modes_come_likeliest_first(matrices) -> None:
    weight = torch.log_softmax(torch.randn(10, 4), 1)
    four = matrices[:40].reshape(10, 4, 3, 3)
    sharp = torch.full_like(weight, 5.0)
    out = (four, weight, sharp, torch.full((10,), -3.0))
    said = modes_of([out], torch.zeros(1, 10))
    assert (said.probability.diff(dim=1) <= 0).all()
    assert torch.equal(said.matrices[:, 0], four[torch.arange(10), weight.argmax(1)])
    assert (said.crystal > 0.9).all()
    two = modes_of([out, out], torch.zeros(2, 10)).first(6)
    assert two.matrices.shape == (10, 6, 3, 3)
    # The same said twice is as likely twice half.
    assert torch.allclose(two.probability[:, 0], said.probability[:, 0] / 2)


def test_modes_are_turned_back(matrices) -> None:
    weight = torch.zeros(8, 1)
    angles = torch.linspace(-3, 3, 8)
    out = (about_beam(-angles)[:, None] @ matrices[:8, None], weight, weight + 4, weight[:, 0])
    assert torch.allclose(modes_of([out], angles[None]).matrices[:, 0], matrices[:8], atol=1e-5)


@pytest.mark.parametrize("sharp", [2.0, 4.0, 6.0])
def test_the_probability_of_a_mode_is_that_it_is_near(sharp: float) -> None:
    """Errors drawn by the law that the loss assumes: normal about three axes, variance 1/κ."""
    one = (torch.eye(3).expand(1, 1, 3, 3), torch.zeros(1, 1), torch.full((1, 1), sharp))
    said = float(modes_of([(*one, torch.zeros(1))], torch.zeros(1, 1)).probability)
    drawn = np.random.default_rng(1).normal(size=(200_000, 3)) * np.exp(-sharp / 2)
    near = np.mean(np.linalg.norm(drawn, axis=1) < np.deg2rad(NEAR_DEG))
    assert said == pytest.approx(near, abs=0.01)
