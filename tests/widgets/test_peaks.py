"""Peaks in the window: preview, run, maps, dark field, matching, saving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.registration import RegistrationParameters
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.detectors import Detector, Disk, Point
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.peaks_dock import PeaksDock
from napari_diffmap.widgets.workbench import Workbench

SHAPE = (5, 6)
#: One spot that only the right half of the scan has, and one that all have (ky, kx).
RIGHT, ALL = (12.3, 44.6), (48.2, 20.7)


def two_halves() -> Scan:
    rng = np.random.default_rng(2)
    y, x = np.indices((64, 64))

    def spot(place: tuple[float, float], height: float, sigma: float = 1.3) -> np.ndarray:
        return height * np.exp(-0.5 * ((y - place[0]) ** 2 + (x - place[1]) ** 2) / sigma**2)

    image = np.broadcast_to(2 + spot((31.5, 31.5), 500, 1.6) + spot(ALL, 90), (*SHAPE, 64, 64))
    image = image.copy()
    image[:, 3:] += spot(RIGHT, 90)
    axes = (
        Axis("y", 5, 2.0, 0.0, "nm"), Axis("x", 6, 2.0, 0.0, "nm"), Axis("ky", 64), Axis("kx", 64)
    )  # fmt: skip
    counts = rng.poisson(image).astype(np.uint16)
    known = Calibration((31.5, 31.5), 0.02, center_origin="file", pixel_size_origin="file")
    return Scan(da.from_array(counts, chunks=(1, 6, 64, 64)), axes, "4D-STEM", "halves",
                calibration=known)  # fmt: skip


@pytest.fixture
def halves(qtbot: Any, bench: Workbench, settle: Callable[[Workbench], None]) -> Workbench:
    bench.opening.show(two_halves())
    settle(bench)
    return bench


@pytest.fixture
def dock(qtbot: Any, model: ViewerModel, halves: Workbench) -> PeaksDock:
    dock = PeaksDock(model)
    qtbot.addWidget(dock)
    return dock


def registered(qtbot: Any, bench: Workbench, **parameters: Any) -> Any:
    bench.peaks.start(RegistrationParameters(**parameters))
    qtbot.waitUntil(lambda: bench.peaks.state == "idle", timeout=60_000)
    assert bench.peaks.table is not None
    return bench.peaks.table


def test_says_what_is_missing(qtbot: Any, model: ViewerModel, bench: Workbench) -> None:
    dock = PeaksDock(model)
    qtbot.addWidget(dock)
    assert dock.line.full_text() == "Open a scan first."
    assert not dock.start_button.isEnabled()
    for act in (
        bench.peaks.start,
        lambda: bench.peaks.save("x.parquet"),
        bench.peaks.drop_singletons,
    ):
        with pytest.raises(BadInputError):
            act()


def test_the_preview_rings_the_spots_of_the_pattern(
    qtbot: Any, dock: PeaksDock, halves: Workbench, settle: Callable[[Workbench], None]
) -> None:
    drawn = halves.desk.pattern.spots.measured
    halves.session.set_position(2, 1)
    dock.preview.setChecked(True)
    settle(halves)
    assert len(drawn.data) == 1
    np.testing.assert_allclose(drawn.data[0][-2:], ALL, atol=0.3)
    assert dock.facts.full_text().startswith("1 spot · noise 1.")
    halves.session.set_position(2, 4)
    settle(halves)
    assert len(drawn.data) == 2
    assert "2 spots" in dock.facts.full_text()
    dock.form.set_values({"outer": 15.0})  # both lie farther out
    settle(halves)
    assert len(drawn.data) == 0
    dock.preview.setChecked(False)
    settle(halves)
    assert dock.facts.full_text() == ""
    assert len(drawn.data) == 0


def test_registering_shows_the_count_and_says_what_was_found(
    qtbot: Any, dock: PeaksDock, halves: Workbench, model: ViewerModel
) -> None:
    dock.start()
    assert dock.stop_button.isEnabled()
    qtbot.waitUntil(lambda: halves.peaks.state == "idle", timeout=60_000)
    table = halves.peaks.table
    assert table is not None
    layer = model.layers["peaks spot count"]
    np.testing.assert_array_equal(layer.data, table.count_map())
    assert layer.data[:, 3:].min() >= 2
    assert tuple(layer.scale) == (2.0, 2.0)
    assert f"{len(table):,} spots in 30 patterns" in dock.line.full_text()
    for name in ("prominence", "noise", "intensity"):
        dock.map.setCurrentText(name)
        dock.map.textActivated.emit(name)
        assert model.layers[f"peaks {name}"].visible
        assert not layer.visible


def test_dark_field_of_a_picked_spot_follows_the_detector(
    qtbot: Any, dock: PeaksDock, halves: Workbench, model: ViewerModel
) -> None:
    registered(qtbot, halves)
    (key,) = halves.session.add_detectors([Detector("spot", Point(*RIGHT))])
    dock.dark.click()
    image = model.layers["peaks dark field"].data
    assert (image[:, :3] == 0).all()
    assert image[:, 3:].min() > 500
    everywhere = Detector("spot", Disk(*ALL, 6.0))
    halves.session.change_detector(key, everywhere)
    assert model.layers["peaks dark field"].data.min() > 500


def test_the_table_is_used_for_matching(
    qtbot: Any, dock: PeaksDock, halves: Workbench, settle: Callable[[Workbench], None]
) -> None:
    table = registered(qtbot, halves)
    assert halves.session.patterns.peaks is None
    dock.use.click()
    assert halves.session.patterns.peaks is halves.peaks.table
    assert dock.use.isChecked()
    halves.session.set_position(1, 4)
    settle(halves)
    drawn = halves.desk.pattern.spots.measured.data
    assert len(drawn) == len(table.at(1, 4))
    gaps = [np.hypot(*(drawn[:, -2:] - place).T).min() for place in (RIGHT, ALL)]
    assert max(gaps) < 0.5
    halves.session.set_calibration(halves.session.calibration.with_pixel_size(0.04, "entered"))
    assert np.abs(halves.session.patterns.peaks.ky).max() == pytest.approx(
        2 * np.abs(table.ky).max(), rel=1e-5
    )
    settle(halves)
    np.testing.assert_allclose(halves.desk.pattern.spots.measured.data, drawn, atol=1e-3)


def test_singletons_are_dropped(qtbot: Any, dock: PeaksDock, halves: Workbench) -> None:
    before = len(registered(qtbot, halves, false_spots=5.0))
    dock.use.click()
    dock.drop.click()
    qtbot.waitUntil(lambda: halves.peaks.state == "idle", timeout=60_000)
    after = halves.peaks.table
    assert halves.session.patterns.peaks is after, "what is used stays up to date"
    assert len(after) < before
    assert after.count_map().min() >= 1
    assert f"{before - len(after):,} (" in dock.line.full_text()


def test_saved_with_its_true_compression(
    qtbot: Any, dock: PeaksDock, halves: Workbench, tmp_path: Any
) -> None:
    table = registered(qtbot, halves)
    assert "times smaller than the patterns" in dock.stored.full_text(), "before it is saved"
    path = tmp_path / "peaks.parquet"
    with qtbot.waitSignal(_once(halves.peaks.saved), timeout=60_000):
        dock.save(path)
    ratio = 5 * 6 * 64 * 64 * 2 / path.stat().st_size
    assert f"{ratio:.3g} times smaller than the patterns" in dock.stored.full_text()
    assert dock.stored.full_text().startswith("peaks.parquet: ")
    assert len(open_scan(path).peaks) == len(table)


def test_a_stopped_registration_keeps_what_it_found(
    qtbot: Any, dock: PeaksDock, halves: Workbench, monkeypatch: Any
) -> None:
    monkeypatch.setattr("napari_diffmap.jobs.pieces.InProcess._size", lambda _self: 2)
    halves.peaks.progressed.connect(
        lambda progress: progress.message == "registering" and halves.peaks.stop()
    )
    dock.start()
    qtbot.waitUntil(lambda: halves.peaks.state == "idle", timeout=60_000)
    run = halves.peaks.last
    if run is None:  # stopped before the first piece
        assert halves.peaks.table is None
        return
    assert run.error is None or 0 < run.done.sum() <= run.done.size


def test_another_scan_has_other_peaks(
    qtbot: Any, dock: PeaksDock, halves: Workbench, settle: Callable[[Workbench], None],
    model: ViewerModel,
) -> None:  # fmt: skip
    registered(qtbot, halves)
    halves.opening.show(two_halves())
    settle(halves)
    assert halves.peaks.table is None
    assert not any(layer.name.startswith("peaks") for layer in model.layers)
    assert not dock.save_button.isEnabled()


def _once(signal: Any) -> Any:
    """A Qt signal that repeats a psygnal one."""
    from qtpy.QtCore import QObject, Signal

    class Relay(QObject):
        fired = Signal()

    relay = Relay()
    signal.connect(lambda *_: relay.fired.emit())
    _RELAYS.append(relay)
    return relay.fired


_RELAYS: list[Any] = []
