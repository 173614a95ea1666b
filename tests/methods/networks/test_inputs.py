"""Spots on grids: nothing is lost, and turned spots are a turned picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.methods.networks.inputs import PolarInput, SquareInput
from napari_diffmap.methods.registration.spots import PeakBatch


def spots(seed: int, n: int = 9, turn: float = 0.0) -> PeakBatch:
    rng = np.random.default_rng(seed)
    q, angle = rng.uniform(0.2, 1.3, n), rng.uniform(0, 2 * np.pi, n) + turn
    columns = [q * np.cos(angle), q * np.sin(angle), rng.uniform(1, 50, n), rng.uniform(0.3, 1, n)]
    kx, ky, height, trust = (torch.as_tensor(c, dtype=torch.float32)[None] for c in columns)
    return PeakBatch(kx, ky, height, trust, noise=torch.ones_like(height))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_all_of_every_spot_is_drawn(seed: int) -> None:
    peaks = spots(seed)
    weight = float((peaks.trust * (peaks.intensity / peaks.intensity.max()) ** 0.5).sum())
    polar = PolarInput()
    drawn = polar.draw(peaks)
    assert drawn.shape == (1, polar.angles, polar.channels)
    assert float(drawn[..., polar.rings : 2 * polar.rings].sum()) == pytest.approx(weight, rel=1e-4)
    square = SquareInput().draw(peaks)
    assert float(square[:, 1].sum()) == pytest.approx(weight, rel=1e-4)


def test_turned_spots_are_a_turned_picture() -> None:
    polar = PolarInput()
    step = 2 * np.pi / polar.angles
    one, other = polar.draw(spots(3)), polar.draw(spots(3, turn=5 * step))
    assert torch.allclose(one.roll(5, 1), other, atol=1e-4)


def test_unused_places_draw_nothing() -> None:
    peaks = spots(1)
    empty = torch.zeros(1, 20)
    padded = PeakBatch(
        *(torch.cat((v, empty), 1) for v in (peaks.kx, peaks.ky, peaks.intensity, peaks.trust)),
        noise=torch.ones(1, 29),
    )
    for seen in (PolarInput(), SquareInput()):
        assert torch.allclose(seen.draw(peaks), seen.draw(padded), atol=1e-6)


def test_a_pattern_without_spots_is_finite() -> None:
    nothing = PeakBatch(*(torch.zeros(2, 5) for _ in range(4)), noise=torch.ones(2, 5))
    for seen in (PolarInput(), SquareInput()):
        assert torch.isfinite(seen.draw(nothing)).all()
