"""The standard arrangement: sample in the main canvas, Pattern on the right, docks below it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_diffmap.scan.sums import warm_up
from napari_diffmap.viewer.session import unwrap
from napari_diffmap.widgets.bridge import spare_the_collector
from napari_diffmap.widgets.calibrate_dock import CalibrateDock
from napari_diffmap.widgets.defects_dock import DefectsDock
from napari_diffmap.widgets.doubt_dock import DoubtDock
from napari_diffmap.widgets.grains_dock import GrainsDock
from napari_diffmap.widgets.key_view import KeyView
from napari_diffmap.widgets.labels_dock import LabelsDock
from napari_diffmap.widgets.map_dock import MapDock
from napari_diffmap.widgets.models_dock import ModelsDock
from napari_diffmap.widgets.pattern_dock import PatternDock
from napari_diffmap.widgets.peaks_dock import PeaksDock
from napari_diffmap.widgets.scan_dock import ScanDock
from napari_diffmap.widgets.workbench import Workbench, main_window, workbench_of

#: Docks below the pattern, first tab first.
TABS: tuple[tuple[str, Callable[[Any], QWidget]], ...] = (
    ("Scan", ScanDock),
    ("Calibrate", CalibrateDock),
    ("Peaks", PeaksDock),
    ("Map", MapDock),
    ("Defects", DefectsDock),
    ("Doubt", DoubtDock),
    ("Grains", GrainsDock),
    ("Labels", LabelsDock),
    ("Models", ModelsDock),
    ("Key", KeyView),
)
#: The name napari gives a dock opened from the menu, so that the menu finds ours.
_MENU = "{} (napari-diffmap)"
#: Width of the right side and height of the pattern at 1400 × 900.
_RIGHT, _PATTERN, _TABS = 610, 440, 370


class Workspace(ScanDock):
    """The Scan dock that brings the other docks along.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._viewer = napari_viewer
        self._arranged = False

    def showEvent(self, event: Any) -> None:
        """Once docked, open the docks around it."""
        super().showEvent(event)
        if not self._arranged and isinstance(self.parent(), QDockWidget):
            self._arranged = True
            QTimer.singleShot(0, self._arrange)

    def _arrange(self) -> None:
        dock = self.parent()
        if isinstance(dock, QDockWidget):
            arrange(self._viewer, scan_dock=dock)


def docks_of(viewer: Any) -> dict[str, QDockWidget]:
    """Our docks that are in the window, by name."""
    window = main_window(viewer)
    found: dict[str, QDockWidget] = {}
    if window is None:
        return found
    for dock in window.findChildren(QDockWidget):
        inner = dock.widget()
        while inner is not None and not isinstance(inner, _OURS):
            children = [c for c in inner.children() if isinstance(c, _OURS)]
            inner = children[0] if children else None  # type: ignore[assignment]
        if inner is not None:
            found.setdefault(_NAMES[_kind(inner)], dock)
    return found


_OURS = (
    PatternDock,
    ScanDock,
    CalibrateDock,
    PeaksDock,
    MapDock,
    DefectsDock,
    DoubtDock,
    GrainsDock,
    LabelsDock,
    ModelsDock,
    KeyView,
)
_NAMES = {
    PatternDock: "Pattern",
    ScanDock: "Scan",
    CalibrateDock: "Calibrate",
    PeaksDock: "Peaks",
    MapDock: "Map",
    DefectsDock: "Defects",
    DoubtDock: "Doubt",
    GrainsDock: "Grains",
    LabelsDock: "Labels",
    ModelsDock: "Models",
    KeyView: "Key",
}


def _kind(widget: object) -> type:
    return next(kind for kind in _OURS if isinstance(widget, kind))


def arrange(viewer: Any, scan_dock: QDockWidget | None = None) -> Workbench:
    """Open the standard arrangement; docks that are open already are kept.

    Parameters
    ----------
    viewer
        A napari viewer or its plugin proxy.
    scan_dock
        The dock that already holds the Scan form.
    """
    real = unwrap(viewer)
    bench = workbench_of(real)
    window = main_window(real)
    assert window is not None
    bench.runner.latest("kernel", lambda _token: warm_up(), lambda _: None)
    docks = docks_of(real)
    if scan_dock is not None:
        docks["Scan"] = scan_dock
    for name, make in (("Pattern", PatternDock), *TABS):
        if name not in docks:
            docks[name] = real.window.add_dock_widget(
                make(real), name=_MENU.format(name), area="right", add_vertical_stretch=False
            )
        docks[name].setWindowTitle(name)
    size = window.size()
    right = Qt.DockWidgetArea.RightDockWidgetArea
    pattern, scan = docks["Pattern"], docks["Scan"]
    for dock in (pattern, scan):
        window.addDockWidget(right, dock)
    window.splitDockWidget(pattern, scan, Qt.Orientation.Vertical)
    for before, after in pairwise(TABS):
        window.tabifyDockWidget(docks[before[0]], docks[after[0]])
    for dock in docks.values():
        dock.show()
    scan.raise_()
    window.resizeDocks([pattern, scan], [_PATTERN, _TABS], Qt.Orientation.Vertical)
    window.resizeDocks([pattern], [_RIGHT], Qt.Orientation.Horizontal)
    # While docks go from one stack of tabs to another both take room.
    QTimer.singleShot(0, lambda: _back_to(window, size))
    bench.desk.prepare()
    spare_the_collector()
    return bench


def _back_to(window: QMainWindow, size: QSize) -> None:
    """Give a window that grew its size back."""
    if isalive(window) and not window.isMaximized() and not window.isFullScreen():
        window.resize(size)


def show_dock(viewer: Any, name: str) -> None:
    """Bring one of our docks to the front."""
    dock = docks_of(viewer).get(name)
    if dock is not None:
        dock.show()
        dock.raise_()
