"""Maps of a peak table as layers of the main viewer, updated in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.detectors import Detector, Point
from napari_diffmap.viewer.display import contrast_limits
from napari_diffmap.viewer.sample_layers import METADATA_KEY
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.views import geometry, sample_grid

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_diffmap.scan.peaks import PeakTable

#: Maps of a table by their name in the form, and how they are coloured.
MAPS: dict[str, str] = {
    "spot count": "viridis",
    "intensity": "gray",
    "prominence": "viridis",
    "noise": "magma",
}
DARK_FIELD = "peaks dark field"


def peak_map(table: PeakTable, name: str) -> NDArray[np.float32] | None:
    """One of `MAPS`; None where the table does not know it."""
    if name == "spot count":
        counts = table.count_map().astype(np.float32)
        if table.noise is not None:
            counts[np.isnan(table.noise)] = np.nan
        return counts
    if name == "prominence":
        return table.prominence_map() if table.prominence is not None else None
    if name == "noise":
        return table.noise
    return table.intensity_map()


def dark_field(table: PeakTable, detector: Detector) -> NDArray[np.float32]:
    """Intensity of the peaks under a detector: picked around a point, else under its mask.

    Raises
    ------
    BadInputError
        If the table does not know its detector.
    """
    y, x = table.pixels()
    assert table.source is not None
    if isinstance(detector.shape, Point):
        radius = max(1.5, 2.0 * table.source.spot_sigma)
        near = np.hypot(y - detector.shape.center[0], x - detector.shape.center[1]) <= radius
        return table.weighted_map(near)
    return table.masked_field(detector.mask(table.source.shape).astype(np.float64))


class PeakLayers:
    """The layers of the session's peak table in the main viewer.

    Parameters
    ----------
    session, viewer
        What is looked at, and the main viewer.
    """

    def __init__(self, session: Session, viewer: ViewerModel) -> None:
        self.session = session
        self._viewer = ref(viewer)
        self._layers: dict[str, Image] = {}
        session.scan_changed.connect(self.clear)
        viewer.layers.events.removed.connect(self._on_removed)

    def show(self, name: str, image: NDArray[Any], colormap: str) -> None:
        """Add a map, or put new values into its layer; it is the one seen."""
        viewer = self._viewer()
        if viewer is None:
            return
        limits = contrast_limits(image)
        layer = self._layers.get(name)
        if layer is None:
            scan = self.session.patterns
            place = geometry(sample_grid(scan)) if scan is not None else {}
            layer = viewer.add_image(
                image,
                name=name,
                colormap=colormap,
                contrast_limits=limits,
                metadata={METADATA_KEY: {"schema": 1, "role": f"peaks: {name}"}},
                **place,
            )
            self._layers[name] = layer
            marks = [
                other
                for other in viewer.layers
                if other.metadata.get(METADATA_KEY, {}).get("role") in ("position", "region")
            ]
            if marks:
                lowest = min(viewer.layers.index(other) for other in marks)
                viewer.layers.move(viewer.layers.index(layer), lowest)
        else:
            layer.data = image
            layer.contrast_limits_range = limits
            layer.contrast_limits = limits
        for other, drawn in self._layers.items():
            drawn.visible = other == name
        viewer.layers.selection.active = layer

    def shown(self, name: str) -> bool:
        """Whether a map has a layer."""
        return name in self._layers

    def clear(self, *_: object) -> None:
        """Take all of them out."""
        viewer = self._viewer()
        layers, self._layers = self._layers, {}
        for layer in layers.values():
            if viewer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)

    def _on_removed(self, event: Any) -> None:
        """The user deleted one: it is made again when it is chosen."""
        for name, layer in list(self._layers.items()):
            if layer == event.value:
                del self._layers[name]
