"""What a hexagonal monolayer is made of, and how bright its columns are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from napari_diffmap.methods.defects.parameters import SPACING_NM

#: Brightness of an atom in high-angle annular dark field goes as Z to this power.
POWER: Final = 1.7

Z_OF: Final = {
    "B": 5, "C": 6, "N": 7, "O": 8, "Si": 14, "S": 16, "V": 23, "Cr": 24, "Fe": 26,
    "Se": 34, "Nb": 41, "Mo": 42, "Te": 52, "Ta": 73, "W": 74, "Re": 75,
}  # fmt: skip


def brightness(*atoms: str) -> float:
    """Brightness of a column of atoms, arbitrary units."""
    return float(sum(Z_OF[atom] ** POWER for atom in atoms))


@dataclass(frozen=True)
class Monolayer:
    """A crystal of one layer seen along its normal.

    Attributes
    ----------
    name
        As the user reads it.
    spacing_nm
        Lattice constant a.
    columns
        Atoms of a column of the brighter and of the weaker sublattice.
    dopants
        Atoms often found in place of those of each sublattice.
    """

    name: str
    spacing_nm: float
    columns: tuple[tuple[str, ...], tuple[str, ...]]
    dopants: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def amplitudes(self) -> tuple[float, float]:
        """Brightness of the two kinds of columns, the brighter one 1."""
        bright, weak = (brightness(*column) for column in self.columns)
        return 1.0, weak / bright

    def ratio(self, sublattice: int, *atoms: str) -> float:
        """Brightness of a column of other atoms over that of the pristine one."""
        return brightness(*atoms) / brightness(*self.columns[sublattice])


def _dichalcogenide(metal: str, chalcogen: str) -> Monolayer:
    others = tuple(z for z in ("V", "Cr", "Nb", "Mo", "W", "Re") if z != metal)
    return Monolayer(
        f"{metal}{chalcogen}2",
        SPACING_NM[f"{metal}{chalcogen}2"],
        ((metal,), (chalcogen, chalcogen)),
        (others, tuple(z for z in ("O", "S", "Se", "Te") if z != chalcogen)),
    )


MONOLAYERS: Final = {
    "graphene": Monolayer(
        "graphene", SPACING_NM["graphene"], (("C",), ("C",)), (("B", "N", "Si"), ("B", "N", "Si"))
    ),
    **{
        metal + chalcogen + "2": _dichalcogenide(metal, chalcogen)
        for chalcogen in ("S", "Se")
        for metal in ("Mo", "W")
    },
}
