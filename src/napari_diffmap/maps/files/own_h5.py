"""Maps of every kind in this package's own files."""

from __future__ import annotations

from pathlib import Path

from napari_diffmap.errors import BadInputError
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
    raise BadInputError(f"a {type(found).__name__} has no file of its own")


def load_map_h5(path: str | Path) -> OrientationMap | SpectralMap:
    """Read a map of either kind.

    Raises
    ------
    BadInputError
        If it is no such file, or it is damaged.
    """
    return load_spectral_h5(path) if _is_spectral(path) else load_orientation_h5(path)


def load_any_map(path: str | Path) -> OrientationMap | SpectralMap:
    """Open a map file, whatever wrote it: see `load_map`; of spectra, one of this package.

    Raises
    ------
    BadInputError
        If the file is missing, unknown or damaged.
    """
    from napari_diffmap.maps.files.load import load_map

    return load_spectral_h5(path) if _is_spectral(path) else load_map(path)


def _is_spectral(path: str | Path) -> bool:
    try:
        return is_spectral_h5(path)
    except OSError:
        # Whoever reads it says in one line what is wrong with it.
        return False
