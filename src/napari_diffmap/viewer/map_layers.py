"""An orientation map as napari layers: IPF colours, phases, scores, doubt and boundaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.maps.boundaries.find import BOUNDARY_TABLE, Boundaries, BoundaryStyle
from napari_diffmap.maps.colors import ipf_colors
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
from napari_diffmap.viewer.map_stack import MARK_LAYER, MapStack
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.small_map_layers import (
    AMBIGUITY_LAYER,
    EDITED_LAYER,
    JUDGED_LAYER,
    RESOLVED_LAYER,
    small_values,
)
from napari_diffmap.viewer.views import show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffmap.maps import OrientationMap, PhaseMap

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


class MapLayers(MapStack):
    """The layers of the session's orientation map in the main viewer, updated in place."""

    #: Low and high angle of the boundaries, degrees.
    thresholds_changed = Signal(float, float)
    first = "IPF-Z"

    def __init__(self, session: Session, viewer: ViewerModel, runner: Runner) -> None:
        super().__init__(session, viewer, runner, _ORDER)
        self.boundaries: Boundaries | None = None
        self.low, self.high = 2.0, 15.0
        self._live: NDArray[np.uint8] | None = None

    @property
    def bases(self) -> tuple[str, ...]:
        """Pictures of which one is shown at a time, in the order of the form."""
        return BASES

    def fits(self, found: PhaseMap) -> bool:
        """Whether a map has orientations."""
        return found.has_orientations

    def _forget(self) -> None:
        super()._forget()
        self._live = None
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
    def _paint(self, found: OrientationMap) -> Callable[[], MapPictures]:
        low, high = self.low, self.high
        return lambda: map_pictures(found, low, high)

    def drawn(self, part: OrientationMap) -> dict[str, Callable[[], NDArray[Any]]]:
        """What the layers hold of a map of one row, by name."""
        return {
            "IPF-X": lambda: ipf_colors(part, "x")[0],
            "IPF-Y": lambda: ipf_colors(part, "y")[0],
            "IPF-Z": lambda: ipf_colors(part, "z")[0],
            **small_values(part),
        }

    def redraw(self) -> None:
        """Find the grain boundaries anew, beside the window."""
        self.set_thresholds(self.low, self.high)

    def show(self, pictures: MapPictures) -> None:
        """Show a whole map; see `MapStack.show`."""
        self._live = None
        self.boundaries = pictures.lines.boundaries
        super().show(pictures)

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
    def _overlay(self, overlay: str) -> Sequence[str]:
        if overlay == "ambiguity":
            return (AMBIGUITY_LAYER,)
        return [boundary_layer(style.name) for style in BOUNDARY_TABLE]
