"""*Convert for speed*: a scan as Zarr in blocks that serve both patterns and virtual images.

The file is HyperSpy's .zspy.  Blocks hold about 2 MB of whole patterns, packed by LZ4 after
shuffling bits: of the layouts measured (`docs/performance.md`) a pattern then comes in about a
millisecond and a whole scan faster than from any layout with smaller blocks.  A checksum of
every block is kept in the file.  What is written so far stays when a conversion ends early, and
the next one goes on from there.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, ResourceError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.scan.open.notes import caught
from napari_diffmap.scan.open.save import put_in_place, signal_of
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import read_tile

#: Decoded bytes of a block, and those read from the source at once.
_BLOCK_BYTES, _READ_BYTES = 2 << 20, 128 << 20
#: Where checksums and what the source was are kept inside the file.
_OWN, _SUMS = "napari_diffmap_blocks", "crc32"

OnProgress = Callable[[Progress], Any]


@dataclass(frozen=True)
class Converted:
    """A finished conversion.

    Attributes
    ----------
    path
        The file.
    patterns, seconds
        Patterns written now, and the time it took.
    bytes, stored
        Bytes of the scan, and on the disk.
    """

    path: Path
    patterns: int
    seconds: float
    bytes: int
    stored: int


def block_shape(scan: Scan) -> tuple[int, int]:
    """Rows and columns of a block."""
    ny, nx, ky, kx = scan.shape
    edge = 1
    while (2 * edge) ** 2 * ky * kx * scan.dtype.itemsize <= _BLOCK_BYTES and edge < max(ny, nx):
        edge *= 2
    return min(edge, ny), min(edge, nx)


def convert(
    scan: Scan,
    target: str | Path,
    *,
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
) -> Converted:
    """Write a 4D-STEM scan as .zspy in blocks made for speed.

    Parameters
    ----------
    scan
        Any 4D-STEM scan; it is streamed.
    target
        ``.zspy`` folder; one of that name is replaced once the new one is whole.
    control
        Pause and stop from another thread.
    on_progress
        Called after every block row.

    Raises
    ------
    BadInputError
        If it is no 4D-STEM scan, or the name is another.
    CancelledError
        When stopped; the next conversion of the same scan to the same place goes on.
    ResourceError
        If the disk is full or the folder cannot be written; likewise.
    RunError
        If the scan cannot be read; likewise.
    """
    scan.need_patterns("blocks of patterns need")
    target = Path(target).expanduser()
    if target.suffix.lower() != ".zspy":
        raise BadInputError(f"{target.name}: a scan made for speed is a .zspy")
    if not target.parent.is_dir():
        raise BadInputError(f"{target.name}: there is no folder {target.parent}")
    if scan.source is not None and target.resolve() == scan.source.resolve():
        raise BadInputError(f"{target.name} is the scan itself: choose another name")
    partial = target.with_name(f".{target.stem}.partial.zspy")
    start = time.perf_counter()
    try:
        data, sums = _begun(scan, partial)
        written = _fill(scan, data, sums, control or JobControl(), on_progress)
        stored = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
        put_in_place(partial, target)
    except OSError as error:
        raise ResourceError(
            f"{target.name}: cannot be written ({error.strerror or error}): free some space and"
            " convert again; what is written stays"
        ) from error
    return Converted(target, written, time.perf_counter() - start, scan.nbytes, stored)


def _begun(scan: Scan, partial: Path) -> tuple[Any, Any]:
    """The array to fill and the checksums of its blocks, −1 where one is not there yet."""
    import zarr

    identity = _identity(scan)
    try:
        root = zarr.open_group(str(partial), mode="r+")
        if json.loads(root.attrs[_OWN]) == identity:
            (group,) = root["Experiments"].values()
            return group["data"], root[_SUMS]
    except (KeyError, ValueError, OSError, zarr.errors.GroupNotFoundError):
        pass
    return _new(scan, partial, identity)


def _new(scan: Scan, partial: Path, identity: dict[str, Any]) -> tuple[Any, Any]:
    """Everything but the patterns, written by RosettaSciIO."""
    import zarr
    from numcodecs import Blosc

    signal = signal_of(scan)
    signal["data"] = np.zeros((1, 1, 1, 1), dtype=scan.dtype)
    with caught():
        importlib.import_module("rsciio.zspy").file_writer(
            str(partial), signal, show_progressbar=False
        )
    root = zarr.open_group(str(partial), mode="r+")
    (group,) = root["Experiments"].values()
    chunks = (*block_shape(scan), *scan.shape[2:])
    data = group.create_dataset(
        "data",
        shape=scan.shape,
        chunks=chunks,
        dtype=scan.dtype.newbyteorder("="),
        compressor=Blosc("lz4", 5, Blosc.BITSHUFFLE),
        fill_value=0,
        overwrite=True,
    )
    grid = tuple(-(-n // c) for n, c in zip(scan.shape[:2], chunks[:2], strict=True))
    sums = root.create_dataset(
        _SUMS, shape=grid, chunks=(1, grid[1]), dtype="i8", fill_value=-1, overwrite=True
    )
    zarr.consolidate_metadata(str(partial))
    root.attrs[_OWN] = json.dumps(identity)
    return data, sums


def _identity(scan: Scan) -> dict[str, Any]:
    """What must be the same for a conversion to go on."""
    digest = hashlib.sha256()
    ny, nx = scan.shape[:2]
    for y, x in ((0, 0), (ny // 2, nx // 2), (ny - 1, nx - 1)):
        digest.update(np.ascontiguousarray(scan.pattern(y, x)).tobytes())
    calibration = hashlib.sha256(repr(scan.calibration).encode()).hexdigest()[:16]
    return {
        "shape": list(scan.shape),
        "dtype": str(scan.dtype),
        "content": digest.hexdigest()[:16],
        "calibration": calibration,
        "layout": 1,
    }


def _fill(
    scan: Scan, data: Any, sums: Any, control: JobControl, on_progress: OnProgress | None
) -> int:
    """Write the blocks that are not there yet, row of blocks by row of blocks."""
    ny, nx = scan.shape[:2]
    height, width = data.chunks[:2]
    known = sums[:]
    wide = max(1, _READ_BYTES // (scan.nbytes // (ny * nx) * height * width)) * width
    written, before = 0, time.perf_counter()
    # Blocks are packed side by side: each then in one thread.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, _one_thread_a_block():
        for row in range(known.shape[0]):
            rows = slice(row * height, min(ny, (row + 1) * height))
            for left in range(0, nx, wide):
                columns = slice(left, min(nx, left + wide))
                here = slice(left // width, -(-columns.stop // width))
                if (known[row, here] >= 0).all():
                    continue
                control.check()
                tile = read_tile(scan, rows, columns)

                def write(number: int, tile: Any = tile, rows: slice = rows) -> int:
                    begin = number * width
                    end = min(nx, begin + width)
                    offset = tile.columns.start
                    part = tile.patterns[:, begin - offset : end - offset]
                    block = np.ascontiguousarray(part, dtype=data.dtype)
                    data[rows, begin:end] = block
                    return zlib.crc32(block.data)

                known[row, here] = list(pool.map(write, range(here.start, here.stop)))
                sums[row, here] = known[row, here]
                written += tile.missing.size
            if on_progress is not None:
                seconds = time.perf_counter() - before
                on_progress(Progress(rows.stop * nx, ny * nx, seconds, "converting"))
    return written


class _one_thread_a_block:
    """Blosc's own threads off while blocks are packed in ours."""

    def __enter__(self) -> None:
        import numcodecs.blosc as blosc

        self._blosc, self._was = blosc, blosc.use_threads
        blosc.use_threads = False

    def __exit__(self, *_: object) -> None:
        self._blosc.use_threads = self._was


def damaged_blocks(path: str | Path) -> list[tuple[slice, slice]]:
    """Blocks of a converted scan that are not what was written.

    Parameters
    ----------
    path
        A .zspy that `convert` made.

    Returns
    -------
    list of (slice, slice)
        Rows and columns of the scan positions whose patterns cannot be trusted.

    Raises
    ------
    BadInputError
        If it keeps no checksums.
    """
    import zarr

    path = Path(path).expanduser()
    try:
        root = zarr.open_group(str(path), mode="r")
        (group,) = root["Experiments"].values()
        data, sums = group["data"], root[_SUMS][:]
    except (KeyError, ValueError, OSError, zarr.errors.GroupNotFoundError) as error:
        raise BadInputError(f"{path.name} keeps no checksums: convert wrote none of it") from error

    def right(where: tuple[slice, slice, int]) -> bool:
        rows, columns, expected = where
        try:
            block: NDArray[Any] = data[rows, columns]
        except (OSError, ValueError, RuntimeError):
            return False
        return zlib.crc32(np.ascontiguousarray(block).data) == expected

    blocks = list(_blocks(data.shape[:2], data.chunks[:2], sums))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        flags = list(pool.map(right, blocks))
    return [block[:2] for block, good in zip(blocks, flags, strict=True) if not good]


def _blocks(
    shape: tuple[int, int], edge: tuple[int, int], sums: NDArray[np.int64]
) -> Iterator[tuple[slice, slice, int]]:
    for i, j in product(range(sums.shape[0]), range(sums.shape[1])):
        rows = slice(i * edge[0], min(shape[0], (i + 1) * edge[0]))
        columns = slice(j * edge[1], min(shape[1], (j + 1) * edge[1]))
        yield rows, columns, int(sums[i, j])
