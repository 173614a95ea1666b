"""``grains``: tables of the grains and boundaries of an orientation map."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from napari_diffmap.cli.options import json_option


@click.command()
@click.argument("file", metavar="MAP")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 180, min_open=True, max_open=True),
    default=5.0,
    show_default=True,
    help="Neighbours up to this disorientation (degrees) are one grain.",
)
@click.option(
    "--min-size",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Smaller pieces (pixels) are no grains.",
)
@click.option(
    "--kam-order",
    type=click.IntRange(1, 10),
    default=1,
    show_default=True,
    help="Neighbours of KAM, in steps along rows and columns.",
)
@click.option("--merge-twins", is_flag=True, help="Join twins into parent grains as well.")
@click.option("--out", required=True, help="Folder to write to.")
@json_option
def grains(
    file: str,
    threshold: float,
    min_size: int,
    kam_order: int,
    merge_twins: bool,
    out: str,
    as_json: bool,
) -> None:
    """Grains and boundaries of MAP: tables, KAM and GROD.

    MAP is an orientation map: .ang, .ctf or .h5.
    """
    from napari_diffmap.cli.terminal import NewFolder, finish
    from napari_diffmap.cli.words import on_the_command_line
    from napari_diffmap.jobs.grains import GrainSettings, measure_grains, save_grains
    from napari_diffmap.maps.files.load import load_map

    found = load_map(file)
    for warning in found.warnings:
        click.echo(f"warning: {Path(file).name}: {on_the_command_line(warning)}", err=True)
    settings = GrainSettings(
        threshold=threshold, min_size=min_size, kam_order=kam_order, merge_twins=merge_twins
    )
    run = measure_grains(found, settings)
    with NewFolder(out) as folder:
        written = save_grains(run, folder)
    record = {
        "file": file,
        **run.summary,
        "out": str(folder),
        "files": [path.name for path in written],
    }
    finish(one_line(run.summary, folder), record, as_json)


def one_line(summary: dict[str, Any], folder: Path) -> str:
    """The line of summary."""
    unit = summary["unit"]
    phases = "; ".join(
        f"{phase['name']}: {phase['grains']} of {_short(phase['mean_diameter'])} {unit}"
        + _twins(phase["twin_fraction"])
        for phase in summary["phases"]
    )
    parents = f" in {summary['parents']} parents" if summary["parents"] is not None else ""
    return (
        f"{summary['grains']} grains{parents} in {summary['seconds']:.1f} s ({phases}),"
        f" GOS {summary['gos_deg']:.2g}°; {folder}"
    )


def _short(length: float) -> str:
    """Three figures at least, without an exponent."""
    return f"{length:.0f}" if length >= 100 else f"{length:.3g}"


def _twins(fraction: float) -> str:
    """How much of a phase's boundaries are twins, where it has laws and boundaries."""
    return f", {100 * fraction:.0f} % twin boundary" if math.isfinite(fraction) else ""
