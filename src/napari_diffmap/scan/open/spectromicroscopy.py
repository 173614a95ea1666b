"""Stacks of spectromicroscopy programs: aXis2000 .ncb with its .dat, and Stack .stk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.energies import energy_axis, plausible
from napari_diffmap.scan.open.found import Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.notes import one_line
from napari_diffmap.scan.open.regions import FileRegion, FrameGrid, Index, Region, grid_index
from napari_diffmap.scan.open.tidy import MIN_ENERGY_EV, regular

#: No frame has more pixels along one side, no stack more energies.
_MAX_SIDE = 100_000


class Scaled(Region):
    """Whole numbers that stand for measured values times a factor."""

    def __init__(self, inner: Region, factor: float) -> None:
        self.path = inner.path
        self._inner = inner
        self._factor = factor
        self.shape = inner.shape
        self.dtype = np.dtype(np.float32)

    def read(self, index: Index) -> NDArray[Any]:
        """Read and divide."""
        return (self._inner[index] / self._factor).astype(np.float32)


@dataclass(frozen=True)
class _Header:
    """What the .dat of an .ncb says: pixels, ranges (µm), factor, energies and frame lines."""

    columns: int
    rows: int
    factor: float
    x: tuple[float, float]
    y: tuple[float, float]
    energies: NDArray[np.float64]
    frames: tuple[str, ...]


def ncb(path: Path, request: Request) -> list[Offer]:
    """An aXis2000 binary stack; the .dat of the same name says what is in it."""
    header_file = _beside(path, ".dat")
    data_file = _beside(path, ".ncb")
    header = _parse(header_file)
    shape = (len(header.energies), header.rows, header.columns)
    pixels = int(np.prod(shape, dtype=np.int64))
    size = data_file.stat().st_size
    # A negative factor says that values are kept as they are, in four bytes.
    width = 4 if header.factor < 0 else 2
    notes: list[str] = []
    if size == 4 * pixels and width == 2 and header.factor == 1:
        width = 4
        notes.append("values are real numbers although the header speaks of whole ones")
    there = min(shape[0], size // (width * header.rows * header.columns))
    if not there:
        raise ScanFileError(
            f"{data_file.name}: is cut inside its first frame ({size:,} of {pixels * width:,}"
            " bytes): copy it again"
        )
    if size > width * pixels:
        raise ScanFileError(
            one_line(
                f"{data_file.name}: holds {size:,} bytes, but {header_file.name} describes"
                f" {pixels * width:,}: they do not belong together"
            )
        )
    stored = FileRegion(data_file, (there, *shape[1:]), "<f4" if width == 4 else "<i2")
    region: Region = stored
    if width == 2 and (header.factor not in (0.0, 1.0) or there < shape[0]):
        region = Scaled(stored, header.factor or 1.0)
    region, missing = _completed(region, shape[0], notes)
    axes = [
        energy_axis(header.energies, _unit(header.energies)),
        _ranged("y", header.y, header.rows),
        _ranged("x", header.x, header.columns),
    ]
    metadata = {"scale": header.factor, "frames": "; ".join(header.frames[:50])}
    found = Found(
        region, axes, "aXis2000", data_file.stem, data_file, kind="STXM", diffraction=False,
        missing=missing, notes=notes, metadata=metadata,
    )  # fmt: skip
    return [offer_of(found)]


def _completed(
    region: Region, count: int, notes: list[str]
) -> tuple[Region, NDArray[np.bool_] | None]:
    """A stack of all its energies, those that a cut file does not have marked missing."""
    there = region.shape[0]
    if there == count:
        return region, None
    notes.append(f"the file is cut: the last {count - there} of {count} frames are missing")
    whole = FrameGrid(region, grid_index(there, (count,)))
    return whole, whole.missing


def _unit(energies: NDArray[np.float64]) -> str | None:
    """Both programs write eV; what cannot be eV is left to be told by its size."""
    return "eV" if energies.min() >= MIN_ENERGY_EV else None


def _beside(path: Path, suffix: str) -> Path:
    """The file of the same name with another ending, in whatever case."""
    if path.suffix.lower() == suffix:
        return path
    for beside in path.parent.iterdir():
        if beside.stem == path.stem and beside.suffix.lower() == suffix:
            return beside
    what = "its header" if suffix == ".dat" else "its data"
    raise ScanFileError(f"{path.name}: {what} ({path.stem}{suffix}) is not beside it")


def is_ncb_header(path: Path) -> bool:
    """Whether a .dat lies beside the .ncb it describes."""
    return any(
        beside.stem == path.stem and beside.suffix.lower() == ".ncb"
        for beside in path.parent.iterdir()
    )


def _parse(path: Path) -> _Header:
    lines = [line.strip() for line in path.read_text("latin-1").splitlines()]
    lines = [line for line in lines if line]
    try:
        columns, rows = (int(word) for word in lines[0].split()[:2])
        words = lines[0].split()
        factor = float(words[2]) if len(words) > 2 else 1.0
        x, y = (tuple(float(w) for w in line.split()[:2]) for line in lines[1:3])
        count = int(lines[3].split()[0])
        energies = np.array([float(line.split()[0]) for line in lines[4 : 4 + count]])
    except (ValueError, IndexError) as error:
        raise ScanFileError(
            f"{path.name}: is no header of an .ncb stack, or is damaged: it should list pixels,"
            " ranges and energies"
        ) from error
    _check_sizes(path, columns, rows, count)
    if energies.size != count:
        raise ScanFileError(
            f"{path.name}: lists {energies.size} of {count} energies: it is damaged"
        )
    if len(x) != 2 or len(y) != 2:
        raise ScanFileError(f"{path.name}: the ranges of its axes are damaged")
    _check_energies(path, energies)
    return _Header(columns, rows, factor, x, y, energies, tuple(lines[4 + count :]))


def _check_sizes(path: Path, columns: int, rows: int, count: int) -> None:
    if not (0 < columns <= _MAX_SIDE and 0 < rows <= _MAX_SIDE and 0 < count <= _MAX_SIDE):
        raise ScanFileError(
            f"{path.name}: describes {count} frames of {rows} x {columns} pixels: it is damaged,"
            " or of another program"
        )


def _check_energies(path: Path, energies: NDArray[np.float64]) -> None:
    if not plausible(energies):
        raise ScanFileError(
            one_line(
                f"{path.name}: lists energies of {energies.min():g} to {energies.max():g}, which"
                " no stack has: it is damaged, or of another program"
            )
        )


def _ranged(name: str, ends: tuple[float, ...], count: int) -> RawAxis:
    """An axis by its first and last coordinate, in µm as aXis2000 writes them."""
    step = (ends[1] - ends[0]) / max(1, count - 1)
    return RawAxis(name, step or 1.0, ends[0], "um" if step else None)


def stk(path: Path, request: Request) -> list[Offer]:
    """A .stk of the program Stack: big-endian sizes, axes, dwell times and real frames."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = np.fromfile(file, ">i4", 3)
        if head.size < 3:
            raise ScanFileError(f"{path.name}: is too short for a .stk stack")
        columns, rows, count = (int(n) for n in head)
        _check_sizes(path, columns, rows, count)
        start = 12 + 4 * (columns + rows + 2 * count)
        if size < start:
            raise ScanFileError(f"{path.name}: is cut inside its header: copy it again")
        listed = np.fromfile(file, ">f4", columns + rows + 2 * count).astype(np.float64)
    x, y, energies, dwell = np.split(listed, np.cumsum([columns, rows, count]))
    _check_energies(path, energies)
    there = min(count, (size - start) // (4 * rows * columns))
    if not there:
        raise ScanFileError(f"{path.name}: is cut inside its first frame: copy it again")
    notes: list[str] = []
    region, missing = _completed(
        FileRegion(path, (there, rows, columns), ">f4", start), count, notes
    )
    axes = [energy_axis(energies, _unit(energies))]
    for name, points in (("y", y), ("x", x)):
        scale, offset, even = regular(points)
        axes.append(RawAxis(name, scale, offset, "um", values=None if even else points))
    found = Found(
        region, axes, "Stack .stk", path.stem, path, kind="STXM", diffraction=False,
        missing=missing, notes=notes, metadata={"dwell_ms": [float(t) for t in dwell]},
    )  # fmt: skip
    return [offer_of(found)]
