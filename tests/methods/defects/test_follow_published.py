"""The published estimators: their faults are as said."""

from __future__ import annotations

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.follow.published import (
    hot_spot_trajectory,
    per_trace_matrix,
    variance_diffusion,
)
from napari_diffmap.methods.defects.follow.transitions import _second, stationary

#: Printed by the published notebook.
PRINTED = np.array(
    [
        [0.108, 0.319, 0.265, 0.308],
        [0.122, 0.181, 0.356, 0.340],
        [0.183, 0.234, 0.265, 0.318],
        [0.168, 0.205, 0.282, 0.345],
    ]
)


@pytest.mark.parametrize("length", [20, 60])
def test_the_variance_gives_a_sixth_of_a_free_walk(length: int) -> None:
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.normal(0, np.sqrt(2 * 0.5 * 2.0), (4000, length, 2)), axis=1)
    found = [variance_diffusion(one, 2.0) for one in walks]
    expected = (length**2 - 1) / (6 * length**2)
    assert found[0].bias == pytest.approx(expected)
    assert np.mean([one.D_nm2_s for one in found]) / 0.5 == pytest.approx(expected, rel=0.03)
    assert f"{expected:.3f}" in found[0].warning
    # at rest it falls with the length, and is not the 0 that it should be
    still = rng.normal(0, 0.1, (length, 2))
    assert variance_diffusion(still, 2.0).D_nm2_s == pytest.approx(0.02 / (4 * length * 2), rel=0.6)


def test_the_printed_matrix_is_all_but_memoryless() -> None:
    rows = PRINTED / PRINTED.sum(axis=1, keepdims=True)
    assert _second(rows[None])[0] == pytest.approx(0.092, abs=5e-4)
    shares = stationary(rows)
    assert shares == pytest.approx([0.153, 0.225, 0.291, 0.330], abs=1e-3)
    away = np.abs(rows - shares).sum(axis=1) / 2
    assert away.min() > 0.025
    assert away.max() < 0.095


def test_a_matrix_per_trace_passes_over_gaps_and_weighs_short_traces_fully() -> None:
    long, short = [0, 0, 0, 0, 1], [0, 1]
    found = per_trace_matrix([long, short, [1]], 2)
    assert len(found.traces) == 2
    assert found.probability[0] == pytest.approx([0.375, 0.625])  # pooled: 0.6, 0.4
    assert found.probability[1].sum() == 0
    assert "gap" in found.warning
    with pytest.raises(BadInputError, match="two labels"):
        per_trace_matrix([[1]], 2)


def test_a_hot_spot_takes_all_that_is_near() -> None:
    places = np.array([[100.0, 100], [126, 100], [100, 75], [90, 110], [100, 100]])
    frames = [3, 0, 1, 1, 0]
    assert hot_spot_trajectory(frames, places, (100, 100)).tolist() == [4, 2, 3, 0]
