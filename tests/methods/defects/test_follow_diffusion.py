"""Diffusion of planted walks: unbiased, covered by its interval, whatever gaps and frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multivariate_normal

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.follow.diffusion import diffusion, hops, pooled
from napari_diffmap.methods.defects.follow.increments import Modes, Walk, modes
from napari_diffmap.methods.defects.follow.msd import squared_displacement

#: nm²/s, s, nm
D, DT, NOISE = 2e-3, 2.25, 0.03


def walk(
    rng: np.random.Generator, length: int, missing: float = 0.0, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray]:
    place = np.cumsum(rng.normal(0, np.sqrt(2 * D * DT), (length, 2)), axis=0)
    seen = rng.random(length) >= missing
    seen[:3] = True
    return (place + rng.normal(0, noise, place.shape))[seen], np.flatnonzero(seen)


def enough(covered: int, runs: int) -> bool:
    """Whether so few are not out of the ordinary for intervals that hold 95 %."""
    return bool(binom.cdf(covered, runs, 0.95) > 0.01)


@pytest.mark.parametrize("given_noise", [None, NOISE])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_modes_hold_the_likelihood_of_the_ways(given_noise: float | None, missing: float) -> None:
    place, frames = walk(np.random.default_rng(3), 12, missing)
    a, s = 2 * D * DT, NOISE**2
    ways, gaps = np.diff(place[:, 0]), np.diff(frames)
    n = len(ways)
    covariance = np.diag(a * gaps + 2 * s) - s * (np.eye(n, k=1) + np.eye(n, k=-1))
    expected = -2 * multivariate_normal(cov=covariance).logpdf(ways)
    error = None if given_noise is None else np.full(len(frames), given_noise)
    m = modes(place[:, :1], frames, error)
    variance = a + (s if error is None else 1) * m.noise
    found = (np.log(variance) + m.power / variance).sum() + np.log(gaps).sum()
    assert found + n * np.log(2 * np.pi) == pytest.approx(expected)
    assert Walk(m).at(a, m.power[None])[0] <= found - np.log(gaps).sum() + 1e-2


def test_the_estimate_is_unbiased_with_gaps_and_given_noise() -> None:
    rng = np.random.default_rng(0)
    tracks = [walk(rng, 30, 0.25) for _ in range(400)]
    places, frames = [t[0] for t in tracks], [t[1] for t in tracks]
    for noise in (None, NOISE):
        found = pooled(places, DT, frames, localisation_nm=noise)
        assert found.D_nm2_s == pytest.approx(D, rel=0.06)
        assert found.likelihood_nm2_s == pytest.approx(D, rel=0.06)
        assert found.localisation_nm == pytest.approx(NOISE, rel=0.1)
        assert found.low < D < found.high
        assert found.confined is False
        assert found.warning == ""


@pytest.mark.parametrize(("length", "tracks", "missing"), [(60, 1, 0.0), (12, 8, 0.2)])
def test_intervals_hold_the_truth(length: int, tracks: int, missing: float) -> None:
    rng = np.random.default_rng(1)
    runs = covered = 40
    for _ in range(runs):
        drawn = [walk(rng, length, missing) for _ in range(tracks)]
        found = pooled([t[0] for t in drawn], DT, [t[1] for t in drawn])
        covered -= not found.low <= D <= found.high
    assert enough(covered, runs)
    assert found.high < 4 * D


def test_one_at_rest_has_an_interval_from_zero() -> None:
    place = np.random.default_rng(5).normal(0, NOISE, (80, 2))
    found = diffusion(place, DT, np.arange(80))
    assert found.low == 0
    assert found.high < D / 5
    assert found.confined is None
    assert "at rest" in found.warning


def test_a_well_is_told_from_a_free_walk() -> None:
    rng = np.random.default_rng(2)
    told = {0.85: 0, 1.0: 0}
    for left in told:
        for _ in range(20):
            place = np.zeros((100, 2))
            for t in range(1, 100):
                place[t] = left * place[t - 1] + rng.normal(0, np.sqrt(2 * D * DT), 2)
            found = diffusion(place + rng.normal(0, NOISE, place.shape), DT, np.arange(100))
            told[left] += found.confined is True
    assert told[0.85] >= 14
    assert told[1.0] <= 4


def test_tracks_that_do_not_share_one_d_are_told() -> None:
    rng = np.random.default_rng(4)
    drawn = [walk(rng, 40) for _ in range(12)]
    quick = [place * (3 if k % 2 else 1) for k, (place, _) in enumerate(drawn)]
    assert "do not have one D" in pooled(quick, DT, [f for _, f in drawn]).warning
    assert pooled([p for p, _ in drawn], DT, [f for _, f in drawn]).warning == ""


@settings(max_examples=15, deadline=None)
@given(
    angle=st.floats(0, 2 * np.pi),
    shift=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    first=st.integers(0, 50),
)
def test_d_is_that_of_the_walk_and_not_of_the_axes(
    angle: float, shift: tuple[float, float], first: int
) -> None:
    place, frames = walk(np.random.default_rng(6), 25, 0.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    one = diffusion(place, DT, frames)
    other = diffusion(place @ turn + shift, DT, frames + first)
    for name in ("D_nm2_s", "low", "high", "likelihood_nm2_s", "confinement_p"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-3, abs=1e-9)


def test_many_modes_are_taken_together_without_loss() -> None:
    rng = np.random.default_rng(8)
    parts = [modes(*walk(rng, 30, 0.2)) for _ in range(40)]
    together = Modes.joined(parts)
    assert len(together.noise) <= 256 < sum(len(m.noise) for m in parts)
    a, s = Walk(together).estimate()
    exact = [np.concatenate([getattr(m, name) for m in parts]) for name in ("power", "noise")]
    apart = Modes(exact[0], np.full(len(exact[0]), 2.0), exact[1])
    assert Walk(apart).estimate() == pytest.approx((a, s), rel=0.02)


def test_squared_displacements_and_their_interval() -> None:
    rng = np.random.default_rng(9)
    covered, runs = np.zeros(15, int), 40
    for run in range(runs):
        place, frames = walk(rng, 60, 0.1)
        got = squared_displacement([place], [frames], DT, D, NOISE, lags=15, seed=run)
        truth = 4 * D * got.lag_s + 4 * NOISE**2
        covered += (got.low <= truth) & (truth <= got.high)
    default = squared_displacement([place], [frames], DT, D, NOISE)
    assert len(default.lag_s) == frames[-1] // 4
    assert covered.min() >= 32
    by_hand = [
        ((place[i] - place[j]) ** 2).sum()
        for i in range(len(frames))
        for j in range(i)
        if frames[i] - frames[j] == 3
    ]
    assert got.msd_nm2[2] == pytest.approx(np.mean(by_hand))
    assert got.pairs[2] == len(by_hand)


def hopping(rng: np.random.Generator, rate: float, frames: int) -> tuple[np.ndarray, int]:
    """Places of a walk on a triangular lattice of 0.3 nm, one a frame, and its true hops."""
    turns = np.deg2rad(60 * np.arange(6))
    steps = 0.3 * np.stack([np.sin(turns), np.cos(turns)], axis=1)
    made = rng.poisson(rate, frames - 1)
    ways = np.array([steps[rng.integers(6, size=n)].sum(axis=0) for n in made])
    place = np.concatenate([np.zeros((1, 2)), np.cumsum(ways, axis=0)])
    return place + rng.normal(0, 0.02, place.shape), int(made.sum())


def test_hops_are_counted_with_the_interval_of_a_count() -> None:
    rng = np.random.default_rng(10)
    runs = covered = 200
    for _ in range(runs):
        place, _ = hopping(rng, 0.03, 100)
        found = hops([place], [np.arange(100)], DT, 0.3)
        covered -= not found.low <= 0.03 / DT <= found.high
    assert enough(covered, runs)
    assert found.warning == ""
    assert found.D_nm2_s == pytest.approx(found.rate * 0.3**2 / 4)
    none = hops([place[:1].repeat(30, axis=0)], [np.arange(30)], DT, 0.3)
    assert (none.hops, none.low) == (0, 0)
    assert none.high * none.seconds == pytest.approx(3.689, abs=1e-3)  # Garwood's for no count


def test_hops_hidden_within_a_frame_are_told_and_made_good() -> None:
    place, made = hopping(np.random.default_rng(11), 0.8, 3000)
    reach = np.linalg.norm(np.diff(place, axis=0), axis=1) < 1.2 * 0.3
    cuts = np.flatnonzero(~reach) + 1
    places = np.split(place, cuts)
    found = hops(places, [np.arange(len(one)) for one in places], DT, 0.3)
    assert "hidden" in found.warning
    assert found.high < 0.8 / DT
    assert found.true_low < 0.8 / DT < found.true_high
    assert found.hops < made


def test_what_cannot_be_told_is_said() -> None:
    assert "no track of 3" in diffusion(np.zeros((2, 2)), DT, np.arange(2)).warning
    still = diffusion(np.ones((20, 2)), DT, np.arange(20))
    assert (still.D_nm2_s, still.low) == (0, 0)
    assert "hop rate" in still.warning
    place, _ = hopping(np.random.default_rng(12), 0.05, 200)
    assert "jumps" in diffusion(place, DT, np.arange(200)).warning
    with pytest.raises(BadInputError, match="frame time"):
        diffusion(place, 0, np.arange(200))
    with pytest.raises(BadInputError, match="rising"):
        diffusion(place, DT, np.zeros(200, int))
