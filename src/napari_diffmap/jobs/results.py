"""What an orientation map, finished or interrupted, leaves in a folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import ResourceError
from napari_diffmap.jobs.checkpoint import discard
from napari_diffmap.jobs.formats import DEFAULT_FORMATS, refuse_unknown
from napari_diffmap.jobs.record import json_text
from napari_diffmap.maps.boundaries.find import find_boundaries
from napari_diffmap.maps.colors import DIRECTIONS
from napari_diffmap.maps.counts import crystal_count
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.figures.pictures import (
    save_ambiguity_png,
    save_boundaries_png,
    save_crystals_png,
    save_edited_png,
    save_ipf_png,
    save_phase_png,
    save_scalar_png,
)
from napari_diffmap.maps.figures.report import write_report
from napari_diffmap.maps.files.export import (
    save_ang,
    save_ctf,
    save_label_groups,
    save_labels_tiff,
    save_maps_tiff,
    save_orientation_h5,
)
from napari_diffmap.maps.labels.layers import label_layers

if TYPE_CHECKING:
    from napari_diffmap.jobs.orient import OrientationRun
    from napari_diffmap.maps import Boundaries, OrientationMap, PhaseMap
    from napari_diffmap.maps.edits.edit import Edit
    from napari_diffmap.maps.labels.named import NamedLabels


#: The map in a folder of results.
MAP_FILE = "orientation.h5"


def export_map(
    found: OrientationMap,
    folder: Path,
    *,
    formats: Collection[str] = DEFAULT_FORMATS,
    boundaries: Boundaries | None = None,
    labels: Mapping[str, NamedLabels] | None = None,
    answer: OrientationMap | None = None,
    edits: Sequence[Mapping[str, Any] | Edit] | None = None,
    caption: str = "",
) -> list[Path]:
    """Write a map in chosen formats.

    Parameters
    ----------
    found
        The map; with no answer in it, only what says so is written.
    folder
        Exists and can be written.
    formats
        Of `FORMATS`: ``h5`` (``orientation.h5``), ``tiff`` (a file a scalar map), ``ang`` and
        ``ctf`` (``orientation.*``), ``ome-tiff`` (a file a label map) and ``ome-zarr``
        (``labels.ome.zarr`` with all), ``png``, ``svg`` and ``pdf`` (pictures), ``html``
        (``report.html``).
    boundaries
        Of this map, to be drawn; found with the usual thresholds without them.
    labels
        Label maps to be written beside those of `label_layers`; the same name replaces.
    answer, edits
        For the report: the map before corrections, and what was corrected.
    caption
        Stands below every picture.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    BadInputError
        If a format is unknown.
    ResourceError
        If the folder cannot be written or the disk is full.
    """
    refuse_unknown(formats)
    written: list[Path] = []
    answered = bool(found.indexed.any())
    if boundaries is None and answered and not {*formats} <= {"h5", "tiff", "ang", "ctf"}:
        boundaries = find_boundaries(found)
    try:
        if "h5" in formats:
            written.append(save_orientation_h5(found, folder / MAP_FILE))
        if "tiff" in formats:
            written += save_maps_tiff(found, folder)
        if "ang" in formats and answered:
            written.append(save_ang(found, folder / "orientation.ang"))
        if "ctf" in formats and answered:
            written.append(save_ctf(found, folder / "orientation.ctf"))
        if {"ome-tiff", "ome-zarr"} & {*formats}:
            layers = {**label_layers(found, boundaries=boundaries), **(labels or {})}
            written += save_label_layers(found, folder, formats, layers)
        for kind in ("png", "svg", "pdf"):
            if kind in formats:
                written += _save_pictures(found, folder, kind, boundaries, caption)
        if "html" in formats:
            report = folder / "report.html"
            written.append(
                write_report(found, report, answer=answer, edits=edits, boundaries=boundaries)
            )
    except OSError as error:
        raise unwritable(folder, error) from error
    return written


def _save_pictures(
    found: OrientationMap, folder: Path, kind: str, boundaries: Boundaries | None, caption: str
) -> list[Path]:
    def path(name: str) -> Path:
        return folder / f"{name}.{kind}"

    written = []
    if found.indexed.any():
        for direction in DIRECTIONS:
            written.append(
                save_ipf_png(found, path(f"ipf-{direction}"), direction, caption=caption)
            )
        written.append(save_phase_png(found, path("phases"), caption=caption))
        written.append(save_boundaries_png(found, path("boundaries"), boundaries, caption=caption))
        if crystal_count(found) is not None:
            written.append(save_crystals_png(found, path("crystals"), caption=caption))
        written.append(save_scalar_png(found, path("score"), "score", caption=caption))
        written.append(save_scalar_png(found, path("reliability"), "reliability", caption=caption))
    written.append(save_ambiguity_png(found, path("ambiguity"), caption=caption))
    if EDITED in found.extra:
        written.append(save_edited_png(found, path(EDITED), caption=caption))
    return written


def save_label_layers(
    found: PhaseMap, folder: Path, formats: Collection[str], layers: Mapping[str, NamedLabels]
) -> list[Path]:
    """Write label maps as ``ome-tiff`` (a file each) and ``ome-zarr`` (one with all)."""
    written = []
    if "ome-tiff" in formats:
        for name, layer in layers.items():
            safe = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "labels"
            written.append(
                save_labels_tiff(
                    layer.labels,
                    folder / f"{safe}.ome.tif",
                    names=layer.names,
                    colors=layer.colors,
                    step=layer.step,
                    step_unit=layer.step_unit,
                    name=name,
                    provenance=found.provenance,
                )
            )
    if "ome-zarr" in formats:
        target = folder / "labels.ome.zarr"
        written.append(
            save_label_groups(layers, target, image=found.best_scores, provenance=found.provenance)
        )
    return written


def write_results(
    run: OrientationRun,
    folder: Path,
    *,
    boundaries: Boundaries | None = None,
    formats: Collection[str] = DEFAULT_FORMATS,
) -> list[Path]:
    """Write a run's maps and pictures as `export_map` does, and ``summary.json``.

    What a complete run kept there to be resumed is deleted then.

    Parameters
    ----------
    run
        The run; one that was stopped writes what it has.
    folder, boundaries, formats
        As for `export_map`.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ResourceError
        If the folder cannot be written or the disk is full.
    """
    written = export_map(run.map, folder, boundaries=boundaries, formats=formats)
    try:
        written.append(write_summary(run, folder))
    except OSError as error:
        raise unwritable(folder, error) from error
    if run.result.complete:
        discard(folder)
    return written


def unwritable(folder: Path, error: OSError) -> ResourceError:
    """What is told when a folder cannot be written."""
    return ResourceError(
        f"cannot write to {folder} ({error.strerror or error}): free some space there or choose"
        " another folder"
    )


def write_summary(run: OrientationRun, folder: Path) -> Path:
    """Write ``summary.json``; numbers that do not exist are null."""
    path = folder / "summary.json"
    path.write_text(json_text(run.summary, indent=1) + "\n", encoding="utf-8")
    return path
