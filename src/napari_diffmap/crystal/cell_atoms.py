"""The atoms of one cell: filled by symmetry, checked against sense and the stated formula."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal import symmetry as sym
from napari_diffmap.crystal.cif_file import CifCrystal, CifSite
from napari_diffmap.errors import PhaseError

#: B (Å²) where a file gives none: usual for inorganic solids at room temperature.
DEFAULT_B = 0.5


@dataclass(frozen=True, eq=False)
class CellAtoms:
    """All atoms of a cell while it is being built."""

    elements: tuple[str, ...]
    xyz: NDArray[np.float64]
    occupancy: NDArray[np.float64]
    b_iso: NDArray[np.float64]
    disorder: tuple[str, ...]

    def take(self, index: NDArray[np.int64], xyz: NDArray[np.float64]) -> CellAtoms:
        """Some of the atoms, at new places."""
        return CellAtoms(
            tuple(self.elements[i] for i in index),
            xyz,
            self.occupancy[index],
            self.b_iso[index],
            tuple(self.disorder[i] for i in index),
        )

    @property
    def kinds(self) -> NDArray[np.int64]:
        """A number for each kind of site: same atoms, same occupancy."""
        keys = [(e, round(float(o), 2)) for e, o in zip(self.elements, self.occupancy, strict=True)]
        order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        return np.array([order[key] for key in keys])


def fill_cell(
    sites: Sequence[CifSite], operators: Sequence[sym.Operator], base: NDArray[np.float64]
) -> CellAtoms:
    """All images of the sites, each once."""
    elements: list[str] = []
    xyz, occupancy, b_iso, disorder = [], [], [], []
    for site in sites:
        images = sym.expand(_on_thirds(site.xyz), operators, base)
        xyz.append(images)
        elements += [site.element] * len(images)
        occupancy += [site.occupancy] * len(images)
        b_iso += [DEFAULT_B if site.b_iso is None else site.b_iso] * len(images)
        disorder += [site.disorder] * len(images)
    return CellAtoms(
        tuple(elements),
        np.concatenate(xyz),
        np.array(occupancy),
        np.array(b_iso),
        tuple(disorder),
    )


def _on_thirds(xyz: tuple[float, float, float]) -> NDArray[np.float64]:
    """Coordinates with 0.3333 and 0.1667 read as the sixths they stand for."""
    place = np.array(xyz)
    sixths = np.round(place * 6) / 6
    return np.where(np.abs(place - sixths) < 1e-4, sixths, place)


def check_distances(atoms: CellAtoms, base: NDArray[np.float64], name: str) -> None:
    """Refuse atoms that sit in one another, unless they are never there together."""
    if len(atoms.elements) < 2:
        return
    distances = sym.pair_distances(atoms.xyz, base)
    hydrogen = np.array([e == "H" for e in atoms.elements])
    limit = np.where(hydrogen[:, None] | hydrogen[None], 0.6, 1.0)
    full = atoms.occupancy[:, None] + atoms.occupancy[None] > 1.02
    groups = np.array([g if g not in (".", "?", "") else "" for g in atoms.disorder])
    alternative = (groups[:, None] != groups[None]) & (groups[:, None] != "") & (groups != "")
    bad = (distances < limit) & full & ~alternative
    if bad.any():
        i, j = np.argwhere(bad)[np.argmin(distances[bad])]
        raise PhaseError(
            f"{name}: {atoms.elements[i]} and {atoms.elements[j]} would lie"
            f" {distances[i, j]:.2f} Å apart: check the symmetry operators, the origin choice"
            " and the occupancies"
        )


def _counts(atoms: CellAtoms) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for element, occupancy in zip(atoms.elements, atoms.occupancy, strict=True):
        counts[element] += float(occupancy)  # type: ignore[assignment]
    return dict(counts)


def check_composition(
    atoms: CellAtoms, crystal: CifCrystal, name: str, warnings: list[str]
) -> None:
    """Compare the atoms with the formula the file states."""
    formula = {e: n for e, n in crystal.formula.items() if e not in ("H", "D") and n > 0}
    if not formula:
        return
    counts = {e: n for e, n in _counts(atoms).items() if e != "H"}
    share = {e: counts.get(e, 0.0) / sum(counts.values()) for e in {*formula, *counts}}
    stated = {e: formula.get(e, 0.0) / sum(formula.values()) for e in share}
    worst = max(share, key=lambda e: abs(share[e] - stated[e]))
    gap = abs(share[worst] - stated[worst])
    said = " ".join(f"{e}{n:g}" for e, n in crystal.formula.items())
    if gap > 0.1:
        raise PhaseError(
            f"{name}: the atoms make {formula_text(atoms)}, the file says {said}: check the"
            " symmetry operators and the occupancies"
        )
    if gap > 0.02:
        warnings.append(f"{name}: the atoms make {formula_text(atoms)}, the file says {said}")
    elif crystal.formula_units:
        # Some programs state the formula of the whole cell beside Z.
        cells = sum(counts.values()) / sum(formula.values())
        if min(abs(cells / crystal.formula_units - 1), abs(cells - 1)) > 0.05:
            warnings.append(
                f"{name}: the cell holds {cells:.3g} formula units {said},"
                f" the file says Z = {crystal.formula_units:g}"
            )


def formula_text(atoms: CellAtoms, order: Sequence[str] = ()) -> str:
    """Composition of the atoms, elements in the order the file's formula has them."""
    counts = _counts(atoms)
    ranks = {e: i for i, e in enumerate(order)}
    counts = dict(sorted(counts.items(), key=lambda item: ranks.get(item[0], len(ranks))))
    smallest = min(n for n in counts.values() if n > 0)
    scaled = {e: n / smallest for e, n in counts.items()}
    for factor in (1, 2, 3, 4, 5, 6):
        tried = {e: n * factor for e, n in scaled.items()}
        if all(abs(n - round(n)) < 0.02 for n in tried.values()):
            scaled = tried
            break
    return "".join(e + ("" if abs(n - 1) < 0.01 else f"{n:.3g}") for e, n in scaled.items())
