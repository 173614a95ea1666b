"""How far measured spots lie from where they are predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: Shares of spots that are met by chance, and spreads, tried when the spread is measured.
_CHANCE = tuple(float(v) for v in np.linspace(0.0, 0.95, 20))
_SPREADS = 24
#: A spread is told from chance where the gaps are so much likelier (nats).
_TOLD = 4.0


@dataclass(frozen=True)
class Places:
    """How far spots may lie from where they are predicted, 1/Å.

    Attributes
    ----------
    hidden
        A spot that was taken away hides what is so near.
    far
        A spot farther off is another's.
    sure
        How well places are predicted and calibrated (standard deviation).
    spot
        Gaussian width of a spot: over its significance, how well its middle is measured.
    """

    hidden: float
    far: float
    sure: float
    spot: float


def spread_of(gaps: Tensor, reach: float, least: float, most: float) -> float:
    """Standard deviation along one axis of how far spots lie from where they are predicted.

    Spots that are met by chance lie anywhere within reach, as often as the area tells;
    the others scatter about the prediction.  The likeliest mixture of the two is sought.

    Parameters
    ----------
    gaps
        ``(n,)`` distances of spots from their predictions, below `reach`.
    reach
        The largest gap looked at.
    least, most
        Limits of the answer; the least where the gaps tell nothing but chance.

    Returns
    -------
    float
        In the unit of the gaps.
    """
    if not len(gaps):
        return least
    gap = gaps.double().cpu()
    chance = torch.log(2 * gap.clamp_min(1e-9 * reach) / reach**2)
    best, found = float(chance.sum()) + _TOLD, least
    for spread in np.geomspace(least, most, _SPREADS):
        inside = -math.expm1(-0.5 * (reach / spread) ** 2)
        near = torch.log(gap.clamp_min(1e-9 * reach) / (spread**2 * inside))
        near = near - 0.5 * (gap / spread) ** 2
        for share in _CHANCE:
            mixed = torch.logaddexp(near + math.log1p(-share), chance + math.log(max(share, 1e-12)))
            if float(mixed.sum()) > best:
                best, found = float(mixed.sum()), float(spread)
    return found
