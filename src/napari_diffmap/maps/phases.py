"""What a map must know about a phase, whoever made it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from napari_diffmap.errors import PhaseError

if TYPE_CHECKING:
    from orix.crystal_map import Phase
    from orix.quaternion.symmetry import Symmetry

#: Okabe–Ito without black and yellow, for phases that come without a colour.
PHASE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


class PhaseLike(Protocol):
    """The part of a crystal phase that maps need."""

    @property
    def name(self) -> str:
        """Name shown in legends."""

    @property
    def color(self) -> str:
        """``#RRGGBB``."""

    @property
    def orix(self) -> Any:
        """The phase as `orix.crystal_map.Phase`."""

    @property
    def point_group(self) -> Any:
        """Its point group as an orix symmetry."""


@dataclass(frozen=True, eq=False)
class MapPhase:
    """A phase as a map file gives it, without a CIF behind it.

    Attributes
    ----------
    name
        Name shown in legends.
    color
        ``#RRGGBB``.
    orix
        Lattice, symmetry and, where the file holds them, atoms.
    group
        Point group where `orix` cannot hold it: a space group of orix implies
        the common setting of its point group.
    """

    name: str
    color: str
    orix: Phase
    group: Symmetry | None = field(default=None, repr=False)

    @property
    def point_group(self) -> Symmetry:
        """Point group as an orix symmetry.

        Raises
        ------
        PhaseError
            If the file names none.
        """
        group = self.group if self.group is not None else self.orix.point_group
        if group is None:
            raise PhaseError(
                f"phase {self.name!r} has no symmetry in the file: load it again with its CIF"
            )
        return group

    @classmethod
    def from_orix(cls, phase: Phase, index: int = 0, color: str | None = None) -> MapPhase:
        """Wrap an orix phase; the `index` chooses a colour when none is given."""
        return cls(
            name=phase.name or f"phase {index + 1}",
            color=color or PHASE_COLORS[index % len(PHASE_COLORS)],
            orix=phase,
        )
