"""Registering peaks in the window: try a finder, run it, look at the table, use it, save it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.peak_layers import DARK_FIELD, MAPS, PeakLayers, dark_field, peak_map
from napari_diffmap.viewer.session import Session
from napari_diffmap.widgets.bridge import JobWorker, report, report_error, start_job
from napari_diffmap.widgets.job_run import JobRun, on_device
from napari_diffmap.widgets.spots import SpotOverlay

if TYPE_CHECKING:
    from napari_diffmap.jobs.register import RegistrationRun
    from napari_diffmap.methods.registration import RegistrationMethod, RegistrationParameters
    from napari_diffmap.scan.peaks import PeakTable

#: Parameters that the geometry of a scan depends on; the others are cheap to change.
_GEOMETRY = ("inner", "outer", "spot_radius", "background", "hot_pixels")


class PeakRun(JobRun):
    """Controller behind the Peaks dock; knows no widget.

    Signals
    -------
    table_changed()
        There is another table, or none.
    saved(path, line)
        A table was written; the line says how much smaller it is than the patterns.
    """

    table_changed = Signal()
    saved = Signal(object, str)

    def __init__(self, session: Session, layers: PeakLayers, spots: SpotOverlay) -> None:
        super().__init__()
        self.session = session
        self.layers = layers
        self.spots = spots
        self.table: PeakTable | None = None
        self.last: RegistrationRun | None = None
        self.outcome = ""
        self.stored = ""
        self._scan: Scan | None = None
        self._lock = threading.Lock()
        self._prepared: tuple[Scan, tuple[Any, ...], Any] | None = None
        session.scan_changed.connect(self._on_scan)
        session.detector_moved.connect(self._on_detector)

    def missing(self) -> str:
        """What must be there before peaks can be registered; empty when nothing."""
        session = self.session
        if session.scan is None:
            return "Open a scan first."
        if session.patterns is None:
            return f"Peaks are registered in diffraction patterns: this is {session.scan.in_words}."
        return ""

    # -------------------------------------------------------------- preview
    def preview(self, parameters: RegistrationParameters | None) -> None:
        """Draw what a finder sees in the pattern looked at; None: no longer."""
        if parameters is None or self.missing():
            self.spots.trial = None
            self.spots.looked.emit("")
        else:

            def trial(scan: Scan, y: int, x: int) -> tuple[NDArray[np.floating], str]:
                method = self._method(scan, parameters)
                places, found = method.look(y, x)
                return places, _facts(method, found)

            self.spots.trial = trial
        self.spots.update()

    def _method(self, scan: Scan, parameters: RegistrationParameters) -> RegistrationMethod:
        """A finder for a scan; what it measures on the scan is measured once."""
        from napari_diffmap.methods.registration import RegistrationMethod
        from napari_diffmap.methods.registration.setting import find_setting

        key = tuple(getattr(parameters, name) for name in _GEOMETRY)
        method = RegistrationMethod(parameters)
        with self._lock:
            known = self._prepared
            if known is None or known[0] is not scan or known[1] != key:
                known = (scan, key, find_setting(scan, parameters))
                self._prepared = known
        method.set_up(scan, known[2])
        return method

    # -------------------------------------------------------------- running
    def start(self, parameters: RegistrationParameters | None = None) -> None:
        """Register the spots of the whole scan.

        Raises
        ------
        BadInputError
            If something is missing or a registration runs already.
        """
        if self.state != "idle":
            raise BadInputError("peaks are being registered: stop it first")
        lacking = self.missing()
        if lacking:
            raise BadInputError(lacking)
        scan, reader, control = self.session.patterns, self.session.reader, JobControl()
        assert scan is not None
        self._scan = self.session.scan

        def work(worker: JobWorker) -> tuple[RegistrationRun, str]:
            from napari_diffmap.jobs.register import register

            run = on_device(
                lambda device: register(
                    scan,
                    parameters,
                    device=device,
                    control=control,
                    on_progress=worker.progressed.emit,
                    reader=reader,
                )
            )
            return run, _on_disk(run.table)

        self._begin(work, control, returned=self._on_returned)

    def _on_returned(self, result: tuple[RegistrationRun, str]) -> None:
        run, stored = result
        if self._scan is None:
            return
        if run.error is not None:
            if isinstance(run.error, CancelledError):
                report("stopped; the peaks found so far are kept" if len(run.table) else "stopped")
            else:
                report_error(run.error)
        if run.done.any():
            self.last = run
            self._take(run.table, _outcome(run), stored)

    def _on_scan(self, scan: Scan | None) -> None:
        self._scan = self.last = self._prepared = None
        self.spots.trial = None
        self.stop()
        peaks = None if scan is None else scan.peaks
        line = "" if peaks is None else f"{len(peaks):,} spots came with the file"
        self._take(peaks, line, show=False)

    def _take(
        self, table: PeakTable | None, outcome: str, stored: str = "", *, show: bool = True
    ) -> None:
        used = self.used
        self.table, self.outcome, self.stored = table, outcome, stored
        if used and table is not None:
            self.use(True)
        if table is not None and show:
            self.show_map("spot count")
        self.table_changed.emit()

    # --------------------------------------------------------------- looking
    def show_map(self, name: str) -> None:
        """Show one of the table's maps on the sample.

        Raises
        ------
        BadInputError
            If there is no table, or it does not know this.
        """
        image = peak_map(self._need(), name)
        if image is None:
            raise BadInputError(f"this peak list does not know the {name}: register the scan here")
        self.layers.show(f"peaks {name}", image, MAPS[name])

    def show_dark_field(self) -> None:
        """Virtual dark field of the peaks under the selected detector.

        Raises
        ------
        BadInputError
            If there is no table or no detector.
        """
        table = self._need()
        item = self.session.listed(self.session.selected) if self.session.selected else None
        if item is None:
            raise BadInputError("draw a detector on the pattern first, or pick a spot with a point")
        self.layers.show(DARK_FIELD, dark_field(table, item.detector), "gray")

    def _on_detector(self, key: int) -> None:
        """The dark field follows the detector that is dragged."""
        if (
            self.table is not None
            and key == self.session.selected
            and self.layers.shown(DARK_FIELD)
        ):
            self.show_dark_field()

    def drop_singletons(self) -> None:
        """Keep what a neighbouring position sees too.

        Raises
        ------
        BadInputError
            If there is no table.
        """
        table = self._need()
        if self.state != "idle":
            raise BadInputError("peaks are being registered: stop it first")

        def work(_worker: JobWorker) -> tuple[PeakTable, str, str]:
            from napari_diffmap.methods.registration.consistent import keep_consistent

            kept, found = keep_consistent(table)
            return kept, found.in_words(), _on_disk(kept)

        def done(result: tuple[PeakTable, str, str]) -> None:
            if self.table is table:
                self._take(*result)

        self._set("running")
        start_job(
            work,
            returned=done,
            errored=report_error,
            finished=self._on_finished,
            description="comparing neighbours",
        )

    def _need(self) -> PeakTable:
        if self.table is None:
            raise BadInputError("register the peaks first")
        return self.table

    # ---------------------------------------------------------------- using
    @property
    def used(self) -> bool:
        """Whether maps are matched on the table."""
        patterns = self.session.patterns
        return patterns is not None and self.table is not None and patterns.peaks is self.table

    def use(self, on: bool) -> None:
        """Match orientations on the table, or on the patterns again.

        Raises
        ------
        BadInputError
            If there is no table.
        """
        if on:
            self.table = self._need().with_pixel_size(self.session.calibration.pixel_size)
        self.session.set_peaks(self.table if on else None)
        self.table_changed.emit()

    def save(self, path: str | Path) -> None:
        """Write the table beside the window.

        Raises
        ------
        BadInputError
            If there is no table.
        """
        table = self._need()

        def work(_worker: JobWorker) -> tuple[Path, str]:
            from napari_diffmap.scan.peak_file import disk_bytes, save_peaks

            written = save_peaks(table, path)
            return written, f"{written.name}: {_size(table, disk_bytes(written))}"

        def done(result: tuple[Path, str]) -> None:
            self.stored = result[1]
            report(f"saved {self.stored}")
            self.saved.emit(*result)

        start_job(work, returned=done, errored=report_error, description="saving the peaks")


def _on_disk(table: PeakTable) -> str:
    """How large the table is as a Parquet file, measured by writing one."""
    from napari_diffmap.scan.peak_file import parquet_bytes

    return f"as Parquet: {_size(table, parquet_bytes(table))}"


def _size(table: PeakTable, written: int) -> str:
    """Bytes on the disk in words, and how many times smaller than the patterns they are."""
    line = f"{written / 1e6:.3g} MB on the disk"
    if table.source is not None and table.source.nbytes:
        line += f", {table.source.nbytes / written:.3g} times smaller than the patterns"
    return line


def _facts(method: RegistrationMethod, found: Any) -> str:
    """What a finder saw in one pattern, in one line."""
    if not np.isfinite(found.noise[0]):
        return "no pattern here"
    setting = method.setting
    assert setting is not None
    count = len(found.rows)
    words = [f"{count} spot{'' if count == 1 else 's'}", f"noise {found.noise[0]:.3g} per pixel"]
    if method.threshold is not None:
        words.append(f"threshold {method.threshold:.1f} × noise")
    words.append(f"spot width {setting.detector.spot_sigma:.2f} px (sigma)")
    words.append(f"beam radius {setting.beam_radius:.1f} px")
    return " · ".join(words)


def _outcome(run: RegistrationRun) -> str:
    summary = run.summary
    ended = "" if run.error is None else "ended early: "
    return (
        f"{ended}{summary['spots']:,} spots in {summary['patterns']:,} patterns"
        f" ({summary['spots_per_pattern']:.1f} each), {summary['seconds']:.1f} s"
        f" ({summary['patterns_per_second'] or 0:.3g}/s, {summary['device']})"
    )
