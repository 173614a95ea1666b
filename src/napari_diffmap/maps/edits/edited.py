"""How pixels were corrected by hand: names and colours of the codes in the `EDITED` map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.maps.edits.edit import EDITED, EditKind

if TYPE_CHECKING:
    from napari_diffmap.maps.phase_map import PhaseMap

#: Code → name, as a legend says it.
EDITED_NAMES: dict[int, str] = {
    EditKind.NONE: "",
    EditKind.ACCEPTED: "answer accepted",
    EditKind.PHASE: "phase set",
    EditKind.TURNED: "turned",
    EditKind.REFINED: "refined again",
    EditKind.INVALID: "invalid",
    EditKind.UNKNOWN: "unknown",
    EditKind.PAINTED: "painted",
    EditKind.ADDED: "added",
    EditKind.MOVED: "moved",
}
#: Code → Okabe–Ito colour.
EDITED_COLORS: dict[int, str] = {
    EditKind.ACCEPTED: "#009E73",
    EditKind.PHASE: "#56B4E9",
    EditKind.TURNED: "#E69F00",
    EditKind.REFINED: "#0072B2",
    EditKind.INVALID: "#D55E00",
    EditKind.UNKNOWN: "#F0E442",
    EditKind.PAINTED: "#CC79A7",
    EditKind.ADDED: "#000000",
    EditKind.MOVED: "#FFFFFF",
}


def edited_counts(found: PhaseMap) -> dict[str, int]:
    """Pixels by how they were corrected; kinds without a pixel are left out."""
    codes = found.extra.get(EDITED)
    if codes is None:
        return {}
    counts = np.bincount(np.asarray(codes, dtype=np.int64).ravel(), minlength=len(EDITED_NAMES))
    return {EDITED_NAMES[int(k)]: int(counts[k]) for k in EditKind if k and counts[k]}
