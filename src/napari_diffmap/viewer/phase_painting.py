"""Painting phases with napari's own tools: what is painted becomes a correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_diffmap.maps.edits.edit import flat_pixels
from napari_diffmap.viewer.correcting import Correcting
from napari_diffmap.viewer.map_stack import MapStack
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.shown_map import ShownMap

if TYPE_CHECKING:
    from napari.layers import Labels

LAYER = "phases"


class PhasePainting:
    """Makes the phases of a map a layer to paint on.

    Parameters
    ----------
    session, maps, correcting
        What is painted, its layers, and who carries corrections out.

    Signals
    -------
    changed(on)
        Painting began or ended.
    """

    changed = Signal(bool)

    def __init__(self, session: Session, maps: MapStack | ShownMap, correcting: Correcting) -> None:
        self.session = session
        self.maps = maps
        self.correcting = correcting
        self.on = False
        self._layer: Labels | None = None
        correcting.changed.connect(self._sync)
        session.map_changed.connect(self._on_map)

    def _on_map(self, *_: object) -> None:
        self.set(False)

    def set(self, on: bool) -> None:
        """Begin or end painting."""
        if on == self.on or (on and self.session.map is None):
            return
        if on:
            self.maps.show_base("phases")
        layer: Any = self.maps.layer(LAYER)
        if layer is None:
            self.on = False
        else:
            layer.editable = on
            if on:
                if layer != self._layer:
                    layer.events.paint.connect(self._on_paint)
                    layer.bind_key("Control-Z", self._undo, overwrite=True)
                    layer.bind_key("Control-Shift-Z", self._redo, overwrite=True)
                self._layer = layer
                layer.selected_label = self._phase_here() + 1
                layer.brush_size = 3
                layer.mode = "paint"
            else:
                layer.mode = "pan_zoom"
            self.on = on
        self.changed.emit(self.on)

    def choose(self, phase: int) -> None:
        """Paint a phase by its number; -1 takes answers away."""
        if self._layer is not None:
            self._layer.selected_label = phase + 1

    @property
    def phase(self) -> int:
        """Number of the phase that is painted; -1 takes answers away."""
        return -1 if self._layer is None else int(self._layer.selected_label) - 1

    def _phase_here(self) -> int:
        found = self.session.map
        assert found is not None
        return max(int(found.best_phase_ids[self.session.position]), 0)

    def _undo(self, _layer: object) -> None:
        """Take the last correction back"""
        self.correcting.undo()

    def _redo(self, _layer: object) -> None:
        """Make the last correction again"""
        self.correcting.redo()

    def _on_paint(self, *_: object) -> None:
        found, layer = self.session.map, self._layer
        if found is None or layer is None or not self.on:
            return
        painted = np.asarray(layer.data)
        other = painted != found.best_phase_ids + 1
        beyond = other & (painted > len(found.phases))
        if beyond.any():
            self.session.message.emit(
                f"the map has {len(found.phases)} phases: paint with a label from 0 to"
                f" {len(found.phases)}"
            )
            other &= ~beyond
        for number in np.unique(painted[other]):
            self.correcting.paint(flat_pixels(other & (painted == number)), int(number) - 1)
        if beyond.any():
            self._sync()

    def _sync(self) -> None:
        """Show what the phases are, where a stroke was not taken as it was painted."""
        found, layer = self.session.map, self._layer
        if found is None or layer is None or not self.on or self.correcting.busy:
            return
        wanted = (found.best_phase_ids + 1).astype(layer.data.dtype)
        if not np.array_equal(wanted, layer.data):
            np.copyto(layer.data, wanted)
            layer.refresh(extent=False)
