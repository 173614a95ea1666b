"""A picture for a report: a crisp image, its scale bar, legend and caption.

Everything is placed in whole pixels, so that an enlarged map pixel has sharp
edges and text keeps its size whatever the map's.  In SVG and PDF the enlarged
map is an embedded image, which stays crisp where a viewer smooths images, too;
words, bars, borders and lines are vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.figures.sheet_parts import (
    SIDE,
    SMALL_FONT,
    TITLE_FONT,
    Block,
    Pen,
    shortened,
    text_width,
    wrapped,
)
from napari_diffmap.maps.provenance import Provenance

#: Formats by the ending of the file's name.
SUFFIXES = (".png", ".svg", ".pdf")
#: Edge (pixels) that a map is enlarged to, at most, and the largest factor.
_TARGET, _LARGEST_FACTOR = 760, 32
#: The same of each of several maps beside each other.
_BESIDE = 450
#: Map width (pixels) from which on text grows with the picture.
_FULL_SIZE_TEXT = 900
#: Sizes in pixels at that width.
_PAD, _TITLE, _PART, _FOOT, _SOURCE, _LINE = 18, 44, 26, 46, 26, 19
_NO_ANSWER = (128, 128, 128)
_NICE = (1, 2, 5)
#: What matplotlib's vector formats need: words as words, images apart.
_VECTOR: Any = {"svg.fonttype": "none", "pdf.fonttype": 42, "image.composite_image": False}

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Overlay(Protocol):
    """What is drawn over a map."""

    def stamp(self, image: NDArray[np.uint8], factors: tuple[int, int]) -> None:
        """Draw into the enlarged image ``(Y·fy, X·fx, 3)``."""

    def draw(self, pen: Pen, corner: tuple[float, float], factors: tuple[int, int]) -> None:
        """Draw as vectors; `corner` is the upper left of the map, y runs upwards."""


@dataclass(frozen=True)
class Part:
    """Columns of an image that have a name: where they begin, and how many there are."""

    name: str
    first: int
    columns: int


def enlargement(
    shape: tuple[int, int], step: tuple[float, float], target: int = _TARGET
) -> tuple[int, int]:
    """Whole factors ``(rows, columns)`` that show a map large and undistorted."""
    ratio = step[0] / step[1]
    tall, wide = max(1.0, ratio), max(1.0, 1 / ratio)
    room = target / max(shape[0] * tall, shape[1] * wide)
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
    step: tuple[float, float],
    unit: str,
    title: str,
    blocks: Sequence[Block],
    provenance: Provenance,
    caption: str = "",
    overlay: Overlay | None = None,
    parts: Sequence[Part] = (),
    lines: bool = False,
    frame: str = "x right, y down, z (beam) into the page",
) -> Path:
    """Lay out and write a picture; provenance goes into the file's own record.

    Parameters
    ----------
    image, step, unit, title, blocks, caption, overlay, parts, frame
        See `lay_out`.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    provenance
        Its summary stands at the bottom.
    lines
        Draw the overlay as lines in a ``.png``, too, instead of stamping it.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If the name is wrong or it cannot be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInputError(f"{target.name}: a picture must end in {', '.join(SUFFIXES)}")
    figure = lay_out(
        image,
        step=step,
        unit=unit,
        title=title,
        blocks=blocks,
        source=provenance.summary(),
        caption=caption,
        overlay=overlay,
        parts=parts,
        vector=lines or suffix != ".png",
        frame=frame,
    )
    with atomic_path(target) as temporary:
        print_figure(figure, temporary, suffix, title, provenance.to_json())
    return target


def print_figure(figure: Figure, path: Path, suffix: str, title: str, record: str) -> None:
    """Write a figure as ``.png``, ``.svg`` or ``.pdf`` with its title and its record."""
    from matplotlib import rc_context

    canvas: Any
    if suffix == ".png":
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        chunks = {"Title": title, "Provenance": record, "Software": "napari-diffmap"}
        canvas.print_png(str(path), metadata=chunks)
        return
    with rc_context(_VECTOR):
        if suffix == ".svg":
            from matplotlib.backends.backend_svg import FigureCanvasSVG

            canvas = FigureCanvasSVG(figure)
            about = {"Title": title, "Description": record, "Creator": "napari-diffmap"}
            canvas.print_svg(str(path), metadata=about)
        else:
            from matplotlib.backends.backend_pdf import FigureCanvasPdf

            canvas = FigureCanvasPdf(figure)
            about = {"Title": title, "Subject": record, "Creator": "napari-diffmap"}
            canvas.print_pdf(str(path), metadata=about)


def lay_out(
    image: NDArray[np.uint8],
    *,
    step: tuple[float, float],
    unit: str,
    title: str,
    blocks: Sequence[Block],
    source: str,
    caption: str = "",
    overlay: Overlay | None = None,
    parts: Sequence[Part] = (),
    vector: bool = False,
    frame: str = "x right, y down, z (beam) into the page",
) -> Figure:
    """Place a map and what belongs to it on a white sheet.

    Parameters
    ----------
    image
        ``(Y, X, 3)``: the map.
    step, unit
        Of the map.
    title
        One line.
    blocks
        The column on the right.
    source
        Small, at the bottom; cut where it is too long.
    caption
        Under the map, in as many lines as it needs.
    overlay
        Drawn over the map.
    parts
        Names written above parts of the image.
    vector
        For a vector format: draw the overlay as lines.
    frame
        What to say about directions.

    Returns
    -------
    matplotlib.figure.Figure
        At 100 dots an inch one unit of its axes is one pixel.
    """
    from matplotlib.figure import Figure

    columns = max((part.columns for part in parts), default=image.shape[1])
    factors = enlargement((image.shape[0], columns), step, _BESIDE if parts else _TARGET)
    high, wide = image.shape[0] * factors[0], image.shape[1] * factors[1]
    f = max(1.0, wide / _FULL_SIZE_TEXT, high / _FULL_SIZE_TEXT)
    body = max(high, round(f * sum(block.height for block in blocks)))
    side = round(f * (SIDE + _PAD)) if blocks else 0
    title_width = math.ceil(f * (2 * _PAD + text_width(title, TITLE_FONT, bold=True)))
    width = max(round(2 * f * _PAD) + wide + side, title_width)
    lines = wrapped(caption, width / f - 2 * _PAD)
    below = round(f * (_SOURCE + len(lines) * _LINE))
    height = body + round(f * (_TITLE + _FOOT + (_PART if parts else 0))) + below
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    left, base = round(f * _PAD), round(f * _FOOT) + below + body - high
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    pen = Pen(axes, f)
    pen.text(left, height - f * _TITLE / 2, title, TITLE_FONT, weight="bold")
    for part in parts:
        words = shortened(part.name, part.columns * factors[1] / f, bold=True)
        x, y = left + part.first * factors[1], base + high + f * _PART / 2
        pen.text(x, y, words, weight="bold")
    large = enlarged(image, factors)
    if vector:
        place = (left, left + wide, base, base + high)
        axes.imshow(large, extent=place, interpolation="none", aspect="auto", zorder=0.5)
        if overlay is not None:
            overlay.draw(pen, (left, base + high), factors)
    else:
        if overlay is not None:
            overlay.stamp(large, factors)
        figure.figimage(large, left, base, origin="upper", zorder=1)
    bar = columns * factors[1]  # a part has a scale of its own width
    _foot(pen, (left, base), (bar, width), (below, step[1] / factors[1]), unit, frame)
    for i, line in enumerate(lines):
        pen.text(left, below - f * (i + 0.5) * _LINE, line)
    words = shortened(source, (width - 2 * left) / f, SMALL_FONT)
    pen.text(left, f * _SOURCE * 0.55, words, SMALL_FONT, color="#444444")
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
    scale: tuple[float, float],
    unit: str,
    frame: str,
) -> None:
    """Scale bar under the image, and the directions at the right.

    `scale` is the height of what stands below, and the length of a pixel.
    """
    from matplotlib.patches import Rectangle

    f = pen.factor
    left, base = corner
    wide, width = widths
    below, per_pixel = scale
    level = below + f * (_FOOT - 24)
    length, label = scale_bar(wide * per_pixel, unit)
    y = base - f * 24
    pen.axes.add_patch(Rectangle((left, y - 3 * f), length / per_pixel, 6 * f, fc="black", lw=0))
    end = left + length / per_pixel + 8 * f
    pen.text(end, y, label)
    used = end + f * (text_width(label) + 12)
    room = (width - f * _PAD) - (used if level > y - 20 * f else left)
    if f * text_width(frame, SMALL_FONT) < room:
        pen.text(width - f * _PAD, level, frame, SMALL_FONT, ha="right", color="#444444")
