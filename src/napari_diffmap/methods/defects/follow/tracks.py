"""Finds linked through the frames to tracks, with births, deaths and gaps in every frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.parameters import FollowParameters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Track of a find that belongs to none.
NO_TRACK: Final = -1


@dataclass(frozen=True, eq=False)
class Tracks:
    """Which finds are one defect through time.

    Attributes
    ----------
    track
        ``(n,)`` number of the track of each find, in the order of birth; `NO_TRACK` where it was
        seen too few times to count.
    first, last
        ``(k,)`` frames in which each track was first and last seen.
    seen
        ``(k,)`` frames in which it was seen.
    births, deaths
        ``(T,)`` tracks that begin and that were seen last, frame by frame.  What is there in the
        first frame was not born in it, what is there in the last has not died.
    gaps
        ``(T,)`` tracks that go unseen in a frame between two in which they were seen.
    """

    track: Ints
    first: Ints
    last: Ints
    seen: Ints
    births: Ints
    deaths: Ints
    gaps: Ints

    def __len__(self) -> int:
        return len(self.first)

    def members(self) -> list[Ints]:
        """Finds of each track in the order of frames (finds are in that order)."""
        order = np.argsort(self.track, kind="stable")
        start = np.searchsorted(self.track[order], np.arange(len(self) + 1))
        return [order[a:b] for a, b in pairwise(start)]


def link(
    finds: Finds,
    parameters: FollowParameters,
    neighbour_px: float,
    drift: Floats | None = None,
    *,
    groups: NDArray[Any] | None = None,
    frames: int | None = None,
) -> Tracks:
    """Link finds of successive frames, then bridge gaps; every find is in one track at most.

    Frame after frame, the pairs whose squared distances sum to the least are linked (laptrack);
    ends and beginnings that are left are joined over gaps in the same way, where the reach grows
    with the square root of the time that passed, as the way of a random walk does.

    Parameters
    ----------
    finds
        In the order of frames.
    parameters
        Reach, gap, and shortest track.
    neighbour_px
        Distance of neighbouring sites of a sublattice, pixels.
    drift
        ``(T, 2)`` shift of each frame, subtracted from the places before linking.
    groups
        ``(n,)`` kinds of finds that are never linked with each other; the sublattices by default.
        Pass zeros where a defect may change sublattice, as in graphene.
    frames
        Frames of the movie; by default those of `drift`, or up to the last find.

    Raises
    ------
    BadInputError
        If frames are out of order, or the drift does not cover them.
    """
    n = len(finds)
    frame = finds.frame.astype(np.int64)
    if n and (np.any(np.diff(frame) < 0) or frame[0] < 0):
        raise BadInputError("finds must be in the order of frames: sort them first")
    if neighbour_px <= 0 or not np.isfinite(neighbour_px):
        raise BadInputError("the distance of neighbouring sites must be above 0 to link finds")
    last = int(frame[-1]) + 1 if n else 0
    count = frames if frames is not None else len(drift) if drift is not None else last
    if count < last or (drift is not None and np.shape(drift) != (count, 2)):
        raise BadInputError(f"drift and frames must cover the {last} frames that have finds")
    places = finds.places if drift is None else finds.places - np.asarray(drift)[frame]
    kinds = finds.sublattice if groups is None else np.asarray(groups)
    reach = parameters.reach * neighbour_px
    after = np.full(n, NO_TRACK)
    for kind in np.unique(kinds):
        of_kind = np.flatnonzero(kinds == kind)
        after[of_kind] = _linked(places, frame, of_kind, reach, parameters.gap)
    return _tracks(after, frame, count, parameters.shortest)


def _linked(places: Floats, frame: Ints, of_kind: Ints, reach: float, gap: int) -> Ints:
    """The next find of the same defect, of each find of a kind; `NO_TRACK` at its end."""
    after = np.full(len(frame), NO_TRACK)
    first, last = int(frame[of_kind[0]]), int(frame[of_kind[-1]])
    start = np.searchsorted(frame[of_kind], np.arange(first, last + 2))
    parts = [of_kind[a:b] for a, b in pairwise(start)]
    if len(parts) > 1:
        from laptrack import LapTrack

        # births and deaths cost as much as the longest link, in every frame alike: by default
        # laptrack takes them from the links of the frame, and rare jumps pay for calm ones
        linker = LapTrack(
            cutoff=reach**2,
            gap_closing_cutoff=False,
            track_start_cost=reach**2,
            track_end_cost=reach**2,
        )
        tree = linker.predict([places[part].reshape(-1, 2) for part in parts])
        for (t, i), (u, j) in tree.edges:
            after[parts[t][i]] = parts[u][j]
    if gap > 0:
        _bridge(after, places, frame, of_kind, reach, gap)
    return after[of_kind]


def _bridge(
    after: Ints, places: Floats, frame: Ints, of_kind: Ints, reach: float, gap: int
) -> None:
    """Join ends and beginnings over frames in which a defect went unseen, in place.

    laptrack's own way of it takes seconds where thousands of ends meet thousands of beginnings.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching
    from scipy.spatial import cKDTree

    begun = np.setdiff1d(of_kind, after[of_kind])
    ended = of_kind[after[of_kind] == NO_TRACK]
    rows, columns, costs = [], [], []
    for passed in range(2, gap + 2):
        tree = cKDTree(np.column_stack([places[begun], frame[begun] * 1e6]))
        at = np.column_stack([places[ended], (frame[ended] + passed) * 1e6])
        near = tree.query_ball_point(at, reach * np.sqrt(passed))
        lengths = [len(one) for one in near]
        if not sum(lengths):
            continue
        i = np.repeat(np.arange(len(ended)), lengths)
        j = np.concatenate([np.asarray(one, dtype=np.int64) for one in near])
        way = ((places[begun[j]] - places[ended[i]]) ** 2).sum(axis=1) / passed
        rows.append(i)
        columns.append(j)
        costs.append(way / reach**2)
    if not rows:
        return
    i, j, cost = (np.concatenate(one) for one in (rows, columns, costs))
    used, i = np.unique(i, return_inverse=True)
    met, j = np.unique(j, return_inverse=True)
    # ends and beginnings may stay alone at the price of the longest bridge: each gets a partner
    # that stands for that, and the partners of a joined pair are joined at no cost (the matching
    # wants costs above 0, so all are raised alike: every full matching has as many pairs)
    n, m = len(used), len(met)
    a, b = np.arange(n), np.arange(m)
    whole = coo_array(
        (
            np.concatenate([cost, np.ones(n + m), np.zeros(len(cost))]) + 1,
            (np.concatenate([i, a, n + b, n + j]), np.concatenate([j, m + a, b, m + i])),
        ),
        shape=(n + m, n + m),
    ).tocsr()
    left, right = min_weight_full_bipartite_matching(whole)
    joined = (left < n) & (right < m)
    after[ended[used[left[joined]]]] = begun[met[right[joined]]]


def _tracks(after: Ints, frame: Ints, count: int, shortest: int) -> Tracks:
    """Chains of finds as tracks, in the order of birth."""
    head = np.arange(len(after))
    # finds are in the order of frames: every link points forward, one pass settles all
    for one in np.flatnonzero(after != NO_TRACK):
        head[after[one]] = head[one]
    heads, which, seen = np.unique(head, return_inverse=True, return_counts=True)
    kept = seen >= shortest
    number = np.where(kept, np.cumsum(kept) - 1, NO_TRACK)
    track = number[which].astype(np.int64)
    last = np.zeros(len(heads), dtype=np.int64)
    np.maximum.at(last, which, frame)
    first, last, seen = frame[heads][kept], last[kept], seen[kept]
    births = np.bincount(first[first > 0], minlength=count)
    deaths = np.bincount(last[last < count - 1], minlength=count)
    alive = np.cumsum(
        np.bincount(first, minlength=count + 1) - np.bincount(last + 1, minlength=count + 1)
    )[:count]
    present = np.bincount(frame[track != NO_TRACK], minlength=count)
    return Tracks(track, first, last, seen, births, deaths, alive - present)
