"""Why a defect is in doubt: the codes, their names and their colours."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.ambiguity import AmbiguityCause

#: Between these probabilities nobody knows whether there is a defect.
UNSURE: Final = (0.2, 0.8)
#: A class whose probability is less than this is not clear.
CLEAR: Final = 0.8
#: A track that is seen in a smaller share of its frames flickers.
STEADY: Final = 0.5


class DefectDoubt(IntEnum):
    """Cause of doubt of one find, as stored in files (uint8)."""

    NONE = 0
    UNSURE = 1
    CLASS = 2
    BORDER = 3
    NO_LATTICE = 4
    FLICKERS = 5
    NO_DATA = 6


#: Okabe–Ito colours; codes 0 and 6 mean, and look, the same as in `AMBIGUITY_TABLE`.
DEFECT_TABLE: tuple[AmbiguityCause, ...] = (
    AmbiguityCause(
        DefectDoubt.NONE, "none", "#BBBBBB", "There is a defect, and its class is clear."
    ),
    AmbiguityCause(
        DefectDoubt.UNSURE,
        "unsure",
        "#E69F00",
        "It is not sure that there is a defect: its probability lies between 0.2 and 0.8.",
    ),
    AmbiguityCause(
        DefectDoubt.CLASS,
        "class not clear",
        "#56B4E9",
        "There is a defect, but another class is nearly as probable.",
    ),
    AmbiguityCause(
        DefectDoubt.BORDER,
        "at the border",
        "#F0E442",
        "At the border of the field, where neighbours are missing.",
    ),
    AmbiguityCause(
        DefectDoubt.NO_LATTICE,
        "off the lattice",
        "#D55E00",
        "On no site of the lattice: a grain boundary, a hole, contamination, or an atom on top.",
    ),
    AmbiguityCause(
        DefectDoubt.FLICKERS,
        "flickers",
        "#CC79A7",
        "Comes and goes: seen in few frames, or in fewer than half of those of its track.",
    ),
    AmbiguityCause(DefectDoubt.NO_DATA, "no data", "#000000", "A place for a find to be added."),
)


def doubt_of(
    probability: NDArray[np.floating[Any]],
    class_probability: NDArray[np.floating[Any]],
    *,
    border: NDArray[np.bool_],
    off_lattice: NDArray[np.bool_],
    flickers: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Codes of doubt of finds; of several causes the one that the user should look at first.

    Parameters
    ----------
    probability
        ``(n,)`` that there is a defect; NaN is no cause.
    class_probability
        ``(n,)`` of the first class; NaN is no cause.
    border, off_lattice, flickers
        ``(n,)`` whether a find lies at the border of the field, on no site, in an unsteady track.

    Returns
    -------
    ndarray
        ``(n,)`` uint8, see `DefectDoubt`.
    """
    codes = np.zeros(len(probability), dtype=np.uint8)
    codes[flickers] = DefectDoubt.FLICKERS
    codes[class_probability < CLEAR] = DefectDoubt.CLASS
    codes[(probability > UNSURE[0]) & (probability < UNSURE[1])] = DefectDoubt.UNSURE
    codes[off_lattice] = DefectDoubt.NO_LATTICE
    # Where neighbours are missing nothing can be told of sites either.
    codes[border] = DefectDoubt.BORDER
    return codes


def flickering(
    frame: NDArray[np.integer[Any]],
    track: NDArray[np.integer[Any]],
    frames: int,
    shortest: int = 3,
) -> NDArray[np.bool_]:
    """Which finds belong to a track that comes and goes.

    A track that begins in the first frame or ends in the last may be cut off there: that it is
    short is then no cause.

    Parameters
    ----------
    frame, track
        ``(n,)`` of each find; a track of -1 is none.
    frames
        Of the movie; nothing flickers in fewer than `shortest`.
    shortest
        Frames of the shortest track that is steady.
    """
    out = np.zeros(len(frame), dtype=bool)
    if frames < max(shortest, 2) or not len(frame):
        return out
    tracked = track >= 0
    inside = (frame > 0) & (frame < frames - 1)
    out[~tracked & inside] = shortest > 1
    if not tracked.any():
        return out
    _, which = np.unique(track[tracked], return_inverse=True)
    mine = frame[tracked].astype(np.int64)
    count = np.bincount(which)
    first = np.full(len(count), frames)
    last = np.zeros(len(count), dtype=np.int64)
    np.minimum.at(first, which, mine)
    np.maximum.at(last, which, mine)
    rare = count < STEADY * (last - first + 1)
    short = (last - first + 1 < shortest) & (first > 0) & (last < frames - 1)
    out[tracked] = (rare | short)[which]
    return out
