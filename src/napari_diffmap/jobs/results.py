"""What an orientation map, finished or interrupted, leaves in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_diffmap.errors import ResourceError
from napari_diffmap.jobs.checkpoint import discard
from napari_diffmap.jobs.record import json_text
from napari_diffmap.maps.counts import crystal_count
from napari_diffmap.maps.export import save_ang, save_maps_tiff, save_orientation_h5
from napari_diffmap.maps.figures import (
    save_ambiguity_png,
    save_boundaries_png,
    save_crystals_png,
    save_ipf_png,
    save_phase_png,
    save_scalar_png,
)

if TYPE_CHECKING:
    from napari_diffmap.jobs.orient import OrientationRun
    from napari_diffmap.maps import Boundaries, OrientationMap


def save_map(
    found: OrientationMap, folder: Path, *, boundaries: Boundaries | None = None
) -> list[Path]:
    """Write orix HDF5, .ang, TIFF maps and pictures with scale bar and key.

    Parameters
    ----------
    found
        The map; with no answer in it, only what says so is written.
    folder
        Exists and can be written.
    boundaries
        Of this map, to be drawn; found with the usual thresholds without them.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ResourceError
        If the folder cannot be written or the disk is full.
    """
    try:
        written = [save_orientation_h5(found, folder / "orientation.h5")]
        written += save_maps_tiff(found, folder)
        if found.indexed.any():
            written.append(save_ang(found, folder / "orientation.ang"))
            for direction in ("x", "y", "z"):
                written.append(save_ipf_png(found, folder / f"ipf-{direction}.png", direction))
            written.append(save_phase_png(found, folder / "phases.png"))
            written.append(save_boundaries_png(found, folder / "boundaries.png", boundaries))
            if crystal_count(found) is not None:
                written.append(save_crystals_png(found, folder / "crystals.png"))
            written.append(save_scalar_png(found, folder / "score.png", "score"))
            written.append(save_scalar_png(found, folder / "reliability.png", "reliability"))
        written.append(save_ambiguity_png(found, folder / "ambiguity.png"))
    except OSError as error:
        raise _unwritable(folder, error) from error
    return written


def write_results(
    run: OrientationRun, folder: Path, *, boundaries: Boundaries | None = None
) -> list[Path]:
    """Write a run's maps and pictures as `save_map` does, and ``summary.json``.

    What a complete run kept there to be resumed is deleted then.

    Parameters
    ----------
    run
        The run; one that was stopped writes what it has.
    folder, boundaries
        As for `save_map`.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ResourceError
        If the folder cannot be written or the disk is full.
    """
    written = save_map(run.map, folder, boundaries=boundaries)
    try:
        written.append(write_summary(run, folder))
    except OSError as error:
        raise _unwritable(folder, error) from error
    if run.result.complete:
        discard(folder)
    return written


def _unwritable(folder: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"cannot write to {folder} ({error.strerror or error}): free some space there or choose"
        " another folder"
    )


def write_summary(run: OrientationRun, folder: Path) -> Path:
    """Write ``summary.json``; numbers that do not exist are null."""
    path = folder / "summary.json"
    path.write_text(json_text(run.summary, indent=1) + "\n", encoding="utf-8")
    return path
