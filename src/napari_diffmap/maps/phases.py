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


class NamedPhase(Protocol):
    """The part of a phase that legends need."""

    @property
    def name(self) -> str:
        """Name shown in legends."""

    @property
    def color(self) -> str:
        """``#RRGGBB``."""


class PhaseLike(NamedPhase, Protocol):
    """The part of a crystal phase that maps need."""

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


def file_phase(
    name: str,
    lattice: tuple[float, ...],
    laue: str | None,
    index: int,
    *,
    space_group: int | None = None,
    unique_axis: str = "b",
) -> MapPhase:
    """A phase as map files describe it: a name, a cell and a Laue group.

    Parameters
    ----------
    name
        As in the file.
    lattice
        a, b, c in Å and α, β, γ in degrees.
    laue
        Name of the Laue group, None when the file gives none.
    index
        Chooses the colour.
    space_group
        Number; ignored where it contradicts `laue`.
    unique_axis
        Of a monoclinic crystal: ``a``, ``b`` or ``c``.

    Raises
    ------
    PhaseError
        If the cell cannot exist.
    """
    from diffpy.structure import Lattice, Structure
    from orix.crystal_map import Phase
    from orix.quaternion import symmetry

    cell = tuple(float(value) for value in lattice)
    if len(cell) != 6 or min(cell) <= 0 or max(cell[3:]) >= 180:
        raise PhaseError(f"phase {name!r} has the impossible cell {cell}: mend the file's header")
    structure = Structure(title=name, lattice=Lattice(*cell))
    group = None
    if laue == "2/m" and unique_axis in ("a", "b"):
        # orix's own 2/m has its axis along z.
        group = (symmetry.C2x if unique_axis == "a" else symmetry.C2y).laue
    if space_group and symmetry.get_point_group(space_group).laue.name == laue and group is None:
        phase = Phase(name=name, space_group=space_group, structure=structure)
    else:
        phase = Phase(name=name, point_group=laue, structure=structure)
    made = MapPhase.from_orix(phase, index)
    return MapPhase(made.name, made.color, phase, group)
