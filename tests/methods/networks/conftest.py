"""What the tests of networks share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_diffmap.crystal.phases import CrystalPhase, load_phases
from napari_diffmap.crystal.simulate import rotation_matrices


@pytest.fixture(scope="session")
def cathode() -> tuple[CrystalPhase, ...]:
    """A trigonal and a cubic phase."""
    return load_phases(["LiNiO2", "NiO"])


def random_matrices(n: int, seed: int) -> Tensor:
    """Random crystal → laboratory matrices."""
    q = np.random.default_rng(seed).normal(size=(n, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    return rotation_matrices(torch.as_tensor(q)).transpose(-1, -2).float()


@pytest.fixture(scope="session")
def matrices() -> Tensor:
    """200 random crystal → laboratory matrices."""
    return random_matrices(200, 4)
