"""TVIPS video sequences: frames with a header each, in numbered parts of a few GB.

RosettaSciIO's offsets overflow beyond 4 GB, so frames are mapped here.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.calibrate import plausible_voltage
from napari_diffmap.scan.open.found import Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.regions import FileRegion, FrameGrid, Region, Stacked

_GENERAL = struct.Struct("<13I")
#: Number, time (s and ms), …, and where mode and rotator index stand in a frame header.
_MODE_AT, _ROTATOR_AT, _FRAME_HEADER = 24, 48, 60
_DIFFRACTION = 2


@dataclass(frozen=True)
class Sequence:
    """The general header.

    Attributes
    ----------
    start
        First frame header of part 000; later parts start at 0.
    frame
        ``(ky, kx)``.
    head
        Bytes of header before each frame.
    """

    start: int
    frame: tuple[int, int]
    dtype: np.dtype[Any]
    offset: tuple[int, int]
    pixel: int
    volts: int
    head: int

    @property
    def record(self) -> int:
        """Bytes of a frame with its header."""
        return self.head + self.frame[0] * self.frame[1] * self.dtype.itemsize


def parse_header(path: Path) -> Sequence:
    """Read the general header of part 000.

    Raises
    ------
    ScanFileError
        If it is no TVIPS sequence.
    """
    with path.open("rb") as file:
        head = file.read(_GENERAL.size)
    if len(head) < _GENERAL.size:
        raise ScanFileError(f"{path.name}: is cut inside its header: copy it again")
    size, version, width, height, bits, ox, oy, _, _, pixel, volts, _, extra = _GENERAL.unpack(head)
    dtype = np.dtype("u1" if bits == 8 else "<u2")
    extra = 12 if version == 1 else extra
    plausible = 0 < width < 65536 and 0 < height < 65536 and 52 <= size < 1 << 20
    if version not in (1, 2) or bits not in (8, 16) or not plausible or not 12 <= extra < 1 << 20:
        raise ScanFileError(f"{path.name}: is no TVIPS sequence although its name says so")
    return Sequence(size, (height, width), dtype, (oy, ox), pixel, volts, extra)


def tvips(path: Path, request: Request) -> list[Offer]:
    """All parts of a sequence, opened by any of them."""
    match = re.search(r"_(\d{3})\.tvips$", path.name, re.IGNORECASE)
    if match is None:
        raise ScanFileError(f"{path.name}: TVIPS parts are named …_000.tvips: rename it")
    first = path.with_name(f"{path.name[: match.start(1)]}000{path.name[match.end(1) :]}")
    if not first.is_file():
        raise ScanFileError(f"{path.name}: is part of a sequence whose {first.name} is not there")
    header = parse_header(first)
    parts, notes = _parts(first, match.start(1), header)
    frames: Region = Stacked(parts) if len(parts) > 1 else parts[0]
    found = Found(
        frames,
        _axes(header),
        "TVIPS",
        first.name[: match.start(1) - 1],
        first,
        voltage_kv=plausible_voltage(header.volts),
        notes=notes,
        metadata={"parts": len(parts), "pixelsize": header.pixel, "ht": header.volts},
    )
    if _word(first, header, 0, _MODE_AT) == _DIFFRACTION:
        found.diffraction = True
        for axis in found.axes[1:]:
            axis.unit = "1/nm" if axis.unit else None
    if request.scan_shape is not None:
        _cut_to_scan(found, frames, parts, header, request.scan_shape)
    return [offer_of(found)]


def _parts(first: Path, at: int, header: Sequence) -> tuple[list[FileRegion], list[str]]:
    parts, notes, number, path = [], [], 0, first
    while path.is_file():
        start = header.start if number == 0 else 0
        count, rest = divmod(path.stat().st_size - start, header.record)
        if rest:
            notes.append(f"the last frame of {path.name} is cut")
        if count > 0:
            shape = (count, *header.frame)
            parts.append(FileRegion(path, shape, header.dtype, start, head=header.head))
        number += 1
        path = first.with_name(f"{first.name[:at]}{number:03d}{first.name[at + 3 :]}")
    if not parts:
        raise ScanFileError(f"{first.name}: is cut before the end of its first frame")
    return parts, notes


def _axes(header: Sequence) -> list[RawAxis]:
    """Frames, rows, columns; 0 and 1 stand for a pixel size nobody entered."""
    unit = "nm" if header.pixel > 1 else None
    step = float(header.pixel) if unit else 1.0
    return [
        RawAxis("frame", role="scan"),
        RawAxis("ky", step, float(header.offset[0]), unit),
        RawAxis("kx", step, float(header.offset[1]), unit),
    ]


def _word(path: Path, header: Sequence, frame: int, at: int) -> int:
    """One number of a frame header of part 000; 0 where headers are too short for it."""
    if header.head < _FRAME_HEADER:
        return 0
    with path.open("rb") as file:
        file.seek(header.start + frame * header.record + at)
        word = file.read(4)
    return int.from_bytes(word, "little") if len(word) == 4 else 0


def _cut_to_scan(
    found: Found,
    frames: Region,
    parts: list[FileRegion],
    header: Sequence,
    scan_shape: tuple[int, int],
) -> None:
    """Leave out frames before and after the scan, told by the rotator index."""
    wanted = scan_shape[0] * scan_shape[1]
    spare = frames.shape[0] - wanted
    if spare <= 0:
        return
    looked = range(min(spare + 1, parts[0].shape[0]))
    start = next((i for i in looked if _word(found.source, header, i, _ROTATOR_AT)), None)
    if start is None:
        return
    index = np.arange(start, start + wanted, dtype=np.int64)
    found.data = FrameGrid(frames, index)
    found.notes.append(
        f"the scan starts at frame {start} by its rotator index;"
        f" {spare} frames around it are left out"
    )
