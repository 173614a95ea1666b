"""What one pattern leaves open the grain may tell: a choice among the answers, by neighbours.

Positions in doubt take, of the answers that compete there, the one that agrees
with reliable neighbours.  Answers above the threshold are never touched, so a
twin that its own patterns tell stays however thin it is; and nothing is
averaged: an orientation comes out as the matcher found it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.ambiguity import Ambiguity
from napari_diffmap.maps.counts import CRYSTALS, RESOLVED
from napari_diffmap.maps.phases import PhaseLike
from napari_diffmap.maps.quaternions import disorientation, laue_operators

#: Answers of one grain agree within this, degrees.
_WITHIN = 5.0
#: An answer is chosen with so much reliability among the neighbours that agree with
#: it, and so many times that of those that agree with another answer.
_NEEDED, _LEAD = 4.0, 8.0
#: A position that was resolved speaks for its neighbours like one of this reliability.
_RESOLVED_WEIGHT = 0.5
#: Rounds at most; a choice travels three positions a round.
_ROUNDS = 8
#: Share of the choices that are right over all scans of ``benchmarks/twinned_scans.py``
#: with grains on exact twin axes among them, where it is worst; rounded down.
RESOLVED_RELIABILITY = 0.7
#: Neighbours, row and column: up to three positions away in eight directions, for one
#: ring alone lets chance decide.
_AROUND = tuple(
    (far * dy, far * dx) for far in (1, 2, 3) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the choice is made from; positions are counted row by row.

    Attributes
    ----------
    rotations
        ``(Y, X, n, 4)`` answers, laboratory → crystal.
    phase_ids
        ``(Y, X, n)``; -1 where there is none.
    reliability
        ``(Y, X)`` of the first answers, NaN where not estimated.
    crystals
        ``(Y, X)`` crystals of each pattern; the answers at places 1 … crystals - 1
        are of further crystals and compete with nothing.
    """

    rotations: NDArray[np.float32]
    phase_ids: NDArray[np.int16]
    reliability: NDArray[np.float32]
    crystals: NDArray[np.uint8]


def choose(
    found: Candidates,
    phases: Sequence[PhaseLike],
    threshold: float,
    *,
    within_deg: float = _WITHIN,
) -> NDArray[np.uint8]:
    """Which answer the neighbourhood chooses.

    Parameters
    ----------
    found
        The answers.
    phases
        What `phase_ids` counts, for the symmetry.
    threshold
        Reliability below which a position is in doubt, and from which it may speak
        for its neighbours.
    within_deg
        Largest disorientation of answers that agree, degrees.

    Returns
    -------
    ndarray
        ``(Y, X)`` place of the chosen answer; 0 keeps the first.

    Notes
    -----
    All positions choose at once from the choices of the round before, so the
    result does not depend on an order.
    """
    shape = found.reliability.shape
    reliability = np.nan_to_num(found.reliability).ravel()
    ids = found.phase_ids.reshape(len(reliability), -1)
    n = ids.shape[1]
    choice = np.zeros(len(reliability), dtype=np.int64)
    doubtful = np.flatnonzero((reliability < threshold) & (ids[:, 0] >= 0))
    if n < 2 or not len(doubtful):
        return choice.reshape(shape).astype(np.uint8)
    places = np.arange(n)
    crystals = np.maximum(found.crystals.reshape(-1), 1)[doubtful, None]
    competes = (ids[doubtful] >= 0) & ((places == 0) | (places >= crystals))
    other, agree = _agreements(found, doubtful, phases, within_deg)
    weight = np.where((reliability >= threshold) & (ids[:, 0] >= 0), reliability, 0.0)
    index = np.arange(len(doubtful))
    for _ in range(_ROUNDS):
        of_other = agree[index[:, None], np.arange(len(_AROUND)), :, choice[other]]
        support = (of_other * weight[other][..., None]).sum(axis=1)
        support = np.where(competes, support, 0.0)
        best = support.argmax(axis=1)
        most = support[index, best]
        support[index, best] = 0.0
        clear = (most >= _NEEDED) & (most >= _LEAD * support.max(axis=1))
        new = np.where(clear, best, choice[doubtful])
        told = np.where(clear, _RESOLVED_WEIGHT, weight[doubtful])
        if (new == choice[doubtful]).all() and (told == weight[doubtful]).all():
            break
        choice[doubtful], weight[doubtful] = new, told
    return choice.reshape(shape).astype(np.uint8)


def _agreements(
    found: Candidates,
    doubtful: NDArray[np.int64],
    phases: Sequence[PhaseLike],
    within_deg: float,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Neighbours ``(d, 24)`` of the doubtful, and which answers agree, ``(d, 24, n, n)``.

    A neighbour beyond the edge is the position itself, which agrees with nothing.
    """
    rows, columns = found.reliability.shape
    ids = found.phase_ids.reshape(rows * columns, -1)
    rotations = found.rotations.reshape(rows * columns, -1, 4)
    n = ids.shape[1]
    y, x = np.divmod(doubtful, columns)
    other = np.empty((len(doubtful), len(_AROUND)), dtype=np.int64)
    agree = np.zeros((len(doubtful), len(_AROUND), n, n), dtype=bool)
    operators = [laue_operators(phase) for phase in phases]
    for i, (dy, dx) in enumerate(_AROUND):
        inside = (y + dy >= 0) & (y + dy < rows) & (x + dx >= 0) & (x + dx < columns)
        other[:, i] = np.where(inside, doubtful + dy * columns + dx, doubtful)
        for mine in range(n):
            for theirs in range(n):
                first, second = ids[doubtful, mine], ids[other[:, i], theirs]
                for phase, group in enumerate(operators):
                    pairs = np.flatnonzero(inside & (first == phase) & (second == phase))
                    off = disorientation(
                        rotations[doubtful[pairs], mine],
                        rotations[other[pairs, i], theirs],
                        group,
                    )
                    agree[pairs, i, mine, theirs] = off < within_deg
    return other, agree


def resolve(
    arrays: Mapping[str, NDArray[Any]], phases: Sequence[PhaseLike], threshold: float
) -> dict[str, NDArray[Any]]:
    """The arrays of a run with the neighbourhood's choices put first.

    Parameters
    ----------
    arrays
        Maps of `OrientationMethod.maps`, ``(Y, X, …)``.
    phases
        Of the run.
    threshold
        Reliability below which a position is in doubt.

    Returns
    -------
    dict
        New arrays, with ``resolved`` ``(Y, X)`` uint8: 1 where another answer than
        the matcher's best comes first.  That one changed places with the chosen,
        so it is still among the answers, the best score of those that compete.
        ``reliability`` is there the share of such choices that proved right.
    """
    crystals = arrays[CRYSTALS]
    found = Candidates(arrays["rotations"], arrays["phase_ids"], arrays["reliability"], crystals)
    choice = choose(found, phases, threshold)
    out = dict(arrays)
    changed = choice > 0
    out[RESOLVED] = changed.astype(np.uint8)
    order = np.broadcast_to(np.arange(found.phase_ids.shape[-1]), found.phase_ids.shape).copy()
    order[..., 0] = choice
    np.put_along_axis(order, choice[..., None].astype(np.int64), 0, axis=-1)
    order[..., 0] = choice
    for name in ("phase_ids", "scores"):
        out[name] = np.take_along_axis(arrays[name], order, axis=-1)
    out["rotations"] = np.take_along_axis(arrays["rotations"], order[..., None], axis=-2)
    reliability = arrays["reliability"].copy()
    reliability[changed] = RESOLVED_RELIABILITY
    out["reliability"] = reliability
    out["ambiguity"] = _doubts(arrays["ambiguity"], changed, threshold)
    return out


def _doubts(
    ambiguity: NDArray[np.uint8], changed: NDArray[np.bool_], threshold: float
) -> NDArray[np.uint8]:
    """Causes of doubt that are left: where it was resolved only overlaps stay."""
    kept = {Ambiguity.OVERLAP} if threshold <= RESOLVED_RELIABILITY else set(Ambiguity)
    gone = changed & ~np.isin(ambiguity, list(kept))
    return np.where(gone, np.uint8(Ambiguity.NONE), ambiguity).astype(np.uint8)
