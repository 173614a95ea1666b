"""Boundaries by twin and coincidence law: which law each edge follows, and how closely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.boundaries import lines
from napari_diffmap.maps.boundaries.find import Boundaries, BoundaryClass
from napari_diffmap.maps.boundaries.twin_laws import TwinLaw, standard_laws
from napari_diffmap.maps.columns import Column, check_fits
from napari_diffmap.maps.phases import PHASE_COLORS
from napari_diffmap.maps.quaternions import batches, conjugate, disorientation, multiply

if TYPE_CHECKING:
    from napari_diffmap.maps.grains.find import Grains
    from napari_diffmap.maps.orientation_map import OrientationMap
    from napari_diffmap.maps.phases import PhaseLike

LawsByPhase = Mapping[int, Sequence[TwinLaw]]


class LawEntry(NamedTuple):
    """One line of the legend.

    Attributes
    ----------
    code
        Value in the edge maps, from 1.
    phase, phase_name
        Index into the map's phases, and its name.
    law
        The law.
    color
        ``#RRGGBB``.
    """

    code: int
    phase: int
    phase_name: str
    law: TwinLaw
    color: str

    @property
    def name(self) -> str:
        """Name of the law."""
        return self.law.name


@dataclass(frozen=True, eq=False)
class BoundaryLaws:
    """The law of every edge between two neighbouring pixels.

    Attributes
    ----------
    law_x
        ``(Y, X-1)`` uint16: code of the law (see `legend`) between ``[y, x]`` and
        ``[y, x+1]``, 0 where none holds.
    law_y
        ``(Y-1, X)`` uint16: the same for ``[y, x]`` and ``[y+1, x]``.
    deviation_x, deviation_y
        float32, same shapes: degrees from the law; NaN where none holds.
    legend
        Code i is ``legend[i - 1]``.
    lengths
        ``(n_laws,)`` along pixel edges, in `unit`.
    vanishing
        ``(n_laws,)``: part of the length that would vanish if one side were turned
        by 180° about the beam, so that the pattern hardly shows the boundary at all.
    phase_lengths
        ``(n_phases,)`` length of all boundaries inside a phase above `minimum`,
        with a law or without.
    minimum
        Disorientation (degrees) from which an edge is a boundary.
    unit
        Of the lengths: ``nm`` or ``pixel``.
    """

    law_x: NDArray[np.uint16]
    law_y: NDArray[np.uint16]
    deviation_x: NDArray[np.float32]
    deviation_y: NDArray[np.float32]
    legend: tuple[LawEntry, ...]
    lengths: NDArray[np.float64]
    vanishing: NDArray[np.float64]
    phase_lengths: NDArray[np.float64]
    minimum: float
    unit: str

    @property
    def fractions(self) -> NDArray[np.float64]:
        """``(n_laws,)``: share of the boundary length of the law's phase, NaN without any."""
        whole = self.phase_lengths[[entry.phase for entry in self.legend]]
        share: NDArray[np.float64] = self.lengths / np.where(whole > 0, whole, np.nan)
        return share

    def twin_fraction(self, phase: int | None = None) -> float:
        """Share of twins in the length of boundaries inside phases that have laws.

        Parameters
        ----------
        phase
            Only this one.

        Returns
        -------
        float
            0–1, NaN where there is no boundary.
        """
        mine = [e for e in self.legend if phase is None or e.phase == phase]
        twins = sum(float(self.lengths[e.code - 1]) for e in mine if e.law.twin)
        whole = sum(float(self.phase_lengths[p]) for p in {e.phase for e in mine})
        return twins / whole if whole > 0 else float("nan")

    def line_segments(self, code: int) -> NDArray[np.float32]:
        """Straight pieces ``(n, 2, 2)`` of one law, as `Boundaries.line_segments`."""
        return lines.segments(self.law_x == code, self.law_y == code)

    def polylines(self, code: int) -> list[NDArray[np.float32]]:
        """Joined lines of one law, as `Boundaries.polylines`."""
        return lines.polylines(self.law_x == code, self.law_y == code)

    def columns(self) -> tuple[Column, ...]:
        """A row a law: name, phase, length, share, what of it may vanish, tolerance."""
        names = np.array([entry.name for entry in self.legend], dtype=object)
        phases = np.array([entry.phase_name for entry in self.legend], dtype=object)
        tolerance = np.array([entry.law.tolerance_deg for entry in self.legend], dtype=np.float64)
        whole = "boundary length of the phase"
        return (
            Column("law", "", names, "Name of the law."),
            Column("phase", "", phases, "Name of the phase."),
            Column("length", self.unit, self.lengths, "Length along pixel edges."),
            Column("share", "", self.fractions, f"Share of the {whole}, 0–1."),
            Column("vanishing", self.unit, self.vanishing, "Length that a half turn would undo."),
            Column("tolerance", "°", tolerance, "Largest deviation that still counts."),
        )


def classify_laws(
    found: OrientationMap,
    boundaries: Boundaries,
    laws_by_phase: LawsByPhase | None = None,
    *,
    grains: Grains | None = None,
    minimum: float | None = None,
) -> BoundaryLaws:
    """Compare the boundaries inside each phase with the laws of that phase.

    Parameters
    ----------
    found
        The first answer of each pixel is used.
    boundaries
        From `find_boundaries` of the same map.
    laws_by_phase
        Index of a phase → its laws; `standard_laws` of every phase without it.
    grains
        Only edges between two grains are boundaries, so that pixels of wrong
        answers, each with an outline of its own, do not count.
    minimum
        Edges of a larger disorientation (degrees) are boundaries; the high threshold
        of `boundaries` without it.

    Returns
    -------
    BoundaryLaws
        Where several laws hold, the one whose deviation is the smallest share of
        its tolerance.

    Raises
    ------
    BadInputError
        If boundaries or grains are of another map, a phase does not exist, or a law is
        within its tolerance of no rotation at all.
    """
    check_fits(boundaries.shape, found.shape, "boundaries")
    if grains is not None:
        check_fits(grains.labels.shape, found.shape, "grains")
    smallest = boundaries.high if minimum is None else minimum
    legend = _legend(found, laws_by_phase)
    present = {int(i) for i in np.unique(found.best_phase_ids)}
    codes, deviations = [], []
    lengths, vanishing = np.zeros(len(legend) + 1), np.zeros(len(legend) + 1)
    phase_lengths = np.zeros(len(found.phases))
    q, ids = found.best_rotations, found.best_phase_ids
    left, right = (slice(None), slice(None, -1)), (slice(None), slice(1, None))
    above, below = slice(None, -1), slice(1, None)
    for one, two, angle, kind, length in (
        (left, right, boundaries.angle_x, boundaries.class_x, found.step[0]),
        (above, below, boundaries.angle_y, boundaries.class_y, found.step[1]),
    ):
        code = np.zeros(angle.shape, dtype=np.uint16)
        deviation = np.full(angle.shape, np.nan, dtype=np.float32)
        with np.errstate(invalid="ignore"):  # NaN: another phase, or no answer
            boundary = angle > smallest
        if grains is not None:
            first, second = grains.labels[one], grains.labels[two]
            boundary &= (first != second) & (first > 0) & (second > 0)
        phase_lengths += length * np.bincount(ids[one][boundary], minlength=len(found.phases))
        for phase in sorted({entry.phase for entry in legend} & present):
            mine = boundary & (ids[one] == phase)
            entries = [entry for entry in legend if entry.phase == phase]
            code[mine], deviation[mine] = _nearest(
                q[one][mine], q[two][mine], found.phases[phase], entries
            )
        lengths += length * np.bincount(code.ravel(), minlength=len(legend) + 1)
        lost = code[kind == BoundaryClass.TWIN_AMBIGUOUS]
        vanishing += length * np.bincount(lost, minlength=len(legend) + 1)
        codes.append(code)
        deviations.append(deviation)
    return BoundaryLaws(
        law_x=codes[0],
        law_y=codes[1],
        deviation_x=deviations[0],
        deviation_y=deviations[1],
        legend=legend,
        lengths=lengths[1:],
        vanishing=vanishing[1:],
        phase_lengths=phase_lengths,
        minimum=smallest,
        unit=found.step_unit,
    )


def _legend(found: OrientationMap, laws_by_phase: LawsByPhase | None) -> tuple[LawEntry, ...]:
    if laws_by_phase is None:
        present = np.unique(found.best_phase_ids)
        laws_by_phase = {int(i): standard_laws(found.phases[int(i)]) for i in present if i >= 0}
    legend: list[LawEntry] = []
    for index, laws in sorted(laws_by_phase.items()):
        if not 0 <= index < len(found.phases):
            raise BadInputError(
                f"there is no phase {index}: laws are for phases 0 to {len(found.phases) - 1}"
            )
        phase = found.phases[index]
        for i, law in enumerate(laws):
            if law.angle(phase) <= law.tolerance_deg:
                raise BadInputError(
                    f"law {law.name} turns {phase.name!r} by {law.angle(phase):.2g}° only: give it"
                    " a tolerance below that"
                )
            color = PHASE_COLORS[(1 + i) % len(PHASE_COLORS)]
            legend.append(LawEntry(len(legend) + 1, index, phase.name, law, color))
    return tuple(legend)


def _nearest(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    phase: PhaseLike,
    entries: Sequence[LawEntry],
) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Code and deviation of the best law of each pair of orientations."""
    code = np.zeros(len(first), dtype=np.uint16)
    deviation = np.full(len(first), np.nan, dtype=np.float32)
    best = np.full(len(first), np.inf)
    turn = multiply(second, conjugate(first))
    turn /= np.linalg.norm(turn, axis=-1, keepdims=True)
    angles: dict[int, NDArray[np.float32]] = {}
    for entry in entries:
        law = entry.law
        operators = law.operators(phase)
        key = id(law.lattice)  # the laws of a phase share one lattice or none
        if key not in angles:
            angles[key] = disorientation(first, second, operators)
        # Disorientation angles differ by no more than the rotations do.
        near = np.abs(angles[key] - law.angle(phase)) <= law.tolerance_deg + 0.01
        rows = np.flatnonzero(near)
        if not rows.size:
            continue
        off = _deviations(turn[rows], law.variants(phase))
        share = off / law.tolerance_deg
        better = (share <= 1) & (share < best[rows])
        rows = rows[better]
        best[rows], code[rows], deviation[rows] = share[better], entry.code, off[better]
    return code, deviation


def _deviations(turn: NDArray[np.float64], variants: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle (degrees) of each rotation to the nearest variant of a law."""
    out = np.empty(len(turn))
    for part in batches(len(turn), len(variants)):
        cosine = np.abs(variants @ turn[part].T).max(axis=0)
        out[part] = np.rad2deg(2 * np.arccos(np.minimum(cosine, 1.0)))
    return out
