from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_diffmap.errors import CancelledError, RunError
from napari_diffmap.models.device import DEVICE_VARIABLE
from napari_diffmap.models.device_tiles import DeviceTile
from napari_diffmap.scan.detectors import Annulus, Detector, Disk, Rectangle
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.runner import ImmediateRunner, Token, Work
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.virtual import VirtualImages


class HeldRunner:
    """Keeps requests until told to run them: what a slow thread does."""

    def __init__(self) -> None:
        self.requests: list[tuple[Work, Any, Any, Any]] = []

    def latest(
        self,
        slot: str,
        work: Work,
        done: Any,
        *,
        failed: Any = None,
        partial: Any = None,
        patience: float = 0.0,
        at_once: bool = False,
    ) -> None:
        self.requests.append((work, done, failed, partial))

    def cancel(self, slot: str) -> None:
        self.requests.clear()


def brute_force(counts: NDArray[Any], cy: float, cx: float, r0: float, r1: float) -> NDArray[Any]:
    y, x = np.mgrid[: counts.shape[2], : counts.shape[3]]
    distance = np.hypot(y - cy, x - cx)
    return counts[..., (distance >= r0) & (distance <= r1)].sum(axis=-1)


def test_images_are_the_sums(scan: Scan, counts: NDArray[np.uint16]) -> None:
    session = Session()
    virtual = VirtualImages(session, ImmediateRunner())
    session.set_scan(scan)
    disk, ring = session.add_detectors(
        [Detector("BF", Disk(18, 22, 5)), Detector("ADF", Annulus(18, 22, 8, 15))]
    )
    assert np.array_equal(virtual.images[disk], brute_force(counts, 18, 22, 0, 5))
    assert np.array_equal(virtual.images[ring], brute_force(counts, 18, 22, 8, 15))


def test_only_what_moved_is_computed_again(scan: Scan) -> None:
    session, runner = Session(), HeldRunner()
    virtual = VirtualImages(session, runner)
    session.set_scan(scan)
    runner.requests.clear()
    first, second = session.add_detectors(
        [Detector("a", Disk(18, 22, 5)), Detector("b", Disk(9, 9, 3))]
    )
    work, done, _, _ = runner.requests.pop()
    done(work(Token()))
    item = session.listed(second)
    assert item is not None
    session.change_detector(second, replace(item.detector, shape=Disk(10, 9, 3)))
    assert [key for key, _ in virtual.stale] == [second]
    before = virtual.images[first]
    work, done, _, _ = runner.requests.pop()
    done(work(Token()))
    assert virtual.images[first] is before
    assert not virtual.stale


def test_a_result_for_an_old_place_leaves_the_image_stale(scan: Scan) -> None:
    session, runner = Session(), HeldRunner()
    virtual = VirtualImages(session, runner)
    session.set_scan(scan)
    (key,) = session.add_detectors([Detector("a", Disk(18, 22, 5))])
    work, done, _, _ = runner.requests.pop()
    item = session.listed(key)
    assert item is not None
    session.change_detector(key, replace(item.detector, shape=Disk(10, 9, 3)))
    done(work(Token()))
    assert [k for k, _ in virtual.stale] == [key]


def test_hidden_images_wait(scan: Scan) -> None:
    session, runner = Session(), HeldRunner()
    virtual = VirtualImages(session, runner)
    session.set_scan(scan)
    (key,) = session.add_detectors([Detector("a", Disk(18, 22, 5))], visible=False)
    assert not runner.requests
    session.show_detector(key, True)
    assert len(runner.requests) == 1
    assert virtual.stale


def test_a_partial_pass_keeps_the_rest_of_the_old_image(scan: Scan) -> None:
    session, runner = Session(), HeldRunner()
    virtual = VirtualImages(session, runner)
    session.set_scan(scan)
    (key,) = session.add_detectors([Detector("a", Disk(18, 22, 5))])
    work, done, _, _ = runner.requests.pop()
    done(work(Token()))
    old = virtual.images[key].copy()
    item = session.listed(key)
    assert item is not None
    session.change_detector(key, replace(item.detector, shape=Disk(10, 9, 3)))
    _, _, _, partial = runner.requests.pop()
    half = np.full(old.shape, np.nan, dtype=np.float32)
    half[:4] = 7
    partial((4, [half]))
    assert np.all(virtual.images[key][:4] == 7)
    assert np.array_equal(virtual.images[key][4:], old[4:])


@pytest.mark.parametrize(("error", "told"), [(RunError("gone"), 1), (CancelledError("no"), 0)])
def test_errors_become_one_line(scan: Scan, error: Exception, told: int) -> None:
    session, runner = Session(), HeldRunner()
    virtual = VirtualImages(session, runner)
    lines: list[str] = []
    session.message.connect(lines.append)
    session.set_scan(scan)
    session.add_detectors([Detector("a", Disk(18, 22, 5))])
    runner.requests.pop()[2](error)
    assert len(lines) == told
    assert not virtual.images


def test_missing_positions_stay_empty(make_scan: Callable[..., Scan]) -> None:
    missing = np.zeros((12, 10), dtype=bool)
    missing[5, 5] = True
    session = Session()
    virtual = VirtualImages(session, ImmediateRunner())
    session.set_scan(make_scan(missing=missing))
    (key,) = session.add_detectors([Detector("a", Rectangle(0, 0, 40, 44))])
    assert np.isnan(virtual.images[key][5, 5])
    assert np.isfinite(virtual.images[key]).sum() == 119


def test_boolean_patterns_are_counted(make_scan: Callable[..., Scan]) -> None:
    hits = np.random.default_rng(0).random((12, 10, 40, 44)) < 0.1
    session = Session()
    virtual = VirtualImages(session, ImmediateRunner())
    session.set_scan(make_scan(hits))
    (key,) = session.add_detectors([Detector("a", Disk(18, 22, 5))])
    assert np.array_equal(virtual.images[key], brute_force(hits, 18, 22, 0, 5))


def test_a_scan_in_memory_goes_to_the_gpu(
    scan: Scan, counts: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried with torch's processor in the place of a GPU: it takes the same way."""
    monkeypatch.setattr("napari_diffmap.viewer.virtual.device_for_sums", lambda: "cpu")
    session = Session()
    virtual = VirtualImages(session, ImmediateRunner())
    session.set_scan(scan)
    (key,) = session.add_detectors([Detector("BF", Disk(18, 22, 5))])
    assert session.reader is not None
    assert all(isinstance(tile, DeviceTile) for tile in session.reader)
    session.change_detector(key, Detector("ADF", Annulus(18, 22, 3, 9)))
    assert np.array_equal(virtual.images[key], brute_force(counts, 18, 22, 3, 9))


def test_a_gpu_that_is_not_there_is_said_once(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda:77")
    session, said = Session(), []
    virtual = VirtualImages(session, ImmediateRunner())
    session.message.connect(said.append)
    session.set_scan(scan)
    (key,) = session.add_detectors([Detector("BF", Disk(18, 22, 5))])
    session.change_detector(key, Detector("BF", Disk(18, 22, 6)))
    assert len(said) == 1
    assert "cuda:77" in said[0]
    assert key in virtual.images
