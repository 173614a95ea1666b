"""Networks of any build give turned answers for turned patterns: patterns are turned upright."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.methods.networks.inputs import SquareInput
from napari_diffmap.methods.networks.proposer import ModesProposer
from napari_diffmap.methods.networks.upright import CHOICES, about_beam, angle_of_spot
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.models.families import build


def some(seed: int = 3, n: int = 4, p: int = 12) -> PeakBatch:
    rng = np.random.default_rng(seed)
    q, angle = rng.uniform(0.2, 1.3, (n, p)), rng.uniform(0, 2 * np.pi, (n, p))
    height = rng.uniform(1, 50, (n, p))
    columns = (q * np.cos(angle), q * np.sin(angle), height, np.ones((n, p)))
    kx, ky, height, trust = (torch.as_tensor(c, dtype=torch.float32) for c in columns)
    return PeakBatch(kx, ky, height, trust, noise=torch.ones_like(height))


def turned(peaks: PeakBatch, angle: float) -> PeakBatch:
    cos, sin = np.cos(angle), np.sin(angle)
    return replace(peaks, kx=cos * peaks.kx - sin * peaks.ky, ky=sin * peaks.kx + cos * peaks.ky)


@pytest.mark.parametrize("rank", range(CHOICES))
def test_the_spot_comes_to_lie_on_the_x_axis(rank: int) -> None:
    peaks = some()
    angle = angle_of_spot(peaks, torch.full((4,), rank))
    order = peaks.intensity.argsort(1, descending=True)[:, rank : rank + 1]
    k = torch.stack((peaks.kx.gather(1, order), peaks.ky.gather(1, order)), -1)[:, 0]
    on = torch.einsum("bij,bj->bi", about_beam(-angle)[:, :2, :2], k)
    assert torch.allclose(on[:, 1], torch.zeros(4), atol=1e-6)
    assert (on[:, 0] > 0).all()


def test_a_pattern_of_one_spot_or_none_has_an_angle() -> None:
    peaks = some(n=2)
    height = torch.zeros_like(peaks.intensity)
    height[0, 5] = 1.0
    few = replace(peaks, intensity=height)
    angle = angle_of_spot(few, torch.full((2,), 2))
    assert angle[0] == pytest.approx(float(torch.atan2(peaks.ky[0, 5], peaks.kx[0, 5])))
    assert torch.isfinite(angle).all()


@settings(max_examples=20, deadline=None)
@given(angle=st.floats(-3.1, 3.1))
def test_turned_patterns_are_drawn_alike(angle: float) -> None:
    seen, rank = SquareInput(), torch.zeros(4, dtype=torch.long)
    pictures = [
        seen.draw(peaks, angle_of_spot(peaks, rank)) for peaks in (some(), turned(some(), angle))
    ]
    assert torch.allclose(*pictures, atol=1e-3)


@pytest.mark.parametrize("family", ["cnn", "densenet", "swin"])
def test_a_turned_pattern_has_a_turned_answer(family: str) -> None:
    torch.manual_seed(2)
    seen = SquareInput()
    network = build(family, {"channels": seen.channels})
    proposer = ModesProposer(network, seen, "LiNiO2", ["LiNiO2"])
    one, _ = proposer.propose(some())
    other, _ = proposer.propose(turned(some(), 0.7))
    back = about_beam(torch.tensor(-0.7)) @ other.matrices
    assert torch.allclose(one.probability, other.probability, atol=1e-3)
    # Modes that are as likely may change places.
    off = (back[:, :, None] - one.matrices[:, None]).abs().amax((-1, -2)).amin(2)
    assert float(off.max()) < 0.01
