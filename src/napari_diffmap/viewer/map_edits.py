"""Edits of the map in its layers: only the pixels that changed are drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.maps.colors import ipf_colors
from napari_diffmap.maps.edits.edit import EDITED, MAP, part_of
from napari_diffmap.viewer.map_layers import AMBIGUITY_LAYER, EDITED_LAYER, MapLayers
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.maps.edits.corrections import Change


class MapEdits:
    """Keeps the layers of the map in step with its corrections.

    Parameters
    ----------
    session, maps
        What is corrected, and where it is shown.
    """

    def __init__(self, session: Session, maps: MapLayers) -> None:
        self.session = session
        self.maps = maps
        session.edited.connect(self._on_edited)

    def _on_edited(self, change: Change) -> None:
        found = self.session.map
        if change.target != MAP or found is None or self.maps.shows_answer:
            return
        part = part_of(found, change.pixels)
        y, x = np.divmod(change.pixels, found.shape[1])
        score = np.where(part.indexed, part.best_scores, np.nan)[0]
        new = {
            "IPF-X": lambda: ipf_colors(part, "x")[0],
            "IPF-Y": lambda: ipf_colors(part, "y")[0],
            "IPF-Z": lambda: ipf_colors(part, "z")[0],
            "phases": lambda: part.best_phase_ids[0] + 1,
            "score": lambda: score,
            "reliability": lambda: part.reliability[0],
            AMBIGUITY_LAYER: lambda: np.where(part.ambiguous, part.ambiguity, 0)[0],
            EDITED_LAYER: lambda: part.extra[EDITED][0],
        }
        for name, values in new.items():
            self.maps.put(name, (y, x), values())
        self.maps.draw_lines()
