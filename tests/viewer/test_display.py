from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_diffmap.viewer.display import Stretch, contrast_limits


@given(
    low=st.floats(0, 10),
    span=st.floats(1e-3, 1e6),
    scale=st.sampled_from(["linear", "gamma", "log"]),
)
def test_limits_bound_what_is_shown(low: float, span: float, scale: str) -> None:
    stretch, top = Stretch(scale), low + span  # type: ignore[arg-type]
    bottom, ceiling = stretch.limits(low, top)
    assert bottom < ceiling
    shown = stretch.apply(np.linspace(low, top, 50), top)
    assert shown.min() >= bottom - 1e-5 * abs(ceiling)
    assert shown.max() <= ceiling + 1e-5 * abs(ceiling)
    assert np.all(np.diff(shown) >= 0)


def test_log_separates_decades_evenly() -> None:
    shown = Stretch("log").apply(np.array([1e4, 1e5, 1e6]), 1e6)
    assert np.diff(shown)[0] == pytest.approx(np.diff(shown)[1], rel=0.05)


def test_missing_pixels_stay_missing() -> None:
    assert np.isnan(Stretch("log").apply(np.array([[np.nan, 1.0]]), 10)[0, 0])


def test_limits_leave_out_hot_pixels_and_gaps() -> None:
    image = np.random.default_rng(0).normal(100, 5, (100, 100)).astype(np.float32)
    image[0, 0], image[1, 1] = 1e9, np.nan
    low, high = contrast_limits(image)
    assert 80 < low < 95
    assert 105 < high < 120


@pytest.mark.parametrize(
    "image",
    [
        np.full((3, 3), np.nan),
        np.zeros((3, 3)),
        np.zeros((0, 3)),
        np.eye(3, dtype=bool),
        np.full((3, 3), 2**63, dtype=np.uint64),
        np.full((3, 3), np.inf),
    ],
)
def test_limits_are_never_equal(image: np.ndarray) -> None:
    low, high = contrast_limits(image)
    assert low < high
