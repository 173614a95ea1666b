"""Pictures of an orientation map, made beside the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.boundaries.find import BOUNDARY_TABLE, Boundaries, find_boundaries
from napari_diffmap.maps.colors import ipf_colors

if TYPE_CHECKING:
    from napari_diffmap.maps import OrientationMap


@dataclass(frozen=True, eq=False)
class TilePicture:
    """One mapped tile, ready to be shown.

    Attributes
    ----------
    rows, columns
        Where it lies.
    ipf_z
        ``(ny, nx, 4)`` uint8 RGBA.
    """

    rows: slice
    columns: slice
    ipf_z: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class BoundaryLines:
    """Grain boundaries by class, as napari vectors.

    Attributes
    ----------
    boundaries
        What they were drawn from.
    vectors
        Class name → ``(n, 2, 2)``: start and direction in map pixels.
    """

    boundaries: Boundaries
    vectors: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class MapPictures:
    """Everything the layers of a map need.

    Attributes
    ----------
    found
        The map.
    ipf
        ``"x"``, ``"y"``, ``"z"`` → ``(Y, X, 4)`` uint8 RGBA.
    score
        ``(Y, X)`` float32, NaN where there is no answer.
    lines
        The grain boundaries.
    """

    found: OrientationMap
    ipf: dict[str, NDArray[np.uint8]]
    score: NDArray[np.float32]
    lines: BoundaryLines


def boundary_lines(found: OrientationMap, low: float, high: float) -> BoundaryLines:
    """Classify and draw the grain boundaries; thresholds in degrees."""
    boundaries = find_boundaries(found, low=low, high=high, vanish=max(5.0, low))
    vectors = {}
    for style in BOUNDARY_TABLE:
        ends = boundaries.line_segments(style.code).astype(np.float32)
        vectors[style.name] = np.stack((ends[:, 0], ends[:, 1] - ends[:, 0]), axis=1)
    return BoundaryLines(boundaries, vectors)


def map_pictures(found: OrientationMap, low: float, high: float) -> MapPictures:
    """All pictures of a map; boundary thresholds in degrees."""
    warm_labels()
    return MapPictures(
        found,
        {"x": ipf_colors(found, "x"), "y": ipf_colors(found, "y"), "z": ipf_colors(found, "z")},
        np.where(found.indexed, found.best_scores, np.nan).astype(np.float32),
        boundary_lines(found, low, high),
    )


@lru_cache(maxsize=1)
def warm_labels() -> None:
    """Let napari compile its label colours here rather than in the thread of the window."""
    from napari.layers import Labels
    from napari.utils import DirectLabelColormap

    colors: dict[int | None, str] = {None: "transparent", 0: "transparent", 1: "red"}
    layer = Labels(np.ones((2, 2), dtype=np.uint8), colormap=DirectLabelColormap(color_dict=colors))
    layer.colormap.map(np.ones((2, 2), dtype=np.uint8))


def tile_picture(rows: slice, columns: slice, part: OrientationMap) -> TilePicture:
    """The picture of one tile, given as a small map."""
    return TilePicture(rows, columns, ipf_colors(part, "z"))


def part_map(found: dict[str, NDArray[Any]], phases: Sequence[Any]) -> OrientationMap:
    """A tile of raw results as a small map, for its picture only."""
    from napari_diffmap.maps import OrientationMap

    shape = found["phase_ids"].shape[:2]
    return OrientationMap(
        rotations=found["rotations"],
        scores=found["scores"],
        phase_ids=found["phase_ids"],
        reliability=np.full(shape, np.nan, dtype=np.float32),
        ambiguity=np.zeros(shape, dtype=np.uint8),
        phases=tuple(phases),
    )
