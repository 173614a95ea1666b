"""Splits by grain: none is shared, and one that leaks is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.networks.labelled import (
    Labelled,
    Split,
    check_split,
    split_by_grain,
)
from napari_diffmap.methods.registration.spots import PeakBatch


@given(arrays(np.int64, st.integers(2, 80), elements=st.integers(1, 9)), st.integers(0, 99))
def test_no_grain_is_on_both_sides(grain, seed) -> None:
    if len(np.unique(grain)) < 2:
        with pytest.raises(BadInputError, match="label a second one"):
            split_by_grain(grain, seed=seed)
        return
    split = split_by_grain(grain, seed=seed)
    assert not set(grain[split.learn]) & set(grain[split.judge])
    assert (split.learn ^ split.judge).all()


def test_a_random_split_of_pixels_is_refused() -> None:
    grain = np.repeat(np.arange(1, 6), 20)
    judge = np.random.default_rng(0).random(100) < 0.2
    with pytest.raises(BadInputError, match="the figure would measure memory"):
        check_split(Split(~judge, judge), grain)
    with pytest.raises(BadInputError, match="both sides"):
        check_split(Split(np.ones(100, bool), np.zeros(100, bool)), grain)
    with pytest.raises(BadInputError, match="a pattern is both"):
        check_split(Split(np.ones(100, bool), judge), grain)


def test_drawn_patterns_are_turned_with_their_labels(matrices) -> None:
    """A spot stays at the same crystal direction, and grains are drawn evenly."""
    n = 100
    grain = np.r_[np.full(95, 1), np.full(5, 2)]
    g = torch.tensor([0.3, 0.4, 0.0])
    k = (matrices[:n] @ g)[:, :2]
    peaks = PeakBatch(k[:, :1], k[:, 1:], torch.ones(n, 1), torch.ones(n, 1), torch.ones(n, 1))
    held = Labelled(peaks, matrices[:n], torch.as_tensor(grain - 1), grain)
    drawn, truth = held.draw(4000, torch.Generator().manual_seed(0))
    again = (truth.matrices[:, 0] @ g)[:, :2]
    assert torch.allclose(again, torch.cat((drawn.kx, drawn.ky), 1), atol=1e-5)
    assert float(truth.phase.float().mean()) == pytest.approx(0.5, abs=0.04)
    assert truth.crystal.all()
