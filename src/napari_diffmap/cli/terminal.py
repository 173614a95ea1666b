"""What commands share on a terminal: the last line, progress, Ctrl-C, the folder of results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.record import json_text


def finish(line: str, record: Mapping[str, Any], as_json: bool) -> None:
    """Print the one line of summary, or the record as JSON."""
    click.echo(json_text(dict(record)) if as_json else line)


class NewFolder:
    """The folder that results go to; a run that is refused leaves none behind."""

    def __init__(self, out: str) -> None:
        self._out = out
        self._made: list[Path] = []

    def __enter__(self) -> Path:
        from napari_diffmap.jobs.orient import output_folder

        path = Path(self._out)
        self._made = [part for part in (path, *path.parents) if not part.exists()]
        return output_folder(path)

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if isinstance(error, BadInputError):
            for part in self._made:
                with contextlib.suppress(OSError):
                    part.rmdir()


class ProgressLine:
    """One line on a terminal that rewrites itself; silent when stderr is no terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        """Show where the run is."""
        if not self._live:
            return
        text = progress.text()
        click.echo("\r" + text.ljust(self._width), err=True, nl=progress.done == progress.total)
        self._width = len(text)


class StopOnInterrupt:
    """Ctrl-C ends the run at its next check, so that what is done gets written."""

    def __init__(self, control: JobControl) -> None:
        self._control = control
        self._previous: Any = None

    def __enter__(self) -> StopOnInterrupt:
        import signal
        import threading

        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, lambda *_: self._control.stop())
        return self

    def __exit__(self, *_: object) -> None:
        import signal

        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
