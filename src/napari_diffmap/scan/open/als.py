"""ALS scanning transmission X-ray microscopes: a text .hdr and one text .xim a frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request
from napari_diffmap.scan.open.notes import one_line
from napari_diffmap.scan.open.regions import Index, Region
from napari_diffmap.scan.open.tidy import regular
from napari_diffmap.scan.scan import Kind

_AXIS = re.compile(
    r"(PAxis|QAxis|StackAxis)\s*=\s*\{\s*Name\s*=\s*\"([^\"]*)\";\s*Unit\s*=\s*\"([^\"]*)\";"
    r".*?Points\s*=\s*\(\s*(\d+)\s*,([^)]*)\)",
    re.DOTALL,
)
_IMAGE = re.compile(r"Image(\d+)_\d+\s*=\s*\{[^}]*?Energy\s*=\s*([-+.\deE]+)")
#: Stacks up to this size are checked for cut frames by reading them.
_COUNT_BYTES = 64 << 20


@dataclass(frozen=True)
class Header:
    """What an ALS .hdr says.

    Attributes
    ----------
    kind
        Its scan type, e.g. ``NEXAFS Image Scan``.
    axes
        ``PAxis`` (columns), ``QAxis`` (rows), ``StackAxis``: name, unit, points.
    energies
        Energy of each numbered frame where the header lists them.
    regions
        Number of scanned regions.
    """

    kind: str
    axes: dict[str, tuple[str, str, NDArray[np.float64]]]
    energies: dict[int, float]
    regions: int


def parse_header(path: Path) -> Header:
    """Read an ALS .hdr.

    Raises
    ------
    ScanFileError
        If its axes cannot be read.
    """
    words = path.read_text("latin-1")
    kind = re.search(r"Type\s*=\s*\"([^\"]*)\"", words)
    regions = re.search(r"Regions\s*=\s*\(\s*(\d+)", words)
    axes: dict[str, tuple[str, str, NDArray[np.float64]]] = {}
    for which, name, unit, count, listed in _AXIS.findall(words):
        try:
            points = np.array(listed.replace(",", " ").split(), dtype=np.float64)
        except ValueError as error:
            raise ScanFileError(f"{path.name}: the points of its {which} are damaged") from error
        if points.size != int(count):
            raise ScanFileError(
                f"{path.name}: its {which} lists {points.size} of {count} points: it is damaged"
            )
        axes.setdefault(which, (name, unit, points))
    energies = {int(n): float(e) for n, e in _IMAGE.findall(words)}
    return Header(kind.group(1) if kind else "", axes, energies, int(regions[1]) if regions else 1)


class XimFrames(Region):
    """Text frames ``(energy, y, x)``; rows that are not there are NaN."""

    def __init__(self, paths: tuple[Path | None, ...], frame: tuple[int, int], home: Path) -> None:
        self.path = home
        self._paths = paths
        self.shape = (len(paths), *frame)
        self.dtype = np.dtype(np.float64)

    def read(self, index: Index) -> NDArray[Any]:
        """Parse the frames asked for."""
        wanted = np.arange(len(self._paths))[index[0]]
        frames = [self._frame(self._paths[int(i)]) for i in np.atleast_1d(wanted)]
        whole = np.stack(frames) if frames else np.empty((0, *self.shape[1:]))
        picked = whole[(slice(None), *index[1:])]
        return picked if isinstance(index[0], slice) else picked[0]

    def _frame(self, path: Path | None) -> NDArray[np.float64]:
        rows, columns = self.shape[1:]
        frame = np.full((rows, columns), np.nan)
        if path is None:
            return frame
        for filled, numbers in enumerate(_rows(path, columns)[:rows]):
            frame[filled] = np.array(numbers, dtype=np.float64)
        return frame


def _rows(path: Path, columns: int) -> list[list[bytes]]:
    """Whole lines of a frame; a cut line and everything after it is left out."""
    lines = [line.split() for line in path.read_bytes().splitlines()]
    filled = [line for line in lines if line]
    whole = next((i for i, line in enumerate(filled) if len(line) != columns), len(filled))
    return filled[:whole]


def _whole(path: Path, frame: tuple[int, int]) -> bool:
    """Whether a frame ends with its last row."""
    content = path.read_bytes().rstrip()
    last = content.rfind(b"\n")
    ends = len(content[last + 1 :].split()) == frame[1]
    return ends and content.count(b"\n") + 1 >= frame[0]


class _Image(Region):
    """The only frame of a stack."""

    def __init__(self, frames: Region) -> None:
        self.path = frames.path
        self._frames = frames
        self.shape = frames.shape[1:]
        self.dtype = frames.dtype

    def read(self, index: Index) -> NDArray[Any]:
        """Read frame 0."""
        return self._frames[(0, *index)]


def als(path: Path, request: Request) -> list[Offer]:
    """A stack or image by its .hdr, or by one of its .xim frames."""
    if path.suffix.lower() == ".xim":
        path = _header_of(path)
    header = parse_header(path)
    if header.regions > 1:
        raise ScanFileError(
            f"{path.name}: holds {header.regions} regions, which are not read: save one region"
        )
    if "Point" in header.kind or "QAxis" not in header.axes:
        what = header.kind or "scan of another kind"
        raise ScanFileError(f"{path.name}: is a {what}, which is no stack and no image")
    channels = _channels(path)
    if not channels:
        count = len(header.axes["StackAxis"][2]) if "StackAxis" in header.axes else 1
        what = f"{count} energies" if count > 1 else "an image"
        raise ScanFileError(
            f"{path.name}: speaks of {what}, but not one of its .xim frames is beside it"
        )
    return [_offer(path, header, letter, files) for letter, files in channels.items()]


def _header_of(frame: Path) -> Path:
    stem = re.sub(r"_[a-z]\d*$", "", frame.stem)
    beside = frame.with_name(f"{stem}.hdr")
    if not beside.is_file():
        raise ScanFileError(f"{frame.name}: its header ({stem}.hdr) is not beside it")
    return beside


def _channels(path: Path) -> dict[str, dict[int, Path]]:
    """Frames beside a header by detector letter and number."""
    pattern = re.compile(re.escape(path.stem) + r"_([a-z])(\d*)\.xim$", re.IGNORECASE)
    found: dict[str, dict[int, Path]] = {}
    for beside in sorted(path.parent.iterdir()):
        match = pattern.match(beside.name)
        if match:
            letter, number = match.groups()
            found.setdefault(letter.lower(), {})[int(number or 0)] = beside
    return found


def _offer(path: Path, header: Header, letter: str, files: dict[int, Path]) -> Offer:
    rows, columns = len(header.axes["QAxis"][2]), len(header.axes["PAxis"][2])
    energies = header.axes.get("StackAxis", ("Energy", "eV", np.array([])))[2]
    stack = energies.size > 1
    shape = (energies.size, rows, columns) if stack else (rows, columns)
    candidate = Candidate(f"channel {letter}", shape, "float64", "STXM" if stack else "image")
    return Offer(candidate, lambda: _load(path, header, letter, files))


def _load(path: Path, header: Header, letter: str, files: dict[int, Path]) -> Found:
    rows, columns = len(header.axes["QAxis"][2]), len(header.axes["PAxis"][2])
    energies = header.axes.get("StackAxis", ("Energy", "eV", np.array([])))[2]
    notes: list[str] = []
    ordered = _by_energy(energies, header.energies, files, notes)
    missing = _incomplete(ordered, (rows, columns), notes, energies)
    region: Region = XimFrames(ordered, (rows, columns), path)
    axes = [_axis("y", header.axes["QAxis"]), _axis("x", header.axes["PAxis"])]
    metadata: dict[str, Any] = {"scan type": header.kind, "channel": letter}
    kind: Kind = "STXM" if len(ordered) > 1 else "image"
    if kind == "STXM":
        axes.insert(0, _axis("energy", header.axes["StackAxis"]))
    else:
        region, missing = _Image(region), None
        if energies.size == 1:
            metadata["energy_ev"] = float(energies[0])
    return Found(
        region,
        axes,
        "ALS STXM",
        path.stem,
        path,
        kind=kind,
        diffraction=False,
        missing=missing,
        notes=notes,
        metadata=metadata,
    )


def _axis(name: str, stated: tuple[str, str, NDArray[np.float64]]) -> RawAxis:
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


def _incomplete(
    files: tuple[Path | None, ...],
    frame: tuple[int, int],
    notes: list[str],
    energies: NDArray[np.float64],
) -> NDArray[np.bool_] | None:
    """Energies whose frame is absent or cut."""
    sizes = np.array([f.stat().st_size if f else 0 for f in files])
    absent = np.array([f is None for f in files])
    count_lines = int(sizes.sum()) <= _COUNT_BYTES
    usual = float(np.median(sizes[~absent]))
    cut = np.zeros(len(files), dtype=bool)
    for i, file in enumerate(files):
        if file is None:
            continue
        if count_lines:
            cut[i] = not _whole(file, frame)
        elif sizes[i] < 0.97 * usual:
            cut[i] = True
    if absent.any():
        notes.append(f"frames are absent at {_named(energies, absent)}; marked missing")
    if cut.any() and len(files) > 1:
        notes.append(f"frames are cut at {_named(energies, cut)}; marked missing")
    missing = absent | cut
    if len(files) == 1 and cut.any():
        notes.append("the image is cut: rows that are not there are NaN")
    if missing.all() and len(files) > 1:
        raise ScanFileError("not one whole frame of the stack is there")
    return missing if missing.any() else None


def _named(energies: NDArray[np.float64], which: NDArray[np.bool_]) -> str:
    values = [f"{e:g}" for e in energies[which]]
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    return f"{', '.join(values[:8])}{more} eV ({len(values)} of {len(energies)} energies)"
