"""Transitions of classes from frame to frame: probabilities with intervals, memory, lag time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_diffmap.errors import BadInputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Frames and classes of one track; class -1 where it is not known.
Sequences = Sequence[tuple[ArrayLike, ArrayLike]]
#: p below which rows of a matrix are not called the same.
_DIFFERENT: Final = 0.05
_SHUFFLES: Final = 499
_DRAWS: Final = 2000


@dataclass(frozen=True, eq=False)
class Transitions:
    """How classes follow one another in frames one apart.

    Attributes
    ----------
    names
        Names of the k classes.
    counts
        ``(k, k)`` transitions from row to column; expected ones of a hidden Markov model.
    probability
        ``(k, k)`` mean of the posterior; rows sum to 1.
    low, high
        ``(k, k)`` 95 % interval of each entry.
    joint_low, joint_high
        ``(k, k)`` intervals that hold all entries at once with 95 %.
    stationary
        ``(k,)`` shares of the classes in the long run.
    second_eigenvalue
        Size of the second largest eigenvalue of `probability`: 0 without memory, 1 for ever.
    second_low, second_high
        Its 95 % interval.
    implied_time_s
        ``-frame time / ln(second eigenvalue)``: how long classes are remembered; NaN where the
        frame time is not known.
    memoryless
        Whether all rows may be the same: the class of a frame tells nothing of the next.
    memory_p
        Chance that labels in random order look as orderly as these.
    apart
        Pairs of places with frames missing between them, which are not counted.
    method
        "counts" or "hidden".
    warnings
        What to know of it.
    """

    names: tuple[str, ...]
    counts: Floats
    probability: Floats
    low: Floats
    high: Floats
    joint_low: Floats
    joint_high: Floats
    stationary: Floats
    second_eigenvalue: float
    second_low: float
    second_high: float
    implied_time_s: float
    memoryless: bool
    memory_p: float
    apart: int
    method: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LagTest:
    """Chapman and Kolmogorov: what one frame foretells of several.

    Attributes
    ----------
    lags
        ``(L,)`` frames.
    measured, foretold
        ``(L, k, k)`` transition probabilities counted at the lag; powers of the matrix of lag 1.
        NaN where nothing was counted.
    p
        ``(L,)`` chance that a Markov chain differs as much.  Small where labels are in error
        (they seem to forget at once and then no more), or what shows is not all there is.
    """

    lags: Ints
    measured: Floats
    foretold: Floats
    p: Floats


def laid_out(sequences: Sequences, k: int) -> tuple[Ints, Ints]:
    """Classes of all tracks, dense in frames, -1 where unseen, and the start of each.

    Raises
    ------
    BadInputError
        If frames do not rise, or a class is not below k.
    """
    parts, starts = [], [0]
    for frames, ids in sequences:
        frame, label = np.asarray(frames, dtype=np.int64), np.asarray(ids, dtype=np.int64)
        known = label >= 0
        frame, label = frame[known], label[known]
        if not len(frame):
            continue
        if np.any(np.diff(frame) <= 0):
            raise BadInputError("a track must have one class a frame, in rising frames")
        if label.max() >= k:
            raise BadInputError(f"class {label.max()} is not one of {k}: name more classes")
        dense = np.full(int(frame[-1] - frame[0]) + 1, -1, dtype=np.int64)
        dense[frame - frame[0]] = label
        parts.append(dense)
        starts.append(starts[-1] + len(dense))
    labels = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    return labels, np.asarray(starts, dtype=np.int64)


def transitions(
    sequences: Sequences,
    k: int,
    frame_time_s: float | None = None,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Transitions:
    """Transition probabilities from the pooled counts of all tracks.

    Each row has a Dirichlet posterior.  Its prior weighs as much as one transition; where that
    lies among the classes is not known, so an interval runs from the lowest to the highest that
    any such prior gives (Walley 1996), which for few counts, too, holds the truth in 95 %.

    Parameters
    ----------
    sequences
        Frames and classes of each track.
    k
        Number of classes.
    frame_time_s
        Time from frame to frame, where it is known.
    names
        Of the classes.
    seed
        Of shuffles and draws.
    """
    from napari_diffmap.methods.defects.follow.chains import pair_counts

    labels, starts = laid_out(sequences, k)
    counts = pair_counts(labels, starts, 1, k).astype(np.float64)
    rng = np.random.default_rng(seed)
    rows = rng.standard_gamma(counts + 1 / k, (_DRAWS, k, k)) + 1e-300
    rows /= rows.sum(axis=2, keepdims=True)
    low, high = _interval(counts, 0.025)
    joint_low, joint_high = _interval(counts, 0.025 / k**2)
    seen = int((labels >= 0).sum())
    apart = max(seen - (len(starts) - 1), 0) - int(counts.sum())
    return described(
        names,
        counts,
        (counts + 1 / k) / (counts.sum(axis=1, keepdims=True) + 1),
        (low, high, joint_low, joint_high),
        rows,
        memory(labels, starts, k, rng),
        frame_time_s,
        apart,
        "counts",
    )


def _interval(counts: Floats, tail: float) -> tuple[Floats, Floats]:
    """Lowest and highest quantile of the posteriors of all priors that weigh one count."""
    from scipy.stats import beta

    others = counts.sum(axis=1, keepdims=True) - counts
    with np.errstate(invalid="ignore"):
        low = np.where(counts > 0, beta.ppf(tail, counts, others + 1), 0.0)
        high = np.where(others > 0, beta.ppf(1 - tail, counts + 1, others), 1.0)
    return low, high


def described(
    names: Sequence[str] | None,
    counts: Floats,
    probability: Floats,
    intervals: tuple[Floats, Floats, Floats, Floats],
    rows: Floats,
    tested: tuple[float, float],
    frame_time_s: float | None,
    apart: int,
    method: str,
) -> Transitions:
    """Transitions with all that follows from probabilities and from draws of them."""
    k = len(counts)
    p, p_within = tested
    memoryless = not p < _DIFFERENT
    second = _second(probability[None])[0] if k > 1 else 0.0
    least, most = _second_interval(_second(rows), second) if k > 1 else (0.0, 0.0)
    warnings = []
    if memoryless:
        least = 0.0
        if most > 0.5:
            warnings.append("too few transitions to tell whether classes are remembered")
        else:
            warnings.append(
                "memoryless: a class tells nothing of the next frame; switching is faster than a"
                " frame, or labels are in error"
            )
    elif not p_within < _DIFFERENT:
        warnings.append(
            "tracks differ in the classes they show, but within a track there is no memory"
        )
    empty = np.flatnonzero(counts.sum(axis=1) < 1)
    listed = tuple(names) if names is not None else tuple(f"class {i + 1}" for i in range(k))
    if len(empty):
        warnings.append("no transition from " + ", ".join(listed[i] for i in empty))
    time = float("nan")
    if frame_time_s is not None:
        time = -frame_time_s / np.log(second) if 0 < second < 1 else (np.inf if second else 0.0)
    return Transitions(
        names=listed,
        counts=counts,
        probability=probability,
        low=intervals[0],
        high=intervals[1],
        joint_low=intervals[2],
        joint_high=intervals[3],
        stationary=stationary(probability),
        second_eigenvalue=float(second),
        second_low=float(least),
        second_high=float(most),
        implied_time_s=float(time),
        memoryless=memoryless,
        memory_p=p,
        apart=apart,
        method=method,
        warnings=tuple(warnings),
    )


def _second(matrices: Floats) -> Floats:
    """Size of the second largest eigenvalue of each matrix."""
    sizes = np.sort(np.abs(np.linalg.eigvals(matrices)), axis=1)
    return np.asarray(sizes[:, -2])


def _second_interval(drawn: Floats, found: float) -> tuple[float, float]:
    """95 % interval of an eigenvalue from draws of matrices.

    Scatter makes small eigenvalues larger, in the draws as in what was found: the interval runs
    over the draws as they lie, and as they lie once their bias is taken off (Efron 1987).
    """
    from scipy.stats import norm

    below = np.clip((drawn < found).mean(), 0.5 / len(drawn), 1 - 0.5 / len(drawn))
    ends = norm.cdf(2 * norm.ppf(below) + np.array([-1.96, 1.96]))
    low, high = np.quantile(drawn, [min(ends[0], 0.025), max(ends[1], 0.975)])
    return float(low), float(high)


def stationary(probability: Floats) -> Floats:
    """Shares that the transitions leave as they are ``(k,)``."""
    k = len(probability)
    equations = np.vstack([probability.T - np.eye(k), np.ones(k)])
    shares = np.linalg.lstsq(equations, np.append(np.zeros(k), 1), rcond=None)[0]
    return np.asarray(np.clip(shares, 0, 1) / np.clip(shares, 0, 1).sum())


def memory(labels: Ints, starts: Ints, k: int, rng: np.random.Generator) -> tuple[float, float]:
    """How rare shuffled labels look as orderly, shuffled over all tracks and within each (p).

    The statistic is the likelihood ratio of a matrix against one row for all, which shuffling
    needs no large counts for.  Only shuffling over all tracks says whether rows may be the same;
    that within each tells tracks with memory from tracks that merely differ.
    """
    from napari_diffmap.methods.defects.follow.chains import pair_counts, shuffled_counts

    seen = _order(pair_counts(labels, starts, 1, k)[None])[0]
    found = []
    for within in (False, True):
        other = _order(shuffled_counts(labels, starts, k, _SHUFFLES, within, rng))
        found.append(float((1 + (other >= seen - 1e-9).sum()) / (_SHUFFLES + 1)))
    return found[0], found[1]


def _order(counts: Ints) -> Floats:
    """Likelihood ratio statistic of rows that differ, ``(..., k, k)`` counts."""
    total = counts.sum(axis=(1, 2))
    both = counts.sum(axis=2)[:, :, None] * counts.sum(axis=1)[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = counts * np.log(counts * total[:, None, None] / both)
    return np.asarray(2 * np.nansum(terms, axis=(1, 2)))


def lag_test(
    sequences: Sequences, k: int, lags: Sequence[int] = (2, 3, 4), *, seed: int = 0
) -> LagTest:
    """Whether transitions over several frames are those of one, repeated.

    Parameters
    ----------
    sequences
        Frames and classes of each track.
    k
        Number of classes.
    lags
        Frames apart.
    seed
        Of the simulated chains.
    """
    from napari_diffmap.methods.defects.follow.chains import pair_counts, simulated_counts

    labels, starts = laid_out(sequences, k)
    steps = np.asarray([1, *lags], dtype=np.int64)
    counts = np.stack([pair_counts(labels, starts, lag, k) for lag in steps])
    first = (counts[0] + 1 / k) / (counts[0].sum(axis=1, keepdims=True) + 1)
    rng = np.random.default_rng(seed)
    other = simulated_counts(labels, starts, first, steps, _SHUFFLES, rng)
    seen, simulated = _distance(counts[None], steps), _distance(other, steps)
    with np.errstate(invalid="ignore"):
        measured = counts[1:] / counts[1:].sum(axis=2, keepdims=True)
    foretold = np.stack([np.linalg.matrix_power(first, lag) for lag in lags])
    p = (1 + (simulated >= seen - 1e-9).sum(axis=0)) / (_SHUFFLES + 1)
    return LagTest(steps[1:], measured, foretold, np.asarray(p))


def _distance(counts: Ints, steps: Ints) -> Floats:
    """Chi-squared ``(sets, L)`` of counts at each lag against the powers of lag 1."""
    k = counts.shape[-1]
    first = (counts[:, 0] + 1 / k) / (counts[:, 0].sum(axis=2, keepdims=True) + 1)
    out = np.empty((len(counts), len(steps) - 1))
    for i, lag in enumerate(steps[1:], start=1):
        expected = np.linalg.matrix_power(first, int(lag)) * counts[:, i].sum(axis=2, keepdims=True)
        out[:, i - 1] = ((counts[:, i] - expected) ** 2 / np.maximum(expected, 1e-9)).sum(
            axis=(1, 2)
        )
    return out
