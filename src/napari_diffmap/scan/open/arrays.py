"""NumPy files and raw bytes, mapped to memory; object arrays are never unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from napari_diffmap.errors import NeedsShapeError, ScanFileError
from napari_diffmap.scan.open.beside import describe
from napari_diffmap.scan.open.energies import attach_list
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.notes import shape_text
from napari_diffmap.scan.open.regions import FileRegion, FrameGrid, Index, Region, native

#: EMPAD frames: 128 x 128 float32 and two rows of housekeeping.
EMPAD_FRAME = (128, 128)
EMPAD_FRAME_BYTES = 130 * 128 * 4
#: Compressed arrays larger than this are slow to look at.
_SLOW_BYTES = 1 << 28
#: Dtypes by the code in the 10-byte head of a TIA export (.bin).
_TIA_DTYPES = {1: "u1", 2: "<u2", 3: "<u4", 4: "i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8"}


def npy_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, dtype and first data byte of a .npy stream."""
    try:
        version = npy_format.read_magic(file)
        read = {
            (1, 0): npy_format.read_array_header_1_0,
            (2, 0): npy_format.read_array_header_2_0,
        }.get(version, npy_format.read_array_header_2_0)
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError, SyntaxError) as error:
        raise ScanFileError(f"{name}: its .npy header is damaged: save it again") from error
    if dtype.hasobject:
        raise ScanFileError(
            f"{name}: holds pickled Python objects, which are never loaded:"
            " save a plain numeric array (frames of one size)"
        )
    return tuple(int(n) for n in shape), bool(fortran), dtype, file.tell()


def npy(path: Path, request: Request) -> list[Offer]:
    """The array of a .npy file."""
    with path.open("rb") as file:
        shape, fortran, dtype, start = npy_header(file, path.name)
    notes: list[str] = []
    if request.shape is not None and math.prod(request.shape) == math.prod(shape):
        shape = tuple(request.shape)
    region, missing = _mapped(path, shape, fortran, dtype, start, notes)
    found = Found(
        region, [RawAxis() for _ in shape], "NumPy", path.stem, path, missing=missing, notes=notes
    )
    describe(path, found)
    if request.kind in (None, "STXM") and request.axes is None and request.scan_shape is None:
        attach_list(found, path)
    return [offer_of(found)]


def _mapped(
    path: Path, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any], start: int,
    notes: list[str],
) -> tuple[Region, NDArray[np.bool_] | None]:  # fmt: skip
    """A region over an array in a file; a truncated stack keeps its whole frames."""
    there = path.stat().st_size - start
    needed = math.prod(shape) * dtype.itemsize
    if fortran and len(shape) > 2 and needed > 1 << 30:
        notes.append("stored in Fortran order: patterns are read slowly; save it in C order")
    if there >= needed:
        return FileRegion(path, shape, dtype, start, order="F" if fortran else "C"), None
    frame = math.prod(shape[-2:]) * dtype.itemsize
    whole = there // frame if len(shape) > 2 and frame and not fortran else 0
    if whole < 1:
        raise ScanFileError(
            f"{path.name}: is truncated: {there:,} of {needed:,} bytes are there; copy it again"
        )
    return truncated_frames(path, shape, dtype, start, int(whole), notes)


def truncated_frames(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    start: int,
    whole: int,
    notes: list[str],
) -> tuple[Region, NDArray[np.bool_]]:
    """The whole frames of a cut file, laid out as promised, the rest missing."""
    lead = shape[:-2]
    index = np.arange(math.prod(lead), dtype=np.int64)
    index[whole:] = -1
    notes.append(
        f"the file is cut: {whole} of {index.size} frames are there, the rest is marked missing"
    )
    frames = FileRegion(path, (whole, *shape[-2:]), dtype, start)
    grid = FrameGrid(frames, index.reshape(lead))
    return grid, index.reshape(lead) < 0


class ZipMember(Region):
    """A compressed .npy inside a .npz, decoded from its start for every read."""

    def __init__(self, path: Path, member: str) -> None:
        self.path = path
        self._member = member
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            self.shape, fortran, stored, self._start = npy_header(file, path.name)
        if fortran and len(self.shape) > 1:
            raise ScanFileError(f"{path.name}: compressed in Fortran order: save it in C order")
        self._stored = stored
        self.dtype = native(stored)

    def read(self, index: Index) -> NDArray[Any]:
        """Skip to the first row wanted, decode up to the last."""
        first = index[0]
        rows = first if isinstance(first, slice) else slice(first, first + 1)
        start, stop, step = rows.indices(self.shape[0])
        row = math.prod(self.shape[1:]) * self._stored.itemsize
        with zipfile.ZipFile(self.path) as archive, archive.open(self._member) as file:
            file.seek(self._start + start * row)
            data = file.read(max(0, stop - start) * row)
        block = np.frombuffer(data, self._stored).reshape(-1, *self.shape[1:])[::step]
        inner = block[(slice(None), *index[1:])]
        return inner if isinstance(first, slice) else inner[0]


def member_region(path: Path, info: zipfile.ZipInfo) -> Region:
    """Lazy view of one array of a .npz: mapped when stored, decoded when compressed."""
    if info.compress_type != zipfile.ZIP_STORED:
        return ZipMember(path, info.filename)
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)
        names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        start = info.header_offset + 30 + names
        file.seek(start)
        shape, fortran, dtype, data = npy_header(file, path.name)
    return FileRegion(path, shape, dtype, data, order="F" if fortran else "C")


def npz(path: Path, request: Request) -> list[Offer]:
    """The arrays of a .npz; positions beside a stack lay it out on its grid."""
    regions: dict[str, Region] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        for info in members:
            try:
                regions[info.filename.removesuffix(".npy")] = member_region(path, info)
            except ScanFileError:
                if len(members) == 1:
                    raise
    except zipfile.BadZipFile as error:
        raise ScanFileError(f"{path.name}: is truncated or damaged: copy it again") from error
    stacks = {k: r for k, r in regions.items() if r.ndim >= 3 and r.dtype.kind in "biufc"}
    pictures = {k: r for k, r in regions.items() if r.ndim == 2 and r.dtype.kind in "biufc"}
    offers = []
    for key, region in (stacks or pictures).items():
        positions = _positions(regions, region)

        def load(
            key: str = key, region: Region = region, at: NDArray[Any] | None = positions
        ) -> Found:
            name = path.stem if len(stacks or pictures) == 1 else f"{path.stem} {key}"
            found = Found(region, [RawAxis() for _ in region.shape], "NumPy npz", name, path)
            if at is not None:
                _on_grid(found, at)
            if isinstance(region, ZipMember) and region.nbytes > _SLOW_BYTES:
                found.notes.append(
                    "a compressed .npz is decoded from its start for every look: save it as .npy"
                )
            return found

        kind = "4D-STEM" if region.ndim == 4 or positions is not None else "stack"
        offers.append(Offer(Candidate(key, region.shape, str(region.dtype), kind), load))
    if not offers:
        held = ", ".join(f"{k} ({shape_text(r.shape)})" for k, r in regions.items()) or "nothing"
        raise ScanFileError(f"{path.name}: holds no stack of patterns, only {held}")
    return offers


def _positions(regions: dict[str, Region], stack: Region) -> NDArray[Any] | None:
    """Scan positions ``(n, 2)`` stored beside a stack of n frames, rows first."""
    if stack.ndim != 3:
        return None
    for key, region in regions.items():
        word = key.lower()
        if region.shape == (stack.shape[0], 2) and ("pos" in word or "coord" in word):
            at = np.asarray(region[:, :], dtype=np.float64)
            return at[:, ::-1] if word.endswith("xy") else at
    return None


def _on_grid(found: Found, at: NDArray[Any]) -> None:
    """Lay frames out at the nearest node of the grid their positions lie on."""
    indices, steps = [], []
    for column in at.T:
        node, step = _nodes(column)
        indices.append(node)
        steps.append(step)
    rows, columns = (int(node.max()) + 1 for node in indices)
    grid = np.full((rows, columns), -1, dtype=np.int64)
    taken = grid[indices[0], indices[1]]
    grid[indices[0], indices[1]] = np.arange(len(at))
    twice = len(at) - int((grid >= 0).sum())
    region = found.data
    if twice or not isinstance(region, Region) or taken.size != len(at):
        found.notes.append(
            "the positions beside the stack do not lie on a grid: opened as a flat stack"
        )
        return
    layout = FrameGrid(region, grid)
    found.data, found.missing, found.kind = layout, layout.missing, "4D-STEM"
    found.axes = [RawAxis("y", role="scan"), RawAxis("x", role="scan"), *found.axes[-2:]]
    absent = rows * columns - len(at)
    found.notes.append(
        f"{len(at)} frames laid out on {rows} x {columns} positions by the coordinates beside"
        f" them (steps of {steps[0]:.3g} and {steps[1]:.3g})"
        + (f"; {absent} positions are missing" if absent else "")
    )


def _nodes(column: NDArray[Any]) -> tuple[NDArray[np.int64], float]:
    """Grid index of every coordinate and the grid step."""
    ordered = np.sort(column)
    gaps = np.diff(ordered)
    span = float(ordered[-1] - ordered[0])
    jumps = gaps[gaps > 0.3 * gaps.max()] if gaps.size and span > 0 else np.array([])
    step = float(np.median(jumps)) if jumps.size else 1.0
    groups = np.split(ordered, np.flatnonzero(gaps > 0.3 * step) + 1) if span else [ordered]
    if len(groups) > 1:
        centres = np.array([g.mean() for g in groups])
        spacing = float(np.median(np.diff(centres)))
        counted = np.round((centres - centres[0]) / spacing)  # a whole row may be absent
        step, start = (float(v) for v in np.polyfit(counted, centres, 1))
        nodes = np.round((column - start) / step)
    else:
        nodes = np.zeros(len(column))
    return (nodes - nodes.min()).astype(np.int64), step


def raw(path: Path, request: Request) -> list[Offer]:
    """Raw bytes with the shape the user gives."""
    size = path.stat().st_size
    if request.shape is None:
        known = _known_raw(path, size)
        if known is not None:
            return [offer_of(known)]
        raise NeedsShapeError(
            f"{path.name}: {size:,} bytes without a header: give its shape (y, x, ky, kx),"
            f" its number type and offset{_suggestion(size)}"
        )
    if request.dtype is None:
        raise NeedsShapeError(f"{path.name}: give the number type of its values, e.g. 'uint16'")
    try:
        dtype = np.dtype(request.dtype)
    except TypeError as error:
        raise NeedsShapeError(
            f"{path.name}: number type '{request.dtype}' is not known: give e.g. 'uint16' or '>u2'"
        ) from error
    shape = tuple(int(n) for n in request.shape)
    if dtype.kind not in "biufc" or min(shape, default=0) < 1 or request.offset < 0:
        raise NeedsShapeError(f"{path.name}: shape {shape_text(shape)} of {dtype} is impossible")
    needed = math.prod(shape) * dtype.itemsize
    there = size - request.offset
    notes: list[str] = []
    if there < needed:
        frame = math.prod(shape[-2:]) * dtype.itemsize
        # Only the last row may be short: half of the bytes is a wrong dtype, not an aborted scan.
        short = there <= needed - needed // shape[0] and not request.growing
        if len(shape) < 3 or there < frame or short:
            raise _unfit(path, shape, dtype, needed, there)
        region, missing = truncated_frames(
            path, shape, dtype, request.offset, int(there // frame), notes
        )
    else:
        region, missing = FileRegion(path, shape, dtype, request.offset), None
        if there > needed:
            notes.append(f"{there - needed:,} bytes after the last frame are not used")
    axes = [RawAxis() for _ in shape]
    found = Found(region, axes, "raw", path.stem, path, missing=missing, notes=notes)
    if request.kind is None and request.axes is None and len(shape) == 4:
        found.kind = "4D-STEM"  # the order is the one the user typed
    return [offer_of(found)]


def _unfit(
    path: Path, shape: Sequence[int], dtype: np.dtype[Any], needed: int, there: int
) -> NeedsShapeError:
    return NeedsShapeError(
        f"{path.name}: {shape_text(shape)} of {dtype} needs {needed:,} bytes, {max(0, there):,}"
        " are there: check shape, dtype and offset"
    )


def _suggestion(size: int) -> str:
    """Square patterns that fill the file exactly, as a hint."""
    hints = []
    for edge in (128, 256, 512, 1024, 2048, 64):
        for name, width in (("uint16", 2), ("uint8", 1), ("float32", 4)):
            frames, rest = divmod(size, edge * edge * width)
            if not rest and frames >= 1:
                hints.append(f"{frames} x {edge} x {edge} {name}")
                break
    return f" (would fit: {', '.join(hints[:3])})" if hints else ""


def _known_raw(path: Path, size: int) -> Found | None:
    """EMPAD and TIA exports, told by a size that fits to the byte."""
    import re

    match = re.search(r"x(\d+)_y(\d+)\.raw$", path.name.lower())
    if match:
        columns, rows = (int(n) for n in match.groups())
        if rows and columns and rows * columns * EMPAD_FRAME_BYTES == size:
            region = FileRegion(path, (rows, columns, *EMPAD_FRAME), "<f4", tail=2 * 128 * 4)
            note = "taken as EMPAD frames by name and size; open the .xml beside it for its units"
            names = [RawAxis(n, role=r) for n, r in _SCAN_AXES]  # type: ignore[arg-type]
            return Found(
                region, names, "EMPAD raw", path.stem, path, diffraction=True, notes=[note]
            )
    with path.open("rb") as file:
        head = file.read(10)
    if len(head) == 10:
        code = int.from_bytes(head[:2], "little")
        columns, rows = (int.from_bytes(head[i : i + 4], "little") for i in (2, 6))
        dtype = _TIA_DTYPES.get(code)
        if dtype and rows and rows * columns * np.dtype(dtype).itemsize + 10 == size:
            region = FileRegion(path, (rows, columns), dtype, 10)
            note = "taken as a TIA export by its 10-byte head"
            return Found(region, [RawAxis(), RawAxis()], "TIA bin", path.stem, path, notes=[note])
    return None


_SCAN_AXES = (("y", "scan"), ("x", "scan"), ("ky", "detector"), ("kx", "detector"))
