"""A folder of frames, one file each (TIFF or .npy), in the order of the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.energies import attach_list, energy_axis, in_names, list_beside
from napari_diffmap.scan.open.found import Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.framestack import FrameStack, common_size
from napari_diffmap.scan.open.regions import Index, Region, native

#: Files of a folder that can be its frames.
SUFFIXES = (".tif", ".tiff", ".npy")


def frame_files(folder: Path) -> list[Path]:
    """The frames of a folder in order; of several kinds of file those there are most of."""
    kinds: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        suffix = path.suffix.lower()
        # A frame that is still being written often has another name first.
        if suffix in SUFFIXES and not path.name.startswith((".", "~")):
            kinds.setdefault(suffix, []).append(path)
    files = max(kinds.values(), key=len, default=[])
    return sorted(files, key=by_number)


def by_number(path: Path) -> list[Any]:
    """``frame10`` after ``frame9``."""
    parts = re.split(r"(\d+)", path.stem)
    return [int(part) if part.isdigit() else part for part in parts]


class FrameFolder(Region):
    """Files of one frame each as a stack ``(n, ky, kx)``.

    Parameters
    ----------
    folder
        Where they are.
    names
        Their names, in order.
    shape, dtype
        Of every frame.
    """

    def __init__(self, folder: Path, names: Sequence[str], shape: tuple[int, int], dtype: Any):
        self.path = folder
        self._names = tuple(names)
        self.shape = (len(names), *shape)
        self.dtype = native(np.dtype(dtype))

    def read(self, index: Index) -> NDArray[Any]:
        """Read each file asked for."""
        wanted = np.atleast_1d(np.arange(len(self._names))[index[0]])
        frames = []
        for number in wanted:
            path = self.path / self._names[int(number)]
            frame = self._frame(path)
            if frame.shape != self.shape[1:]:
                raise self._another_size(path, frame.shape)
            frames.append(frame[index[1:]])
        if not isinstance(index[0], slice):
            return np.asarray(frames[0])
        return np.stack(frames) if frames else np.empty((0, *self.shape[1:]), self.dtype)

    def _frame(self, path: Path) -> NDArray[Any]:
        return read_frame(path)

    def _another_size(self, path: Path, shape: Sequence[int]) -> ScanFileError:
        del shape
        size = f"{self.shape[1]} x {self.shape[2]}"
        return ScanFileError(f"{path.name}: is no frame of {size} pixels like the others")


def read_frame(path: Path) -> NDArray[Any]:
    """One picture of counts.

    Raises
    ------
    ScanFileError
        If it is a stack or a colour picture.
    """
    if path.suffix.lower() == ".npy":
        frame = np.load(path, allow_pickle=False)
    else:
        import tifffile

        frame = tifffile.imread(path)
    frame = np.squeeze(np.asarray(frame))
    if frame.ndim != 2 or frame.dtype.kind not in "biuf":
        raise ScanFileError(f"{path.name}: holds no single frame of counts")
    return frame


def _written(files: list[Path]) -> list[Path]:
    """Without the newest file while it is being written."""
    try:
        read_frame(files[-1])
    except Exception:  # noqa: BLE001 - a decoder raises anything on half a file
        if len(files) > 1:
            return files[:-1]
    return files


class Picture(Region):
    """One frame in a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shape, self.dtype = described(path)

    def read(self, index: Index) -> NDArray[Any]:
        """Read the file, take a part."""
        return read_frame(self.path)[index]


def described(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Size and number type of a frame, from its header where that is enough."""
    if path.suffix.lower() == ".npy":
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        shape, dtype = mapped.shape, mapped.dtype
    else:
        import tifffile

        with tifffile.TiffFile(path) as file:
            shape, dtype = file.series[0].shape, np.dtype(file.series[0].dtype)
    shape = tuple(int(n) for n in shape if n != 1)
    if len(shape) != 2 or dtype.kind not in "biuf":
        raise ScanFileError(f"{path.name}: holds no single frame of counts")
    return shape, native(dtype)


def _of_energies(path: Path, files: list[Path], request: Request) -> Found | None:
    """Frames whose names state energies, or with a list of them in the folder."""
    named = in_names([file.stem for file in files], any_number=request.kind == "STXM")
    if len(files) < 2 or (named is None and list_beside(path, len(files)) is None):
        return None
    notes = [f"{len(files)} {files[0].suffix.lower()} files taken as frames"]
    parts = [Picture(file) for file in files]
    size = common_size([part.shape for part in parts], notes, path.name)
    axes = [RawAxis(), RawAxis("y"), RawAxis("x")]
    found = Found(FrameStack(parts, path, size), axes, "frames", path.name, path, notes=notes)
    if named is None:
        attach_list(found, path)
        return found
    found.kind = "STXM"
    found.axes[0] = energy_axis(named, "eV")
    notes.append("energies from the names of the frames")
    return found


def _of_images(path: Path, files: list[Path], request: Request) -> Found | None:
    """Frames that are images by what their files say, by their looks or by the user's word."""
    from napari_diffmap.scan.open.classify import looks_like_image
    from napari_diffmap.scan.open.image_folder import stack_of, states_lengths

    if request.kind not in (None, "image series") or request.axes is not None:
        return None
    if request.kind is None and not (
        states_lengths(files[0]) or looks_like_image(read_frame(files[0]))
    ):
        return None
    return stack_of(path, files)


def folder(path: Path, request: Request) -> list[Offer]:
    """All frames of a folder as a flat stack."""
    files = frame_files(path)
    if request.growing:
        files = _written(files)
    elif len(files) == 1 and request.scan_shape is None:
        from napari_diffmap.scan.open.door import offers

        return offers(files[0], request)
    if not request.growing and request.scan_shape is None and request.kind in (None, "STXM"):
        stack = _of_energies(path, files, request)
        if stack is not None:
            return [offer_of(stack)]
    if not request.growing and request.scan_shape is None:
        stack = _of_images(path, files, request)
        if stack is not None:
            return [offer_of(stack)]
    first = read_frame(files[0])
    region = FrameFolder(path, [file.name for file in files], first.shape, first.dtype)
    axes = [RawAxis("frame", role="scan"), RawAxis("ky"), RawAxis("kx")]
    found = Found(region, axes, "frames", path.name, path)
    if request.scan_shape is not None or request.kind in ("4D-STEM", "pattern stack"):
        found.diffraction = True
    kind = files[0].suffix.lower()
    found.notes.append(f"{len(files)} {kind} files taken as frames, by the numbers in their names")
    return [offer_of(found)]
