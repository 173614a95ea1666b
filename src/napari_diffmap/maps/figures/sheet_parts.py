"""Parts of a picture's sheet: words that fit, legends, colour bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

#: Width of the side column, and sizes of words, in pixels at full size.
SIDE = 290
FONT, SMALL_FONT, TITLE_FONT = 14, 12, 18
#: Points of a pixel at 100 dots an inch.
POINTS = 0.72

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

    def text(self, x: float, y: float, words: str, size: float = FONT, **style: Any) -> None:
        """Write at pixel (x, y); `size` in pixels at full size."""
        style = {"ha": "left", "va": "center", "color": "black", "parse_math": False, **style}
        self.axes.text(x, y, words, fontsize=size * self.factor * POINTS, **style)


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
                line = {"color": sample.color, "lw": width * POINTS * f, "ls": style}
                pen.axes.plot((x, x + 26 * f), (y, y), solid_capstyle="butt", **line)
            room = SIDE - 44 - text_width(sample.value)
            pen.text(x + 34 * f, y, shortened(sample.label, room))
            pen.text(x + SIDE * f, y, sample.value, ha="right")

    return Block(40 + 25 * len(samples), draw)


def color_bar(name: str, low: float, high: float, cmap: str) -> Block:
    """An upright colour bar with round numbers."""
    height = 230

    def draw(pen: Pen, x: float, top: float) -> None:
        from matplotlib import colormaps
        from matplotlib.ticker import MaxNLocator

        f = pen.factor
        pen.text(x, top - 12 * f, shortened(name, SIDE, bold=True), weight="bold")
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


def text_width(words: str, size: float = FONT, *, bold: bool = False) -> float:
    """Width in pixels of plain text with a font of `size` pixels."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size * POINTS, weight="bold" if bold else "normal")
    return float(_renderer().get_text_width_height_descent(words, font, ismath=False)[0])


def shortened(words: str, width: float, size: float = FONT, *, bold: bool = False) -> str:
    """`words` cut with an ellipsis to at most `width` pixels."""
    if text_width(words, size, bold=bold) <= width:
        return words
    low, high = 0, len(words)  # characters kept
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(words[:middle] + "…", size, bold=bold) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return words[:low].rstrip() + "…"


def wrapped(words: str, width: float, size: float = FONT) -> list[str]:
    """`words` as lines of at most `width` pixels; line breaks stay, long words are cut."""
    lines = []
    for paragraph in words.strip().splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and text_width(longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return [shortened(line, width, size) for line in lines]
