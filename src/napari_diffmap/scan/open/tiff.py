"""TIFF pictures and stacks, page by page; units through RosettaSciIO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.beside import describe
from napari_diffmap.scan.open.energies import attach_list, list_beside
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.framestack import FrameStack, common_size
from napari_diffmap.scan.open.regions import FileRegion, Index, Region, native
from napari_diffmap.scan.open.signals import from_signal, read_signals


class TiffPages(Region):
    """Pages of a compressed TIFF stack, decoded one by one."""

    def __init__(self, path: Path, series: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.path = path
        self._series = series
        self.shape = shape
        self.dtype = native(np.dtype(dtype))

    def read(self, index: Index) -> NDArray[Any]:
        """Decode the pages asked for."""
        import tifffile

        lead = self.shape[:-2]
        wanted = np.arange(int(np.prod(lead, dtype=np.int64))).reshape(lead)[index[: len(lead)]]
        with tifffile.TiffFile(self.path) as file:
            pages = file.series[self._series].pages
            frames = []
            for number in np.atleast_1d(wanted).ravel():
                page = pages[int(number)]
                if page is None:
                    raise ScanFileError(f"{self.path.name}: page {int(number)} is missing")
                frames.append(page.asarray()[index[len(lead) :]])
        return np.stack(frames).reshape((*np.shape(wanted), *frames[0].shape))


def tiff(path: Path, request: Request) -> list[Offer]:
    """Every series of a TIFF file that holds intensities."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            regions = [_region(path, i, s) for i, s in enumerate(file.series)]
    except tifffile.TiffFileError as error:
        raise ScanFileError(f"{path.name}: its TIFF structure is damaged: copy it again") from error
    usable = [(i, r) for i, r in enumerate(regions) if r is not None]
    if not usable:
        raise ScanFileError(f"{path.name}: holds a colour picture, not measured intensities")
    ragged = _of_energies(path) if len(usable) > 1 else None
    if ragged is not None:
        return [offer_of(ragged)]
    offers = []
    for number, region in usable:

        def load(number: int = number, region: Region = region) -> Found:
            name = path.stem if len(usable) == 1 else f"{path.stem} {number}"
            signals = read_signals(path, "rsciio.tiff")
            _close(signals)
            if number < len(signals) and np.shape(signals[number]["data"]) == region.shape:
                found = from_signal(signals[number], path, "TIFF", region, name)
                for axis in found.axes:
                    axis.role = None  # TIFF pages are frames, whatever they show
                _imagej_unit(path, found)
            else:
                found = Found(region, [RawAxis() for _ in region.shape], "TIFF", name, path)
            _frames_of(path, found)
            describe(path, found)
            if request.kind in (None, "STXM") and request.axes is None:
                attach_list(found, path)
            return found

        kind = {4: "4D-STEM", 2: "image"}.get(region.ndim, "stack")
        candidate = Candidate(f"series {number}", region.shape, str(region.dtype), kind)
        offers.append(Offer(candidate, load))
    return offers


class TiffPage(Region):
    """One page of a file whose pages differ in size."""

    def __init__(self, path: Path, number: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.path = path
        self._number = number
        self.shape = shape
        self.dtype = native(np.dtype(dtype))

    def read(self, index: Index) -> NDArray[Any]:
        """Decode the page."""
        import tifffile

        with tifffile.TiffFile(self.path) as file:
            page = np.asarray(file.pages[self._number].asarray())
        return page[index]


def _of_energies(path: Path) -> Found | None:
    """Pages of different size as one stack, where as many energies are listed beside the file."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        # Series gather pages of one size: only pages keep the order of the energies.
        pages = [(tuple(int(n) for n in page.shape), page.dtype) for page in file.pages]
    if any(len(shape) != 2 for shape, _ in pages) or len({shape for shape, _ in pages}) < 2:
        return None
    if list_beside(path, len(pages)) is None:
        return None
    notes: list[str] = []
    size = common_size([shape for shape, _ in pages], notes, path.name)
    parts = [TiffPage(path, i, shape, dtype) for i, (shape, dtype) in enumerate(pages)]
    axes = [RawAxis(), RawAxis("y"), RawAxis("x")]
    found = Found(FrameStack(parts, path, size), axes, "TIFF", path.stem, path, notes=notes)
    attach_list(found, path)
    return found


def _close(signals: list[dict[str, Any]]) -> None:
    """Close the file that the reader keeps open for lazy arrays, which are not used here."""
    import tifffile

    for signal in signals:
        graph = getattr(signal["data"], "dask", {})
        parts = [part for task in graph.values() for part in getattr(task, "args", ())]
        while parts:
            part = parts.pop()
            if isinstance(part, tifffile.TiffPageSeries):
                first = part.pages[0]
                if first is not None:
                    first.parent.close()
                return
            parts.extend(getattr(part, "args", ()))


def _imagej_unit(path: Path, found: Found) -> None:
    """The unit ImageJ writes into its description, which belongs to the resolution tags."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        unit = (file.imagej_metadata or {}).get("unit")
    if isinstance(unit, str):
        for axis in found.axes[-2:]:
            if axis.unit is None and axis.scale != 1.0:
                axis.unit = unit.replace("\\u00B5", "µ")


def _frames_of(path: Path, found: Found) -> None:
    """Frame time as ImageJ and OME write it, and the pixel size of OME."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        imagej: Any = file.imagej_metadata or {}
        ome = file.ome_metadata if file.is_ome else None
    time, unit = imagej.get("finterval"), imagej.get("tunit", "s")
    pixels = _ome_pixels(ome) if isinstance(ome, str) else {}
    if pixels:
        time, unit = pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")
        for axis, name in zip(found.axes[-2:], "YX", strict=True):
            step = pixels.get(f"PhysicalSize{name}")
            if step is not None and float(step) > 0:
                axis.scale, axis.offset = float(step), 0.0
                axis.unit, axis.name = pixels.get(f"PhysicalSize{name}Unit", "µm"), name.lower()
    if time is not None and float(time) > 0 and len(found.shape) == 3:
        found.axes[0] = RawAxis("time", float(time), 0.0, unit)


def _ome_pixels(text: str) -> dict[str, str]:
    """Attributes of the first Pixels element of an OME description."""
    import xml.etree.ElementTree as ET

    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return {}
    element = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    return {} if element is None else dict(element.attrib)


def _region(path: Path, number: int, series: Any) -> Region | None:
    """A view of one series; None for colour."""
    import tifffile

    page = series.pages[0]
    shape = tuple(int(n) for n in series.shape)
    if page.photometric == tifffile.PHOTOMETRIC.RGB or getattr(page, "samplesperpixel", 1) > 1:
        return None
    if series.dataoffset is not None:
        there = path.stat().st_size - series.dataoffset
        if there < int(np.prod(shape, dtype=np.int64)) * np.dtype(page.dtype).itemsize:
            raise ScanFileError(f"{path.name}: is truncated: copy it again")
        dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        return FileRegion(path, shape, dtype, series.dataoffset)
    if len(shape) < 2 or tuple(page.shape) != shape[-2:]:
        return None
    return TiffPages(path, number, shape, page.dtype)
