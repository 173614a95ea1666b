"""Photon energies of a stack: lists beside it, in the names of its frames, and their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.open.found import Found, RawAxis
from napari_diffmap.scan.open.tidy import MIN_ENERGY_EV, regular

#: Names that energies have in files: energy, photon_energy, PhotonEnergies, mono_energy_eV, eV …
_NAME = re.compile(
    r"^(data|scan)?_?(photon|beam|incident|x_?ray|mono(chromator)?|stack)?_?"
    r"(energy|energies|eng|engs|ev|kev|evs)_?(list|axis|vector|values?|points?|grid)?"
    r"(_?corr(ected)?)?_?\(?(ev|kev)?\)?$",
    re.IGNORECASE,
)
#: Words in the name of a file that lists energies.
_LIST_NAME = re.compile(r"energ|(^|[_\W\d])(engs?|k?ev)([_\W\d]|$)", re.IGNORECASE)
_LIST_SUFFIXES = (".txt", ".csv", ".dat", ".tsv", ".eng", ".energy")
#: ``Fe_0707.50eV``, ``8333_eV``, ``e8.333keV``.
_WITH_UNIT = re.compile(r"(?<![\d.])(\d+(?:[.p]\d+)?)[ _]?(k?ev)(?![a-z])", re.IGNORECASE)
_DECIMAL = re.compile(r"(?<![\d.])(\d{2,5}\.\d+)(?![\d.])")
#: No scanning X-ray microscope goes further (eV); electron microscopes start beyond.
_MAX_EV = 5e4
#: Lists longer than this are no energies.
_MAX_LIST_BYTES = 1 << 20


def is_energy_name(name: str) -> bool:
    """Whether a dataset or a column of this name holds photon energies."""
    return _NAME.match(name.strip().rsplit("/", 1)[-1]) is not None


def unit_in_name(name: str) -> str | None:
    """The unit that the name of a list ends with, eV or keV."""
    match = re.search(r"(?:^|[_\W])(k?ev)\W*$", name.strip(), re.IGNORECASE)
    return match[1] if match else None


def plausible(listed: NDArray[np.float64], *, strict: bool = False) -> bool:
    """Whether numbers can be photon energies, in eV or keV.

    Parameters
    ----------
    strict
        They carry no name that says so: steps run one way within the range of an edge.
    """
    if not listed.size or not np.isfinite(listed).all() or listed.min() <= 0:
        return False
    if listed.max() > _MAX_EV:
        return False
    if not strict:
        return True
    steps = np.diff(listed)
    one_way = bool((steps > 0).all() or (steps < 0).all())
    # Tilts, times and positions are small numbers too: keV have decimals and a narrow range.
    spread = float(listed.max() / listed.min())
    kev = spread < 1.5 and bool((listed % 1 > 0).any())
    return one_way and spread < 5 and (kev or listed.min() >= MIN_ENERGY_EV)


def energy_axis(listed: NDArray[np.float64], unit: object = None) -> RawAxis:
    """Listed energies as an axis."""
    scale, offset, _ = regular(listed)
    return RawAxis("energy", scale, offset, unit, values=np.asarray(listed, dtype=np.float64))


def attach_list(found: Found, at: Path) -> bool:
    """Give a stack without energies those that are listed in a file beside it.

    Parameters
    ----------
    found
        A stack of frames that says nothing of its first axis; changed in place.
    at
        File or folder that the list lies beside, or in.

    Returns
    -------
    bool
        Whether there was a list of the right length.
    """
    if len(found.shape) != 3 or found.shape[0] < 2 or found.kind not in (None, "STXM"):
        return False
    beside = list_beside(at, found.shape[0])
    if beside is None:
        return False
    listed, source = beside
    found.kind = "STXM"
    found.axes[0] = energy_axis(listed, unit_in_name(source.stem))
    found.notes.append(f"energies from {source.name}")
    return True


def list_beside(at: Path, count: int) -> tuple[NDArray[np.float64], Path] | None:
    """Energies listed beside a stack: the file of its name, one named for energies, a lone one.

    Raises
    ------
    ScanFileError
        If the list of the stack's own name speaks of energies but of another number of them.
    """
    folder, stem = (at, at.name) if at.is_dir() else (at.parent, at.stem)
    lists = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _LIST_SUFFIXES and path.is_file() and path != at
    ]
    named = [path for path in lists if _LIST_NAME.search(path.stem)]
    own = [path for path in lists if path.stem == stem]
    near = [path for path in named if path.stem.startswith(stem)]
    for path in (*own, *near, *named):
        listed = read_list(path, count)
        if listed is not None and plausible(listed, strict=path not in named):
            return listed, path
    if len(lists) == 1:
        listed = read_list(lists[0], count)
        if listed is not None and plausible(listed, strict=True):
            return listed, lists[0]
    if len(near) == 1 and (other := _length(near[0])):
        raise ScanFileError(
            f"{at.name}: has {count} frames, but {near[0].name} beside it lists {other} energies:"
            " mend the list or give it another name"
        )
    return None


def read_list(path: Path, count: int) -> NDArray[np.float64] | None:
    """The column of a text file that can be the energies of `count` frames; None without one."""
    rows = _rows(path)
    if len(rows) == 1 and len(rows[0]) == count:  # all on one line
        return np.array(rows[0], dtype=np.float64)
    if len(rows) != count or not rows:
        return None
    width = min(len(row) for row in rows)
    table = np.array([row[:width] for row in rows], dtype=np.float64)
    for column in table.T:
        index = np.array_equal(column, column[0] + np.arange(count)) and column[0] in (0, 1)
        if not index and plausible(column):
            return np.asarray(column)
    return None


def _length(path: Path) -> int:
    rows = _rows(path)
    return len(rows[0]) if len(rows) == 1 else len(rows)


def _rows(path: Path) -> list[list[float]]:
    """Lines of numbers of a text file; comments and headings are left out."""
    try:
        if path.stat().st_size > _MAX_LIST_BYTES:
            return []
        words = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError:
        return []
    rows = []
    for line in words.splitlines():
        try:
            row = [float(word) for word in re.split(r"[,;\s]+", line.strip()) if word]
        except ValueError:
            continue
        if row:
            rows.append(row)
    return rows


def in_names(names: Sequence[str], *, any_number: bool = False) -> NDArray[np.float64] | None:
    """Energies (eV) that the names of frames state; None where they do not.

    Parameters
    ----------
    names
        Without their endings.
    any_number
        The user says that these are frames of energies: numbers without a unit count too.
    """
    found = [_WITH_UNIT.findall(name) for name in names]
    if all(found):
        values = [
            float(pairs[-1][0].replace("p", ".")) * (1e3 if pairs[-1][1].lower() == "kev" else 1.0)
            for pairs in found
        ]
        # One number in every name is a setting, such as the voltage of an electron microscope.
        told = len(values) == 1 or len(set(values)) > 1
        return np.array(values) if told and max(values) <= _MAX_EV else None
    numbers = [_DECIMAL.findall(name) for name in names]
    if any_number and not all(numbers):
        numbers = [re.findall(r"\d+(?:\.\d+)?", name) for name in names]
    if not all(numbers) or len({len(row) for row in numbers}) != 1:
        return None
    table = np.array(numbers, dtype=np.float64)
    distinct = [column for column in table.T if len(set(column)) == len(names) > 1]
    for column in reversed(distinct):
        low, high = float(column.min()), float(column.max())
        counted = column.max() - column.min() == len(column) - 1 and low < MIN_ENERGY_EV
        if low >= MIN_ENERGY_EV and high <= _MAX_EV and high < 5 * low and not counted:
            return np.asarray(column)
    return None


def rising(
    data: da.Array, axis: Axis, missing: NDArray[np.bool_] | None
) -> tuple[da.Array, Axis, NDArray[np.bool_] | None, str | None]:
    """A stack with its energies rising; lazily, and said.

    Parameters
    ----------
    data
        ``(energy, y, x)``.
    axis
        Its first axis.
    missing
        Frames that are not there.
    """
    listed = axis.coordinates
    order = np.argsort(listed, kind="stable")
    if axis.unit != "eV" or np.array_equal(order, np.arange(listed.size)):
        return data, axis, missing, None
    falls = bool((np.diff(listed) < 0).all())
    note = "energies fall in the file" if falls else "energies are in no order in the file"
    scale, offset, even = regular(listed[order])
    values = None if even and scale else tuple(float(e) for e in listed[order])
    turned = replace(axis, scale=scale or 1.0, offset=offset, values=values)
    return (
        data[::-1] if falls else data[order],
        turned,
        None if missing is None else missing[order],
        f"{note}; frames are sorted by rising energy",
    )
