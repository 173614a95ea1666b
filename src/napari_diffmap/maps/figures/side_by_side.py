"""Two maps of one scan beside each other, and where they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.maps.colors import Direction, ipf_colors, rgba
from napari_diffmap.maps.comparison import KINDS, Comparison, compare
from napari_diffmap.maps.figures.legends import GREY, SMALL_KEY, by_key, key_block, percent
from napari_diffmap.maps.figures.sheet import Part, on_grey, save_sheet
from napari_diffmap.maps.figures.sheet_parts import Sample, legend

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap

#: Share of a map's width between two.
_GAP = 0.06
_DIFFER = "where they differ"


def save_side_by_side_png(
    first: OrientationMap,
    second: OrientationMap,
    path: str | Path,
    names: tuple[str, str],
    *,
    comparison: Comparison | None = None,
    direction: Direction = "z",
    caption: str = "",
) -> Path:
    """IPF colours of two maps of the same positions, and where their answers differ.

    Parameters
    ----------
    first, second
        The maps.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    names
        What each map is.
    comparison
        Of the two, where it is made already.
    direction
        Laboratory direction ``"x"``, ``"y"`` or ``"z"`` (beam).
    caption
        Lines under the picture, wrapped to its width.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If the maps do not fit each other, the name is wrong or it cannot be written.
    """
    told = comparison or compare(first, second)
    table = np.array([rgba(GREY)[:3], *(rgba(kind.color)[:3] for kind in KINDS)], dtype=np.uint8)
    pictures = [
        on_grey(ipf_colors(first, direction)),
        on_grey(ipf_colors(second, direction)),
        table[told.codes],
    ]
    rows, columns = first.shape
    gap = max(1, round(_GAP * columns))
    image = np.full((rows, 3 * columns + 2 * gap, 3), 255, dtype=np.uint8)
    parts = []
    for i, (name, picture) in enumerate(zip((*names, _DIFFER), pictures, strict=True)):
        parts.append(Part(name, i * (columns + gap), columns))
        image[:, parts[-1].first : parts[-1].first + columns] = picture
    total = max(1, int(np.count_nonzero(told.codes)))
    samples = [
        Sample(kind.color, kind.name, percent(told.codes == kind.code, total)) for kind in KINDS
    ]
    used = [p for found in (first, second) for i, p in enumerate(found.phases)
            if found.phase_mask(i).any()]  # fmt: skip
    blocks = [legend("Answers", samples)]
    once = list({phase.name: phase for phase in used}.values())
    blocks += [key_block(name, phase, SMALL_KEY) for name, phase in by_key(once).items()]
    return save_sheet(
        image,
        path,
        step=first.step,
        unit=first.step_unit,
        title=f"IPF-{direction.upper()} of two maps, and where they differ",
        blocks=blocks,
        provenance=second.provenance,
        caption=caption,
        parts=parts,
    )
