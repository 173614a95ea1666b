"""FEI TIA: frames in .ser files, units and microscope in the .emi beside them.

RosettaSciIO reads a .ser whole even when asked to be lazy, fills positions of a
stopped map with zeros and leaves the offset of reciprocal axes in 1/m; so the
file is read here, frame by frame.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.calibrate import plausible_voltage
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request
from napari_diffmap.scan.open.regions import FrameGrid, Index, Region, ScatteredFrames

#: Dtypes by code, and the identifiers of the format (C. Boothroyd's description).
_DTYPES = {1: "u1", 2: "<u2", 3: "<u4", 4: "i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8",
           9: "<c8", 10: "<c16"}  # fmt: skip
_SPECTRA, _PICTURES, _POSITION_TAGS = 0x4120, 0x4122, 0x4142
#: Bytes of calibration before the values of a picture.
_PICTURE_HEAD = struct.Struct("<ddiddihii")


@dataclass(frozen=True)
class Dimension:
    """A scan dimension as stored."""

    size: int
    offset: float
    step: float
    unit: str


@dataclass(frozen=True)
class Series:
    """What a .ser says.

    Attributes
    ----------
    dimensions
        Scan dimensions, in stored order.
    offsets
        First byte of every recorded element.
    promised
        Elements the acquisition was set up for.
    x_fastest
        Whether neighbouring elements lie along a scan row.
    frame, dtype
        Of one picture.
    calibration
        ``(offset, step, element)`` of columns, then of rows.
    """

    dimensions: tuple[Dimension, ...]
    offsets: NDArray[np.int64]
    promised: int
    x_fastest: bool
    frame: tuple[int, int]
    dtype: np.dtype[Any]
    calibration: tuple[tuple[float, float, int], tuple[float, float, int]]


def parse_series(path: Path) -> Series:
    """Read the header of a .ser and of its first picture.

    Raises
    ------
    ScanFileError
        If it is damaged, empty or holds spectra.
    """
    with path.open("rb") as file:
        head = file.read(22)
        if len(head) < 22 or head[:4] != b"II\x97\x01":
            raise ScanFileError(f"{path.name}: is no TIA series although its name says so")
        version, data_kind, tag_kind, promised, valid = struct.unpack("<HIIII", head[4:])
        if data_kind == _SPECTRA:
            raise ScanFileError(f"{path.name}: holds spectra, no patterns and no images")
        if data_kind != _PICTURES or not valid:
            raise ScanFileError(f"{path.name}: not one picture was recorded in it")
        wide = version >= 0x220
        try:
            table, count = struct.unpack("<QI" if wide else "<II", file.read(12 if wide else 8))
            dimensions = tuple(_dimension(file) for _ in range(min(count, 8)))
            width = np.dtype("<u8" if wide else "<u4")
            file.seek(table)
            offsets = np.fromfile(file, width, valid).astype(np.int64)
            file.seek(table + promised * width.itemsize)
            tags = np.fromfile(file, width, min(valid, 2)).astype(np.int64)
            file.seek(int(offsets[0]))
            fields = _PICTURE_HEAD.unpack(file.read(_PICTURE_HEAD.size))
        except (struct.error, IndexError, OverflowError, OSError) as error:
            raise ScanFileError(f"{path.name}: is cut inside its header: copy it again") from error
        x0, dx, ex, y0, dy, ey, code, columns, rows = fields
        if code not in _DTYPES or min(columns, rows) < 1 or offsets.size < valid:
            raise ScanFileError(f"{path.name}: its picture header is damaged: copy it again")
        fast = tag_kind != _POSITION_TAGS or _along_x(file, tags)
    dtype = np.dtype(_DTYPES[code])
    end = offsets + _PICTURE_HEAD.size + columns * rows * dtype.itemsize
    whole = offsets[end <= path.stat().st_size]
    if not whole.size:
        raise ScanFileError(f"{path.name}: is cut inside its first picture: copy it again")
    return Series(
        dimensions, whole, promised, fast, (rows, columns), dtype, ((x0, dx, ex), (y0, dy, ey))
    )


def _dimension(file: Any) -> Dimension:
    size, offset, step, _, length = struct.unpack("<Iddii", file.read(28))
    file.seek(max(0, length), 1)
    (length,) = struct.unpack("<I", file.read(4))
    return Dimension(size, offset, step, file.read(min(length, 100)).decode("latin-1"))


def _along_x(file: Any, tags: NDArray[np.int64]) -> bool:
    """Whether the first two positions share their y."""
    positions = []
    for tag in tags:
        file.seek(int(tag))
        positions.append(struct.unpack("<HHIdd", file.read(24))[3:])
    return len(positions) < 2 or positions[0][1] == positions[1][1]


class _Pictures(Region):
    """Frames with their rows turned: TIA stores them bottom up."""

    def __init__(self, frames: ScatteredFrames, *, single: bool) -> None:
        self.path = frames.path
        self._frames = frames
        self._single = single
        self.shape = frames.shape[1:] if single else frames.shape
        self.dtype = frames.dtype

    def read(self, index: Index) -> NDArray[Any]:
        """Read whole frames, turn them, then cut."""
        first, rest = (0, index) if self._single else (index[0], index[1:])
        return self._frames[(first,)][..., ::-1, :][(..., *rest)]


def tia(path: Path, request: Request) -> list[Offer]:
    """A .ser, or every .ser of an .emi."""
    if path.suffix.lower() == ".ser":
        stem = re.sub(r"_\d+$", "", path.stem)
        beside = [p for e in (".emi", ".EMI") if (p := path.with_name(stem + e)).is_file()]
        match = re.search(r"_(\d+)$", path.stem)
        number = int(match.group(1)) if match else 1
        return [_offer(path, path, _object(beside[0], number) if beside else "")]
    series = sorted(p for p in path.parent.iterdir() if _belongs(p, path.stem))
    if not series:
        raise ScanFileError(f"{path.name}: its frames ({path.stem}_1.ser) are not beside it")
    offers = []
    for file in series:
        text = _object(path, int(file.stem.rsplit("_", 1)[1]))
        try:
            offers.append(_offer(path, file, text))
        except ScanFileError:
            if len(series) == 1:
                raise
    if not offers:
        raise ScanFileError(f"{path.name}: not one of its series holds pictures")
    return offers


def _belongs(file: Path, stem: str) -> bool:
    return file.suffix.lower() == ".ser" and bool(
        re.fullmatch(re.escape(stem) + r"_\d+", file.stem)
    )


def _object(emi: Path, number: int) -> str:
    """The description of one series inside an .emi."""
    content = emi.read_bytes()
    objects = re.findall(rb"<ObjectInfo>.*?</ObjectInfo>", content, re.DOTALL)
    if not 0 < number <= len(objects):
        return ""
    return str(objects[number - 1].decode("utf-8", "replace"))


def _said(text: str, label: str) -> str | None:
    match = re.search(rf"<Label>{label}</Label>\s*<Value>([^<]*)</Value>", text)
    return match.group(1).strip() if match else None


def _offer(path: Path, file: Path, text: str) -> Offer:
    series = parse_series(file)
    sizes = tuple(d.size for d in series.dimensions if d.size > 1)
    shape = (*(sizes if len(sizes) == 2 else (len(series.offsets),)), *series.frame)
    if len(series.offsets) == 1 and not sizes:
        shape = series.frame
    candidate = Candidate(file.stem, shape, str(series.dtype), "stack" if sizes else "image")
    return Offer(candidate, lambda: _load(path, file, series, text))


def _load(path: Path, file: Path, series: Series, text: str) -> Found:
    frames = ScatteredFrames(file, series.offsets + _PICTURE_HEAD.size, series.frame, series.dtype)
    single = series.promised == 1
    found = Found(_Pictures(frames, single=single), [], "TIA", path.stem, path)
    volts = re.search(r"<AcceleratingVoltage>([\d.]+)</AcceleratingVoltage>", text)
    found.voltage_kv = plausible_voltage(volts.group(1)) if volts else None
    words = {k: _said(text, k) for k in ("Microscope", "Mode", "Camera length", "Magnification")}
    found.metadata = {k: v for k, v in words.items() if v}
    found.axes = _picture_axes(series, found, text)
    scan = [d for d in series.dimensions if d.size > 1]
    if not single:
        found.axes.insert(0, RawAxis("frame", role="scan"))
    if len(scan) == 2 and scan[0].size * scan[1].size == series.promised:
        _map(found, series, scan[0], scan[1])
    elif len(series.offsets) < series.promised:
        found.notes.append(f"stopped after {len(series.offsets)} of {series.promised} pictures")
    return found


def _picture_axes(series: Series, found: Found, text: str) -> list[RawAxis]:
    """Rows and columns; lengths in m or reciprocal lengths in 1/m by the microscope's mode."""
    mode = str(found.metadata.get("Mode", ""))
    camera = "<CameraNamePath>" in text
    scanned = len(series.offsets) > 1 and any(d.unit == "meters" for d in series.dimensions)
    reciprocal = "Diffraction" in mode or ("STEM" in mode and (camera or scanned))
    if reciprocal:
        found.diffraction = True
    axes = []
    for name, (offset, step, element), size, turned in (
        ("ky" if reciprocal else "y", series.calibration[1], series.frame[0], True),
        ("kx" if reciprocal else "x", series.calibration[0], series.frame[1], False),
    ):
        if not text:
            axes.append(RawAxis(name))
            continue
        start = offset - element * step
        if turned:  # coordinates count upwards in the file, rows count downwards here
            start = -(start + (size - 1) * step)
        factor, unit = (1e-9, "1/nm") if reciprocal else (1e9, "nm")
        axes.append(RawAxis(name, step * factor, start * factor, unit))
    if not text:
        found.notes.append("the .emi with its units is not beside it: left uncalibrated")
    return axes


def _map(found: Found, series: Series, first: Dimension, second: Dimension) -> None:
    """Lay the elements of a map out; those of a stopped one are marked missing."""
    rows, columns = second, first
    index = np.arange(series.promised, dtype=np.int64)
    index[len(series.offsets) :] = -1
    if series.x_fastest:
        grid = index.reshape(rows.size, columns.size)
    else:
        grid = index.reshape(columns.size, rows.size).T
    region = found.data
    assert isinstance(region, Region)
    layout = FrameGrid(region, np.ascontiguousarray(grid))
    found.data, found.missing, found.kind = layout, layout.missing, "4D-STEM"
    sample = [
        RawAxis(name, d.step * 1e9, d.offset * 1e9, "nm" if d.unit == "meters" else None, "scan")
        for name, d in (("y", rows), ("x", columns))
    ]
    found.axes = [*sample, *found.axes[1:]]
    if found.missing is not None:
        found.notes.append(
            f"stopped after {len(series.offsets)} of {series.promised} positions,"
            " the rest is marked missing"
        )
