"""Zeiss (Xradia) X-ray microscopes: .xrm images and .txrm stacks, OLE compound files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.energies import energy_axis, in_names, plausible
from napari_diffmap.scan.open.found import Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.framestack import FrameStack, Plane, common_size
from napari_diffmap.scan.open.regions import Index, Region
from napari_diffmap.scan.scan import Kind

#: Number types of pixels by the code in ``ImageInfo/DataType``.
_DTYPES = {3: "u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 10: "<f4", 11: "<f8"}
#: Images of one storage: ImageData1 holds Image1 to Image100.
_PER_STORAGE = 100
_MAX_SIDE = 1 << 16


@dataclass(frozen=True)
class Information:
    """What the streams of a file say.

    Attributes
    ----------
    shape
        Images, rows, columns.
    energies, angles
        One a frame (eV, degree); empty where there are none.
    pixel_um
        Size of a pixel (µm); 0 where it is not known.
    absent
        Images without a stream, or with one that is cut.
    tiles
        Tiles of a mosaic; 0 where it is none.
    planned
        Images that were to be taken; 0 where that is not said.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    energies: NDArray[np.float64]
    angles: NDArray[np.float64]
    pixel_um: float
    absent: tuple[int, ...]
    tiles: int = 0
    planned: int = 0


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A compound file."""
    import olefile

    try:
        file = olefile.OleFileIO(str(path))
    except (OSError, ValueError, IndexError) as error:
        raise ScanFileError(
            f"{path.name}: is no Zeiss file, or is damaged: copy it again"
        ) from error
    try:
        yield file
    finally:
        file.close()


def information(path: Path) -> Information:
    """Sizes, number type and coordinates of a .xrm or .txrm.

    Raises
    ------
    ScanFileError
        If it holds no images, or its streams are damaged.
    """
    with _opened(path) as file:
        width, height, count, code = (
            _whole(path, file, f"ImageInfo/{name}")
            for name in ("ImageWidth", "ImageHeight", "ImagesTaken", "DataType")
        )
        planned = _optional(file, "ImageInfo/NoOfImages")
        count = count or planned
        if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE and 0 < count <= _MAX_SIDE):
            raise ScanFileError(
                f"{path.name}: describes {count} images of {height} x {width} pixels: it is damaged"
            )
        if code not in _DTYPES:
            raise ScanFileError(
                f"{path.name}: its pixels are of a type ({code}) that is not read:"
                " export it as TIFF or HDF5"
            )
        dtype = np.dtype(_DTYPES[code])
        size = width * height * dtype.itemsize
        absent = tuple(
            i for i in range(count) if not _exists(file, i) or file.get_size(_stream(i)) < size
        )
        energies = _reals(file, "ImageInfo/Energy", count)
        angles = _reals(file, "ImageInfo/Angles", count)
        pixel = _reals(file, "ImageInfo/PixelSize", 1)
        # The streams are spelled so.
        tiles = np.prod([_optional(file, f"ImageInfo/Mosiac{n}") for n in ("Rows", "Columns")])
    if len(absent) == count:
        raise ScanFileError(f"{path.name}: not one whole image is in it: copy it again")
    pixel_um = float(pixel[0]) if pixel.size and np.isfinite(pixel[0]) and pixel[0] > 0 else 0.0
    shape = (count, height, width)
    return Information(shape, dtype, energies, angles, pixel_um, absent, int(tiles), planned)


def _stream(number: int) -> str:
    return f"ImageData{number // _PER_STORAGE + 1}/Image{number + 1}"


def _exists(file: Any, number: int) -> bool:
    return bool(file.exists(_stream(number)))


def _whole(path: Path, file: Any, name: str) -> int:
    if not file.exists(name):
        raise ScanFileError(f"{path.name}: is no Zeiss image: it has no {name}")
    content = file.openstream(name).read(4)
    if len(content) < 4:
        raise ScanFileError(f"{path.name}: is damaged at {name}: copy it again")
    return int(np.frombuffer(content, "<u4")[0])


def _optional(file: Any, name: str) -> int:
    content = file.openstream(name).read(4) if file.exists(name) else b""
    return int(np.frombuffer(content, "<u4")[0]) if len(content) == 4 else 0


def _reals(file: Any, name: str, count: int) -> NDArray[np.float64]:
    """The first `count` numbers of a stream, none where it is absent or shorter."""
    if not file.exists(name):
        return np.empty(0)
    content = file.openstream(name).read()
    listed = np.frombuffer(content[: len(content) // 4 * 4], "<f4")[:count]
    return listed.astype(np.float64) if listed.size == count else np.empty(0)


class OleImages(Region):
    """Images of a compound file; those that are absent or cut are NaN."""

    def __init__(self, path: Path, about: Information) -> None:
        self.path = path
        self._stored = about.dtype
        self._absent = frozenset(about.absent)
        self.shape = about.shape
        self.dtype = np.dtype(np.float32) if about.absent else about.dtype.newbyteorder("=")

    def read(self, index: Index) -> NDArray[Any]:
        """Read the streams asked for."""
        wanted = np.atleast_1d(np.arange(self.shape[0])[index[0]])
        frames = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        size = self.shape[1] * self.shape[2] * self._stored.itemsize
        with _opened(self.path) as file:
            for frame, number in zip(frames, wanted, strict=True):
                if int(number) in self._absent:
                    frame[:] = np.nan
                    continue
                content = file.openstream(_stream(int(number))).read(size)
                frame[:] = np.frombuffer(content, self._stored).reshape(self.shape[1:])
        picked = frames[(slice(None), *index[1:])]
        return picked if isinstance(index[0], slice) else picked[0]


def xradia(path: Path, request: Request) -> list[Offer]:
    """A .txrm stack by energy or angle, or a .xrm image."""
    about = information(path)
    count = about.shape[0]
    notes: list[str] = []
    metadata: dict[str, Any] = {}
    region: Region = OleImages(path, about)
    axes = [RawAxis(), *_pixels(about.pixel_um)]
    missing = None
    kind: Kind = "image series"
    if about.planned > count:
        notes.append(f"the scan was stopped: {count} of {about.planned} images were taken")
    if about.absent:
        missing = np.isin(np.arange(count), about.absent)
        notes.append(f"{len(about.absent)} of {count} images are absent or cut; marked missing")
    energies = _energies(path, about)
    if count == 1:
        region, missing, kind = Plane(region, 0), None, "image"
        axes = axes[1:]
        if energies is not None:
            metadata["energy_ev"] = round(float(energies[0]), 3)
    elif energies is not None and np.ptp(energies) > 0:
        kind = "STXM"
        axes[0] = energy_axis(energies, "eV")
    else:
        notes.append(_series(about))
        if energies is not None:
            metadata["energy_ev"] = round(float(energies[0]), 3)
    found = Found(
        region, axes, "Zeiss", path.stem, path, kind=kind, diffraction=False,
        missing=missing, notes=notes, metadata=metadata,
    )  # fmt: skip
    return [offer_of(found)]


def _series(about: Information) -> str:
    """What images are that no energies tell apart."""
    count = about.shape[0]
    if about.tiles > 1:
        return f"is a mosaic of {about.tiles} tiles, no stack of energies; tiles are not joined"
    if about.angles.size and np.ptp(about.angles) > 1:
        low, high = about.angles.min(), about.angles.max()
        return f"is a rotation series ({low:g} to {high:g} degree), no stack of energies"
    return f"its {count} images carry no energies that differ; taken as a series"


def _energies(path: Path, about: Information) -> NDArray[np.float64] | None:
    """One energy a frame; for a single image its name, where it says, is more precise."""
    if about.shape[0] == 1:
        named = in_names([path.stem])
        if named is not None:
            return named
    return about.energies if plausible(about.energies) else None


def _pixels(pixel_um: float) -> list[RawAxis]:
    if not pixel_um:
        return [RawAxis("y"), RawAxis("x")]
    return [RawAxis(name, pixel_um, 0.0, "um") for name in "yx"]


def folder(path: Path, files: Sequence[Path]) -> list[Offer]:
    """One .xrm an energy: a stack."""
    notes: list[str] = []
    abouts = [information(file) for file in files]
    single = [(f, a) for f, a in zip(files, abouts, strict=True) if a.shape[0] == 1]
    if len(single) < len(files):
        notes.append(f"{len(files) - len(single)} files of several images are left out")
    if not single:
        raise ScanFileError(f"{path.name}: holds several stacks: open one of its .txrm files")
    listed = [_energies(file, about) for file, about in single]
    if any(energy is None for energy in listed):
        raise ScanFileError(
            f"{path.name}: some of its .xrm images say no energy, in their name or inside"
        )
    energies = np.array([float(energy[0]) for energy in listed if energy is not None])
    size = common_size([about.shape[1:] for _, about in single], notes, path.name)
    parts = [Plane(OleImages(file, about), 0) for file, about in single]
    steps = {about.pixel_um for _, about in single}
    axes = [energy_axis(energies, "eV"), *_pixels(steps.pop() if len(steps) == 1 else 0.0)]
    notes.append(f"{len(single)} .xrm files taken as frames of one stack")
    found = Found(
        FrameStack(parts, path, size), axes, "Zeiss", path.name, path, kind="STXM",
        diffraction=False, notes=notes,
    )  # fmt: skip
    return [offer_of(found)]
