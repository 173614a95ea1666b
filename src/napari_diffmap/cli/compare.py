"""``compare``: two maps of one scan, where they agree and where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from napari_diffmap.cli.options import json_option


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--out", required=True, help="Folder to write to.")
@click.option("--names", nargs=2, default=None, help="What each map is, in place of its file.")
@click.option("--caption", default="", help="Text below the picture.")
@json_option
def compare(
    first: str,
    second: str,
    out: str,
    names: tuple[str, str] | None,
    caption: str,
    as_json: bool,
) -> None:
    """Compare the maps FIRST and SECOND of one scan.

    Each is a folder of results, an orientation map (.ang, .ctf or .h5) or a saved session
    (NAME.diffmap) with its corrections.
    """
    from napari_diffmap.cli.terminal import NewFolder, finish
    from napari_diffmap.jobs.comparison import map_of, write_comparison

    paths = [Path(name).expanduser() for name in (first, second)]
    called = names or tuple(path.stem for path in paths)
    maps = [map_of(path) for path in paths]
    with NewFolder(out) as folder:
        record = write_comparison(maps[0], maps[1], (called[0], called[1]), folder, caption=caption)
    finish(f"{in_words(record)} → {out}", record, as_json)


def in_words(record: dict[str, Any]) -> str:
    """A comparison in one line."""
    if not record["positions"]:
        return "neither map has an answer"
    return (
        f"{100 * record['agree']:.1f} % of {record['positions']} positions agree,"
        f" {100 * record['half_a_turn_apart']:.1f} % are half a turn apart;"
        f" the phase differs in {100 * record['phases_differ']:.1f} %"
    )
