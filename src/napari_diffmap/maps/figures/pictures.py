"""Pictures of maps with colour key or legend, scale bar, caption and provenance.

The ending of the name chooses: ``.png``, or ``.svg`` and ``.pdf`` with words and lines as vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import NO_DATA
from napari_diffmap.maps.boundaries.find import BOUNDARY_TABLE, Boundaries, find_boundaries
from napari_diffmap.maps.colors import Direction, ipf_colors, phase_colors, rgba
from napari_diffmap.maps.counts import CRYSTAL_COLORS, crystal_count
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.maps.edits.edited import EDITED_COLORS, EDITED_NAMES
from napari_diffmap.maps.figures.boundary_overlay import BoundaryOverlay
from napari_diffmap.maps.figures.legends import (
    GREY,
    KEY,
    SMALL_KEY,
    by_key,
    key_block,
    length_text,
    percent,
    trust,
)
from napari_diffmap.maps.figures.sheet import Overlay, on_grey, save_sheet
from napari_diffmap.maps.figures.sheet_parts import Block, Sample, color_bar, legend
from napari_diffmap.maps.files.save_tiff import scalar_maps

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap
    from napari_diffmap.maps.phase_map import PhaseMap

_DIRECTION_WORDS: dict[Direction, str] = {
    "x": "x (right)",
    "y": "y (down)",
    "z": "the beam (z)",
}
#: Greys (0–255) of the background under boundary lines: light, so that black shows.
_BACKGROUND = (125.0, 250.0)
#: Of pixels that nobody corrected.
_UNTOUCHED = "#BBBBBB"


def save_ipf_png(
    found: OrientationMap, path: str | Path, direction: Direction = "z", *, caption: str = ""
) -> Path:
    """IPF colours of the first answers with the key of every phase.

    Parameters
    ----------
    found
        The map.
    path
        ``.png``, ``.svg`` or ``.pdf``.
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
        If the name or direction is wrong or it cannot be written.
    """
    image = on_grey(ipf_colors(found, direction))
    present = [p for i, p in enumerate(found.phases) if found.phase_mask(i).any()]
    keys = by_key(present)
    size = KEY if len(keys) == 1 else SMALL_KEY
    blocks = [key_block(name, phase, size) for name, phase in keys.items()]
    title = f"IPF-{direction.upper()}: crystal direction along {_DIRECTION_WORDS[direction]}"
    return _save(found, image, path, title, [*blocks, *trust(found)], caption)


def save_phase_png(found: PhaseMap, path: str | Path, *, caption: str = "") -> Path:
    """Phases of the first answers with their shares of the answered positions."""
    total = max(1, int(np.count_nonzero(found.indexed)))
    samples = [
        Sample(phase.color, phase.name, percent(found.phase_mask(i), total))
        for i, phase in enumerate(found.phases)
    ]
    blocks = [legend("Phase", samples), *trust(found)]
    return _save(found, on_grey(phase_colors(found)), path, "Phases", blocks, caption)


def save_boundaries_png(
    found: OrientationMap,
    path: str | Path,
    boundaries: Boundaries | None = None,
    *,
    background: NDArray[Any] | None = None,
    caption: str = "",
) -> Path:
    """Boundaries by class over a grey image, with their lengths.

    Parameters
    ----------
    found
        The map.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    boundaries
        Found with the usual thresholds without it.
    background
        ``(Y, X)`` grey image, e.g. a virtual image; the score without it.
    caption
        Lines under the picture, wrapped to its width.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If the background does not fit, the name is wrong or it cannot be written.
    """
    edges = boundaries or find_boundaries(found)
    grey = found.best_scores if background is None else np.asarray(background)
    if grey.shape != found.shape or edges.shape != found.shape:
        raise BadInputError(
            f"a background of shape {grey.shape} and boundaries of shape {edges.shape} do not both"
            f" fit a map of {found.shape}"
        )
    lengths = edges.lengths(found.step)
    samples = [
        Sample(
            style.color, style.name, length_text(lengths[style.code], found.step_unit), style.line
        )
        for style in BOUNDARY_TABLE
    ]
    notes = legend(f"Boundaries ({edges.low:g}°, {edges.high:g}°)", samples)
    title = "Grain and phase boundaries"
    over = BoundaryOverlay(edges)
    return _save(found, _light_grey(grey), path, title, [notes], caption, over)


def save_ambiguity_png(found: PhaseMap, path: str | Path, *, caption: str = "") -> Path:
    """Doubt by cause with the share of each among the positions with data."""
    table = np.array([rgba(cause.color)[:3] for cause in found.causes], dtype=np.uint8)
    data = max(1, int(np.count_nonzero(found.ambiguity != NO_DATA)))
    samples = [
        Sample(cause.color, cause.name, percent(found.ambiguity == cause.code, data))
        for cause in found.causes
        if cause.code != NO_DATA
    ]
    gaps, whose = found.ambiguity == NO_DATA, "the positions"
    if gaps.any():
        share = percent(gaps, gaps.size)
        samples.append(Sample(found.cause_colors[NO_DATA], "no data or not mapped", share))
        whose = f"{data} mapped positions"
    title = f"Doubt by cause: {percent(found.ambiguous, data)} of {whose}"
    return _save(found, table[found.ambiguity], path, title, [legend("Cause", samples)], caption)


def save_crystals_png(found: OrientationMap, path: str | Path, *, caption: str = "") -> Path:
    """Crystals per pattern, with the share of each count among the answered positions.

    Raises
    ------
    BadInputError, ResourceError
        If nobody counted, the name is wrong or it cannot be written.
    """
    count = crystal_count(found)
    if count is None:
        raise BadInputError("this map does not say how many crystals a pattern shows")
    total = max(1, int(np.count_nonzero(count)))
    table = np.array([rgba(GREY)[:3], *(rgba(c)[:3] for c in CRYSTAL_COLORS.values())])
    most = len(table) - 1
    shown = np.minimum(count, most)
    samples = [
        Sample(color, f"{n}" if n < most else f"{n} or more", percent(shown == n, total))
        for n, color in CRYSTAL_COLORS.items()
        if n <= max(2, int(shown.max()))
    ]
    if (count == 0).any():
        samples.append(Sample(GREY, "no answer", percent(count == 0, count.size)))
    image = table.astype(np.uint8)[shown]
    return _save(
        found, image, path, "Crystals in a pattern", [legend("Crystals", samples)], caption
    )


def save_edited_png(found: PhaseMap, path: str | Path, *, caption: str = "") -> Path:
    """Where answers were corrected and how, with the share of each kind among all positions.

    Raises
    ------
    BadInputError, ResourceError
        If nobody corrected the map, the name is wrong or it cannot be written.
    """
    codes = found.extra.get(EDITED)
    if codes is None:
        raise BadInputError("this map was not corrected: there is nothing to draw")
    shown = np.clip(np.nan_to_num(codes), 0, max(EDITED_NAMES)).astype(np.uint8)
    colors = {0: _UNTOUCHED, **EDITED_COLORS}
    table = np.array([rgba(colors[code])[:3] for code in sorted(colors)], dtype=np.uint8)
    samples = [
        Sample(
            color, EDITED_NAMES[code] if code else "untouched", percent(shown == code, shown.size)
        )
        for code, color in colors.items()
        # Nobody adds or moves the positions of a scan.
        if code not in (EditKind.ADDED, EditKind.MOVED) or (shown == code).any()
    ]
    title = f"Corrected: {percent(shown > 0, shown.size)} of the positions"
    return _save(found, table[shown], path, title, [legend("Correction", samples)], caption)


def save_scalar_png(
    found: PhaseMap,
    path: str | Path,
    name: str = "score",
    *,
    values: NDArray[Any] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
    caption: str = "",
) -> Path:
    """One scalar map with a colour bar.

    Parameters
    ----------
    found
        The map.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    name
        ``score``, ``reliability`` or the name of an extra map; any name with `values`.
    values
        ``(Y, X)``; NaN is shown grey.
    limits
        Ends of the colour bar; 0 and 1 for the reliability, else the 0.5th and
        99.5th percentile.
    cmap
        A matplotlib colour map.
    caption
        Lines under the picture, wrapped to its width.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If there is no such map, the name is wrong or it cannot be written.
    """
    if values is None:
        maps = scalar_maps(found)
        if name not in maps:
            raise BadInputError(f"there is no map {name!r}: choose one of {', '.join(maps)}")
        values = maps[name]
    array = np.asarray(values, dtype=np.float64)
    if array.shape != found.shape:
        raise BadInputError(f"a map of shape {array.shape} does not fit one of {found.shape}")
    from matplotlib import colormaps

    low, high = limits or ((0.0, 1.0) if name == "reliability" else _limits(array))
    share = (array - low) / (high - low)
    image = colormaps[cmap](np.nan_to_num(share), bytes=True)
    image[~np.isfinite(array), 3] = 0
    blocks = [color_bar(name, low, high, cmap)]
    if not np.isfinite(array).all():
        blocks.append(legend("", [Sample(GREY, "no value")]))
    return _save(found, on_grey(image), path, name[:1].upper() + name[1:], blocks, caption)


def _save(
    found: PhaseMap,
    image: NDArray[np.uint8],
    path: str | Path,
    title: str,
    blocks: list[Block],
    caption: str = "",
    overlay: Overlay | None = None,
) -> Path:
    return save_sheet(
        image,
        path,
        step=found.step,
        unit=found.step_unit,
        title=title,
        blocks=blocks,
        provenance=found.provenance,
        caption=caption,
        overlay=overlay,
    )


def _limits(array: NDArray[np.float64]) -> tuple[float, float]:
    finite = array[np.isfinite(array)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, (0.5, 99.5)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _light_grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """A grey image as light RGB; white where there is no value."""
    array = np.asarray(values, dtype=np.float64)
    low, high = _limits(array)
    share = np.clip((array - low) / (high - low), 0, 1)
    grey = _BACKGROUND[0] + np.nan_to_num(share, nan=1.0) * (_BACKGROUND[1] - _BACKGROUND[0])
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
