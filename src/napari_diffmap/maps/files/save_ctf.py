"""Orientation maps as Channel Text Files (.ctf) for AZtec, Channel 5, MTEX, orix and others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import Ambiguity
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.files.channel import (
    COLUMNS,
    LAUE,
    NO_SOLUTION,
    NOT_ANALYSED,
    OBLIQUE,
    OWN_AUTHOR,
    OWN_PARALLEL_A,
    OWN_PARALLEL_A_STAR,
    OWN_PIXEL,
    OWN_RELIABILITY,
    OWN_SCORE,
    SUCCESS,
    crystal_turn,
    laue_number,
)
from napari_diffmap.maps.files.save_ang import step_um
from napari_diffmap.maps.quaternions import bunge, chunks

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap
    from napari_diffmap.maps.phases import PhaseLike

CrystalAxes = Literal["a*", "a"]

#: Positions get as many decimals as the step needs.
_FORMAT = "%d\t%.{0}f\t%.{0}f\t%d\t%d\t%.5f\t%.5f\t%.5f\t%.4f\t%d\t%d"
_LARGEST = 255
#: Other readers take in so many characters of a line at most.
_LINE = 400


def save_ctf(found: OrientationMap, path: str | Path, *, crystal_axes: CrystalAxes = "a*") -> Path:
    """Write the first answers as a .ctf file on a square grid.

    Euler angles are Bunge's in degrees.  The *sample* frame is this package's
    laboratory frame (x right, y down, z along the beam into the page), the
    frame of the positions as well; Oxford's own has y up and z towards the
    viewer: ``found.in_frame(np.diag([1, -1, -1]))`` before saving gives that.
    The *crystal* frame is turned from e1 ∥ a, e3 ∥ c* to the format's
    X ∥ a*, Z ∥ c, as AZtec and MTEX understand it, which differs where the cell
    is oblique: a hexagonal crystal by 30° about c.  orix (0.15) takes the
    angles of every .ctf file as they are; for it, write ``crystal_axes="a"`` (and
    it opens none with a phase of Laue group m-3).  `read_ctf` restores both.

    Steps are in µm; without a calibration one pixel counts as 1 µm, and the
    author's line says so.  Columns: Bands = spots of the pattern where they were counted;
    Error = 0 with an answer, 3 (no solution) without, 5 (not analysed) without
    data; MAD = 0; BC and BS = score and reliability times 255 (a score beyond 1
    relative to the largest).  A map that came from a .ctf file keeps its own
    columns.  Phase and angles are 0 where there is no answer.

    Parameters
    ----------
    found
        The map.
    path
        ``.ctf``.
    crystal_axes
        ``"a*"``: the format's own X ∥ a*, Z ∥ c; ``"a"``: X ∥ a, Z ∥ c*.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If the name or axes are wrong or it cannot be written.
    PhaseError
        If a phase has no symmetry, or one that the format cannot express.
    """
    target = Path(path)
    if target.suffix.lower() != ".ctf":
        raise BadInputError(f"{target.name}: a Channel Text File must end in .ctf")
    if crystal_axes not in ("a*", "a"):
        raise BadInputError(f"crystal axes must be 'a*' or 'a', not {crystal_axes!r}")
    header = "".join(line + "\r\n" for line in _header(found, crystal_axes))
    with (
        atomic_path(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write(header)
        _write_rows(found, file, turned=crystal_axes == "a*")
    return target


def _header(found: OrientationMap, crystal_axes: str) -> Iterator[str]:
    rows, columns = found.shape
    dy, dx = step_um(found)
    used = found.provenance.parameters.get("used") or {}
    voltage = used.get("voltage_kv") if isinstance(used, dict) else None
    yield "Channel Text File"
    yield f"Prj\t{_plain(found.provenance.summary())}"
    yield f"Author\t{_author(found, crystal_axes)}"
    yield "JobMode\tGrid"
    yield from (f"XCells\t{columns}", f"YCells\t{rows}")
    yield from (f"XStep\t{dx:.9g}", f"YStep\t{dy:.9g}")
    yield from ("AcqE1\t0", "AcqE2\t0", "AcqE3\t0")
    yield (
        "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t0\tCoverage\t100\tDevice\t0"
        f"\tKV\t{voltage or 0:g}\tTiltAngle\t0\tTiltAxis\t0"
    )
    yield f"Phases\t{len(found.phases)}"
    for i, phase in enumerate(found.phases):
        yield _phase_line(i + 1, phase)
    yield "\t".join(COLUMNS)


def _author(found: OrientationMap, crystal_axes: str) -> str:
    version = found.provenance.project_version
    parts = [f"{OWN_AUTHOR} {version}".strip()]
    parts.append(OWN_PARALLEL_A_STAR if crystal_axes == "a*" else OWN_PARALLEL_A)
    scores = found.best_scores[np.isfinite(found.best_scores)]
    if scores.size and scores.min() >= 0 and scores.max() <= 1:
        parts.append(OWN_SCORE)
    if np.isfinite(found.reliability).any():
        parts.append(OWN_RELIABILITY)
    if found.step_unit != "nm":
        parts.append(OWN_PIXEL)
    return "; ".join(parts)


def _plain(words: str) -> str:
    """One line without tabs, not too long."""
    return re.sub(r"\s+", " ", words).strip()[:_LINE]


def _phase_line(number: int, phase: PhaseLike) -> str:
    a, b, c, alpha, beta, gamma = phase.orix.structure.lattice.abcABG()
    laue = laue_number(phase)
    group = phase.orix.space_group
    fits = group is not None and _laue_of(group.number) == LAUE[laue - 1]
    return "\t".join(
        (
            f"{a:.5f};{b:.5f};{c:.5f}",
            f"{alpha:.5f};{beta:.5f};{gamma:.5f}",
            _plain(phase.name) or f"phase {number}",
            str(laue),
            str(group.number if fits else 0),
        )
    )


def _laue_of(space_group: int) -> str:
    from orix.quaternion import symmetry

    return str(symmetry.get_point_group(space_group).laue.name)


def _write_rows(found: OrientationMap, file: TextIO, *, turned: bool) -> None:
    rows, columns = found.shape
    dy, dx = step_um(found)
    decimals = max(4, 3 - math.floor(math.log10(min(dy, dx))))
    row_format = _FORMAT.format(decimals) + "\r\n"
    indexed = found.indexed.ravel()
    error = np.where(found.ambiguity.ravel() == Ambiguity.NO_DATA, NOT_ANALYSED, NO_SOLUTION)
    flat: list[NDArray[Any]] = [
        found.best_phase_ids.ravel().astype(np.int64) + 1,
        _whole(_extra(found, "bands", "spots")),
        np.where(indexed, SUCCESS, error),
        _extra(found, "mad"),
        _brightness(found.best_scores, _extra(found, "bc")),
        _brightness(found.reliability, _extra(found, "bs")),
        indexed,
    ]
    rotations = found.best_rotations.reshape(-1, 4)
    turns = _turns(found) if turned else {}
    for part in chunks(rows * columns, 1 << 16):
        phase, bands, error, mad, contrast, slope, known = (values[part] for values in flat)
        y, x = np.divmod(np.arange(part.start, part.stop), columns)
        euler = _degrees(rotations[part], phase, turns)
        euler[~known] = 0.0
        block = (phase, x * dx, y * dy, bands, error, *euler.T, mad, contrast, slope)
        lists = (np.asarray(column).tolist() for column in block)
        file.write("".join(row_format % row for row in zip(*lists, strict=True)))


def _turns(found: OrientationMap) -> dict[int, NDArray[np.float64]]:
    """Quaternions from this package's crystal axes to the format's, by phase number."""
    from orix.quaternion import Rotation

    return {
        i + 1: (~Rotation.from_matrix(crystal_turn(phase)[np.newaxis])).data
        for i, phase in enumerate(found.phases)
        if phase.point_group.laue.name in OBLIQUE
    }


def _degrees(
    rotations: NDArray[np.float32], phase: NDArray[np.int64], turns: dict[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Bunge angles ``(n, 3)`` as the file has them."""
    from napari_diffmap.maps.quaternions import multiply

    q = rotations.astype(np.float64)
    for number, turn in turns.items():
        mine = phase == number
        q[mine] = multiply(turn, q[mine])
    degrees: NDArray[np.float64] = np.rad2deg(bunge(q)).round(5)
    degrees[:, ::2] %= 360.0
    return degrees


def _extra(found: OrientationMap, *names: str) -> NDArray[np.float64]:
    """A column that the map came with, 0 without it."""
    for name in names:
        if name in found.extra:
            return np.nan_to_num(found.extra[name].astype(np.float64).ravel())
    return np.zeros(found.indexed.size)


def _brightness(share: NDArray[np.float32], kept: NDArray[np.float64]) -> NDArray[np.int64]:
    """0–255 for a share of 0–1, or what the map came with where there is none."""
    values = share.astype(np.float64).ravel()
    finite = np.isfinite(values)
    if not finite.any():
        return _whole(kept)
    largest = max(1.0, float(values[finite].max()))
    return _whole(_LARGEST * np.clip(np.nan_to_num(values) / largest, 0, 1))


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    whole: NDArray[np.int64] = np.rint(values).astype(np.int64)
    return whole
