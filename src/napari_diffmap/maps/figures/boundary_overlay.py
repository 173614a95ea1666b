"""Boundaries over a map: stamped into its pixels, or as vector lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.boundaries.find import BOUNDARY_TABLE, Boundaries, BoundaryStyle
from napari_diffmap.maps.colors import rgba
from napari_diffmap.maps.figures.sheet_parts import POINTS, Pen


@dataclass(frozen=True, eq=False)
class BoundaryOverlay:
    """Draws the classes of `BOUNDARY_TABLE`, the later on top; see `sheet.Overlay`."""

    edges: Boundaries

    def stamp(self, image: NDArray[np.uint8], factors: tuple[int, int]) -> None:
        """Draw into the enlarged image ``(Y·fy, X·fx, 3)``."""
        drawn = self.edges.raster(factors)
        for style in BOUNDARY_TABLE:
            image[drawn == style.code] = rgba(style.color)[:3]

    def draw(self, pen: Pen, corner: tuple[float, float], factors: tuple[int, int]) -> None:
        """Draw one path a class; `corner` is the upper left of the map, y runs upwards."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path
        from matplotlib.transforms import Bbox, TransformedBbox

        rows, columns = self.edges.shape
        right, bottom = corner[0] + columns * factors[1], corner[1] - rows * factors[0]
        inside = Bbox.from_extents(corner[0], bottom, right, corner[1])
        for order, style in enumerate(BOUNDARY_TABLE):
            lines = self.edges.polylines(style.code)
            if not lines:
                continue
            points = np.concatenate(lines).astype(np.float64) + 0.5
            x = corner[0] + points[:, 1] * factors[1]
            y = corner[1] - points[:, 0] * factors[0]
            codes = np.full(len(points), Path.LINETO, dtype=np.uint8)
            codes[np.cumsum([0, *map(len, lines[:-1])])] = Path.MOVETO
            path = Path(np.stack((x, y), axis=1), codes)
            patch = PathPatch(path, fill=False, zorder=1 + order, **_look(style, factors))
            pen.axes.add_patch(patch)
            patch.set_clip_box(TransformedBbox(inside, pen.axes.transData))


def _look(style: BoundaryStyle, factors: tuple[int, int]) -> dict[str, object]:
    """Colour, width and dashes as in the stamped picture, where a dash is the middle of an edge."""
    full = max(1, round(min(factors) / 4))
    width = max(1, full // 2) if style.line == "thin" else full
    look: dict[str, object] = {
        "ec": style.color,
        "lw": width * POINTS,
        "capstyle": "projecting",
        "joinstyle": "miter",
    }
    if style.line == "dashed":
        half = min(factors) / 2 / width  # matplotlib counts dashes in line widths
        look |= {"linestyle": (1.5 * half, (half, half)), "capstyle": "butt"}
    return look
