"""What the runs of a window have in common: one job at a time, its state, its end, its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from psygnal import Signal

from napari_diffmap.errors import DiffmapError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.widgets.bridge import JobWorker, report, report_error, start_job

T = TypeVar("T")
State = Literal["idle", "running", "paused", "stopping"]


class JobRun:
    """One job at a time beside the window; what it does is said by those that derive from it.

    Signals
    -------
    state_changed(state)
        ``idle``, ``running`` or ``stopping``; ``paused`` where a run can be held.
    progressed(progress)
        A `jobs.control.Progress`.
    """

    state_changed = Signal(str)
    progressed = Signal(object)

    def __init__(self) -> None:
        self.state: State = "idle"
        self._control: JobControl | None = None

    def stop(self) -> None:
        """End the run; what it leaves is kept."""
        if self._control is not None and self.state in ("running", "paused"):
            self._control.stop()
            self._set("stopping")

    def _begin(
        self,
        work: Callable[[JobWorker], Any],
        control: JobControl,
        *,
        returned: Callable[[Any], None],
        errored: Callable[[Exception], None] = report_error,
        tile: Callable[[Any], None] | None = None,
    ) -> None:
        self._control = control
        self._set("running")
        start_job(
            work,
            stop=control.stop,
            returned=returned,
            errored=errored,
            finished=self._on_finished,
            progressed=self._on_progress,
            tile=tile,
        )

    def _set(self, state: State) -> None:
        self.state = state
        self.state_changed.emit(state)

    def _on_progress(self, progress: Any) -> None:
        self.progressed.emit(progress)

    def _on_finished(self) -> None:
        self._control = None
        self._set("idle")


def on_device(work: Callable[[str], T]) -> T:
    """Do work on the best device there is, once it is free."""
    from napari_diffmap.jobs.queue import submit
    from napari_diffmap.models.device import resolve_device

    device = resolve_device("auto")
    return submit(device, lambda: work(device)).result()


def write_files(
    write: Callable[[], list[Path]],
    folder: Path,
    written: Callable[[list[Path]], None],
    description: str,
) -> None:
    """Write files beside the window, and say how many.

    Parameters
    ----------
    write
        Writes them.
    folder
        Where to.
    written
        Called with their paths.
    description
        Shown in napari's activity dock.
    """

    def done(files: list[Path]) -> None:
        report(f"saved {len(files)} files in {folder}")
        written(files)

    def failed(error: Exception) -> None:
        if not isinstance(error, DiffmapError | OSError | MemoryError):
            raise error
        report_error(error)

    start_job(lambda _worker: write(), returned=done, errored=failed, description=description)
