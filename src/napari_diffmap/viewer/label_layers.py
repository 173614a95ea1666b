"""Label maps as napari layers that every tool of napari edits; each stroke is recorded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.maps.edits.edit import LABELS, EditKind
from napari_diffmap.maps.labels.label_maps import MOST_COLORS, color_table
from napari_diffmap.maps.labels.ops import difference
from napari_diffmap.viewer.sample_layers import METADATA_KEY
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.views import geometry, place_layer, sample_grid, show_layer
from napari_diffmap.viewer.zooming import look_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_diffmap.maps.edits.corrections import Change, LabelMap

PREVIEW_LAYER = "labels preview"
PREVIEW_OPACITY, OPACITY = 0.9, 0.7
#: Colour of pixels that a preview leaves without a label.
ERASED_COLOR = (1.0, 1.0, 1.0, 1.0)
#: Lengths of colour tables: a longer one is made when a number does not fit.
_TABLES = (254, 1023, 4095, MOST_COLORS)


class LabelLayers:
    """The label maps of the session's corrections in the main viewer.

    Each is an ordinary Labels layer over a copy of the data.  After a stroke the copy is compared
    with what is recorded, and the difference becomes one edit; an edit from elsewhere is written
    into the copy.  The layer's own undo and redo, with their keys, are those of the corrections.

    Parameters
    ----------
    session, viewer
        What is looked at, and the main viewer.
    undo, redo
        Called for the layer's undo and redo; those of the corrections without them.

    Signals
    -------
    picked(name, number)
        Another label was selected in the layer of a label map.
    added(name)
        A layer was made.
    """

    picked = Signal(str, int)
    added = Signal(str)

    def __init__(
        self,
        session: Session,
        viewer: ViewerModel,
        *,
        undo: Callable[[], Any] | None = None,
        redo: Callable[[], Any] | None = None,
    ) -> None:
        self.session = session
        self._viewer = ref(viewer)
        self._undo = undo or (lambda: self._step("undo"))
        self._redo = redo or (lambda: self._step("redo"))
        self._layers: dict[str, Labels] = {}
        self._preview: Labels | None = None
        #: Label maps that had a layer: one that the user deleted is not made again unasked.
        self._known: set[str] = set()
        #: Label maps that are being painted on, with a stroke that is not over.
        self._stroke: set[str] = set()
        #: Label maps that napari is about to write to.
        self._announced: set[str] = set()
        self._busy = False
        session.map_changed.connect(self._on_map)
        session.scan_changed.connect(self._on_map)
        session.edited.connect(self._on_edited)
        session.labels_changed.connect(self._on_labels)
        viewer.layers.events.removed.connect(self._on_removed)
        self._on_map()

    # -------------------------------------------------------------- asking
    def layer(self, name: str) -> Labels | None:
        """The layer of a label map; None if there is none."""
        return self._layers.get(name)

    def show(self, name: str) -> Labels | None:
        """See a label map and make its layer the active one; made again if it was deleted."""
        viewer, labels = self._viewer(), self._map(name)
        if viewer is None or labels is None:
            return None
        layer = self._layers.get(name)
        if layer is None:
            layer = self._make(labels)
        show_layer(layer, True)
        if viewer.layers.selection.active != layer:
            viewer.layers.selection.active = layer
        return layer

    def look_at(self, box: tuple[int, int, int, int]) -> None:
        """See some rows and columns ``y0, x0, y1, x1`` in the middle of the canvas."""
        viewer = self._viewer()
        if viewer is not None:
            look_at(self.session, viewer, box, always=True)

    def _map(self, name: str) -> LabelMap | None:
        corrections = self.session.corrections
        return None if corrections is None else corrections.labels.get(name)

    # ------------------------------------------------------------ lifetime
    def _on_map(self, *_: object) -> None:
        """Another map or scan: the layers of label maps that are not its go."""
        if self._viewer() is None:
            return
        corrections = self.session.corrections
        wanted = {} if corrections is None else corrections.labels
        self._remove(self._preview)
        self._preview = None
        for name in [name for name in self._layers if name not in wanted]:
            self._remove(self._layers.pop(name))
        self._known.clear()
        self._stroke.clear()
        self._announced.clear()
        for labels in wanted.values():
            layer = self._layers.get(labels.name)
            if layer is None:
                self._make(labels)
                continue
            self._known.add(labels.name)
            with self._quiet():
                layer.data = labels.values.copy()
                place_layer(layer, self._place())
            self._dress(labels, layer)

    def _on_labels(self, name: str) -> None:
        labels, layer = self._map(name), self._layers.get(name)
        if labels is None or self._viewer() is None:
            return
        if layer is not None:
            if not np.array_equal(layer.data, labels.values):  # another of its name
                self._write(layer, labels.values)
            self._dress(labels, layer)
        elif name not in self._known:
            self._make(labels)

    def _on_removed(self, event: Any) -> None:
        for name, layer in list(self._layers.items()):
            if layer == event.value:
                del self._layers[name]
                self._stroke.discard(name)
                self._announced.discard(name)
        if self._preview is not None and self._preview == event.value:
            self._preview = None

    def _remove(self, layer: Labels | None) -> None:
        viewer = self._viewer()
        if viewer is not None and layer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)

    # -------------------------------------------------------------- making
    def _place(self) -> dict[str, Any]:
        scan = self.session.scan
        return {} if scan is None else geometry(sample_grid(scan))

    def _make(self, labels: LabelMap) -> Labels:
        viewer = self._viewer()
        assert viewer is not None
        layer = self._add(labels.name, f"labels: {labels.name}", labels.values.copy(), OPACITY)
        self._layers[labels.name] = layer
        self._known.add(labels.name)
        self._dress(labels, layer)
        name = labels.name
        layer.events.paint.connect(lambda _event: self._on_paint(name))
        layer.events.labels_update.connect(lambda _event: self._on_stroke(name))
        layer.events.set_data.connect(lambda _event: self._on_data(name))
        layer.events.data.connect(lambda _event: self._on_data(name))
        layer.events.selected_label.connect(lambda _event: self._on_selected(name))
        # What napari's keys call: its own history knows nothing of other edits.
        layer.undo = self.undo
        layer.redo = self.redo
        self.added.emit(name)
        return layer

    def _add(self, name: str, role: str, data: NDArray[np.int32], opacity: float) -> Labels:
        viewer = self._viewer()
        assert viewer is not None
        layer = viewer.add_labels(
            data,
            name=name,
            opacity=opacity,
            metadata={METADATA_KEY: {"schema": 1, "role": role}},
            **self._place(),
        )
        above = [
            viewer.layers.index(other)
            for other in viewer.layers
            if other.metadata.get(METADATA_KEY, {}).get("role") in ("position", "region")
        ]
        if above:
            viewer.layers.move(viewer.layers.index(layer), min(above))
        return layer

    def _dress(self, labels: LabelMap, layer: Labels) -> None:
        """Colours and names."""
        top = max(int(labels.values.max(initial=0)), layer.selected_label, 1)
        n = next((n for n in _TABLES if n >= top + 16), MOST_COLORS)
        with self._quiet():
            _paint_with(layer, color_table(labels, n))
            numbers = [0, *sorted(labels.names)]
            layer.features = {
                "index": numbers,
                "name": ["", *(labels.names[number] for number in numbers[1:])],
            }

    def _on_selected(self, name: str) -> None:
        layer, labels = self._layers.get(name), self._map(name)
        if self._busy or layer is None or labels is None:
            return
        if len(layer.colormap.colors) - 1 < min(layer.selected_label, MOST_COLORS):
            self._dress(labels, layer)
        self.picked.emit(name, layer.selected_label)

    # ----------------------------------------------------------- recording
    @contextmanager
    def _quiet(self) -> Iterator[None]:
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def _painted(self, name: str) -> bool:
        """Whether a layer shows what is not recorded."""
        layer, labels = self._layers.get(name), self._map(name)
        if layer is None or labels is None:
            return False
        return not np.array_equal(layer.data, labels.values)

    def _on_stroke(self, name: str) -> None:
        """Pixels are drawn: part of a stroke, or what napari announced."""
        if name in self._announced:
            self._announced.discard(name)
            self.record(name)
        elif name not in self._stroke and self._painted(name):
            self._stroke.add(name)

    def _on_paint(self, name: str) -> None:
        """A stroke is over; what is no stroke napari tells before it writes the pixels."""
        self._stroke.discard(name)
        if self._painted(name):
            self.record(name)
        else:
            self._announced.add(name)

    def _on_data(self, name: str) -> None:
        if self._busy:
            return
        if name not in self._stroke:
            self.record(name)
        elif not self._painted(name):
            self._stroke.discard(name)  # it was given up

    def record(self, name: str | None = None) -> None:
        """Record what was painted and is not recorded yet, of one label map or of all."""
        for each in list(self._layers) if name is None else [name]:
            self._record(each)

    def _record(self, name: str) -> None:
        corrections = self.session.corrections
        layer, labels = self._layers.get(name), self._map(name)
        if self._busy or corrections is None or layer is None or labels is None:
            return
        painted = layer.data
        if not isinstance(painted, np.ndarray) or painted.shape != labels.values.shape:
            self.session.message.emit(f"{name}: data of another shape does not fit the map")
            with self._quiet():
                layer.data = labels.values.copy()
            return
        pixels, values = difference(labels.values, painted)
        if not len(pixels):
            return
        if (values < 0).any():
            values = np.maximum(values, 0)
            self.session.message.emit("labels are numbered from 1: negative ones became 0")
        change = corrections.edit(
            EditKind.PAINTED,
            pixels,
            {"labels": values.astype(np.int32, copy=False)},
            target=labels.target,
        )
        self.session.edited.emit(change)

    def undo(self) -> None:
        """Take the last edit back, of whatever map."""
        self.record()
        self._undo()

    def redo(self) -> None:
        """Make the edit again that was undone last."""
        self.record()
        self._redo()

    def _step(self, step: str) -> None:
        corrections = self.session.corrections
        if corrections is None:
            return
        change = corrections.undo() if step == "undo" else corrections.redo()
        if change is not None:
            self.session.edited.emit(change)

    # ------------------------------------------------------ from elsewhere
    def _on_edited(self, change: Change) -> None:
        if not change.target.startswith(LABELS):
            return
        name = change.target.removeprefix(LABELS)
        layer, labels = self._layers.get(name), self._map(name)
        if layer is None or labels is None or self._viewer() is None:
            return
        shown, wanted = layer.data.reshape(-1), labels.values.reshape(-1)[change.pixels]
        if not np.array_equal(shown[change.pixels], wanted):
            shown[change.pixels] = wanted
            with self._quiet():
                # In place: new data would have every layer's extent worked out anew.
                layer.refresh(highlight=False, extent=False)
        if len(layer.colormap.colors) - 1 < min(int(wanted.max(initial=0)), MOST_COLORS):
            self._dress(labels, layer)

    def _write(self, layer: Labels, values: NDArray[np.int32]) -> None:
        np.copyto(layer.data, values, casting="same_kind")
        with self._quiet():
            layer.refresh(highlight=False, extent=False)

    # ------------------------------------------------------------- preview
    def preview(
        self, name: str, pixels: NDArray[np.int64], values: NDArray[np.int32]
    ) -> Labels | None:
        """Show what labels some pixels would get, above the label map.

        Parameters
        ----------
        name
            Of the label map.
        pixels, values
            Flat numbers, and the labels; those that would have none are shown white.
        """
        viewer, labels = self._viewer(), self._map(name)
        if viewer is None or labels is None:
            return None
        top = int(max(values.max(initial=0), 1))
        n = min(next((n for n in _TABLES if n > top), MOST_COLORS), MOST_COLORS)
        colors = np.vstack((color_table(labels, n - 1), ERASED_COLOR))
        drawn = np.zeros(labels.values.shape, dtype=np.int32)
        drawn.reshape(-1)[pixels] = np.where(values > 0, (values - 1) % (n - 1) + 1, n)
        active = viewer.layers.selection.active
        if self._preview is None:
            self._preview = self._add(PREVIEW_LAYER, "labels preview", drawn, PREVIEW_OPACITY)
            # A brush stroke belongs to the label map.
            self._preview.editable = False
        else:
            show_layer(self._preview, True)
            self._preview.data = drawn
        _paint_with(self._preview, colors)
        if active is not None and viewer.layers.selection.active != active:
            viewer.layers.selection.active = active
        return self._preview

    def hide_preview(self) -> None:
        """Close the eye of the preview; its layer is used again."""
        if self._preview is not None:
            show_layer(self._preview, False)


def _paint_with(layer: Labels, colors: NDArray[np.float32]) -> None:
    """Give a layer a table of colours, unless it has it."""
    from napari.utils.colormaps import CyclicLabelColormap

    there = getattr(layer.colormap, "colors", None)
    if there is None or there.shape != colors.shape or not np.allclose(there, colors):
        layer.colormap = CyclicLabelColormap(colors=colors, background_value=0)
