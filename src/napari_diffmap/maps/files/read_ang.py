"""Orientation maps from .ang files: EDAX OIM, EMsoft, ASTAR, orix and this package."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import AMBIGUITY
from napari_diffmap.maps.files.edax import (
    AXIS_OF_CODE,
    COLUMNS,
    LAUE_OF_CODE,
    NOT_INDEXED_EULER,
    OWN_MARK,
)
from napari_diffmap.maps.files.point_table import PointTable
from napari_diffmap.maps.files.text_table import number, read_table, read_text
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phases import MapPhase, file_phase
from napari_diffmap.maps.provenance import Provenance

_MAKERS = (
    ("napari-diffmap", re.compile(rf"^{OWN_MARK} unit:")),
    ("orix", re.compile("^Column names: phi1, Phi, phi2")),
    ("EMsoft", re.compile("EMsoft")),
    ("ASTAR", re.compile("ACOM")),
)
_NAMES: dict[str, tuple[str, ...]] = {
    "EMsoft": (*COLUMNS[:6], "dot_product", "phase_id"),
    "ASTAR": (*COLUMNS[:5], "index", "reliability_index", "phase_id", "reliability_x100"),
}
_SCORE = {"EMsoft": "dot_product", "ASTAR": "index", "napari-diffmap": "image_quality"}


@dataclass
class _Header:
    """The lines before the rows, sorted."""

    lines: list[str]
    phases: list[dict[str, str]] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    @property
    def maker(self) -> str:
        """Who wrote the file; EDAX when nobody else says so."""
        for name, pattern in _MAKERS:
            if any(pattern.search(line) for line in self.lines):
                return name
        return "EDAX"

    def own(self, key: str) -> str | None:
        """What a header line of this package says."""
        mark = f"{OWN_MARK} {key}:"
        return next(
            (line[len(mark) :].strip() for line in self.lines if line.startswith(mark)), None
        )

    def get(self, key: str) -> float | None:
        """A number of the header, None when absent or unreadable."""
        try:
            value = number(self.values[key])
        except (KeyError, ValueError):
            return None
        return value if np.isfinite(value) else None


def read_ang(path: str | Path) -> OrientationMap:
    """Read an .ang file.

    Rows may come in any order; they are placed by their positions.  Angles are
    kept as they are in the file: which way its sample frame lies to the map is
    the choice of the program that wrote it (four settings in EDAX's), see
    `OrientationMap.in_frame`.  Confidence indices, dot products and the like
    are scores and extra maps, not reliabilities.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    OrientationMap
        Steps in nm.  What was mended is in its ``warnings``.

    Raises
    ------
    BadInputError
        If the file is cut, irregular or lacks its header.
    """
    place = Path(path)
    header, body, first_line = _split(place, read_text(place))
    table = read_table(place, body, first_line, 8)
    maker = header.maker
    columns = _named(header, maker, table)
    warnings: list[str] = []
    phases = _phases(place, header, warnings)
    euler = table[:, :3]
    index = _phase_index(place, header, columns, euler, len(phases))
    answered = index >= 0
    if answered.any() and np.abs(euler[answered]).max() > 4 * np.pi + 0.1:
        warnings.append("angles exceed 4π: read as degrees, though the format has radians")
        euler = np.deg2rad(euler)
    factor, unit = _unit(header, maker)
    own = maker == "napari-diffmap"
    step = (header.get("YSTEP"), header.get("XSTEP"))
    rows, wide = header.get("NROWS"), header.get("NCOLS_ODD")
    provenance = header.own("provenance")
    score = columns.get(_SCORE.get(maker, "confidence_index"))
    found = PointTable(
        path=place,
        format=f".ang ({maker})",
        euler=euler,
        x=columns["x"] * factor,
        y=columns["y"] * factor,
        unit=unit,
        phase_index=index,
        phases=phases,
        score=score,
        reliability=_own_reliability(header, columns, answered) if own else None,
        ambiguity=_own_ambiguity(columns) if own else None,
        extra={} if own else _extra(columns),
        header_shape=(int(rows), int(wide)) if rows and wide else None,
        header_step=(step[0] * factor, step[1] * factor) if step[0] and step[1] else None,
        warnings=warnings,
        provenance=Provenance.from_json(provenance) if provenance else None,
    )
    result = found.to_map()
    if "hex" in header.values.get("GRID", "").lower():
        note = "the header says HexGrid, but the positions form a square grid: read as square"
        return result.replaced(warnings=(*result.warnings, note))
    return result


def _split(path: Path, text: str) -> tuple[_Header, str, int]:
    lines: list[str] = []
    position = 0
    while text.startswith("#", position):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        lines.append(text[position + 1 : end].strip())
        position = end + 1
    if not lines:
        raise BadInputError(
            f"{path.name} has no header, so its phases and symmetry are unknown:"
            " put the lines starting with # back or export it again"
        )
    header = _Header(lines)
    for line in lines:
        words = line.split(None, 1)
        if len(words) == 2 and words[0] == "Phase" and words[1].isdigit():
            header.phases.append({"number": words[1]})
        elif words and words[0] in ("MaterialName", "Symmetry", "LatticeConstants"):
            value = words[1].strip() if len(words) == 2 else ""
            if header.phases:
                header.phases[-1].setdefault(words[0], value)
        elif words and words[0].endswith(":"):
            header.values[words[0][:-1]] = words[1].strip() if len(words) == 2 else ""
    return header, text[position:], len(lines) + 1


def _named(header: _Header, maker: str, table: NDArray[np.float64]) -> dict[str, Any]:
    names = list(_NAMES.get(maker, COLUMNS))
    if maker == "orix":
        line = next(text for text in header.lines if text.startswith("Column names:"))
        names = [name.strip() for name in line.split(":", 1)[1].split(",")]
    if len(names) > table.shape[1]:
        names = names[: table.shape[1]]
    names += [f"column_{i + 1}" for i in range(len(names), table.shape[1])]
    return {name: table[:, i] for i, name in enumerate(names)}


def _phases(path: Path, header: _Header, warnings: list[str]) -> tuple[MapPhase, ...]:
    if not header.phases:
        raise BadInputError(f"{path.name}: the header lists no phase; export the map again")
    phases = []
    for i, block in enumerate(header.phases):
        name = block.get("MaterialName") or f"phase {block['number']}"
        code = block.get("Symmetry", "").split()[-1:]
        laue = LAUE_OF_CODE.get(code[0]) if code else None
        if laue is None and code:  # ASTAR and old files write the group's name
            laue = code[0] if code[0] in LAUE_OF_CODE.values() else None
        if laue is None:
            warnings.append(
                f"phase {name!r} has no known symmetry: its orientations have no colours"
            )
        try:
            cell = tuple(number(word) for word in block.get("LatticeConstants", "").split())
        except ValueError:
            cell = ()
        if len(cell) != 6:
            raise BadInputError(f"{path.name}: phase {name!r} lacks its six lattice constants")
        axis = AXIS_OF_CODE.get(code[0], "b") if code else "b"
        phases.append(file_phase(name, cell, laue, i, unique_axis=axis))
        if laue in ("-1", "2/m") and header.own("unit") is None:
            warnings.append(
                f"the axes of {name} are taken as X ∥ a, Z ∥ c*: programs differ for oblique cells"
            )
    return tuple(phases)


def _phase_index(
    path: Path,
    header: _Header,
    columns: dict[str, NDArray[np.float64]],
    euler: NDArray[np.float64],
    n_phases: int,
) -> NDArray[np.int64]:
    column = columns["phase_id"]
    if not np.array_equal(column, np.rint(column)):
        raise BadInputError(f"{path.name}: the phase column (8th) does not hold whole numbers")
    ids = column.astype(np.int64)
    numbers = [int(block["number"]) for block in header.phases]
    index = np.full(len(ids), -1, dtype=np.int64)
    for k, known in enumerate(numbers):
        index[ids == known] = k
    unknown = ~np.isin(ids, [-1, 0, *numbers])
    if unknown.any():
        raise BadInputError(
            f"{path.name}: rows name phase {ids[unknown][0]}, but the header lists only"
            f" {', '.join(map(str, numbers))}"
        )
    if n_phases == 1:  # OIM writes 0 when there is no choice
        index[ids == 0] = 0
    nothing = (np.abs(euler) > NOT_INDEXED_EULER - 1e-3).any(axis=1) & (
        np.abs(euler) < NOT_INDEXED_EULER + 1e-3
    ).all(axis=1)
    confidence = columns.get("confidence_index")
    if confidence is not None:
        nothing |= confidence == -1
    index[nothing] = -1
    return index


def _unit(header: _Header, maker: str) -> tuple[float, str]:
    if header.own("unit") == "pixel":
        return 1.0, "pixel"
    return (1.0 if maker == "ASTAR" else 1000.0), "nm"


def _extra(columns: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    geometry = {*COLUMNS[:5], "phase_id"}
    return {name: values for name, values in columns.items() if name not in geometry}


def _own_reliability(
    header: _Header, columns: dict[str, NDArray[np.float64]], answered: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    if "confidence_index = reliability" not in (header.own("columns") or ""):
        return None
    return np.where(answered, columns["confidence_index"], np.nan).clip(0, 1)


def _own_ambiguity(columns: dict[str, NDArray[np.float64]]) -> NDArray[np.uint8] | None:
    codes = columns.get("detector_signal")
    if codes is None or not np.isin(codes, list(AMBIGUITY)).all():
        return None
    return codes.astype(np.uint8)
