"""Defects as napari layers: finds, tracks, sites of the lattice, probability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_looks import FOUND_COLOR, edges, faces, rgba, symbols
from napari_diffmap.viewer.layer_stack import LayerStack
from napari_diffmap.viewer.sample_layers import METADATA_KEY
from napari_diffmap.viewer.views import geometry, picture_grid, show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffmap.maps import DefectMap
    from napari_diffmap.methods.defects.finds import Finds

PROBABILITY_LAYER, LATTICE_LAYER = "Probability", "Lattice"
TRACKS_LAYER, FINDS_LAYER, CHOSEN_LAYER = "Tracks", "Defects", "selected defect"
_ORDER = (PROBABILITY_LAYER, LATTICE_LAYER, TRACKS_LAYER, FINDS_LAYER, CHOSEN_LAYER)
#: A mark is so many lattice constants wide; where there is no lattice, so many pixels.
_WIDE, _PIXELS = 1.0, 12.0
#: Marks are at least, and at most, so many screen pixels wide.
_LIMITS = (7, 60)
#: Of the sublattices: the brighter, the weaker.
_SITES = (("cross", "#56B4E9"), ("x", "#F0E442"))
_CHOSEN_COLOR = "#FFFFFF"


class DefectLayers(LayerStack):
    """The layers of the defects in the main viewer.

    Parameters
    ----------
    defects
        What is shown.
    viewer
        The main viewer.
    """

    def __init__(self, defects: Defects, viewer: ViewerModel) -> None:
        super().__init__(defects.session, viewer, _ORDER)
        self.defects = defects
        #: Slots of the marks, in the order of the layer.
        self.slots: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.sites_shown = False
        self._axes = 2
        defects.run_changed.connect(self._on_run)
        defects.followed.connect(self._on_followed)
        defects.found.connect(self.show_found)
        defects.edited.connect(self._on_edited)
        defects.selected.connect(self._on_selected)
        defects.session.plane_changed.connect(self._on_frame)
        defects.session.scan_changed.connect(self.clear)

    # ------------------------------------------------------------- lifetime
    def clear(self, *_: object) -> None:
        """Take all of them out."""
        layers = list(self._layers.values())
        self._layers.clear()
        self.slots = np.zeros(0, dtype=np.int64)
        for layer in layers:
            self._remove(layer)

    def _place(self) -> dict[str, Any]:
        scan = self.session.scan
        return {} if scan is None else geometry(picture_grid(scan)[-self._axes :])

    @property
    def _movie(self) -> bool:
        scan = self.session.scan
        return scan is not None and scan.kind == "image series"

    def _on_run(self, run: object) -> None:
        if run is None or self._viewer() is None:
            self.clear()
            return
        found = self.defects.map
        assert found is not None
        self._show_finds(found)
        self._show_tracks(found)
        self._on_frame()

    def _on_followed(self) -> None:
        found = self.defects.map
        if found is not None and self._viewer() is not None:
            self._show_finds(found)
            self._show_tracks(found)

    # ----------------------------------------------------------------- finds
    @property
    def size(self) -> float:
        """Width of a mark, pixels of the image."""
        run = self.defects.run
        lattices = [] if run is None else [one for one in run.lattices.values() if one is not None]
        if not lattices:
            return _PIXELS
        return float(_WIDE * np.median([lattice.spacing for lattice in lattices]))

    def show_found(self, finds: Finds) -> None:
        """Mark what was found so far: white rings, since it has no class yet."""
        if self._viewer() is None or self.session.scan is None:
            return
        places = np.column_stack((finds.frame, finds.places)).astype(np.float32)
        n = len(places)
        self.slots = np.full(n, -1, dtype=np.int64)
        told = {
            "class": np.array(["not sorted yet"] * n, dtype=object),
            "probability": np.round(finds.probability.astype(float), 3),
        }
        rim = np.tile(np.array(rgba(FOUND_COLOR)), (n, 1))
        inside = rim * (1, 1, 1, 0)
        self._marks(places, ["disc"] * n, inside, rim, told)
        for name in (TRACKS_LAYER, CHOSEN_LAYER):
            layer = self._layers.get(name)
            if layer is not None:
                show_layer(layer, False)

    def _show_finds(self, found: DefectMap) -> None:
        # What was taken away is hidden and not taken out: it may come back.
        slots = np.union1d(self.slots[self.slots >= 0], found.filled)
        shown = found.indexed[0, slots]
        layer = self._layers.get(FINDS_LAYER)
        if layer is None or not np.array_equal(slots, self.slots):
            slots, shown = found.filled, np.ones(len(found.filled), dtype=bool)
        self.slots = slots
        names = np.array([*(one.name for one in found.phases), ""], dtype=object)
        causes = found.cause_names
        told = {
            "class": names[found.best_phase_ids[0, slots]],
            "probability": np.round(found.reliability[0, slots].astype(float), 3),
            "doubt": np.array([causes[int(c)] for c in found.ambiguity[0, slots]], dtype=object),
            "track": found.tracks[slots],
        }
        places = found.best_places[0, slots]
        if layer is not None and not shown.all():
            # What is hidden has no place; it stays where it was.
            places = np.where(shown[:, None], places, 0)
            places[~shown, -layer.ndim :] = layer.data[~shown]
        self._marks(
            places, symbols(found, slots), faces(found, slots), edges(found, slots), told, shown
        )

    def _marks(
        self,
        places: NDArray[np.float32],
        shapes: list[str],
        inside: NDArray[np.float64],
        rim: NDArray[np.float64],
        told: dict[str, NDArray[Any]],
        shown: NDArray[np.bool_] | None = None,
    ) -> None:
        viewer = self._viewer()
        assert viewer is not None
        self._axes = 3 if self._movie else 2
        data = places[:, -self._axes :]
        shown = np.ones(len(data), dtype=bool) if shown is None else shown
        layer = self._layers.get(FINDS_LAYER)
        visible = layer is None or layer.visible
        if layer is not None and (layer.ndim != self._axes or len(layer.data) != len(data)):
            # napari keeps the symbols of the first marks when their number changes.
            self._layers.pop(FINDS_LAYER)
            self._remove(layer)
            layer = None
        if layer is None:
            active = viewer.layers.selection.active
            layer = viewer.add_points(
                data,
                ndim=self._axes,
                symbol=shapes or "disc",
                face_color=inside if len(inside) else "white",
                border_color=rim if len(rim) else "white",
                border_width=0.12,
                size=self.size,
                features=told,
                shown=shown,
                canvas_size_limits=_LIMITS,
                visible=visible,
                **self._common(FINDS_LAYER),
            )
            self._settle(FINDS_LAYER, layer, active)
            return
        if not np.array_equal(layer.data, data):
            layer.data = data
        layer.features = told
        if len(data):
            if [str(symbol) for symbol in layer.symbol] != shapes:
                layer.symbol = shapes
            if not np.array_equal(layer.face_color, inside.astype(np.float32)):
                layer.face_color = inside
            if not np.array_equal(layer.border_color, rim.astype(np.float32)):
                layer.border_color = rim
            if not np.array_equal(layer.shown, shown):
                layer.shown = shown
            if (layer.size != self.size).any():
                layer.size = self.size

    def redraw(self) -> None:
        """Marks lie where their finds lie, whatever the mouse did with them."""
        self._on_edited(None)
        self._on_selected(self.defects.selection)

    def _on_edited(self, _change: object) -> None:
        found = self.defects.map
        if found is not None and self._viewer() is not None:
            self._show_finds(found)

    def drag(self, slot: int, y: float, x: float) -> None:
        """Let the mark of a find follow the mouse; only an edit moves the find itself."""
        layer = self._layers.get(FINDS_LAYER)
        at = np.flatnonzero(self.slots == slot)
        if layer is None or not len(at):
            return
        layer.data[at[0], -2:] = (y, x)
        layer.refresh(extent=False, thumbnail=False)
        self._ring(np.array([[*layer.data[at[0]]]]))

    # -------------------------------------------------------------- selected
    def _on_selected(self, slots: NDArray[np.int64]) -> None:
        found, layer = self.defects.map, self._layers.get(CHOSEN_LAYER)
        if self._viewer() is None:
            return
        # The cross of the position would hide what lies in the ring.
        self._show_position(not len(slots))
        if found is None or not len(slots):
            if layer is not None:
                show_layer(layer, False)
            return
        self._ring(found.best_places[0, slots, -(3 if self._movie else 2) :])

    def _show_position(self, on: bool) -> None:
        viewer = self._viewer()
        if viewer is None or not self.session.pictured:
            return
        for layer in viewer.layers:
            if layer.metadata.get(METADATA_KEY, {}).get("role") == "position":
                show_layer(layer, on)

    def _ring(self, places: NDArray[np.floating[Any]]) -> None:
        """Rings about some places ``(n, 2 or 3)``."""
        viewer = self._viewer()
        assert viewer is not None
        self._axes = 3 if self._movie else 2
        layer = self._layers.get(CHOSEN_LAYER)
        size = 1.7 * self.size
        if layer is None:
            active = viewer.layers.selection.active
            layer = viewer.add_points(
                places,
                symbol="disc",
                face_color="transparent",
                border_color=_CHOSEN_COLOR,
                border_width=0.08,
                size=size,
                canvas_size_limits=(14, 90),
                **self._common(CHOSEN_LAYER),
            )
            self._settle(CHOSEN_LAYER, layer, active)
            return
        # napari does not look again which points of an unseen layer lie in the frame.
        show_layer(layer, True)
        layer.data = places
        layer.size = size
        layer.face_color, layer.border_color = "transparent", _CHOSEN_COLOR

    # ---------------------------------------------------------------- tracks
    def _show_tracks(self, found: DefectMap) -> None:
        viewer = self._viewer()
        assert viewer is not None
        layer = self._layers.pop(TRACKS_LAYER, None)
        visible = layer is None or layer.visible
        if layer is not None:
            self._remove(layer)
        if not self._movie:
            return
        rows, features = track_rows(found)
        if not len(rows):
            return
        from napari.utils import Colormap

        self._axes = 3
        colors = np.array([rgba(one.color) for one in found.phases])
        table = Colormap(colors, interpolation="zero", controls=np.linspace(0, 1, len(colors) + 1))
        active = viewer.layers.selection.active
        layer = viewer.add_tracks(
            rows,
            features={"class": features},
            colormaps_dict={"class": table},
            color_by="class",
            tail_length=max(3, found.image_shape[0]),
            tail_width=2,
            visible=visible,
            **self._common(TRACKS_LAYER),
        )
        self._settle(TRACKS_LAYER, layer, active)

    # --------------------------------------------------------------- lattice
    def show_sites(self, on: bool) -> None:
        """Show the sites of the lattice in the frame that is looked at, or hide them."""
        self.sites_shown = on
        self._on_frame()

    def _on_frame(self, *_: object) -> None:
        viewer, scan = self._viewer(), self.session.scan
        layer: Layer | None = self._layers.get(LATTICE_LAYER)
        if viewer is None or scan is None or not self.session.pictured:
            return
        lattice = self.defects.lattice(self.defects.frame) if self.sites_shown else None
        if lattice is None:
            if layer is not None:
                show_layer(layer, False)
            return
        sites = lattice.sites()
        marks = [_SITES[int(k)] for k in sites.sublattice]
        self._axes = 2
        if layer is not None:
            # Their number differs from frame to frame, and napari keeps old symbols.
            self._layers.pop(LATTICE_LAYER)
            self._remove(layer)
        self._points(
            LATTICE_LAYER,
            np.asarray(sites.places, dtype=np.float32),
            [symbol for symbol, _ in marks],
            [color for _, color in marks],
            {"sublattice": np.asarray(sites.sublattice).tolist()},
            0.22 * self.size,
            opacity=0.8,
            canvas_size_limits=(3, 12),
        )

    # ----------------------------------------------------------- probability
    def show_probability(self, image: NDArray[np.float32] | None) -> None:
        """Show the probability ``(Y, X)`` of a frame; None: hide it."""
        layer = self._layers.get(PROBABILITY_LAYER)
        if image is None:
            if layer is not None:
                show_layer(layer, False)
            return
        self._axes = 2
        active = self._viewer().layers.selection.active  # type: ignore[union-attr]
        self._image(
            PROBABILITY_LAYER,
            image,
            colormap="magma",
            blending="additive",
            opacity=0.7,
            contrast_limits=(0.0, 1.0),
        )
        show_layer(self._layers[PROBABILITY_LAYER], True)
        viewer = self._viewer()
        if viewer is not None and active is not None and active in viewer.layers:
            viewer.layers.selection.active = active


def track_rows(found: DefectMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tracks as napari wants them.

    Returns
    -------
    rows
        ``(n, 4)``: track, frame, y, x, by track and frame; of two finds of a track in one frame
        the first.
    share
        ``(n,)`` class of each row as its place in a table of colours, from 0 to 1.
    """
    track = found.tracks
    slots = np.flatnonzero((track >= 0) & found.indexed[0])
    rows = np.column_stack((track[slots], found.best_places[0, slots])).astype(np.float64)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows, slots = rows[order], slots[order]
    if len(rows):
        fresh = np.ones(len(rows), dtype=bool)
        fresh[1:] = (np.diff(rows[:, :2], axis=0) != 0).any(axis=1)
        rows, slots = rows[fresh], slots[fresh]
    share = (found.best_phase_ids[0, slots] + 0.5) / max(len(found.phases), 1)
    return rows, np.asarray(share, dtype=np.float64)
