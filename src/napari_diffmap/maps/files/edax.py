"""What the EDAX .ang format fixes: symmetry codes, columns, marks of missing answers.

Source: the file header and the appendix *File formats* of the OIM Analysis
manual (EDAX), and what EMsoft, ASTAR and orix write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.errors import PhaseError
from napari_diffmap.maps.quaternions import laue_operators

if TYPE_CHECKING:
    from napari_diffmap.maps.phases import PhaseLike

#: Code of ``# Symmetry`` → Laue group.
LAUE_OF_CODE = {
    "1": "-1",
    "2": "2/m",
    "20": "2/m",
    "21": "2/m",
    "22": "mmm",
    "4": "4/m",
    "42": "4/mmm",
    "3": "-3",
    "32": "-3m",
    "6": "6/m",
    "62": "6/mmm",
    "23": "m-3",
    "43": "m-3m",
}
#: Unique axis of the three monoclinic codes.
AXIS_OF_CODE = {"2": "c", "20": "b", "21": "a"}

#: Columns in order; files have the first 8, 10 or more.
COLUMNS = (
    "phi1",
    "Phi",
    "phi2",
    "x",
    "y",
    "image_quality",
    "confidence_index",
    "phase_id",
    "detector_signal",
    "pattern_fit",
)
#: Euler angles (4π) and confidence index of a point without an answer.
NOT_INDEXED_EULER = 12.56637
NOT_INDEXED_CI = -1.0
#: First words of the header lines that only this package writes.
OWN_MARK = "napari-diffmap"


def symmetry_code(phase: PhaseLike) -> str:
    """Code of a phase's Laue group, with the axis of a monoclinic one.

    Raises
    ------
    PhaseError
        If the group has no code.
    """
    laue = phase.point_group.laue.name
    if laue == "2/m":
        turn = laue_operators(phase)[:, 1:]
        axis = "abc"[int(np.abs(turn).sum(axis=0).argmax())]
        return next(code for code, known in AXIS_OF_CODE.items() if known == axis)
    for code, known in LAUE_OF_CODE.items():
        if known == laue:
            return code
    raise PhaseError(
        f"phase {phase.name!r}: an .ang file cannot express the Laue group {laue!r};"
        " save the map as HDF5"
    )
