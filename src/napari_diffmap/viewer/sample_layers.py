"""The main canvas: virtual images, the position looked at and the region averaged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import DiffmapError
from napari_diffmap.viewer.display import contrast_limits
from napari_diffmap.viewer.region import region_mask
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.stack_data import StackData
from napari_diffmap.viewer.views import (
    geometry,
    picture_grid,
    place_layer,
    sample_grid,
    show_layer,
)
from napari_diffmap.viewer.virtual import VirtualImages
from napari_diffmap.viewer.zooming import look_at

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer, Points, Shapes

    from napari_diffmap.scan.scan import Scan

#: Key in ``layer.metadata`` that marks layers of this plugin.
METADATA_KEY = "diffmap"
CURSOR_COLOR = "#D55E00"
#: Width of the position's cross on the screen.
_CURSOR_PIXELS = 20.0
REGION_COLOR = "#F0E442"


class SampleLayers:
    """Layers of the main viewer, fed by a session; updated in place.

    Signals
    -------
    region_drawn()
        The user finished drawing a region.
    image_shown(key)
        The image of a detector (0: of a stack) shows new data.
    """

    region_drawn = Signal()
    image_shown = Signal(int)

    def __init__(
        self, session: Session, viewer: ViewerModel, virtual: VirtualImages, runner: Runner
    ) -> None:
        self.session = session
        self._viewer = ref(viewer)
        self.virtual = virtual
        self.runner = runner
        self.images: dict[int, Image] = {}
        self.cursor: Points | None = None
        self.region: Shapes | None = None
        self.stack: StackData | None = None
        #: What makes the image of a stack; None: its plane as it was measured.
        self.picture: Callable[[], Callable[[], NDArray[np.float32]]] | None = None
        self._spares: list[Image] = []
        self._auto_limits: dict[int, tuple[float, float]] = {}
        self._removing = False
        self._adopt: Image | None = None
        session.scan_changed.connect(self._on_scan)
        session.position_changed.connect(self._on_position)
        session.region_changed.connect(self._on_region)
        session.detectors_changed.connect(self._on_detectors)
        session.plane_changed.connect(self._on_plane)
        virtual.image_changed.connect(self._on_image)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.scene.camera.events.zoom.connect(self._on_zoom)

    @property
    def viewer(self) -> ViewerModel:
        """The main viewer; raises once it is gone."""
        viewer = self._viewer()
        if viewer is None:
            raise DiffmapError("the window is closed")
        return viewer

    def adopt(self, layer: Image | None) -> None:
        """Let the next scan's first image use a layer that a reader added."""
        self._adopt = layer

    # ---------------------------------------------------------------- scan
    def _on_scan(self, scan: Any) -> None:
        if self._viewer() is None:
            return
        self._set_aside(scan)
        self.stack = None
        if scan is None:
            return
        overlays = self.viewer.canvas.overlays
        overlays.scale_bar.visible = True
        if scan.kind == "image series":
            self._load_series()
        elif self.session.stack_data is not None:
            self.stack = self.session.stack_data
            self._load_plane()
        elif scan.kind == "image":
            self._show(0, np.asarray(scan.data.compute(), dtype=np.float32), scan.name)

    def _set_aside(self, scan: Scan | None) -> None:
        """Keep the layers of the last scan, unseen, for the next: making one is slow."""
        adopted, self._adopt = self._adopt, None
        old = [*self._spares, *self.images.values()]
        self.images.clear()
        self._auto_limits.clear()
        self._spares = [layer for layer in old if layer in self.viewer.layers and layer != adopted]
        if adopted is not None and adopted in self.viewer.layers:
            self._spares.insert(0, adopted)
        if scan is None or not self._agree(scan):
            axes = 0 if scan is None else len(picture_grid(scan))
            self._drop([one for one in self._spares if one != adopted or one.ndim != axes])
            self._drop([layer for layer in (self.cursor, self.region) if layer is not None])
            self._spares = [layer for layer in self._spares if layer in self.viewer.layers]
            self.cursor = self.region = None
        for layer in [*self._spares, *([self.cursor] if self.cursor is not None else [])]:
            show_layer(layer, False)
        if self.region is not None and len(self.region.data):
            self.region.data = []

    def _agree(self, scan: Scan) -> bool:
        """Whether layers can go over to a scan one by one: lengths and pixels do not mix."""
        names = [str(unit) for layer in self._own() for unit in layer.units]
        in_pixels = {name == "pixel" for name in names}
        return in_pixels <= {axis.unit == "pixel" for axis in sample_grid(scan)}

    def _own(self) -> list[Layer]:
        extra = [layer for layer in (self.cursor, self.region) if layer is not None]
        return [*self._spares, *self.images.values(), *extra]

    def _drop(self, layers: list[Layer]) -> None:
        for layer in layers:
            self._remove(layer)

    def _remove(self, layer: Layer) -> None:
        viewer = self._viewer()
        if viewer is None or layer not in viewer.layers:
            return
        self._removing = True
        try:
            viewer.layers.remove(layer)
        finally:
            self._removing = False

    def _on_removed(self, event: Any) -> None:
        """The user deleted a layer: close the detector's eye, forget the rest."""
        if self._removing:
            return
        gone = event.value
        self._spares = [layer for layer in self._spares if layer != gone]
        for key, layer in list(self.images.items()):
            if layer == gone:
                del self.images[key]
                self._auto_limits.pop(key, None)
                self.session.show_detector(key, False)
        if gone == self.cursor:
            self.cursor = None
        if gone == self.region:
            self.region = None
            if self.session.region is not None:
                self.session.set_region(None)

    # -------------------------------------------------------------- images
    def _on_image(self, key: int, image: NDArray[np.float32]) -> None:
        item = self.session.listed(key)
        if item is not None and item.visible and self._viewer() is not None:
            self._show(key, image, item.detector.name)

    def _show(
        self, key: int, image: Any, name: str, limits: tuple[float, float] | None = None
    ) -> None:
        limits = contrast_limits(image) if limits is None else limits
        layer = self.images.get(key)
        if layer is None:
            layer = self._add_image(key, image, name, limits)
        else:
            automatic = self._auto_limits.get(key)
            user_set = tuple(layer.contrast_limits) != automatic
            same = layer.data.shape == image.shape and layer.data.dtype == image.dtype
            if same and image.ndim == 2:
                # In place: new data of the same size would have every layer's extent
                # worked out anew, which costs more than the image itself.
                np.copyto(layer.data, image)
                layer.refresh(highlight=False, extent=False)
            else:
                layer.data = image
            if not user_set and not _alike(limits, automatic):
                self._set_limits(key, layer, limits)
        self.image_shown.emit(key)

    def _set_limits(self, key: int, layer: Image, limits: tuple[float, float]) -> None:
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
        self._auto_limits[key] = tuple(layer.contrast_limits)

    def _add_image(self, key: int, image: Any, name: str, limits: tuple[float, float]) -> Image:
        scan = self.session.scan
        assert scan is not None
        viewer = self.viewer
        first = not self.images
        place = geometry(picture_grid(scan))
        # napari keeps the axes of a layer: a movie does not go into that of an image.
        spare = next((s for s in self._spares if s.ndim == image.ndim), None)
        if spare is None:
            layer = viewer.add_image(
                image,
                name=name,
                contrast_limits=limits,
                colormap="gray",
                metadata={METADATA_KEY: {"schema": 1, "role": "virtual image"}},
                rgb=False,
                **place,
            )
        else:
            layer = spare
            self._spares.remove(spare)
            layer.data = image
            place_layer(layer, place)
            layer.name = name
            layer.gamma, layer.opacity = 1.0, 1.0
            layer.visible = True
        # Images lie below maps, regions and the cursor.
        if viewer.layers.index(layer) != len(self.images):
            viewer.layers.move(viewer.layers.index(layer), len(self.images))
        self.images[key] = layer
        self._set_limits(key, layer, limits)
        if viewer.layers.selection.active != layer:
            viewer.layers.selection.active = layer
        self._blend()
        if first:
            viewer.reset_view()
            if self.stack is not None or scan.kind == "image series":
                # Layers of the last scan that are on their way out may lie a stage's travel away.
                look_at(self.session, viewer, (0, 0, *image.shape[-2:]), always=True, fill=0.95)
            unused, self._spares = self._spares, []
            steps = [self._ensure_cursor, *(partial(self._remove, spare) for spare in unused)]
            self.runner.one_by_one(steps)
        return layer

    def _on_detectors(self) -> None:
        if self._viewer() is None:
            return
        listed = {item.key: item for item in self.session.detectors}
        self._removing = True
        try:
            for key in [k for k in self.images if k and k not in listed]:
                layer = self.images.pop(key)
                self._auto_limits.pop(key, None)
                if layer in self.viewer.layers:
                    self.viewer.layers.remove(layer)
        finally:
            self._removing = False
        for key, item in listed.items():
            layer = self.images.get(key)
            if layer is not None:
                layer.visible = item.visible
                layer.name = item.detector.name
            elif item.visible and key in self.virtual.images:
                self._show(key, self.virtual.images[key], item.detector.name)
        self._blend()

    def _blend(self) -> None:
        """Grey images, the selected detector's on top; or all added up in colours."""
        listed, tinted = self.session.detectors, self.session.in_colors
        shown = [item for item in listed if item.visible and item.key in self.images]
        tints = _tints([item.detector.color for item in shown])
        for item, tint in zip(shown, tints, strict=True):
            layer = self.images[item.key]
            wanted = tint if tinted else "gray"
            if layer.colormap.name != (wanted if isinstance(wanted, str) else wanted.name):
                layer.colormap = wanted
            blending = "additive" if tinted and item != shown[0] else "translucent_no_depth"
            if layer.blending != blending:
                layer.blending = blending
        self._raise_selected()

    def _raise_selected(self) -> None:
        """The image of the detector in hand lies above the other images."""
        selected = self.session.selected
        layer = self.images.get(selected) if selected is not None else None
        viewer = self.viewer
        if layer is None or len(self.images) < 2 or self.session.in_colors:
            return
        places = [viewer.layers.index(other) for other in self.images.values()]
        if viewer.layers.index(layer) != max(places):
            viewer.layers.move(viewer.layers.index(layer), max(places) + 1)

    # --------------------------------------------------------------- stack
    def _on_plane(self, _plane: int | None) -> None:
        if self.stack is not None:
            self._load_plane()

    def reload_stack(self, *, rescaled: bool = False) -> None:
        """Show the image of the stack anew.

        Parameters
        ----------
        rescaled
            It has another meaning now: limits that the user set for the old one do not fit it.
        """
        layer = self.images.get(0)
        if self.stack is None:
            return
        if rescaled and layer is not None:
            self._auto_limits[0] = tuple(layer.contrast_limits)
        self._load_plane()

    def _load_plane(self) -> None:
        stack, plane, scan = self.stack, self.session.plane, self.session.scan
        assert stack is not None
        assert scan is not None
        make = None if self.picture is None else self.picture()

        def work(token: Token) -> NDArray[np.float32]:
            del token
            return stack.image(plane) if make is None else make()

        def done(image: NDArray[np.float32]) -> None:
            if self.stack is stack and self._viewer() is not None:
                self._show(0, image, scan.name)

        self.runner.latest("plane", work, done, failed=self._failed)

    def _load_series(self) -> None:
        """All frames of an image series in one layer: napari's slider steps through them."""
        scan, data = self.session.scan, self.session.stack_data
        assert scan is not None
        assert data is not None

        def work(token: Token) -> tuple[Any, tuple[float, float]]:
            del token
            return data.movie()

        def done(found: tuple[Any, tuple[float, float]]) -> None:
            if self.session.scan is scan and self._viewer() is not None:
                plane = self.session.plane
                self._show(0, found[0], scan.name, found[1])
                # napari goes to the middle of what comes first.
                self.session.set_plane(plane)

        self.runner.latest("plane", work, done, failed=self._failed)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, DiffmapError | MemoryError | OSError | ValueError | KeyError):
            raise error
        self.session.message.emit(f"image: {error}")

    # -------------------------------------------------------------- cursor
    def _ensure_cursor(self) -> None:
        scan = self.session.scan
        if scan is None or not self.images or self._viewer() is None:
            return
        if self.cursor is not None:
            place_layer(self.cursor, geometry(sample_grid(scan)))
            self.cursor.data = np.array([self.session.position], dtype=float)
            self.cursor.size = self._cursor_size()
            self.cursor.visible = self.session.region is None
            return
        active = self.viewer.layers.selection.active
        self.cursor = self.viewer.add_points(
            np.array([self.session.position], dtype=float),
            name="position",
            symbol="cross",
            size=self._cursor_size(),
            face_color=CURSOR_COLOR,
            border_color="white",
            border_width=0.12,
            metadata={METADATA_KEY: {"schema": 1, "role": "position"}},
            **geometry(sample_grid(scan)),
        )
        self.cursor.editable = False
        if active is not None:
            self.viewer.layers.selection.active = active

    def _cursor_size(self) -> float:
        """Size in scan pixels that is always as large on the screen.

        napari's own limits on screen sizes leave the border as it is, which
        then hides the marker.
        """
        scan = self.session.scan
        step = sample_grid(scan)[1].scale if scan is not None else 1.0
        return _CURSOR_PIXELS / max(self.viewer.scene.camera.zoom * step, 1e-12)

    def _on_zoom(self) -> None:
        if self.cursor is not None and self._viewer() is not None:
            self.cursor.size = self._cursor_size()

    def _on_position(self, y: int, x: int) -> None:
        if self.cursor is None and self.images and self._viewer() is not None:
            # The user deleted it: a click asks for it again.
            self._ensure_cursor()
        elif self.cursor is not None:
            if len(self.cursor.data) != 1:
                self.cursor.data = np.array([[y, x]], dtype=float)
                return
            # In place: new points have every layer's extent worked out anew.
            self.cursor.data[0] = (y, x)
            self.cursor.refresh(extent=False, thumbnail=False)

    # -------------------------------------------------------------- region
    def start_region(self, tool: str) -> None:
        """Let the user draw a region: ``rectangle``, ``polygon`` or ``lasso``."""
        scan = self.session.scan
        if scan is None:
            return
        viewer = self.viewer
        if self.region is None or self.region not in viewer.layers:
            self.region = viewer.add_shapes(
                name="region",
                ndim=2,
                edge_color=REGION_COLOR,
                face_color=REGION_COLOR + "30",
                edge_width=max(max(self.session.grid) / 200, 0.2),
                metadata={METADATA_KEY: {"schema": 1, "role": "region"}},
                **geometry(sample_grid(scan)),
            )
            self.region.events.data.connect(self._on_region_data)
        else:
            place_layer(self.region, geometry(sample_grid(scan)))
        self.region.visible = True
        viewer.layers.selection.active = self.region
        modes = {"lasso": "add_polygon_lasso"}
        self.region.mode = modes.get(tool, f"add_{tool}")

    def _on_region_data(self, event: Any) -> None:
        layer = self.region
        action = str(getattr(event.action, "value", event.action))
        if layer is None or action not in ("added", "changed", "removed"):
            return
        if not len(layer.data):
            self.session.set_region(None)
            return
        vertices = np.asarray(layer.data[-1], dtype=float)
        if len(vertices) < 3 or not np.ptp(vertices, axis=0).max() > 0:
            return
        drawing = str(layer.mode).startswith("add")
        if len(layer.data) > 1:
            # One region at a time: the last one drawn.
            layer.selected_data = set(range(len(layer.data) - 1))
            layer.remove_selected()
            return
        mask = region_mask(vertices, self.session.grid)
        if mask.any():
            self.session.set_region(mask)
        else:
            self.session.message.emit("the region lies beside the scan: draw it over the image")
        if drawing:
            self.end_region_tool()
            self.region_drawn.emit()

    def end_region_tool(self) -> None:
        """Back to clicking positions."""
        if self.region is not None and self.region in self.viewer.layers:
            self.region.mode = "pan_zoom"
        image = next((layer for layer in self.images.values() if layer.visible), None)
        if image is not None and image in self.viewer.layers:
            self.viewer.layers.selection.active = image

    def clear_region(self) -> None:
        """Remove the drawn region."""
        layer = self.region
        if layer is not None and layer in self.viewer.layers:
            layer.data = []
        self.session.set_region(None)
        self.end_region_tool()

    def _on_region(self, mask: NDArray[np.bool_] | None) -> None:
        if self.cursor is not None:
            self.cursor.visible = mask is None


def _alike(a: tuple[float, float], b: tuple[float, float] | None) -> bool:
    """Whether two contrast ranges look the same: setting them costs a frame while dragging."""
    return b is not None and max(abs(a[0] - b[0]), abs(a[1] - b[1])) < 0.02 * (b[1] - b[0])


def _tints(colors: list[str]) -> list[Any]:
    """Colour maps from black to each colour, dimmed so that their sum does not saturate."""
    from napari.utils import Colormap

    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colors])
    dim = max(float(rgb.sum(axis=0).max()), 1.0) if len(colors) else 1.0
    return [
        Colormap([[0, 0, 0, 1], [*(row / dim), 1]], name=f"{color} of {len(colors)} ({dim:.3f})")
        for row, color in zip(rgb, colors, strict=True)
    ]
