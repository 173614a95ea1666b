"""A running conversion of the scan for speed: start, stop, progress, where the file is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.viewer.session import Session
from napari_diffmap.widgets.bridge import JobWorker, report, report_error, start_job

if TYPE_CHECKING:
    from napari_diffmap.jobs.convert import Converted


class ConvertRun:
    """Writes the session's scan as .zspy beside the window; opening another scan does not end it.

    Signals
    -------
    changed()
        A conversion began, is ending or ended.
    progressed(progress)
        A `jobs.control.Progress`.
    """

    changed = Signal()
    progressed = Signal(object)

    def __init__(self, session: Session) -> None:
        self.session = session
        #: What was converted last in this window.
        self.last: Converted | None = None
        self._control: JobControl | None = None

    @property
    def running(self) -> bool:
        """Whether a scan is being converted."""
        return self._control is not None

    @property
    def stopping(self) -> bool:
        """Whether the conversion was told to end."""
        return self._control is not None and self._control.stopped

    def missing(self) -> str:
        """What must be there before a conversion, in one line; empty when nothing."""
        scan = self.session.scan
        if scan is None:
            return "Open a scan first."
        if scan.kind != "4D-STEM":
            return f"4D-STEM scans are converted; this is a {scan.kind}."
        return ""

    def start(self, target: str | Path) -> None:
        """Begin, or go on with what an earlier conversion to the same place left.

        Parameters
        ----------
        target
            ``.zspy`` folder to write.

        Raises
        ------
        BadInputError
            If there is nothing to convert, or a conversion runs already.
        """
        if self.running:
            raise BadInputError("a scan is being converted: stop it first")
        lacking = self.missing()
        if lacking:
            raise BadInputError(lacking)
        scan, control = self.session.scan, JobControl()
        assert scan is not None

        def work(worker: JobWorker) -> Converted:
            from napari_diffmap.jobs.convert import convert

            return convert(scan, target, control=control, on_progress=worker.progressed.emit)

        self._control, self.last = control, None
        self.changed.emit()
        start_job(
            work,
            stop=control.stop,
            returned=self._on_returned,
            errored=self._on_errored,
            finished=self._on_finished,
            progressed=self.progressed.emit,
        )

    def stop(self) -> None:
        """End the conversion; what is written stays, and the next one goes on from there."""
        if self._control is not None:
            self._control.stop()
            self.changed.emit()

    def _on_returned(self, done: Converted) -> None:
        self.last = done
        report(outcome(done))

    def _on_errored(self, error: Exception) -> None:
        if isinstance(error, CancelledError):
            report("stopped; convert to the same file again to go on from here")
        else:
            report_error(error)

    def _on_finished(self) -> None:
        self._control = None
        self.changed.emit()


def outcome(done: Converted) -> str:
    """What a conversion came to, in one line."""
    smaller = done.bytes / max(done.stored, 1)
    return f"{done.path.name}: {done.stored / 1e6:.3g} MB, {smaller:.2g} times smaller"
