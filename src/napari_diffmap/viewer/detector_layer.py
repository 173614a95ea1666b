"""Detectors drawn on the pattern, and the mouse that moves them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.scan.detectors import Detector
from napari_diffmap.viewer.detector_drag import Grip, dragged, grip_at, moved
from napari_diffmap.viewer.detector_shapes import (
    Outline,
    describe,
    drawn_shape,
    edited_shape,
    outlines,
)
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.views import detector_grid, show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

#: Okabe–Ito, in the order detectors get them.
COLORS = (
    "#56B4E9",
    "#E69F00",
    "#CC79A7",
    "#009E73",
    "#F0E442",
    "#D55E00",
    "#0072B2",
    "#FFFFFF",
)
#: How near the mouse must come to an edge, in screen pixels.
_REACH = 7.0


class DetectorLayer:
    """The shapes layer "detectors" of the pattern canvas.

    Dragging an edge resizes, a polygon's corner reshapes, the inside moves; what
    the user edits with napari's own shape tools is followed too.

    Signals
    -------
    hint(text)
        What the mouse would do here; empty when nothing.
    drawn()
        A detector drawn by hand is finished.
    """

    hint = Signal(str)
    drawn = Signal()

    def __init__(self, session: Session, model: ViewerModel) -> None:
        self.session = session
        self.model = model
        self.layer: Shapes | None = None
        self._outlines: list[Outline] = []
        self._drawing = self._there = False
        self._own_change = False
        session.detectors_changed.connect(self.draw)
        session.detector_moved.connect(self._on_moved)
        model.mouse_drag_callbacks.append(self._on_drag)
        model.mouse_move_callbacks.append(self._on_hover)

    # ------------------------------------------------------------- drawing
    def end(self) -> None:
        """Nothing is drawn until the next pattern is there."""
        self._drawing = self._there = False
        if self.layer is not None:
            show_layer(self.layer, False)

    def begin(self) -> None:
        """The canvas shows the scan's pattern: its detectors can be drawn."""
        self._there = True
        self.draw()

    def _on_moved(self, _key: int) -> None:
        self.draw()

    def make(self) -> None:
        """Make the layer; it stays for all scans, and the pattern canvas says where it lies."""
        if self.layer is not None and self.layer in self.model.layers:
            return
        self._outlines = []
        active = self.model.layers.selection.active
        self.layer = self.model.add_shapes(name="detectors", ndim=2, opacity=1.0)
        # The first shapes and words cost napari far more than those that follow.
        square = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
        kinds = ["ellipse", "rectangle", "polygon"]
        self.layer.add([square] * len(kinds), shape_type=kinds)
        self._name(self.layer, ["", "", ""], ["", "", ""], ["#FFFFFF"] * len(kinds))
        self.layer.data = []
        self.layer.mode = "pan_zoom"
        self.layer.events.data.connect(self._on_data)
        self.model.layers.selection.active = active

    def draw(self) -> None:
        """Show the session's detectors, in place; before there is a pattern, nothing."""
        layer = self.layer
        if self._drawing or layer is None or not self._there:
            return
        show_layer(layer, True)
        lines = outlines(self.session.detectors)
        same = [(a.key, a.part, a.kind) for a in lines] == [
            (b.key, b.part, b.kind) for b in self._outlines
        ] and len(layer.data) == len(lines)
        self._outlines = lines
        self._own_change = True
        try:
            data = [(line.vertices, line.kind) for line in lines]
            if same or not data:
                layer.data = data
                if same:
                    self._style(layer, lines)
                return
            layer.data = []
            layer.add([v for v, _ in data], shape_type=[kind for _, kind in data])
            self._style(layer, lines)
        finally:
            self._own_change = False

    def _style(self, layer: Shapes, lines: list[Outline]) -> None:
        """Colour, width and name of every shape; the selected detector is drawn bolder."""
        patterns = self.session.patterns
        if patterns is None:
            return
        thin = max(patterns.shape[2:]) / 300
        found = {item.key: item for item in self.session.detectors}
        colors = [found[line.key].detector.color for line in lines]
        widths = [thin * (2 if line.key == self.session.selected else 1) for line in lines]
        labels = [found[line.key].detector.name if line.part != "inner" else "" for line in lines]
        look = (tuple(colors), tuple(widths), tuple(labels))
        if look == getattr(self, "_look", None) and len(layer.edge_color) == len(lines):
            return
        self._look = look
        layer.edge_color = np.array([_rgba(color) for color in colors])
        layer.face_color = np.array([_rgba(color, 0.0) for color in colors])
        layer.edge_width = widths
        self._name(layer, labels, [line.part for line in lines], colors)

    @staticmethod
    def _name(layer: Shapes, names: list[str], parts: list[str], colors: list[str]) -> None:
        layer.features = {"name": names, "part": parts}
        layer.text = {
            "string": "{name}",
            "size": 9,
            "color": np.array([_rgba(color) for color in colors]),
            "anchor": "upper_left",
            "translation": [0, 0],
        }

    # --------------------------------------------------- napari's own tools
    def start_drawing(self, tool: str) -> None:
        """Let the user draw a detector: ``rectangle``, ``ellipse`` or ``polygon``."""
        layer = self.layer
        if layer is None or not self._there:
            return
        self._drawing = True
        layer.current_edge_color = next_color(self.session)
        layer.current_face_color = "#00000000"
        self.model.layers.selection.active = layer
        layer.mode = f"add_{tool}"
        words = {"polygon": "click the corners, double-click to close"}
        self.hint.emit(f"Draw the detector: {words.get(tool, 'press and drag')}; Esc cancels")

    def stop_drawing(self) -> None:
        """Back to moving detectors; an unfinished shape is dropped."""
        layer = self.layer
        if not self._drawing or layer is None:
            return
        self._drawing = False
        self._own_change = True
        try:
            layer.mode = "pan_zoom"
        finally:
            self._own_change = False
        self._outlines = []
        self.draw()
        self.hint.emit("")

    @property
    def drawing(self) -> bool:
        """Whether the user is drawing a detector."""
        return self._drawing

    def _on_data(self, event: Any) -> None:
        layer = self.layer
        if self._own_change or layer is None or event.action is None:
            return
        action = str(getattr(event.action, "value", event.action))
        if self._drawing:
            if action in ("added", "changed") and len(layer.data) > len(self._outlines):
                self._take_drawing(layer)
            return
        if action in ("changed",) and len(layer.data) == len(self._outlines):
            self._take_edits(layer)
        elif action == "removed":
            self._take_removals(layer)

    def _take_drawing(self, layer: Shapes) -> None:
        kind, vertices = layer.shape_type[-1], np.asarray(layer.data[-1])
        if len(vertices) < 3 or not np.ptp(vertices, axis=0).min() > 1e-6:
            return
        self._drawing = False
        self._own_change = True
        try:
            layer.mode = "pan_zoom"
        finally:
            self._own_change = False
        self._outlines = []
        color = next_color(self.session)
        self.session.add_detectors([Detector(str(kind), drawn_shape(kind, vertices), color=color)])
        self.draw()
        self.hint.emit("")
        self.drawn.emit()

    def _take_edits(self, layer: Shapes) -> None:
        now: list[NDArray[Any]] = [np.asarray(v) for v in layer.data]
        for item in self.session.detectors:
            rows = [i for i, line in enumerate(self._outlines) if line.key == item.key]
            shape = edited_shape(
                item.detector.shape, [self._outlines[i] for i in rows], [now[i] for i in rows]
            )
            if shape != item.detector.shape:
                self.session.change_detector(item.key, replace(item.detector, shape=shape))

    def _take_removals(self, layer: Shapes) -> None:
        left = [np.asarray(v) for v in layer.data]
        gone = {
            line.key
            for line in self._outlines
            if not any(
                v.shape == line.vertices.shape and np.allclose(v, line.vertices) for v in left
            )
        }
        for key in gone:
            self.session.remove_detector(key)

    # --------------------------------------------------------------- mouse
    def _at(self, event: Any) -> tuple[float, float, float]:
        """Mouse position and reach in detector pixels."""
        patterns = self.session.patterns
        assert patterns is not None
        ky, kx = detector_grid(patterns)
        y, x = event.position[-2:]
        reach = _REACH / max(self.model.scene.camera.zoom, 1e-12) / kx.scale
        return (y - ky.offset) / ky.scale, (x - kx.offset) / kx.scale, reach

    def grip(self, event: Any) -> Grip | None:
        """What the mouse would take hold of."""
        if self.session.patterns is None or self._drawing or not self.session.detectors:
            return None
        y, x, reach = self._at(event)
        return grip_at(self.session.detectors, y, x, reach, self.session.selected)

    def _on_drag(self, _viewer: Any, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or any(m in event.modifiers for m in ("Alt", "Control")):
            return
        grip = self.grip(event)
        if grip is None:
            return
        item = self.session.listed(grip.key)
        assert item is not None
        self.session.select_detector(grip.key)
        detector = item.detector
        start = self._at(event)[:2]
        camera = self.model.scene.camera
        pan, camera.mouse_pan = camera.mouse_pan, False
        try:
            yield
            was_dragged = False
            # The release counts too: a fast mouse may not have told its last place.
            while was_dragged or event.type == "mouse_move":
                shape = dragged(detector.shape, grip, start, self._at(event)[:2])
                self.session.change_detector(grip.key, replace(detector, shape=shape))
                self.hint.emit(f"{detector.name}: {describe(shape)}")
                if event.type != "mouse_move":
                    break
                was_dragged = True
                yield
        finally:
            camera.mouse_pan = pan

    def _on_hover(self, _viewer: Any, event: Any) -> None:
        if self._drawing:
            return
        grip = self.grip(event)
        item = self.session.listed(grip.key) if grip else None
        if grip is None or item is None:
            self.hint.emit("")
        else:
            name, shape = item.detector.name, item.detector.shape
            self.hint.emit(f"{name}: {describe(shape)} · {grip.words}")

    def nudge(self, dy: float, dx: float) -> None:
        """Move the selected detector by detector pixels."""
        item = self.session.listed(self.session.selected) if self.session.selected else None
        if item is not None:
            shape = moved(item.detector.shape, dy, dx)
            self.session.change_detector(item.key, replace(item.detector, shape=shape))


def next_color(session: Session) -> str:
    """The first colour that no detector has."""
    taken = {item.detector.color.upper() for item in session.detectors}
    free = [color for color in COLORS if color.upper() not in taken]
    return free[0] if free else COLORS[len(session.detectors) % len(COLORS)]


def _rgba(color: str, alpha: float = 1.0) -> tuple[float, float, float, float]:
    r, g, b = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return r, g, b, alpha


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and np.allclose(a, b)
