"""What was found: orientation and phase maps, their doubts, colours and files."""

from __future__ import annotations

from napari_diffmap.maps.ambiguity import (
    AMBIGUITY,
    AMBIGUITY_COLORS,
    AMBIGUITY_TABLE,
    Ambiguity,
    AmbiguityCause,
)
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phases import MapPhase, PhaseLike
from napari_diffmap.maps.provenance import InputFile, Provenance

__all__ = [
    "AMBIGUITY",
    "AMBIGUITY_COLORS",
    "AMBIGUITY_TABLE",
    "Ambiguity",
    "AmbiguityCause",
    "InputFile",
    "MapPhase",
    "OrientationMap",
    "PhaseLike",
    "Provenance",
]
