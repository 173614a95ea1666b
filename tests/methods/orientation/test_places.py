"""How far off spots lie is measured from gaps of which some are chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_diffmap.methods.orientation.places import spread_of

REACH, LEAST, MOST = 1.6, 0.2, 1.5


def gaps(spread: float, true: int, chance: int, seed: int = 0) -> torch.Tensor:
    """Distances below the reach: scattered about the prediction, and anywhere."""
    rng = np.random.default_rng(seed)
    near = np.hypot(*rng.normal(0, spread, (2, 20 * true)))
    near = near[near < REACH][:true]
    return torch.as_tensor(np.concatenate((near, REACH * np.sqrt(rng.random(chance)))))


@pytest.mark.parametrize("spread", [0.25, 0.4, 0.7])
@pytest.mark.parametrize("chance", [0, 100, 300])
def test_spread_is_found_among_chance(spread: float, chance: int) -> None:
    found = [spread_of(gaps(spread, 300, chance, s), REACH, LEAST, MOST) for s in range(5)]
    assert np.median(found) == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("count", [0, 1, 10, 200])
def test_chance_alone_tells_nothing(count: int) -> None:
    """Were the wrong answers' spots believed, any wrong answer would be as good as they."""
    found = [spread_of(gaps(1.0, 0, count, s), REACH, LEAST, MOST) for s in range(10)]
    assert found == [LEAST] * 10


def test_spread_keeps_to_its_limits() -> None:
    assert spread_of(gaps(0.05, 300, 20), REACH, LEAST, MOST) == pytest.approx(LEAST)
    assert spread_of(gaps(0.05, 300, 20), REACH, 0.02, MOST) == pytest.approx(0.05, rel=0.15)


def test_spread_scales_with_the_unit() -> None:
    found = spread_of(0.02 * gaps(0.4, 300, 50), 0.02 * REACH, 0.02 * LEAST, 0.02 * MOST)
    assert found == pytest.approx(0.02 * spread_of(gaps(0.4, 300, 50), REACH, LEAST, MOST))
