"""The desk on a scan that is being recorded: new frames appear, nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_diffmap.scan.detectors import Detector, Disk
from napari_diffmap.scan.open import open_scan
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.following import Following
from napari_diffmap.viewer.runner import ImmediateRunner

SHAPE = (6, 8, 24, 24)
VALUES = np.random.default_rng(2).integers(1, 500, SHAPE).astype(np.uint16)
OPTIONS = {"shape": SHAPE, "dtype": "uint16"}
DISK = Detector("disk", Disk(12, 11, 6))


def record(path: Path, frames: int) -> None:
    """Append what is missing up to so many frames, as a recorder does."""
    there = path.stat().st_size if path.exists() else 0
    with path.open("ab") as file:
        file.write(VALUES.reshape(-1, *SHAPE[2:])[:frames].tobytes()[there:])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    record(tmp_path / "scan.raw", 20)
    return tmp_path / "scan.raw"


def truth() -> np.ndarray:
    return VALUES[..., DISK.mask(SHAPE[2:])].sum(axis=-1)


def test_new_frames_appear_in_image_and_pattern(path: Path) -> None:
    desk = Desk(ViewerModel())
    session = desk.session
    desk.show_scan(open_scan(path, growing=True, **OPTIONS))
    (key,) = session.add_detectors([DISK])
    following = Following(session, ImmediateRunner())
    lines: list[str] = []
    session.message.connect(lines.append)
    session.set_position(3, 1)
    assert np.isnan(desk.pattern.counts()).all()
    assert following.possible()
    following.start(path, {**OPTIONS, "growing": True})
    assert following.on
    detectors = session.detectors
    record(path, 29)
    following.look()
    image = desk.virtual.images[key]
    np.testing.assert_array_equal(image.ravel()[:29], truth().ravel()[:29])
    assert np.isnan(image.ravel()[29:]).all()
    np.testing.assert_array_equal(desk.pattern.counts(), VALUES[3, 1])
    assert session.detectors == detectors
    assert session.position == (3, 1)
    following.look()
    record(path, 48)
    following.look()
    np.testing.assert_array_equal(desk.virtual.images[key], truth())
    assert not following.on
    assert "every frame has been recorded" in lines


def test_another_scan_ends_it(path: Path, tmp_path: Path) -> None:
    desk = Desk(ViewerModel())
    desk.show_scan(open_scan(path, growing=True, **OPTIONS))
    following = Following(desk.session, ImmediateRunner())
    following.start(path, OPTIONS)
    record(tmp_path / "other.raw", 48)
    desk.show_scan(open_scan(tmp_path / "other.raw", **OPTIONS))
    assert not following.on
    assert not following.possible()
    record(path, 48)
    following.look()
    assert desk.session.scan is not None
    assert desk.session.scan.name == "other"


def test_a_file_that_goes_away_ends_it_in_one_line(path: Path) -> None:
    desk = Desk(ViewerModel())
    desk.show_scan(open_scan(path, growing=True, **OPTIONS))
    following = Following(desk.session, ImmediateRunner())
    following.start(path, OPTIONS)
    lines: list[str] = []
    desk.session.message.connect(lines.append)
    path.unlink()
    following.look()
    assert not following.on
    assert len(lines) == 1
    assert "is gone" in lines[0]
