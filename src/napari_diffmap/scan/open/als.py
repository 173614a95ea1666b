"""ALS scanning transmission X-ray microscopes: a text .hdr and one text .xim a frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.als_header import Header, Points, parse_header
from napari_diffmap.scan.open.energies import energy_axis
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request
from napari_diffmap.scan.open.framestack import Plane
from napari_diffmap.scan.open.notes import one_line, shape_text
from napari_diffmap.scan.open.regions import Index, Region
from napari_diffmap.scan.open.tidy import regular
from napari_diffmap.scan.scan import Kind

#: Stacks up to this size are checked for cut frames by reading them.
_COUNT_BYTES = 64 << 20
_FRAME_NAME = re.compile(r"_([a-z])(\d*)$", re.IGNORECASE)
#: Frames are numbered with three digits; the region follows where there are several.
_DIGITS = 3


class XimFrames(Region):
    """Text frames ``(energy, y, x)``; rows that are not there are NaN.

    Parameters
    ----------
    paths
        One file a frame, None where it is absent.
    frame
        Rows and columns wanted of each frame.
    stored
        Columns of each frame as it is stored.
    """

    def __init__(
        self,
        paths: tuple[Path | None, ...],
        frame: tuple[int, int],
        home: Path,
        stored: tuple[int, ...] | None = None,
    ) -> None:
        self.path = home
        self._paths = paths
        self._stored = stored or (frame[1],) * len(paths)
        self.shape = (len(paths), *frame)
        self.dtype = np.dtype(np.float64)

    def read(self, index: Index) -> NDArray[Any]:
        """Parse the frames asked for."""
        wanted = np.arange(len(self._paths))[index[0]]
        frames = [self._frame(int(i)) for i in np.atleast_1d(wanted)]
        whole = np.stack(frames) if frames else np.empty((0, *self.shape[1:]))
        picked = whole[(slice(None), *index[1:])]
        return picked if isinstance(index[0], slice) else picked[0]

    def _frame(self, number: int) -> NDArray[np.float64]:
        rows, columns = self.shape[1:]
        frame = np.full((rows, columns), np.nan)
        path = self._paths[number]
        if path is None:
            return frame
        for filled, numbers in enumerate(_rows(path, self._stored[number])[:rows]):
            frame[filled] = np.array(numbers[:columns], dtype=np.float64)
        return frame


def _rows(path: Path, columns: int) -> list[list[bytes]]:
    """Whole lines of a frame; a cut line and everything after it is left out."""
    lines = [line.split() for line in path.read_bytes().splitlines()]
    filled = [line for line in lines if line]
    whole = next((i for i, line in enumerate(filled) if len(line) != columns), len(filled))
    return filled[:whole]


def _size(path: Path) -> tuple[int, int, int]:
    """Lines of a frame, columns of its first line and of its last."""
    content = path.read_bytes().strip()
    first, last = content.find(b"\n"), content.rfind(b"\n")
    columns = len(content[: first if first >= 0 else None].split())
    return content.count(b"\n") + 1, columns, len(content[last + 1 :].split())


class LineFrames(Region):
    """A line scan ``(position, energy)``, or turned, as a stack ``(energy, 1, position)``."""

    def __init__(self, frame: Region, *, energy_first: bool) -> None:
        self.path = frame.path
        self._frame = frame
        self._energy_first = energy_first
        rows, columns = frame.shape
        self.shape = (rows, 1, columns) if energy_first else (columns, 1, rows)
        self.dtype = frame.dtype

    def read(self, index: Index) -> NDArray[Any]:
        """Read the frame, which is small, and turn it."""
        frame = self._frame[:, :]
        return (frame if self._energy_first else frame.T)[:, None, :][index]


@dataclass(frozen=True)
class _Part:
    """One stack of a header: a region seen by a detector."""

    region: int
    letter: str
    files: dict[int, Path]


def als(path: Path, request: Request) -> list[Offer]:
    """Stacks and images by their .hdr, or the one that a .xim frame belongs to."""
    frame = path if path.suffix.lower() == ".xim" else None
    path = _header_of(frame) if frame else path
    header = parse_header(path)
    if "Point" in header.kind or any("QAxis" not in axes for axes in header.regions):
        what = header.kind or "scan of another kind"
        raise ScanFileError(f"{path.name}: is a {what}, which is no stack and no image")
    if any("PAxis" not in axes for axes in header.regions):
        raise ScanFileError(f"{path.name}: one of its axes is not described: it is damaged")
    parts = _parts(path, header)
    if not parts:
        count = header.stack[2].size
        what = f"{count} energies" if count > 1 else "an image"
        raise ScanFileError(
            f"{path.name}: speaks of {what}, but not one of its .xim frames is beside it"
        )
    if frame is None or len(parts) == 1:
        return [_offer(path, header, part, path) for part in parts]
    # The frame says which stack is meant; its header alone would not say so again.
    mine = [part for part in parts if frame in part.files.values()]
    return [_offer(path, header, part, frame) for part in mine or parts]


def is_header(path: Path) -> bool:
    """Whether a .hdr belongs to such a microscope."""
    try:
        with path.open("rb") as file:
            return b"ScanDefinition" in file.read(4096)
    except OSError:
        return False


def _header_of(frame: Path) -> Path:
    stem = _FRAME_NAME.sub("", frame.stem)
    for beside in (frame.with_name(f"{stem}{ending}") for ending in (".hdr", ".HDR")):
        if beside.is_file():
            return beside
    raise ScanFileError(f"{frame.name}: its header ({stem}.hdr) is not beside it")


def _parts(path: Path, header: Header) -> list[_Part]:
    """Frames beside a header by region, detector letter and number."""
    several = len(header.regions) > 1
    stacked = header.stack[2].size > 1
    found: dict[tuple[int, str], dict[int, Path]] = {}
    for beside in sorted(path.parent.iterdir()):
        stem = beside.stem
        match = _FRAME_NAME.search(stem)
        if beside.suffix.lower() != ".xim" or not match or stem[: match.start()] != path.stem:
            continue
        letter, digits = match[1].lower(), match[2]
        region, number = 0, int(digits or 0)
        if several:
            at = _DIGITS if stacked else 0
            region, number = int(digits[at:] or 0), int(digits[:at] or 0)
        if region < len(header.regions):
            found.setdefault((region, letter), {})[number] = beside
    return [_Part(region, letter, files) for (region, letter), files in sorted(found.items())]


def _offer(path: Path, header: Header, part: _Part, source: Path) -> Offer:
    rows, columns = header.frame(part.region)
    count = header.stack[2].size
    shape: tuple[int, ...] = (count, rows, columns) if count > 1 else (rows, columns)
    if header.is_line:
        shape = (columns, 1, rows) if _energy_in_columns(header, part) else (rows, 1, columns)
    kind = "STXM" if len(shape) == 3 else "image"
    region = f"region {part.region + 1} " if len(header.regions) > 1 else ""
    candidate = Candidate(f"{region}channel {part.letter}", shape, "float64", kind)
    return Offer(candidate, lambda: _load(path, header, part, source))


def _energy_in_columns(header: Header, part: _Part) -> bool:
    return header.regions[part.region]["PAxis"][0].lower() == "energy"


def _load(path: Path, header: Header, part: _Part, source: Path) -> Found:
    frame = header.frame(part.region)
    axes_of = header.regions[part.region]
    energies = header.stack[2]
    notes: list[str] = []
    line = header.is_line
    ordered = (
        (part.files[min(part.files)],)
        if line
        else _by_energy(energies, header.energies, part.files, notes)
    )
    region, missing = _checked(ordered, frame, path, notes, energies)
    axes = [_axis("y", axes_of["QAxis"]), _axis("x", axes_of["PAxis"])]
    metadata: dict[str, Any] = {"scan type": header.kind, "channel": part.letter}
    kind: Kind = "STXM" if len(ordered) > 1 or line else "image"
    if line:
        missing = None
        in_columns = _energy_in_columns(header, part)
        region = LineFrames(Plane(region, 0), energy_first=not in_columns)
        energy, along = ("PAxis", "QAxis") if in_columns else ("QAxis", "PAxis")
        at = _axis("x", axes_of[along])
        axes = [_stack_axis(axes_of[energy]), RawAxis("y", at.scale, 0.0, at.unit), at]
    elif kind == "STXM":
        axes.insert(0, _stack_axis(header.stack))
    else:
        region, missing = Plane(region, 0), None
        if energies.size == 1:
            metadata["energy_ev"] = float(energies[0])
    name = path.stem if len(header.regions) == 1 else f"{path.stem} region {part.region + 1}"
    return Found(
        region, axes, "ALS STXM", name, source, kind=kind, diffraction=False, missing=missing,
        notes=notes, metadata=metadata,
    )  # fmt: skip


def _stack_axis(stated: Points) -> RawAxis:
    return energy_axis(stated[2], stated[1])


def _axis(name: str, stated: Points) -> RawAxis:
    _, unit, points = stated
    scale, offset, even = regular(points)
    return RawAxis(name, scale, offset, unit, values=None if even else points)


def _by_energy(
    energies: NDArray[np.float64],
    listed: dict[int, float],
    files: dict[int, Path],
    notes: list[str],
) -> tuple[Path | None, ...]:
    """The file of every energy; numbers need not count the energies of the header."""
    if energies.size <= 1:
        return (files[min(files)],)
    if listed and set(files) <= set(listed):
        ordered: list[Path | None] = [None] * energies.size
        for number, file in files.items():
            nearest = int(np.argmin(np.abs(energies - listed[number])))
            if ordered[nearest] is None and abs(energies[nearest] - listed[number]) < 0.5:
                ordered[nearest] = file
        if sum(f is not None for f in ordered) == len(files):
            return tuple(ordered)
    if max(files) < energies.size:
        return tuple(files.get(i) for i in range(energies.size))
    if len(files) == energies.size:
        notes.append("frames are numbered past the energies of the header; taken in their order")
        return tuple(files[n] for n in sorted(files))
    raise ScanFileError(
        one_line(
            f"{files[min(files)].name}: {len(files)} frames numbered up to {max(files)} do not fit"
            f" the {energies.size} energies of the header"
        )
    )


def _checked(
    files: tuple[Path | None, ...],
    frame: tuple[int, int],
    home: Path,
    notes: list[str],
    energies: NDArray[np.float64],
) -> tuple[Region, NDArray[np.bool_] | None]:
    """The frames, cropped where sizes differ, and energies whose frame is absent or cut."""
    sizes = np.array([f.stat().st_size if f else 0 for f in files])
    absent = np.array([f is None for f in files])
    cut = np.zeros(len(files), dtype=bool)
    stored: tuple[int, ...] | None = None
    if int(sizes.sum()) <= _COUNT_BYTES:
        read = [_size(f) if f else None for f in files]
        stored, frame = _sizes(read, frame, notes)
        cut = np.array(
            [
                size is not None and (size[2] != columns or size[0] < frame[0])
                for size, columns in zip(read, stored, strict=True)
            ]
        )
    else:
        usual = float(np.median(sizes[~absent]))
        cut = ~absent & (sizes < 0.97 * usual)
    if absent.any():
        notes.append(f"frames are absent at {_named(energies, absent)}; marked missing")
    if cut.any() and len(files) > 1:
        notes.append(f"frames are cut at {_named(energies, cut)}; marked missing")
    missing = absent | cut
    if len(files) == 1 and cut.any():
        notes.append("the image is cut: rows that are not there are NaN")
    if missing.all() and len(files) > 1:
        raise ScanFileError("not one whole frame of the stack is there")
    region = XimFrames(files, frame, home, stored)
    return region, missing if missing.any() else None


def _sizes(
    read: list[tuple[int, int, int] | None], frame: tuple[int, int], notes: list[str]
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Columns that each file has, and the size that all whole frames have."""
    rows, columns = frame
    other = {
        i: size
        for i, size in enumerate(read)
        if size is not None
        and size[1] == size[2] != columns  # whole lines, only of another length
        and size[0] >= rows / 2
        and size[1] >= columns / 2
    }
    if not other:
        return (columns,) * len(read), frame
    small = (
        min(rows, *(size[0] for size in other.values())),
        min(columns, *(size[1] for size in other.values())),
    )
    notes.append(
        f"{len(other)} of {len(read)} frames are not of the {shape_text(frame)} pixels of the"
        f" header: all are cropped to {shape_text(small)} from the top left"
    )
    return tuple(other[i][1] if i in other else columns for i in range(len(read))), small


def _named(energies: NDArray[np.float64], which: NDArray[np.bool_]) -> str:
    values = [f"{e:g}" for e in energies[which]]
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    return f"{', '.join(values[:8])}{more} eV ({len(values)} of {len(energies)} energies)"
