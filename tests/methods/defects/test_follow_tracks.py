"""Tracks of planted movies: who is who, births, deaths, gaps, drift, kinds, speed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.follow.tracks import NO_TRACK, link
from napari_diffmap.methods.defects.parameters import FollowParameters

PX = 10.0


def finds_of(rows: np.ndarray, sublattice: np.ndarray | None = None) -> Finds:
    """Finds from rows of frame, y, x."""
    n = len(rows)
    kind = np.zeros(n) if sublattice is None else sublattice
    return Finds(rows[:, 0], rows[:, 1:], np.ones(n), kind, np.ones(n), np.full(n, 0.1))


def walkers(
    seed: int, count: int, frames: int, step: float, seen: float = 1.0
) -> tuple[Finds, np.ndarray]:
    """Random walks from sites of a grid, some finds left out, in random order within a frame."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(count)))
    place = np.stack(np.divmod(np.arange(count), side), axis=1) * 3 * PX
    parts, truth = [], []
    for t in range(frames):
        some = rng.permutation(count)[rng.random(count) < seen]
        parts.append(np.column_stack([np.full(len(some), t), place[some]]))
        truth.append(some)
        place = place + rng.normal(0, step, place.shape)
    return finds_of(np.concatenate(parts)), np.concatenate(truth)


def test_walkers_keep_their_tracks_through_gaps() -> None:
    finds, truth = walkers(0, 30, 40, 0.1 * PX, seen=0.9)
    tracks = link(finds, FollowParameters(gap=3), PX)
    assert len(tracks) == 30
    pairs = {(int(a), int(b)) for a, b in zip(tracks.track, truth, strict=True)}
    assert len(pairs) == 30
    assert tracks.gaps.sum() + len(finds) == (tracks.last - tracks.first + 1).sum()
    assert tracks.seen.sum() == len(finds)
    for number, members in enumerate(tracks.members()):
        assert np.all(tracks.track[members] == number)
        assert np.all(np.diff(finds.frame[members]) > 0)


def test_births_deaths_and_gaps_are_counted_where_they_happen() -> None:
    rows = [(t, 0, 0) for t in range(10)]
    rows += [(t, 50, 0) for t in (3, 4, 6, 7)]
    rows += [(t, 90, 0) for t in (0, 1, 2, 8, 9)]  # unseen for too long: two tracks
    rows += [(5, 200, 0)]  # too short to count
    given = np.array(sorted(rows), dtype=float)
    tracks = link(finds_of(given), FollowParameters(gap=2, shortest=2), PX, frames=12)
    assert tracks.first.tolist() == [0, 0, 3, 8]
    assert tracks.last.tolist() == [9, 2, 7, 9]
    assert np.flatnonzero(tracks.births).tolist() == [3, 8]
    assert tracks.deaths.tolist() == [0, 0, 1, 0, 0, 0, 0, 1, 0, 2, 0, 0]
    assert np.flatnonzero(tracks.gaps).tolist() == [5]
    assert tracks.track[np.flatnonzero(given[:, 1] == 200)] == NO_TRACK


def test_kinds_are_never_linked_and_drift_is_taken_off() -> None:
    frames = np.arange(20)
    drift = np.stack([4.0 * frames, -7.0 * frames], axis=1)
    rows = np.concatenate(
        [np.column_stack([frames, drift + at]) for at in ([0, 0], [2, 1], [40, 60])]
    )
    order = np.argsort(rows[:, 0], kind="stable")
    kind = np.repeat([0, 1, 0], 20)[order]
    finds = finds_of(rows[order], kind)
    tracks = link(finds, FollowParameters(reach=0.3), PX, drift)
    assert len(tracks) == 3
    assert all(len(set(kind[members])) == 1 for members in tracks.members())
    # a defect that changes sublattice is one track where the kinds are said to be one
    swapped = finds_of(rows[order][kind == 0], np.arange(40) % 2)
    assert len(link(swapped, FollowParameters(reach=0.3), PX, drift, groups=np.zeros(40))) == 2


def test_two_never_claim_one_find() -> None:
    rows = np.array([(0, 0, 0), (0, 0, 6), (1, 0, 3), (2, 0, 0), (2, 0, 6)], dtype=float)
    tracks = link(finds_of(rows), FollowParameters(gap=2, shortest=1), PX)
    for members in tracks.members():
        assert len(set(rows[members, 0])) == len(members)
    assert len(tracks) == 2


def test_what_cannot_be_linked_is_told() -> None:
    rows = np.array([(1, 0, 0), (0, 0, 0)], dtype=float)
    with pytest.raises(BadInputError, match="order of frames"):
        link(finds_of(rows), FollowParameters(), PX)
    with pytest.raises(BadInputError, match="cover the 2 frames"):
        link(finds_of(rows[::-1]), FollowParameters(), PX, np.zeros((1, 2)))
    assert len(link(Finds.empty(), FollowParameters(), PX, frames=4)) == 0
    assert link(Finds.empty(), FollowParameters(), PX, frames=4).gaps.tolist() == [0] * 4


def test_a_long_movie_takes_seconds(
    within: Callable[[float], AbstractContextManager[None]],
) -> None:
    finds, truth = walkers(1, 300, 100, 0.03 * PX, seen=0.8)
    link(finds.take(slice(0, 600)), FollowParameters(), PX)  # what it imports
    with within(2):
        tracks = link(finds, FollowParameters(), PX)
    of_one = [len(set(truth[members])) == 1 for members in tracks.members()]
    assert np.mean(of_one) > 0.99
