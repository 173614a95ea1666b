"""What is looked at, as a record: position, camera, detectors, eyes of the layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_diffmap.scan.detectors import (
    Annulus,
    Detector,
    Point,
    Polygon,
    Rectangle,
    Shape,
    Weights,
)
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.shown_map import ShownMap
from napari_diffmap.viewer.views import show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel

_SHAPES: dict[str, Callable[..., Shape]] = {
    "annulus": Annulus,
    "point": Point,
    "rectangle": Rectangle,
    "polygon": lambda vertices: Polygon(tuple((float(y), float(x)) for y, x in vertices)),
}


def view_of(session: Session, maps: ShownMap, viewer: ViewerModel) -> dict[str, Any]:
    """The present view, in plain values; weights of a detector from a file are left out."""
    camera = viewer.scene.camera
    return {
        "position": list(session.position),
        "plane": session.plane,
        "thresholds": [maps.low, maps.high],
        "camera": {"center": [float(c) for c in camera.center], "zoom": float(camera.zoom)},
        "layers": {
            name: {"visible": bool(layer.visible), "opacity": float(layer.opacity)}
            for name, layer in maps.named().items()
        },
        "detectors": [
            {**_detector(item.detector), "visible": item.visible}
            for item in session.detectors
            if not isinstance(item.detector.shape, Weights)
        ],
    }


def _detector(detector: Detector) -> dict[str, Any]:
    fields = {k: _plain(v) for k, v in asdict(detector.shape).items()}  # type: ignore[arg-type]
    return {
        "name": detector.name,
        "response": detector.response,
        "color": detector.color,
        "shape": {"kind": type(detector.shape).__name__.lower(), **fields},
    }


def _plain(value: Any) -> Any:
    return [list(pair) for pair in value] if isinstance(value, tuple) else float(value)


def show_scan_view(session: Session, view: dict[str, Any]) -> None:
    """Position and detectors of a record, once the scan is on the desk."""
    if view.get("plane") is not None:
        session.set_plane(int(view["plane"]))
    listed = view.get("detectors") or []
    if listed:
        for item in session.detectors:
            session.remove_detector(item.key)
        for one in listed:
            shape = dict(one["shape"])
            made = _SHAPES[shape.pop("kind")](**shape)
            detector = Detector(one["name"], made, one["response"], one["color"])
            session.add_detectors([detector], visible=bool(one["visible"]))
    if view.get("position"):
        y, x = view["position"]
        session.set_position(int(y), int(x))


def show_map_view(maps: ShownMap, viewer: ViewerModel, view: dict[str, Any]) -> None:
    """Eyes and opacities of the map's layers and the camera, once the map is shown."""
    for name, state in (view.get("layers") or {}).items():
        layer = maps.layer(name)
        if layer is not None:
            show_layer(layer, bool(state["visible"]))
            layer.opacity = float(state["opacity"])
    camera = view.get("camera")
    if camera:
        viewer.scene.camera.center = tuple(camera["center"])
        viewer.scene.camera.zoom = float(camera["zoom"])
