"""An orientation map as napari layers: IPF colours, phases, scores, doubt and boundaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.maps.boundaries.find import BOUNDARY_TABLE, Boundaries, BoundaryStyle
from napari_diffmap.maps.counts import crystal_count, judged, resolved
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.viewer.display import contrast_limits
from napari_diffmap.viewer.map_pictures import (
    BoundaryLines,
    MapPictures,
    TilePicture,
    boundary_lines,
    map_pictures,
)
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.small_map_layers import (
    AMBIGUITY_LAYER,
    EDITED_LAYER,
    JUDGED_LAYER,
    RESOLVED_LAYER,
    SmallMapLayers,
)
from napari_diffmap.viewer.views import show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffmap.maps import OrientationMap

Base = Literal["IPF-X", "IPF-Y", "IPF-Z", "phases", "score", "reliability", "crystals"]
#: Pictures of which one is shown at a time, in the order of the form.
BASES: tuple[Base, ...] = (
    "IPF-X",
    "IPF-Y",
    "IPF-Z",
    "phases",
    "score",
    "reliability",
    "crystals",
)
#: Line width of each boundary class in map pixels: class is told by width as well as colour.
_WIDTHS = {"low-angle": 0.14, "vanishes under 180°": 0.2, "high-angle": 0.3, "phase boundary": 0.36}
#: Which pixels the next correction is for, or an offer.
MARK_LAYER = "to be corrected"
MARK_COLOR = "#FFFFFF"


def boundary_layer(name: str) -> str:
    """Name of the layer of a boundary class, short enough for napari's layer list."""
    return f"{name} boundaries" if name.endswith("-angle") else name


#: Layers from bottom to top.
_ORDER = (
    *BASES,
    AMBIGUITY_LAYER,
    RESOLVED_LAYER,
    EDITED_LAYER,
    *(boundary_layer(style.name) for style in BOUNDARY_TABLE),
    JUDGED_LAYER,
    MARK_LAYER,
)
#: What layers that are no pictures hold when they show nothing.
_NOTHING = {
    **{boundary_layer(style.name): (0, 2, 2) for style in BOUNDARY_TABLE},
    JUDGED_LAYER: (0, 2),
}


class MapLayers(SmallMapLayers):
    """The layers of the session's map in the main viewer, updated in place.

    Layers are told by name and metadata; one that the user deleted is made
    again when it is chosen, and with the next map.
    """

    #: The pictures of a new map are all shown.
    shown = Signal()
    #: Low and high angle of the boundaries, degrees.
    thresholds_changed = Signal(float, float)

    def __init__(self, session: Session, viewer: ViewerModel, runner: Runner) -> None:
        super().__init__(session, viewer, _ORDER)
        self.runner = runner
        self.boundaries: Boundaries | None = None
        self.low, self.high = 2.0, 15.0
        #: Whether the answer is shown as it was, without the corrections.
        self.shows_answer = False
        self._live: NDArray[np.uint8] | None = None
        self._pictures: MapPictures | None = None
        session.map_changed.connect(self._on_map)
        session.scan_changed.connect(self.clear)

    def clear(self) -> None:
        """Remove the layers of the map, one by one: each costs napari a tenth of a second."""
        layers = list(self._layers.values())
        self._forget()
        self._layers.clear()
        for layer in layers:
            show_layer(layer, False)
        self._leaving += layers
        self.runner.one_by_one([partial(self._remove, layer) for layer in layers])

    def _forget(self) -> None:
        self._live = self._pictures = None
        self.boundaries = None

    # ------------------------------------------------------------- filling
    def begin(self) -> None:
        """An empty picture for a run that starts now; nothing of the old map is left to see."""
        self._forget()
        self._live = np.zeros((*self.session.grid, 4), dtype=np.uint8)
        old = [name for name in self._layers if name != "IPF-Z"]
        self._image("IPF-Z", self._live, rgb=True)
        for name in BASES:
            layer = self._layers.get(name)
            if layer is not None:
                show_layer(layer, name == "IPF-Z")
        self.runner.one_by_one([partial(self._blank, name) for name in old])

    def _blank(self, name: str) -> None:
        """Take the old map's data from a layer, unless a new map has come meanwhile."""
        layer = self._layers.get(name)
        if layer is not None and self._live is not None:
            shape = _NOTHING.get(name)
            nothing = np.zeros_like(layer.data) if shape is None else np.zeros(shape, np.float32)
            layer.data = nothing

    def fill(self, tile: TilePicture) -> None:
        """Show one tile of a running map."""
        if self._live is None:
            self.begin()
        assert self._live is not None
        self._live[tile.rows, tile.columns] = tile.ipf_z
        layer = self._layers.get("IPF-Z")
        if layer is not None:
            layer.refresh()

    # -------------------------------------------------------------- result
    def _on_map(self, found: OrientationMap | None) -> None:
        if self._viewer() is None:
            return
        self.shows_answer = False
        if found is None:
            self.clear()
            return
        self._draw(found)

    def _draw(self, found: OrientationMap) -> None:
        """Make the pictures of the map, or of the answer, beside the window and show them."""
        low, high = self.low, self.high

        def done(pictures: MapPictures) -> None:
            if self._shown() is found and self._viewer() is not None:
                self.show(pictures)

        self.runner.latest("map pictures", lambda _token: map_pictures(found, low, high), done)

    def _shown(self) -> OrientationMap | None:
        return self.session.answer if self.shows_answer else self.session.map

    # --------------------------------------------------------- corrections
    def show_answer(self, on: bool) -> None:
        """Show the answer as it was found, or with its corrections again."""
        if on == self.shows_answer:
            return
        self.shows_answer = on
        found = self._shown()
        if found is not None:
            self._draw(found)

    def put(
        self, name: str, where: tuple[NDArray[np.int64], NDArray[np.int64]], values: NDArray[Any]
    ) -> None:
        """Change some pixels ``(y, x)`` of a layer in place; nothing where it is not shown."""
        layer = self._layers.get(name)
        if layer is not None and layer.data.shape[:2] == self.session.grid:
            layer.data[where] = values
            layer.refresh(extent=False)

    def show_edited(self, visible: bool) -> None:
        """Open or close the eye of what was corrected."""
        found, layer = self.session.map, self._layers.get(EDITED_LAYER)
        if visible and found is not None and (layer is None or layer.data.shape != found.shape):
            self._show_edited(found)
            layer = self._layers.get(EDITED_LAYER)
        if layer is not None:
            show_layer(layer, visible)

    def mark(self, mask: NDArray[np.bool_] | None) -> None:
        """Outline some pixels ``(Y, X)``, above everything else; None: none."""
        layer = self._layers.get(MARK_LAYER)
        if mask is None:
            if layer is not None:
                show_layer(layer, False)
            return
        if layer is None or layer.data.shape != mask.shape:
            names = {"index": [0, 1], "pixels": ["", MARK_LAYER]}
            self._labels(MARK_LAYER, mask.astype(np.uint8), {1: MARK_COLOR}, names, opacity=0.6)
        else:
            np.copyto(layer.data, mask)
            layer.refresh(extent=False)
        show_layer(self._layers[MARK_LAYER], True)

    def draw_lines(self) -> None:
        """Find the grain boundaries anew, beside the window."""
        self.set_thresholds(self.low, self.high)

    def show(self, pictures: MapPictures) -> None:
        """Show a whole map; the eyes of layers that exist already stay as they are.

        Each new layer costs napari a tenth of a second, so they come one by one.
        """
        self._live = None
        self._pictures = pictures
        self.boundaries = pictures.lines.boundaries
        makers = self._makers(pictures)
        # What this map does not tell, e.g. a number of crystals, is not left from the last one.
        kept = {*makers, MARK_LAYER}
        old = [self._layers.pop(name) for name in list(self._layers) if name not in kept]
        steps = [*(partial(self._remove, layer) for layer in old), *makers.values()]
        steps.append(self._all_shown)
        self.runner.one_by_one([self._unless_gone(pictures.found, step) for step in steps])

    def _makers(self, pictures: MapPictures) -> dict[str, Callable[[], None]]:
        """What makes or updates each layer, by its name; what is seen first comes first."""
        found = pictures.found
        grey = {"colormap": "viridis", "visible": False}
        score = {**grey, "contrast_limits": contrast_limits(pictures.score)}
        reliability = {**grey, "contrast_limits": (0.0, 1.0)}
        counted = {} if crystal_count(found) is None else {"crystals": self._show_crystals}
        chosen = {} if resolved(found) is None else {RESOLVED_LAYER: self._show_resolved}
        if judged(found) is not None:
            chosen[JUDGED_LAYER] = self._show_judged
        if EDITED in found.extra and found.extra[EDITED].any():
            chosen[EDITED_LAYER] = self._show_edited
        makers = {
            "IPF-Z": lambda: self._image("IPF-Z", pictures.ipf["z"], rgb=True),
            **self._line_makers(pictures.lines),
            "IPF-X": lambda: self._image("IPF-X", pictures.ipf["x"], rgb=True, visible=False),
            "IPF-Y": lambda: self._image("IPF-Y", pictures.ipf["y"], rgb=True, visible=False),
            "score": lambda: self._image("score", pictures.score, **score),
            "reliability": lambda: self._image("reliability", found.reliability, **reliability),
            "phases": lambda: self._show_phases(found),
            AMBIGUITY_LAYER: lambda: self._show_ambiguity(found),
        }
        small = {**counted, **chosen}
        return makers | {name: partial(show, found) for name, show in small.items()}

    def _ensure(self, name: str) -> Layer | None:
        """A layer of the shown map; made again where the user deleted it."""
        pictures = self._pictures
        if name not in self._layers and pictures is not None and self._viewer() is not None:
            # An imported map may have no such picture.
            self._makers(pictures).get(name, lambda: None)()
        return self._layers.get(name)

    def _unless_gone(self, found: OrientationMap, step: Callable[[], None]) -> Callable[[], None]:
        """Another scan, map or run may have come between two steps."""

        def act() -> None:
            shown = self._pictures
            if shown is not None and shown.found is found and self._viewer() is not None:
                step()

        return act

    def _all_shown(self) -> None:
        viewer = self._viewer()
        first = self._layers.get("IPF-Z")
        if viewer is not None and first is not None and viewer.layers.selection.active != first:
            viewer.layers.selection.active = first
        self.shown.emit()

    # ---------------------------------------------------------- boundaries
    def set_thresholds(self, low: float, high: float) -> None:
        """Classify and draw the grain boundaries again.

        Parameters
        ----------
        low, high
            Degrees: up to `low` is no boundary, up to `high` low-angle.
        """
        if (low, high) != (self.low, self.high):
            self.low, self.high = low, high
            self.thresholds_changed.emit(low, high)
        found = self._shown()
        if found is None:
            return

        def done(lines: BoundaryLines) -> None:
            if self._shown() is found and self._viewer() is not None:
                self._show_lines(lines)

        self.runner.latest("boundaries", lambda _token: boundary_lines(found, low, high), done)

    def _line_makers(self, lines: BoundaryLines) -> dict[str, Callable[[], None]]:
        def draw(style: BoundaryStyle) -> Callable[[], None]:
            name, vectors = boundary_layer(style.name), lines.vectors[style.name]
            return lambda: self._vectors(name, vectors, style.color, _WIDTHS[style.name])

        return {boundary_layer(style.name): draw(style) for style in BOUNDARY_TABLE}

    def _show_lines(self, lines: BoundaryLines) -> None:
        self.boundaries = lines.boundaries
        if self._pictures is not None:
            self._pictures = replace(self._pictures, lines=lines)
        for draw in self._line_makers(lines).values():
            draw()

    # --------------------------------------------------------------- eyes
    def show_base(self, base: str | None) -> None:
        """Show one of `BASES` and hide the others; None hides all."""
        for name in BASES:
            layer = self._ensure(name) if name == base else self._layers.get(name)
            if layer is not None:
                show_layer(layer, name == base)
        viewer = self._viewer()
        layer = self._layers.get(base) if base else None
        if viewer is not None and layer is not None and viewer.layers.selection.active != layer:
            viewer.layers.selection.active = layer

    def show_overlay(self, overlay: Literal["boundaries", "ambiguity"], visible: bool) -> None:
        """Open or close the eyes of the boundaries or of the ambiguity zones."""
        names = (
            [AMBIGUITY_LAYER]
            if overlay == "ambiguity"
            else [boundary_layer(style.name) for style in BOUNDARY_TABLE]
        )
        for name in names:
            layer = self._ensure(name) if visible else self._layers.get(name)
            if layer is not None:
                show_layer(layer, visible)
