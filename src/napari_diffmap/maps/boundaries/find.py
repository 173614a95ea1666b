"""Grain and phase boundaries: the disorientation between neighbouring pixels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.boundaries import lines
from napari_diffmap.maps.quaternions import disorientation, laue_operators

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap


class BoundaryClass(IntEnum):
    """What lies between two neighbouring pixels."""

    NONE = 0
    LOW_ANGLE = 1
    HIGH_ANGLE = 2
    PHASE = 3
    TWIN_AMBIGUOUS = 4


@dataclass(frozen=True)
class BoundaryStyle:
    """One line of the legend.

    `line` is ``line``, ``thin`` or ``dashed``: classes are told apart without
    colour, too.
    """

    code: BoundaryClass
    name: str
    color: str
    description: str
    line: str = "line"


#: The drawn classes; low-angle is drawn first, phase boundaries last.
BOUNDARY_TABLE: tuple[BoundaryStyle, ...] = (
    BoundaryStyle(
        BoundaryClass.LOW_ANGLE,
        "low-angle",
        "#0072B2",
        "Same phase, disorientation between the low and the high threshold.",
        "thin",
    ),
    BoundaryStyle(
        BoundaryClass.TWIN_AMBIGUOUS,
        "vanishes under 180°",
        "#CC79A7",
        "Disappears when one side is turned by 180° about the beam, which the pattern hardly"
        " shows: perhaps no boundary at all.",
        "dashed",
    ),
    BoundaryStyle(
        BoundaryClass.HIGH_ANGLE,
        "high-angle",
        "#000000",
        "Same phase, disorientation above the high threshold.",
    ),
    BoundaryStyle(
        BoundaryClass.PHASE, "phase boundary", "#D55E00", "Different phases on the two sides."
    ),
)


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Every edge between two neighbouring pixels.

    Attributes
    ----------
    angle_x
        ``(Y, X-1)`` float32: disorientation (degrees) of pixel ``[y, x]`` and
        ``[y, x+1]``; NaN where the phases differ or a side has no answer.
    angle_y
        ``(Y-1, X)`` float32: the same for ``[y, x]`` and ``[y+1, x]``.
    class_x, class_y
        uint8 codes of `BoundaryClass`, same shapes.
    low, high, vanish
        Thresholds (degrees) the classes were made with.
    """

    angle_x: NDArray[np.float32]
    angle_y: NDArray[np.float32]
    class_x: NDArray[np.uint8]
    class_y: NDArray[np.uint8]
    low: float
    high: float
    vanish: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return int(self.class_x.shape[0]), int(self.class_y.shape[1])

    def lengths(self, step: tuple[float, float] = (1.0, 1.0)) -> dict[BoundaryClass, float]:
        """Length of each class in the unit of `step` (dy, dx), along pixel edges."""
        return {
            code: float(
                np.count_nonzero(self.class_x == code) * step[0]
                + np.count_nonzero(self.class_y == code) * step[1]
            )
            for code in BoundaryClass
            if code
        }

    def line_segments(self, code: BoundaryClass | int) -> NDArray[np.float32]:
        """Straight pieces of one class, as long as possible.

        Returns
        -------
        ndarray
            ``(n, 2, 2)`` end points (row, column).  Pixel centres are at
            integers, so that the lines run along half-integers, as napari draws.
        """
        return lines.segments(self.class_x == code, self.class_y == code)

    def polylines(self, code: BoundaryClass | int) -> list[NDArray[np.float32]]:
        """The same lines joined from junction to junction.

        Returns
        -------
        list of ndarray
            Each ``(m, 2)`` corner points (row, column); a closed line repeats
            its first point.
        """
        return lines.polylines(self.class_x == code, self.class_y == code)

    def raster(
        self, scale: int | tuple[int, int] = 1, width: int | None = None
    ) -> NDArray[np.uint8]:
        """Classes drawn on an image enlarged by whole factors.

        Parameters
        ----------
        scale
            Pixels of the image for each pixel of the map; two numbers for rows
            and columns apart.
        width
            Line width in image pixels; a quarter of `scale` without it.
            Low-angle lines have half of it, twin-ambiguous ones are dashed
            where there is room.

        Returns
        -------
        ndarray
            ``(Y·scale, X·scale)`` uint8 codes, 0 where there is no boundary.
            Where classes cross, the later line of `BOUNDARY_TABLE` wins.
        """
        factors = (scale, scale) if isinstance(scale, int) else scale
        styles = [(int(style.code), style.line) for style in BOUNDARY_TABLE]
        return lines.raster(self.class_x, self.class_y, styles, factors, width)


def find_boundaries(
    found: OrientationMap,
    *,
    low: float = 2.0,
    high: float = 15.0,
    vanish: float = 5.0,
) -> Boundaries:
    """Compare every pixel with its right and its lower neighbour.

    Parameters
    ----------
    found
        The first answer of each pixel is used.
    low, high
        Thresholds (degrees): up to `low` is no boundary, up to `high` a
        low-angle, above it a high-angle one.
    vanish
        A boundary of more than this angle (degrees) is called twin-ambiguous
        when it falls to at most this angle once one side is turned by 180°
        about the beam.  Two matches of the same crystal differ by a degree or
        two, hence more than `low`.

    Raises
    ------
    BadInputError
        If the thresholds are out of order.
    """
    if not 0 <= low <= high <= 180 or not low <= vanish <= 180:
        raise BadInputError(
            f"boundary thresholds must be 0 ≤ low ≤ high ≤ 180 and low ≤ vanish, in degrees; got"
            f" low {low:g}, high {high:g}, vanish {vanish:g}"
        )
    q, ids = found.best_rotations, found.best_phase_ids
    operators = {
        int(i): laue_operators(found.phases[int(i)]) for i in np.unique(ids) if int(i) >= 0
    }
    thresholds = (low, high, vanish)
    angle_x, class_x = _edges(q[:, :-1], q[:, 1:], ids[:, :-1], ids[:, 1:], operators, thresholds)
    angle_y, class_y = _edges(q[:-1], q[1:], ids[:-1], ids[1:], operators, thresholds)
    return Boundaries(angle_x, angle_y, class_x, class_y, low, high, vanish)


def _edges(
    q1: NDArray[np.float32],
    q2: NDArray[np.float32],
    id1: NDArray[np.int16],
    id2: NDArray[np.int16],
    operators: dict[int, NDArray[np.float64]],
    thresholds: tuple[float, float, float],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    low, high, vanish = thresholds
    angle = np.full(id1.shape, np.nan, dtype=np.float32)
    code = np.zeros(id1.shape, dtype=np.uint8)
    code[(id1 != id2) & (id1 >= 0) & (id2 >= 0)] = BoundaryClass.PHASE
    for phase, symmetry in operators.items():
        same = (id1 == phase) & (id2 == phase)
        first, second = q1[same], q2[same]
        theta = disorientation(first, second, symmetry)
        kind = np.zeros(theta.shape, dtype=np.uint8)
        kind[theta > low] = BoundaryClass.LOW_ANGLE
        kind[theta > high] = BoundaryClass.HIGH_ANGLE
        suspect = np.flatnonzero(theta > vanish)
        turned = disorientation(first[suspect], second[suspect], symmetry, half_turn=True)
        kind[suspect[turned <= vanish]] = BoundaryClass.TWIN_AMBIGUOUS
        angle[same], code[same] = theta, kind
    return angle, code
