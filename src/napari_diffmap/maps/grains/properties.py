"""Size, shape, neighbourhood and inner orientation spread of every grain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.columns import Column, check_fits, names_of
from napari_diffmap.maps.grains import misorientation
from napari_diffmap.maps.grains.pairs import GrainPairs, find_pairs
from napari_diffmap.maps.quaternions import bunge

if TYPE_CHECKING:
    from napari_diffmap.maps.grains.find import Grains
    from napari_diffmap.maps.orientation_map import OrientationMap


@dataclass(frozen=True, eq=False)
class GrainProperties:
    """A value a grain; grain *i* (1 … n) is row *i* - 1.

    Lengths are in `unit`, positions count from the centre of the first pixel,
    angles are degrees.

    Attributes
    ----------
    unit
        ``nm``, or ``pixel`` without a calibration.
    phase_ids, phase_names
        ``(n,)`` int16 index into the map's phases, and what those are called.
    sizes
        ``(n,)`` pixels.
    area, equivalent_diameter
        ``(n,)``: area in `unit` squared, diameter of the circle of that area.
    mean_rotations
        ``(n, 4)`` unit quaternions, laboratory → crystal.
    centroid
        ``(n, 2)`` y and x.
    bbox
        ``(n, 4)`` int: first row and column, last row and column plus one, in pixels.
    major_axis, minor_axis, aspect_ratio
        ``(n,)``: axes of the ellipse with the second moments of the pixels (each
        a filled rectangle), and their ratio ≥ 1.
    direction
        ``(n,)``: from x (right) towards y (down), 0 ≤ direction < 180°; NaN where
        all directions are alike.
    perimeter
        ``(n,)``: along pixel edges, map edge and holes included.
    neighbours
        ``(n,)``: grains that touch it.
    touches_edge
        ``(n,)``: at the edge of the map, so that size and shape are cut.
    gos
        ``(n,)``: grain orientation spread, see `misorientation.gos`.
    kam, score
        ``(n,)``: means over the pixels; NaN where none has a value.
    doubtful_share
        ``(n,)``: share of the pixels whose answer is in doubt.
    """

    unit: str
    phase_ids: NDArray[np.int16]
    phase_names: tuple[str, ...]
    sizes: NDArray[np.int64]
    area: NDArray[np.float64]
    equivalent_diameter: NDArray[np.float64]
    mean_rotations: NDArray[np.float64]
    centroid: NDArray[np.float64]
    bbox: NDArray[np.int64]
    major_axis: NDArray[np.float64]
    minor_axis: NDArray[np.float64]
    aspect_ratio: NDArray[np.float64]
    direction: NDArray[np.float64]
    perimeter: NDArray[np.float64]
    neighbours: NDArray[np.int64]
    touches_edge: NDArray[np.bool_]
    gos: NDArray[np.float64]
    kam: NDArray[np.float64]
    score: NDArray[np.float64]
    doubtful_share: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sizes)

    def columns(self) -> tuple[Column, ...]:
        """The table, column by column, in the order in which it is read."""
        length, area = self.unit, f"{self.unit}²"
        euler = np.rad2deg(bunge(self.mean_rotations))
        rows = np.arange(1, len(self) + 1)
        edge = "of the bounding box, the last excluded"
        return (
            Column("grain", "", rows, "Number of the grain: its value in the label map."),
            Column("phase", "", names_of(self.phase_names, self.phase_ids), "Name of the phase."),
            Column("phase_id", "", self.phase_ids, "Number of the phase, from 0."),
            Column("size", "pixel", self.sizes, "Pixels."),
            Column("area", area, self.area, "Area."),
            Column(
                "equivalent_diameter",
                length,
                self.equivalent_diameter,
                "Diameter of the circle of the same area.",
            ),
            Column("phi1", "°", euler[:, 0], "Mean orientation, Bunge φ1."),
            Column("Phi", "°", euler[:, 1], "Mean orientation, Bunge Φ."),
            Column("phi2", "°", euler[:, 2], "Mean orientation, Bunge φ2."),
            Column("centroid_y", length, self.centroid[:, 0], "Centroid, down."),
            Column("centroid_x", length, self.centroid[:, 1], "Centroid, to the right."),
            Column("first_row", "pixel", self.bbox[:, 0], f"First row {edge}."),
            Column("first_column", "pixel", self.bbox[:, 1], f"First column {edge}."),
            Column("end_row", "pixel", self.bbox[:, 2], f"End row {edge}."),
            Column("end_column", "pixel", self.bbox[:, 3], f"End column {edge}."),
            Column("major_axis", length, self.major_axis, "Long axis of the fitted ellipse."),
            Column("minor_axis", length, self.minor_axis, "Short axis of the fitted ellipse."),
            Column("aspect_ratio", "", self.aspect_ratio, "Long over short axis."),
            Column("direction", "°", self.direction, "Of the long axis, from right towards down."),
            Column("perimeter", length, self.perimeter, "Length of the outline on pixel edges."),
            Column("neighbours", "", self.neighbours, "Grains that touch it."),
            Column("touches_edge", "", self.touches_edge, "Cut by the edge of the map."),
            Column("gos", "°", self.gos, "Grain orientation spread: mean GROD."),
            Column("kam", "°", self.kam, "Mean kernel average misorientation."),
            Column("score", "", self.score, "Mean score."),
            Column("doubtful_share", "", self.doubtful_share, "Share of pixels in doubt, 0–1."),
        )


def grain_properties(
    found: OrientationMap,
    grains: Grains,
    *,
    pairs: GrainPairs | None = None,
    kam: NDArray[np.float32] | None = None,
    grod: NDArray[np.float32] | None = None,
) -> GrainProperties:
    """Describe every grain.

    Parameters
    ----------
    found
        The map.
    grains
        From `find_grains` of the same map, or the parents of `merge_by_laws`.
    pairs, kam, grod
        Reuse what `find_pairs`, `misorientation.kam` and `misorientation.grod`
        gave; KAM is of order 1 within grains without it.

    Raises
    ------
    BadInputError
        If the grains are of another map.
    """
    check_fits(grains.labels.shape, found.shape, "grains")
    pairs = find_pairs(found, grains) if pairs is None else pairs
    deviation = misorientation.grod(found, grains) if grod is None else grod
    local = misorientation.kam(found, grains=grains) if kam is None else kam
    step = np.array(found.step)
    area = grains.sizes * step.prod()
    bbox = _boxes(grains)
    major, minor, direction = _ellipses(grains, found.step)
    return GrainProperties(
        unit=found.step_unit,
        phase_ids=grains.phase_ids,
        phase_names=tuple(phase.name for phase in found.phases),
        sizes=grains.sizes,
        area=area,
        equivalent_diameter=grains.equivalent_diameters(found.step),
        mean_rotations=grains.mean_rotations,
        centroid=grains.centroids * step,
        bbox=bbox,
        major_axis=major,
        minor_axis=minor,
        aspect_ratio=major / minor,
        direction=direction,
        perimeter=_perimeters(grains, found.step),
        neighbours=pairs.neighbour_counts(),
        touches_edge=(bbox[:, :2] == 0).any(axis=1) | (bbox[:, 2:] == found.shape).any(axis=1),
        gos=misorientation.grain_means(grains, deviation),
        kam=misorientation.grain_means(grains, local),
        score=misorientation.grain_means(grains, found.best_scores),
        doubtful_share=misorientation.grain_means(grains, found.ambiguous),
    )


def _boxes(grains: Grains) -> NDArray[np.int64]:
    y, x = np.nonzero(grains.labels)
    member = grains.labels[y, x] - 1
    boxes = np.zeros((len(grains), 4), dtype=np.int64)
    boxes[:, :2] = np.iinfo(np.int64).max
    for i, place in enumerate((y, x)):
        np.minimum.at(boxes[:, i], member, place)
        np.maximum.at(boxes[:, i + 2], member, place + 1)
    return boxes


def _ellipses(
    grains: Grains, step: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Long and short axes and direction of the ellipses of equal second moments."""
    y, x = np.nonzero(grains.labels)
    member = grains.labels[y, x] - 1
    dy = (y - grains.centroids[member, 0]) * step[0]
    dx = (x - grains.centroids[member, 1]) * step[1]

    def moment(values: NDArray[Any]) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = np.bincount(member, values, len(grains)) / grains.sizes
        return mean

    # A pixel is a filled rectangle, with a moment of its own.
    yy, xx = moment(dy * dy) + step[0] ** 2 / 12, moment(dx * dx) + step[1] ** 2 / 12
    xy = moment(dy * dx)
    middle, apart = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    # The long axis of a filled ellipse is four times the root of its moment.
    major = 4 * np.sqrt(middle + apart)
    minor = 4 * np.sqrt(np.maximum(middle - apart, 0))
    direction = np.rad2deg(np.arctan2(2 * xy, xx - yy)) / 2 % 180
    direction[direction >= 180] = 0.0  # a tiny negative angle rounds up to 180 itself
    direction[apart <= 1e-9 * middle] = np.nan
    return major, minor, direction


def _perimeters(grains: Grains, step: tuple[float, float]) -> NDArray[np.float64]:
    """Edges with another label, or nothing, on the other side."""
    padded = np.pad(grains.labels, 1)
    n = len(grains) + 1
    total = np.zeros(n)
    for one, two, length in (
        (padded[:, :-1], padded[:, 1:], step[0]),
        (padded[:-1], padded[1:], step[1]),
    ):
        edge = one != two
        total += length * (
            np.bincount(one[edge], minlength=n) + np.bincount(two[edge], minlength=n)
        )
    return total[1:]
