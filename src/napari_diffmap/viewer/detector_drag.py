"""Taking hold of a virtual detector: edges resize, corners reshape, the inside moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from napari_diffmap.scan.detectors import Annulus, Point, Polygon, Rectangle, Shape
from napari_diffmap.viewer.detector_shapes import area
from napari_diffmap.viewer.session import ListedDetector

#: No circle or box is made smaller than this, in detector pixels.
MIN_SIZE = 0.5


@dataclass(frozen=True)
class Grip:
    """What the mouse holds.

    Attributes
    ----------
    key
        The detector.
    part
        ``move``, ``outer``, ``inner``, a rectangle's sides as a string of
        ``tblr``, or ``vertex``.
    vertex
        Index of a polygon's corner.
    """

    key: int
    part: str
    vertex: int = -1

    @property
    def words(self) -> str:
        """What dragging does, for the read-out."""
        if self.part == "move":
            return "drag: move"
        if self.part in ("outer", "inner"):
            return f"drag: {self.part} radius"
        return "drag: corner" if self.part == "vertex" else "drag: side"


def grip_at(
    items: Sequence[ListedDetector],
    y: float,
    x: float,
    tolerance: float,
    selected: int | None = None,
) -> Grip | None:
    """What is under the mouse.

    Parameters
    ----------
    items
        The detectors drawn.
    y, x
        Mouse position in detector pixels.
    tolerance
        How near an edge counts, in detector pixels.
    selected
        This detector wins over others at the same place.

    Returns
    -------
    Grip or None
        Edges and corners win over insides, the selected detector over others,
        the nearer edge over the farther, the smaller detector over the larger.
    """
    found = []
    for item in items:
        grip = _grip(item, y, x, tolerance)
        if grip is None:
            continue
        part, vertex, distance = grip
        rank = (
            part == "move",
            item.key != selected,
            distance if part != "move" else area(item.detector.shape),
        )
        found.append((rank, Grip(item.key, part, vertex)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _grip(
    item: ListedDetector, y: float, x: float, tolerance: float
) -> tuple[str, int, float] | None:
    shape = item.detector.shape
    if isinstance(shape, Annulus):
        return _grip_ring(shape, math.hypot(y - shape.cy, x - shape.cx), tolerance)
    if isinstance(shape, Rectangle):
        return _grip_box(shape, y, x, tolerance)
    if isinstance(shape, Polygon):
        gaps = [math.hypot(y - vy, x - vx) for vy, vx in shape.vertices]
        nearest = min(range(len(gaps)), key=gaps.__getitem__)
        if gaps[nearest] <= tolerance:
            return "vertex", nearest, gaps[nearest]
        return ("move", -1, 0.0) if _inside(shape, y, x) else None
    gap = math.hypot(y - shape.cy, x - shape.cx)
    return ("move", -1, gap) if gap <= 1.5 * tolerance else None


def _grip_ring(shape: Annulus, r: float, tolerance: float) -> tuple[str, int, float] | None:
    # Half of a small disk must stay free for moving it.
    tolerance = min(tolerance, max((shape.r1 - shape.r0) / 3, 0.5))
    edges = [(abs(r - shape.r1), "outer")]
    if shape.r0 > 0:
        edges.append((abs(r - shape.r0), "inner"))
    gap, part = min(edges)
    if gap <= tolerance:
        return part, -1, gap
    return ("move", -1, 0.0) if shape.r0 <= r <= shape.r1 else None


def _grip_box(
    shape: Rectangle, y: float, x: float, tolerance: float
) -> tuple[str, int, float] | None:
    (y0, y1), (x0, x1) = sorted((shape.y0, shape.y1)), sorted((shape.x0, shape.x1))
    tolerance = min(tolerance, max(min(y1 - y0, x1 - x0) / 3, 0.5))
    if not (y0 - tolerance <= y <= y1 + tolerance and x0 - tolerance <= x <= x1 + tolerance):
        return None
    gaps = {"t": abs(y - y0), "b": abs(y - y1), "l": abs(x - x0), "r": abs(x - x1)}
    sides = "".join(side for side in "tblr" if gaps[side] <= tolerance)
    if sides:
        return sides, -1, min(gaps[side] for side in sides)
    return "move", -1, 0.0


def _inside(shape: Polygon, y: float, x: float) -> bool:
    inside = False
    corners = shape.vertices
    for (ya, xa), (yb, xb) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if (ya > y) != (yb > y) and x < xa + (y - ya) * (xb - xa) / (yb - ya):
            inside = not inside
    return inside


def dragged(
    shape: Shape, grip: Grip, start: tuple[float, float], now: tuple[float, float]
) -> Shape:
    """The detector after the mouse went from `start` to `now` (detector pixels).

    Parameters
    ----------
    shape
        The detector when the mouse was pressed.
    grip
        What was taken hold of.
    start, now
        Mouse positions.
    """
    dy, dx = now[0] - start[0], now[1] - start[1]
    if grip.part == "move":
        return moved(shape, dy, dx)
    if isinstance(shape, Annulus):
        was = math.hypot(start[0] - shape.cy, start[1] - shape.cx)
        grown = math.hypot(now[0] - shape.cy, now[1] - shape.cx) - was
        if grip.part == "outer":
            return replace(shape, r1=max(shape.r1 + grown, shape.r0 + MIN_SIZE))
        return replace(shape, r0=min(max(shape.r0 + grown, MIN_SIZE), shape.r1 - MIN_SIZE))
    if isinstance(shape, Rectangle):
        return Rectangle(
            min(shape.y0 + dy, shape.y1 - MIN_SIZE) if "t" in grip.part else shape.y0,
            min(shape.x0 + dx, shape.x1 - MIN_SIZE) if "l" in grip.part else shape.x0,
            max(shape.y1 + dy, shape.y0 + MIN_SIZE) if "b" in grip.part else shape.y1,
            max(shape.x1 + dx, shape.x0 + MIN_SIZE) if "r" in grip.part else shape.x1,
        )
    if isinstance(shape, Polygon):
        corners = list(shape.vertices)
        vy, vx = corners[grip.vertex]
        corners[grip.vertex] = (vy + dy, vx + dx)
        return Polygon(tuple(corners))
    return shape


def moved(shape: Shape, dy: float, dx: float) -> Shape:
    """The same detector elsewhere (shift in detector pixels)."""
    if isinstance(shape, Annulus):
        return replace(shape, cy=shape.cy + dy, cx=shape.cx + dx)
    if isinstance(shape, Rectangle):
        return Rectangle(shape.y0 + dy, shape.x0 + dx, shape.y1 + dy, shape.x1 + dx)
    if isinstance(shape, Polygon):
        return Polygon(tuple((y + dy, x + dx) for y, x in shape.vertices))
    return Point(shape.cy + dy, shape.cx + dx)
