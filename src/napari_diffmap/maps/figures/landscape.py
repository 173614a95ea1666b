"""Picture of the scores of all zone axes of a phase on its fundamental sector."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_diffmap.maps.color_key import ColorKey, color_key
from napari_diffmap.maps.figures.ipf_key import corner_labels, sector_outline, stereographic

if TYPE_CHECKING:
    from napari_diffmap.maps.phases import PhaseLike

#: Share of the picture kept free around the sector.
_MARGIN = 0.21
#: Edge of an answer's mark, pixels, and frames kept.
_STAMP, _KEPT = 17, 16
#: Zone axes a pixel's score is interpolated from.
_NEAREST = 4


def landscape_picture(
    phase: PhaseLike,
    zones: ArrayLike,
    score: ArrayLike,
    answers: Sequence[tuple[str, ArrayLike]] = (),
    *,
    size_px: int = 170,
    color: str = "white",
    limits: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Draw scores on the fundamental sector, with the answers' beam directions.

    Stereographic projection as in the colour key, dark blue low and yellow high
    (cividis: told apart with every common colour vision).  Answers are numbered
    circles.

    Parameters
    ----------
    phase
        Its Laue group and lattice count.
    zones, score
        ``(n, 3)`` directions covering the sector once, and ``(n,)`` their scores.
    answers
        Label and beam direction ``(3,)`` (crystal Cartesian) of each answer.
    size_px
        Edge of the square picture.
    color
        Of lines and words.
    limits
        Scores of the two ends of the colour scale; the lowest and highest without.

    Returns
    -------
    ndarray
        ``(size_px, size_px, 4)`` uint8 RGBA, transparent outside the sector.
    """
    frame = _frame(phase, np.asarray(zones, dtype=np.float64), size_px, color)
    values = np.asarray(score, dtype=np.float64)
    low, high = limits or (float(values.min()), float(values.max()))
    shown = (frame.weights * values[frame.index]).sum(axis=1)
    share = np.clip((shown - low) / max(high - low, 1e-6), 0, 1)
    picture = np.zeros((size_px, size_px, 4), dtype=np.uint8)
    picture[frame.inside] = _colors()[np.rint(255 * share).astype(int)]
    _lay_over(picture, frame.lines, 0, 0)
    # The best on top.
    for text, direction in reversed(list(answers)):
        inside = frame.key.into_sector(np.asarray(direction, dtype=np.float32)[None])[0]
        x, y = (stereographic(inside.astype(np.float64)) - frame.corner) * frame.scale
        stamp = _stamp(text)
        half = len(stamp) // 2
        _lay_over(picture, stamp, size_px - 1 - round(float(y)) - half, round(float(x)) - half)
    return picture


@dataclass(frozen=True, eq=False)
class _Frame:
    """What stays the same from pattern to pattern.

    ``lines`` is the border with its labels; ``inside`` the pixels of the sector;
    ``index`` and ``weights`` say which zone axes each of those shows; pixels are
    `scale` times what lies from `corner` on.
    """

    key: ColorKey
    lines: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    index: NDArray[np.int64]
    weights: NDArray[np.float64]
    corner: NDArray[np.float64]
    scale: float


_FRAMES: OrderedDict[tuple[Any, ...], _Frame] = OrderedDict()


def _frame(phase: PhaseLike, zones: NDArray[np.float64], size: int, color: str) -> _Frame:
    """The frame of a phase, made once: matplotlib takes a tenth of a second."""
    base = np.asarray(phase.orix.structure.lattice.base, dtype=np.float64)
    name = (phase.point_group.name, base.round(6).tobytes(), zones.tobytes(), size, color)
    if name not in _FRAMES:
        _FRAMES[name] = _make_frame(phase, zones, size, color)
        while len(_FRAMES) > _KEPT:
            _FRAMES.popitem(last=False)
    return _FRAMES[name]


def _make_frame(phase: PhaseLike, zones: NDArray[np.float64], size: int, color: str) -> _Frame:
    from matplotlib.patches import Polygon
    from matplotlib.path import Path

    key = color_key(phase.point_group)
    outline = sector_outline(key)
    low, high = outline.min(axis=0), outline.max(axis=0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 / (1 - 2 * _MARGIN)
    corner, scale = middle - half, size / (2 * half)
    figure, axes = _blank(size)
    axes.set(xlim=(corner[0], corner[0] + 2 * half), ylim=(corner[1], corner[1] + 2 * half))
    axes.add_patch(Polygon(outline, closed=True, fill=False, ec=color, lw=0.8))
    for direction, text in corner_labels(phase, key):
        _label(axes, stereographic(key.frame @ direction), middle, half, text, color)
    x, y = np.meshgrid(
        corner[0] + (np.arange(size) + 0.5) / scale,
        corner[1] + (np.arange(size)[::-1] + 0.5) / scale,
    )
    points = np.stack((x, y), axis=-1)
    inside = Path(outline).contains_points(points.reshape(-1, 2)).reshape(size, size)
    index, weights = _interpolation(key, zones, points[inside])
    return _Frame(key, _drawn(figure), inside, index, weights, corner, scale)


def _blank(size: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size / 100, size / 100), dpi=100)
    figure.patch.set_alpha(0.0)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    return figure, axes


def _drawn(figure: Any) -> NDArray[np.uint8]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)


@lru_cache(maxsize=1)
def _colors() -> NDArray[np.uint8]:
    from matplotlib import colormaps

    return np.asarray(colormaps["cividis"](np.arange(256), bytes=True))


@lru_cache(maxsize=32)
def _stamp(text: str) -> NDArray[np.uint8]:
    """A numbered circle."""
    figure, axes = _blank(_STAMP)
    axes.set(xlim=(-1, 1), ylim=(-1, 1))
    axes.plot(0, 0, "o", ms=8.5, mfc="white", mec="black", mew=0.8)
    axes.text(
        0, -0.04, text, ha="center", va="center_baseline", fontsize=6, weight="bold", color="black"
    )
    return _drawn(figure)


def _lay_over(picture: NDArray[np.uint8], top: NDArray[np.uint8], row: int, column: int) -> None:
    """Compose one RGBA picture over another, in place; what sticks out is cut."""
    height, width = picture.shape[:2]
    first = (max(0, row), max(0, column))
    last = (min(height, row + top.shape[0]), min(width, column + top.shape[1]))
    if first[0] >= last[0] or first[1] >= last[1]:
        return
    below = picture[first[0] : last[0], first[1] : last[1]]
    above = top[first[0] - row : last[0] - row, first[1] - column : last[1] - column]
    front = above[..., 3:].astype(np.float64) / 255
    back = below[..., 3:].astype(np.float64) / 255 * (1 - front)
    alpha = front + back
    mixed = (above[..., :3] * front + below[..., :3] * back) / np.maximum(alpha, 1e-9)
    below[..., :3] = np.rint(mixed)
    below[..., 3:] = np.rint(255 * alpha)


def _label(
    axes: Any, point: NDArray[np.float64], middle: NDArray[np.float64], half: float, text: str,
    color: str,
) -> None:  # fmt: skip
    """Indices of a corner, outside the sector."""
    away = point - middle
    length = float(np.hypot(*away))
    if length < 0.25 * half:  # within the sector, of a group whose sector is large
        axes.plot(*point, ".", ms=3, color=color, zorder=3)
    step = away / max(length, 1e-9) * 0.05 * half
    axes.text(
        *(point + step), text,
        ha="center" if abs(away[0]) < 0.3 * half else "left" if away[0] > 0 else "right",
        va="bottom" if away[1] > 0 else "top", fontsize=6, color=color, zorder=3,
    )  # fmt: skip


def _interpolation(
    key: ColorKey, zones: NDArray[np.float64], points: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest zone axes of projected points and their weights, over the sector's borders too."""
    from scipy.spatial import cKDTree

    images = np.einsum("mij,nj->mni", key.operators.astype(np.float64), zones).reshape(-1, 3)
    owner = np.tile(np.arange(len(zones)), len(key.operators))
    r2 = (points**2).sum(axis=1, keepdims=True)
    sphere = np.concatenate((2 * points, 1 - r2), axis=1) / (1 + r2)
    distance, index = cKDTree(images).query(sphere, k=min(_NEAREST, len(images)))
    weight = 1 / (distance.reshape(len(points), -1) ** 2 + 1e-6)
    return owner[index.reshape(len(points), -1)], weight / weight.sum(axis=1, keepdims=True)
