"""``convert``: a scan as Zarr made for speed, and whether one is still what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from napari_diffmap.cli.options import json_option, scan_options
from napari_diffmap.cli.scans import open_from_options, warn
from napari_diffmap.cli.terminal import ProgressLine, StopOnInterrupt
from napari_diffmap.errors import BadInputError, ScanFileError
from napari_diffmap.jobs.control import JobControl


@click.command()
@click.argument("file")
@click.option("--out", help="File to write, a .zspy; HyperSpy opens it too.")
@click.option(
    "--check", is_flag=True, help="Only compare FILE, converted before, with its checksums."
)
@scan_options
@json_option
def convert(file: str, out: str | None, check: bool, as_json: bool, **options: Any) -> None:
    """Write FILE as .zspy in blocks that serve both patterns and virtual images.

    A conversion that was stopped goes on where it ended.
    """
    from napari_diffmap.cli.terminal import finish
    from napari_diffmap.jobs import convert as jobs

    if check:
        damaged = jobs.damaged_blocks(file)
        if damaged:
            rows, columns = damaged[0]
            raise ScanFileError(
                f"{Path(file).name}: {len(damaged)} blocks are not what was written, the first at"
                f" rows {rows.start}-{rows.stop - 1}, columns {columns.start}-{columns.stop - 1}:"
                " copy or convert it again"
            )
        finish(f"{file}: every block is what was written", {"file": file, "damaged": 0}, as_json)
        return
    if out is None:
        raise BadInputError("give --out FILE.zspy to write to, or --check")
    scan = open_from_options(file, options)
    warn(scan)
    control = JobControl()
    with StopOnInterrupt(control):
        done = jobs.convert(scan, out, control=control, on_progress=ProgressLine())
    record = {
        "file": file,
        "out": str(done.path),
        "patterns": done.patterns,
        "seconds": round(done.seconds, 3),
        "bytes": done.bytes,
        "stored": done.stored,
    }
    speed = done.bytes / 1e6 / max(done.seconds, 1e-9)
    finish(
        f"{done.patterns} patterns in {done.seconds:.1f} s ({speed:.0f} MB/s),"
        f" {done.bytes / max(done.stored, 1):.2g} times smaller; {done.path}",
        record,
        as_json,
    )
