"""Pictures of maps (PNG) with colour key or legend, scale bar and provenance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import AMBIGUITY_TABLE, Ambiguity
from napari_diffmap.maps.boundaries import BOUNDARY_TABLE, Boundaries, find_boundaries
from napari_diffmap.maps.colors import Direction, ipf_colors, phase_colors, rgba
from napari_diffmap.maps.counts import CRYSTAL_COLORS, crystal_count
from napari_diffmap.maps.save_tiff import scalar_maps
from napari_diffmap.maps.sheet import (
    Block,
    Pen,
    Sample,
    color_bar,
    enlarged,
    enlargement,
    legend,
    on_grey,
    save_sheet,
    shortened,
)

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap
    from napari_diffmap.maps.phases import PhaseLike

_DIRECTION_WORDS: dict[Direction, str] = {
    "x": "x (right)",
    "y": "y (down)",
    "z": "the beam (z)",
}
_GREY = "#808080"
#: Greys (0–255) of the background under boundary lines: light, so that black shows.
_BACKGROUND = (125.0, 250.0)
#: Edge of a colour key, alone and beside others.
_KEY, _SMALL_KEY = 230, 190


def save_ipf_png(found: OrientationMap, path: str | Path, direction: Direction = "z") -> Path:
    """IPF colours of the first answers with the key of every phase.

    Parameters
    ----------
    found
        The map.
    path
        ``.png``.
    direction
        Laboratory direction ``"x"``, ``"y"`` or ``"z"`` (beam).

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
    keys = _by_key(present)
    size = _KEY if len(keys) == 1 else _SMALL_KEY
    blocks = [_key_block(name, phase, size) for name, phase in keys.items()]
    title = f"IPF-{direction.upper()}: crystal direction along {_DIRECTION_WORDS[direction]}"
    return _save(found, image, path, title, [*blocks, *_trust(found)])


def save_phase_png(found: OrientationMap, path: str | Path) -> Path:
    """Phases of the first answers with their shares of the answered positions."""
    total = max(1, int(np.count_nonzero(found.indexed)))
    samples = [
        Sample(phase.color, phase.name, _percent(found.phase_mask(i), total))
        for i, phase in enumerate(found.phases)
    ]
    blocks = [legend("Phase", samples), *_trust(found)]
    return _save(found, on_grey(phase_colors(found)), path, "Phases", blocks)


def save_boundaries_png(
    found: OrientationMap,
    path: str | Path,
    boundaries: Boundaries | None = None,
    *,
    background: NDArray[Any] | None = None,
) -> Path:
    """Boundaries by class over a grey image, with their lengths.

    Parameters
    ----------
    found
        The map.
    path
        ``.png``.
    boundaries
        Found with the usual thresholds without it.
    background
        ``(Y, X)`` grey image, e.g. a virtual image; the score without it.

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
    factors = enlargement(found.shape, found.step)
    image = enlarged(_light_grey(grey), factors)
    drawn = edges.raster(factors)
    for style in BOUNDARY_TABLE:
        image[drawn == style.code] = rgba(style.color)[:3]
    lengths = edges.lengths(found.step)
    samples = [
        Sample(style.color, style.name, _length(lengths[style.code], found.step_unit), style.line)
        for style in BOUNDARY_TABLE
    ]
    notes = legend(f"Boundaries ({edges.low:g}°, {edges.high:g}°)", samples)
    return _save(found, image, path, "Grain and phase boundaries", [notes], factors=factors)


def save_ambiguity_png(found: OrientationMap, path: str | Path) -> Path:
    """Doubt by cause with the share of each among the positions with data."""
    table = np.array([rgba(cause.color)[:3] for cause in AMBIGUITY_TABLE], dtype=np.uint8)
    data = max(1, int(np.count_nonzero(found.ambiguity != Ambiguity.NO_DATA)))
    samples = [
        Sample(cause.color, cause.name, _percent(found.ambiguity == cause.code, data))
        for cause in AMBIGUITY_TABLE
        if cause.code != Ambiguity.NO_DATA
    ]
    gaps, whose = found.ambiguity == Ambiguity.NO_DATA, "the positions"
    if gaps.any():
        share = _percent(gaps, gaps.size)
        color = AMBIGUITY_TABLE[Ambiguity.NO_DATA].color
        samples.append(Sample(color, "no data or not mapped", share))
        whose = f"{data} mapped positions"
    title = f"Doubt by cause: {_percent(found.ambiguous, data)} of {whose}"
    return _save(found, table[found.ambiguity], path, title, [legend("Cause", samples)])


def save_crystals_png(found: OrientationMap, path: str | Path) -> Path:
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
    table = np.array([rgba(_GREY)[:3], *(rgba(c)[:3] for c in CRYSTAL_COLORS.values())])
    most = len(table) - 1
    shown = np.minimum(count, most)
    samples = [
        Sample(color, f"{n}" if n < most else f"{n} or more", _percent(shown == n, total))
        for n, color in CRYSTAL_COLORS.items()
        if n <= max(2, int(shown.max()))
    ]
    if (count == 0).any():
        samples.append(Sample(_GREY, "no answer", _percent(count == 0, count.size)))
    image = table.astype(np.uint8)[shown]
    return _save(found, image, path, "Crystals in a pattern", [legend("Crystals", samples)])


def save_scalar_png(
    found: OrientationMap,
    path: str | Path,
    name: str = "score",
    *,
    values: NDArray[Any] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
) -> Path:
    """One scalar map with a colour bar.

    Parameters
    ----------
    found
        The map.
    path
        ``.png``.
    name
        ``score``, ``reliability`` or the name of an extra map; any name with `values`.
    values
        ``(Y, X)``; NaN is shown grey.
    limits
        Ends of the colour bar; 0 and 1 for the reliability, else the 0.5th and
        99.5th percentile.
    cmap
        A matplotlib colour map.

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
        blocks.append(legend("", [Sample(_GREY, "no value")]))
    return _save(found, on_grey(image), path, name[:1].upper() + name[1:], blocks)


def _save(
    found: OrientationMap,
    image: NDArray[np.uint8],
    path: str | Path,
    title: str,
    blocks: list[Block],
    factors: tuple[int, int] | None = None,
) -> Path:
    if Path(path).suffix.lower() != ".png":
        raise BadInputError(f"{Path(path).name}: a picture must end in .png")
    if factors is None:
        factors = enlargement(found.shape, found.step)
        image = enlarged(image, factors)
    return save_sheet(
        image,
        path,
        factors=factors,
        step=found.step,
        unit=found.step_unit,
        title=title,
        blocks=blocks,
        provenance=found.provenance,
    )


def _by_key(phases: list[PhaseLike]) -> dict[str, PhaseLike]:
    """Phases that share a colour key (group and kind of cell) under their joined names."""
    groups: dict[tuple[str, bool], list[PhaseLike]] = {}
    for phase in phases:
        gamma = phase.orix.structure.lattice.abcABG()[5]
        groups.setdefault((phase.point_group.laue.name, abs(gamma - 120) < 0.1), []).append(phase)
    return {
        f"{', '.join(p.name for p in same)} ({key[0]})": same[0] for key, same in groups.items()
    }


def _key_block(name: str, phase: PhaseLike, size: int) -> Block:
    def draw(pen: Pen, x: float, top: float) -> None:
        from napari_diffmap.maps.ipf_key import draw_key

        f = pen.factor
        pen.text(x, top - 12 * f, shortened(name, _KEY + 18, bold=True), weight="bold")
        draw_key(pen.axes, phase, (x, top - (size + 24) * f, size * f, size * f))

    return Block(size + 34, draw)


def _trust(found: OrientationMap) -> list[Block]:
    """How much of a picture of answers is none, and how much of the rest is in doubt."""
    missing, doubtful = ~found.indexed, found.ambiguous & found.indexed
    samples = []
    if missing.any():
        samples.append(Sample(_GREY, "no answer", _percent(missing, missing.size)))
    if doubtful.any():
        share = _percent(doubtful, int(found.indexed.sum()))
        samples.append(Sample("none", "of the answers in doubt", share, "text"))
    return [legend("", samples)] if samples else []


def _percent(mask: NDArray[np.bool_], total: int) -> str:
    share = 100 * np.count_nonzero(mask) / total
    if 0 < share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f} %"


def _length(length: float, unit: str) -> str:
    if unit == "pixel":
        return f"{length:.0f} pixels"
    if length < 1000:
        return f"{length:.0f} nm"
    return f"{length / 1000:.{1 if length < 1e5 else 0}f} µm"


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
