"""The boundary between every two grains that touch: class, law, disorientation, length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.boundaries.find import BOUNDARY_TABLE, Boundaries
from napari_diffmap.maps.boundaries.twins import BoundaryLaws
from napari_diffmap.maps.columns import Column, check_fits, names_of
from napari_diffmap.maps.grains.pairs import GrainPairs, find_pairs
from napari_diffmap.maps.quaternions import disorientation, laue_operators

if TYPE_CHECKING:
    from napari_diffmap.maps.grains.find import Grains
    from napari_diffmap.maps.orientation_map import OrientationMap

_CLASS_NAMES = {int(style.code): style.name for style in BOUNDARY_TABLE}
#: Names by code of `BoundaryClass`.
CLASS_NAMES = tuple(_CLASS_NAMES.get(code, "none") for code in range(max(_CLASS_NAMES) + 1))


@dataclass(frozen=True, eq=False)
class BoundaryProperties:
    """A value for every two grains that touch; row *i* is pair *i* of `pairs`.

    Attributes
    ----------
    pairs
        The two grains, their edges and the length in its `unit`.
    phases
        ``(m, 2)`` int16: phases of the two.
    phase_names, law_names
        Names by phase, and by law code less one.
    classes
        ``(m,)`` int64: code of `BoundaryClass` that most of the length has.
    laws
        ``(m,)`` int64: code of the law that at least half of the length follows, 0
        where none does.
    law_share
        ``(m,)``: share of the length with the law that the most of it follows.
    deviation
        ``(m,)``: mean deviation (degrees) of the edges from the law in `laws`, NaN
        where there is none.
    mean_disorientation
        ``(m,)``: between the mean orientations (degrees); NaN across phases.
    edge_disorientation
        ``(m,)``: mean over the edges (degrees); NaN across phases.
    """

    pairs: GrainPairs
    phases: NDArray[np.int16]
    phase_names: tuple[str, ...]
    law_names: tuple[str, ...]
    classes: NDArray[np.int64]
    laws: NDArray[np.int64]
    law_share: NDArray[np.float64]
    deviation: NDArray[np.float64]
    mean_disorientation: NDArray[np.float64]
    edge_disorientation: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pairs)

    def columns(self) -> tuple[Column, ...]:
        """The table, column by column, in the order in which it is read."""
        pairs, names = self.pairs, self.phase_names
        return (
            Column("grain_a", "", pairs.first, "Number of the one grain."),
            Column("grain_b", "", pairs.second, "Number of the other grain."),
            Column("phase_a", "", names_of(names, self.phases[:, 0]), "Phase of the one."),
            Column("phase_b", "", names_of(names, self.phases[:, 1]), "Phase of the other."),
            Column("class", "", names_of(CLASS_NAMES, self.classes), "What most edges are."),
            Column(
                "law",
                "",
                names_of(self.law_names, self.laws - 1),
                "Law of half the length or more.",
            ),
            Column("law_share", "", self.law_share, "Share of the length that follows it, 0–1."),
            Column("deviation", "°", self.deviation, "Mean deviation of the edges from the law."),
            Column(
                "mean_disorientation",
                "°",
                self.mean_disorientation,
                "Between the mean orientations of the grains.",
            ),
            Column("edge_disorientation", "°", self.edge_disorientation, "Mean over the edges."),
            Column("length", pairs.unit, pairs.length, "Shared length along pixel edges."),
            Column("edges", "", pairs.edges, "Shared pixel edges."),
        )


def boundary_properties(
    found: OrientationMap,
    grains: Grains,
    boundaries: Boundaries,
    *,
    pairs: GrainPairs | None = None,
    laws: BoundaryLaws | None = None,
) -> BoundaryProperties:
    """Describe the boundary between every two grains that touch.

    Parameters
    ----------
    found
        The map.
    grains, boundaries
        From `find_grains` and `find_boundaries` of the same map.
    pairs
        Reuse what `find_pairs` gave.
    laws
        From `classify_laws`; without it no boundary has a law.

    Raises
    ------
    BadInputError
        If the parts are of different maps.
    """
    check_fits(boundaries.shape, found.shape, "boundaries")
    pairs = find_pairs(found, grains) if pairs is None else pairs
    phases = grains.phase_ids[np.stack((pairs.first, pairs.second), axis=1) - 1]
    law, share, deviation = _law_of(pairs, laws)
    return BoundaryProperties(
        pairs=pairs,
        phases=phases,
        phase_names=tuple(phase.name for phase in found.phases),
        law_names=() if laws is None else tuple(entry.name for entry in laws.legend),
        classes=pairs.longest_on_edges(pairs.on_edges(boundaries.class_x, boundaries.class_y))[0],
        laws=law,
        law_share=share,
        deviation=deviation,
        mean_disorientation=_between_means(found, grains, pairs, phases),
        edge_disorientation=pairs.mean_on_edges(
            pairs.on_edges(boundaries.angle_x, boundaries.angle_y)
        ),
    )


def _law_of(
    pairs: GrainPairs, laws: BoundaryLaws | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Code, share and mean deviation of the law of each pair."""
    m = len(pairs)
    if laws is None:
        return np.zeros(m, dtype=np.int64), np.zeros(m), np.full(m, np.nan)
    on_edges = pairs.on_edges(laws.law_x, laws.law_y).astype(np.int64)
    code, length = pairs.longest_on_edges(on_edges)
    share = np.where(code > 0, length / pairs.length, 0.0)
    code = np.where(share >= 0.5 - 1e-9, code, 0)
    off = pairs.on_edges(laws.deviation_x, laws.deviation_y)
    mine = (on_edges > 0) & (on_edges == code[pairs.pair_of_edges()])
    return code, share, pairs.mean_on_edges(np.where(mine, off, np.nan))


def _between_means(
    found: OrientationMap, grains: Grains, pairs: GrainPairs, phases: NDArray[np.int16]
) -> NDArray[np.float64]:
    out = np.full(len(pairs), np.nan)
    for phase in np.unique(phases):
        same = (phases == phase).all(axis=1)
        if same.any():
            one, two = (
                grains.mean_rotations[side[same] - 1] for side in (pairs.first, pairs.second)
            )
            out[same] = disorientation(one, two, laue_operators(found.phases[int(phase)]))
    return out
