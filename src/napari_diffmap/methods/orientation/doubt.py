"""How sure an answer is, as a probability, and what it would be confused with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Codes as in `maps.ambiguity`.
NONE, TWIN, PHASE, OVERLAP, FEW_SPOTS, OUTSIDE, NO_DATA = range(7)

FEATURES = (
    "score",
    "near_margin",
    "margin",
    "near_phase_margin",
    "phase_margin",
    "explained",
    "found",
    "log_spots",
)

#: Fewer spots than this fix no orientation.
FEWEST_SPOTS = 4
#: Margins saturate: m / (m + scale), once for ties and once for rivals farther off.
_MARGIN_SCALES = (0.01, 0.05)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for and against the best answer of each pattern, all ``(b,)``.

    Attributes
    ----------
    score
        Of the best answer.
    rival, rival_phase
        Of the best distinct answer of its phase, and of another phase.
    explained, found
        Shares of measured and of predicted amplitude that meet.
    spots
        Number of measured spots.
    second
        Score of a second crystal in the spots left over; 0 where none was found.
    second_share
        Share of the measured amplitude the second crystal explains.
    empty
        True where the pattern holds no data.
    """

    score: NDArray[np.float32]
    rival: NDArray[np.float32]
    rival_phase: NDArray[np.float32]
    explained: NDArray[np.float32]
    found: NDArray[np.float32]
    spots: NDArray[np.int64]
    second: NDArray[np.float32]
    second_share: NDArray[np.float32]
    empty: NDArray[np.bool_]

    def features(self) -> NDArray[np.float64]:
        """``(b, len(FEATURES))`` in the order of `FEATURES`."""
        margins = [np.clip(self.score - rival, 0, None) for rival in (self.rival, self.rival_phase)]
        near, phase_near = ([m / (m + scale) for scale in _MARGIN_SCALES] for m in margins)
        spots = np.log10(np.maximum(self.spots, 1))
        columns = (self.score, *near, *phase_near, self.explained, self.found, spots)
        return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)


@dataclass(frozen=True, eq=False)
class ReliabilityModel:
    """Logistic model: the probability that an answer is right.

    Attributes
    ----------
    mean, scale
        Of each feature in the training set.
    weights, bias
        Of the standardised features.
    provenance
        What it was fitted on.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float
    provenance: dict[str, Any]

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """Probability 0–1 for each row of features."""
        logit = (features - self.mean) / self.scale @ self.weights + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -30, 30))), dtype=np.float32)

    def to_json(self) -> str:
        """The file the package ships."""
        return json.dumps(
            {
                "features": list(FEATURES),
                "mean": self.mean.tolist(),
                "scale": self.scale.tolist(),
                "weights": self.weights.tolist(),
                "bias": self.bias,
                "provenance": self.provenance,
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> ReliabilityModel:
        """Read what `to_json` wrote."""
        raw = json.loads(text)
        if tuple(raw["features"]) != FEATURES:
            raise ValueError("the reliability file was fitted on other features: fit it again")
        return cls(
            np.array(raw["mean"]),
            np.array(raw["scale"]),
            np.array(raw["weights"]),
            float(raw["bias"]),
            raw["provenance"],
        )


@lru_cache(maxsize=1)
def reliability_model() -> ReliabilityModel:
    """The fitted model of the package (see ``benchmarks/fit_reliability.py``)."""
    path = Path(__file__).parent / "reliability.json"
    return ReliabilityModel.from_json(path.read_text(encoding="utf-8"))


def causes(
    evidence: Evidence, reliability: NDArray[np.float32], threshold: float
) -> NDArray[np.uint8]:
    """Ambiguity code of each pattern.

    Two crystals in one pattern are named whatever the reliability: the map shows
    one of them.  The other causes are named where the reliability is below
    `threshold`, the most telling one first.
    """
    e = evidence
    code = np.full(len(e.score), NONE, dtype=np.uint8)
    doubtful = reliability < threshold
    margin, phase_margin = e.score - e.rival, e.score - e.rival_phase
    nearest = np.minimum(margin, phase_margin)
    poor = (e.score < 0.35) | (e.explained < 0.35)
    code[doubtful] = OUTSIDE
    rivalled = doubtful & (nearest < 0.06) & ~poor
    code[rivalled & (phase_margin < margin)] = PHASE
    code[rivalled & (phase_margin >= margin)] = TWIN
    code[doubtful & (e.spots < FEWEST_SPOTS + 2)] = FEW_SPOTS
    code[(e.second > 0) & (e.spots >= FEWEST_SPOTS + 4)] = OVERLAP
    code[e.spots < FEWEST_SPOTS] = FEW_SPOTS
    code[e.empty] = NO_DATA
    return code
