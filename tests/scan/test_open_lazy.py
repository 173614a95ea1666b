"""Opening costs seconds and next to no memory, whatever the size; nothing is held open."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import zarr

from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.open.regions import (
    FileRegion,
    FrameGrid,
    ScatteredFrames,
    Stacked,
    frame_chunks,
    lazy,
)

GB = 1 << 30


def sparse(path: Path, head: bytes, size: int) -> Path:
    """A file of `size` bytes that takes no disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    if path.stat().st_blocks * 512 > 64 << 20:
        pytest.skip("the file system does not keep sparse files")
    return path


class Cost:
    """Traced allocations and growth of the process while a block runs."""

    def __enter__(self):
        self._process = psutil.Process()
        self._rss = self._process.memory_info().rss
        tracemalloc.start()
        return self

    def __exit__(self, *error):
        self.traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        self.grown = self._process.memory_info().rss - self._rss


def npy_head(shape, dtype):
    import io

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    )
    return head.getvalue()


def huge_npy(folder):
    shape = (800, 600, 256, 256)
    return sparse(folder / "huge.npy", npy_head(shape, "<u2"), 128 + 2 * int(np.prod(shape))), {}


def huge_raw(folder):
    shape = (800, 600, 256, 256)
    path = sparse(folder / "huge.raw", b"", 2 * int(np.prod(shape)))
    return path, {"shape": shape, "dtype": "<u2"}


def huge_hdf5(folder):
    path = folder / "huge.h5"
    shape = (800, 600, 256, 256)
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # the space is there, as if written
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        space, kind = h5py.h5s.create_simple(shape), h5py.h5t.NATIVE_UINT16
        h5py.h5d.create(file.id, b"data", kind, space, plan)
    return path, {}


def huge_chunked_hdf5(folder):
    """Stopped after the first of its 60,000 blocks."""
    path = folder / "huge_chunked.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (800, 600, 256, 256), "u2", chunks=(1, 8, 256, 256))
        data[0, :8] = 1
    return path, {}


def huge_zarr(folder):
    path = folder / "huge.zarr"
    zarr.open(str(path), "w", shape=(800, 600, 256, 256), chunks=(1, 8, 256, 256), dtype="u2")
    return path, {}


def huge_blo(folder):
    import struct

    rows, columns, edge = 1500, 2000, 144
    head = struct.pack("<6sHIIIHHHHHddIHId", b"IMGBLO", 0x0102, 4096, 4096 + rows * columns, 0,
                       edge, 0, columns, rows, 0, 1.0, 1.0, 200_000, 6226, 2000, 0.0)  # fmt: skip
    size = 4096 + rows * columns + rows * columns * (edge * edge + 6)
    return sparse(folder / "huge.blo", head, size), {}


def huge_mrc(folder):
    import struct

    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, 512, 512, 100_000, 6)
    struct.pack_into("<3i", head, 28, 512, 512, 1)
    struct.pack_into("<3f", head, 40, 512, 512, 1)
    return sparse(folder / "huge.mrc", bytes(head), 1024 + 100_000 * 512 * 512 * 2), {
        "scan_shape": (250, 400)
    }


@pytest.mark.parametrize(
    "make", [huge_npy, huge_raw, huge_hdf5, huge_chunked_hdf5, huge_zarr, huge_blo, huge_mrc]
)
def test_tens_of_gigabytes_open_at_once(tmp_path, make, within):
    path, options = make(tmp_path)
    np.save(tmp_path / "first.npy", np.zeros((2, 2, 4, 4), np.uint8))
    open_scan(tmp_path / "first.npy").pattern(0, 0)  # imports are not counted
    with within(5), Cost() as opening:
        scan = open_scan(path, **options)
    assert scan.nbytes > 45 * GB
    assert scan.kind == "4D-STEM"
    assert opening.traced < 100 << 20
    assert opening.grown < 300 << 20
    with within(3), Cost() as looking:
        pattern = scan.pattern(scan.shape[0] - 1, scan.shape[1] // 2)
    assert pattern.shape == scan.shape[2:]
    assert looking.grown < 100 << 20


@pytest.mark.parametrize(
    ("shape", "dtype", "stored"),
    [
        ((800, 600, 256, 256), "u2", None),
        ((800, 600, 256, 256), "u2", (1, 8, 256, 256)),
        ((800, 600, 256, 256), "u2", (16, 16, 32, 32)),
        ((100, 100, 64, 64), "u1", (7, 3, 64, 64)),
        ((40_000, 512, 512), "u4", None),
        ((3, 5, 8, 8), "f8", (3, 5, 8, 8)),
        ((50, 20, 30, 128, 128), "u2", None),
        ((4, 8192, 8192), "f4", None),
    ],
)
def test_chunks_hold_whole_patterns_of_a_handy_size(shape, dtype, stored):
    itemsize = np.dtype(dtype).itemsize
    chunks = frame_chunks(shape, itemsize, (-2, -1), stored)
    assert chunks[-2:] == shape[-2:]
    size = itemsize * int(np.prod(chunks))
    frame = itemsize * int(np.prod(shape[-2:]))
    total = itemsize * int(np.prod(shape))
    assert size <= max(64 << 20, frame)
    assert size >= min(8 << 20, total) or chunks[:-2] == shape[:-2]
    if stored and size >= itemsize * int(np.prod(stored)):
        for chunk, block, full in zip(chunks[:-2], stored[:-2], shape[:-2], strict=True):
            assert chunk % min(block, full) == 0 or chunk == full


def test_a_click_reads_one_pattern_only(tmp_path, monkeypatch):
    data = np.arange(6 * 7 * 8 * 9, dtype=np.uint16).reshape(6, 7, 8, 9)
    np.save(tmp_path / "a.npy", data)
    scan = open_scan(tmp_path / "a.npy")
    asked = []
    read = FileRegion.read
    monkeypatch.setattr(FileRegion, "read", lambda self, i: (asked.append(i), read(self, i))[1])
    assert np.array_equal(scan.pattern(3, 4), data[3, 4])
    assert [i[:2] for i in asked] == [(3, 4)]


def open_files() -> set[str]:
    return {f.path for f in psutil.Process().open_files()}


@pytest.mark.parametrize("make", ["npy", "h5", "hspy", "zarr", "tif", "mrc"])
def test_no_file_is_held_open(tmp_path, make):
    data = np.ones((2, 3, 8, 8), np.uint16)
    path = tmp_path / f"a.{make}"
    if make == "npy":
        np.save(path, data)
    elif make == "zarr":
        zarr.save(str(path), data)
    elif make == "tif":
        import tifffile

        tifffile.imwrite(path, data[0], compression="zlib", photometric="minisblack")
    elif make == "mrc":
        head = bytearray(1024)
        head[0:16] = np.array([8, 8, 6, 6], "<i4").tobytes()
        path.write_bytes(bytes(head) + data.tobytes())
    else:
        with h5py.File(path, "w") as file:
            if make == "h5":
                file["data"] = data
            else:
                from napari_diffmap.scan.open import save_scan

                np.save(tmp_path / "b.npy", data)
                file.close()
                save_scan(open_scan(tmp_path / "b.npy"), path)
    scan = open_scan(path)
    assert str(path) not in open_files()
    scan.data.compute()
    assert not any(str(path) in name for name in open_files())


def test_scans_travel_to_other_processes_and_threads(tmp_path):
    data = np.random.default_rng(3).integers(0, 99, (5, 6, 8, 8)).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=data, chunks=(1, 2, 8, 8), compression="gzip")
    scan = open_scan(tmp_path / "a.h5")
    copy = pickle.loads(pickle.dumps(scan.data))
    assert np.array_equal(copy.compute(scheduler="processes", num_workers=1), data)
    with ThreadPoolExecutor(8) as pool:
        patterns = list(pool.map(lambda i: scan.pattern(*divmod(i, 6)), range(30)))
    assert np.array_equal(np.stack(patterns), data.reshape(30, 8, 8))


def test_a_changed_file_is_another_array(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3, 8, 8), np.uint16))
    first = open_scan(path).data.name
    assert open_scan(path).data.name == first
    np.save(path, np.ones((2, 3, 8, 8), np.uint16))
    os.utime(path, ns=(1, 1))
    assert open_scan(path).data.name != first


def test_import_is_fast_and_light(slowness, too_slow):
    code = (
        "import sys, time, numpy, dask.array\n"
        "start = time.perf_counter()\n"
        "import napari_diffmap.scan.open\n"
        "took = time.perf_counter() - start\n"
        "heavy = {'torch', 'orix', 'napari', 'skimage', 'h5py', 'rsciio', 'zarr', 'tifffile',\n"
        "         'hyperspy', 'pyxem', 'qtpy', 'matplotlib', 'distributed', 'pint'}\n"
        "print(took, *sorted(heavy & set(sys.modules)))\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    took = [float(run.stdout.split()[0]) for run in runs]
    assert [run.stdout.split()[1:] for run in runs] == [[]] * 3
    if min(took) >= 0.15 * slowness():
        raise too_slow(f"importing took {took} s")


def test_opening_never_loads_hyperspy_or_torch(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.ones((2, 3, 8, 8), np.uint16)
    code = (
        "import sys\n"
        "from napari_diffmap.scan.open import open_scan\n"
        f"open_scan({str(tmp_path / 'a.h5')!r}).pattern(0, 0)\n"
        "print(*({'hyperspy', 'torch', 'orix', 'napari', 'skimage', 'pyxem'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


# --- regions index like arrays ------------------------------------------------------------


def regions(tmp_path):
    """Every region kind with the array it must equal, all ``(6, 5, 4)``."""
    data = np.random.default_rng(5).integers(0, 1000, (6, 5, 4)).astype(np.uint16)
    flat = tmp_path / "flat"
    flat.write_bytes(b"xx" + data.tobytes())
    yield FileRegion(flat, data.shape, "<u2", 2), data
    fortran = tmp_path / "fortran"
    fortran.write_bytes(np.asfortranarray(data).tobytes(order="A"))
    yield FileRegion(fortran, data.shape, "<u2", order="F"), data
    records = tmp_path / "records"
    records.write_bytes(b"".join(b"head" + f[::-1].astype(">u2").tobytes() + b"t" for f in data))
    framed = FileRegion(records, data.shape, ">u2", head=4, tail=1, flip=True)
    yield framed, data
    yield (
        Stacked(
            [FileRegion(flat, (n, 5, 4), "<u2", 2 + 40 * s) for n, s in ((1, 0), (3, 1), (2, 4))]
        ),
        data,
    )
    order = np.array([5, 0, 3, 1, 4, 2])
    yield ScatteredFrames(flat, 2 + 40 * order, (5, 4), "<u2"), data[order]
    yield FrameGrid(FileRegion(flat, data.shape, "<u2", 2), order), data[order]


def test_regions_index_like_arrays(tmp_path):
    indices = [
        (slice(None),) * 3, (2,), (-1,), (slice(1, 5, 2),), (slice(None, None, -1),),
        (slice(4, 1, -2), slice(1, 3)), (..., 2), (slice(0, 0),),
        (3, slice(None), slice(3, None, -1)),
        (slice(None), 2, 1), ([4, 0, 0],), (np.array([1, 5]), slice(None), 2),
    ]  # fmt: skip
    for region, truth in regions(tmp_path):
        for index in indices:
            got = region[index]
            assert got.shape == truth[index].shape, (type(region), index)
            assert np.array_equal(got, truth[index]), (type(region), index)
        assert np.array_equal(lazy(region).compute(scheduler="synchronous"), truth)
        fancy = lazy(region)[[3, 1], :, 2]
        assert np.array_equal(fancy.compute(scheduler="synchronous"), truth[[3, 1], :, 2])


def test_frame_grid_marks_absent_frames(tmp_path):
    data = np.random.default_rng(6).normal(size=(3, 4, 4)).astype(np.float32)
    path = tmp_path / "a"
    path.write_bytes(data.tobytes())
    index = np.array([[2, -1, 0], [1, -1, -1]])
    grid = FrameGrid(FileRegion(path, data.shape, "<f4"), index)
    assert grid.missing.tolist() == (index < 0).tolist()
    values = grid[:, :]
    assert np.array_equal(values[0, 0], data[2])
    assert np.array_equal(values[0, 2], data[0])
    assert np.array_equal(values[1, 0], data[1])
    assert np.isnan(values[index < 0]).all()
    assert np.isnan(grid[0, 1]).all()
    assert np.array_equal(grid[:, 0, 1:3, 2], data[[2, 1], 1:3, 2])
