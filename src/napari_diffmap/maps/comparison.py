"""Two maps of one scan, answer by answer: where they agree, and where they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.quaternions import disorientation, laue_operators

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap

#: Answers nearer than this agree, degrees.
AGREE_DEG = 3.0


@dataclass(frozen=True)
class Kind:
    """How two answers for a position go together.

    Attributes
    ----------
    code
        Value in the map of a comparison.
    name
        As in legends.
    key
        As in records.
    color
        Okabe–Ito colour, ``#RRGGBB``.
    """

    code: int
    name: str
    key: str
    color: str


KINDS: tuple[Kind, ...] = (
    Kind(1, "agree", "agree", "#DDDDDD"),
    Kind(2, "half a turn apart", "half_a_turn_apart", "#56B4E9"),
    Kind(3, "orientations differ", "orientations_differ", "#E69F00"),
    Kind(4, "phases differ", "phases_differ", "#CC79A7"),
    Kind(5, "one has no answer", "one_has_no_answer", "#000000"),
)
_AGREE, _HALF_TURN, _DIFFER, _PHASE, _ONE = (kind.code for kind in KINDS)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two maps of the same positions.

    Attributes
    ----------
    codes
        ``(y, x)`` uint8: codes of `KINDS`; 0 where neither answers.
    angle
        ``(y, x)`` disorientation, degrees; NaN where there is none.
    """

    codes: NDArray[np.uint8]
    angle: NDArray[np.float64]

    @property
    def record(self) -> dict[str, Any]:
        """Positions with an answer, the share of each kind, the median angle."""
        n = int(np.count_nonzero(self.codes))
        shares = {
            kind.key: float((self.codes == kind.code).sum() / n) if n else None for kind in KINDS
        }
        known = self.angle[np.isfinite(self.angle)]
        return {
            "positions": n,
            **shares,
            "median_deg": float(np.median(known)) if known.size else None,
        }


def compare(
    first: OrientationMap, second: OrientationMap, agree_deg: float = AGREE_DEG
) -> Comparison:
    """First answers of two maps; phases are told by name.

    Parameters
    ----------
    first, second
        Of the same positions.
    agree_deg
        Answers nearer than this agree, degrees.

    Raises
    ------
    BadInputError
        If the maps are of different shapes, or a phase of one name has another symmetry.
    """
    if first.shape != second.shape:
        raise BadInputError(
            f"a map of {first.shape[0]} × {first.shape[1]} positions cannot be compared with"
            f" one of {second.shape[0]} × {second.shape[1]}"
        )
    codes = np.zeros(first.shape, dtype=np.uint8)
    angle = np.full(first.shape, np.nan)
    either, both = first.indexed | second.indexed, first.indexed & second.indexed
    codes[either] = _ONE
    codes[both] = _PHASE
    for i, phase in enumerate(first.phases):
        other = next((k for k, p in enumerate(second.phases) if p.name == phase.name), None)
        if other is None:
            continue
        operators = laue_operators(phase)
        if len(operators) != len(laue_operators(second.phases[other])):
            raise BadInputError(f"{phase.name} has another symmetry in the second map")
        same = both & first.phase_mask(i) & second.phase_mask(other)
        if not same.any():
            continue
        one, two = first.best_rotations[same], second.best_rotations[same]
        off = disorientation(one, two, operators)
        turned = disorientation(one, two, operators, half_turn=True)
        angle[same] = off
        near = np.where(turned < agree_deg, _HALF_TURN, _DIFFER)
        codes[same] = np.where(off < agree_deg, _AGREE, near)
    return Comparison(codes, angle)
