"""A picture for a report: a crisp image, its scale bar, legend and caption.

Everything is placed in whole pixels, so that an enlarged map pixel has sharp
edges and text keeps its size whatever the map's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.provenance import Provenance

#: Edge (pixels) that a map is enlarged to, at most, and the largest factor.
_TARGET, _LARGEST_FACTOR = 760, 32
#: Map width (pixels) from which on text grows with the picture.
_FULL_SIZE_TEXT = 900
#: Sizes in pixels at that width.
_PAD, _TITLE, _FOOT, _CAPTION, _SIDE = 18, 44, 46, 26, 290
_TITLE_FONT, _FONT, _SMALL_FONT = 18, 14, 12
_NO_ANSWER = (128, 128, 128)
#: Points of a pixel at 100 dots an inch.
_POINTS = 0.72
_NICE = (1, 2, 5)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[["Pen", float, float], None]


@dataclass(frozen=True)
class Block:
    """A part of the side column: its height in pixels at full size and what draws it.

    ``draw(pen, x, top)`` gets the block's upper left corner; y runs upwards.
    """

    height: float
    draw: Draw


@dataclass(frozen=True)
class Sample:
    """One line of a legend.

    ``kind`` is ``area``, ``line``, ``thin``, ``dashed`` or ``text`` (words only): lines
    are told apart without colour, too.  ``value`` stands at the right edge of the column.
    """

    color: str
    label: str
    value: str = ""
    kind: str = "area"


@dataclass(frozen=True, eq=False)
class Pen:
    """Matplotlib axes whose unit is one pixel, and the size factor of text."""

    axes: Any
    factor: float

    def text(self, x: float, y: float, words: str, size: float = _FONT, **style: Any) -> None:
        """Write at pixel (x, y); `size` in pixels at full size."""
        style = {"ha": "left", "va": "center", "color": "black", "parse_math": False, **style}
        self.axes.text(x, y, words, fontsize=size * self.factor * _POINTS, **style)


def legend(title: str, samples: Sequence[Sample]) -> Block:
    """Swatches or line samples with their names."""

    def draw(pen: Pen, x: float, top: float) -> None:
        from matplotlib.patches import Rectangle

        f = pen.factor
        y = top - 12 * f
        pen.text(x, y, title, weight="bold")
        for sample in samples:
            y -= 25 * f
            if sample.kind == "area":
                box = Rectangle(
                    (x, y - 8 * f), 24 * f, 16 * f, fc=sample.color, ec="black", lw=0.7 * f
                )
                pen.axes.add_patch(box)
            elif sample.kind != "text":
                width, style = {"line": (4, "-"), "thin": (1.6, "-"), "dashed": (4, (0, (1.5, 1)))}[
                    sample.kind
                ]
                line = {"color": sample.color, "lw": width * _POINTS * f, "ls": style}
                pen.axes.plot((x, x + 26 * f), (y, y), solid_capstyle="butt", **line)
            room = _SIDE - 44 - text_width(sample.value)
            pen.text(x + 34 * f, y, shortened(sample.label, room))
            pen.text(x + _SIDE * f, y, sample.value, ha="right")

    return Block(40 + 25 * len(samples), draw)


def color_bar(name: str, low: float, high: float, cmap: str) -> Block:
    """An upright colour bar with round numbers."""
    height = 230

    def draw(pen: Pen, x: float, top: float) -> None:
        from matplotlib import colormaps
        from matplotlib.ticker import MaxNLocator

        f = pen.factor
        pen.text(x, top - 12 * f, shortened(name, _SIDE, bold=True), weight="bold")
        bottom, upper = top - (height - 10) * f, top - 34 * f
        ramp = colormaps[cmap](np.linspace(0, 1, 256))[:, None]
        pen.axes.imshow(
            ramp, extent=(x, x + 26 * f, bottom, upper), origin="lower", aspect="auto", zorder=1
        )
        pen.axes.plot(
            (x, x + 26 * f, x + 26 * f, x, x),
            (bottom, bottom, upper, upper, bottom),
            "k",
            lw=0.7 * f,
        )
        for value in MaxNLocator(5).tick_values(low, high):
            if low <= value <= high and high > low:
                y = bottom + (value - low) / (high - low) * (upper - bottom)
                pen.axes.plot((x + 26 * f, x + 31 * f), (y, y), "k", lw=0.8 * f)
                pen.text(x + 36 * f, y, f"{value:.4g}")

    return Block(height + 12, draw)


@cache
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    agg: Any = RendererAgg
    return agg(8, 8, 100)


def text_width(words: str, size: float = _FONT, *, bold: bool = False) -> float:
    """Width in pixels of plain text with a font of `size` pixels."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size * _POINTS, weight="bold" if bold else "normal")
    return float(_renderer().get_text_width_height_descent(words, font, ismath=False)[0])


def shortened(words: str, width: float, size: float = _FONT, *, bold: bool = False) -> str:
    """`words` cut with an ellipsis to at most `width` pixels."""
    if text_width(words, size, bold=bold) <= width:
        return words
    low, high = 0, len(words)  # characters kept
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(words[:middle] + "…", size, bold=bold) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return words[:low].rstrip() + "…"


def enlargement(shape: tuple[int, int], step: tuple[float, float]) -> tuple[int, int]:
    """Whole factors ``(rows, columns)`` that show a map large and undistorted."""
    ratio = step[0] / step[1]
    tall, wide = max(1.0, ratio), max(1.0, 1 / ratio)
    room = _TARGET / max(shape[0] * tall, shape[1] * wide)
    factor = min(_LARGEST_FACTOR, max(1, math.floor(room)))
    return max(1, round(factor * tall)), max(1, round(factor * wide))


def enlarged(image: NDArray[np.uint8], factors: tuple[int, int]) -> NDArray[np.uint8]:
    """Every pixel as a block of pixels."""
    return image.repeat(factors[0], axis=0).repeat(factors[1], axis=1)


def on_grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of an RGBA picture, grey where it is transparent."""
    alpha = image[..., 3:].astype(np.float32) / 255
    mixed = image[..., :3] * alpha + np.array(_NO_ANSWER) * (1 - alpha)
    return np.rint(mixed).astype(np.uint8)


def scale_bar(width: float, unit: str) -> tuple[float, str]:
    """A round length of at most a third of `width`, and its name.

    Parameters
    ----------
    width
        Width of the map in `unit`.
    unit
        ``nm`` or ``pixel``.
    """
    power = math.floor(math.log10(width / 3))
    rounds = [float(f"{nice}e{p}") for p in (power - 1, power) for nice in _NICE]
    length = max(nice for nice in rounds if nice <= width / 3)
    if unit == "pixel":
        if width < 3:
            return 1.0, "1 pixel (no scale)"
        length = max(1.0, length)
        return length, f"{length:g} pixel{'s' * (length > 1)} (no scale)"
    if length >= 1000:
        return length, f"{length / 1000:g} µm"
    return length, f"{length:g} {unit}"


def save_sheet(
    image: NDArray[np.uint8],
    path: str | Path,
    *,
    factors: tuple[int, int],
    step: tuple[float, float],
    unit: str,
    title: str,
    blocks: Sequence[Block],
    provenance: Provenance,
) -> Path:
    """Lay out and write a PNG; provenance goes into its text chunks.

    Parameters
    ----------
    image, factors, step, unit, title, blocks
        See `lay_out`.
    path
        ``.png``.
    provenance
        Its summary is the caption.

    Returns
    -------
    Path
        The file written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    target = Path(path)
    figure = lay_out(
        image,
        factors=factors,
        step=step,
        unit=unit,
        title=title,
        blocks=blocks,
        caption=provenance.summary(),
    )
    canvas: Any = FigureCanvasAgg(figure)
    chunks = {"Title": title, "Provenance": provenance.to_json(), "Software": "napari-diffmap"}
    with atomic_path(target) as temporary:
        canvas.print_png(str(temporary), metadata=chunks)
    return target


def lay_out(
    image: NDArray[np.uint8],
    *,
    factors: tuple[int, int],
    step: tuple[float, float],
    unit: str,
    title: str,
    blocks: Sequence[Block],
    caption: str,
    frame: str = "x right, y down, z (beam) into the page",
) -> Figure:
    """Place a map and what belongs to it on a white sheet.

    Parameters
    ----------
    image
        ``(Y·fy, X·fx, 3)``: the map, already enlarged.
    factors
        ``(fy, fx)``.
    step, unit
        Of the map.
    title
        One line.
    blocks
        The column on the right.
    caption
        Small, at the bottom; cut where it is too long.
    frame
        What to say about directions.

    Returns
    -------
    matplotlib.figure.Figure
        At 100 dots an inch one unit of its axes is one pixel.
    """
    from matplotlib.figure import Figure

    high, wide = image.shape[:2]
    f = max(1.0, wide / _FULL_SIZE_TEXT, high / _FULL_SIZE_TEXT)
    body = max(high, round(f * sum(block.height for block in blocks)))
    side = round(f * (_SIDE + _PAD)) if blocks else 0
    title_width = math.ceil(f * (2 * _PAD + text_width(title, _TITLE_FONT, bold=True)))
    width = max(round(2 * f * _PAD) + wide + side, title_width)
    height = body + round(f * (_TITLE + _FOOT + _CAPTION))
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    left, base = round(f * _PAD), round(f * (_FOOT + _CAPTION)) + body - high
    figure.figimage(image, left, base, origin="upper", zorder=1)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    pen = Pen(axes, f)
    pen.text(left, height - f * _TITLE / 2, title, _TITLE_FONT, weight="bold")
    _foot(pen, (left, base), (wide, width), factors, step, unit, frame)
    words = shortened(caption, (width - 2 * left) / f, _SMALL_FONT)
    pen.text(left, f * _CAPTION * 0.55, words, _SMALL_FONT, color="#444444")
    top = base + float(high)
    for block in blocks:
        block.draw(pen, left + wide + f * _PAD, top)
        top -= f * block.height
    axes.set(xlim=(0, width), ylim=(0, height))
    return figure


def _foot(
    pen: Pen,
    corner: tuple[float, float],
    widths: tuple[int, int],
    factors: tuple[int, int],
    step: tuple[float, float],
    unit: str,
    frame: str,
) -> None:
    """Scale bar under the image, and the directions at the right."""
    from matplotlib.patches import Rectangle

    f = pen.factor
    left, base = corner
    wide, width = widths
    level = f * (_CAPTION + _FOOT - 24)
    per_pixel = step[1] / factors[1]
    length, label = scale_bar(wide * per_pixel, unit)
    y = base - f * 24
    pen.axes.add_patch(Rectangle((left, y - 3 * f), length / per_pixel, 6 * f, fc="black", lw=0))
    end = left + length / per_pixel + 8 * f
    pen.text(end, y, label)
    used = end + f * (text_width(label) + 12)
    room = (width - f * _PAD) - (used if level > y - 20 * f else left)
    if f * text_width(frame, _SMALL_FONT) < room:
        pen.text(width - f * _PAD, level, frame, _SMALL_FONT, ha="right", color="#444444")
