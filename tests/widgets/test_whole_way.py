"""The whole way by mouse and keyboard in a real window: open, look, map, overlay, save."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

from driver import LEFT, Canvas
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.stalls import StallProbe
from napari_diffmap.widgets.workspace import arrange, docks_of, show_dock

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(900)]

#: Where the pictures go; those of the README show the whole sample.
SCREENSHOTS = os.environ.get("DIFFMAP_SCREENSHOTS")
#: Otherwise a corner of the bundled sample where a LiNiO2 and a NiO grain meet.
ROWS, COLUMNS = (slice(64), slice(64)) if SCREENSHOTS else (slice(20, 28), slice(20, 30))


@pytest.fixture(scope="module")
def truth() -> Any:
    from napari_diffmap.crystal.sample import build_truth

    return build_truth()


@pytest.fixture(scope="module")
def scan_file(truth: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as a file, with step, pixel size and voltage but without a centre."""
    from napari_diffmap.crystal import sample
    from napari_diffmap.scan.open import save_scan

    counts = sample.simulate_rows(truth, ROWS)[:, COLUMNS]
    k = sample.PIXEL_SIZE
    axes = (
        Axis("y", counts.shape[0], sample.STEP_NM, 0.0, "nm"),
        Axis("x", counts.shape[1], sample.STEP_NM, 0.0, "nm"),
        Axis("ky", counts.shape[2], k, 0.0, "1/Å"),
        Axis("kx", counts.shape[3], k, 0.0, "1/Å"),
    )
    calibration = Calibration(None, k, sample.VOLTAGE_KV, "missing", "file", "file")
    name = "LiNiO2 polycrystal"
    scan = Scan(da.from_array(counts), axes, "4D-STEM", name, calibration=calibration)
    path = tmp_path_factory.mktemp("scan") / f"{name}.hspy"
    save_scan(scan, path)
    return path


@pytest.fixture
def picture(viewer: Any, tmp_path: Path) -> Callable[[str], None]:
    folder = Path(SCREENSHOTS or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> None:
        path = folder / f"{name}.png"
        viewer.window.screenshot(str(path), canvas_only=False, flash=False)
        assert path.stat().st_size > 10_000

    return take


#: What our code may take of the window's thread at a time (s of the processor).
MOST_STALL = 0.05


@pytest.fixture
def stalled(
    record_testsuite_property: Any,
    slowness: Callable[[], float],
    too_slow: Callable[[str], Exception],
) -> Generator[Callable[..., None], None, None]:
    """Looks at how long our code kept the window from answering since the last look."""
    probe = StallProbe()
    probe.start()
    pace = [slowness()]

    def look(name: str, *, bounded: bool = True) -> None:
        stalls = probe.take()
        pace.append(slowness())
        slow = max(pace[-2:])
        longest = stalls[0].ours / slow if stalls else 0.0
        record_testsuite_property(f"longest stall of ours, {name}, ms", round(1e3 * longest, 1))
        if bounded and longest >= MOST_STALL:
            raise too_slow(f"{name}, {slow:.1f} times slower: {stalls[0].text()}")

    yield look
    probe.stop()


def test_the_whole_way(
    viewer: Any,
    qtbot: Any,
    scan_file: Path,
    truth: Any,
    picture: Callable[[str], None],
    tmp_path: Path,
    stalled: Callable[..., None],
) -> None:
    real = viewer.__wrapped__
    bench = arrange(viewer)
    session = bench.session
    docks = docks_of(viewer)
    scan_dock, map_dock = docks["Scan"].widget(), docks["Map"].widget()
    qtbot.waitUntil(lambda: not bench.runner.busy, timeout=120_000)
    stalled("docks are made", bounded=False)

    def quiet() -> bool:
        return not bench.runner.busy

    # ---------------------------------------------------------------- open
    scan_dock.open(scan_file)
    qtbot.waitUntil(lambda: "BF" in viewer.layers and quiet(), timeout=120_000)
    counts = np.asarray(session.scan.data)
    assert session.calibration.center == pytest.approx((63.2, 64.1), abs=2)
    stalled("open")
    picture("1-open")

    # ------------------------------------------------- click, drag and keys
    sample = Canvas(real.window._qt_viewer, real)
    pattern = Canvas(bench.docks["Pattern"].canvas, bench.desk.pattern.model)
    sample.click((5 * 4.0, 3 * 4.0))
    qtbot.waitUntil(lambda: session.position == (5, 3))
    sample.drag((5 * 4.0, 3 * 4.0), (2 * 4.0, 8 * 4.0))
    assert session.position == (2, 8)
    sample.native.setFocus()
    QTest.keyClick(sample.native, Qt.Key.Key_Down)
    QTest.keyClick(sample.native, Qt.Key.Key_Left)
    assert session.position == (3, 7)
    qtbot.waitUntil(lambda: bench.desk.pattern.model.dims.current_step[:2] == (3, 7))
    assert np.array_equal(bench.desk.pattern.counts(), counts[3, 7])

    # ------------------------------------------------------ a region's mean
    stalled("click")
    qtbot.mouseClick(scan_dock.region_buttons["rectangle"], LEFT)
    qtbot.wait(20)
    sample.drag((4 * 4.0 - 1.5, 1 * 4.0 - 1.5), (6 * 4.0 + 1.5, 4 * 4.0 + 1.5))
    qtbot.waitUntil(lambda: session.region is not None and quiet())
    expected = np.zeros(session.grid, dtype=bool)
    expected[4:7, 1:5] = True
    assert np.array_equal(session.region, expected)
    assert np.allclose(bench.desk.pattern.counts(), counts[expected].mean(axis=0))
    picture("2-region")
    qtbot.mouseClick(scan_dock.clear_button, LEFT)

    stalled("region")
    # ------------------------------------------------------ drag a detector
    bright = session.detectors[0]
    key, shape = bright.key, bright.detector.shape
    images: list[NDArray[np.float32]] = []
    bench.desk.virtual.image_changed.connect(lambda _key, image: images.append(image))

    def world(y: float, x: float) -> tuple[float, float]:
        return tuple(bench.desk.pattern.beam.data_to_world((y, x)))  # type: ignore[return-value]

    pattern.drag(world(shape.cy, shape.cx), world(shape.cy - 20, shape.cx + 14))
    qtbot.waitUntil(lambda: quiet() and not bench.desk.virtual.stale)
    moved = session.listed(key).detector.shape
    assert (moved.cy, moved.cx) == pytest.approx((shape.cy - 20, shape.cx + 14), abs=0.5)
    assert moved.r1 == shape.r1
    assert len(images) >= 2
    y, x = np.mgrid[: counts.shape[2], : counts.shape[3]]
    inside = np.hypot(y - moved.cy, x - moved.cx) <= moved.r1
    assert np.array_equal(viewer.layers["BF"].data, counts[..., inside].sum(axis=-1))
    stalled("drag")
    picture("3-detector")

    # ------------------------------------------------------------------ map
    show_dock(viewer, "Map")
    map_dock.add_phases(["LiNiO2", "NiO"])
    qtbot.waitUntil(map_dock.map_button.isEnabled, timeout=120_000)
    beats: list[int] = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(1))
    timer.start(20)
    lines: list[str] = []
    bench.run.progressed.connect(lambda progress: lines.append(progress.text()))
    qtbot.mouseClick(map_dock.map_button, LEFT)
    assert bench.run.state == "running"
    qtbot.waitUntil(lambda: bool(lines) and "mapping" in lines[-1], timeout=120_000)
    qtbot.waitUntil(lambda: bench.run.state == "idle", timeout=240_000)
    qtbot.waitUntil(lambda: bench.maps.layer("ambiguity") is not None and quiet(), timeout=120_000)
    timer.stop()
    assert len(beats) > 20
    n = session.grid[0] * session.grid[1]
    assert f"{n} of {n} positions" in map_dock.line.full_text()
    stalled("map")
    picture("4-map")

    # ------------------------------------------------------------- overlays
    found = session.map
    single = truth.single[ROWS, COLUMNS]
    right = found.best_phase_ids == truth.phase_ids[ROWS, COLUMNS]
    assert right[single].mean() > 0.9
    assert len(viewer.layers["phase boundary"].data) > 0
    for name in ("IPF-X", "phases", "score"):
        map_dock.show_row.base.setCurrentText(name)
        qtbot.wait(20)
        assert viewer.layers[name].visible
        assert not viewer.layers["IPF-Z"].visible
    map_dock.show_row.base.setCurrentText("IPF-Z")
    map_dock.show_row.ambiguity.setChecked(True)
    assert viewer.layers["ambiguity"].visible
    before = len(viewer.layers["low-angle boundaries"].data)
    map_dock.show_row.low.setValue(0.2)
    qtbot.waitUntil(lambda: len(viewer.layers["low-angle boundaries"].data) != before)
    show_dock(viewer, "Key")
    key_view = docks["Key"].widget()
    qtbot.waitUntil(lambda: set(key_view.keys) == {"LiNiO2", "NiO"})
    assert all(not label.pixmap().isNull() for label in key_view.keys.values())
    assert "0.2–15°" in key_view.legend.text()
    map_dock.show_row.low.setValue(2.0)
    qtbot.waitUntil(lambda: len(viewer.layers["low-angle boundaries"].data) == before)
    assert "2–15°" in key_view.legend.text()
    picture("5-key")

    # ----------------------------------------------- the answer of one pixel
    sample.click((4 * 4.0, 2 * 4.0))
    qtbot.waitUntil(lambda: session.position == (4, 2) and quiet())
    spots = bench.desk.pattern.spots.simulated
    qtbot.waitUntil(lambda: len(spots.data) > 3, timeout=60_000)
    answer = bench.docks["Pattern"].answer
    assert answer.isVisible()
    assert "LiNiO2" in answer.text()
    picture("6-answer")

    # ----------------------------------------------------------------- save
    stalled("look at the map")
    from orix import io

    saved: list[Any] = []
    bench.run.saved.connect(saved.append)
    map_dock.save(tmp_path / "out")
    qtbot.waitUntil(lambda: bool(saved), timeout=120_000)
    names = {path.name for path in saved[0]}
    assert {"orientation.h5", "orientation.ang", "ipf-z.png", "score.tif"} <= names
    stalled("save")
    loaded = io.load(tmp_path / "out" / "orientation.h5")
    assert loaded.shape == session.grid
    assert set(loaded.phases.names) >= {"LiNiO2", "NiO"}
