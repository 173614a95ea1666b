"""Virtual detectors as napari shapes, there and back.

A disk or ring is drawn as one or two circles; a point as a cross.  All vertices
are detector pixels ``(ky, kx)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.detectors import Annulus, Point, Polygon, Rectangle, Shape
from napari_diffmap.viewer.session import ListedDetector

Part = Literal["outer", "inner", "whole"]

#: Arm of the cross that marks a point detector, in detector pixels.
_ARM = 4.0


@dataclass(frozen=True, eq=False)
class Outline:
    """One napari shape that draws (part of) a detector.

    Attributes
    ----------
    key, part
        Which detector, and which of its circles.
    kind
        napari's shape type.
    vertices
        ``(n, 2)`` in detector pixels.
    """

    key: int
    part: Part
    kind: str
    vertices: NDArray[np.float64]


def outlines(items: Iterable[ListedDetector]) -> list[Outline]:
    """Everything that must be drawn for a list of detectors, in order."""
    return [line for item in items for line in _outlines_of(item.key, item.detector.shape)]


def _outlines_of(key: int, shape: Shape) -> list[Outline]:
    if isinstance(shape, Annulus):
        lines = [Outline(key, "outer", "ellipse", _circle(shape.cy, shape.cx, shape.r1))]
        if shape.r0 > 0:
            lines.append(Outline(key, "inner", "ellipse", _circle(shape.cy, shape.cx, shape.r0)))
        return lines
    if isinstance(shape, Rectangle):
        y0, x0, y1, x1 = shape.y0, shape.x0, shape.y1, shape.x1
        corners = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], dtype=np.float64)
        return [Outline(key, "whole", "rectangle", corners)]
    if isinstance(shape, Polygon):
        return [Outline(key, "whole", "polygon", np.array(shape.vertices, dtype=np.float64))]
    y, x = shape.center
    cross = [[y, x - _ARM], [y, x + _ARM], [y, x], [y - _ARM, x], [y + _ARM, x]]
    return [Outline(key, "whole", "path", np.array(cross, dtype=np.float64))]


def _circle(cy: float, cx: float, r: float) -> NDArray[np.float64]:
    """The box napari draws an ellipse into."""
    r = max(r, 1e-3)
    return np.array([[cy - r, cx - r], [cy - r, cx + r], [cy + r, cx + r], [cy + r, cx - r]])


def edited_shape(
    shape: Shape, drawn: Sequence[Outline], now: Sequence[NDArray[np.floating]]
) -> Shape:
    """The detector after a user edited its napari shapes directly.

    Parameters
    ----------
    shape
        The detector before.
    drawn
        Its outlines as last drawn.
    now
        The vertices of the same napari shapes as they are now.

    Returns
    -------
    Shape
        Circles stay circles and rings stay concentric: the circle that was
        moved takes the other along.
    """
    moved = [
        i
        for i, (line, vertices) in enumerate(zip(drawn, now, strict=True))
        if line.vertices.shape != vertices.shape or not np.allclose(line.vertices, vertices)
    ]
    if not moved:
        return shape
    vertices = np.asarray(now[moved[0]], dtype=np.float64)
    box = (vertices.min(axis=0), vertices.max(axis=0))
    middle = (box[0] + box[1]) / 2
    if isinstance(shape, Annulus):
        radii = {
            line.part: float(np.mean(np.ptp(np.asarray(v), axis=0)) / 2)
            for line, v in zip(drawn, now, strict=True)
        }
        outer = radii["outer"]
        inner = min(radii.get("inner", 0.0), outer)
        return Annulus(float(middle[0]), float(middle[1]), inner, outer)
    if isinstance(shape, Rectangle):
        return Rectangle(*(float(v) for v in (*box[0], *box[1])))
    if isinstance(shape, Polygon):
        return Polygon(tuple((float(y), float(x)) for y, x in vertices))
    return Point(float(middle[0]), float(middle[1]))


def drawn_shape(kind: str, vertices: NDArray[np.floating]) -> Shape:
    """The detector a user drew with one of napari's tools.

    Parameters
    ----------
    kind
        napari's shape type.
    vertices
        ``(n, 2)`` detector pixels.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    if kind == "ellipse":
        radius = float(np.mean(high - low) / 2)
        cy, cx = (low + high) / 2
        return Annulus(float(cy), float(cx), 0.0, max(radius, 0.5))
    if kind == "rectangle":
        return Rectangle(float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return Polygon(tuple((float(y), float(x)) for y, x in vertices))


def describe(shape: Shape) -> str:
    """A shape in words and pixels, for the list and the read-out."""
    if isinstance(shape, Annulus):
        where = f"at {shape.cy:.1f}, {shape.cx:.1f}"
        if shape.r0 > 0:
            return f"ring {shape.r0:.1f}–{shape.r1:.1f} px {where}"
        return f"disk r {shape.r1:.1f} px {where}"
    if isinstance(shape, Rectangle):
        return f"{abs(shape.y1 - shape.y0):.0f} × {abs(shape.x1 - shape.x0):.0f} px rectangle"
    if isinstance(shape, Polygon):
        return f"polygon, {len(shape.vertices)} corners"
    return f"point {shape.cy:.0f}, {shape.cx:.0f}"


def area(shape: Shape) -> float:
    """Area in square pixels: the smaller of two detectors under the mouse is meant."""
    if isinstance(shape, Annulus):
        return math.pi * (shape.r1**2 - shape.r0**2)
    if isinstance(shape, Rectangle):
        return abs((shape.y1 - shape.y0) * (shape.x1 - shape.x0))
    if isinstance(shape, Polygon):
        y, x = np.asarray(shape.vertices).T
        return float(abs(np.dot(y, np.roll(x, -1)) - np.dot(x, np.roll(y, -1))) / 2)
    return 0.0
