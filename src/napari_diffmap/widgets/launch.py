"""Opening napari with the workspace, from the command line or a script."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_diffmap.errors import BadInputError, DiffmapError, RunError

if TYPE_CHECKING:
    from napari import Viewer

    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.maps import OrientationMap, SpectralMap
    from napari_diffmap.widgets.workbench import Workbench

AnyMap: TypeAlias = "OrientationMap | SpectralMap"
#: The standard arrangement is made for this window.
SIZE = (1400, 900)
#: A picture waits until nothing has changed for so many ticks (ms), at most so many in all.
_TICK, _STILL, _MOST_TICKS = 100, 5, 600


def share_contexts() -> None:
    """Let canvases share their graphics context; must come before the application starts."""
    from qtpy.QtCore import QCoreApplication, Qt

    if QCoreApplication.instance() is None:
        QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)


def has_display() -> bool:
    """Whether a window can be shown; Qt ends the process where it cannot."""
    if sys.platform.startswith("linux"):
        names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
        return any(os.environ.get(name) for name in names)
    return True


def check_before_opening(
    files: Sequence[str | Path],
    results: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    beside: str | Path | None = None,
) -> None:
    """Refuse what no window can show, before one is made.

    Parameters
    ----------
    files, results, options, beside
        As for `open_window`.

    Raises
    ------
    BadInputError
        If a file or a map is not there, a file is clearly no scan, or there is no display.
    """
    from napari_diffmap.jobs.session_file import is_session
    from napari_diffmap.scan.open.sniff import family

    given = options or {}
    raw = given.get("shape") is not None and given.get("dtype") is not None
    for file in files:
        path = Path(file).expanduser().absolute()
        if not (raw and path.is_file()) and not is_session(path):
            family(path)
    for folder in (results, beside):
        if folder is not None:
            _map_file(Path(folder))
    if beside is not None and results is None:
        raise BadInputError("give --results as well: a map is shown beside another one")
    if not has_display():
        raise BadInputError(
            "there is no display to open a window on: set DISPLAY, or run under xvfb-run"
        )


def open_window(
    files: Sequence[str | Path] = (),
    *,
    results: str | Path | None = None,
    beside: str | Path | None = None,
    screenshot: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    block: bool = True,
) -> Viewer:
    """Open napari with the workspace.

    Parameters
    ----------
    files
        Scans; the first is shown in the workspace, further ones each in a window.
    results
        Folder of an earlier run whose map is shown on the first scan.
    beside
        Folder of another run on the same scan, whose map is shown beside that.
    screenshot
        Save a picture of the window there once everything is shown, and close it.
    options
        Keyword arguments of ``open_scan`` for the files that do not say everything themselves.
    block
        Run the event loop until the window is closed.

    Returns
    -------
    napari.Viewer

    Raises
    ------
    DiffmapError
        If a file, a map or the display is not there; and, with `screenshot` and
        `block`, if the scan or its map cannot be shown.
    """
    check_before_opening(files, results, options, beside)
    share_contexts()
    import napari

    from napari_diffmap.widgets.workspace import arrange

    viewer = napari.Viewer(title="napari-diffmap")
    viewer.window.resize(*SIZE)
    bench = arrange(viewer)
    outcome = _Outcome(wants_scan=bool(files), wants_map=bool(files) and results is not None)
    bench.opening.failed.connect(outcome.fail)
    if results is not None:
        _load_map_once_open(bench, Path(results), outcome)
    if beside is not None:
        _show_beside(bench, Path(beside), outcome)
    given = dict(options or {})
    viewers = [viewer]
    for i, file in enumerate(files):
        if i == 0:
            bench.opening.open(file, **given)
        else:
            viewers.append(open_window([file], options=given, block=False))
    if screenshot is not None:
        _picture_when_ready(viewers, bench, Path(screenshot), outcome)
    if block:
        napari.run()
        if screenshot is not None and outcome.error is not None:
            raise outcome.error
    return viewer


@dataclass
class _Outcome:
    """What the window was asked to show, and what kept it from that."""

    wants_scan: bool
    wants_map: bool
    error: DiffmapError | None = None

    def fail(self, error: Exception) -> None:
        """Keep the first error, in the words of `errors`."""
        from napari_diffmap.widgets.bridge import one_line

        if self.error is None:
            self.error = error if isinstance(error, DiffmapError) else RunError(one_line(error))


def _load_map_once_open(bench: Workbench, folder: Path, outcome: _Outcome) -> None:
    """Show the map of an earlier run, its phases and calibration, as soon as its scan is open."""
    from napari_diffmap.viewer.reopen import calibration_of, references_of
    from napari_diffmap.widgets.bridge import report_error

    def load(_scan: object) -> None:
        from napari_diffmap.jobs.defects_results import DEFECTS_FILE

        bench.opening.opened.disconnect(load)
        if (folder / DEFECTS_FILE).is_file():
            try:
                bench.defects_run.open(folder)
            except BadInputError as error:
                failed(error)
            return
        bench.runner.latest("load map", lambda _token: load_results(folder), show, failed=failed)

    def failed(error: Exception) -> None:
        outcome.fail(error)
        report_error(error)

    def show(loaded: tuple[AnyMap, tuple[CrystalPhase, ...]]) -> None:
        found, phases = loaded
        if not found.has_orientations:
            try:
                bench.session.set_map(found)
            except BadInputError as error:
                failed(error)
            else:
                bench.spectral.references.set(references_of(found))
            return
        before = bench.session.phases
        try:
            if phases:
                bench.session.set_phases(phases)
            bench.session.set_map(found)
            bench.session.set_calibration(calibration_of(found, bench.session.calibration))
        except BadInputError as error:  # a map of other positions than the scan's
            bench.session.set_phases(before)
            failed(error)

    bench.opening.opened.connect(load)


def _show_beside(bench: Workbench, folder: Path, outcome: _Outcome) -> None:
    """Show another map beside the session's, as soon as that is shown."""
    from napari_diffmap.maps.files.own_h5 import load_map_h5
    from napari_diffmap.maps.orientation_map import oriented
    from napari_diffmap.widgets.bridge import report_error

    def failed(error: Exception) -> None:
        outcome.fail(error)
        report_error(error)

    def load() -> None:
        bench.maps.shown.disconnect(load)
        path = _map_file(folder)
        bench.runner.latest(
            "load map beside",
            lambda _token: oriented(load_map_h5(path)),
            lambda found: bench.beside.show(found, folder.name),
            failed=failed,
        )

    bench.maps.shown.connect(load)


def _map_file(folder: Path) -> Path:
    """The map in a folder of results, or the file itself."""
    from napari_diffmap.jobs.defects_results import DEFECTS_FILE
    from napari_diffmap.jobs.results import MAP_FILE
    from napari_diffmap.jobs.spectral_results import PHASES_FILE

    path = folder
    if folder.is_dir():
        kinds = (folder / PHASES_FILE, folder / DEFECTS_FILE)
        path = next((path for path in kinds if path.is_file()), folder / MAP_FILE)
    if not path.is_file():
        raise BadInputError(f"{folder}: there is no map; give the folder of a finished run")
    return path


def load_results(folder: Path) -> tuple[AnyMap, tuple[CrystalPhase, ...]]:
    """The map of an earlier run and the phases it was made with, where their CIFs are still there.

    A phase map of spectra holds its references itself.

    Parameters
    ----------
    folder
        A folder of results, or the map file itself.

    Raises
    ------
    BadInputError
        If there is no map.
    """
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.maps.files.own_h5 import load_map_h5

    found = load_map_h5(_map_file(folder))
    files = [Path(item.path) for item in found.provenance.inputs if item.format == "CIF"]
    if len(files) == len(found.phases) and all(file.is_file() for file in files):
        return found, load_phases(files)
    return found, ()


def _picture_when_ready(
    viewers: Sequence[Viewer], bench: Workbench, path: Path, outcome: _Outcome
) -> None:
    """Save a picture of the first window once nothing changes any more, then close all.

    What could not be shown leaves no picture; `outcome` holds the reason.
    """
    from qtpy.QtCore import QTimer

    window = viewers[0].window
    state = {"ticks": 0, "still": 0, "map": not outcome.wants_map}
    bench.shown_map.shown.connect(lambda: state.update(map=True))
    bench.defects.run_changed.connect(lambda run: state.update(map=state["map"] or run is not None))
    timer = QTimer(window.file_menu)

    def look() -> None:
        state["ticks"] += 1
        there = state["map"] and (bool(bench.desk.sample.images) or not outcome.wants_scan)
        state["still"] = state["still"] + 1 if there and not bench.runner.busy else 0
        late = state["ticks"] > _MOST_TICKS
        if late and not there:
            waited = _MOST_TICKS * _TICK // 1000
            outcome.fail(RunError(f"nothing was shown within {waited} s: no picture was written"))
        if outcome.error is None and (late or state["still"] >= _STILL):
            path.parent.mkdir(parents=True, exist_ok=True)
            window.screenshot(str(path), flash=False, canvas_only=False)
        elif outcome.error is None:
            return
        timer.stop()
        for viewer in viewers:
            viewer.close()

    timer.timeout.connect(look)
    timer.start(_TICK)
