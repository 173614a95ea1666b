"""Picture of the colour key of a phase, with the indices of its corners."""

from __future__ import annotations

from functools import reduce
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.color_key import ColorKey, color_key

if TYPE_CHECKING:
    from napari_diffmap.maps.phases import PhaseLike

#: Smallest picture whose labels can be read.
SMALLEST = 120
#: Share of the picture kept free around the sector for labels.
_MARGIN = 0.2
#: Largest index written at a corner, and how far off it may be (cosine of 0.08°).
_LARGEST_INDEX = 4
_CLOSE = 1 - 1e-6
#: Characters of a label without bars and with three indices.
_SHORT = 5


def ipf_key(
    phase: PhaseLike, size_px: int = 220, *, background: str | None = None
) -> NDArray[np.uint8]:
    """Draw the TSL colour key of a phase's Laue group.

    Stereographic projection of the fundamental sector in the crystal's
    Cartesian frame (e1 to the right, e3 towards the viewer).  Corners carry
    lattice directions [uvw], four indices for hexagonal cells, or the plane
    (hkl) whose normal they are where no short direction is parallel.

    Parameters
    ----------
    phase
        Its Laue group and lattice count.
    size_px
        Edge length of the square picture.
    background
        Any matplotlib colour; transparent without it.

    Returns
    -------
    ndarray
        ``(size_px, size_px, 4)`` uint8 RGBA.

    Raises
    ------
    BadInputError
        If the picture is too small to be read.
    PhaseError
        If the phase has no symmetry.
    """
    if size_px < SMALLEST:
        raise BadInputError(f"a colour key needs at least {SMALLEST} pixels, not {size_px}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size_px / 100, size_px / 100), dpi=100)
    canvas: Any = FigureCanvasAgg(figure)
    figure.patch.set_alpha(0.0)
    if background is not None:
        figure.patch.set(facecolor=background, alpha=1.0)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_key(axes, phase, (0, 0, size_px, size_px))
    axes.set(xlim=(0, size_px), ylim=(0, size_px))
    axes.axis("off")
    canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)


def draw_key(axes: Any, phase: PhaseLike, box: tuple[float, float, float, float]) -> None:
    """Draw the key into matplotlib `axes` whose data unit is one pixel.

    Parameters
    ----------
    axes
        Axes with y upwards.
    phase
        The phase.
    box
        ``(x0, y0, width, height)`` in pixels; the picture is square.
    """
    from matplotlib.patches import Polygon

    key = color_key(phase.point_group)
    size = min(box[2:])
    outline = sector_outline(key)
    middle = (outline.min(axis=0) + outline.max(axis=0)) / 2
    extent = float((outline.max(axis=0) - outline.min(axis=0)).max())
    scale = size * (1 - 2 * _MARGIN) / extent
    origin = np.array((box[0] + box[2] / 2, box[1] + box[3] / 2)) - scale * middle
    border = Polygon(origin + scale * outline, closed=True, fill=False, ec="black", lw=1.0)
    picture, place = _picture(key, outline, scale)
    left, bottom, right, top = place
    image = axes.imshow(
        picture,
        extent=(
            origin[0] + scale * left,
            origin[0] + scale * right,
            origin[1] + scale * bottom,
            origin[1] + scale * top,
        ),
        origin="lower",
        interpolation="bilinear",
        aspect="auto",
        zorder=1,
    )
    axes.add_patch(border)
    image.set_clip_path(border)
    centre = origin + scale * middle
    for direction, text in corner_labels(phase, key):
        _write(axes, origin + scale * stereographic(key.frame @ direction), centre, text, size)


def _write(
    axes: Any, point: NDArray[np.float64], centre: NDArray[np.float64], text: str, size: float
) -> None:
    """A corner's label, outside the sector and inside the picture."""
    away = (point - centre) / (0.5 * size * (1 - 2 * _MARGIN))
    side = "left" if away[0] < -0.6 else "right" if away[0] > 0.6 else "center"
    if np.hypot(*away) < 0.3:  # within the sector: mark the place
        axes.plot(*point, "o", ms=3, mfc="white", mec="black", mew=0.8, zorder=3)
    level = side != "center" and abs(away[1]) < 0.1
    if level and len(text) <= _SHORT:  # fits beside the corner
        x, y = 0.02 if side == "right" else -0.02, 0.0
        across, upright = "left" if side == "right" else "right", "center"
    else:
        x, across = {"left": -0.14, "right": 0.14, "center": 0.0}[side], side
        below = away[1] < 0.1
        y, upright = (-0.06 if level else -0.035) if below else 0.035, "top" if below else "bottom"
    axes.text(
        point[0] + x * size,
        point[1] + y * size,
        text,
        ha=across,
        va=upright,
        # points at 100 dots an inch
        fontsize=max(8.0, 0.062 * size) * 0.72,
        color="black",
        zorder=3,
    )


def stereographic(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stereographic projection of the upper hemisphere to the unit disk."""
    projected: NDArray[np.float64] = directions[..., :2] / (1 + np.abs(directions[..., 2:]))
    return projected


def sector_outline(key: ColorKey) -> NDArray[np.float64]:
    """``(n, 2)`` border of the sector."""
    azimuth = np.linspace(0, 2 * np.pi, len(key.edge))
    outward = (
        np.cos(azimuth)[:, None] * key.axis_x.astype(np.float64)
        + np.sin(azimuth)[:, None] * key.axis_y
    )
    edge = key.edge[:, None].astype(np.float64)
    return stereographic(np.cos(edge) * key.center + np.sin(edge) * outward)


def _picture(
    key: ColorKey, outline: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.float32], tuple[float, float, float, float]]:
    """Colours on a grid around the sector, and where the grid lies."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    pad = 1.5 / scale
    columns, rows = np.ceil((high - low + 2 * pad) * scale).astype(int) + 1
    left, bottom = low - pad
    right, top = left + columns / scale, bottom + rows / scale
    x, y = np.meshgrid(
        left + (np.arange(columns) + 0.5) / scale, bottom + (np.arange(rows) + 0.5) / scale
    )
    r2 = x**2 + y**2
    sphere = np.stack((2 * x, 2 * y, 1 - r2), axis=-1) / (1 + r2)[..., None]
    shade = key.shade(sphere.reshape(-1, 3).astype(np.float32)).reshape(*x.shape, 3)
    return shade.clip(0, 1), (left, bottom, right, top)


def corner_labels(phase: PhaseLike, key: ColorKey) -> list[tuple[NDArray[np.float64], str]]:
    """Unit crystal directions of the corners and their indices as mathtext."""
    base = _base(phase, key)
    hexagonal = abs(float(base[1] @ base[0]) / float(np.sum(base[0] ** 2)) + 0.5) < 1e-3
    found = []
    for corner in _corners(key):
        direction = key.frame.T @ corner
        text = _indices(direction, base, hexagonal)
        if text:
            found.append((direction, text))
    return found


def _corners(key: ColorKey) -> NDArray[np.float64]:
    """Corners of the sector; axes on its border where it has too few."""
    normals = key.normals.astype(np.float64)
    crossings = np.cross(normals[:, None], normals[None]).reshape(-1, 3)
    axes = np.eye(3) if len(normals) < 3 else np.empty((0, 3))
    candidates = np.concatenate((crossings, axes))
    length = np.linalg.norm(candidates, axis=1)
    candidates = candidates[length > 1e-6] / length[length > 1e-6, None]
    inside = (candidates @ normals.T > -1e-6).all(axis=1)
    unique: list[NDArray[np.float64]] = []
    for candidate in candidates[inside]:
        if all(candidate @ other < _CLOSE for other in unique):
            unique.append(candidate)
    return np.array(unique)


def _base(phase: PhaseLike, key: ColorKey) -> NDArray[np.float64]:
    """Lattice vectors as rows, e1 ∥ a and e3 ∥ c*; an ideal cell where the file has none."""
    base = np.asarray(phase.orix.structure.lattice.base, dtype=np.float64)
    # Trigonal and hexagonal groups in a cell without 120° were given no lattice.
    threefold = any(
        abs(np.trace(op)) < 1e-3 and abs(op[2, 2] - 1) < 1e-3 for op in key.operators @ key.frame
    )
    cosine = base[0] @ base[1] / np.linalg.norm(base[0]) / np.linalg.norm(base[1])
    if threefold and abs(cosine + 0.5) > 1e-3:
        return np.array([[1.0, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.0]])
    return base


def _indices(direction: NDArray[np.float64], base: NDArray[np.float64], hexagonal: bool) -> str:
    """``[uvw]`` or ``(hkl)`` parallel to a direction; empty when none is short."""
    grid = np.arange(-_LARGEST_INDEX, _LARGEST_INDEX + 1)
    all_indices = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(-1, 3)
    all_indices = all_indices[np.abs(all_indices).sum(axis=1) > 0]
    all_indices = all_indices[np.argsort(np.abs(all_indices).sum(axis=1), kind="stable")]
    for rows, brackets in ((base, "[]"), (np.linalg.inv(base).T, "()")):
        vectors = all_indices @ rows
        cosine = vectors @ direction / np.linalg.norm(vectors, axis=1)
        close = np.flatnonzero(cosine > _CLOSE)
        if close.size:
            chosen = tuple(int(i) for i in all_indices[close[0]])
            if hexagonal:
                chosen = _four(chosen, plane=brackets == "()")
            return brackets[0] + "".join(_digit(i) for i in chosen) + brackets[1]
    return ""


def _four(indices: tuple[int, ...], *, plane: bool) -> tuple[int, ...]:
    """Miller–Bravais indices."""
    u, v, w = indices
    four = (u, v, -u - v, w) if plane else (2 * u - v, 2 * v - u, -u - v, 3 * w)
    common = reduce(gcd, four)
    return tuple(i // common for i in four)


def _digit(index: int) -> str:
    return str(index) if index >= 0 else rf"$\overline{{{-index}}}$"
