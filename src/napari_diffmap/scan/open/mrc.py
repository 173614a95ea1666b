"""MRC stacks, and Direct Electron movies with the settings file beside them.

RosettaSciIO believes the frame count of the header, calls every DE scale 1 nm
and fills positions that a custom scan left out with zeros; all three are
checked here.
"""

from __future__ import annotations

import csv
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.calibrate import plausible_voltage
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.notes import shape_text
from napari_diffmap.scan.open.regions import FileRegion, FrameGrid, Region, grid_index

_HEADER_BYTES = 1024
_DTYPES = {0: "u1", 1: "<i2", 2: "<f4", 4: "<c8", 6: "<u2", 12: "<f2"}


@dataclass(frozen=True)
class MrcHeader:
    """What is used of the 1024-byte header (MRC2014)."""

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    start: int
    cell: tuple[float, float, float]
    sampling: tuple[int, int, int]

    def step_nm(self, axis: int) -> float | None:
        """Sampling along z, y or x in nm; None for the placeholder of 1 Å a pixel."""
        length, count = self.cell[axis], self.sampling[axis]
        if not np.isfinite(length) or length < 1e-3 or count <= 0 or length == count:
            return None
        return length / count / 10


def parse_header(path: Path) -> MrcHeader:
    """Read and check the header.

    Raises
    ------
    ScanFileError
        If it is no MRC header.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if len(head) < _HEADER_BYTES:
        raise ScanFileError(f"{path.name}: is cut inside its header: copy it again")
    columns, rows, frames, mode = struct.unpack_from("<4i", head, 0)
    sampling = struct.unpack_from("<3i", head, 28)
    cell = struct.unpack_from("<3f", head, 40)
    extended = struct.unpack_from("<i", head, 92)[0]
    if mode not in _DTYPES or not (0 < columns < 65536 and 0 < rows < 65536) or frames < 1:
        raise ScanFileError(f"{path.name}: is no MRC file of a known kind (mode {mode})")
    if not 0 <= extended < path.stat().st_size:
        raise ScanFileError(f"{path.name}: its header is damaged: copy it again")
    return MrcHeader(
        (frames, rows, columns),
        np.dtype(_DTYPES[mode]),
        _HEADER_BYTES + extended,
        (cell[2], cell[1], cell[0]),
        (sampling[2], sampling[1], sampling[0]),
    )


def mrc(path: Path, request: Request) -> list[Offer]:
    """An MRC picture, stack or Direct Electron scan."""
    header = parse_header(path)
    promised, rows, columns = header.shape
    frame_bytes = rows * columns * header.dtype.itemsize
    whole = (path.stat().st_size - header.start) // frame_bytes
    if whole < 1:
        raise ScanFileError(f"{path.name}: is cut inside its first frame: copy it again")
    there = min(promised, int(whole))
    notes: list[str] = []
    if there < promised:
        notes.append(f"the header says {promised} frames, the file holds {there}")
    frames = FileRegion(path, (there, rows, columns), header.dtype, header.start)
    found = Found(frames, [], "MRC", path.stem, path, notes=notes)
    pixel = [header.step_nm(i) for i in (1, 2)]
    found.axes = [
        RawAxis("y", pixel[0] or 1.0, unit="nm" if pixel[0] else None),
        RawAxis("x", pixel[1] or 1.0, unit="nm" if pixel[1] else None),
    ]
    settings = _settings(path)
    if settings:
        return _direct_electron(found, frames, settings, promised, request)
    if there == 1:
        found.data = FileRegion(path, (rows, columns), header.dtype, header.start)
        return [offer_of(found)]
    found.axes.insert(0, RawAxis("frame", role="scan"))
    if there < promised and request.scan_shape is None:
        layout = FrameGrid(frames, grid_index(there, (promised,)))
        found.data, found.missing = layout, layout.missing
    return [offer_of(found)]


def _settings(path: Path) -> dict[str, str]:
    """``key = value`` lines of the info file that Direct Electron writes beside a movie."""
    stem = path.stem
    if not stem.endswith("_movie"):
        return {}
    prefix = stem.removesuffix("_movie")
    beside = [path.with_name(f"{prefix}_info.txt")]
    match = re.match(r"(\d{8}_\d+)_", stem)
    if match:
        beside += sorted(path.parent.glob(f"{match.group(1)}_*info.txt"))
    for candidate in beside:
        if candidate.is_file():
            lines = candidate.read_text("utf-8", "replace").splitlines()
            pairs = [line.split("=", 1) for line in lines if "=" in line]
            return {k.strip(): v.strip() for k, v in pairs}
    return {}


def _value(settings: dict[str, str], key: str) -> float | None:
    """A positive number; DE writes -1 for what it does not know."""
    try:
        number = float(settings[key])
    except (KeyError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None


def _direct_electron(
    found: Found, frames: Region, settings: dict[str, str], promised: int, request: Request
) -> list[Offer]:
    found.format = "Direct Electron MRC"
    keys = ("Camera Model", "Timestamp (seconds since Epoch)", "Scan - Type", "Scan - Enable")
    found.metadata = {k: settings[k] for k in keys if k in settings}
    volts = _value(settings, "Instrument Accelerating Voltage (V)")
    found.voltage_kv = plausible_voltage(volts) if volts else None
    scanning = settings.get("Scan - Enable") == "Enable"
    diffracting = scanning or _value(settings, "Instrument Project Camera Length (centimeters)")
    if diffracting:
        found.diffraction = True
        found.axes = _steps(settings, ("ky", "kx"), "Diffraction Pixel Size {}", "1/nm")
    if not scanning:
        found.axes = [RawAxis("frame", role="scan"), *found.axes]
        return [offer_of(found)]
    found.sample_axes = tuple(  # type: ignore[assignment]
        _steps(settings, ("y", "x"), "Specimen Pixel Size {} (nanometers)", "nm")
    )
    found.axes = [RawAxis("frame", role="scan"), *found.axes]
    if request.scan_shape is not None:
        return [offer_of(found)]
    if settings.get("Scan - Type", "Raster") == "Raster":
        part = "ROI " if settings.get("Scan - ROI Enable") == "Enable" else ""
        size = [int(_value(settings, f"Scan - {part}Size {n}") or 0) for n in "YX"]
        return [offer_of(_raster(found, frames, (size[0], size[1])))]
    return _positions(found, frames)


def _steps(settings: dict[str, str], names: tuple[str, str], key: str, unit: str) -> list[RawAxis]:
    steps = [_value(settings, key.format(n)) for n in "YX"]
    return [
        RawAxis(name, step or 1.0, unit=unit if step else None)
        for name, step in zip(names, steps, strict=True)
    ]


def _laid_out(found: Found, frames: Region, index: NDArray[np.int64]) -> Found:
    layout = FrameGrid(frames, index)
    found.data, found.missing, found.kind = layout, layout.missing, "4D-STEM"
    assert found.sample_axes is not None
    found.axes = [*found.sample_axes, *found.axes[-2:]]
    if found.missing is not None:
        found.notes.append(
            f"{int((index >= 0).sum())} of {index.size} positions were recorded,"
            " the rest is marked missing"
        )
    return found


def _raster(found: Found, frames: Region, shape: tuple[int, int]) -> Found:
    count = frames.shape[0]
    if min(shape) < 1 or count > shape[0] * shape[1]:
        found.notes.append(
            f"{count} frames do not fit the {shape_text(shape)} scan of the settings file:"
            " opened as a flat stack"
        )
        return found
    return _laid_out(found, frames, grid_index(count, shape))


def _positions(found: Found, frames: Region) -> list[Offer]:
    """Lay out a scan along a list of positions; each pass over them is one scan."""
    path = found.source
    prefix = path.stem.removesuffix("_movie")
    beside = path.with_name(f"{prefix}_scan_coordinates.csv")
    if not beside.is_file():
        found.notes.append(
            "scanned along a list of positions, which is not beside it: opened as a flat stack"
        )
        return [offer_of(found)]
    try:
        with beside.open(newline="") as file:
            rows = [(int(line[1]), int(line[0])) for line in csv.reader(file) if len(line) >= 2]
    except ValueError as error:
        raise ScanFileError(f"{beside.name}: holds no list of x,y positions") from error
    at = np.array(rows[: frames.shape[0]], dtype=np.int64)
    if not len(at) or at.min() < 0:
        raise ScanFileError(f"{beside.name}: holds no list of x,y positions")
    shape = (int(at[:, 0].max()) + 1, int(at[:, 1].max()) + 1)
    passes: list[NDArray[np.int64]] = []
    for frame, (row, column) in enumerate(at):
        for grid in passes:
            if grid[row, column] < 0:
                grid[row, column] = frame
                break
        else:
            grid = np.full(shape, -1, dtype=np.int64)
            grid[row, column] = frame
            passes.append(grid)
    if len(passes) == 1:
        return [offer_of(_laid_out(found, frames, passes[0]))]
    return [_pass(found, frames, grid, n) for n, grid in enumerate(passes, 1)]


def _pass(found: Found, frames: Region, grid: NDArray[np.int64], number: int) -> Offer:
    from dataclasses import replace

    candidate = Candidate(
        f"pass {number}", (*grid.shape, *frames.shape[1:]), str(frames.dtype), "4D-STEM"
    )

    def load() -> Found:
        copy = replace(found, notes=list(found.notes), name=f"{found.name} pass {number}")
        return _laid_out(copy, frames, grid)

    return Offer(candidate, load)
