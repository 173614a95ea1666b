"""Layers of the main viewer that belong together, told by name, kept in an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.viewer.sample_layers import METADATA_KEY
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.views import geometry, sample_grid

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerStack:
    """Makes layers or updates them in place; one that the user deleted is made again.

    Parameters
    ----------
    session, viewer
        Whose sample is shown, and where.
    order
        Names from bottom to top.
    """

    def __init__(self, session: Session, viewer: ViewerModel, order: Sequence[str]) -> None:
        self.session = session
        self._viewer = ref(viewer)
        self._order = tuple(order)
        self._layers: dict[str, Layer] = {}
        self._leaving: list[Layer] = []
        viewer.layers.events.removed.connect(self._on_removed)

    def _on_removed(self, event: Any) -> None:
        for name, layer in list(self._layers.items()):
            if layer == event.value:
                del self._layers[name]

    def layer(self, name: str) -> Layer | None:
        """One of the layers, by name."""
        return self._layers.get(name)

    def named(self) -> dict[str, Layer]:
        """All layers that there are, by name."""
        return dict(self._layers)

    def _remove(self, layer: Layer) -> None:
        viewer = self._viewer()
        self._leaving = [other for other in self._leaving if other is not layer]
        if viewer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)

    def _place(self) -> dict[str, Any]:
        scan = self.session.scan
        if scan is None:
            return {}
        return geometry(sample_grid(scan))

    def _common(self, name: str) -> dict[str, Any]:
        # Two layers of a name cannot be: one that is on its way out goes now.
        for layer in [layer for layer in self._leaving if layer.name == name]:
            self._remove(layer)
        role = f"map: {name}"
        viewer = self._viewer()
        # So does that of another kind of map, whose stack takes its time.
        for layer in () if viewer is None else tuple(viewer.layers):
            if layer.name == name and layer.metadata.get(METADATA_KEY, {}).get("role") == role:
                viewer.layers.remove(layer)
        return {
            "name": name,
            "metadata": {METADATA_KEY: {"schema": 1, "role": role}},
            **self._place(),
        }

    def _insert(self, name: str, layer: Layer) -> None:
        """Above the virtual images, in their order, below region and position."""
        viewer = self._viewer()
        assert viewer is not None
        self._layers[name] = layer
        above = [
            other
            for other in viewer.layers
            if other.metadata.get(METADATA_KEY, {}).get("role") in ("position", "region")
            or any(
                self._order.index(known) > self._order.index(name) and other == drawn
                for known, drawn in self._layers.items()
            )
        ]
        if above:
            viewer.layers.move(
                viewer.layers.index(layer), min(viewer.layers.index(other) for other in above)
            )

    def _image(self, name: str, data: NDArray[Any], **options: Any) -> None:
        viewer = self._viewer()
        assert viewer is not None
        layer = self._layers.get(name)
        if layer is None:
            options.setdefault("rgb", False)
            self._insert(name, viewer.add_image(data, **options, **self._common(name)))
            return
        layer.data = data
        if "contrast_limits" in options:
            layer.contrast_limits_range = options["contrast_limits"]
            layer.contrast_limits = options["contrast_limits"]

    def _labels(
        self,
        name: str,
        data: NDArray[np.uint8],
        colors: dict[int, str],
        features: dict[str, list[Any]],
        **options: Any,
    ) -> None:
        from napari.utils import DirectLabelColormap

        viewer = self._viewer()
        assert viewer is not None
        table: dict[int | None, str] = {None: "transparent", 0: "transparent", **colors}
        colormap = DirectLabelColormap(color_dict=table)
        layer = self._layers.get(name)
        if layer is None:
            active = viewer.layers.selection.active
            layer = viewer.add_labels(
                data, colormap=colormap, features=features, **options, **self._common(name)
            )
            self._settle(name, layer, active)
            return
        layer.data = data
        layer.colormap = colormap
        layer.features = features

    def _settle(self, name: str, layer: Layer, active: Layer | None) -> None:
        """A layer that nobody paints on, at its place; what the user has in hand stays there."""
        viewer = self._viewer()
        assert viewer is not None
        if active is not None and active in viewer.layers:
            viewer.layers.selection.active = active
        # Corrections have their own way; a stray brush stroke must not look like one.
        layer.editable = False
        self._insert(name, layer)

    def _points(
        self,
        name: str,
        places: NDArray[np.floating],
        symbols: Sequence[str],
        colors: Sequence[str],
        features: dict[str, list[Any]],
        size: float,
        **options: Any,
    ) -> None:
        """Symbols at ``(n, 2)`` pixels of the map, `size` pixels wide."""
        viewer = self._viewer()
        assert viewer is not None
        layer = self._layers.get(name)
        if layer is None:
            active = viewer.layers.selection.active
            layer = viewer.add_points(
                places,
                symbol=list(symbols) or "disc",
                face_color=list(colors) or "white",
                border_width=0,
                size=size,
                features=features,
                **options,
                **self._common(name),
            )
            self._settle(name, layer, active)
            return
        layer.data = places
        layer.features = features
        if len(places):
            layer.symbol, layer.face_color, layer.size = list(symbols), list(colors), size
            layer.border_width = 0

    def _vectors(self, name: str, vectors: NDArray[np.float32], color: str, width: float) -> None:
        viewer = self._viewer()
        assert viewer is not None
        layer = self._layers.get(name)
        if layer is None:
            layer = viewer.add_vectors(
                vectors,
                edge_color=color,
                edge_width=width,
                vector_style="line",
                length=1,
                **self._common(name),
            )
            self._insert(name, layer)
            return
        layer.data = vectors
