"""Opening napari with the workspace, from the command line or a script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_diffmap.errors import BadInputError

if TYPE_CHECKING:
    from napari import Viewer

    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.maps import OrientationMap
    from napari_diffmap.widgets.workbench import Workbench

#: The standard arrangement is made for this window.
SIZE = (1400, 900)
#: A picture waits until nothing has changed for so many ticks (ms), at most so many in all.
_TICK, _STILL, _MOST_TICKS = 100, 5, 600


def share_contexts() -> None:
    """Let canvases share their graphics context; must come before the application starts."""
    from qtpy.QtCore import QCoreApplication, Qt

    if QCoreApplication.instance() is None:
        QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)


def open_window(
    files: Sequence[str | Path] = (),
    *,
    results: str | Path | None = None,
    screenshot: str | Path | None = None,
    block: bool = True,
) -> Viewer:
    """Open napari with the workspace.

    Parameters
    ----------
    files
        Scans; the first is shown in the workspace, further ones each in a window.
    results
        Folder of an earlier run whose map is shown on the first scan.
    screenshot
        Save a picture of the window there once everything is shown, and close it.
    block
        Run the event loop until the window is closed.

    Returns
    -------
    napari.Viewer
    """
    share_contexts()
    import napari

    from napari_diffmap.widgets.workspace import arrange

    viewer = napari.Viewer(title="napari-diffmap")
    viewer.window.resize(*SIZE)
    bench = arrange(viewer)
    if results is not None:
        _load_map_once_open(bench, Path(results))
    for i, file in enumerate(files):
        if i == 0:
            bench.opening.open(file)
        else:
            open_window([file], block=False)
    if screenshot is not None:
        _picture_when_ready(viewer, bench, Path(screenshot), wants_map=results is not None)
    if block:
        napari.run()
    return viewer


def _load_map_once_open(bench: Workbench, folder: Path) -> None:
    """Show the map of an earlier run, and its phases, as soon as its scan is open."""

    def load(_scan: object) -> None:
        bench.opening.opened.disconnect(load)
        bench.runner.latest("load map", lambda _token: load_results(folder), show)

    def show(loaded: tuple[OrientationMap, tuple[CrystalPhase, ...]]) -> None:
        found, phases = loaded
        if phases:
            bench.session.set_phases(phases)
        bench.session.set_map(found)

    bench.opening.opened.connect(load)


def load_results(folder: Path) -> tuple[OrientationMap, tuple[CrystalPhase, ...]]:
    """The map of an earlier run and the phases it was made with, where their CIFs are still there.

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
    from napari_diffmap.maps.export import load_orientation_h5

    path = folder / "orientation.h5" if folder.is_dir() else folder
    if not path.is_file():
        raise BadInputError(f"{folder}: there is no map; give the folder of a finished run")
    found = load_orientation_h5(path)
    files = [Path(item.path) for item in found.provenance.inputs if item.format == "CIF"]
    if len(files) == len(found.phases) and all(file.is_file() for file in files):
        return found, load_phases(files)
    return found, ()


def _picture_when_ready(viewer: Viewer, bench: Workbench, path: Path, *, wants_map: bool) -> None:
    """Save a picture of the window once nothing changes any more, then close it."""
    from qtpy.QtCore import QTimer

    state = {"ticks": 0, "still": 0, "map": not wants_map}
    bench.maps.shown.connect(lambda: state.update(map=True))
    timer = QTimer(viewer.window.file_menu)

    def look() -> None:
        state["ticks"] += 1
        shown = state["map"] and bool(bench.desk.sample.images) and not bench.runner.busy
        state["still"] = state["still"] + 1 if shown else 0
        if state["still"] >= _STILL or state["ticks"] > _MOST_TICKS:
            timer.stop()
            path.parent.mkdir(parents=True, exist_ok=True)
            viewer.window.screenshot(str(path), flash=False, canvas_only=False)
            viewer.close()

    timer.timeout.connect(look)
    timer.start(_TICK)
