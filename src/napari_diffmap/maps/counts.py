"""Maps of small numbers: crystals per pattern, where the neighbourhood chose, who agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_diffmap.maps.phase_map import PhaseMap

#: Name of the extra map of crystals per pattern; 0 is no answer.
CRYSTALS = "crystals"
#: Name of the extra map that is 1 where the neighbourhood chose among the answers.
RESOLVED = "resolved"
#: Name of the extra map of what the templates say of a network's answers; 0 is not judged.
JUDGED = "judged"

#: Okabe–Ito colours by count; more are shown as the last.
CRYSTAL_COLORS: dict[int, str] = {
    1: "#BBBBBB",
    2: "#E69F00",
    3: "#0072B2",
    4: "#CC79A7",
    5: "#D55E00",
    6: "#000000",
}
RESOLVED_COLOR = "#CC79A7"


@dataclass(frozen=True)
class Verdict:
    """What the templates say of an answer of a network.

    Attributes
    ----------
    code
        Value in the map.
    name
        As in legends.
    symbol, mark
        Its shape on the map, as napari calls it, and the same as a letter of a legend.
    color
        Okabe–Ito colour, ``#RRGGBB``.
    """

    code: int
    name: str
    symbol: str
    mark: str
    color: str


#: Told apart by shape as well as by colour.
VERDICTS: tuple[Verdict, ...] = (
    Verdict(1, "templates agree", "disc", "●", "#009E73"),
    Verdict(2, "agree up to half a turn", "diamond", "◆", "#56B4E9"),
    Verdict(3, "templates differ", "x", "✖", "#D55E00"),
)


def crystal_count(found: PhaseMap) -> NDArray[np.uint8] | None:
    """Crystals of every pattern ``(Y, X)``, 0 without an answer; None where nobody counted."""
    return _small(found, CRYSTALS)


def resolved(found: PhaseMap) -> NDArray[np.bool_] | None:
    """Where the neighbourhood chose ``(Y, X)``; None where it was not asked."""
    values = _small(found, RESOLVED)
    return None if values is None else values > 0


def judged(found: PhaseMap) -> NDArray[np.uint8] | None:
    """What the templates say ``(Y, X)``, codes of `VERDICTS`; None where they were not asked."""
    return _small(found, JUDGED)


def _small(found: PhaseMap, name: str) -> NDArray[np.uint8] | None:
    values = found.extra.get(name)
    if values is None:
        return None
    # Other files may give the numbers back as floats, NaN where there is none.
    return np.clip(np.nan_to_num(np.asarray(values, dtype=np.float32)), 0, 255).astype(np.uint8)


def place_word(rank: int, crystals: int) -> str:
    """What the answer at a place is, e.g. ``second crystal`` or ``competing answer``.

    Parameters
    ----------
    rank
        Place among the answers, from 0.
    crystals
        Crystals of the pattern: one place each comes first, then what competes
        with the first.
    """
    if rank == 0:
        return "best answer" if crystals < 2 else "first crystal"
    if rank < crystals:
        names = ("second", "third", "fourth", "fifth", "sixth")
        return f"{names[min(rank, len(names)) - 1]} crystal"
    return "competing answer"
