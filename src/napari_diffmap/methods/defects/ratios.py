"""How bright sites are, and which of them are defects: empirical Bayes over a frame's sites."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Ratios a site may have: none, part of, more than the pristine column.
RATIOS: Final = np.array(
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0]
)
#: Weight of what is expected of the ratios before the image is looked at, in sites.
_BEFORE: Final = 4.0
#: Steps of expectation and maximisation.
STEPS: Final = 60
#: Least spread of pristine sites, in what noise explains, and how many sites tell it by half.
_NARROWEST, _TELLING = 0.8, 200
#: Share of defects that is expected, and the most.
EXPECTED, _MOST = 0.01, 0.3


def usual_ratio(ratio: NDArray[np.float64], error: NDArray[np.float64]) -> tuple[float, float]:
    """The ratio of most sites, and their spread over what noise explains.

    A spread below 1 is believed as far as there are sites to tell it: errors that are said 2 % too
    large hide a quarter of vacancies that are as rare as one site in sixty.
    """
    if len(ratio) < 4:
        return 1.0, 1.0
    usual = float(np.median(ratio))
    z = (ratio - usual) / error
    width = 1.4826 * float(np.median(np.abs(z)))
    if width < 1:
        width = max(_NARROWEST, 1 + (width - 1) * len(ratio) / (len(ratio) + _TELLING))
    return (usual if usual > 0.2 else 1.0), width


def posterior(
    ratio: NDArray[np.float64],
    error: NDArray[np.float64],
    prior: NDArray[np.float64],
    counted: NDArray[np.bool_],
    start: NDArray[np.float64],
    steps: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Probability of a defect, expected ratio, and the shares of the ratios in this image.

    Expectation–maximisation over the shares, with the prior worth `_BEFORE` sites.
    """
    spread = np.hypot(error[:, None], 0.06 * np.maximum(RATIOS, 0.5))
    like = np.exp(-0.5 * np.minimum(((ratio[:, None] - RATIOS) / spread) ** 2, 1400)) / spread
    # Brighter than all that is foreseen is no less a defect.
    like[:, -1] = np.where(ratio > RATIOS[-1], 1 / spread[:, -1], like[:, -1])
    usual = np.exp(-0.5 * np.minimum(((ratio - 1) / error) ** 2, 1400)) / error
    usual = np.maximum(usual, 1e-290)
    shares = start.copy()
    n = max(int(counted.sum()), 1)
    for _ in range(steps):
        joint = like * shares
        total = joint.sum(axis=1) + usual * (1 - shares.sum())
        belief = joint / total[:, None]
        seen = belief[counted].sum(axis=0)
        shares = (seen + _BEFORE * prior) / (n + _BEFORE)
        shares *= min(1.0, _MOST / max(float(shares.sum()), 1e-12))
    probability = belief.sum(axis=1)
    mean = (belief * RATIOS).sum(axis=1) + (1 - probability)
    # What is surely no pristine site is as bright as it is measured.
    mean = np.where(probability > 0.9, np.clip(ratio, 0, None), mean)
    return probability, mean, shares
