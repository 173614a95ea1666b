"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: Kinds of scan, as `scan.AXIS_NAMES` has them: importing that takes longer than a help text may.
KINDS = (
    "4D-STEM",
    "pattern stack",
    "pattern",
    "STXM",
    "image series",
    "image",
    "nanodiffraction",
    "Bragg CDI",
)


class Numbers(click.ParamType[Any]):
    """A fixed count of comma-separated numbers, e.g. ``64,64,12``."""

    name = "numbers"

    def __init__(self, names: str, kind: type[int] | type[float] = float) -> None:
        self.names = names
        self.kind = kind

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Shown in the help, e.g. ``CY,CX,R``."""
        return self.names

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Split and check the count."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not {self.names}", param, ctx)
        if not all(math.isfinite(number) for number in numbers):
            self.fail(f"{value!r} is not {self.names}: every number must be finite", param, ctx)
        if len(numbers) != len(self.names.split(",")):
            self.fail(f"{value!r} has {len(numbers)} numbers, not {self.names}", param, ctx)
        return numbers


def scan_options(command: F) -> F:
    """How to open a file that does not say everything itself."""
    options = (
        click.option("--dataset", help="Which array inside an HDF5 or Zarr file (see `info`)."),
        click.option(
            "--scan-shape",
            type=Numbers("ROWS,COLUMNS", int),
            help="Lay a flat stack of patterns out on a scan.",
        ),
        click.option(
            "--raw-shape",
            type=Numbers("Y,X,KY,KX", int),
            help="Shape of a raw binary file; needs --dtype.",
        ),
        click.option("--dtype", help="Number type of a raw binary file, e.g. uint16."),
        click.option("--raw-offset", type=int, default=0, help="Header bytes of a raw file."),
        click.option(
            "--kind", type=click.Choice(KINDS), help="What the scan is, where the guess is wrong."
        ),
        click.option("--axes", help="Axis order in the file, e.g. ky,kx,y,x."),
    )
    for option in reversed(options):  # decorators apply from below
        command = option(command)
    return command


def as_keywords(options: dict[str, Any]) -> dict[str, Any]:
    """The shared options as keyword arguments of ``open_scan``; only those that were given.

    Parameters
    ----------
    options
        Values of `scan_options` by name.
    """
    keywords = {
        "dataset": options.get("dataset"),
        "scan_shape": options.get("scan_shape"),
        "shape": options.get("raw_shape"),
        "dtype": options.get("dtype"),
        "offset": options.get("raw_offset") or None,
        "kind": options.get("kind"),
        "axes": options.get("axes"),
    }
    return {name: value for name, value in keywords.items() if value is not None}


scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Work on a Dask cluster: its scheduler's tcp://HOST:PORT, or local:N for N processes.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
