"""HDF5: what lies in a file, and lazy views of it.

h5py is imported inside the functions: the room must import fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.regions import FileRegion, Index, Region, native

#: Groups and arrays looked at before giving up: some files hold one group a frame.
_MAX_OBJECTS = 20_000


class H5Region(Region):
    """An HDF5 dataset; the file is opened for each read.

    Attributes
    ----------
    mapped
        The same bytes as a flat file; None where they are in blocks or elsewhere.
    """

    mapped: FileRegion | None = None

    def __init__(self, path: Path, dataset: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.path = path
        self.dataset = dataset
        self.shape = tuple(int(n) for n in shape)
        self.dtype = native(np.dtype(dtype))

    @classmethod
    def of(cls, path: Path, name: str, dataset: Any) -> H5Region:
        """Region of an open h5py dataset, by the name it has in this file.

        Behind an external link ``dataset.name`` is its name in the other file.
        """
        region = cls(path, name, dataset.shape, dataset.dtype)
        region.stored_chunks = dataset.chunks
        region.unwritten = unwritten(path, dataset)
        region.mapped = _mapped(path, dataset)
        return region

    def view(self, index: Index) -> NDArray[Any] | None:
        """Where the dataset lies in one piece in this file, not compressed."""
        return None if self.mapped is None else self.mapped.view(index)

    def read(self, index: Index) -> NDArray[Any]:
        """Open, read, close."""
        with opened(self.path) as file:
            return np.asarray(file[self.dataset][index])


def _mapped(path: Path, dataset: Any) -> FileRegion | None:
    """The bytes of a dataset that lies in one piece, all written, in this very file."""
    own = Path(dataset.file.filename).resolve() == path.resolve()
    start = dataset.id.get_offset()
    if not own or start is None or dataset.chunks or dataset.external or dataset.is_virtual:
        return None
    whole = dataset.id.get_storage_size() == dataset.size * dataset.dtype.itemsize
    if not whole or start + dataset.id.get_storage_size() > path.stat().st_size:
        return None
    return FileRegion(path, dataset.shape, dataset.dtype, start)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file, with the filters of camera makers registered.

    Raises
    ------
    ScanFileError
        If the file is truncated or damaged.
    """
    import h5py
    import hdf5plugin  # noqa: F401  registers bitshuffle, lz4, blosc …

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        try:  # while it is written, by a program that lets others read (SWMR)
            file = h5py.File(path, "r", swmr=True, locking=False)
        except OSError:
            raise ScanFileError(_why(path, str(error))) from error
    with file:
        yield file


def _why(path: Path, text: str) -> str:
    import re

    if "truncated file" in text:
        match = re.search(r"eof = (\d+).*stored_eof = (\d+)", text)
        there, full = (int(n) for n in match.groups()) if match else (0, 0)
        counted = f": {there:,} of {full:,} bytes are there" if match else ""
        return f"{path.name}: is truncated{counted}; copy it again"
    if "unable to lock file" in text:
        return f"{path.name}: is being written by another program: close it there first"
    return f"{path.name}: is damaged, HDF5 cannot open it: copy it again"


@dataclass(frozen=True)
class Walk:
    """Everything found in an HDF5 file.

    Attributes
    ----------
    datasets
        Numeric arrays of at least one axis, each once, by path.
    tables
        Arrays of variable-length compounds (peak lists), by path.
    groups
        Group paths with their attributes.
    broken
        Links whose target is missing: (path, target).
    """

    datasets: dict[str, Any]
    tables: dict[str, Any]
    groups: dict[str, dict[str, Any]]
    broken: tuple[tuple[str, str], ...]


def walk(file: Any) -> Walk:
    """Visit every object once, links included."""
    import h5py

    datasets: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {"/": attributes(file)}
    broken: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()
    stack = [("", file)]
    while stack and len(seen) < _MAX_OBJECTS:
        at, group = stack.pop(0)
        for key in group:
            path = f"{at}/{key}"
            link = group.get(key, getlink=True)
            try:
                node = group[key]
            except (KeyError, OSError) as error:
                if isinstance(link, h5py.HardLink):
                    raise ScanFileError(
                        f"{Path(file.filename).name}: is damaged at {path}: copy it again"
                    ) from error
                broken.append((path, str(getattr(link, "filename", link.path))))
                continue
            info = h5py.h5o.get_info(node.id)
            mark = (int(info.fileno), int(info.addr))
            if mark in seen:
                continue
            seen.add(mark)
            if isinstance(node, h5py.Group):
                groups[path] = attributes(node)
                stack.append((path, node))
            elif isinstance(node, h5py.Dataset) and node.shape:
                vlen = h5py.check_vlen_dtype(node.dtype)
                if vlen is not None and np.dtype(vlen).names:
                    tables[path] = node
                elif node.dtype.kind in "biufc":
                    datasets[path] = node
    return Walk(datasets, tables, groups, tuple(broken))


def attributes(node: Any) -> dict[str, Any]:
    """Attributes of a group or dataset as plain Python values."""
    plain: dict[str, Any] = {}
    for key in node.attrs:
        try:
            value = node.attrs[key]
        except (OSError, TypeError, ValueError):
            continue
        plain[str(key)] = text(value)
    return plain


def text(value: Any) -> Any:
    """Bytes as str, one-element arrays as their element, the rest as it is."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic):
        return value.item() if not isinstance(value, np.bytes_) else value.decode("utf-8")
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value.ravel()]
    return value


def scalar(file: Any, path: str) -> Any:
    """Value of a small dataset, None where it is absent."""
    node = file.get(path)
    if node is None or not hasattr(node, "shape") or node.size != 1:
        return None
    return text(node[()])


def unwritten(path: Path, dataset: Any) -> NDArray[np.bool_] | None:
    """Frames that a dataset has a place for but that were never written.

    An acquisition stopped half way leaves blocks unallocated, a virtual dataset
    may point to files that are not there; HDF5 reads both as zeros.

    Returns
    -------
    ndarray or None
        True over all axes but the last two; None when every frame is there.
    """
    shape = dataset.shape
    if len(shape) < 3 or 0 in shape:
        return None
    if dataset.is_virtual:
        return _absent_sources(path, dataset)
    if dataset.chunks is None:
        empty = dataset.id.get_storage_size() == 0 and not dataset.external
        return np.ones(shape[:-2], dtype=bool) if empty else None
    blocks = tuple(-(-n // c) for n, c in zip(shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() >= int(np.prod(blocks, dtype=np.int64)):
        return None
    there = np.zeros(blocks, dtype=bool)

    def mark(info: Any) -> None:
        there[tuple(o // c for o, c in zip(info.chunk_offset, dataset.chunks, strict=True))] = True

    dataset.id.chunk_iter(mark)
    absent: NDArray[np.bool_] = np.logical_not(np.all(there, axis=(-2, -1)))
    for axis, chunk in enumerate(dataset.chunks[:-2]):
        absent = np.repeat(absent, chunk, axis=axis)
    return absent[tuple(slice(n) for n in shape[:-2])]


def _absent_sources(path: Path, dataset: Any) -> NDArray[np.bool_] | None:
    """Frames of a virtual dataset whose source file is not there."""
    absent = np.zeros(dataset.shape[:-2], dtype=bool)
    for source in dataset.virtual_sources():
        beside = path if source.file_name == "." else path.parent / source.file_name
        if not beside.exists():
            low, high = source.vspace.get_select_bounds()
            absent[tuple(slice(a, b + 1) for a, b in zip(low[:-2], high[:-2], strict=True))] = True
    return absent if absent.any() else None
