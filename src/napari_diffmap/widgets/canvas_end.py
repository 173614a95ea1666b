"""The end of an embedded canvas whose viewer model lives on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.qt import QtViewer


def end_canvas(qt_viewer: QtViewer) -> None:
    """Close an embedded canvas and cut it from its viewer model.

    napari expects a model to end with its canvas; the visuals of the layers
    stay connected otherwise, and each change of a layer then draws on a widget
    that is gone.
    """
    from napari.utils.events import disconnect_events

    model, canvas = qt_viewer.viewer, qt_viewer.canvas
    groups = (
        model.layers.events,
        model.layers.selection.events,
        model.dims.events,
        model.scene.camera.events,
        model.canvas.grid.events,
    )
    for layer, visual in list(canvas.layer_to_visual.items()):
        for group in groups:
            disconnect_events(group, visual)
        disconnect_events(layer.events, canvas)
        callback = canvas._overlay_callbacks.get(layer)
        if callback is not None:
            layer.events.visible.disconnect(callback)
            for name in ("added", "removed", "changed"):
                getattr(layer._overlays.events, name).disconnect(callback)
        for overlay in canvas._layer_overlay_to_visual.get(layer, {}).values():
            overlay.close()
        visual.close()
    for overlays in canvas._viewer_overlay_to_visual.values():
        for overlay in overlays:
            _cut_overlay(overlay, groups)
    for group in groups:
        for listener in (qt_viewer, qt_viewer.dims, canvas, canvas.camera):
            disconnect_events(group, listener)
    qt_viewer.close()
    qt_viewer.deleteLater()


def _cut_overlay(overlay: Any, groups: tuple[Any, ...]) -> None:
    from napari.utils.events import disconnect_events

    for group in groups:
        disconnect_events(group, overlay)
    overlay.close()
