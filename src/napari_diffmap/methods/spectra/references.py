"""Spectra of known phases: read from text, brought to eV, interpolated to measured energies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.phases import PHASE_COLORS

#: Energies up to this are keV: no absorption edge that is mapped lies below 30 eV.
_LARGEST_KEV = 30.0
#: Files that RosettaSciIO reads.
_SIGNALS = {".msa", ".hspy", ".zspy", ".emsa"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
#: ``NAME=FILE`` or ``NAME:COMPOSITION=FILE``.
_SAID = re.compile(r"^(?P<name>[^=]+?)(?::(?P<x>[-+.\deE]+))?=(?P<file>.+)$", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Reference:
    """The absorption of a known phase.

    Attributes
    ----------
    name
        Of the phase.
    energies
        ``(n,)`` eV, rising.
    values
        ``(n,)`` optical density or absorption on any scale.
    color
        ``#RRGGBB``.
    composition
        What the phase holds, e.g. x of NaxV2(PO4)2F3; None when it is not asked for.
    source
        File it came from.
    """

    name: str
    energies: NDArray[np.float64]
    values: NDArray[np.float64]
    color: str = PHASE_COLORS[0]
    composition: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        energies = np.asarray(self.energies, dtype=np.float64)
        values = np.asarray(self.values, dtype=np.float64)
        if energies.ndim != 1 or energies.shape != values.shape:
            raise BadInputError(f"reference {self.name!r} needs two columns: energy and absorption")
        known = np.isfinite(energies) & np.isfinite(values)
        energies, values = _once(energies[known], values[known])
        if len(energies) < 2 or energies[0] <= 0:
            raise BadInputError(f"reference {self.name!r}: energies must be positive, two at least")
        if np.ptp(values) <= 0:
            raise BadInputError(f"reference {self.name!r} is flat: it tells nothing")
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "values", values)

    def at(self, energies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Absorption at measured energies (eV), linearly between; NaN outside its range.

        An energy beyond the range by less than half its outermost step takes the last value.
        """
        return between(self.energies, self.values, np.asarray(energies, dtype=np.float64))


def between(
    energies: NDArray[np.float64], values: NDArray[np.float64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values at energies asked for, linearly between those known; NaN outside their range.

    `energies` rise.  One beyond the range by less than half the outermost step takes the last
    value.
    """
    steps = np.diff(energies)
    slack = 0.5 * float(max(steps[0], steps[-1])) if len(steps) else 0.0
    inside = (asked >= energies[0] - slack) & (asked <= energies[-1] + slack)
    return np.where(inside, np.interp(asked, energies, values), np.nan)


def _once(
    energies: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By rising energy; the mean where one was measured several times."""
    unique, which = np.unique(energies, return_inverse=True)
    return unique, np.bincount(which, values) / np.bincount(which)


def read_reference(
    path: str | Path, name: str | None = None, composition: float | None = None
) -> Reference:
    """Read the spectrum of a phase.

    Text of two columns (energy, absorption) with any header and any separator (aXis2000 ``.t``
    and ``.xsp``, Athena ``.e`` and ``.nor``, ``.csv``), or a one-dimensional ``.msa`` or
    ``.hspy``.  In a file of several columns the one headed by `name` is taken.

    Parameters
    ----------
    path
        The file.
    name
        Of the phase; the file's stem without one.
    composition
        What the phase holds, e.g. x.

    Raises
    ------
    BadInputError
        If it cannot be read, or does not say which column is meant.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise BadInputError(f"reference {path} does not exist: check the path")
    called = name or path.stem
    energies, values = read_curve(path, called)
    return Reference(called, energies, values, composition=composition, source=str(path))


def read_curve(path: Path, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energies in eV and values of a file, as they stand in it; see `read_reference`.

    Raises
    ------
    BadInputError
        If it cannot be read, or does not say which column is meant.
    """
    if path.suffix.lower() in _SIGNALS:
        energies, values = _signal(path)
    else:
        energies, values = _columns(path, name)
    known = np.isfinite(energies)
    if known.any() and energies[known].max() <= _LARGEST_KEV:
        energies = energies * 1e3
    return energies, values


def read_sampled(path: Path, name: str, asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a file at energies asked for (eV); NaN outside its range.

    Raises
    ------
    BadInputError
        As `read_curve`.
    """
    energies, values = read_curve(path, name)
    known = np.isfinite(energies) & np.isfinite(values)
    if not known.any():
        return np.full(len(asked), np.nan)
    return between(*_once(energies[known], values[known]), asked)


def read_columns(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Table of numbers of a text file ``(rows, columns)`` and the line above it, in words.

    Lines that hold no numbers, or another count than most, are left out.

    Raises
    ------
    BadInputError
        If there is no table.
    """
    rows: list[list[float]] = []
    above: list[str] = []
    for line in path.read_text("latin-1").splitlines():
        numbers = _numbers(line)
        if numbers is not None:
            rows.append(numbers)
        elif not rows and line.strip():
            above = re.split(r"[,;\t]+|\s{2,}|\s+", line.strip().lstrip("#%").strip())
    widths = [len(row) for row in rows]
    if not widths:
        raise BadInputError(f"{path.name}: holds no table of numbers")
    width = max(set(widths), key=widths.count)
    table = np.array([row for row in rows if len(row) == width], dtype=np.float64)
    return above, table


def _numbers(line: str) -> list[float] | None:
    """The numbers of a line that holds nothing else; decimal commas are understood."""
    text = line.strip()
    if not text or text[0] in "#%":
        return None
    if re.search(r"\d,\d", text) and re.search(r"[;\t ]", text) and "." not in text:
        text = text.replace(",", ".")
    words = re.split(r"[,;\s]+", text.strip(",; \t"))
    if not all(_NUMBER.fullmatch(word) or word.lower() == "nan" for word in words):
        return None
    return [float(word.lower().replace("d", "e")) if word.lower() != "nan" else np.nan
            for word in words]  # fmt: skip


def _columns(path: Path, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    heads, table = read_columns(path)
    if table.shape[1] < 2:
        raise BadInputError(f"{path.name}: needs two columns, energy (eV) and absorption")
    column = 1
    if table.shape[1] > 2:
        named = [head.lower() for head in heads]
        if len(named) == table.shape[1] and name.lower() in named[1:]:
            column = named.index(name.lower())
        else:
            raise BadInputError(
                f"{path.name}: has {table.shape[1]} columns: name the phase as one of"
                f" {', '.join(heads[1:]) or 'them'}"
            )
    return table[:, 0], table[:, column]


def _signal(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from rsciio import IO_PLUGINS

    suffix = path.suffix.lower().lstrip(".")
    plugin = next(p for p in IO_PLUGINS if suffix in [e.lower() for e in p["file_extensions"]])
    from importlib import import_module

    try:
        read = import_module(plugin["api"]).file_reader(str(path))[0]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BadInputError(f"{path.name}: cannot be read as a spectrum ({error})") from error
    data = np.asarray(read["data"], dtype=np.float64)
    if data.ndim != 1:
        raise BadInputError(f"{path.name}: holds {data.ndim} dimensions, a spectrum has one")
    axis = read["axes"][0]
    energies = np.asarray(
        axis.get("axis", axis.get("offset", 0.0) + axis.get("scale", 1.0) * np.arange(data.size))
    )
    return energies, data


def parse_references(said: Sequence[str]) -> tuple[Reference, ...]:
    """References as a command line says them: ``NAME=FILE`` or ``NAME:COMPOSITION=FILE``.

    Raises
    ------
    BadInputError
        If one is not of this form, or a name is said twice.
    """
    found: list[Reference] = []
    for text in said:
        match = _SAID.match(text)
        if match is None:
            raise BadInputError(f"a reference is NAME=FILE or NAME:COMPOSITION=FILE, not {text!r}")
        x = match["x"]
        try:
            composition = None if x is None else float(x)
        except ValueError as error:
            raise BadInputError(f"the composition in {text!r} is no number") from error
        found.append(read_reference(match["file"], match["name"].strip(), composition))
    return colored(found)


def colored(references: Sequence[Reference]) -> tuple[Reference, ...]:
    """The same references, each with a colour of its own.

    Raises
    ------
    BadInputError
        If a name is there twice.
    """
    from dataclasses import replace

    names = [reference.name for reference in references]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise BadInputError(f"references need names of their own: {', '.join(sorted(twice))}")
    return tuple(
        replace(reference, color=PHASE_COLORS[i % len(PHASE_COLORS)])
        for i, reference in enumerate(references)
    )


def matrix(references: Sequence[Reference], energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """References at measured energies ``(n_references, E)``; NaN where one says nothing.

    Raises
    ------
    BadInputError
        If one of them covers fewer than two of the energies, or all are alike there.
    """
    rows = np.stack([reference.at(energies) for reference in references])
    for reference, row in zip(references, rows, strict=True):
        if np.isfinite(row).sum() < 2:
            low, high = reference.energies[[0, -1]]
            raise BadInputError(
                f"reference {reference.name!r} covers {low:.6g} to {high:.6g} eV, the scan"
                f" {np.min(energies):.6g} to {np.max(energies):.6g} eV: it needs two of its"
                " energies at least"
            )
    return rows
