"""Phases: what the sample may be, from bundled or given CIF files, guarded.

A phase that reads as a crystal that cannot exist is refused with one line; a
phase that had to be mended says so in `CrystalPhase.warnings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal import symmetry as sym
from napari_diffmap.crystal.cell_atoms import (
    CellAtoms,
    check_composition,
    check_distances,
    fill_cell,
    formula_text,
)
from napari_diffmap.crystal.cif_file import CifCrystal, read_cif
from napari_diffmap.crystal.conventional import conventional_basis, transform_cell
from napari_diffmap.errors import PhaseError

if TYPE_CHECKING:
    from orix.crystal_map import Phase
    from orix.quaternion.symmetry import Symmetry

_FOLDER = Path(__file__).parent / "cif"

#: Okabe–Ito, in the order in which phases are added; white and black left out.
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")

#: orix takes named colours only; the nearest one to each of `COLORS`.
_ORIX_COLORS = dict(
    zip(
        COLORS,
        ("orange", "skyblue", "seagreen", "gold", "steelblue", "orangered", "orchid"),
        strict=True,
    )
)


@dataclass(frozen=True, eq=False)
class CrystalPhase:
    """What a part of the sample may be.

    Attributes
    ----------
    name
        Short name, the file's stem.
    formula
        Composition of one formula unit as the file's atoms give it.
    source
        The CIF, None for a phase built in code.
    base
        Cell vectors a, b, c as rows, Å, in the crystal Cartesian frame of orix
        (e1 ∥ a, e3 ∥ c*).
    elements, xyz, occupancy, b_iso
        Every atom of the cell: symbol, fractional position ``(n, 3)``, share of
        the site that is filled, isotropic displacement B in Å².
    space_group
        Short name, e.g. ``"R-3m"``; ``"P1"`` when unknown.
    space_group_number
        Number in the International Tables, None when unknown.
    point_group
        The crystal's own point group as an orix `Symmetry`, in the crystal
        Cartesian frame (for a monoclinic crystal with unique axis b the two-fold
        axis is along y, where orix's own "2/m" would put it along z).
    symmetry
        ``(n, 4)`` unit quaternions: proper rotations of the Laue group, which are
        the rotations that leave a kinematic diffraction experiment unchanged.
    color
        ``#RRGGBB`` of the Okabe–Ito palette.
    warnings
        Lines the user must see.
    """

    name: str
    formula: str
    source: Path | None
    base: NDArray[np.float64]
    elements: tuple[str, ...]
    xyz: NDArray[np.float64]
    occupancy: NDArray[np.float64]
    b_iso: NDArray[np.float64]
    space_group: str
    space_group_number: int | None
    point_group: Symmetry
    symmetry: NDArray[np.float64]
    color: str = COLORS[0]
    warnings: tuple[str, ...] = ()

    @property
    def reciprocal(self) -> NDArray[np.float64]:
        """Reciprocal cell vectors a*, b*, c* as rows, 1/Å (without 2π)."""
        return np.asarray(np.linalg.inv(self.base).T)

    @property
    def cell(self) -> tuple[float, float, float, float, float, float]:
        """a, b, c in Å and α, β, γ in degrees."""
        lengths = np.linalg.norm(self.base, axis=1)
        unit = self.base / lengths[:, None]
        angles = [np.rad2deg(np.arccos(unit[i] @ unit[j])) for i, j in ((1, 2), (0, 2), (0, 1))]
        a, b, c = (float(v) for v in lengths)
        return (a, b, c, float(angles[0]), float(angles[1]), float(angles[2]))

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.base)))

    @cached_property
    def lattice(self) -> Any:
        """The cell as a diffpy `Lattice` in diffpy's own frame (see `base` for ours)."""
        from diffpy.structure import Lattice

        return Lattice(*self.cell)

    @cached_property
    def structure(self) -> Any:
        """Every atom of the cell as a diffpy `Structure`.

        Its lattice is in diffpy's standard frame: orix turns it when it takes it,
        and diffsims turns the atoms back; a lattice already turned would come
        out wrong there.
        """
        from diffpy.structure import Atom, Structure

        atoms = [
            Atom(e, xyz=p, occupancy=o, Uisoequiv=b / (8 * np.pi**2))
            for e, p, o, b in zip(self.elements, self.xyz, self.occupancy, self.b_iso, strict=True)
        ]
        structure = Structure(atoms, lattice=self.lattice)
        structure.title = self.name
        return structure

    @cached_property
    def orix(self) -> Phase:
        """The same phase for orix maps and colour keys."""
        from orix.crystal_map import Phase
        from orix.quaternion.symmetry import get_point_group

        number = self.space_group_number
        if number is not None and get_point_group(number) != self.point_group:
            number = None  # orix would put the axes elsewhere (monoclinic, unique axis b)
        return Phase(
            name=self.name,
            space_group=number,
            point_group=None if number is not None else self.point_group,
            structure=self.structure,
            color=_ORIX_COLORS.get(self.color, "tab:blue"),
        )

    @property
    def shortest_distance(self) -> float:
        """Shortest distance between two different sites, Å."""
        if len(self.elements) < 2:
            return float(np.linalg.norm(self.base, axis=1).min())
        distances = sym.pair_distances(self.xyz, self.base)
        return float(distances[distances > sym.SAME_SITE].min())

    def with_color(self, color: str) -> CrystalPhase:
        """The same phase drawn in another colour."""
        return replace(self, color=color)


def bundled_phases() -> tuple[str, ...]:
    """Names that `load_phase` knows without a file."""
    return tuple(sorted((path.stem for path in _FOLDER.glob("*.cif")), key=str.lower))


def bundled_name(phase: CrystalPhase) -> str | None:
    """The name that `load_phase` knows a bundled phase by; None for one of the user's own."""
    if phase.source is None or Path(phase.source).parent != _FOLDER:
        return None
    return Path(phase.source).stem


def load_phases(sources: Sequence[str | Path]) -> tuple[CrystalPhase, ...]:
    """Several phases, each in its own colour and with a name of its own.

    Raises
    ------
    PhaseError
        If one cannot be loaded.
    """
    phases: list[CrystalPhase] = []
    for i, source in enumerate(sources):
        phase = load_phase(source).with_color(COLORS[i % len(COLORS)])
        same = sum(other.name.split(" #")[0] == phase.name for other in phases)
        phases.append(replace(phase, name=f"{phase.name} #{same + 1}") if same else phase)
    return tuple(phases)


def load_phase(source: str | Path) -> CrystalPhase:
    """A phase by its bundled name (``"LiNiO2"``) or from a CIF.

    Raises
    ------
    PhaseError
        If the file cannot be read or describes a crystal that cannot exist.
    """
    path = Path(source)
    if not path.suffix and not path.is_file():
        known = {name.lower(): name for name in bundled_phases()}
        name = known.get(str(source).lower())
        if name is None:
            raise PhaseError(
                f"no phase {str(source)!r}: give a CIF file or one of {', '.join(known.values())}"
            )
        path = _FOLDER / f"{name}.cif"
    if path.is_dir():
        raise PhaseError(f"{path.name} is a folder: give one CIF file")
    if not path.is_file():
        raise PhaseError(f"{path} does not exist: give a CIF file")
    crystal = read_cif(path)
    return _build(crystal, path)


def _build(crystal: CifCrystal, path: Path) -> CrystalPhase:
    name = path.name
    warnings: list[str] = []
    try:
        base = sym.base_from_cell(crystal.cell)
    except ValueError as error:
        raise PhaseError(f"{name}: {error}") from error
    operators, group, number = _operators(crystal, base, name, warnings)
    atoms = fill_cell(crystal.sites, operators, base)
    check_distances(atoms, base, name)
    check_composition(atoms, crystal, name, warnings)
    if len(operators) == 1 and len(atoms.elements) > 1:
        found = sym.find_operators(base, atoms.xyz, atoms.kinds)
        if len(np.unique([w for w, _ in found], axis=0)) > 1:
            operators = found
    base, atoms, rotations = _set_axes(base, atoms, operators, warnings)
    point_group, _ = sym.orix_point_group(rotations, _group_hint(rotations))
    if group == "P1" and len(rotations) > 1:
        group, number = f"P1 ({point_group.name or 'symmetry'} found)", None
        warnings.append(
            f"{name} lists its atoms without symmetry; {len(rotations)} operations of"
            f" point group {point_group.name or '?'} were found in them and are used"
        )
    laue = sym.proper_rotations(rotations)
    return CrystalPhase(
        name=path.stem,
        formula=formula_text(atoms, tuple(crystal.formula)),
        source=path,
        base=base,
        elements=atoms.elements,
        xyz=atoms.xyz,
        occupancy=atoms.occupancy,
        b_iso=atoms.b_iso,
        space_group=group,
        space_group_number=number,
        point_group=point_group,
        symmetry=sym.quaternions_from_matrices(laue),
        warnings=tuple(warnings),
    )


def _operators(
    crystal: CifCrystal, base: NDArray[np.float64], name: str, warnings: list[str]
) -> tuple[tuple[sym.Operator, ...], str, int | None]:
    """The file's own operators; those of its space-group name where it lists none."""
    named = None
    for word in crystal.space_group_names:
        named = sym.operators_from_name(word)
        if named is not None:
            break
    number = _number(crystal.space_group_names)
    if crystal.operators:
        operators = crystal.operators
        if len(operators) == 1:
            group: str = "P1"
            number = 1
            if named is not None and named[2] > 1:
                warnings.append(
                    f"{name} names space group {named[1]} but lists one operator: atoms are"
                    " taken as listed"
                )
        elif named is not None:
            group, number = named[1], number or named[2]
        else:
            group = crystal.space_group_names[0] if crystal.space_group_names else "unnamed"
    elif named is not None:
        operators, group, number = named
        if ":2" in "".join(crystal.space_group_names):
            warnings.append(f"{name} lists no operators: origin choice 2 was not applied")
    else:
        what = crystal.space_group_names[0] if crystal.space_group_names else "none"
        warnings.append(
            f"{name}: unknown space group ({what}) and no symmetry operators: read as P1"
        )
        operators, group, number = ((np.eye(3, dtype=np.int64), np.zeros(3)),), "P1", 1
    if not sym.fits_cell(operators, base):
        raise PhaseError(
            f"{name}: the cell does not fit the symmetry {group}: mend the cell or the operators"
        )
    # diffpy writes H for hexagonal axes and adds thousands for other settings.
    if group.startswith("H"):
        group = "R" + group[1:]
    return operators, group, number % 1000 if number else None


def _number(names: Sequence[str]) -> int | None:
    for word in names:
        if word.isdigit() and 1 <= int(word) <= 230:
            return int(word)
    return None


def _set_axes(
    base: NDArray[np.float64],
    atoms: CellAtoms,
    operators: Sequence[sym.Operator],
    warnings: list[str],
) -> tuple[NDArray[np.float64], CellAtoms, NDArray[np.float64]]:
    """Keep the file's axes where orix has a group for them, else take conventional ones."""
    rotations = sym.cartesian_rotations(operators, base)
    _, named = sym.orix_point_group(rotations)
    if named:
        return base, atoms, rotations
    basis = conventional_basis(base, sym.proper_rotations(rotations))
    if basis is None or np.array_equal(basis, np.eye(3)):
        return base, atoms, rotations
    raw, xyz, index = transform_cell(base, atoms.xyz, basis)
    turned = sym.base_from_cell(_cell(raw))
    # Cartesian operators follow the crystal into the new frame.
    frame = np.linalg.solve(raw, turned).T
    rotations = frame @ rotations @ frame.T
    warnings.append(
        "set on conventional axes: a, b, c = " + ", ".join(str(row.tolist()) for row in basis)
    )
    return turned, atoms.take(index, xyz), rotations


def _cell(base: NDArray[np.float64]) -> sym.Cell:
    lengths = np.linalg.norm(base, axis=1)
    unit = base / lengths[:, None]
    angles = [float(np.rad2deg(np.arccos(unit[i] @ unit[j]))) for i, j in ((1, 2), (0, 2), (0, 1))]
    return (float(lengths[0]), float(lengths[1]), float(lengths[2]), *angles)  # type: ignore[return-value]


def _group_hint(rotations: NDArray[np.float64]) -> str:
    """Name for a monoclinic group on another axis, so that colour keys still work."""
    determinants = np.linalg.det(rotations)
    if len(rotations) == 4 and (determinants < 0).sum() == 2:
        traces = np.sort(np.trace(rotations, axis1=1, axis2=2))
        if np.allclose(traces, [-3, -1, 1, 3], atol=0.05):
            return "2/m"
    return ""
