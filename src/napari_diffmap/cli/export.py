"""``export``: a map, or a session with its corrections, in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from napari_diffmap.cli.options import json_option
from napari_diffmap.errors import BadInputError


@click.command()
@click.argument("file", metavar="MAP")
@click.option("--out", required=True, help="Folder to write to.")
@click.option(
    "--format",
    "formats",
    default="h5,tiff,ang,png,html",
    show_default=True,
    help="Of h5, tiff, ang, ctf, ome-tiff, ome-zarr, png, svg, pdf and html, with commas.",
)
@click.option("--caption", default="", help="Text below every picture.")
@json_option
def export(file: str, out: str, formats: str, caption: str, as_json: bool) -> None:
    """Write MAP for other tools.

    MAP is an orientation map (.ang, .ctf or .h5), a phase map of spectra or a map of
    defects (.h5) or a saved session (NAME.diffmap), whose corrections are then in what is written.
    """
    from napari_diffmap.cli.terminal import NewFolder, finish
    from napari_diffmap.cli.words import on_the_command_line
    from napari_diffmap.jobs.corrected import export_corrected
    from napari_diffmap.jobs.defects_export import export_defects
    from napari_diffmap.jobs.formats import FORMATS
    from napari_diffmap.jobs.results import export_map
    from napari_diffmap.jobs.session_file import is_session, load_corrections
    from napari_diffmap.jobs.spectral_results import export_spectral
    from napari_diffmap.maps import DefectMap, SpectralMap
    from napari_diffmap.maps.files.own_h5 import load_any_map

    chosen = [name.strip() for name in formats.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown or not chosen:
        raise BadInputError(f"give formats of {', '.join(FORMATS)}, not {formats!r}")
    path = Path(file).expanduser()
    record: dict[str, Any] = {"file": file, "out": out}
    if is_session(path):
        corrections, warnings = load_corrections(path)
        record["edits"] = len(corrections.in_force())
    else:
        corrections, found = None, load_any_map(path)
        warnings = found.warnings
    for warning in warnings:
        click.echo(f"warning: {path.name}: {on_the_command_line(warning)}", err=True)
    with NewFolder(out) as folder:
        if corrections is not None:
            written = export_corrected(corrections, folder, formats=chosen, caption=caption)
        elif isinstance(found, SpectralMap):
            written = export_spectral(found, folder, formats=chosen, caption=caption)
        elif isinstance(found, DefectMap):
            written = export_defects(found, folder, formats=chosen)
        else:
            written = export_map(found, folder, formats=chosen, caption=caption)
    record["files"] = [item.name for item in written]
    by_hand = f", {record['edits']} corrections by hand" if corrections is not None else ""
    finish(f"{len(written)} files of {path.name}{by_hand}; {folder}", record, as_json)
