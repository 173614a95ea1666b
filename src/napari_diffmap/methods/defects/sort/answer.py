"""Classes of finds, however they were told apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class DefectClasses:
    """Classes of n finds.

    Attributes
    ----------
    names
        Of the k classes.
    class_id
        ``(n,)`` most probable class of each find; -1 where it could not be sorted.
    probability
        ``(n, k)`` of each class; rows sum to 1, NaN where a find could not be sorted.
    averages
        ``(k, c, c)`` mean image of each class, the lattice upright; empty where nothing was cut.
    bic, icl
        Bayesian information criterion, and integrated completed likelihood (BIC plus twice the
        entropy of the memberships), of each number of classes tried; the least is best.
    stability
        Mean adjusted Rand index of the classes against those of resampled finds: 1 where they
        come out the same; NaN where it was not measured.
    warnings
        What to know of them.
    """

    names: tuple[str, ...]
    class_id: NDArray[np.int64]
    probability: NDArray[np.float32]
    averages: NDArray[np.float32]
    bic: dict[int, float] = field(default_factory=dict)
    icl: dict[int, float] = field(default_factory=dict)
    stability: float = float("nan")
    warnings: tuple[str, ...] = ()


def class_averages(
    crops: NDArray[np.float32], class_id: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Mean crop of each class ``(count, c, c)``; NaN where nothing is known.

    Parameters
    ----------
    crops
        ``(n, c, c)``, NaN where unknown.
    class_id
        ``(n,)``, -1 for none.
    count
        Number of classes.
    """
    known = np.isfinite(crops)
    values = np.where(known, crops, 0)
    out = np.full((count, *crops.shape[1:]), np.nan, dtype=np.float32)
    for k in range(count):
        mine = class_id == k
        times = known[mine].sum(axis=0)
        np.divide(values[mine].sum(axis=0), times, out=out[k], where=times > 0)
    return out
