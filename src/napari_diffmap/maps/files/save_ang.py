"""Orientation maps as .ang files for EDAX OIM, MTEX, orix and others.

An own writer, because orix's (0.15) gives -43m crystals the code of m-3,
writes the step in whatever unit the map has, cuts lattice constants to three
decimals, and finds wrong Euler angles where Φ is 180°.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.files.edax import (
    COLUMNS,
    NOT_INDEXED_CI,
    NOT_INDEXED_EULER,
    OWN_MARK,
    symmetry_code,
)
from napari_diffmap.maps.quaternions import bunge, chunks

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap
    from napari_diffmap.maps.phases import PhaseLike

#: Angles, positions (with as many decimals as the step needs) and the rest.
_FORMAT = "%9.5f %9.5f %9.5f %12.{0}f %12.{0}f %9.4f %7.4f %2d %6d %8.3f"
_NM_PER_UM = 1000.0


def save_ang(found: OrientationMap, path: str | Path) -> Path:
    """Write the first answers as an .ang file on a square grid.

    Euler angles are Bunge's in radians, in this package's laboratory frame
    (x right, y down, z along the beam into the page), the frame of the
    positions as well.  Steps are in µm; without a calibration one pixel counts
    as 1 µm, and a header line says so.  Columns: image quality = score,
    confidence index = reliability (or the score where none was estimated),
    detector signal = ambiguity code, fit = 0.  Points without an answer have
    4π for every angle, confidence index -1 and phase 0.

    Parameters
    ----------
    found
        The map.
    path
        ``.ang``.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If the name is wrong or it cannot be written.
    PhaseError
        If a phase has no symmetry.
    """
    target = Path(path)
    if target.suffix.lower() != ".ang":
        raise BadInputError(f"{target.name}: an EDAX map must end in .ang")
    header = "".join(f"# {line}".rstrip() + "\n" for line in _header(found))
    with (
        atomic_path(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(header)
        _write_rows(found, file)
    return target


def step_um(found: OrientationMap) -> tuple[float, float]:
    """Step ``(dy, dx)`` as the file has it."""
    factor = 1 / _NM_PER_UM if found.step_unit == "nm" else 1.0
    return found.step[0] * factor, found.step[1] * factor


def _header(found: OrientationMap) -> Iterator[str]:
    rows, columns = found.shape
    dy, dx = step_um(found)
    yield "TEM_PIXperUM          1.000000"
    yield from ("x-star 0.000000", "y-star 0.000000", "z-star 0.000000")
    yield from ("WorkingDistance       0.000000", "")
    for i, phase in enumerate(found.phases):
        yield from _phase_lines(i + 1, phase)
        yield ""
    yield "GRID: SqrGrid"
    yield from (f"XSTEP: {dx:.9g}", f"YSTEP: {dy:.9g}")
    yield from (f"NCOLS_ODD: {columns}", f"NCOLS_EVEN: {columns}", f"NROWS: {rows}", "")
    yield from ("OPERATOR:", "", "SAMPLEID:", "", "SCANID:", "")
    confidence = "reliability" if _has_reliability(found) else "score"
    yield f"{OWN_MARK} unit: {'um' if found.step_unit == 'nm' else found.step_unit}"
    yield f"{OWN_MARK} frame: x right, y down, z along the beam into the page"
    yield (
        f"{OWN_MARK} columns: image_quality = score, confidence_index = {confidence},"
        " detector_signal = ambiguity code, pattern_fit = 0"
    )
    if found.step_unit != "nm":
        yield f"{OWN_MARK} note: uncalibrated, 1 um stands for one pixel"
    # Other readers look for "# Phase 1" and the like anywhere in a line.
    record = found.provenance.to_json().replace("#", r"\u0023")
    yield f"{OWN_MARK} provenance: {record}"
    # orix knows its own kind of file, without surprises, by this line.
    yield f"Column names: {', '.join(COLUMNS)}"
    yield ""


def _phase_lines(number: int, phase: PhaseLike) -> Iterator[str]:
    # Readers split at blanks; names keep letters, digits and a few signs.
    name = re.sub(r"[^\w.+\-()]+", "_", phase.name) or f"phase_{number}"
    lattice = phase.orix.structure.lattice.abcABG()
    yield f"Phase {number}"
    yield f"MaterialName    {name}"
    yield f"Formula    {name}"
    yield "Info"
    yield f"Symmetry    {symmetry_code(phase)}"
    yield "LatticeConstants    " + " ".join(f"{value:.5f}" for value in lattice)
    yield "NumberFamilies    0"


def _has_reliability(found: OrientationMap) -> bool:
    return bool(np.isfinite(found.reliability).any())


def _write_rows(found: OrientationMap, file: TextIO) -> None:
    rows, columns = found.shape
    dy, dx = step_um(found)
    decimals = max(5, 3 - math.floor(math.log10(min(dy, dx))))
    row_format = _FORMAT.format(decimals)
    confidence = found.reliability if _has_reliability(found) else found.best_scores
    flat: list[NDArray[Any]] = [
        found.best_scores.ravel(),
        confidence.ravel(),
        found.best_phase_ids.ravel().astype(np.int64) + 1,
        found.ambiguity.ravel().astype(np.int64),
        found.indexed.ravel(),
    ]
    rotations = found.best_rotations.reshape(-1, 4)
    for part in chunks(rows * columns, 1 << 16):
        score, trust, phase, doubt, indexed = (values[part] for values in flat)
        y, x = np.divmod(np.arange(part.start, part.stop), columns)
        euler = np.where(indexed[:, None], bunge(rotations[part]), NOT_INDEXED_EULER)
        block = (
            *euler.T,
            x * dx,
            y * dy,
            np.where(indexed, np.nan_to_num(score), 0.0),
            np.where(indexed, np.nan_to_num(trust), NOT_INDEXED_CI),
            phase,
            doubt,
            np.where(indexed, 0.0, 180.0),
        )
        lists = (np.asarray(column).tolist() for column in block)
        file.write("\n".join(row_format % row for row in zip(*lists, strict=True)))
        file.write("\n")
