"""Read what a crystal needs from a CIF, strictly: a wrong number is an error, never a guess.

The usual parsers drop a decimal comma, replace the file's own symmetry operators
by those of a space-group name, or return an empty crystal.  This one reads the
few items that matter and says in one line what is wrong with them.

Source: Hall, Allen & Brown, *Acta Cryst.* A47 (1991) 655 (the CIF syntax).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import PhaseError

_TOKEN = re.compile(r"""'(?:[^'\n]|'(?!\s|$))*'(?=\s|$)|"(?:[^"\n]|"(?!\s|$))*"(?=\s|$)|\S+""")
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(\(\d+\))?$")
_COMMA = re.compile(r"^[+-]?\d+,\d+(\(\d+\))?$")
_TERM = re.compile(r"([+-]?)(\d+/\d+|\d*\.\d+|\d+\.?|[xyz])")

#: Loops and single values of one data block, tags in lower case.
Block = dict[str, list[str]]


@dataclass(frozen=True)
class CifSite:
    """One site of the asymmetric unit.

    Attributes
    ----------
    label, element
        Site label and element symbol.
    xyz
        Fractional coordinates.
    occupancy
        Share of the site that is filled, 0–1.
    b_iso
        Isotropic displacement B in Å², None when the file gives none.
    disorder
        Disorder group; atoms of different groups are never there together.
    """

    label: str
    element: str
    xyz: tuple[float, float, float]
    occupancy: float
    b_iso: float | None
    disorder: str


@dataclass(frozen=True)
class CifCrystal:
    """What one data block says.

    Attributes
    ----------
    cell
        a, b, c in Å and α, β, γ in degrees.
    sites
        The asymmetric unit.
    operators
        Symmetry operators as ``(W, t)``, 3 × 3 integers and a fractional shift;
        empty when the file lists none.
    space_group_names
        What the file calls its space group, best first (Hermann–Mauguin, number).
    formula
        Element counts of one formula unit; empty when not given.
    formula_units
        Z, None when not given.
    """

    cell: tuple[float, float, float, float, float, float]
    sites: tuple[CifSite, ...]
    operators: tuple[tuple[NDArray[np.int64], NDArray[np.float64]], ...]
    space_group_names: tuple[str, ...]
    formula: dict[str, float]
    formula_units: float | None


def read_cif(path: Path) -> CifCrystal:
    """Read the first block of a CIF that holds atoms.

    Raises
    ------
    PhaseError
        If the file cannot be read, is empty, holds no atoms or a value that is
        not what it should be.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PhaseError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if not text.strip():
        raise PhaseError(f"{path.name} is empty: give a CIF with a cell and atoms")
    if "\x00" in text or "data_" not in text.lower():
        raise PhaseError(f"{path.name} is not a CIF: it has no data_ block")
    blocks = _blocks(text)
    for block in blocks:
        if "_atom_site_fract_x" in block:
            return _crystal(block, path.name)
    if any("_atom_site_cartn_x" in block for block in blocks):
        raise PhaseError(f"{path.name} gives Cartesian atoms only: export fractional coordinates")
    raise PhaseError(f"{path.name} lists no atoms: give a CIF with _atom_site_fract_x, _y and _z")


def _tokens(text: str) -> list[tuple[str, bool]]:
    """Values and tags; the flag is True for quoted text, which is never a keyword."""
    tokens: list[tuple[str, bool]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(";"):
            parts = [line[1:]]
            for more in lines:
                if more.startswith(";"):
                    break
                parts.append(more)
            tokens.append(("\n".join(parts), True))
            continue
        for match in _TOKEN.finditer(line):
            word = match.group()
            if word.startswith("#"):
                break
            if len(word) > 1 and word[0] in "'\"" and word[-1] == word[0]:
                tokens.append((word[1:-1], True))
            else:
                tokens.append((word, False))
    return tokens


def _blocks(text: str) -> list[Block]:
    """Split a file into data blocks of tag → values."""
    blocks: list[Block] = []
    block: Block = {}
    header: list[str] = []
    values: list[str] = []
    in_header = False

    def close() -> None:
        if header and values:
            width = len(header)
            usable = len(values) - len(values) % width
            for i, tag in enumerate(header):
                block.setdefault(tag, values[i:usable:width])
        header.clear()
        values.clear()

    for word, quoted in _tokens(text):
        low = "" if quoted else word.lower()
        if low.startswith("data_"):
            close()
            block = {}
            blocks.append(block)
            in_header = False
        elif low == "loop_":
            close()
            in_header = True
        elif low.startswith("_"):
            if in_header and not values:
                header.append(low.replace(".", "_"))
            else:
                close()
                header.append(low.replace(".", "_"))
                in_header = False
        elif header:
            values.append(word)
            if not in_header and len(header) == 1:
                close()
    close()
    return blocks


def _crystal(block: Block, name: str) -> CifCrystal:
    lengths = [_number(block, f"_cell_length_{k}", name) for k in "abc"]
    angles = [_number(block, f"_cell_angle_{k}", name) for k in ("alpha", "beta", "gamma")]
    if min(lengths) < 1.0 or max(lengths) > 500 or not all(10 < a < 170 for a in angles):
        raise PhaseError(f"{name}: a cell of {lengths} Å and {angles}° is impossible")
    operators = _operators(block, name)
    formula_units = block.get("_cell_formula_units_z", ["?"])[0]
    return CifCrystal(
        cell=(*lengths, *angles),  # type: ignore[arg-type]
        sites=_sites(block, name),
        operators=operators,
        space_group_names=_names(block),
        formula=_formula(block.get("_chemical_formula_sum", ["?"])[0]),
        formula_units=float(formula_units) if _NUMBER.match(formula_units) else None,
    )


def _names(block: Block) -> tuple[str, ...]:
    tags = (
        "_space_group_name_h-m_alt",
        "_symmetry_space_group_name_h-m",
        "_space_group_name_h-m_ref",
        "_space_group_it_number",
        "_symmetry_int_tables_number",
    )
    words = (block[tag][0].strip() for tag in tags if block.get(tag))
    return tuple(word for word in words if word not in ("", "?", "."))


def _value(text: str, tag: str, name: str) -> float:
    if _COMMA.match(text):
        raise PhaseError(f"{name}: {tag} is {text} with a decimal comma: write a point instead")
    if not _NUMBER.match(text):
        raise PhaseError(f"{name}: {tag} is {text!r}, not a number")
    return float(text.split("(")[0])


def _number(block: Block, tag: str, name: str) -> float:
    if not block.get(tag):
        raise PhaseError(f"{name} gives no {tag}: a cell needs three lengths and three angles")
    return _value(block[tag][0], tag, name)


def _operators(
    block: Block, name: str
) -> tuple[tuple[NDArray[np.int64], NDArray[np.float64]], ...]:
    for tag in ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz"):
        if block.get(tag):
            return tuple(parse_operator(text, name) for text in block[tag])
    return ()


def parse_operator(text: str, name: str = "CIF") -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read one symmetry operator such as ``-y,x-y,z+1/3``.

    Returns
    -------
    W : ndarray (3, 3) int64
    t : ndarray (3,) float64, in [0, 1)
    """
    parts = re.sub(r"\s", "", text.lower()).split(",")
    rotation = np.zeros((3, 3), dtype=np.int64)
    shift = np.zeros(3)
    for row, part in enumerate(parts if len(parts) == 3 else ["?"]):
        if not part or "".join(m.group() for m in _TERM.finditer(part)) != part:
            raise PhaseError(f"{name}: the symmetry operator {text!r} cannot be read")
        for sign, term in _TERM.findall(part):
            factor = -1 if sign == "-" else 1
            if term in "xyz":
                rotation[row, "xyz".index(term)] += factor
            elif "/" in term:
                top, bottom = term.split("/")
                shift[row] += factor * int(top) / int(bottom)
            else:
                shift[row] += factor * float(term)
    if abs(round(float(np.linalg.det(rotation)))) != 1:
        raise PhaseError(f"{name}: the symmetry operator {text!r} is no rotation or mirror")
    # Shifts are twelfths; decimals such as 0.3333 are meant to be them.
    twelfths = np.round(shift * 24) / 24
    shift = np.where(np.abs(shift - twelfths) < 2e-3, twelfths, shift) % 1.0
    return rotation, shift


def _sites(block: Block, name: str) -> tuple[CifSite, ...]:
    columns = [block.get(f"_atom_site_fract_{k}", []) for k in "xyz"]
    count = len(columns[0])
    labels = block.get("_atom_site_label") or block.get("_atom_site_type_symbol") or []
    symbols = block.get("_atom_site_type_symbol") or labels
    if not count or any(len(c) != count for c in (*columns, labels, symbols)):
        raise PhaseError(f"{name}: the list of atoms is incomplete")
    occupancies = block.get("_atom_site_occupancy", ["1"] * count)
    disorder = block.get("_atom_site_disorder_group", ["."] * count)
    b_isos = _displacements(block, labels, name)
    sites = []
    for i in range(count):
        if any(c[i] in ("?", ".") for c in columns):
            continue  # a placeholder without a position (calculated hydrogens, dummies)
        xyz = [_value(c[i], "_atom_site_fract", name) for c in columns]
        filled = occupancies[i]
        occupancy = 1.0 if filled in ("?", ".") else _value(filled, "_atom_site_occupancy", name)
        if not 0 <= occupancy <= 1.01:
            raise PhaseError(f"{name}: {labels[i]} has an occupancy of {occupancy:g}, not 0 to 1")
        sites.append(
            CifSite(
                labels[i],
                _element(symbols[i], labels[i], name),
                (xyz[0], xyz[1], xyz[2]),
                min(occupancy, 1.0),
                b_isos[i],
                disorder[i],
            )
        )
    if not sites:
        raise PhaseError(f"{name} lists no atoms with a position")
    return tuple(sites)


def _displacements(block: Block, labels: list[str], name: str) -> list[float | None]:
    """Isotropic B (Å²) of every site, from B, U or the anisotropic U."""
    factor = 8 * np.pi**2
    result: list[float | None] = [None] * len(labels)
    for tag, scale in (
        ("_atom_site_b_iso_or_equiv", 1.0),
        ("_atom_site_u_iso_or_equiv", factor),
    ):
        for i, text in enumerate(block.get(tag, [])[: len(labels)]):
            if _NUMBER.match(text) and (value := _value(text, tag, name)) > 0:
                result[i] = value * scale
    rows = block.get("_atom_site_aniso_label", [])
    diagonal = [block.get(f"_atom_site_aniso_u_{k}{k}", []) for k in "123"]
    if rows and all(len(column) == len(rows) for column in diagonal):
        means = {
            label: factor * sum(_value(c[i], "_atom_site_aniso_U", name) for c in diagonal) / 3
            for i, label in enumerate(rows)
            if all(_NUMBER.match(c[i]) for c in diagonal)
        }
        result = [
            means.get(label) or b if b is None else b
            for label, b in zip(labels, result, strict=True)
        ]
    return result


def _element(symbol: str, label: str, name: str) -> str:
    from diffsims.utils.lobato_scattering_params import ATOMIC_SCATTERING_PARAMS_LOBATO as KNOWN

    for text in (symbol, label):
        letters = re.match(r"(?:\d+-?)?([A-Za-z]{1,2})", text)
        if letters is None:
            continue
        word = letters.group(1).capitalize()
        for candidate in (word, word[:1]):
            if candidate == "D":
                return "H"
            if candidate in KNOWN:
                return candidate
    raise PhaseError(f"{name}: {symbol!r} is not an element with known electron scattering")


def _formula(text: str) -> dict[str, float]:
    """``'Li Mn2 O4'`` as counts; empty when it cannot be read."""
    counts: dict[str, float] = {}
    for word in text.replace(",", " ").split():
        match = re.fullmatch(r"([A-Z][a-z]?)(\d*\.?\d*)", word)
        if match is None:
            return {}
        counts[match.group(1)] = counts.get(match.group(1), 0.0) + float(match.group(2) or 1)
    return counts
