"""The pipeline: every position once, pause and stop, errors that keep what was done."""

from __future__ import annotations

import threading

import dask.array as da
import numpy as np
import pytest
from pydantic import BaseModel

from napari_diffmap.errors import BadInputError, CancelledError, ResourceError, RunError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.pipeline import run_method
from napari_diffmap.jobs.queue import submit
from napari_diffmap.methods.method import MapSpec
from napari_diffmap.models.device import resolve_device
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan


def make_scan(shape=(9, 7, 4, 4), chunks=(2, 3, -1, -1)) -> Scan:
    data = da.from_array(np.arange(np.prod(shape), dtype=np.int64).reshape(shape), chunks=chunks)
    axes = tuple(Axis(n, s) for n, s in zip(("y", "x", "ky", "kx"), shape, strict=True))
    return Scan(data, axes, "4D-STEM", "made")


class Total:
    """Sum of every pattern: a real method, small enough to check by eye."""

    name = "total"
    Parameters = BaseModel

    def __init__(self, hook=None) -> None:
        self.hook = hook
        self.seen: list[tuple[int, int]] = []

    def maps(self):
        return (MapSpec("total", "float64", "", np.nan), MapSpec("pair", "int32", "", -1, (2,)))

    def prepare(self, scan, device="cpu", progress=None):
        progress(1, 1, "preparing")

    def run(self, tile):
        if self.hook:
            self.hook(self, tile)
        for y in range(tile.rows.start, tile.rows.stop):
            for x in range(tile.columns.start, tile.columns.stop):
                self.seen.append((y, x))
        total = tile.patterns.sum(axis=(2, 3)).astype(float)
        return {"total": total, "pair": np.stack([total, total], -1).astype(np.int32)}


def test_every_position_once_and_right():
    scan, method = make_scan(), Total()
    steps = []
    result = run_method(scan, method, on_progress=steps.append)
    assert result.complete
    np.testing.assert_array_equal(result.maps["total"], scan.data.sum(axis=(2, 3)).compute())
    assert sorted(method.seen) == [(y, x) for y in range(9) for x in range(7)]
    assert steps[0].message == "preparing"
    assert steps[-1].done == steps[-1].total == 63
    assert [s.done for s in steps[1:]] == sorted(s.done for s in steps[1:])


def test_stop_keeps_what_was_done():
    control = JobControl()

    def stop(_method, _tile):
        control.stop()

    result = run_method(make_scan(), Total(stop), control=control)
    assert isinstance(result.error, CancelledError)
    assert 5 <= result.done.sum() < 63
    assert np.isfinite(result.maps["total"][result.done]).all()
    assert np.isnan(result.maps["total"][~result.done]).all()
    assert (result.maps["pair"][~result.done] == -1).all()


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (RuntimeError("kernel image is invalid\nsecond line"), RunError, "kernel image is invalid"),
        (MemoryError(), ResourceError, "out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), ResourceError, "out of memory"),
        (ZeroDivisionError("division"), RunError, "ZeroDivisionError"),
    ],
)
def test_an_error_in_the_worker_is_one_line_and_loses_nothing(error, expected, text):
    def fail_late(method, _tile):
        if len(method.seen) >= 10:
            raise error

    result = run_method(make_scan(), Total(fail_late))
    assert type(result.error) is expected
    assert text in str(result.error)
    assert "\n" not in str(result.error)
    assert result.done.sum() >= 10


def test_a_file_that_vanishes_is_named():
    def gone(block):
        raise OSError("No such file")

    data = da.zeros((4, 4, 2, 2), chunks=(1, 4, 2, 2)).map_blocks(
        gone, dtype=float, meta=np.empty((0, 0, 0, 0))
    )
    axes = tuple(Axis(n, s) for n, s in zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    result = run_method(Scan(data, axes, "4D-STEM", "scan7"), Total())
    assert isinstance(result.error, RunError)
    assert "scan7" in str(result.error)
    assert "still there" in str(result.error)


def test_bad_input_before_the_run_is_raised():
    class Refuses(Total):
        def prepare(self, scan, device="cpu", progress=None):
            raise BadInputError("add a phase first")

    with pytest.raises(BadInputError, match="phase first"):
        run_method(make_scan(), Refuses())


def test_pause_holds_and_resume_finishes():
    control, paused, may_go = JobControl(), threading.Event(), threading.Event()

    def pause_once(method, _tile):
        if not paused.is_set():
            control.pause()
            paused.set()
            may_go.set()

    method = Total(pause_once)
    thread = threading.Thread(
        target=lambda: results.append(run_method(scan, method, control=control))
    )
    results: list = []
    scan = make_scan()
    thread.start()
    assert may_go.wait(5)
    thread.join(timeout=0.3)
    assert thread.is_alive()
    held = len(method.seen)
    control.resume()
    thread.join(timeout=5)
    assert results[0].complete
    assert held < 63


def test_stop_acts_within_a_second_on_a_slow_method(within):
    control = JobControl()

    def slow(_method, tile):  # 4 ms a pattern, as a fine library on one core
        threading.Event().wait(0.004 * tile.missing.size)

    started = threading.Event()
    thread_result: list = []
    scan = make_scan((40, 40, 2, 2), chunks=(40, 40, -1, -1))

    def work():
        thread_result.append(
            run_method(
                scan, Total(slow), control=control, on_progress=lambda p: p.done and started.set()
            )
        )

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(5)
    with within(1.0):
        control.stop()
        thread.join(timeout=30)
    assert isinstance(thread_result[0].error, CancelledError)


def test_eta_and_text():
    assert Progress(0, 10, 0.0).eta is None
    assert Progress(5, 10, 2.0).eta == pytest.approx(2.0)
    assert Progress(5, 10, 2.0).text() == "mapping 5 of 10 (50 %), 2 s left"
    assert Progress(1, 1000, 1.0).text().endswith("16 min 39 s left")


def test_one_device_one_queue():
    running, peak = [0], [0]

    def work():
        running[0] += 1
        peak[0] = max(peak[0], running[0])
        threading.Event().wait(0.01)
        running[0] -= 1

    for future in [submit("cpu", work) for _ in range(5)]:
        future.result()
    assert peak[0] == 1


def test_unknown_device_is_refused():
    with pytest.raises(BadInputError, match="auto, cpu"):
        resolve_device("tpu")
    assert resolve_device("cpu") == "cpu"
