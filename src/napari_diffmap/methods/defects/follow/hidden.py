"""Transitions of the true classes behind those that a classifier of known confusion saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.follow.transitions import (
    Sequences,
    Transitions,
    described,
    laid_out,
    memory,
)

Floats = NDArray[np.float64]
#: Transitions that the prior of an entry weighs in the sampling.
_PRIOR: Final = 0.5
#: Sweeps before the first that counts.
_BURN: Final = 100
#: Draws of a probability for each drawn path.
_DRAWS: Final = 8


def hidden_markov(
    sequences: Sequences,
    confusion: Floats,
    k: int,
    frame_time_s: float | None = None,
    *,
    names: Sequence[str] | None = None,
    sweeps: int = 1000,
    seed: int = 0,
) -> Transitions:
    """Transition probabilities of a hidden Markov model whose emissions are known.

    Baum and Welch's iteration finds where the likelihood is largest; from there Gibbs sampling
    draws hidden paths and transition probabilities in turn, and the intervals are those of the
    draws, with the same range of priors as in `transitions`.  Frames in which a defect was not
    seen are passed through, not left out.

    Parameters
    ----------
    sequences
        Frames and seen classes of each track; -1 where unknown.
    confusion
        ``(k, k)`` chance that a defect of the row's class is called the column's.
    k
        Number of classes.
    frame_time_s
        Time from frame to frame, where it is known.
    names
        Of the classes.
    sweeps
        Hidden paths drawn.
    seed
        Of the draws.

    Raises
    ------
    BadInputError
        If the rows of the confusion do not sum to 1.
    """
    from napari_diffmap.methods.defects.follow.chains import sampled

    labels, starts, seen_as = _given(sequences, confusion, k)
    probability, start, counts = _most_likely(labels, starts, seen_as)
    rng = np.random.default_rng(seed)
    drawn, rows = sampled(labels, starts, probability, start, seen_as, _PRIOR, _BURN + sweeps, rng)
    drawn, rows = drawn[_BURN:], rows[_BURN:]
    found = described(
        names,
        counts,
        rows.mean(axis=0),
        _intervals(drawn, rows, rng),
        rows,
        memory(labels, starts, k, rng),
        frame_time_s,
        0,
        "hidden",
    )
    worst = float(np.linalg.cond(seen_as))
    if worst < 20:
        return found
    blurred = "the classifier hardly tells some classes apart: their transitions are guesses"
    return replace(found, warnings=(*found.warnings, blurred))


def smoothed(sequences: Sequences, confusion: Floats, found: Transitions) -> list[Floats]:
    """Chance of each true class at each place of each track, given the whole track.

    Parameters
    ----------
    sequences, confusion
        As given to `hidden_markov`.
    found
        Its answer.
    """
    from napari_diffmap.methods.defects.follow.chains import expected

    k = len(found.probability)
    chances = []
    for frames, ids in sequences:
        frame, known = np.asarray(frames, dtype=np.int64), np.asarray(ids) >= 0
        out = np.tile(found.stationary, (len(frame), 1))
        if known.any():
            labels, starts, seen_as = _given([(frames, ids)], confusion, k)
            *_, smooth, _ = expected(labels, starts, found.probability, found.stationary, seen_as)
            at = np.clip(frame - frame[known][0], 0, len(smooth) - 1)
            out = smooth[at]
        chances.append(out)
    return chances


def _given(
    sequences: Sequences, confusion: Floats, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    seen_as = np.ascontiguousarray(confusion, dtype=np.float64)
    if seen_as.shape != (k, k) or np.any(seen_as < 0) or not np.allclose(seen_as.sum(axis=1), 1):
        raise BadInputError(f"the confusion must be {k} × {k} chances whose rows sum to 1")
    labels, starts = laid_out(sequences, k)
    return labels, starts, seen_as


def _most_likely(
    labels: NDArray[np.int64], starts: NDArray[np.int64], seen_as: Floats
) -> tuple[Floats, Floats, Floats]:
    """Transitions, first classes and expected counts of the largest posterior."""
    from napari_diffmap.methods.defects.follow.chains import expected

    k = len(seen_as)
    probability = np.full((k, k), 0.5 / k) + 0.5 * np.eye(k)
    start = np.full(k, 1 / k)
    counts = np.zeros((k, k))
    before = -np.inf
    for _ in range(200):
        counts, firsts, _, likelihood = expected(labels, starts, probability, start, seen_as)
        # a little of a count keeps rows that nothing speaks for in the middle
        probability = (counts + 0.01) / (counts + 0.01).sum(axis=1, keepdims=True)
        start = (firsts + 0.01) / (firsts + 0.01).sum()
        if likelihood - before < 1e-5 * max(len(labels), 1):
            break
        before = likelihood
    return probability, start, counts


def _intervals(
    drawn: Floats, rows: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats, Floats]:
    """Intervals of each entry and of all, from drawn counts and probabilities ``(sweeps, k, k)``.

    The range of priors is that of one transition that is seen: of hidden ones, which tell less,
    as many as tell the same.
    """
    k = drawn.shape[1]
    total = drawn.sum(axis=2, keepdims=True)
    share = (drawn + _PRIOR) / (total + k * _PRIOR)
    told = (share * (1 - share) / (total + k * _PRIOR + 1)).mean(axis=0)
    weight = np.clip(rows.var(axis=0) / np.maximum(told, 1e-12), 1, 10)
    counts = np.repeat(drawn, _DRAWS, axis=0)
    others = counts.sum(axis=2, keepdims=True) - counts
    tails = 0.025, 0.025 / k**2
    # a share is a gamma number over the sum of two; the prior's weight is on either side
    some, rest = rng.standard_gamma(counts), rng.standard_gamma(others + weight)
    lows = np.quantile(some / (some + rest), tails, axis=0)
    some, rest = rng.standard_gamma(counts + weight), rng.standard_gamma(others)
    highs = np.quantile(some / (some + rest), [1 - t for t in tails], axis=0)
    return lows[0], highs[0], lows[1], highs[1]
