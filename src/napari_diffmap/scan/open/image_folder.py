"""Pictures (.png, .jpg, .bmp), and folders that hold a movie as one image a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.local import get_sync
from numpy.typing import NDArray

from napari_diffmap.errors import DiffmapError, ScanFileError
from napari_diffmap.scan.axes import normalise_unit
from napari_diffmap.scan.open.beside import describe
from napari_diffmap.scan.open.found import Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.frames import SUFFIXES, FrameFolder, by_number, described, read_frame
from napari_diffmap.scan.open.notes import shape_text
from napari_diffmap.scan.open.regions import Index, Region, native

#: Pictures of grey values, and microscope files that can hold one frame each.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
_FRAMES = (*PICTURES, *SUFFIXES, ".dm3", ".dm4", ".mrc", ".ser")
#: With these in it a folder may hold a scan, to which pictures were added.
_SCANS = frozenset(
    {
        ".hdr",
        ".mib",
        ".xim",
        ".hdf5",
        ".h5",
        ".hdf",
        ".nxs",
        ".hspy",
        ".emd",
        ".blo",
        ".xrm",
        ".cxi",
    }
)
#: Files whose size is looked at when the folder opens; the others when they are read.
_LOOKED_AT = 2000
_LENGTHS = frozenset({"Å", "pm", "nm", "µm", "mm", "m"})
#: Colours that differ by no more than this (of 255) are grey, whatever JPEG made of them.
_GREY = 4


def is_image_folder(folder: Path) -> bool:
    """Whether a folder holds numbered images of one name, and nothing that is a scan."""
    files = [file for file in folder.iterdir() if file.is_file()]
    if any(file.suffix.lower() in _SCANS for file in files):
        return False
    return len(_numbered(files)) > 1


def _numbered(files: Sequence[Path]) -> list[Path]:
    """Files that differ by the numbers in their names alone: the largest such family."""
    families: dict[tuple[str, str], list[Path]] = {}
    for file in files:
        suffix = file.suffix.lower()
        if suffix in _FRAMES and re.search(r"\d", file.stem) and not file.name.startswith("."):
            families.setdefault((re.sub(r"\d+", "#", file.stem), suffix), []).append(file)
    largest: list[Path] = max(families.values(), key=len, default=[])
    return sorted(largest, key=by_number)


class GreyPicture(Region):
    """A .png, .jpg or .bmp as ``(y, x)``; equal colours are one grey."""

    def __init__(self, path: Path) -> None:
        self.path = path
        frame = read_grey(path)
        self.shape, self.dtype = frame.shape, native(frame.dtype)

    def read(self, index: Index) -> NDArray[Any]:
        """Decode the file, take a part."""
        return read_grey(self.path)[index]


def read_grey(path: Path) -> NDArray[Any]:
    """The grey values of a picture.

    Raises
    ------
    ScanFileError
        If it is coloured, or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode in ("P", "RGBA", "LA", "1"):
                picture = picture.convert("RGB")  # type: ignore[assignment]
            values = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise ScanFileError(
            f"{path.name}: is a picture that cannot be decoded: copy it again, or open the file it"
            " was made from"
        ) from error
    if values.ndim == 3:
        spread = np.ptp(values.astype(np.int16), axis=-1)
        if float(spread.max()) > _GREY:
            raise ScanFileError(
                f"{path.name}: is a picture in colours, not measured intensities: open the file it"
                " was made from"
            )
        values = values[..., 0]
    if values.dtype == np.int32:  # Pillow reads 16 bits into 32
        values = values.astype(np.uint16 if values.min() >= 0 and values.max() < 65536 else "i4")
    return values


class FrameFiles(FrameFolder):
    """Files of one image each as a stack ``(time, y, x)``."""

    def _frame(self, path: Path) -> NDArray[Any]:
        return _frame(path)

    def _another_size(self, path: Path, shape: Sequence[int]) -> ScanFileError:
        return _another_size(path, shape, self.shape[1:])


def _another_size(path: Path, shape: Sequence[int], wanted: Sequence[int]) -> ScanFileError:
    return ScanFileError(
        f"{path.name}: is {shape_text(shape)} pixels, the images before it {shape_text(wanted)}:"
        " take out those of another size"
    )


def _frame(path: Path) -> NDArray[Any]:
    """The image of a file, as fast as it goes."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return read_grey(path)
    return read_frame(path) if suffix in SUFFIXES else _values(one_image(path))


def _size(path: Path) -> tuple[int, ...]:
    """Rows and columns, from the header where there is one."""
    from PIL import Image

    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return described(path)[0]
    if suffix not in PICTURES:
        return one_image(path).shape
    try:
        with Image.open(path) as picture:
            return picture.size[::-1]
    except (OSError, SyntaxError, ValueError):
        return read_grey(path).shape  # which says what is wrong


def _values(found: Found) -> NDArray[Any]:
    data = found.data
    if isinstance(data, da.Array):
        return np.asarray(data.compute(scheduler=get_sync))
    return data[(slice(None),) * data.ndim]


def one_image(path: Path) -> Found:
    """The single image of a file.

    Raises
    ------
    ScanFileError
        If the file holds none, or more.
    """
    from napari_diffmap.scan.open.door import offers

    if path.suffix.lower() in PICTURES:
        region = GreyPicture(path)
        return Found(region, [RawAxis("y"), RawAxis("x")], "picture", path.stem, path)
    try:
        offered = offers(path, Request())
        if len(offered) > 1:
            raise ScanFileError(f"{path.name}: holds several images: open it alone")
        found = offered[0].load()
    except DiffmapError:
        raise
    except Exception as error:
        raise ScanFileError(f"{path.name}: cannot be read: it is damaged: copy it again") from error
    shape = found.shape
    keep = [i for i, n in enumerate(shape) if n > 1]
    if len(keep) == 2 and len(shape) > 2:
        index = tuple(slice(None) if i in keep else 0 for i in range(len(shape)))
        found.data = da.from_array(_values(found)[index])
        found.axes = [found.axes[i] for i in keep]
    if len(found.shape) != 2:
        raise ScanFileError(
            f"{path.name}: holds {shape_text(shape)} values, no single image: open it alone"
        )
    return found


def picture(path: Path, request: Request) -> list[Offer]:
    """One picture of grey values."""
    del request
    found = one_image(path)
    found.kind = "image"
    found.notes.append("a picture holds grey values as they were shown, not as they were measured")
    describe(path, found)
    return [offer_of(found)]


def image_folder(path: Path, request: Request) -> list[Offer]:
    """Numbered images of a folder as an image series, in natural order.

    Raises
    ------
    ScanFileError
        If their sizes differ, or the first cannot be read.
    """
    del request
    return [offer_of(stack_of(path, _numbered([f for f in path.iterdir() if f.is_file()])))]


def stack_of(path: Path, files: Sequence[Path]) -> Found:
    """Files of one image each as one stack, with the pixel size that the first one states."""
    first = one_image(files[0])
    shape = (first.shape[0], first.shape[1])
    for file in files[1:_LOOKED_AT]:
        size = _size(file)
        if size != shape:
            raise _another_size(file, size, shape)
    region = FrameFiles(path, [file.name for file in files], shape, first.dtype)
    axes = [RawAxis("frame"), *(replace(axis, role=None) for axis in first.axes)]
    found = Found(region, axes, "images", path.name, path, diffraction=first.diffraction)
    suffix = files[0].suffix.lower()
    if suffix in (*PICTURES, *SUFFIXES) or _lengths(first):
        found.kind = "image series"
    found.notes += [f"{len(files)} {suffix} files taken as frames, by the numbers in their names"]
    found.notes += [note for note in first.notes if "picture" not in note]
    others = sum(1 for file in path.iterdir() if file.suffix.lower() in _FRAMES) - len(files)
    if others > 0:
        found.notes.append(f"{others} images of other names are left out")
    describe(path, found)
    return found


def states_lengths(path: Path) -> bool:
    """Whether the file of a single image states the size of its pixels as a length."""
    try:
        return _lengths(one_image(path))
    except DiffmapError:
        return False


def _lengths(found: Found) -> bool:
    return all(normalise_unit(axis.unit) in _LENGTHS for axis in found.axes[-2:])
