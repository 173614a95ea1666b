"""Merlin .mib: frames with a text header each, laid out by the .hdr beside them.

RosettaSciIO drops an unfinished scan row without a word; here the frames that
are there keep their places and the others are marked missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.found import Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.notes import one_line
from napari_diffmap.scan.open.regions import FileRegion, FrameGrid, Region, grid_index

_DTYPES = {"U08": ">u1", "U16": ">u2", "U32": ">u4", "U64": ">u8"}
#: Time stamps looked at to find the length of a scan row.
_MAX_STAMPS = 4096


@dataclass(frozen=True)
class MibHeader:
    """The header of the first frame of a .mib.

    Attributes
    ----------
    size
        Bytes of the header before every frame.
    frame
        ``(ky, kx)``.
    dtype
        Stored dtype.
    """

    size: int
    frame: tuple[int, int]
    dtype: np.dtype[np.unsignedinteger]

    @property
    def record(self) -> int:
        """Bytes of one frame with its header."""
        return self.size + self.frame[0] * self.frame[1] * self.dtype.itemsize


def parse_header(path: Path) -> MibHeader:
    """The first frame header.

    Raises
    ------
    ScanFileError
        If it is raw, damaged or no Merlin header.
    """
    with path.open("rb") as file:
        fields = file.read(384).split(b",")
    try:
        words = [field.decode("ascii") for field in fields[:8]]
        if words[0] != "MQ1":
            raise ValueError(words[0])
        size, columns, rows = int(words[2]), int(words[4]), int(words[5])
        depth = words[6].strip()
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ScanFileError(f"{path.name}: its Merlin frame header is damaged") from error
    if depth == "R64":
        raise ScanFileError(
            f"{path.name}: is a raw Merlin recording, which is not read:"
            " save it as processed (U08, U16 or U32) in the Merlin software"
        )
    if depth not in _DTYPES or min(size, columns, rows) < 1:
        raise ScanFileError(f"{path.name}: its Merlin frame header is damaged")
    return MibHeader(size, (rows, columns), np.dtype(_DTYPES[depth]))


def merlin(path: Path, request: Request) -> list[Offer]:
    """A Merlin .mib, or the .mib beside its .hdr."""
    if path.suffix.lower() == ".hdr":
        beside = [p for s in (".mib", ".MIB") if (p := path.with_suffix(s)).is_file()]
        if not beside:
            raise ScanFileError(f"{path.name}: its frames ({path.stem}.mib) are not beside it")
        path = beside[0]
    header = parse_header(path)
    size = path.stat().st_size
    whole, rest = divmod(size, header.record)
    notes: list[str] = []
    if not whole:
        raise ScanFileError(f"{path.name}: is cut before the end of its first frame")
    if rest:
        notes.append(f"the last frame is cut ({rest:,} of {header.record:,} bytes)")
    frames: Region = FileRegion(
        path, (whole, *header.frame), header.dtype, head=header.size, flip=True
    )
    settings = _settings(path)
    promised = _positive(settings.get("Frames in Acquisition (Number)")) or whole
    found = Found(
        frames,
        [RawAxis("frame", role="scan"), RawAxis("ky"), RawAxis("kx")],
        "Merlin MIB",
        path.stem,
        path,
        diffraction=True,
        notes=notes,
        metadata={f"hdr.{k}": v for k, v in settings.items() if len(v) <= 200},
    )
    if request.scan_shape is not None:
        return [offer_of(found)]  # laid out as asked, whatever the header says
    rows = _positive(settings.get("Frames per Trigger (Number)")) or 1
    if rows == 1 and promised > 1:
        rows = _row_from_stamps(path, header, whole, notes)
    _lay_out(found, frames, whole, promised, rows)
    return [offer_of(found)]


def _settings(path: Path) -> dict[str, str]:
    """Lines of the .hdr beside a .mib."""
    for suffix in (".hdr", ".HDR"):
        beside = path.with_suffix(suffix)
        if beside.is_file():
            lines = beside.read_text("latin-1").splitlines()
            pairs = [line.split("\t", 1) for line in lines if "\t" in line]
            return {k.strip().rstrip(":"): v.strip() for k, v in pairs}
    return {}


def _positive(word: str | None) -> int:
    try:
        return max(0, int(word or 0))
    except ValueError:
        return 0


def _row_from_stamps(path: Path, header: MibHeader, whole: int, notes: list[str]) -> int:
    """Length of a scan row from the pauses between rows; 1 when none is seen."""
    count = min(whole, _MAX_STAMPS)
    if count < 4:
        return 1
    record = np.dtype([("head", f"S{header.size}"), ("rest", f"V{header.record - header.size}")])
    heads = np.array(np.memmap(path, dtype=record, mode="r", shape=(count,))["head"])
    try:
        stamps = [head.decode("ascii").split(",")[-4].rstrip("Z")[:26] for head in heads]
        times = np.array(stamps, dtype="datetime64[us]").astype(np.int64)
    except (ValueError, IndexError, UnicodeDecodeError):
        return 1
    row = _period(np.diff(times))
    if row > 1:
        notes.append(f"scan rows of {row} frames are guessed from pauses in the time stamps")
    return row


def _period(gaps: NDArray[np.int64]) -> int:
    """Every how many frames a longer pause falls; 1 where pauses are not regular."""
    usual = np.median(gaps)
    jitter = np.median(np.abs(gaps - usual))
    long = np.flatnonzero(gaps - usual > max(6 * jitter, 2.0)) + 1
    if not long.size:
        return 1
    row = int(long[0])
    regular = np.arange(row, len(gaps) + 1, row)
    extra = np.setdiff1d(long, regular).size
    return row if np.isin(regular, long).all() and extra <= 0.05 * long.size else 1


def _lay_out(found: Found, frames: Region, whole: int, promised: int, row: int) -> None:
    if promised < whole:
        found.notes.append(f"the .hdr speaks of {promised} frames, the file holds {whole}")
        promised = whole
    if promised == 1:
        found.data = _OneFrame(frames)
        found.axes = found.axes[1:]
        return
    index = grid_index(whole, (promised,))
    if row > 1 and promised % row == 0 and promised > row:
        index = index.reshape(promised // row, row)
        found.axes = [RawAxis("y", role="scan"), RawAxis("x", role="scan"), *found.axes[1:]]
        found.kind = "4D-STEM"
    if index.ndim > 1 or whole < promised:
        layout = FrameGrid(frames, index)
        found.data, found.missing = layout, layout.missing
    if found.missing is not None:
        found.notes.append(
            one_line(f"{whole} of {promised} frames are in the file, the rest is marked missing")
        )


class _OneFrame(Region):
    """The only frame of a stack."""

    def __init__(self, frames: Region) -> None:
        self.path = frames.path
        self._frames = frames
        self.shape = frames.shape[1:]
        self.dtype = frames.dtype

    def read(self, index: tuple[object, ...]) -> np.ndarray:
        """Read frame 0."""
        return self._frames[(0, *index)]
