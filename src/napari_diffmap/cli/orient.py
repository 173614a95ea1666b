"""``orient``: the orientation and phase map of a scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_diffmap.cli.options import (
    Numbers,
    as_keywords,
    json_option,
    scan_options,
    scheduler_option,
)
from napari_diffmap.cli.scans import open_from_options, warn
from napari_diffmap.cli.settings import parse_settings
from napari_diffmap.cli.terminal import NewFolder, ProgressLine, StopOnInterrupt, finish
from napari_diffmap.cli.words import on_the_command_line
from napari_diffmap.jobs.control import JobControl

if TYPE_CHECKING:
    from napari_diffmap.methods.orientation import OrientationMethod
    from napari_diffmap.scan.open.follow import Follower
    from napari_diffmap.scan.scan import Scan


@click.command()
@click.argument("file")
@click.option(
    "--phase", "phases", multiple=True, required=True, help="CIF file or bundled phase; repeatable."
)
@click.option("--voltage", type=float, help="Accelerating voltage in kV.")
@click.option(
    "--engine",
    default="templates",
    show_default=True,
    help="What proposes orientations: templates, or a network (see models).",
)
@click.option("--pixel-size", type=float, help="Detector pixel in 1/Å.")
@click.option("--center", type=Numbers("Y,X"), help="Direct beam in detector pixels.")
@click.option("--calibration", "calibration_file", help="Calibration file that calibrate wrote.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other parameter of the matcher, e.g. zone_step_deg=2.",
)
@click.option("--out", required=True, help="Folder to write to.")
@click.option("--resume", is_flag=True, help="Go on with the stopped run in the --out folder.")
@click.option("--follow", is_flag=True, help="FILE is being recorded: map frames as they come.")
@scheduler_option
@scan_options
@json_option
def orient(
    file: str,
    phases: tuple[str, ...],
    voltage: float | None,
    engine: str,
    pixel_size: float | None,
    center: tuple[float, float] | None,
    calibration_file: str | None,
    device: str,
    settings: tuple[str, ...],
    out: str,
    resume: bool,
    follow: bool,
    scheduler: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Orientation and phase map of FILE."""
    from napari_diffmap.jobs.orient import calibrated, make_method
    from napari_diffmap.scan.calibration_file import load_calibration, merged

    follower = None
    if follow:
        from napari_diffmap.scan.open.follow import Follower

        follower = Follower(file, **as_keywords(options))
    scan = open_from_options(file, options) if follower is None else follower.scan
    warn(scan)
    method = make_method(phases, parse_settings(settings, engine=engine))
    for phase in method.phases:
        for warning in phase.warnings:
            click.echo(f"warning: {phase.name}: {on_the_command_line(warning)}", err=True)
    if calibration_file is not None:
        known = merged(scan.calibration, load_calibration(calibration_file))
        scan = scan.with_calibration(known)
    scan = calibrated(scan, voltage_kv=voltage, pixel_size=pixel_size, center=center)
    carry_out(
        scan,
        method,
        options=as_keywords(options),
        out=out,
        device=device,
        resume=resume,
        scheduler=scheduler,
        as_json=as_json,
        follower=follower,
    )


def carry_out(
    scan: Scan,
    method: OrientationMethod,
    *,
    options: dict[str, Any],
    out: str,
    device: str,
    resume: bool,
    scheduler: str | None,
    as_json: bool,
    follower: Follower | None = None,
    edits: Path | None = None,
) -> None:
    """Map a calibrated scan, write the results with the recipe, say so in one line.

    `edits` is the record of corrections that come on top of a complete map.
    """
    from napari_diffmap.jobs.checkpoint import discard
    from napari_diffmap.jobs.cluster import on_cluster
    from napari_diffmap.jobs.corrected import correction_summary, write_corrected
    from napari_diffmap.jobs.orient import map_orientations
    from napari_diffmap.jobs.recipe import FILE_NAME, recipe_of, save_recipe, with_edits
    from napari_diffmap.jobs.results import write_results
    from napari_diffmap.maps.edits.log import FILE_NAME as EDITS
    from napari_diffmap.maps.edits.log import load_log
    from napari_diffmap.models.device import resolve_device

    if scheduler is None:
        device = resolve_device(device)
    if follower is not None:
        follower.scan = scan  # as it was calibrated
    control = JobControl()
    with (
        on_cluster(scheduler, device) as executor,
        NewFolder(out) as folder,
        StopOnInterrupt(control),
    ):
        run = map_orientations(
            scan,
            method,
            device=device,
            control=control,
            on_progress=ProgressLine(),
            out=folder,
            resume=resume,
            executor=executor,
            follower=follower,
        )
    corrections = None
    if edits is not None and run.result.complete:
        corrections, warnings = load_log(edits, run.map)
        for line in warnings:
            click.echo(line, err=True)
    recipe = recipe_of(scan, method, options)
    record = {**run.summary, "out": str(folder)}
    if corrections is None:
        written = write_results(run, folder)
    else:
        written = write_corrected(corrections, folder, run=run)
        discard(folder)
        record["corrected"] = correction_summary(corrections)
        if recipe is not None:
            recipe = with_edits(recipe, folder / EDITS)
    if recipe is not None:
        written.append(save_recipe(recipe, folder / FILE_NAME))
    record["files"] = [path.name for path in written]
    if run.result.error is not None:
        if as_json:
            finish("", record, as_json)
        if run.result.done.any():
            raise type(run.result.error)(f"{run.result.error}; go on with --resume")
        raise run.result.error
    line = one_line(run.summary, folder)
    if corrections is not None:
        made = record["corrected"]["edits"]
        line = f"{line}; {made} correction{'' if made == 1 else 's'} by hand"
    finish(line, record, as_json)


def one_line(summary: dict[str, Any], folder: Path) -> str:
    """The line of summary."""
    doubtful = summary["ambiguous_fraction"]
    return (
        f"{summary['patterns']} patterns in {summary['seconds']:.1f} s"
        f" ({summary['patterns_per_second']:.0f}/s, {summary['device']}),"
        f" {summary['indexed']} indexed, {100 * doubtful:.0f} % ambiguous;"
        f"{_judged(summary)} {folder}"
    )


def _judged(summary: dict[str, Any]) -> str:
    """What the templates said of a network's map."""
    return f" {summary['judge']['line']};" if "judge" in summary else ""
