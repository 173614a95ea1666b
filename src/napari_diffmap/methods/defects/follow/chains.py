"""Compiled loops over sequences of classes, laid end to end."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def pair_counts(labels, starts, lag, k):
    """Pairs of classes so many frames apart, `labels` dense in frames, -1 where unseen."""
    counts = np.zeros((k, k), dtype=np.int64)
    for s in range(len(starts) - 1):
        for t in range(starts[s], starts[s + 1] - lag):
            a, b = labels[t], labels[t + lag]
            if a >= 0 and b >= 0:
                counts[a, b] += 1
    return counts


@njit(nogil=True, cache=True)
def shuffled_counts(labels, starts, k, sets, within, rng):
    """Counts of neighbouring classes after shuffling what was seen: of all tracks, or in each."""
    out = np.zeros((sets, k, k), dtype=np.int64)
    mixed = labels.copy()
    seen = np.flatnonzero(labels >= 0)
    for i in range(sets):
        if within:
            for s in range(len(starts) - 1):
                a = np.searchsorted(seen, starts[s])
                b = np.searchsorted(seen, starts[s + 1])
                _shuffle(mixed, seen[a:b], rng)
        else:
            _shuffle(mixed, seen, rng)
        out[i] = pair_counts(mixed, starts, 1, k)
    return out


@njit(nogil=True, cache=True)
def _shuffle(labels, at, rng):
    for i in range(len(at) - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        labels[at[i]], labels[at[j]] = labels[at[j]], labels[at[i]]


@njit(nogil=True, cache=True)
def _drawn(weights, rng):
    """Number drawn with chances in proportion to weights."""
    left = rng.random() * weights.sum()
    for i in range(len(weights) - 1):
        left -= weights[i]
        if left < 0:
            return i
    return len(weights) - 1


@njit(nogil=True, cache=True)
def simulated_counts(labels, starts, probability, lags, sets, rng):
    """Counts ``(sets, lags, k, k)`` of Markov chains seen in the same frames."""
    k = len(probability)
    out = np.zeros((sets, len(lags), k, k), dtype=np.int64)
    chain = labels.copy()
    for i in range(sets):
        for s in range(len(starts) - 1):
            at = labels[starts[s]]
            for t in range(starts[s] + 1, starts[s + 1]):
                at = _drawn(probability[at], rng)
                chain[t] = at if labels[t] >= 0 else -1
        for j in range(len(lags)):
            out[i, j] = pair_counts(chain, starts, lags[j], k)
    return out


@njit(nogil=True, cache=True)
def _forward(labels, first, last, probability, start, seen_as, filtered):
    """Chances of the hidden classes given what was seen so far; returns the log likelihood."""
    k = len(start)
    total = 0.0
    for t in range(first, last):
        norm = 0.0
        for j in range(k):
            if t == first:
                p = start[j]
            else:
                p = 0.0
                for i in range(k):
                    p += filtered[t - 1, i] * probability[i, j]
            if labels[t] >= 0:
                p *= seen_as[j, labels[t]]
            filtered[t, j] = p
            norm += p
        if norm <= 0:
            norm = 1e-300
            filtered[t, :] = norm / k
        filtered[t] /= norm
        total += np.log(norm)
    return total


@njit(nogil=True, cache=True)
def expected(labels, starts, probability, start, seen_as):
    """Expectations of Baum and Welch: counts, first classes, smoothed chances; log likelihood."""
    k = len(start)
    filtered = np.zeros((len(labels), k))
    smooth = np.zeros((len(labels), k))
    counts, firsts, total = np.zeros((k, k)), np.zeros(k), 0.0
    ahead = np.zeros(k)
    for s in range(len(starts) - 1):
        first, last = starts[s], starts[s + 1]
        total += _forward(labels, first, last, probability, start, seen_as, filtered)
        smooth[last - 1] = filtered[last - 1]
        for t in range(last - 2, first - 1, -1):
            for j in range(k):
                p = 0.0
                for i in range(k):
                    p += filtered[t, i] * probability[i, j]
                ahead[j] = smooth[t + 1, j] / max(p, 1e-300)
            for i in range(k):
                both = 0.0
                for j in range(k):
                    one = filtered[t, i] * probability[i, j] * ahead[j]
                    counts[i, j] += one
                    both += one
                smooth[t, i] = both
        firsts += smooth[first]
    return counts, firsts, smooth, total


@njit(nogil=True, cache=True)
def sampled(labels, starts, probability, start, seen_as, prior, sweeps, rng):
    """Gibbs sampling: hidden paths drawn backwards through the filter, then what they count.

    Returns the counts ``(sweeps, k, k)`` and the probabilities ``(sweeps, k, k)`` drawn.
    """
    k = len(start)
    filtered = np.zeros((len(labels), k))
    all_counts = np.zeros((sweeps, k, k))
    all_drawn = np.zeros((sweeps, k, k))
    probability, start = probability.copy(), start.copy()
    weights = np.zeros(k)
    for sweep in range(sweeps):
        counts, firsts = np.zeros((k, k)), np.zeros(k)
        for s in range(len(starts) - 1):
            first, last = starts[s], starts[s + 1]
            _forward(labels, first, last, probability, start, seen_as, filtered)
            at = _drawn(filtered[last - 1], rng)
            for t in range(last - 2, first - 1, -1):
                for i in range(k):
                    weights[i] = filtered[t, i] * probability[i, at]
                before = _drawn(weights, rng)
                counts[before, at] += 1
                at = before
            firsts[at] += 1
        for i in range(k):
            for j in range(k):
                probability[i, j] = rng.standard_gamma(counts[i, j] + prior) + 1e-300
            probability[i] /= probability[i].sum()
            start[i] = rng.standard_gamma(firsts[i] + prior) + 1e-300
        start /= start.sum()
        all_counts[sweep], all_drawn[sweep] = counts, probability
    return all_counts, all_drawn
