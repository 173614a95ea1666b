"""Which reference a pixel is, how probably, given its counts and its neighbours.

The likelihood of a pixel is that of its spectrum under each reference and under mixtures of two,
thickness and background fitted (Gauss, variance 1/I).  The prior is a Potts field: neighbours are
probably alike, and mixtures probably lie where two phases meet.  Mean-field inference (Besag 1986,
*J. R. Stat. Soc. B* 48, 259; Zhang 1992, *IEEE Trans. Signal Process.* 40, 2570).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.spectra.normal import Floats, Normal

#: Shares of the second phase in a mixture; the outermost count as nearly pure.
SHARES = np.arange(0.05, 1.0, 0.1)
_CORE = (SHARES > 0.1) & (SHARES < 0.9)
#: Prior of a mixture within a phase, and at most where two meet.
_INSIDE, _BETWEEN = 0.02, 0.7
_ROUNDS = 12
#: Mean change of a probability from which on another round changes no answer.
_SETTLED = 5e-4
_BETAS = np.arange(0.0, 1.51, 0.1)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Posterior of P pixels.

    Attributes
    ----------
    labels
        ``(P, M)`` probability that the reference is the main phase.
    mixed
        ``(P,)`` probability that two phases share the pixel, 10 to 90 %.
    partner
        ``(P,)`` the second phase of the most probable mixture; -1 if the main phase is not in it.
    beta
        Strength of the neighbours.
    """

    labels: Floats
    mixed: Floats
    partner: NDArray[np.intp]
    beta: float


def posterior(
    normal: Normal,
    scale: float,
    mask: NDArray[np.bool_],
    *,
    neighbours: bool = True,
    temperature: float = 1.0,
    check: Callable[[], object] | None = None,
) -> Posterior:
    """Probabilities of the references.

    Parameters
    ----------
    normal
        Of the pixels of `mask`, row by row.
    scale
        Reduced chi², see `noise_scale`.
    mask
        ``(Y, X)``.
    neighbours
        Whether neighbours count.
    temperature
        The log-likelihood is divided by it.
    check
        Called between rounds; may raise.
    """
    pure, pairs = _likelihoods(normal, scale * temperature)
    m = pure.shape[1]
    places = list(combinations(range(m), 2))
    # Without neighbours a mixture of any two is as probable as of any other.
    near = np.full_like(pure, 1.0 / m)
    labels, mixed, partner = _update(pure, pairs, places, near, np.zeros_like(pure))
    beta = 0.0
    if neighbours and m > 1:
        grid = Neighbours(mask)
        for _ in range(_ROUNDS):
            if check is not None:
                check()
            beta = _beta(labels, grid)
            field = beta * grid.sum(labels)
            # Of the answers: where two phases meet, not where they are hard to tell.
            answers = (labels.argmax(axis=1)[:, None] == np.arange(m)).astype(np.float64)
            before = labels
            labels, mixed, partner = _update(pure, pairs, places, grid.near(answers), field)
            if np.abs(labels - before).mean() < _SETTLED:
                break
    return Posterior(labels, mixed, partner, beta)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Likelihoods of mixtures ``(P, pairs)``: mainly the first, mainly the second, real mixture."""

    first: Floats
    second: Floats
    core: Floats


def _likelihoods(normal: Normal, scale: float) -> tuple[Floats, _Pairs]:
    """Relative to the best of each pixel."""
    _, pure = normal.pure()
    m = pure.shape[1]
    mixtures = [normal.pair(a, b, SHARES) for a, b in combinations(range(m), 2)]
    best = pure.min(axis=1)
    for chi2 in mixtures:
        best = np.minimum(best, chi2.min(axis=1))

    def likelihood(chi2: Floats) -> Floats:
        return np.asarray(np.exp(-0.5 * (chi2 - best[:, None]) / scale))

    first, second, core = [], [], []
    half, n = SHARES < 0.5, len(SHARES)
    for chi2 in mixtures:
        value = likelihood(chi2)
        first.append(value[:, half].sum(axis=1) / n)
        second.append(value[:, ~half].sum(axis=1) / n)
        core.append(value[:, _CORE].sum(axis=1) / n)
    shape = (len(pure), len(mixtures))
    parts = (np.stack(p, axis=1) if p else np.zeros(shape) for p in (first, second, core))
    return likelihood(pure), _Pairs(*parts)


def _update(
    pure: Floats, pairs: _Pairs, places: list[tuple[int, int]], near: Floats, field: Floats
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    field = np.exp(field - field.max(axis=1, keepdims=True))
    labels = pure * field
    mixed = np.zeros(len(pure))
    largest, pair = np.zeros(len(pure)), np.zeros(len(pure), dtype=np.intp)
    for k, (a, b) in enumerate(places):
        prior = np.minimum(_INSIDE + 4 * _BETWEEN * near[:, a] * near[:, b], _BETWEEN)
        # A mixture is as probable as the more probable of its phases.
        prior = prior * np.maximum(field[:, a], field[:, b])
        labels[:, a] += prior * pairs.first[:, k]
        labels[:, b] += prior * pairs.second[:, k]
        here = prior * pairs.core[:, k]
        mixed += here
        pair = np.where(here > largest, k, pair)
        largest = np.maximum(largest, here)
    total = np.maximum(labels.sum(axis=1), 1e-300)
    if not places:
        return labels / total[:, None], mixed / total, np.full(len(pure), -1, dtype=np.intp)
    # The other phase of the most probable mixture that holds the answer, if it does.
    a, b = np.array(places, dtype=np.intp)[pair].T
    main = labels.argmax(axis=1)
    partner = np.where(main == a, b, np.where(main == b, a, -1))
    return labels / total[:, None], mixed / total, partner


class Neighbours:
    """Sums over the eight neighbours of pixels of a mask."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        diagonal = np.sqrt(0.5)
        self.kernel = np.array([[diagonal, 1, diagonal], [1, 0, 1], [diagonal, 1, diagonal]])
        self._count = np.maximum(self._filtered(np.ones((int(mask.sum()), 1)), 5)[:, 0], 1e-9)

    def sum(self, values: Floats) -> Floats:
        """Weighted sum of the neighbours ``(P, M)``."""
        from scipy.ndimage import convolve

        planes = [
            convolve(self._plane(column), self.kernel, mode="constant")[self.mask]
            for column in values.T
        ]
        return np.stack(planes, axis=1)

    def near(self, values: Floats) -> Floats:
        """Mean over 5 × 5 pixels of the mask ``(P, M)``."""
        return self._filtered(values, 5) / self._count[:, None]

    def _plane(self, column: Floats) -> Floats:
        plane = np.zeros(self.mask.shape)
        plane[self.mask] = column
        return plane

    def _filtered(self, values: Floats, size: int) -> Floats:
        from scipy.ndimage import uniform_filter

        planes = [
            uniform_filter(self._plane(column), size, mode="constant")[self.mask]
            for column in values.T
        ]
        return np.stack(planes, axis=1)


def _beta(labels: Floats, grid: Neighbours) -> float:
    """Strength of the field by pseudo-likelihood of the labels."""
    around = grid.sum(labels)
    some = slice(None, None, max(1, len(labels) // 20000))
    around, weights = around[some], labels[some]
    inner = (weights * around).sum(axis=1)
    gain = [
        float((beta * inner - np.log(np.exp(beta * around).sum(axis=1))).sum()) for beta in _BETAS
    ]
    return float(_BETAS[int(np.argmax(gain))])
