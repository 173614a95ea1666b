"""Everything else that RosettaSciIO reads: DM3/DM4, TIA, TVIPS, EMPAD, TIFF, PRZ, APP5 …"""

from __future__ import annotations

import importlib
import re
import zipfile
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.arrays import EMPAD_FRAME, EMPAD_FRAME_BYTES, member_region
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.h5 import opened, text
from napari_diffmap.scan.open.regions import (
    FileRegion,
    FrameGrid,
    Index,
    Region,
    frame_chunks,
    grid_index,
    native,
)
from napari_diffmap.scan.open.signals import from_signal, raw_axis, read_signals

#: Readers without a lazy mode are used up to this size.
_MAX_EAGER_BYTES = 1 << 30


def offers_of(
    path: Path, format_name: str, signals: list[dict[str, Any]], data: Any = None
) -> list[Offer]:
    """One offer a signal; lists of numbers are left out where there is anything else."""
    usable = [s for s in signals if len(np.shape(s["data"])) >= 2] or signals
    offers = []
    for number, signal in enumerate(usable):
        shape = tuple(int(n) for n in np.shape(signal["data"]))
        title = str(signal.get("metadata", {}).get("General", {}).get("title") or "")
        key = title or f"signal {number}"

        def load(signal: dict[str, Any] = signal, key: str = key) -> Found:
            name = path.stem if len(usable) == 1 else f"{path.stem} {key}"
            return from_signal(signal, path, format_name, data, name)

        kind = {4: "4D-STEM", 2: "image", 1: "list"}.get(len(shape), "stack")
        offers.append(Offer(Candidate(key, shape, str(signal["data"].dtype), kind), load))
    return _unique(offers)


def _unique(offers: list[Offer]) -> list[Offer]:
    """Give candidates of the same title a number."""
    seen: dict[str, int] = {}
    unique = []
    for offer in offers:
        path = offer.candidate.path
        seen[path] = seen.get(path, 0) + 1
        if seen[path] > 1:
            named = f"{path} ({seen[path]})"
            c = offer.candidate
            offer = Offer(Candidate(named, c.shape, c.dtype, c.kind), offer.load)
        unique.append(offer)
    return unique


def rosetta(path: Path, request: Request) -> list[Offer]:
    """A file by the plugin that RosettaSciIO has for its extension."""
    plugin = _plugin(path)
    name = plugin["name"]
    try:
        signals = read_signals(path, plugin["api"])
    except NotImplementedError as error:
        if path.stat().st_size > _MAX_EAGER_BYTES:
            raise ScanFileError(
                f"{path.name}: {name} files are read whole and this one is too large:"
                " export it as .hspy or .zspy"
            ) from error
        signals = importlib.import_module(plugin["api"]).file_reader(str(path))
    except ValueError as error:
        if "RGB" in str(error):
            raise ScanFileError(
                f"{path.name}: holds a colour picture, not measured intensities"
            ) from error
        raise
    return offers_of(path, name, _whole_patterns(path, plugin["api"], signals))


def _plugin(path: Path) -> dict[str, Any]:
    import rsciio

    extension = path.suffix.lower().lstrip(".")
    for plugin in rsciio.IO_PLUGINS:
        if extension in {e.lower() for e in plugin["file_extensions"]}:
            return dict(plugin)
    raise ScanFileError(f"{path.name}: no reader knows .{extension} files")


def _whole_patterns(path: Path, api: str, signals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read again with chunks of whole patterns where the reader split them."""
    first = signals[0]["data"] if len(signals) == 1 else None
    if not isinstance(first, da.Array) or first.ndim < 3:
        return signals
    frame_axes = _frame_axes(signals[0])
    if all(len(first.chunks[axis]) == 1 for axis in frame_axes) and first.nbytes < 64 << 20:
        return signals
    chunks = frame_chunks(first.shape, first.dtype.itemsize, frame_axes)
    try:
        return read_signals(path, api, chunks=chunks)
    except TypeError:  # a reader without a choice of chunks
        signals[0]["data"] = first.rechunk(chunks)
        return signals


def _frame_axes(signal: dict[str, Any]) -> tuple[int, int]:
    """Axes of one pattern; Gatan stores detector axes first."""
    from napari_diffmap.scan.open.classify import axis_class

    units = "".join(axis_class(raw_axis(a), strict=True) for a in signal["axes"])
    ndim = len(np.shape(signal["data"]))
    return (0, 1) if units.startswith("kk") and ndim == 4 else (ndim - 2, ndim - 1)


def empad(path: Path, request: Request) -> list[Offer]:
    """EMPAD: the .xml names the raw frames beside it."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if b"<root" not in head or b"raw_file" not in head:
        raise ScanFileError(f"{path.name}: is no EMPAD header, only settings of another program")
    (signal,) = read_signals(path, "rsciio.empad")
    shape = tuple(int(n) for n in signal["data"].shape)
    named = signal.get("original_metadata", {}).get("root", {}).get("raw_file", {}).get("filename")
    raw = path.with_name(re.split(r"[\\/]", str(named))[-1]) if named else path.with_suffix(".raw")
    if not raw.is_file():
        raise ScanFileError(f"{path.name}: its frames ({raw.name}) are not beside it")
    promised = int(np.prod(shape[:-2]))
    there = min(promised, raw.stat().st_size // EMPAD_FRAME_BYTES)
    if not there:
        raise ScanFileError(f"{raw.name}: is cut inside its first frame: copy it again")
    frames = FileRegion(raw, (there, *EMPAD_FRAME), "<f4", tail=EMPAD_FRAME_BYTES - 128 * 128 * 4)
    layout = FrameGrid(frames, grid_index(there, shape[:-2]))
    found = from_signal(signal, path, "EMPAD", layout)
    found.missing = layout.missing
    if len(shape) == 3:
        found.axes[0] = RawAxis("frame", role="scan")
    if there < promised:
        found.notes.append(
            f"{there} of {promised} frames are in {raw.name}, the rest is marked missing"
        )
    return [offer_of(found)]


def prz(path: Path, request: Request) -> list[Offer]:
    """Panta Rhei: a compressed array, which RosettaSciIO's lazy mode would misread."""
    (signal,) = _prz_signal(path)
    with zipfile.ZipFile(path) as archive:
        region = member_region(path, archive.getinfo("data.npy"))
    shape = tuple(int(n) for n in np.shape(signal["data"]))
    if region.shape != shape:  # the reader reordered the axes
        whole = importlib.import_module("rsciio.pantarhei").file_reader(str(path))
        return offers_of(path, "Panta Rhei", whole)
    return offers_of(path, "Panta Rhei", [signal], region)


def _prz_signal(path: Path) -> list[dict[str, Any]]:
    try:
        return read_signals(path, "rsciio.pantarhei")
    except zipfile.BadZipFile as error:
        raise ScanFileError(f"{path.name}: is truncated or damaged: copy it again") from error


class _AppFrames(Region):
    """Frames of a TopSpin session: one HDF5 dataset a scan position."""

    def __init__(self, path: Path, group: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.path = path
        self._group = group
        self.shape = shape
        self.dtype = native(np.dtype(dtype))

    def read(self, index: Index) -> NDArray[Any]:
        """Open once, read every frame asked for."""
        wanted = np.arange(self.shape[0])[index[0]]
        with opened(self.path) as file:
            group = file[self._group]
            frames = [group[str(int(i))]["Data"][index[1:]] for i in np.atleast_1d(wanted)]
        return np.stack(frames) if isinstance(index[0], slice) else np.asarray(frames[0])


def app5(path: Path, request: Request) -> list[Offer]:
    """TopSpin .app5: 4D scans lazily (RosettaSciIO would read them whole)."""
    from rsciio.topspin import _api as topspin

    offers = []
    with opened(path) as file:
        for top in file:
            groups = [top] if "-" in top else []
            if hasattr(file[top], "keys") and "Metadata" in file[top]:
                groups = [f"{top}/{key}" for key in file[top] if "-" in key]
            for name in groups:
                node = file[name]
                if not hasattr(node, "keys") or "0" not in node:
                    continue
                axes = topspin._get_4D_axes(node)
                first = node["0"]["Data"]
                shape = tuple(int(a["size"]) for a in axes)
                frames = _AppFrames(path, name, (len(node), *first.shape), first.dtype)
                offers.append(_app_offer(path, name, frames, shape, axes, file))
    if not offers:
        raise ScanFileError(f"{path.name}: holds no 4D scan")
    return offers


def _app_offer(
    path: Path, name: str, frames: Region, shape: tuple[int, ...], axes: Any, file: Any
) -> Offer:
    count = frames.shape[0]
    layout = FrameGrid(frames, grid_index(count, shape[:2]))
    found = Found(
        layout,
        [raw_axis(a, "scan" if a["navigate"] else "detector") for a in axes],
        "TopSpin",
        path.stem,
        path,
        kind="4D-STEM",
        diffraction=True,
        missing=layout.missing,
        metadata={"dataset": name, "title": str(text(file.attrs.get("Title", "")))},
    )
    return offer_of(found, name)
