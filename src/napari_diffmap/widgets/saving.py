"""Saving a map that was loaded, not made here: everything but the run's summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_diffmap.errors import ResourceError

if TYPE_CHECKING:
    from napari_diffmap.maps import OrientationMap


def save_map(found: OrientationMap, folder: Path) -> list[Path]:
    """Write orix HDF5, .ang, TIFF maps and pictures with scale bar and key.

    Raises
    ------
    ResourceError
        If the folder cannot be written.
    """
    from napari_diffmap.maps.export import save_ang, save_maps_tiff, save_orientation_h5
    from napari_diffmap.maps.figures import (
        save_ambiguity_png,
        save_boundaries_png,
        save_ipf_png,
        save_phase_png,
    )

    try:
        written = [save_orientation_h5(found, folder / "orientation.h5")]
        written += save_maps_tiff(found, folder)
        if found.indexed.any():
            written.append(save_ang(found, folder / "orientation.ang"))
            for direction in ("x", "y", "z"):
                written.append(save_ipf_png(found, folder / f"ipf-{direction}.png", direction))
            written.append(save_phase_png(found, folder / "phases.png"))
            written.append(save_boundaries_png(found, folder / "boundaries.png"))
        written.append(save_ambiguity_png(found, folder / "ambiguity.png"))
    except OSError as error:
        raise ResourceError(
            f"cannot write to {folder} ({error.strerror or error}): choose another folder"
        ) from error
    return written
