"""Another map of the scan with the session's, with what differs.

It lies below the first: in the standard arrangement the picture of the sample is taller than wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.colors import ipf_colors
from napari_diffmap.maps.comparison import KINDS, Comparison, compare
from napari_diffmap.maps.orientation_map import oriented
from napari_diffmap.viewer.layer_stack import LayerStack
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffmap.maps import OrientationMap

#: Layers from bottom to top.
PICTURE, DIFFERS, TITLE = ORDER = ("IPF-Z beside", "differs", "title beside")
#: Distance between the maps in heights of one: a line of words fits.
_GAP = 0.14


class BesideLayers(LayerStack):
    """IPF colours of a second map below the first, and what differs on top of them."""

    def __init__(self, session: Session, viewer: ViewerModel) -> None:
        super().__init__(session, viewer, ORDER)
        session.map_changed.connect(self._forget)
        session.scan_changed.connect(self._forget)

    def show(self, found: OrientationMap, name: str) -> Comparison:
        """Show a map with the session's.

        Parameters
        ----------
        found
            Of the same positions.
        name
            Is written above it.

        Raises
        ------
        BadInputError
            If there is no map of orientations, or it is one of other positions.
        """
        own = self.session.map
        if own is None:
            raise BadInputError("there is no map to show another one beside: map the scan first")
        told = compare(oriented(own), found)
        self._image(PICTURE, ipf_colors(found), rgb=True)
        shown = [kind for kind in KINDS if kind.key != "agree"]
        self._labels(
            DIFFERS,
            np.where(told.codes > 1, told.codes, 0).astype(np.uint8),
            {kind.code: kind.color for kind in shown},
            {"index": [0, *(k.code for k in shown)], "answers": ["", *(k.name for k in shown)]},
            visible=False,
            opacity=0.75,
        )
        self._write(f"{name}: {100 * (told.record['agree'] or 0):.0f} % agree")
        viewer = self._viewer()
        if viewer is not None:
            viewer.reset_view()
        return told

    def _write(self, words: str) -> None:
        viewer = self._viewer()
        assert viewer is not None
        before = self.layer(TITLE)
        if before is not None:
            self._remove(before)
        active = viewer.layers.selection.active
        rows, columns = self._shape
        layer = viewer.add_points(
            np.array([[-_GAP / 2 * rows - 0.5, columns / 2 - 0.5]], dtype=np.float32),
            size=0.01,
            features={"words": [words]},
            text={"string": "{words}", "anchor": "center", "color": "white", "size": 11},
            **self._common(TITLE),
        )
        self._settle(TITLE, layer, active)

    @property
    def _shape(self) -> tuple[int, int]:
        rows, columns = self.session.grid
        return rows, columns

    def _place(self) -> dict[str, Any]:
        """Below the scan."""
        place = super()._place()
        if not place:
            return {}
        down, right = place["translate"]
        step = place["scale"][0]
        return {**place, "translate": (down + step * self._shape[0] * (1 + _GAP), right)}

    def _forget(self, _changed: object = None) -> None:
        for layer in list(self._layers.values()):
            self._remove(layer)
