"""What was found: orientation and phase maps, their doubts, colours and files.

orix, matplotlib, scipy and h5py load when they are first needed.
"""

from __future__ import annotations

from napari_diffmap.maps.ambiguity import (
    AMBIGUITY,
    AMBIGUITY_COLORS,
    AMBIGUITY_TABLE,
    Ambiguity,
    AmbiguityCause,
)
from napari_diffmap.maps.boundaries.find import (
    BOUNDARY_TABLE,
    Boundaries,
    BoundaryClass,
    find_boundaries,
)
from napari_diffmap.maps.boundaries.twin_laws import (
    TwinLaw,
    csl_laws,
    hexagonal_twins,
    standard_laws,
    twin_law,
    twin_law_axis,
)
from napari_diffmap.maps.boundaries.twins import BoundaryLaws, LawEntry, classify_laws
from napari_diffmap.maps.colors import ambiguity_colors, ipf_colors, phase_colors
from napari_diffmap.maps.columns import Column
from napari_diffmap.maps.counts import crystal_count, resolved
from napari_diffmap.maps.defect_doubt import DEFECT_TABLE, DefectDoubt
from napari_diffmap.maps.defect_map import DefectClass, DefectMap
from napari_diffmap.maps.figures.ipf_key import ipf_key
from napari_diffmap.maps.figures.pictures import (
    save_ambiguity_png,
    save_boundaries_png,
    save_crystals_png,
    save_ipf_png,
    save_phase_png,
    save_scalar_png,
)
from napari_diffmap.maps.files.export import (
    load_orientation_h5,
    save_ang,
    save_maps_tiff,
    save_orientation_h5,
    save_tiff,
)
from napari_diffmap.maps.files.load import load_map
from napari_diffmap.maps.grains.boundary_properties import BoundaryProperties, boundary_properties
from napari_diffmap.maps.grains.find import Grains, find_grains
from napari_diffmap.maps.grains.misorientation import gos, grain_means, grod, kam
from napari_diffmap.maps.grains.pairs import GrainPairs, find_pairs
from napari_diffmap.maps.grains.properties import GrainProperties, grain_properties
from napari_diffmap.maps.grains.tables import save_table
from napari_diffmap.maps.grains.twin_merging import MergedGrains, merge_by_laws
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phase_map import PhaseMap
from napari_diffmap.maps.phases import MapPhase, PhaseLike
from napari_diffmap.maps.provenance import InputFile, Provenance
from napari_diffmap.maps.spectral_doubt import SPECTRAL_TABLE, SpectralDoubt
from napari_diffmap.maps.spectral_map import SpectralMap, SpectralPhase
from napari_diffmap.maps.zones import AmbiguityZones, Zone, find_zones

__all__ = [
    "AMBIGUITY",
    "AMBIGUITY_COLORS",
    "AMBIGUITY_TABLE",
    "BOUNDARY_TABLE",
    "DEFECT_TABLE",
    "SPECTRAL_TABLE",
    "Ambiguity",
    "AmbiguityCause",
    "AmbiguityZones",
    "Boundaries",
    "BoundaryClass",
    "BoundaryLaws",
    "BoundaryProperties",
    "Column",
    "DefectClass",
    "DefectDoubt",
    "DefectMap",
    "GrainPairs",
    "GrainProperties",
    "Grains",
    "InputFile",
    "LawEntry",
    "MapPhase",
    "MergedGrains",
    "OrientationMap",
    "PhaseLike",
    "PhaseMap",
    "Provenance",
    "SpectralDoubt",
    "SpectralMap",
    "SpectralPhase",
    "TwinLaw",
    "Zone",
    "ambiguity_colors",
    "boundary_properties",
    "classify_laws",
    "crystal_count",
    "csl_laws",
    "find_boundaries",
    "find_grains",
    "find_pairs",
    "find_zones",
    "gos",
    "grain_means",
    "grain_properties",
    "grod",
    "hexagonal_twins",
    "ipf_colors",
    "ipf_key",
    "kam",
    "load_map",
    "load_orientation_h5",
    "merge_by_laws",
    "phase_colors",
    "resolved",
    "save_ambiguity_png",
    "save_ang",
    "save_boundaries_png",
    "save_crystals_png",
    "save_ipf_png",
    "save_maps_tiff",
    "save_orientation_h5",
    "save_phase_png",
    "save_scalar_png",
    "save_table",
    "save_tiff",
    "standard_laws",
    "twin_law",
    "twin_law_axis",
]
