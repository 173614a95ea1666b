"""Layers of maps of few values: phases, doubt, counts, verdicts, corrections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
    from napari_diffmap.maps import OrientationMap, PhaseMap

AMBIGUITY_LAYER = "ambiguity"
RESOLVED_LAYER = "resolved by neighbours"
EDITED_LAYER = "corrected by hand"
#: What the templates say of a network's answers, at the positions that they looked at.
JUDGED_LAYER = "judged by templates"
#: Symbols are at least, and at most, so many screen pixels wide.
_JUDGED_LIMITS = (7, 26)


def small_values(
    part: PhaseMap, doubt: str = AMBIGUITY_LAYER
) -> dict[str, Callable[[], NDArray[Any]]]:
    """What the layers that every kind of map has hold of a map of one row, by name.

    Parameters
    ----------
    part
        The map, ``(1, n)``.
    doubt
        Name of the layer of causes.
    """
    return {
        "phases": lambda: part.best_phase_ids[0] + 1,
        "score": lambda: np.where(part.indexed, part.best_scores, np.nan)[0],
        "reliability": lambda: part.reliability[0],
        doubt: lambda: np.where(part.ambiguous, part.ambiguity, 0)[0],
        EDITED_LAYER: lambda: part.extra[EDITED][0],
    }


class SmallMapLayers(LayerStack):
    """A stack that knows how to draw what a map holds in small numbers."""

    def _show_phases(self, found: PhaseMap, *, visible: bool = False) -> None:
        names = ["", *(phase.name for phase in found.phases)]
        colors = {i + 1: phase.color for i, phase in enumerate(found.phases)}
        self._labels(
            "phases",
            (found.best_phase_ids.astype(np.int32) + 1).astype(np.uint8),
            colors,
            {"index": list(range(len(names))), "phase": names},
            visible=visible,
            opacity=1.0,
        )

    def _show_ambiguity(self, found: PhaseMap, name: str = AMBIGUITY_LAYER) -> None:
        shown = found.doubts
        labels = np.where(found.ambiguous, found.ambiguity, 0).astype(np.uint8)
        self._labels(
            name,
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

    def _show_edited(self, found: PhaseMap) -> None:
        self._labels(
            EDITED_LAYER,
            found.extra[EDITED].copy(),
            EDITED_COLORS,
            {"index": list(EDITED_NAMES), "correction": list(EDITED_NAMES.values())},
            visible=False,
            opacity=0.75,
        )
