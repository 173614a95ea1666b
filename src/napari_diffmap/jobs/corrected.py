"""What a map that was corrected by hand leaves in a folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.jobs.formats import DEFAULT_FORMATS
from napari_diffmap.jobs.record import json_text
from napari_diffmap.jobs.results import export_map, unwritable
from napari_diffmap.jobs.session_file import ANSWER
from napari_diffmap.jobs.spectral_results import export_spectral
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.edits.edit import snapshot
from napari_diffmap.maps.edits.edited import edited_counts
from napari_diffmap.maps.edits.log import FILE_NAME as EDITS
from napari_diffmap.maps.edits.log import save_log
from napari_diffmap.maps.files.own_h5 import save_map_h5
from napari_diffmap.maps.labels.named import NamedLabels
from napari_diffmap.maps.orientation_map import oriented
from napari_diffmap.maps.spectral_map import SpectralMap

if TYPE_CHECKING:
    from napari_diffmap.jobs.orient import OrientationRun
    from napari_diffmap.maps import Boundaries
    from napari_diffmap.maps.edits.corrections import Corrections


def write_corrected(
    corrections: Corrections,
    folder: Path,
    *,
    run: OrientationRun | None = None,
    boundaries: Boundaries | None = None,
    formats: Collection[str] = DEFAULT_FORMATS,
) -> list[Path]:
    """Write a corrected map, the answer beside it, and what was corrected.

    ``orientation.h5`` (``phases.h5`` of spectra, ``defects.h5``) and the pictures hold the
    corrections, ``answer.h5`` the map as it was found, ``edits.jsonl`` every edit.

    Parameters
    ----------
    corrections
        The map with its edits.
    folder, boundaries, formats
        As for `export_map`.
    run
        That made the map: its summary is written too, with what was corrected.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ResourceError
        If the folder cannot be written or the disk is full.
    """
    written = export_corrected(corrections, folder, boundaries=boundaries, formats=formats)
    try:
        written.append(save_map_h5(corrections.answer, folder / ANSWER))
        written.append(save_log(corrections, folder / EDITS))
        if run is not None:
            path = folder / "summary.json"
            record: dict[str, Any] = {**run.summary, "corrected": correction_summary(corrections)}
            path.write_text(json_text(record, indent=1) + "\n", encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise unwritable(folder, error) from error
    return written


def export_corrected(
    corrections: Corrections,
    folder: Path,
    *,
    boundaries: Boundaries | None = None,
    formats: Collection[str] = DEFAULT_FORMATS,
    caption: str = "",
) -> list[Path]:
    """Write a corrected map and its label maps in chosen formats; see `export_map`."""
    found = snapshot(corrections.map)
    labels = {
        name: NamedLabels(mine.values, mine.names, mine.colors, found.step, found.step_unit)
        for name, mine in corrections.labels.items()
    }
    if isinstance(found, SpectralMap):
        return export_spectral(found, folder, formats=formats, labels=labels, caption=caption)
    if isinstance(found, DefectMap):
        from napari_diffmap.jobs.defects_export import export_defects

        return export_defects(found, folder, formats=formats)
    return export_map(
        oriented(found),
        folder,
        formats=formats,
        boundaries=boundaries,
        labels=labels,
        answer=oriented(corrections.answer),
        edits=corrections.in_force(),
        caption=caption,
    )


def correction_summary(corrections: Corrections) -> dict[str, Any]:
    """How many edits are in force, and pixels by kind."""
    return {"edits": len(corrections.in_force()), "pixels": edited_counts(corrections.map)}
