"""``calibrate``: centre, pixel size, ellipse and rotation of a scan, fitted and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from napari_diffmap.cli.options import json_option, scan_options
from napari_diffmap.cli.scans import open_from_options, warn
from napari_diffmap.cli.settings import CALIBRATE, parse_model
from napari_diffmap.cli.terminal import ProgressLine, StopOnInterrupt
from napari_diffmap.cli.words import on_the_command_line
from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl


@click.command()
@click.argument("file")
@click.option("--phase", help="Known phase for pixel size and ellipse: CIF file or bundled one.")
@click.option(
    "--fit",
    "parts",
    help="What to fit, e.g. center,pixel-size,ellipse,rotation; without it, all that can be.",
)
@click.option("--pixel-size", type=float, help="Detector pixel in 1/Å to start from.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other parameter of the fits, e.g. beam=inversion.",
)
@click.option("--out", help="Calibration file to write (JSON); orient --calibration reads it.")
@scan_options
@json_option
def calibrate(
    file: str,
    phase: str | None,
    parts: str | None,
    pixel_size: float | None,
    settings: tuple[str, ...],
    out: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit the geometry of the patterns of FILE.

    Each value is shown with what it was and what its fit leaves; one that the
    patterns do not decide is refused with the reason and not written.
    """
    from napari_diffmap.cli.terminal import finish
    from napari_diffmap.jobs.calibrate import calibrate_scan, calibration_summary
    from napari_diffmap.scan.calibration_file import save_calibration

    parameters = parse_model(settings, CALIBRATE, phase=phase or "")
    wanted = _wanted(parts, phase)
    scan = open_from_options(file, options)
    warn(scan)
    if pixel_size is not None:
        scan = scan.with_calibration(scan.calibration.with_pixel_size(pixel_size, "entered"))
    control = JobControl()
    with StopOnInterrupt(control):
        found = calibrate_scan(
            scan, parameters, wanted, control=control, on_progress=ProgressLine()
        )
    record = calibration_summary(scan, found)
    if out is not None and found.usable:
        record["out"] = str(save_calibration(found.calibration, Path(out)))
    if not as_json:
        for part in found.parts:
            click.echo(on_the_command_line(part.line), err=bool(part.problem))
    if not found.usable:
        if as_json:
            finish("", record, as_json)
        raise BadInputError("nothing could be fitted: nothing is written")
    where = f"; {record['out']}" if "out" in record else ""
    names = ", ".join(part.replace("-", " ") for part in found.usable)
    finish(f"fitted {names}{where}", record, as_json)


def _wanted(parts: str | None, phase: str | None) -> tuple[str, ...]:
    """The parts asked for; all that can be without any."""
    from napari_diffmap.methods.calibration import PARTS

    if parts is None:
        return tuple(p for p in PARTS if phase or p not in ("pixel-size", "ellipse"))
    chosen = tuple(part.strip().replace("_", "-") for part in parts.split(","))
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise BadInputError(f"--fit {parts}: {unknown[0]!r} is none of {', '.join(PARTS)}")
    return chosen
