"""Maps of every kind in this package's own files."""

from __future__ import annotations

from pathlib import Path

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.files.load_defects import is_defects_h5, load_defects_h5
from napari_diffmap.maps.files.save_defects import save_defects_h5
from napari_diffmap.maps.files.save_h5 import load_orientation_h5, save_orientation_h5
from napari_diffmap.maps.files.save_spectral_h5 import (
    is_spectral_h5,
    load_spectral_h5,
    save_spectral_h5,
)
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phase_map import PhaseMap
from napari_diffmap.maps.spectral_map import SpectralMap


def save_map_h5(found: PhaseMap, path: str | Path) -> Path:
    """Write a map so that `load_map_h5` restores it exactly.

    Raises
    ------
    BadInputError, ResourceError
        If it cannot be written there.
    """
    if isinstance(found, OrientationMap):
        return save_orientation_h5(found, path)
    if isinstance(found, SpectralMap):
        return save_spectral_h5(found, path)
    if isinstance(found, DefectMap):
        return save_defects_h5(found, path)
    raise BadInputError(f"a {type(found).__name__} has no file of its own")


def load_map_h5(path: str | Path) -> OrientationMap | SpectralMap | DefectMap:
    """Read a map of any kind.

    Raises
    ------
    BadInputError
        If it is no such file, or it is damaged.
    """
    own = _own(path)
    return load_orientation_h5(path) if own is None else own


def load_any_map(path: str | Path) -> OrientationMap | SpectralMap | DefectMap:
    """Open a map file, whatever wrote it: see `load_map`; of spectra or defects, one of ours.

    Raises
    ------
    BadInputError
        If the file is missing, unknown or damaged.
    """
    from napari_diffmap.maps.files.load import load_map

    own = _own(path)
    return load_map(path) if own is None else own


def _own(path: str | Path) -> SpectralMap | DefectMap | None:
    """A map without orientations; None of any other file."""
    try:
        if is_spectral_h5(path):
            return load_spectral_h5(path)
        if is_defects_h5(path):
            return load_defects_h5(path)
    except OSError:
        # Whoever reads it says in one line what is wrong with it.
        pass
    return None
