"""Phases from the optical densities at two energies, the cheapest measurement there is.

The polar angle of (OD1, OD2) does not change with thickness (Lim et al. 2016, *Science* 353, 566;
Yu et al. 2018, *Nat. Commun.* 9, 921, with 708.2 and 710.2 eV for LiFePO4).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.spectra.normal import Floats


def best_pair(curves: Floats, base: int | None = None) -> tuple[int, int]:
    """The two energies whose angles part the references furthest, smallest distance first.

    Parameters
    ----------
    curves
        References ``(M, E)``.
    base
        See `two_energy`.
    """
    if base is not None:
        curves = curves - curves[:, base, None]
    pairs = list(combinations(range(curves.shape[1]), 2))
    first, second = np.array(pairs).T
    angles = np.sort(np.arctan2(curves[:, second], curves[:, first]), axis=0)
    # An angle is as certain as its vector is long.
    length = np.hypot(curves[:, first], curves[:, second]).min(axis=0)
    gap = np.diff(angles, axis=0).min(axis=0) if len(curves) > 1 else np.ones(len(pairs))
    return pairs[int(np.argmax(gap * length))]


def two_energy(
    od: NDArray[np.floating],
    weights: NDArray[np.floating],
    curves: Floats,
    pair: tuple[int, int],
    base: int | None = None,
) -> tuple[Floats, Floats]:
    """Angle of each pixel, and how well it agrees with each reference.

    Parameters
    ----------
    od, weights
        ``(P, E)``, weight 0 where unknown.
    curves
        References ``(M, E)``.
    pair
        Numbers of the two energies.
    base
        Number of an energy before the edge, whose density is taken off; None: nothing is.

    Returns
    -------
    angle, support
        ``(P,)`` radians, and ``(P, M)`` probabilities of the references by the angle's noise.
    """
    a, b = pair
    x, y = od[:, a].astype(np.float64), od[:, b].astype(np.float64)
    extra = np.zeros(len(od))
    if base is not None:
        x, y = x - od[:, base], y - od[:, base]
        curves = curves - curves[:, base, None]
        extra = 1 / np.maximum(weights[:, base].astype(np.float64), 1e-12)
    angle = np.arctan2(y, x)
    known = (weights[:, a] > 0) & (weights[:, b] > 0)
    if base is not None:
        known &= weights[:, base] > 0
    square = np.maximum(x**2 + y**2, 1e-12)
    variance = (
        y**2 / np.maximum(weights[:, a], 1e-12)
        + x**2 / np.maximum(weights[:, b], 1e-12)
        + (x - y) ** 2 * extra
    ) / square**2
    away = angle[:, None] - np.arctan2(curves[:, b], curves[:, a])[None]
    chi2 = away**2 / np.maximum(variance, 1e-12)[:, None]
    support = np.exp(-0.5 * (chi2 - chi2.min(axis=1, keepdims=True)))
    support /= support.sum(axis=1, keepdims=True)
    support[~known] = 1 / len(curves)
    return np.where(known, angle, np.nan), support
