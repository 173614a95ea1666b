"""What the EDAX .ang format fixes: symmetry codes, columns, marks of missing answers.

Source: the file header and the appendix *File formats* of the OIM Analysis
manual (EDAX), and what EMsoft, ASTAR and orix write.
"""

from __future__ import annotations

#: Code of ``# Symmetry`` → Laue group.
LAUE_OF_CODE = {
    "1": "-1",
    "2": "2/m",
    "20": "2/m",
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
#: Laue group → code; monoclinic crystals as unique axis b (20).
CODE_OF_LAUE = {laue: code for code, laue in LAUE_OF_CODE.items()}

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
