"""Why an answer is in doubt: the codes, their names and their colours."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

#: The codes that mean the same in every map: not in doubt, and nothing recorded or mapped.
NO_DOUBT, NO_DATA = 0, 6


class Ambiguity(IntEnum):
    """Cause of doubt of one map pixel, as stored in files (uint8)."""

    NONE = 0
    TWIN = 1
    COMPETING_PHASE = 2
    OVERLAP = 3
    TOO_FEW_SPOTS = 4
    OUTSIDE_MODEL = 5
    NO_DATA = 6


@dataclass(frozen=True)
class AmbiguityCause:
    """One line of the legend.

    Attributes
    ----------
    code
        Value in the map.
    name
        Short name, as shown in legends.
    color
        Okabe–Ito colour, ``#RRGGBB``.
    description
        One sentence for the tooltip.
    """

    code: IntEnum
    name: str
    color: str
    description: str


#: Okabe–Ito colours (Okabe & Ito 2008, *Color Universal Design*): told apart
#: with every common colour vision.
AMBIGUITY_TABLE: tuple[AmbiguityCause, ...] = (
    AmbiguityCause(
        Ambiguity.NONE, "none", "#BBBBBB", "One answer explains the pattern clearly best."
    ),
    AmbiguityCause(
        Ambiguity.TWIN,
        "twin or coincidence",
        "#E69F00",
        "Another orientation of the same phase explains the spots equally well, such as the one"
        " turned by 180° about the beam.",
    ),
    AmbiguityCause(
        Ambiguity.COMPETING_PHASE,
        "competing phase",
        "#56B4E9",
        "Another phase explains the spots equally well.",
    ),
    AmbiguityCause(
        Ambiguity.OVERLAP,
        "overlap",
        "#009E73",
        "Spots of two crystals lie in one pattern.",
    ),
    AmbiguityCause(
        Ambiguity.TOO_FEW_SPOTS,
        "too few spots",
        "#F0E442",
        "The pattern holds too few spots to fix an orientation.",
    ),
    AmbiguityCause(
        Ambiguity.OUTSIDE_MODEL,
        "outside the model",
        "#D55E00",
        "No given phase explains the spots: a phase is missing, the material is amorphous or the"
        " calibration is wrong.",
    ),
    AmbiguityCause(
        Ambiguity.NO_DATA, "no data", "#000000", "No pattern was recorded or mapped here."
    ),
)

#: Code → name, as written into files.
AMBIGUITY: dict[int, str] = {int(cause.code): cause.name for cause in AMBIGUITY_TABLE}

#: Code → ``#RRGGBB``.
AMBIGUITY_COLORS: dict[int, str] = {int(cause.code): cause.color for cause in AMBIGUITY_TABLE}
