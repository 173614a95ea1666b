"""Layers of maps of few values: phases, doubt, counts, verdicts, corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.maps.ambiguity import AMBIGUITY_TABLE, Ambiguity
from napari_diffmap.maps.counts import (
    CRYSTAL_COLORS,
    RESOLVED_COLOR,
    VERDICTS,
    crystal_count,
    judged,
    resolved,
)
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.edits.edited import EDITED_COLORS, EDITED_NAMES
from napari_diffmap.viewer.layer_stack import LayerStack

if TYPE_CHECKING:
    from napari_diffmap.maps import OrientationMap

AMBIGUITY_LAYER = "ambiguity"
RESOLVED_LAYER = "resolved by neighbours"
EDITED_LAYER = "corrected by hand"
#: What the templates say of a network's answers, at the positions that they looked at.
JUDGED_LAYER = "judged by templates"
#: Symbols are at least, and at most, so many screen pixels wide.
_JUDGED_LIMITS = (7, 26)


class SmallMapLayers(LayerStack):
    """A stack that knows how to draw what an orientation map holds in small numbers."""

    def _show_phases(self, found: OrientationMap) -> None:
        names = ["", *(phase.name for phase in found.phases)]
        colors = {i + 1: phase.color for i, phase in enumerate(found.phases)}
        self._labels(
            "phases",
            (found.best_phase_ids.astype(np.int32) + 1).astype(np.uint8),
            colors,
            {"index": list(range(len(names))), "phase": names},
            visible=False,
            opacity=1.0,
        )

    def _show_ambiguity(self, found: OrientationMap) -> None:
        shown = [c for c in AMBIGUITY_TABLE if c.code not in (Ambiguity.NONE, Ambiguity.NO_DATA)]
        labels = np.where(found.ambiguous, found.ambiguity, 0).astype(np.uint8)
        self._labels(
            AMBIGUITY_LAYER,
            labels,
            {int(cause.code): cause.color for cause in shown},
            {
                "index": [0, *(int(cause.code) for cause in shown)],
                "cause": ["", *(cause.name for cause in shown)],
            },
            visible=False,
            opacity=0.75,
        )

    def _show_crystals(self, found: OrientationMap) -> None:
        count = crystal_count(found)
        assert count is not None
        most = max(CRYSTAL_COLORS)
        self._labels(
            "crystals",
            np.minimum(count, most).astype(np.uint8),
            CRYSTAL_COLORS,
            {"index": list(range(most + 1)), "crystals": ["", *map(str, CRYSTAL_COLORS)]},
            visible=False,
            opacity=1.0,
        )

    def _show_resolved(self, found: OrientationMap) -> None:
        flags = resolved(found)
        assert flags is not None
        self._labels(
            RESOLVED_LAYER,
            flags.astype(np.uint8),
            {1: RESOLVED_COLOR},
            {"index": [0, 1], "answer": ["", "chosen by the neighbourhood"]},
            visible=False,
            opacity=0.75,
        )

    def _show_judged(self, found: OrientationMap) -> None:
        codes = judged(found)
        assert codes is not None
        known = {verdict.code: verdict for verdict in VERDICTS}
        places = np.argwhere(np.isin(codes, list(known)))
        told = [known[int(codes[y, x])] for y, x in places]
        # A third of the distance between neighbours that were judged.
        size = max(0.33 * float(np.sqrt(codes.size / max(len(places), 1))), 0.6)
        self._points(
            JUDGED_LAYER,
            places.astype(np.float32),
            [verdict.symbol for verdict in told],
            [verdict.color for verdict in told],
            {"answer": [verdict.name for verdict in told]},
            size,
            visible=False,
            canvas_size_limits=_JUDGED_LIMITS,
        )

    def _show_edited(self, found: OrientationMap) -> None:
        self._labels(
            EDITED_LAYER,
            found.extra[EDITED].copy(),
            EDITED_COLORS,
            {"index": list(EDITED_NAMES), "correction": list(EDITED_NAMES.values())},
            visible=False,
            opacity=0.75,
        )
