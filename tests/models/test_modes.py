"""Rotations as modes: symmetric variants are one answer, and the loss finds the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_diffmap.models.modes import ModesHead, closeness, mixture_loss, orthonormal


def random_matrices(n: int, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(Rotation.random(n, random_state=seed).as_matrix(), dtype=torch.float32)


def operators() -> torch.Tensor:
    return torch.as_tensor(Rotation.create_group("D3").as_matrix(), dtype=torch.float32)


def test_closeness_is_the_cosine_of_the_disorientation() -> None:
    truth, group = random_matrices(50), operators()
    angle = np.linspace(0.0, 0.5, 50)
    turn = torch.as_tensor(
        Rotation.from_rotvec(np.c_[angle, 0 * angle, 0 * angle]).as_matrix(), dtype=torch.float32
    )
    turned = turn @ truth
    for operator in group:
        cosine = closeness((turned @ operator)[:, None], truth, group)[:, 0]
        assert torch.allclose(
            torch.acos(cosine.clamp(-1, 1)), torch.as_tensor(angle).float(), atol=2e-3
        )


def test_numbers_of_any_size_are_a_rotation() -> None:
    matrices = orthonormal(torch.randn(100, 6) * torch.logspace(-3, 3, 100)[:, None])
    assert torch.allclose(
        matrices @ matrices.transpose(-1, -2), torch.eye(3).expand(100, 3, 3), atol=1e-4
    )


def test_the_density_is_normalised() -> None:
    """Integrated over all rotations by random ones, relative to two sharpnesses."""
    truth = random_matrices(200_000, 3)
    one = torch.eye(3).reshape(1, 1, 3, 3).expand(len(truth), 1, 3, 3)
    cosine = closeness(one, truth, torch.eye(3)[None])
    whole = []
    for sharp in (3.0, 4.5):
        number = torch.full((len(truth), 1), sharp)
        whole.append(torch.exp(-mixture_loss(0 * number, number, cosine)).mean())
    assert float(whole[1] / whole[0]) == pytest.approx(1.0, abs=0.08)


def test_two_truths_of_one_input_become_two_modes() -> None:
    """What a single rotation would average, a mixture keeps apart."""
    torch.manual_seed(0)
    head = ModesHead(4, 3)
    group = torch.eye(3)[None]
    truths = random_matrices(2, 8)
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    x = torch.ones(2, 4)
    for _ in range(600):
        matrices, weight, sharp, _ = head(x)
        loss = mixture_loss(weight, sharp, closeness(matrices, truths, group)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    matrices, weight, *_ = head(x[:1])
    cosine = closeness(matrices.expand(2, -1, -1, -1), truths, group)
    assert (cosine.amax(1) > 0.999).all()
    best = cosine.argmax(1)
    assert best[0] != best[1]
    assert weight[0].exp()[best].min() > 0.3
