"""A map of defects in chosen formats, without the images that it was made from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.defects_results import DEFECTS_FILE, TABLE, write_table
from napari_diffmap.jobs.formats import DEFAULT_FORMATS, FORMATS, refuse_unknown
from napari_diffmap.jobs.results import unwritable
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.figures.defects import save_space_time_png
from napari_diffmap.maps.files.save_defects import save_defects_h5

_PICTURES: Final = ("png", "svg", "pdf")


def export_defects(
    found: DefectMap, folder: Path, *, formats: Collection[str] = DEFAULT_FORMATS
) -> list[Path]:
    """Write a map of defects in chosen formats, and its table always.

    Parameters
    ----------
    found
        The map.
    folder
        Exists and can be written.
    formats
        Of `FORMATS`: ``h5`` (``defects.h5``), and pictures of defects in space and time; those of
        maps of pixels are passed over.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    BadInputError
        If a format is unknown, or none is one of defects.
    ResourceError
        If the folder cannot be written or the disk is full.
    """
    refuse_unknown(formats)
    ours = [name for name in FORMATS if name in ("h5", *_PICTURES)]
    if not set(formats) & set(ours):
        raise BadInputError(f"defects are no map of pixels: choose from {', '.join(ours)}")
    try:
        written = [write_table(found, folder / TABLE)]
        if "h5" in formats:
            written.append(save_defects_h5(found, folder / DEFECTS_FILE))
        for kind in _PICTURES:
            if kind in formats and found.indexed.any():
                written.append(save_space_time_png(found, folder / f"space-time.{kind}"))
    except OSError as error:
        raise unwritable(folder, error) from error
    return written
