"""A scan that is being recorded: frames are seen and mapped as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from pydantic import BaseModel

from napari_diffmap.errors import CancelledError, RunError, ScanFileError
from napari_diffmap.jobs import follow
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.follow import run_following
from napari_diffmap.methods.method import MapSpec
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.open.follow import Follower

SHAPE = (6, 8, 16, 20)
VALUES = np.random.default_rng(1).integers(1, 900, SHAPE).astype(np.uint16)
FRAMES = VALUES.reshape(-1, *SHAPE[2:])


class Total:
    """Sum of every pattern; notes how often it was prepared and what it saw."""

    name = "total"
    Parameters = BaseModel

    def __init__(self) -> None:
        self.prepared = 0
        self.seen: list[int] = []

    def maps(self) -> tuple[MapSpec, ...]:
        return (MapSpec("total", "float64", "", np.nan),)

    def prepare(self, scan: Any, device: str = "cpu", progress: Any = None) -> None:
        self.prepared += 1

    def run(self, tile: Any) -> dict[str, np.ndarray]:
        self.seen.append(tile.missing.size)
        return {"total": tile.patterns.sum(axis=(2, 3)).astype(float)}


class Raw:
    """Frames appended to a file of plain bytes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "scan.raw"
        self.options: dict[str, Any] = {"shape": SHAPE, "dtype": "uint16"}
        self.there = 0

    def add(self, frames: int) -> None:
        with self.path.open("ab") as file:
            file.write(FRAMES[self.there : self.there + frames].tobytes())
        self.there += frames


class Tiffs:
    """A file a frame in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "frames"
        self.path.mkdir()
        self.options: dict[str, Any] = {"scan_shape": SHAPE[:2]}
        self.there = 0

    def add(self, frames: int) -> None:
        for number in range(self.there, self.there + frames):
            tifffile.imwrite(self.path / f"frame{number + 1}.tif", FRAMES[number])
        self.there += frames


class Hdf5:
    """Blocks of a dataset that was made for the whole scan."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "scan.h5"
        self.options: dict[str, Any] = {"kind": "4D-STEM"}
        self.there = 0
        with h5py.File(self.path, "w") as file:
            file.create_dataset("data", SHAPE, "u2", chunks=(1, 1, *SHAPE[2:]))

    def add(self, frames: int) -> None:
        with h5py.File(self.path, "r+") as file:
            for number in range(self.there, self.there + frames):
                y, x = divmod(number, SHAPE[1])
                file["data"][y, x] = FRAMES[number]
        self.there += frames


@pytest.fixture(params=[Raw, Tiffs, Hdf5])
def recorder(request: Any, tmp_path: Path) -> Any:
    return request.param(tmp_path)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_LOOK", 0.0)
    monkeypatch.setattr(follow, "_ENOUGH", 10)


def test_frames_are_seen_as_they_come(recorder: Any) -> None:
    recorder.add(11)
    follower = Follower(recorder.path, **recorder.options)
    assert follower.scan.shape == SHAPE
    assert follower.there.sum() == 11
    assert follower.poll() is None
    recorder.add(10)
    new = follower.poll()
    assert new is not None
    np.testing.assert_array_equal(np.flatnonzero(new), np.arange(11, 21))
    np.testing.assert_array_equal(follower.scan.pattern(2, 4), VALUES[2, 4])
    assert np.isnan(follower.scan.pattern(2, 5)).all()
    recorder.add(27)
    follower.poll()
    assert follower.complete
    np.testing.assert_array_equal(follower.scan.data.compute(), VALUES)


def test_each_frame_is_mapped_once_when_it_has_come(recorder: Any) -> None:
    recorder.add(4)
    follower = Follower(recorder.path, **recorder.options)
    method = Total()

    def record(progress: Any) -> None:
        if progress.message == "waiting for frames" and recorder.there < 48:
            recorder.add(11)

    scan, result = run_following(follower, method, control=JobControl(), on_progress=record)
    assert result.complete
    assert scan.missing is None or not scan.missing.any()
    np.testing.assert_array_equal(result.maps["total"], VALUES.sum(axis=(2, 3)))
    assert method.prepared == 1
    assert len(method.seen) > 3


def test_stopped_it_keeps_what_had_come(recorder: Any) -> None:
    recorder.add(21)
    control = JobControl()

    def stop(progress: Any) -> None:
        if progress.message == "waiting for frames":
            control.stop()

    follower = Follower(recorder.path, **recorder.options)
    _, result = run_following(follower, Total(), control=control, on_progress=stop)
    assert isinstance(result.error, CancelledError)
    np.testing.assert_array_equal(np.flatnonzero(result.done), np.arange(21))
    truth = VALUES.sum(axis=(2, 3))
    np.testing.assert_array_equal(result.maps["total"][result.done], truth[result.done])


def test_stopped_before_enough_came_nothing_is_mapped(recorder: Any) -> None:
    recorder.add(3)
    control = JobControl()
    control.stop()
    follower = Follower(recorder.path, **recorder.options)
    _, result = run_following(follower, Total(), control=control)
    assert isinstance(result.error, CancelledError)
    assert not result.done.any()


def test_a_file_that_goes_away_is_said_and_nothing_lost(tmp_path: Path) -> None:
    recorder = Raw(tmp_path)
    recorder.add(20)
    follower = Follower(recorder.path, **recorder.options)

    def remove(progress: Any) -> None:
        if progress.message == "waiting for frames":
            recorder.path.unlink(missing_ok=True)

    _, result = run_following(follower, Total(), control=JobControl(), on_progress=remove)
    assert isinstance(result.error, RunError)
    assert "is gone" in str(result.error)
    assert result.done.sum() == 20


def test_half_a_frame_waits(tmp_path: Path) -> None:
    folder = Tiffs(tmp_path)
    folder.add(12)
    whole = (folder.path / "frame12.tif").read_bytes()
    (folder.path / "frame13.tif").write_bytes(whole[:100])
    follower = Follower(folder.path, **folder.options)
    assert follower.there.sum() == 12
    tifffile.imwrite(folder.path / "frame13.tif", FRAMES[12])
    follower.poll()
    assert follower.there.sum() == 13


def test_a_folder_of_frames_opens_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = Tiffs(tmp_path)
    folder.add(48)
    (folder.path / "notes.txt").write_text("none of the frames")
    stack = open_scan(folder.path, kind="pattern stack")
    np.testing.assert_array_equal(stack.data[9:12].compute(), FRAMES[9:12])
    scan = open_scan(folder.path, scan_shape=SHAPE[:2])
    np.testing.assert_array_equal(scan.data.compute(), VALUES)


def test_without_the_scan_shape_it_says_what_is_missing(tmp_path: Path) -> None:
    folder = Tiffs(tmp_path)
    folder.add(5)
    with pytest.raises(ScanFileError, match="scan shape"):
        Follower(folder.path, kind="pattern stack")


def test_a_file_that_grows_is_not_called_cut(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    raw.add(46)
    assert Follower(raw.path, **raw.options).scan.warnings == ()
    known = open_scan(raw.path, **raw.options)
    assert any("the file is cut: 46 of 48" in line for line in known.warnings)
