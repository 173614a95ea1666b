"""Why the phase of a spectrum is in doubt: the codes, their names and their colours."""

from __future__ import annotations

from enum import IntEnum

from napari_diffmap.maps.ambiguity import AmbiguityCause


class SpectralDoubt(IntEnum):
    """Cause of doubt of one pixel of a spectral map, as stored in files (uint8)."""

    NONE = 0
    AMBIGUITY = 1
    FALSE_ASSIGNMENT = 2
    TRANSITION = 3
    THIN = 4
    SATURATED = 5
    NO_DATA = 6


#: Okabe–Ito colours; codes 0 and 6 mean, and look, the same as in `AMBIGUITY_TABLE`.
SPECTRAL_TABLE: tuple[AmbiguityCause, ...] = (
    AmbiguityCause(
        SpectralDoubt.NONE, "none", "#BBBBBB", "One reference explains the spectrum clearly best."
    ),
    AmbiguityCause(
        SpectralDoubt.AMBIGUITY,
        "ambiguity",
        "#E69F00",
        "Two references fit the spectrum equally well at this number of energies and counts.",
    ),
    AmbiguityCause(
        SpectralDoubt.FALSE_ASSIGNMENT,
        "false assignment",
        "#D55E00",
        "The phase given here does not explain the spectrum: another fits clearly better, none"
        " fits well, or the region is too small to be believed.",
    ),
    AmbiguityCause(
        SpectralDoubt.TRANSITION,
        "transition",
        "#56B4E9",
        "At a border of two phases: a mixture of both fits better than either.",
    ),
    AmbiguityCause(
        SpectralDoubt.THIN,
        "too thin",
        "#F0E442",
        "So little absorbs here that the spectrum is mostly noise.",
    ),
    AmbiguityCause(
        SpectralDoubt.SATURATED,
        "saturated",
        "#CC79A7",
        "So much absorbs here that the peaks of the spectrum are cut off.",
    ),
    AmbiguityCause(
        SpectralDoubt.NO_DATA, "no data", "#000000", "No spectrum was recorded or mapped here."
    ),
)
