"""Opening napari with the workspace, from the command line or a script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari import Viewer

#: The standard arrangement is made for this window.
SIZE = (1400, 900)


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


def _load_map_once_open(bench: Any, folder: Path) -> None:
    """Show the map of an earlier run as soon as its scan is open."""

    def load(_scan: object) -> None:
        bench.opening.opened.disconnect(load)

        def work(_token: object) -> Any:
            from napari_diffmap.maps.export import load_orientation_h5

            path = folder / "orientation.h5" if folder.is_dir() else folder
            return load_orientation_h5(path)

        bench.runner.latest("load map", work, bench.session.set_map)

    bench.opening.opened.connect(load)


def _picture_when_ready(viewer: Any, bench: Any, path: Path, *, wants_map: bool) -> None:
    from qtpy.QtCore import QTimer

    timer = QTimer()
    waited = {"ticks": 0, "still": 0}

    def look() -> None:
        waited["ticks"] += 1
        shown = bench.session.scan is None or bool(bench.desk.sample.images)
        if wants_map and bench.session.scan is not None:
            shown = shown and bench.maps.layer("IPF-Z") is not None
        waited["still"] = waited["still"] + 1 if shown and not bench.runner.busy else 0
        if waited["still"] >= 5 or waited["ticks"] > 1200:
            timer.stop()
            path.parent.mkdir(parents=True, exist_ok=True)
            viewer.window.screenshot(str(path), flash=False, canvas_only=False)
            viewer.close()

    timer.timeout.connect(look)
    timer.start(100)
    viewer.window._diffmap_timer = timer
