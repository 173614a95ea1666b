"""Planted chains of classes, seen as they are and through a confused classifier."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.follow.hidden import hidden_markov, smoothed
from napari_diffmap.methods.defects.follow.transitions import lag_test, stationary, transitions

PLANTED = np.array(
    [
        [0.85, 0.05, 0.07, 0.03],
        [0.10, 0.80, 0.05, 0.05],
        [0.02, 0.08, 0.70, 0.20],
        [0.05, 0.05, 0.10, 0.80],
    ]
)
CONFUSION = np.full((4, 4), 0.05) + 0.8 * np.eye(4)


def drawn(rng: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    """A class for each row of chances."""
    beyond = rng.random(chances.shape[:-1])[..., None] > chances.cumsum(axis=-1)
    return np.minimum(beyond.sum(axis=-1), chances.shape[-1] - 1)


def chains(
    rng: np.random.Generator,
    matrix: np.ndarray,
    tracks: int = 12,
    length: int = 50,
    confusion: np.ndarray | None = None,
    missing: float = 0.1,
) -> list[tuple[np.ndarray, np.ndarray]]:
    label = np.empty((tracks, length), dtype=int)
    label[:, 0] = rng.integers(len(matrix), size=tracks)
    for t in range(1, length):
        label[:, t] = drawn(rng, matrix[label[:, t - 1]])
    if confusion is not None:
        label = drawn(rng, confusion[label])
    seen = rng.random(label.shape) >= missing
    return [(np.flatnonzero(s), one[s]) for s, one in zip(seen, label, strict=True)]


@pytest.mark.parametrize("confused", [False, True])
def test_intervals_hold_the_planted_matrix(confused: bool) -> None:
    rng = np.random.default_rng(0)
    truth = np.sort(np.abs(np.linalg.eigvals(PLANTED)))[-2]
    held, jointly, second, runs = 0.0, 0, 0, 40
    for run in range(runs):
        if confused:
            sequences = chains(rng, PLANTED, confusion=CONFUSION)
            found = hidden_markov(sequences, CONFUSION, 4, 2.0, sweeps=400, seed=run)
        else:
            found = transitions(chains(rng, PLANTED), 4, 2.0, seed=run)
        held += float(((found.low <= PLANTED) & (found.high >= PLANTED)).mean())
        jointly += int(((found.joint_low <= PLANTED) & (found.joint_high >= PLANTED)).all())
        second += int(found.second_low <= truth <= found.second_high)
    assert held / runs > 0.93
    assert binom.cdf(jointly, runs, 0.95) > 0.01
    assert binom.cdf(second, runs, 0.95) > 0.01
    assert (found.high - found.low).mean() < 0.25
    assert found.probability.sum(axis=1) == pytest.approx(1)
    assert not found.memoryless
    assert found.implied_time_s == pytest.approx(-2.0 / np.log(found.second_eigenvalue))


def test_counting_through_confusion_is_wrong_and_the_lag_test_tells() -> None:
    rng = np.random.default_rng(1)
    sequences = chains(rng, PLANTED, 30, 100, CONFUSION)
    counted = transitions(sequences, 4)
    assert (counted.high < PLANTED).diagonal().all()
    assert lag_test(sequences, 4).p.max() < 0.01
    clear = lag_test(chains(rng, PLANTED, 30, 100), 4)
    assert clear.p.min() > 0.01
    assert clear.measured[0] == pytest.approx(PLANTED @ PLANTED, abs=0.08)
    assert clear.foretold[0] == pytest.approx(PLANTED @ PLANTED, abs=0.08)


def test_gaps_are_not_transitions() -> None:
    found = transitions([([0, 1, 4, 5], [0, 1, 0, 1]), ([7, 8, 9], [1, -1, 0])], 2)
    assert found.counts.tolist() == [[0, 2], [0, 0]]
    assert found.apart == 2
    assert found.low[1].tolist() == [0, 0]
    assert found.high[1].tolist() == [1, 1]
    assert any("no transition from class 2" in one for one in found.warnings)
    # a hidden chain passes through: an unseen frame between two alike is likely alike
    rng = np.random.default_rng(2)
    sequences = chains(rng, PLANTED, 12, 60, missing=0.4)
    hidden = hidden_markov(sequences, np.eye(4), 4, sweeps=300)
    assert hidden.counts.sum() > 1.5 * transitions(sequences, 4).counts.sum()
    assert np.abs(hidden.probability - PLANTED).max() < 0.15


def test_memory_is_told_from_labels_at_random_and_from_tracks_that_differ() -> None:
    rng = np.random.default_rng(3)
    alike = np.tile([0.15, 0.23, 0.29, 0.33], (4, 1))
    found = [transitions(chains(rng, alike), 4, seed=i) for i in range(40)]
    assert binom.cdf(sum(one.memoryless for one in found), 40, 0.95) > 0.01
    assert all(one.second_low == 0 for one in found if one.memoryless)
    told = 0
    for i in range(20):
        chances = np.array([[0.1, 0.9], [0.9, 0.1]] * 10)
        label = drawn(rng, chances[:, None].repeat(40, axis=1))
        one = transitions([(np.arange(40), track) for track in label], 2, seed=i)
        assert not one.memoryless
        told += any("tracks differ" in warning for warning in one.warnings)
    assert binom.cdf(told, 20, 0.95) > 0.01


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)), shift=st.integers(0, 1000))
def test_names_and_times_of_classes_do_not_matter(order: list[int], shift: int) -> None:
    sequences = chains(np.random.default_rng(4), PLANTED, 5)
    one = transitions(sequences, 4)
    renamed = [(frames + shift, np.asarray(order)[ids]) for frames, ids in sequences]
    other = transitions(renamed, 4)
    at = np.ix_(order, order)
    for name in ("counts", "probability", "low", "high", "joint_high"):
        assert getattr(other, name)[at] == pytest.approx(getattr(one, name))
    assert other.stationary[order] == pytest.approx(one.stationary)
    assert other.second_eigenvalue == pytest.approx(one.second_eigenvalue)


def test_smoothing_mends_what_the_classifier_confused() -> None:
    rng = np.random.default_rng(5)
    truth = chains(rng, PLANTED, 15, 80)
    seen = [(f, drawn(rng, CONFUSION[ids])) for f, ids in truth]
    found = hidden_markov(seen, CONFUSION, 4, sweeps=300)
    mended = smoothed(seen, CONFUSION, found)
    raw = np.concatenate([a[1] == b[1] for a, b in zip(seen, truth, strict=True)]).mean()
    right = np.concatenate(
        [chance.argmax(axis=1) == one[1] for chance, one in zip(mended, truth, strict=True)]
    ).mean()
    assert right > raw + 0.02
    assert all(np.allclose(chance.sum(axis=1), 1) for chance in mended)


def test_the_stationary_shares_stay() -> None:
    shares = stationary(PLANTED)
    assert shares @ PLANTED == pytest.approx(shares)


def test_what_cannot_be_counted_is_told() -> None:
    with pytest.raises(BadInputError, match="rising frames"):
        transitions([([0, 0], [0, 1])], 2)
    with pytest.raises(BadInputError, match="not one of 2"):
        transitions([([0, 1], [0, 2])], 2)
    with pytest.raises(BadInputError, match="sum to 1"):
        hidden_markov([([0, 1], [0, 1])], np.ones((2, 2)), 2)
    assert transitions([], 3).memoryless


def test_a_long_movie_takes_seconds(
    within: Callable[[float], AbstractContextManager[None]],
) -> None:
    rng = np.random.default_rng(6)
    sequences = [(np.arange(100), rng.integers(0, 5, 100)) for _ in range(100)]
    hidden_markov(sequences[:2], np.eye(5), 5, sweeps=10)  # what it compiles
    transitions(sequences[:2], 5)
    with within(1.5):
        transitions(sequences, 5)
    with within(4):
        hidden_markov(sequences, np.full((5, 5), 0.04) + 0.8 * np.eye(5), 5, sweeps=300)
