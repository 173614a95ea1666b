"""Weighted fits of references to many spectra at once, through their normal equations.

Every fit here is of OD(E) = sum_j w_j r_j(E) + background, with weights of its own for every
pixel.  What a fit needs of the spectra is collected once: the products with the references after
the background was projected out, M numbers and M × M numbers a pixel instead of E.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

Background = Literal["auto", "none", "offset", "line"]
#: Energies from which on a line is a background by itself: fewer cannot spare another number.
_LINE_FROM = 8
Floats = NDArray[np.float64]
#: Pixels that are worked on at once.
_PIECE = 16384


@dataclass(frozen=True, eq=False)
class Normal:
    """Normal equations of P pixels and M references, background projected out.

    Attributes
    ----------
    gram
        ``(P, M, M)`` sum_e w r_i r_j.
    cross
        ``(P, M)`` sum_e w d r_j.
    square
        ``(P,)`` sum_e w d².
    known
        ``(P,)`` energies with a weight, less the background's parameters.
    """

    gram: Floats
    cross: Floats
    square: Floats
    known: Floats

    def at(self, chosen: NDArray[Any]) -> Normal:
        """Of some of the pixels."""
        return Normal(
            self.gram[chosen], self.cross[chosen], self.square[chosen], self.known[chosen]
        )

    def pure(self) -> tuple[Floats, Floats]:
        """Best non-negative amplitude and chi² ``(P, M)`` of each reference alone."""
        own = np.maximum(np.einsum("pmm->pm", self.gram), 1e-300)
        amplitude = np.maximum(self.cross, 0) / own
        return amplitude, self.square[:, None] - amplitude * np.maximum(self.cross, 0)

    def pair(self, m: int, n: int, shares: Floats) -> Floats:
        """chi² ``(P, F)`` of mixtures (1 - f) r_m + f r_n, amplitude fitted."""
        f = shares[None]
        cross = (1 - f) * self.cross[:, m, None] + f * self.cross[:, n, None]
        own = (
            (1 - f) ** 2 * self.gram[:, m, m, None]
            + 2 * f * (1 - f) * self.gram[:, m, n, None]
            + f**2 * self.gram[:, n, n, None]
        )
        chi2: Floats = self.square[:, None] - np.maximum(cross, 0) ** 2 / np.maximum(own, 1e-300)
        return chi2

    def correlation(self) -> Floats:
        """Weighted correlation ``(P, M)``; Pearson's where all weights are 1 and an offset is."""
        own = np.einsum("pmm->pm", self.gram)
        size = np.sqrt(np.maximum(own * self.square[:, None], 1e-300))
        correlation: Floats = np.clip(self.cross / size, -1, 1)
        return correlation

    def between(self) -> Floats:
        """Correlation of the references with each other ``(P, M, M)``, at each pixel's energies."""
        own = np.sqrt(np.maximum(np.einsum("pmm->pm", self.gram), 1e-300))
        between: Floats = np.clip(self.gram / (own[:, :, None] * own[:, None, :]), -1, 1)
        return between


def normal_equations(
    od: NDArray[Any],
    weights: NDArray[Any],
    curves: Floats,
    energies: Floats,
    background: Background = "offset",
    check: Callable[[], object] | None = None,
) -> Normal:
    """Collect the normal equations of spectra.

    Parameters
    ----------
    od, weights
        ``(P, E)``; weight 0 where nothing is known.
    curves
        ``(M, E)`` references.
    energies
        ``(E,)`` eV, for a line as background.
    background
        What is fitted beside the references.
    check
        Called between pieces; may raise.
    """
    basis = _basis(background, energies)
    # Small numbers lose fewer digits when the background is projected out.
    centred = curves - curves.mean(axis=1, keepdims=True) if len(basis) else curves
    m, b = len(centred), len(basis)
    columns = np.concatenate((centred, basis))
    i, j = np.triu_indices(m + b)
    products = np.ascontiguousarray((columns[i] * columns[j]).T)
    grams, crosses, squares, known = [], [], [], []
    for start in range(0, max(len(od), 1), _PIECE):
        if check is not None:
            check()
        w = np.asarray(weights[start : start + _PIECE], dtype=np.float64)
        d = np.asarray(od[start : start + _PIECE], dtype=np.float64)
        wd = w * d
        gram = np.empty((len(w), m + b, m + b))
        gram[:, i, j] = gram[:, j, i] = w @ products
        cross, square = wd @ columns.T, np.einsum("pe,pe->p", wd, d)
        # One at a time, by elimination: the background has one or two columns.
        for k in range(m + b - 1, m - 1, -1):
            own = gram[:, k, k]
            inverse = np.where(own > 1e-12, 1 / np.where(own > 1e-12, own, 1), 0)
            factor = gram[:, k, :k] * inverse[:, None]
            square = square - cross[:, k] ** 2 * inverse
            cross = cross[:, :k] - factor * cross[:, k, None]
            gram = gram[:, :k, :k] - factor[:, :, None] * gram[:, k, None, :k]
        grams.append(gram)
        crosses.append(cross)
        squares.append(np.maximum(square, 0))
        known.append((w > 0).sum(axis=1) - float(b))
    return Normal(*(np.concatenate(part) for part in (grams, crosses, squares, known)))


def _basis(background: Background, energies: Floats) -> Floats:
    if background == "none":
        return np.empty((0, len(energies)))
    if background == "auto":
        background = "line" if len(energies) >= _LINE_FROM else "offset"
    flat = np.ones((1, len(energies)))
    if background == "offset":
        return flat
    away = (energies - energies.mean()) / max(float(np.ptp(energies)), 1e-9)
    return np.concatenate((flat, away[None]))


@njit(cache=True)
def _solve(gram: Floats, cross: Floats, free: Any, n: int, out: Floats, work: Floats) -> bool:
    """Least squares of the `n` free columns, by Cholesky; False where they are dependent."""
    for a in range(n):
        for b in range(a + 1):
            value = gram[free[a], free[b]]
            for k in range(b):
                value -= work[a, k] * work[b, k]
            if a == b:
                if value <= 1e-12 * gram[free[a], free[a]]:
                    return False
                work[a, a] = np.sqrt(value)
            else:
                work[a, b] = value / work[b, b]
    for a in range(n):
        value = cross[free[a]]
        for k in range(a):
            value -= work[a, k] * out[k]
        out[a] = value / work[a, a]
    for a in range(n - 1, -1, -1):
        value = out[a]
        for k in range(a + 1, n):
            value -= work[k, a] * out[k]
        out[a] = value / work[a, a]
    return True


@njit(cache=True)
def _nnls(gram: Floats, cross: Floats) -> Floats:
    """Non-negative least squares of every pixel by active sets.

    Lawson & Hanson 1974, *Solving Least Squares Problems*, chapter 23, on normal equations.
    """
    pixels, m = cross.shape
    weights = np.zeros((pixels, m))
    free = np.zeros(m, dtype=np.int64)
    found, work = np.zeros(m), np.zeros((m, m))
    for p in range(pixels):
        g, c, w = gram[p], cross[p], weights[p]
        limit = 0.0
        for j in range(m):
            limit = max(limit, abs(c[j]))
        limit *= 1e-10
        n = 0
        for _ in range(3 * m + 3):
            # The column whose amount wants most to grow.
            best, entering = limit, -1
            for j in range(m):
                if w[j] > 0:
                    continue
                slope = c[j]
                for k in range(m):
                    slope -= g[j, k] * w[k]
                if slope > best:
                    best, entering = slope, j
            if entering < 0:
                break
            free[n] = entering
            n += 1
            if not _solve(g, c, free, n, found, work):
                n -= 1
                break
            # Amounts that would fall below nothing leave again.
            while True:
                step, leaving = 1.0, -1
                for a in range(n):
                    if found[a] <= 0:
                        here = w[free[a]]
                        part = here / (here - found[a]) if here > found[a] else 0.0
                        if part < step or leaving < 0:
                            step, leaving = part, a
                if leaving < 0:
                    break
                for a in range(n):
                    w[free[a]] += step * (found[a] - w[free[a]])
                w[free[leaving]] = 0.0
                for a in range(leaving, n - 1):
                    free[a] = free[a + 1]
                n -= 1
                if n == 0 or not _solve(g, c, free, n, found, work):
                    break
            for a in range(n):
                w[free[a]] = max(found[a], 0.0)
    return weights


@dataclass(frozen=True, eq=False)
class Unmixed:
    """Non-negative least squares of P pixels.

    Attributes
    ----------
    weights
        ``(P, M)`` amounts of the references.
    covariance
        ``(P, M, M)`` of those that are not at the bound, for weights 1/variance.
    chi2
        ``(P,)`` what is left.
    free
        ``(P, M)`` variance of each amount where none is bound.
    gram
        ``(P, M, M)`` of the normal equations.
    """

    weights: Floats
    covariance: Floats
    chi2: Floats
    free: Floats
    gram: Floats

    @property
    def total(self) -> Floats:
        """``(P,)`` sum of the amounts."""
        return np.asarray(self.weights.sum(axis=1))

    def fractions(self) -> Floats:
        """``(P, M)`` amounts over their sum; NaN where there is nothing."""
        total = self.total[:, None]
        return np.where(total > 1e-12, self.weights / np.where(total > 1e-12, total, 1), np.nan)

    def errors(self, scale: float = 1.0) -> Floats:
        """Standard errors of the fractions ``(P, M)``.

        The derivative of f_j = w_j / W is (δ_jk - f_j) / W.

        Parameters
        ----------
        scale
            Reduced chi², by which variances are larger than assumed.
        """
        fractions, total = np.nan_to_num(self.fractions()), np.maximum(self.total, 1e-12)
        m = fractions.shape[1]
        slope = (np.eye(m)[None] - fractions[:, :, None]) / total[:, None, None]
        variance = np.einsum("pjk,pkl,pjl->pj", slope, self.covariance, slope)
        # At the bound an amount has an error, too: that of a fit which may leave the bound.
        bound = self.weights <= 0
        alone = (bound | (bound.sum(axis=1, keepdims=True) == m - 1)) & (total[:, None] > 1e-9)
        variance = np.where(alone, np.maximum(variance, self.free / total[:, None] ** 2), variance)
        return np.asarray(np.sqrt(np.maximum(variance * scale, 0)))

    def mean(self, values: Floats, scale: float = 1.0) -> tuple[Floats, Floats]:
        """sum_j f_j values_j and its standard error ``(P,)``, such as a composition.

        Where one reference is all, the error is that of the fit by it and the other one that is
        told best from it: more than it is, as amounts cannot be negative.
        """
        fractions, total = np.nan_to_num(self.fractions()), np.maximum(self.total, 1e-12)
        mean = fractions @ values
        slope = (values[None] - mean[:, None]) / total[:, None]
        variance = np.einsum("pk,pkl,pl->p", slope, self.covariance, slope)
        lone = np.flatnonzero((self.weights > 0).sum(axis=1) == 1)
        if len(lone):
            mine = self.weights[lone].argmax(axis=1)
            gram, rows = self.gram[lone], np.arange(len(lone))
            own = np.einsum("pmm->pm", gram)
            left = own - gram[rows, mine] ** 2 / np.maximum(own[rows, mine], 1e-300)[:, None]
            left[rows, mine] = np.inf
            spread = slope[lone] ** 2 / np.maximum(left, 1e-9 * own.max(axis=1, keepdims=True))
            variance[lone] = np.where(left < np.inf, spread, np.inf).min(axis=1)
        return mean, np.sqrt(np.maximum(variance * scale, 0))


def unmix(normal: Normal) -> Unmixed:
    """Non-negative amounts of the references in every pixel."""
    weights = _nnls(np.ascontiguousarray(normal.gram), np.ascontiguousarray(normal.cross))
    explained = np.einsum("pm,pm->p", weights, normal.cross)
    chi2 = normal.square - 2 * explained
    chi2 = chi2 + np.einsum("pm,pmn,pn->p", weights, normal.gram, weights)
    free = weights > 0
    both = free[:, :, None] & free[:, None, :]
    m = weights.shape[1]
    own = np.einsum("pmm->pm", normal.gram).mean(axis=1)
    ridge = np.maximum(own, 1e-12)[:, None, None] * np.eye(m)[None]
    # A bound amount takes a row of its own, so that one inverse does for all pixels.
    gram = np.where(both, normal.gram, 0) + np.where(free[:, :, None], 1e-9, 1) * ridge
    covariance = np.where(both, np.linalg.inv(gram), 0)
    whole = np.linalg.inv(normal.gram + 1e-9 * ridge)
    variance = np.maximum(np.einsum("pmm->pm", whole), 0)
    return Unmixed(weights, covariance, np.maximum(chi2, 0), variance, normal.gram)


def noise_scale(chi2: Floats, freedom: Floats) -> float:
    """Reduced chi² of the bulk of the pixels: by how much variances are larger than assumed.

    The median of chi² with k degrees of freedom is about k (1 - 2/(9k))³.
    """
    use = freedom >= 1
    if not use.any():
        return 1.0
    k = freedom[use]
    found = float(np.median(chi2[use] / (k * (1 - 2 / (9 * k)) ** 3)))
    return max(found, 1e-12)
