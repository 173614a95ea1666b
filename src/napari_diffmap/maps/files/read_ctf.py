"""Orientation maps from Channel Text Files: Oxford, Bruker, EMsoft, MTEX and ASTAR."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.files.channel import (
    LAUE,
    OBLIQUE,
    OWN_AUTHOR,
    OWN_PARALLEL_A,
    OWN_PIXEL,
    OWN_RELIABILITY,
    OWN_SCORE,
    crystal_turn,
    unique_axis,
)
from napari_diffmap.maps.files.point_table import PointTable
from napari_diffmap.maps.files.text_table import number, read_table, read_text
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phases import MapPhase, file_phase

_MAKERS = (
    (OWN_AUTHOR, re.compile(rf"^Author\t{OWN_AUTHOR}\b", re.MULTILINE)),
    ("ASTAR", re.compile("ACOM RES results")),
    ("EMsoft", re.compile("EMsoft")),
    ("MTEX", re.compile("Created from mtex", re.IGNORECASE)),
)
_NM_PER_UM = 1000.0
#: No scan in a transmission microscope has steps of this many µm: they are nm.
_ASTAR_STEP_LIMIT = 0.2


def read_ctf(path: str | Path) -> OrientationMap:
    """Read a .ctf file.

    Rows may come in any order and with decimal commas.  Angles keep the file's
    sample frame (Oxford's own has y up and z towards the viewer, so that
    ``found.in_frame(np.diag([1, -1, -1]))`` brings it to this package's).  The
    *crystal* frame is converted: Oxford and MTEX put X ∥ a*, Z ∥ c, whereas
    here e1 ∥ a, e3 ∥ c*; without this a hexagonal crystal is off by 30°.  Files of
    `save_ctf` say which crystal axes they have.

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
        If the file is cut, irregular, a volume, or lacks its header.
    """
    place = Path(path)
    header, names, body, first_line = _split(place, read_text(place))
    if "z" in names or _integer(header.get("ZCells")) not in (None, 0, 1):
        raise BadInputError(f"{place.name} holds a volume: export one slice as a map")
    table = read_table(place, body, first_line, 8)
    columns = {name: table[:, i] for i, name in enumerate(names[: table.shape[1]])}
    missing = [n for n in ("phase", "x", "y", "euler1", "euler2", "euler3") if n not in columns]
    if missing:
        raise BadInputError(f"{place.name} lacks the columns {', '.join(missing)}: export it again")
    maker = _maker(header)
    warnings: list[str] = []
    phases = _phases(place, header)
    index = columns["phase"].astype(np.int64) - 1
    euler = np.stack([columns[f"euler{i}"] for i in (1, 2, 3)], axis=1)
    answered = index >= 0
    said = header.get("Author", "") if maker == OWN_AUTHOR else ""
    if not said and answered.sum() > 20 and np.abs(euler[answered]).max() <= 2 * np.pi:
        warnings.append(
            "all angles are below 6.3: if they are radians, this file breaks its format"
            " (degrees), and the orientations are wrong"
        )
    factor = _scale(columns, maker, header, warnings)
    step = (_positive(header.get("YStep")), _positive(header.get("XStep")))
    shape = (_integer(header.get("YCells")), _integer(header.get("XCells")))
    found = PointTable(
        path=place,
        format=f".ctf ({maker})",
        euler=np.deg2rad(euler),
        x=columns["x"] * factor,
        y=columns["y"] * factor,
        unit="pixel" if OWN_PIXEL in said else "nm",
        phase_index=index,
        phases=phases,
        score=columns.get("dp", _share(columns.get("bc"), answered, OWN_SCORE in said)),
        reliability=_share(columns.get("bs"), answered, OWN_RELIABILITY in said),
        extra={
            name: values
            for name, values in columns.items()
            if name not in ("phase", "x", "y", "euler1", "euler2", "euler3")
        },
        header_shape=(shape[0] or 0, shape[1] or 0),
        header_step=(step[0] * factor, step[1] * factor) if step[0] and step[1] else None,
        warnings=warnings,
    )
    return found.to_map() if OWN_PARALLEL_A in said else _aligned(found.to_map(), maker)


def _split(path: Path, text: str) -> tuple[dict[str, str], list[str], str, int]:
    """Header by key, column names (lower case), rows, and the line they start at."""
    match = re.search(r"^Phase\s+X\s+Y\b.*$", text, re.MULTILINE)
    if match is None:
        raise BadInputError(
            f"{path.name} has no line of column names (Phase X Y …), so its header is lost:"
            " export it again"
        )
    header: dict[str, str] = {}
    lines = text[: match.start()].splitlines()
    for i, line in enumerate(lines):
        key, _, value = line.partition("\t")
        header.setdefault(key.strip(), value.strip())
        if key.strip() == "Phases":
            header["#phases"] = "\n".join(lines[i + 1 :])
    header["#all"] = text[: match.start()]
    names = [name.lower() for name in match.group().split()]
    return header, names, text[match.end() + 1 :], len(lines) + 2


def _maker(header: dict[str, str]) -> str:
    for name, pattern in _MAKERS:
        if pattern.search(header["#all"]):
            return name
    return "Oxford or Bruker"


def _integer(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _positive(text: str | None) -> float | None:
    try:
        value = number(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) and value > 0 else None


def _phases(path: Path, header: dict[str, str]) -> tuple[MapPhase, ...]:
    count = _integer(header.get("Phases"))
    lines = [line for line in header.get("#phases", "").splitlines() if line.strip()]
    if not count or len(lines) < count:
        raise BadInputError(
            f"{path.name}: the header lists {len(lines)} of {count or 0} phases; export it again"
        )
    phases = []
    for i, line in enumerate(lines[:count]):
        parts = line.split("\t")
        try:
            cell = tuple(number(word) for word in ";".join(parts[:2]).split(";"))
            laue = LAUE[int(parts[3]) - 1]
        except (ValueError, IndexError) as error:
            raise BadInputError(
                f"{path.name}: phase {i + 1} of the header cannot be read: {line.strip()[:60]!r}"
            ) from error
        space_group = _integer(parts[4]) if len(parts) > 4 else None
        valid = space_group if space_group and 1 <= space_group <= 230 else None
        axis = unique_axis(cell) if len(cell) == 6 else "b"
        phases.append(
            file_phase(parts[2].strip(), cell, laue, i, space_group=valid, unique_axis=axis)
        )
    return tuple(phases)


def _scale(
    columns: dict[str, NDArray[np.float64]],
    maker: str,
    header: dict[str, str],
    warnings: list[str],
) -> float:
    """Nm per unit of the positions; 1 where a unit stands for a pixel."""
    if maker == OWN_AUTHOR and OWN_PIXEL in header["Author"]:
        return 1.0
    if maker != "ASTAR":
        return _NM_PER_UM
    gaps = np.diff(np.unique(columns["x"]))
    step = float(np.median(gaps)) if gaps.size else _positive(header.get("XStep")) or 0.0
    if step >= _ASTAR_STEP_LIMIT:
        warnings.append(f"ASTAR wrote a step of {step:g} µm, which must be {step:g} nm: read as nm")
        return 1.0
    warnings.append(
        f"ASTAR export: step of {step * _NM_PER_UM:.4g} nm from the positions; voltage and tilt in"
        " the header are dummies"
    )
    return _NM_PER_UM


def _share(
    values: NDArray[np.float64] | None, answered: NDArray[np.bool_], known: bool
) -> NDArray[np.float64] | None:
    """What `save_ctf` wrote as 0–255, as 0–1."""
    return (
        np.where(answered, values / 255, np.nan).clip(0, 1)
        if known and values is not None
        else None
    )


def _aligned(found: OrientationMap, maker: str) -> OrientationMap:
    """Turn oblique crystals from X ∥ a*, Z ∥ c to e1 ∥ a, e3 ∥ c*."""
    oblique = [
        i
        for i, phase in enumerate(found.phases)
        if phase.point_group.laue.name in OBLIQUE and found.phase_mask(i).any()
    ]
    if not oblique:
        return found
    names = ", ".join(found.phases[i].name for i in oblique)
    if maker in ("ASTAR", "EMsoft"):
        note = (
            f"the axes of {names} are taken as X ∥ a: {maker} files do not say; if they are"
            " X ∥ a*, orientations are off (30° for a hexagonal cell)"
        )
        return found.replaced(warnings=(*found.warnings, note))
    from orix.quaternion import Rotation

    rotations = found.rotations.copy()
    for i in oblique:
        turn = Rotation.from_matrix(crystal_turn(found.phases[i])[np.newaxis])
        mask = found.phase_ids == i
        rotations[mask] = (turn * Rotation(rotations[mask].astype(np.float64))).data
    note = (
        f"the crystal axes of {names} were turned from the format's X ∥ a*, Z ∥ c to X ∥ a, Z ∥ c*"
    )
    told = () if maker == OWN_AUTHOR else (note,)  # nothing to doubt
    return found.replaced(
        rotations=rotations,
        warnings=(*found.warnings, *told),
        provenance=found.provenance.with_note(note),
    )
