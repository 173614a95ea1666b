"""Label maps that every map holds: phases, grains, causes of doubt, corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.errors import PhaseError
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.edits.edited import EDITED_COLORS, EDITED_NAMES
from napari_diffmap.maps.grains.find import find_grains
from napari_diffmap.maps.labels.named import NamedLabels
from napari_diffmap.maps.orientation_map import OrientationMap

if TYPE_CHECKING:
    from napari_diffmap.maps.boundaries.find import Boundaries
    from napari_diffmap.maps.phase_map import PhaseMap


def label_layers(
    found: PhaseMap, *, boundaries: Boundaries | None = None
) -> dict[str, NamedLabels]:
    """Label maps by name, ready to be saved.

    ``phases`` (number in the list of phases from 1, 0 without an answer), ``grains`` (5°, from
    1; of orientation maps), ``ambiguity`` (codes of the map's causes; ``doubt`` of a map without
    orientations) and, of a corrected map, ``edited`` (codes of `EditKind`).

    Parameters
    ----------
    found
        The map.
    boundaries
        Of this map, to find grains faster.
    """
    place = found.step, found.step_unit
    phases = NamedLabels(
        (found.best_phase_ids + 1).astype(np.uint16),
        {i + 1: phase.name for i, phase in enumerate(found.phases)},
        {i + 1: phase.color for i, phase in enumerate(found.phases)},
        *place,
    )
    made = {"phases": phases}
    if isinstance(found, OrientationMap) and found.indexed.any():
        try:
            grains = find_grains(found, boundaries=boundaries)
        except PhaseError:  # no symmetry, no grains
            pass
        else:
            made["grains"] = NamedLabels(grains.labels, {}, {}, *place)
    doubt = "ambiguity" if found.has_orientations else "doubt"
    made[doubt] = NamedLabels(found.ambiguity, found.cause_names, found.cause_colors, *place)
    if EDITED in found.extra:
        codes = np.nan_to_num(found.extra[EDITED]).astype(np.uint8)
        names = {int(code): name or "untouched" for code, name in EDITED_NAMES.items()}
        colors = {int(code): color for code, color in EDITED_COLORS.items()}
        made[EDITED] = NamedLabels(codes, names, colors, *place)
    return made
