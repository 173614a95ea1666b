"""How sure an answer is, as a probability, and what it would be confused with.

An answer is right when the pattern is a crystal of the library and was matched
(*model*), when it is not a twin's or a coincidence's pattern (*rival*), and when
it is not another phase's (*phase*).  Each has its own logistic factor; the
reliability is their product, and the smallest factor names the cause of doubt.
"""

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

#: Features of each factor.
FACTORS: dict[str, tuple[str, ...]] = {
    "model": (
        "score",
        "explained",
        "found",
        "log_odds",
        "log_spots",
        "explained_log_spots",
        "score_log_spots",
    ),
    "rival": ("margin_1", "margin_5", "margin_25"),
    "phase": ("margin_1", "margin_5", "margin_25"),
}

#: Fewer clear spots than this, or smaller log odds, fix no orientation.
FEWEST_SPOTS = 2
LEAST_ODDS = 6.0
#: With fewer clear spots than this a doubtful answer has too few of them.
FEW = 6
#: A margin (difference of log odds) below this is a draw: tilts and scale are not
#: found more exactly.
DRAW = 1.0
#: Margins beyond it saturate as m / (m + scale).
_MARGIN_SCALES = (1.0, 5.0, 25.0)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for and against the best answer of each pattern, all ``(b,)``.

    Attributes
    ----------
    score
        Of the best answer.
    odds
        Log odds of the best answer.
    rival, rival_phase
        Log odds of the best distinct answer of its phase, and of another phase.
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
    crystals
        Crystals believed; None where they were not counted.
    known
        Probability that the pattern is one of those a network was trained for; None where
        no network was asked.
    """

    score: NDArray[np.float32]
    odds: NDArray[np.float32]
    rival: NDArray[np.float32]
    rival_phase: NDArray[np.float32]
    explained: NDArray[np.float32]
    found: NDArray[np.float32]
    spots: NDArray[np.int64]
    second: NDArray[np.float32]
    second_share: NDArray[np.float32]
    empty: NDArray[np.bool_]
    crystals: NDArray[np.int64] | None = None
    known: NDArray[np.float32] | None = None

    @property
    def margin(self) -> NDArray[np.float32]:
        """By how much the best answer's log odds exceed those of the next, ``(b,)``."""
        return np.asarray(self.odds - np.maximum(self.rival, self.rival_phase), dtype=np.float32)

    @property
    def void(self) -> NDArray[np.bool_]:
        """Patterns that fix no orientation, ``(b,)``."""
        return self.empty | (self.spots < FEWEST_SPOTS) | (self.odds < LEAST_ODDS)

    def features(self) -> dict[str, NDArray[np.float64]]:
        """``(b, n)`` features of each factor, columns as in `FACTORS`."""
        spots = np.log10(np.maximum(self.spots, 1))
        model = (
            self.score,
            self.explained,
            self.found,
            np.log10(np.maximum(self.odds, 1)),
            spots,
            self.explained * spots,
            self.score * spots,
        )
        return {
            "model": np.stack([np.asarray(c, dtype=np.float64) for c in model], axis=1),
            "rival": _margins(self.odds, self.rival),
            "phase": _margins(self.odds, self.rival_phase),
        }


def _margins(odds: NDArray[np.float32], rival: NDArray[np.float32]) -> NDArray[np.float64]:
    margin = np.clip(np.asarray(odds, dtype=np.float64) - rival - DRAW, 0, None)
    return np.stack([margin / (margin + scale) for scale in _MARGIN_SCALES], axis=1)


@dataclass(frozen=True, eq=False)
class LogisticFactor:
    """One factor: ``1 / (1 + exp(−(w · (x − mean) / scale + bias)))``."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability for each row of features."""
        logit = (features - self.mean) / self.scale @ self.weights + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


@dataclass(frozen=True, eq=False)
class ReliabilityModel:
    """The probability that an answer is right.

    Attributes
    ----------
    factors
        By name, as in `FACTORS`.
    provenance
        What it was fitted on, and how it did on what was held out.
    """

    factors: dict[str, LogisticFactor]
    provenance: dict[str, Any]

    def parts(self, evidence: Evidence) -> dict[str, NDArray[np.float64]]:
        """Each factor for every pattern, ``(b,)``."""
        features = evidence.features()
        return {name: factor(features[name]) for name, factor in self.factors.items()}

    def probability(self, evidence: Evidence) -> NDArray[np.float32]:
        """Probability 0–1 that the best answer is right, ``(b,)``."""
        whole = np.prod(list(self.parts(evidence).values()), axis=0)
        if evidence.known is not None:
            # What is rather known than not is judged by the spots, which say more.
            whole = whole * np.minimum(2 * evidence.known, 1)
        return np.asarray(whole, dtype=np.float32)

    def to_json(self) -> str:
        """The file the package ships."""
        factors = {
            name: {
                "features": list(FACTORS[name]),
                "mean": f.mean.tolist(),
                "scale": f.scale.tolist(),
                "weights": f.weights.tolist(),
                "bias": f.bias,
            }
            for name, f in self.factors.items()
        }
        return json.dumps({"factors": factors, "provenance": self.provenance}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ReliabilityModel:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If it was fitted on other features.
        """
        raw = json.loads(text)
        known = {name: tuple(f["features"]) for name, f in raw["factors"].items()}
        if known != FACTORS:
            raise ValueError("the reliability file was fitted on other features: fit it again")
        factors = {
            name: LogisticFactor(
                np.array(f["mean"]), np.array(f["scale"]), np.array(f["weights"]), float(f["bias"])
            )
            for name, f in raw["factors"].items()
        }
        return cls(factors, raw["provenance"])


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
    `threshold`: what the least factor of the reliability stands for.  Many spots of
    which no orientation makes sense are outside the model, and so is what a network does
    not know.
    """
    parts = reliability_model().parts(evidence)
    order = np.stack([parts["rival"], parts["phase"], parts["model"]])
    least = np.array([TWIN, PHASE, OUTSIDE], dtype=np.uint8)[np.argmin(order, axis=0)]
    if evidence.known is not None:
        least = np.where(2 * evidence.known < order.min(axis=0), np.uint8(OUTSIDE), least)
    code = np.where(reliability < threshold, least, np.uint8(NONE)).astype(np.uint8)
    code[(code != NONE) & (evidence.spots < FEW)] = FEW_SPOTS
    code[(evidence.second > 0) & (evidence.spots >= FEW + 2)] = OVERLAP
    code[evidence.void] = np.where(evidence.spots < FEW, FEW_SPOTS, OUTSIDE)[evidence.void]
    code[evidence.empty] = NO_DATA
    return code
