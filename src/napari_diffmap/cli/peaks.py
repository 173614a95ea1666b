"""``peaks``: detect and register the diffraction spots of a scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from napari_diffmap.cli.options import Numbers, json_option, scan_options, scheduler_option
from napari_diffmap.cli.scans import open_from_options, warn
from napari_diffmap.cli.settings import REGISTER, parse_model
from napari_diffmap.cli.terminal import ProgressLine, StopOnInterrupt
from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl


@click.command()
@click.argument("file")
@click.option(
    "--false-spots", type=float, help="Spots per pattern that noise alone may give.  [default: 0.1]"
)
@click.option(
    "--preset",
    type=click.Choice(("adaptive", "ePattern")),
    default="adaptive",
    show_default=True,
    help="The finder: ours, or the published recipe.",
)
@click.option("--pixel-size", type=float, help="Detector pixel in 1/Å; peaks are then in 1/Å.")
@click.option("--center", type=Numbers("Y,X"), help="Direct beam in detector pixels.")
@click.option("--consistent", is_flag=True, help="Drop spots that no neighbouring position sees.")
@click.option("--maps", is_flag=True, help="Write maps as TIFF beside the table.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other parameter of the finder, e.g. spot_radius=2.",
)
@click.option("--out", required=True, help="Table to write: .parquet or .zarr.")
@scheduler_option
@scan_options
@json_option
def peaks(
    file: str,
    false_spots: float | None,
    preset: str,
    pixel_size: float | None,
    center: tuple[float, float] | None,
    consistent: bool,
    maps: bool,
    device: str,
    settings: tuple[str, ...],
    out: str,
    scheduler: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Peak table of FILE: every diffraction spot of every pattern, sub-pixel."""
    from napari_diffmap.cli.terminal import finish
    from napari_diffmap.jobs.cluster import on_cluster
    from napari_diffmap.jobs.register import register, save_maps
    from napari_diffmap.models.device import resolve_device
    from napari_diffmap.scan.peak_file import EXTENSIONS, compression, disk_bytes, save_peaks

    target = Path(out)
    if target.suffix.lower() not in EXTENSIONS:
        raise BadInputError(f"--out {out}: peak tables are .parquet or .zarr")
    if not target.expanduser().parent.is_dir():
        raise BadInputError(f"--out {out}: there is no folder {target.parent}")
    given = {"preset": preset} | ({} if false_spots is None else {"false_spots": false_spots})
    parameters = parse_model(settings, REGISTER, **given)
    scan = open_from_options(file, options)
    warn(scan)
    calibration = scan.calibration
    if pixel_size is not None:
        calibration = calibration.with_pixel_size(pixel_size, "entered")
    if center is not None:
        calibration = calibration.with_center(center, "entered")
    if scheduler is None:
        device = resolve_device(device)
    control = JobControl()
    with on_cluster(scheduler, device) as executor, StopOnInterrupt(control):
        run = register(
            scan.with_calibration(calibration),
            parameters,
            device=device,
            control=control,
            on_progress=ProgressLine(),
            executor=executor,
        )
    table, record = run.table, dict(run.summary)
    if consistent:
        from napari_diffmap.methods.registration.consistent import keep_consistent

        table, report = keep_consistent(table)
        record |= {
            "spots": len(table),
            "spots_per_pattern": len(table) / max(1, record["patterns"]),
            "dropped": report.dropped,
        }
        click.echo(report.in_words(), err=True)
    written = save_peaks(table, target)
    record |= {
        "out": str(written),
        "bytes": disk_bytes(written),
        "compression": round(compression(table, written), 2),
    }
    if maps:
        record["files"] = [path.name for path in save_maps(table, written)]
    if run.error is not None:
        if as_json:
            finish("", record, as_json)
        raise run.error
    finish(one_line(record), record, as_json)


def one_line(record: dict[str, Any]) -> str:
    """The line of summary."""
    pace = record["patterns_per_second"]
    return (
        f"{record['patterns']} patterns, {record['spots']} spots"
        f" ({record['spots_per_pattern']:.1f} a pattern) in {record['seconds']:.1f} s"
        f" ({pace or 0:.0f}/s, {record['device']}); {record['out']},"
        f" {record['compression']:.3g} times smaller than the patterns"
    )
