"""The window under mouse and keys, for the tests of whole ways."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_diffmap.widgets.workspace import arrange, docks_of

LEFT, PLAIN = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
CONTROL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier
#: What the window may take for one thing (s).
WAIT = 120.0


class Canvas:
    """A napari canvas under the mouse: positions are layer coordinates in world units."""

    def __init__(self, qt_viewer: Any, model: Any) -> None:
        self.native = qt_viewer.canvas.native
        self.model = model

    def at(self, world: tuple[float, float]) -> QPoint:
        camera = self.model.scene.camera
        y, x = camera.center[-2:]
        width, height = self.native.width(), self.native.height()
        return QPoint(
            round(width / 2 + (world[1] - x) * camera.zoom),
            round(height / 2 + (world[0] - y) * camera.zoom),
        )

    def click(self, world: tuple[float, float]) -> None:
        QTest.mouseClick(self.native, LEFT, PLAIN, self.at(world))

    def drag(
        self,
        *worlds: tuple[float, float],
        moves: int = 5,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Press, go from place to place in so many moves each, release."""
        points = [self.at(world) for world in worlds]
        QTest.mouseMove(self.native, points[0])
        QTest.mousePress(self.native, LEFT, PLAIN, points[0])
        for a, b in pairwise(points):
            for f in np.linspace(0, 1, moves + 1)[1:]:
                step = QPoint(
                    round(a.x() + f * (b.x() - a.x())), round(a.y() + f * (b.y() - a.y()))
                )
                QTest.mouseMove(self.native, step)
                QApplication.processEvents()
                if after is not None:
                    after()
        QTest.mouseRelease(self.native, LEFT, PLAIN, points[-1])


class Window:
    """The workspace of a viewer under mouse and keys: positions are pixels of the sample."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = getattr(viewer, "__wrapped__", viewer)
        self.bench = arrange(viewer)
        self.session = self.bench.session
        names = ("Scan", "Map", "Defects", "Doubt", "Pattern")
        docks = docks_of(viewer)
        self.scan, self.map, self.defects, self.doubt, self.pattern = (
            docks[name].widget() for name in names
        )
        self.sample = Canvas(self.viewer.window._qt_viewer, self.viewer)

    def wait(self, until: Callable[[], bool] = lambda: True) -> None:
        """Let the window work until something is so and nothing runs."""
        end = time.monotonic() + WAIT
        while not (until() and not self.bench.runner.busy):
            QApplication.processEvents()
            time.sleep(0.002)
            assert time.monotonic() < end, "it did not come to that"

    def _settle(self) -> None:
        self.wait(lambda: not self.bench.doubting.correcting.busy)

    def key(self, key: Any, modifier: Any = PLAIN) -> None:
        self.sample.native.setFocus()
        QTest.keyClick(self.sample.native, key, modifier)
        self._settle()

    def drag(self, *places: tuple[float, float]) -> None:
        step = self.viewer.layers[0].scale[-1]
        self.sample.drag(*((y * step, x * step) for y, x in places), moves=1)
        self._settle()


def no_window(*_files: object, **_options: object) -> None:
    """In the place of what opens a window, where none may be opened."""
    raise AssertionError("no window is asked for")
