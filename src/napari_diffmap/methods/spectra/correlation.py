"""Pearson correlation with references, and whether the best two can be told apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Floats = NDArray[np.float64]


def williams(first: Floats, second: Floats, between: Floats, n: Floats | float) -> Floats:
    """Two-sided p that two correlations with one spectrum are equal.

    Williams' test for dependent correlations r_1 and r_2 that share a variable, r_12 being that
    of the two references (Williams 1959, *J. R. Stat. Soc. B* 21, 396; Steiger 1980, *Psychol.
    Bull.* 87, 245):

    t = (r1 - r2) sqrt((N-1)(1+r12) / (2 (N-1)/(N-3) |C| + rbar² (1-r12)³)), N - 3 degrees of
    freedom, |C| = 1 - r1² - r2² - r12² + 2 r1 r2 r12.

    Parameters
    ----------
    first, second, between
        r1, r2, r12, any shape.
    n
        Number of energies; below 4 nothing can be told, and p is 1.

    Returns
    -------
    ndarray
        p from 0 to 1.
    """
    n = np.broadcast_to(np.asarray(n, dtype=np.float64), np.shape(first))
    enough = n > 3
    df = np.where(enough, n - 3, 1)
    determinant = 1 - first**2 - second**2 - between**2 + 2 * first * second * between
    mean = (first + second) / 2
    below = 2 * (df + 2) / df * np.maximum(determinant, 0) + mean**2 * (1 - between) ** 3
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(first - second) * np.sqrt((df + 2) * (1 + between) / below)
    t = np.where(np.isfinite(t), t, np.where(first == second, 0, np.inf))
    p: Floats = 2 * stdtr(df, -t)
    return np.where(enough, np.clip(p, 0, 1), 1.0)


def ranked(
    values: NDArray[np.floating], n_best: int
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Numbers and values of the `n_best` largest of ``(P, M)``, the largest first."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :n_best]
    return order.astype(np.int16), np.take_along_axis(values, order, axis=1).astype(np.float32)


def best_two(
    correlation: Floats, between: Floats, n: Floats
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The two best references ``(P,)`` each, and Williams' p between them."""
    if correlation.shape[1] < 2:
        only = np.zeros(len(correlation), dtype=np.intp)
        return only, only, np.zeros(len(correlation))
    order = np.argsort(-correlation, axis=1, kind="stable")
    first, second = order[:, 0], order[:, 1]
    rows = np.arange(len(order))
    p = williams(
        correlation[rows, first], correlation[rows, second], between[rows, first, second], n
    )
    return first, second, p
