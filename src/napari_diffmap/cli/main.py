"""Commands, their one line of summary, and errors as one line with an exit status."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from napari_diffmap import __version__
from napari_diffmap.cli import scans
from napari_diffmap.cli.options import as_keywords, scan_options
from napari_diffmap.cli.words import on_the_command_line
from napari_diffmap.errors import ChooseDatasetError, DiffmapError

OpenWindow = Callable[..., Any]


class _FileOrCommand(click.Group):
    """``napari-diffmap FILE`` opens the window on the file; a command's name runs it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and _looks_like_path(args[0]):
            return super().resolve_command(ctx, ["open", *args])
        return super().resolve_command(ctx, args)


def _looks_like_path(text: str) -> bool:
    return os.path.exists(text) or os.sep in text or "." in text


@click.group(
    cls=_FileOrCommand,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="napari-diffmap")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Map materials with diffraction.

    Without a command, open napari with the docks; with a FILE, open it there.
    """
    if ctx.invoked_subcommand is None:
        ctx.obj["open_window"](())


@cli.command(name="open")
@click.argument("files", nargs=-1)
@click.option("--results", help="Folder of a finished map to show with the scan.")
@click.option("--beside", help="Another map of the scan, to show beside that.")
@click.option("--screenshot", help="Write a picture of the window and close it.")
@scan_options
@click.pass_obj
def open_files(
    obj: Mapping[str, OpenWindow],
    /,
    files: tuple[str, ...],
    results: str | None,
    beside: str | None,
    screenshot: str | None,
    **options: Any,
) -> None:
    """Open napari with the docks and FILES.

    The first file is shown in the window, each further one in a window of its own.
    """
    obj["open_window"](
        files,
        results=results,
        beside=beside,
        screenshot=screenshot,
        options=as_keywords(options),
    )


def add_commands() -> None:
    """Register the commands of the other modules."""
    from napari_diffmap.cli import (
        calibrate,
        compare,
        convert,
        defects,
        demo,
        export,
        grains,
        models,
        orient,
        peaks,
        phases,
        recipe,
        train,
    )

    commands = (
        scans.info, scans.virtual, convert.convert, calibrate.calibrate, peaks.peaks, orient.orient,
        phases.phases, defects.defects, grains.grains, export.export, compare.compare, recipe.run,
        models.models, train.train, demo.demo,
    )  # fmt: skip
    for command in commands:
        cli.add_command(command)


def run(arguments: Sequence[str], open_window: OpenWindow) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Without the program's name.
    open_window
        Opens napari; called with a sequence of files.

    Returns
    -------
    int
        Exit status: 0, 2 for bad input, 1 for a failed run.
    """
    add_commands()
    try:
        cli.main(
            args=list(arguments),
            prog_name="napari-diffmap",
            standalone_mode=False,
            obj={"open_window": open_window},
        )
    except ChooseDatasetError as error:
        _complain(error.in_full)
        return error.exit_status
    except DiffmapError as error:
        _complain(str(error))
        return error.exit_status
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        _complain(error.format_message())
        return 2
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped")
        return 1
    except BrokenPipeError:
        return 1
    except OSError as error:
        _complain(f"{error.strerror or error}: {error.filename or 'input/output error'}")
        return 1
    return 0


def _complain(message: str) -> None:
    click.echo(f"napari-diffmap: {on_the_command_line(message)}", err=True)
