"""A converted scan is the same scan; stopped, it goes on; damaged, it says so."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_diffmap.cli import run
from napari_diffmap.errors import BadInputError, CancelledError, ResourceError
from napari_diffmap.jobs import convert as jobs
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.convert import block_shape, convert, damaged_blocks
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.scan import Scan

SHAPE = (21, 19, 64, 48)
VALUES = np.random.default_rng(5).poisson(3.0, SHAPE).astype(np.uint16)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 4 × 4 patterns, two of them read at once."""
    monkeypatch.setattr(jobs, "_BLOCK_BYTES", 16 * 64 * 48 * 2)
    monkeypatch.setattr(jobs, "_READ_BYTES", 2 * 16 * 64 * 48 * 2)


def made(values: np.ndarray = VALUES) -> Scan:
    axes = (
        Axis("y", SHAPE[0], 2.5, 0.0, "nm"),
        Axis("x", SHAPE[1], 2.5, 0.0, "nm"),
        Axis("ky", SHAPE[2], 0.02, -0.64, "1/Å"),
        Axis("kx", SHAPE[3], 0.02, -0.46, "1/Å"),
    )
    missing = np.zeros(SHAPE[:2], dtype=bool)
    missing[20, 15:] = True
    known = Calibration((32.0, 23.0), 0.02, 200.0, "file", "file", "file")
    data = da.from_array(values, chunks=(2, 19, 64, 48))
    return Scan(data, axes, "4D-STEM", "made", calibration=known, missing=missing)


def no_window(*_files: object, **_options: object) -> None:
    raise AssertionError("no window is asked for")


def same(path: Path) -> None:
    scan, again = made(), open_scan(path)
    np.testing.assert_array_equal(again.data.compute(), VALUES)
    assert again.dtype == VALUES.dtype
    assert again.missing is not None
    np.testing.assert_array_equal(again.missing, scan.missing)
    assert again.calibration.voltage_kv == 200
    assert again.calibration.center == pytest.approx((32.0, 23.0))
    for mine, theirs in zip(scan.axes, again.axes, strict=True):
        assert (theirs.name, theirs.unit) == (mine.name, mine.unit)
        assert theirs.scale == pytest.approx(mine.scale)


def test_it_is_the_same_scan(tmp_path: Path) -> None:
    steps: list[Any] = []
    done = convert(made(), tmp_path / "fast.zspy", on_progress=steps.append)
    assert (done.patterns, done.bytes) == (21 * 19, VALUES.nbytes)
    assert 0 < done.stored < VALUES.nbytes
    same(done.path)
    assert steps[-1].done == steps[-1].total == 21 * 19
    assert damaged_blocks(done.path) == []
    assert [p.name for p in tmp_path.iterdir()] == ["fast.zspy"]


def test_hyperspy_opens_it(tmp_path: Path) -> None:
    hs = pytest.importorskip("hyperspy.api")
    convert(made(), tmp_path / "fast.zspy")
    signal = hs.load(str(tmp_path / "fast.zspy"), lazy=True)
    assert signal.data.shape == SHAPE
    assert [axis.name for axis in signal.axes_manager._axes] == ["y", "x", "ky", "kx"]
    np.testing.assert_array_equal(signal.data[7, 3].compute(), VALUES[7, 3])


def test_a_stopped_conversion_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = JobControl()

    def look(progress: Any) -> None:
        if progress.done >= 8 * 19:
            control.stop()

    with pytest.raises(CancelledError):
        convert(made(), tmp_path / "fast.zspy", control=control, on_progress=look)
    assert not (tmp_path / "fast.zspy").exists()
    rest = convert(made(), tmp_path / "fast.zspy")
    assert rest.patterns == 13 * 19
    same(rest.path)
    assert damaged_blocks(rest.path) == []


def test_another_scan_begins_anew(tmp_path: Path) -> None:
    control = JobControl()
    with pytest.raises(CancelledError):
        convert(
            made(VALUES + 1),
            tmp_path / "fast.zspy",
            control=control,
            on_progress=lambda _p: control.stop(),
        )
    assert convert(made(), tmp_path / "fast.zspy").patterns == 21 * 19
    same(tmp_path / "fast.zspy")


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    store = zarr.DirectoryStore._tofile

    def full(value: Any, name: str) -> None:
        written.append(Path(name).parent.name == "data")
        if sum(written) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        store(value, name)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.DirectoryStore, "_tofile", staticmethod(full))
        with pytest.raises(ResourceError, match=r"No space left on device.*what is written stays"):
            convert(made(), tmp_path / "fast.zspy")
    assert 0 < convert(made(), tmp_path / "fast.zspy").patterns < 21 * 19
    same(tmp_path / "fast.zspy")


def test_a_damaged_block_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = convert(made(), tmp_path / "fast.zspy").path
    root = zarr.open_group(str(path), mode="r+")
    (group,) = root["Experiments"].values()
    group["data"][9, 5, 3, 3] += 1
    assert damaged_blocks(path) == [(slice(8, 12), slice(4, 8))]
    assert run(["convert", str(path), "--check"], no_window) == 2
    assert "rows 8-11, columns 4-7" in capsys.readouterr().err


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "scan.npy", VALUES)
    out = tmp_path / "fast.zspy"
    file = str(tmp_path / "scan.npy")
    assert run(["convert", file, "--kind", "4D-STEM", "--out", str(out)], no_window) == 0
    assert "399 patterns" in capsys.readouterr().out
    np.testing.assert_array_equal(open_scan(out).data.compute(), VALUES)
    assert run(["convert", str(out), "--check"], no_window) == 0
    assert run(["convert", file, "--kind", "4D-STEM", "--out", "x.hspy"], no_window) == 2
    assert run(["convert", file], no_window) == 2
    np.save(tmp_path / "flat.npy", VALUES[0])
    flat = str(tmp_path / "flat.npy")
    assert run(["convert", flat, "--kind", "image series", "--out", str(out)], no_window) == 2


def test_blocks_follow_the_size_of_patterns() -> None:
    assert block_shape(made()) == (4, 4)
    with pytest.raises(BadInputError, match="is the scan itself"):
        convert(made_from("a.zspy"), "a.zspy")


def made_from(name: str) -> Scan:
    from dataclasses import replace

    return replace(made(), source=Path(name))
