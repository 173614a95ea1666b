"""Starting, holding, stopping and failing of a map; the matcher itself is real."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[[Workbench], None]
PIXEL = 0.0225


@pytest.fixture(scope="module")
def rows() -> Any:
    """Two rows of the bundled sample, 24 positions."""
    from napari_diffmap.crystal.sample import build_truth, simulate_rows

    return simulate_rows(build_truth(), slice(22, 24))[:, 18:30]


def scan_of(counts: Any) -> Scan:
    y, x, ky, kx = counts.shape
    axes = (
        Axis("y", y, 4.0, 0, "nm"),
        Axis("x", x, 4.0, 0, "nm"),
        Axis("ky", ky, PIXEL, 0, "1/Å"),
        Axis("kx", kx, PIXEL, 0, "1/Å"),
    )
    calibration = Calibration(None, PIXEL, 200.0, "missing", "file", "file")
    return Scan(da.from_array(counts), axes, "4D-STEM", "rows", calibration=calibration)


@pytest.fixture
def ready(bench: Workbench, settle: Settle, rows: Any) -> Workbench:
    from napari_diffmap.crystal.phases import load_phases

    bench.opening.show(scan_of(rows))
    settle(bench)
    bench.session.set_phases(load_phases(["LiNiO2", "NiO"]))
    return bench


def coarse() -> Any:
    """Settings that make the library small: these tests are about the window."""
    from napari_diffmap.methods.orientation import OrientationParameters

    return OrientationParameters(zone_step_deg=8, n_best=1, refine=False)


def mapped(bench: Workbench) -> int:
    live = bench.maps._live
    return 0 if live is None else int((live[..., 3] > 0).sum())


def test_refuses_before_anything_runs(bench: Workbench) -> None:
    with pytest.raises(BadInputError, match="Open a scan first"):
        bench.run.start()
    assert bench.run.state == "idle"


def test_a_map_ends_in_layers(
    qtbot: Any, ready: Workbench, settle: Settle, notes: list[tuple[str, str]]
) -> None:
    states: list[str] = []
    progress: list[Any] = []
    ready.run.state_changed.connect(states.append)
    ready.run.progressed.connect(progress.append)
    shown: list[bool] = []
    ready.maps.shown.connect(lambda: shown.append(True))
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    assert not [line for severity, line in notes if severity == "error"]
    qtbot.waitUntil(lambda: bool(shown), timeout=60_000)
    assert states == ["running", "idle"]
    assert progress[-1].done == progress[-1].total == 24
    assert ready.session.map is not None
    assert ready.session.map.shape == (2, 12)
    assert ready.run.last is not None
    assert ready.run.last.result.complete
    assert ready.maps.layer("IPF-Z") is not None
    settle(ready)


def test_a_second_start_is_refused(qtbot: Any, ready: Workbench, settle: Settle) -> None:
    ready.run.start(coarse())
    with pytest.raises(BadInputError, match="running"):
        ready.run.start(coarse())
    ready.run.stop()
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    settle(ready)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real matcher, one position at a time with a rest after each."""
    from napari_diffmap.jobs.pieces import InProcess
    from napari_diffmap.methods.orientation import OrientationMethod

    run = OrientationMethod.run

    def slowly(self: Any, tile: Any) -> Any:
        time.sleep(0.05)
        return run(self, tile)

    monkeypatch.setattr(InProcess, "_size", lambda _self: 1)
    monkeypatch.setattr(OrientationMethod, "run", slowly)


def test_pause_holds_and_resume_goes_on(
    qtbot: Any, ready: Workbench, settle: Settle, slow: None
) -> None:
    done: list[int] = []
    ready.run.progressed.connect(lambda p: p.message == "mapping" and done.append(p.done))
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: bool(done) and done[-1] >= 2, timeout=60_000)
    ready.run.pause()
    qtbot.wait(1000)
    held = done[-1]
    qtbot.wait(400)
    assert done[-1] == held < 24
    assert ready.run.state == "paused"
    ready.run.resume()
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    assert done[-1] == 24
    settle(ready)


def test_stop_acts_within_a_second_and_keeps_what_is_done(
    qtbot: Any,
    ready: Workbench,
    settle: Settle,
    slow: None,
    notes: list[tuple[str, str]],
    within: Callable[..., Any],
) -> None:
    done: list[int] = []
    ready.run.progressed.connect(lambda p: p.message == "mapping" and done.append(p.done))
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: bool(done) and done[-1] >= 3, timeout=60_000)
    with within(1.0):
        ready.run.stop()
        qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    assert ready.session.map is not None
    assert 3 <= int(ready.session.map.indexed.sum()) < 24
    assert ("info", "stopped; what was mapped so far is kept") in notes
    settle(ready)


def test_a_stopped_map_goes_on(
    qtbot: Any, ready: Workbench, settle: Settle, slow: None, notes: list[tuple[str, str]]
) -> None:
    """Resume maps what is left; the whole is what an uninterrupted run finds."""
    done: list[int] = []
    ready.run.progressed.connect(lambda p: p.message == "mapping" and done.append(p.done))
    assert not ready.run.resumable
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: bool(done) and done[-1] >= 3, timeout=60_000)
    ready.run.stop()
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    settle(ready)
    assert ready.run.resumable
    kept = int(ready.run.last.result.done.sum())  # type: ignore[union-attr]
    with pytest.raises(BadInputError, match="changed since"):
        ready.run.start(coarse().model_copy(update={"zone_step_deg": 7.0}), resume=True)
    done.clear()
    ready.run.start(coarse(), resume=True)
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    assert done[0] == kept
    assert done[-1] == 24
    assert not ready.run.resumable
    found = ready.session.map
    settle(ready)
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    assert found is not None
    assert ready.session.map is not None
    np.testing.assert_array_equal(found.rotations, ready.session.map.rotations)
    np.testing.assert_array_equal(found.reliability, ready.session.map.reliability)
    settle(ready)


def test_the_button_resumes_a_stopped_map(
    qtbot: Any, model: Any, ready: Workbench, settle: Settle, slow: None
) -> None:
    from napari_diffmap.widgets.map_dock import MapDock

    done: list[int] = []
    ready.run.progressed.connect(lambda p: p.message == "mapping" and done.append(p.done))
    dock = MapDock(model)
    qtbot.addWidget(dock)
    assert (dock.pause_button.text(), dock.pause_button.isEnabled()) == ("Pause", False)
    dock.start()
    qtbot.waitUntil(lambda: bool(done) and done[-1] >= 3, timeout=60_000)
    dock.stop_button.click()
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    settle(ready)
    assert (dock.pause_button.text(), dock.pause_button.isEnabled()) == ("Resume", True)
    dock.pause_button.click()
    assert ready.run.state == "running"
    assert dock.pause_button.text() == "Pause"
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    assert done[-1] == 24
    settle(ready)
    assert (dock.pause_button.text(), dock.pause_button.isEnabled()) == ("Pause", False)


def test_a_run_that_maps_nothing_keeps_the_earlier_map(
    qtbot: Any,
    ready: Workbench,
    settle: Settle,
    notes: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_diffmap.methods.orientation import OrientationMethod

    ready.run.start(coarse())
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    settle(ready)
    first, run, method = ready.session.map, ready.run.last, ready.run.method
    assert first is not None
    assert method is not None

    prepare = OrientationMethod.prepare

    def stopping(self: Any, *args: Any, **options: Any) -> None:
        ready.run._control.stop()  # type: ignore[union-attr]
        prepare(self, *args, **options)

    def broken(self: Any, *_: Any, **__: Any) -> None:
        raise MemoryError

    for prepared, line in (
        (stopping, "stopped before the first position was mapped; the earlier map is kept"),
        (broken, "out of memory"),
    ):
        monkeypatch.setattr(OrientationMethod, "prepare", prepared)
        ready.run.start(coarse())
        assert ready.run.method is method
        qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
        settle(ready)
        assert any(line in said for _, said in notes)
        assert (ready.session.map, ready.run.last, ready.run.method) == (first, run, method)
        qtbot.waitUntil(lambda: ready.maps.layer("ambiguity") is not None)
        assert np.asarray(ready.maps.layer("IPF-Z").data)[..., 3].any()  # type: ignore[union-attr]


def test_an_error_is_one_line_and_leaves_what_was_done(
    qtbot: Any,
    ready: Workbench,
    settle: Settle,
    monkeypatch: pytest.MonkeyPatch,
    slow: None,
    notes: list[tuple[str, str]],
) -> None:
    from napari_diffmap.methods.orientation import OrientationMethod

    run = OrientationMethod.run
    calls: list[int] = []

    def failing(self: Any, tile: Any) -> Any:
        calls.append(1)
        if len(calls) > 5:
            # What torch raises when the device is full is a RuntimeError too.
            raise RuntimeError("CUDA error: an illegal memory access\nsecond line")
        return run(self, tile)

    monkeypatch.setattr(OrientationMethod, "run", failing)
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    errors = [message for severity, message in notes if severity == "error"]
    assert len(errors) == 1
    assert "illegal memory access" in errors[0]
    assert "\n" not in errors[0]
    assert ready.session.map is not None
    assert int(ready.session.map.indexed.sum()) == 5
    settle(ready)


def test_an_error_while_preparing_leaves_no_empty_map(
    qtbot: Any, ready: Workbench, settle: Settle, notes: list[tuple[str, str]], monkeypatch: Any
) -> None:
    from napari_diffmap.methods.orientation import OrientationMethod

    def broken(self: Any, *_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(OrientationMethod, "prepare", broken)
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    assert any(severity == "error" and "out of memory" in line for severity, line in notes)
    assert ready.session.map is None
    assert ready.maps.layer("IPF-Z") is None
    settle(ready)


def test_another_scan_ends_the_run(
    qtbot: Any, ready: Workbench, settle: Settle, slow: None, rows: Any
) -> None:
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: mapped(ready) > 0, timeout=60_000)
    ready.opening.show(scan_of(np.asarray(rows[:, :5])))
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    settle(ready)
    assert ready.session.map is None
    assert ready.maps.layer("IPF-Z") is None


def test_saving_writes_what_others_open(
    qtbot: Any,
    ready: Workbench,
    settle: Settle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from orix import io

    from napari_diffmap.jobs import results

    ready.run.start(coarse())
    qtbot.waitUntil(lambda: ready.session.map is not None, timeout=60_000)
    settle(ready)
    ready.maps.set_thresholds(0.5, 40.0)
    drawn: list[Any] = []
    draw = results.save_boundaries_png
    monkeypatch.setattr(
        results,
        "save_boundaries_png",
        lambda m, p, b, **more: (drawn.append(b), draw(m, p, b, **more))[1],
    )
    saved: list[Any] = []
    ready.run.saved.connect(saved.append)
    ready.run.save(tmp_path / "new folder")
    qtbot.waitUntil(lambda: bool(saved), timeout=60_000)
    assert all(path.stat().st_size > 0 for path in saved[0])
    assert [(b.low, b.high) for b in drawn] == [(0.5, 40.0)]
    assert io.load(tmp_path / "new folder" / "orientation.h5").shape == (2, 12)
    assert io.load(tmp_path / "new folder" / "orientation.ang").shape == (2, 12)


def test_a_folder_that_cannot_be_written_is_one_line(
    qtbot: Any, ready: Workbench, settle: Settle, tmp_path: Path, notes: list[tuple[str, str]]
) -> None:
    ready.run.start(coarse())
    qtbot.waitUntil(lambda: ready.session.map is not None, timeout=60_000)
    settle(ready)
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    ready.run.save(blocked / "out")
    qtbot.waitUntil(lambda: any(severity == "error" for severity, _ in notes), timeout=60_000)
    (line,) = [said for severity, said in notes if severity == "error"]
    assert line.endswith("choose another folder")
    assert "--" not in line
    assert "\n" not in line
    assert ready.session.map is not None


def test_the_same_map_from_worker_processes(
    qtbot: Any, ready: Workbench, settle: Settle, notes: list[tuple[str, str]]
) -> None:
    pytest.importorskip("distributed")
    maps = []
    for scheduler in (None, "local:1"):
        ready.run.start(coarse(), scheduler=scheduler)
        qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=120_000)
        assert not [line for severity, line in notes if severity == "error"]
        assert ready.run.last is not None
        assert ready.run.last.result.complete
        maps.append(ready.run.last)
        settle(ready)
    here, there = (run.map for run in maps)
    np.testing.assert_array_equal(here.rotations, there.rotations)
    np.testing.assert_array_equal(here.reliability, there.reliability)
    assert "1 workers at local:1" in maps[1].summary["device"]


def test_a_cluster_that_is_not_there_is_one_line(
    qtbot: Any,
    ready: Workbench,
    settle: Settle,
    notes: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("napari_diffmap.jobs.cluster._CONNECT", 1.0)
    ready.run.start(coarse(), scheduler="tcp://127.0.0.1:1")
    qtbot.waitUntil(lambda: ready.run.state == "idle", timeout=60_000)
    (line,) = [line for severity, line in notes if severity == "error"]
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in line
    settle(ready)
