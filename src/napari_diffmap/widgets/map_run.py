"""A running orientation map: start, pause, stop, progress, what is left when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.formats import DEFAULT_FORMATS
from napari_diffmap.viewer.map_layers import MapLayers
from napari_diffmap.viewer.map_pictures import TilePicture, boundary_lines, tile_picture
from napari_diffmap.viewer.session import Session
from napari_diffmap.widgets.bridge import (
    JobWorker,
    report,
    report_error,
    spare_the_collector,
    start_job,
)
from napari_diffmap.widgets.job_run import JobRun, on_device

if TYPE_CHECKING:
    from napari_diffmap.jobs.orient import OrientationRun
    from napari_diffmap.jobs.pipeline import RunResult
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.methods.orientation import OrientationParameters
    from napari_diffmap.scan.open.follow import Follower

#: Tiles are handed to the window at most this often.
_TILE_SECONDS = 0.15
#: Where the templates' answer is the likelier in more than this share of a sample, a network
#: does not do for the scan.
MOST_LIKELIER = 0.1


class MapRun(JobRun):
    """Runs the matcher on the device queue and fills the map while it runs.

    Signals
    -------
    finished(run)
        The `OrientationRun`, complete or not; None when nothing was left.
    """

    finished = Signal(object)

    def __init__(self, session: Session, layers: MapLayers) -> None:
        super().__init__()
        self.session = session
        self.layers = layers
        self.last: OrientationRun | None = None
        self.method: Any = None
        self._scan: object = None
        self._coming: Any = None
        self._used: tuple[Any, ...] = ()
        self._mapping = False
        self._ready: Corrections | None = None
        session.scan_changed.connect(self._on_scan)

    # --------------------------------------------------------------- asking
    def missing(self) -> str:
        """What must be there before a map can run, in one line; empty when nothing."""
        session = self.session
        if session.scan is None:
            return "Open a scan first."
        if not session.scan.has_patterns:
            return _no_patterns(session.scan.kind)
        if not session.phases:
            return "Add a phase first: a CIF file or a bundled one."
        lacking = [word for word in session.calibration.missing() if word != "centre"]
        if lacking:
            return f"Enter the {' and the '.join(lacking)} in the Calibrate dock first."
        return ""

    @property
    def resumable(self) -> bool:
        """Whether the last run ended early and can go on from what it mapped."""
        return self.state == "idle" and self.last is not None and not self.last.result.complete

    # -------------------------------------------------------------- running
    def start(
        self,
        parameters: OrientationParameters | None = None,
        *,
        resume: bool = False,
        scheduler: str | None = None,
        follow: Callable[[], Follower] | None = None,
    ) -> None:
        """Map the session's scan with its phases.

        Parameters
        ----------
        parameters
            Settings of the matcher.
        resume
            Go on with the run that ended early.
        scheduler
            Address of a Dask scheduler whose workers do the work; None: this computer.
        follow
            Opens the scan, which is being recorded: its frames are mapped as they come.

        Raises
        ------
        BadInputError
            If something is missing, a map runs already, or what is resumed was
            begun with other settings, phases or calibration.
        """
        if self.state != "idle":
            raise BadInputError("a map is running: stop it first")
        lacking = self.missing()
        if lacking:
            raise BadInputError(lacking)
        session, control = self.session, JobControl()
        scan, phases, reader = session.patterns, session.phases, session.reader
        assert scan is not None
        using = (parameters, tuple(phases), scan.calibration)
        before = self._resumed(using) if resume else None
        self._used = using
        self._scan = session.scan

        def work(worker: JobWorker) -> OrientationRun:
            from napari_diffmap.jobs.cluster import on_cluster
            from napari_diffmap.jobs.orient import calibrated, map_orientations
            from napari_diffmap.maps.edits.corrections import Corrections
            from napari_diffmap.methods.networks.method import orientation_method
            from napari_diffmap.methods.orientation import OrientationParameters

            chosen = (parameters or OrientationParameters()).model_copy(
                update={"phases": tuple(str(p.source or p.name) for p in phases)}
            )
            method = orientation_method(chosen, list(phases))
            self._coming = method
            tiles = _TileMail(worker, method)
            ready = calibrated(scan)
            follower = None if follow is None else follow()
            if follower is not None:
                follower.scan = follower.scan.with_calibration(ready.calibration)
            with on_cluster(scheduler) as executor:
                run = on_device(
                    lambda device: map_orientations(
                        ready,
                        method,
                        device=device,
                        control=control,
                        on_progress=worker.progressed.emit,
                        on_tile=tiles,
                        reader=reader,
                        before=before,
                        executor=executor,
                        follower=follower,
                    )
                )
            # The copy that is corrected is made here: a large map takes a moment.
            self._ready = Corrections(run.map)
            return run

        self.layers.begin()
        self._begin(
            work,
            control,
            returned=self._on_returned,
            errored=self._on_errored,
            tile=self._on_tile,
        )

    def _resumed(self, using: tuple[Any, ...]) -> RunResult:
        if not self.resumable or self.last is None:
            raise BadInputError("no map ended early: press Map")
        if using != self._used:
            raise BadInputError(
                "settings, phases or calibration changed since the map was stopped: press Map to"
                " begin anew"
            )
        return self.last.result

    def pause(self) -> None:
        """Hold the run; it stops within half a second."""
        if self._control is not None and self.state == "running":
            self._control.pause()
            self._set("paused")

    def resume(self) -> None:
        """Let a held run go on."""
        if self._control is not None and self.state == "paused":
            self._control.resume()
            self._set("running")

    # ---------------------------------------------------------------- slots
    def _current(self) -> bool:
        """Whether the scan that is mapped is still the one on the desk."""
        return self.session.scan is not None and self._scan is not None

    def _on_scan(self) -> None:
        self.last = None
        self.method = None
        self._scan = None
        self.stop()

    def _on_progress(self, progress: Progress) -> None:
        if progress.message == "mapping" and not self._mapping:
            # The matcher's libraries are imported by now.
            spare_the_collector()
        self._mapping = progress.message == "mapping"
        super()._on_progress(progress)

    def _on_tile(self, pictures: list[TilePicture]) -> None:
        if self._current():
            for picture in pictures:
                self.layers.fill(picture)

    def _on_returned(self, run: OrientationRun) -> None:
        if not self._current():
            return
        error, any_done = run.result.error, bool(run.result.done.any())
        if isinstance(error, CancelledError):
            report(str(error) if any_done else self._stopped_line())
        elif error is not None:
            report_error(error)
        if any_done:
            self.last, self.method = run, self._coming
            ready, self._ready = self._ready, None
            assert ready is not None
            self.session.set_map(ready)
        else:
            self._keep_earlier()

    def _stopped_line(self) -> str:
        kept = "" if self.session.map is None else "; the earlier map is kept"
        return f"stopped before the first position was mapped{kept}"

    def _keep_earlier(self) -> None:
        """Nothing was mapped: show the map that was there before, if any."""
        self.layers.clear()
        if self.session.map is not None:
            self.session.set_map(self.session.corrections)

    def _on_errored(self, error: Exception) -> None:
        report_error(error)
        if self._current():
            self._keep_earlier()

    def _on_finished(self) -> None:
        self._coming = self._ready = None
        super()._on_finished()
        self.finished.emit(self.last)

    # --------------------------------------------------------------- saving
    def save(self, folder: str | Path, formats: Collection[str] = DEFAULT_FORMATS) -> None:
        """Write the map, its pictures and its summary to a folder, beside the window.

        Parameters
        ----------
        folder
            Made where it is not there.
        formats
            Of `jobs.results.FORMATS`.

        Raises
        ------
        BadInputError
            If there is no map.
        """
        run, corrections = self.last, self.session.corrections
        if corrections is None:
            raise BadInputError("map the scan first: there is no map to save")
        target = Path(folder)
        low, high = self.layers.low, self.layers.high  # the picture shows what the window does

        def work(_worker: JobWorker) -> list[Path]:
            from napari_diffmap.jobs.corrected import write_corrected
            from napari_diffmap.jobs.orient import output_folder
            from napari_diffmap.jobs.results import export_map, write_results

            output_folder(target)
            if not corrections.map.has_orientations:
                return write_corrected(corrections, target, formats=formats)
            lines = boundary_lines(corrections.map, low, high).boundaries
            made = run if run is not None and run.map is corrections.answer else None
            if corrections.done:
                return write_corrected(
                    corrections, target, run=made, boundaries=lines, formats=formats
                )
            if made is not None:
                return write_results(made, target, boundaries=lines, formats=formats)
            return export_map(corrections.answer, target, boundaries=lines, formats=formats)

        def done(files: list[Path]) -> None:
            report(f"saved {len(files)} files in {target}")
            self.saved.emit(files)

        start_job(work, returned=done, errored=report_error, description="saving the map")

    #: The files of a save are written.
    saved = Signal(object)


def judged_line(run: OrientationRun | None) -> str:
    """What the templates say of a sample of a network's map; empty where they were not asked."""
    found = {} if run is None else run.summary.get("judge") or {}
    line = str(found.get("line", ""))
    if found.get("templates_likelier", 0.0) > MOST_LIKELIER:
        line += ": look at the doubtful zones or map with templates"
    return line[:1].upper() + line[1:]


def _no_patterns(kind: str) -> str:
    if kind == "pattern stack":
        return "Press Scan shape in the Scan dock first: these patterns have no rows and columns."
    return f"Orientations are mapped from 4D-STEM patterns; this scan ({kind}) has none."


class _TileMail:
    """Collects mapped tiles in the worker's thread and hands them on a few times a second."""

    def __init__(self, worker: JobWorker, method: Any) -> None:
        self._worker = worker
        self._method = method
        self._waiting: list[TilePicture] = []
        self._sent = 0.0

    def __call__(self, tile: Any, found: dict[str, Any]) -> None:
        from napari_diffmap.viewer.map_pictures import part_map

        part = part_map(found, self._method.phases)
        self._waiting.append(tile_picture(tile.rows, tile.columns, part))
        if time.perf_counter() - self._sent > _TILE_SECONDS:
            self._sent = time.perf_counter()
            self._worker.tile.emit(self._waiting)
            self._waiting = []
