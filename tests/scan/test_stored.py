"""Where a file's bytes are mapped instead of decoded, they are the same values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan import tiles
from napari_diffmap.scan.detectors import Detector, Disk, virtual_images
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.open.regions import FileRegion, FrameGrid
from napari_diffmap.scan.tiles import BlockReader, memory_allowed

SHAPE = (5, 7, 12, 40)
VALUES = np.random.default_rng(3).integers(0, 4000, SHAPE).astype(np.uint16)
DISK = Detector("d", Disk(6, 19, 5))


def npy(folder: Path) -> Path:
    np.save(folder / "scan.npy", VALUES)
    return folder / "scan.npy"


def swapped(folder: Path) -> Path:
    np.save(folder / "swapped.npy", VALUES.astype(">u2"))
    return folder / "swapped.npy"


def npz(folder: Path) -> Path:
    np.savez(folder / "scan.npz", data=VALUES)
    return folder / "scan.npz"


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "scan.h5", "w", userblock_size=512) as file:
        file["other"] = np.arange(1000)
        file["data"] = VALUES
    return folder / "scan.h5"


@pytest.mark.parametrize("write", [npy, swapped, npz, hdf5])
def test_plain_files_are_mapped(write: Any, tmp_path: Path) -> None:
    scan = open_scan(write(tmp_path), kind="4D-STEM")
    assert scan.stored is not None
    where = (slice(1, 4), slice(2, 6))
    view = scan.stored.view(where)
    assert isinstance(view, np.memmap)
    np.testing.assert_array_equal(view, VALUES[where])
    np.testing.assert_array_equal(scan.pattern(3, 2), VALUES[3, 2])
    tile = BlockReader(scan).read(0)
    assert isinstance(tile.patterns, np.memmap)
    image = virtual_images(scan, [DISK])[0]
    decoded = virtual_images(replace(scan, stored=None), [DISK])[0]
    np.testing.assert_array_equal(image, decoded)


@pytest.mark.parametrize("options", [{"chunks": (1, 7, 12, 40)}, {"compression": "gzip"}])
def test_blocks_are_decoded(options: dict[str, Any], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("data", data=VALUES, **options)
    scan = open_scan(tmp_path / "scan.h5", kind="4D-STEM")
    assert scan.stored is not None
    assert scan.stored.view((slice(0, 1),)) is None
    np.testing.assert_array_equal(scan.stored[1:3, ::2], VALUES[1:3, ::2])
    np.testing.assert_array_equal(BlockReader(scan).read(0).patterns, VALUES)


def test_other_data_has_nothing_stored(tmp_path: Path) -> None:
    """A crop or corrected counts must never be read from the raw file."""
    scan = open_scan(npy(tmp_path), kind="4D-STEM")
    doubled = replace(scan, data=2 * scan.data)
    assert doubled.stored is None
    np.testing.assert_array_equal(doubled.pattern(1, 1), 2 * VALUES[1, 1])
    same = scan.with_calibration(scan.calibration.with_voltage(200.0, "entered"))
    assert same.stored is scan.stored


def test_a_flat_stack_on_scan_positions_stays_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", VALUES.reshape(35, 12, 40))
    scan = open_scan(tmp_path / "flat.npy", kind="pattern stack").reshaped((5, 7))
    assert scan.stored is not None
    np.testing.assert_array_equal(scan.stored.view((slice(1, 3), slice(2, 4))), VALUES[1:3, 2:4])
    again = scan.reshaped((7, 5))
    assert again.stored is None
    np.testing.assert_array_equal(again.pattern(6, 4), VALUES[4, 6])


def test_absent_frames_and_jumps_are_not_mapped(tmp_path: Path) -> None:
    path = npy(tmp_path)
    frames = FileRegion(path, (35, 12, 40), "<u2", 128)
    index = np.arange(36).reshape(6, 6)
    index[5, 5] = -1
    grid = FrameGrid(frames, index)
    assert grid.view((slice(0, 6), slice(0, 6))) is None
    shuffled = FrameGrid(frames, np.random.default_rng(0).permutation(35).reshape(5, 7))
    assert shuffled.view((slice(0, 5), slice(0, 7))) is None
    np.testing.assert_array_equal(
        grid.view((slice(0, 4, 2), slice(1, 5, 3))),
        VALUES.reshape(35, 12, 40)[[[1, 4], [13, 16]]],
    )
    np.testing.assert_array_equal(
        grid.view((slice(0, 1), slice(1, 6, 2))), VALUES.reshape(35, 12, 40)[None, 1:6:2]
    )
    np.testing.assert_array_equal(
        grid.view((slice(0, 5), slice(0, 6))), VALUES.reshape(35, 12, 40)[:30].reshape(5, 6, 12, 40)
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [("", 1 << 30), ("4 GB", 4 * 10**9), ("512MiB", 512 << 20), ("0", 0)],
)
def test_the_memory_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, said: str, expected: int
) -> None:
    monkeypatch.setenv("DIFFMAP_MEMORY", said)
    assert memory_allowed() == expected


def test_a_memory_that_is_no_size_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFMAP_MEMORY", "plenty")
    with pytest.raises(BadInputError, match="DIFFMAP_MEMORY=plenty"):
        memory_allowed()


def test_a_block_that_two_passes_read_at_once_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that was ended may still be reading while the next begins."""
    path = tmp_path / "scan.npy"
    np.save(path, np.ones((4, 4, 8, 8), dtype=np.uint16))
    scan = open_scan(path, kind="4D-STEM")
    reader = BlockReader(scan, keep_bytes=scan.nbytes, max_bytes=scan.nbytes // 2)
    read = tiles.read_tile

    def read_twice(*where: Any) -> Any:
        monkeypatch.setattr(tiles, "read_tile", read)
        reader.read(0)
        return read(*where)

    monkeypatch.setattr(tiles, "read_tile", read_twice)
    reader.read(0)
    list(reader)
    assert reader.resident
