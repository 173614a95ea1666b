from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.display import Stretch
from napari_diffmap.viewer.pattern_source import PatternSource

EVERY = slice(None)


@pytest.fixture
def source(scan: Scan) -> PatternSource:
    source = PatternSource(scan)
    source.stretch = Stretch("linear")
    return source


@pytest.mark.parametrize(
    "index",
    [
        (3, 4),
        (3, 4, EVERY, EVERY),
        (slice(3, 4), slice(4, 5)),
        (slice(1, 3), 4),
        (2, slice(0, 4), 5, EVERY),
        (np.int64(11), np.int64(9), slice(2, 7), slice(None, None, 2)),
    ],
)
def test_slices_as_numpy_does(
    source: PatternSource, counts: NDArray[np.uint16], index: tuple[object, ...]
) -> None:
    assert np.array_equal(source[index], counts[index].astype(np.float32))


def test_a_shown_pattern_decodes_nothing_else(scan: Scan) -> None:
    decoded: list[tuple[int, ...]] = []

    def block(x: NDArray[np.uint16], block_info: object = None) -> NDArray[np.uint16]:
        decoded.append(x.shape)
        return x

    lazy = replace(scan, data=scan.data.map_blocks(block, dtype=scan.dtype))
    decoded.clear()
    source = PatternSource(lazy)
    source[3, 4]
    source[3, 4]
    assert len(decoded) == 1


def test_missing_frames_are_nan(make_scan: Callable[..., Scan]) -> None:
    missing = np.zeros((12, 10), dtype=bool)
    missing[2, 3] = True
    source = PatternSource(make_scan(missing=missing))
    assert np.isnan(source[2, 3]).all()
    assert np.isfinite(source[2, 4]).all()


def test_old_patterns_are_dropped(source: PatternSource) -> None:
    source._keep = 3
    for x in range(6):
        source.frame(0, x)
    assert [source.loaded(0, x) for x in range(6)] == [False] * 3 + [True] * 3


def test_a_vanished_file_is_told_and_shown_empty(scan: Scan) -> None:
    def gone(_: NDArray[np.uint16]) -> NDArray[np.uint16]:
        raise OSError("no such file")

    told: list[str] = []
    broken = da.map_blocks(gone, scan.data, dtype=scan.dtype, meta=np.empty((0,) * 4, scan.dtype))
    source = PatternSource(replace(scan, data=broken), told.append)
    assert np.isnan(source[0, 0]).all()
    assert "no such file" in told[0]


def test_slow_patterns_are_read_ahead_of_the_mouse(desk: Desk) -> None:
    source = desk.pattern.source
    assert source is not None
    source.seconds = 0.0
    assert source.ahead((3, 3), (3, 4)) == []
    source.seconds = 0.01
    assert source.ahead((3, 3), (4, 4)) == [(5, 5), (6, 6), (7, 7), (8, 8)]
    assert source.ahead((3, 8), (3, 7))[-1] == (3, 3)
    # The edge of the scan, a jump, no move.
    assert source.ahead((3, 7), (3, 8)) == [(3, 9)]
    assert source.ahead((3, 0), (3, 9)) == []
    assert source.ahead((3, 3), (3, 3)) == []


def test_what_is_ahead_is_in_memory_when_the_mouse_comes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = desk.pattern.source
    assert source is not None
    monkeypatch.setattr("napari_diffmap.viewer.pattern_source._SLOW", 0.0)
    desk.session.set_position(5, 2)
    desk.session.set_position(5, 3)
    assert all(source.loaded(5, x) for x in (4, 5, 6, 7))
    assert not source.loaded(5, 8)
