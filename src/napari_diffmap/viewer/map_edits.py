"""Edits of the map in its layers: only the pixels that changed are drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.maps.edits.edit import MAP, part_of
from napari_diffmap.viewer.map_stack import MapStack
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.shown_map import ShownMap

if TYPE_CHECKING:
    from napari_diffmap.maps.edits.corrections import Change


class MapEdits:
    """Keeps the layers of the map in step with its corrections.

    Parameters
    ----------
    session, maps
        What is corrected, and where it is shown.
    """

    def __init__(self, session: Session, maps: MapStack | ShownMap) -> None:
        self.session = session
        self.maps = maps
        session.edited.connect(self._on_edited)

    def _on_edited(self, change: Change) -> None:
        found = self.session.map
        if change.target != MAP or found is None or self.maps.shows_answer:
            return
        part = part_of(found, change.pixels)
        y, x = np.divmod(change.pixels, found.shape[1])
        for name, values in self.maps.drawn(part).items():
            self.maps.put(name, (y, x), values())
        self.maps.redraw()
