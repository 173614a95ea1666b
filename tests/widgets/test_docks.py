"""Docks as thin views over the controllers; no viewer window needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QCheckBox, QComboBox, QWidget

from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.calibrate_dock import CalibrateDock
from napari_diffmap.widgets.doubt_dock import DoubtDock
from napari_diffmap.widgets.grains_dock import GrainsDock
from napari_diffmap.widgets.key_view import KeyView
from napari_diffmap.widgets.labels_dock import LabelsDock
from napari_diffmap.widgets.map_dock import MapDock
from napari_diffmap.widgets.models_dock import ModelsDock
from napari_diffmap.widgets.peaks_dock import PeaksDock
from napari_diffmap.widgets.scan_dock import ScanDock
from napari_diffmap.widgets.workbench import Workbench


@pytest.fixture
def scan_dock(qtbot: Any, model: ViewerModel, bench: Workbench) -> ScanDock:
    dock = ScanDock(model)
    qtbot.addWidget(dock)
    dock.show()
    return dock


@pytest.fixture
def calibrate(qtbot: Any, model: ViewerModel, shown: Workbench) -> CalibrateDock:
    dock = CalibrateDock(model)
    qtbot.addWidget(dock)
    return dock


@pytest.fixture
def map_dock(qtbot: Any, model: ViewerModel, bench: Workbench) -> MapDock:
    dock = MapDock(model)
    qtbot.addWidget(dock)
    return dock


DOCKS = [
    *(ScanDock, CalibrateDock, PeaksDock, MapDock, DoubtDock),
    *(GrainsDock, LabelsDock, ModelsDock, KeyView),
]


@pytest.mark.parametrize("make", DOCKS)
def test_every_control_says_what_it_does(
    qtbot: Any, model: ViewerModel, shown: Workbench, make: Callable[[Any], QWidget]
) -> None:
    dock = make(model)
    qtbot.addWidget(dock)
    controls = [
        control
        for kind in (QAbstractButton, QAbstractSpinBox, QComboBox)
        for control in dock.findChildren(kind)
        if not control.objectName().startswith("qt_")
        and type(control.parent()).__name__
        not in ("QTableView", "QTableWidget", "QMenu", "QTabBar")
    ]
    silent = [control for control in controls if not control.toolTip()]
    assert controls or make is KeyView
    assert not silent, [(type(c).__name__, getattr(c, "text", str)()) for c in silent]


# -------------------------------------------------------------------- scan
def test_says_what_is_missing(scan_dock: ScanDock) -> None:
    assert scan_dock.name.full_text().startswith("Open a scan")
    assert not any(button.isEnabled() for button in scan_dock.detectors.buttons.values())
    assert not any(button.isEnabled() for button in scan_dock.region_buttons.values())
    assert not scan_dock.shape_button.isEnabled()


def test_axes_and_calibration_are_shown(
    scan_dock: ScanDock, bench: Workbench, scan: Scan, settle: Callable[[Workbench], None]
) -> None:
    bench.opening.show(scan)
    settle(bench)
    rows = [
        [scan_dock.axes.item(r, c).text() for c in range(4)]  # type: ignore[union-attr]
        for r in range(scan_dock.axes.rowCount())
    ]
    assert rows == [
        ["y", "9", "5", "nm"],
        ["x", "8", "5", "nm"],
        ["ky", "32", "0.04", "1/Å"],
        ["kx", "32", "0.04", "1/Å"],
    ]
    assert "(measured)" in scan_dock.calibration.text()
    assert "200 kV (file)" in scan_dock.calibration.text()
    assert "4D-STEM · uint16" in scan_dock.name.full_text()


def test_what_was_said_of_a_scan_stays_until_the_next(
    scan_dock: ScanDock, shown: Workbench, make_scan: Callable[..., Scan]
) -> None:
    shown.opening.show(make_scan(warnings=("half the frames are missing",)))
    shown.session.message.emit("virtual image: the file is gone")
    assert scan_dock.notes.text().splitlines() == [
        "⚠ half the frames are missing",
        "⚠ virtual image: the file is gone",
    ]
    assert scan_dock.notes.isVisibleTo(scan_dock)
    for number in range(4):
        shown.session.message.emit(f"line {number}")
    assert scan_dock.notes.text().splitlines() == ["⚠ line 1", "⚠ line 2", "⚠ line 3"]
    assert "half the frames are missing" in scan_dock.notes.toolTip()
    shown.opening.show(make_scan())
    assert not scan_dock.notes.isVisibleTo(scan_dock)


def test_the_list_mirrors_the_detectors(
    qtbot: Any, scan_dock: ScanDock, shown: Workbench, settle: Callable[[Workbench], None]
) -> None:
    table, session = scan_dock.detectors.table, shown.session
    qtbot.mouseClick(scan_dock.detectors.buttons["ADF"], Qt.MouseButton.LeftButton)
    qtbot.mouseClick(scan_dock.detectors.buttons["annulus"], Qt.MouseButton.LeftButton)
    settle(shown)
    assert table.rowCount() == 3
    assert [item.detector.name for item in session.detectors] == ["BF", "ADF", "annulus"]
    eye, _, name, response, remove = (table.cellWidget(1, c) for c in range(5))
    assert isinstance(response, QComboBox)
    response.setCurrentIndex(response.findData("com_x"))
    assert session.detectors[1].detector.response == "com_x"
    assert isinstance(eye, QCheckBox)
    eye.setChecked(False)
    assert not session.detectors[1].visible
    name.setFocus()
    name.clear()  # type: ignore[union-attr]
    qtbot.keyClicks(name, "dark field")
    qtbot.keyClick(name, Qt.Key.Key_Return)
    assert session.detectors[1].detector.name == "dark field"
    qtbot.mouseClick(remove, Qt.MouseButton.LeftButton)
    assert [item.detector.name for item in session.detectors] == ["BF", "annulus"]
    assert table.rowCount() == 2


def test_a_wrong_guess_is_mended(
    scan_dock: ScanDock, bench: Workbench, settle: Callable[[Workbench], None], tmp_path: Path
) -> None:
    data = np.random.default_rng(0).poisson(20, (6, 40, 40)).astype(np.uint16)
    np.save(tmp_path / "stack.npy", data)
    scan_dock.open(tmp_path / "stack.npy")
    settle(bench)
    assert bench.session.scan is not None
    guess = bench.session.scan.kind
    assert scan_dock.kind.currentText() == guess
    assert not scan_dock.kind.isHidden()
    scan_dock.kind.setCurrentText("image series")
    scan_dock.kind.activated.emit(scan_dock.kind.currentIndex())
    settle(bench)
    assert bench.session.scan.kind == "image series"
    assert bench.session.stack is not None


def test_colours_reach_the_detector(scan_dock: ScanDock, shown: Workbench) -> None:
    key = shown.session.detectors[0].key
    scan_dock.detectors.set_color(key, "#009e73")
    assert shown.session.detectors[0].detector.color == "#009e73"


def test_regions_are_started_and_cleared(
    qtbot: Any, scan_dock: ScanDock, shown: Workbench, settle: Callable[[Workbench], None]
) -> None:
    qtbot.mouseClick(scan_dock.region_buttons["lasso"], Qt.MouseButton.LeftButton)
    region = shown.desk.sample.region
    assert region is not None
    assert region.mode == "add_polygon_lasso"
    shown.session.set_region(np.ones(shown.session.grid, dtype=bool))
    settle(shown)
    assert scan_dock.clear_button.isEnabled()
    qtbot.mouseClick(scan_dock.clear_button, Qt.MouseButton.LeftButton)
    assert shown.session.region is None
    assert not scan_dock.clear_button.isEnabled()


# --------------------------------------------------------------- calibrate
def type_into(qtbot: Any, box: Any, text: str) -> None:
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, text)
    qtbot.keyClick(box, Qt.Key.Key_Return)


def test_the_state_says_where_values_came_from(calibrate: CalibrateDock) -> None:
    assert {name: label.text() for name, label in calibrate.origins.items()} == {
        "center": "measured",
        "pixel_size": "file",
        "ellipse": "not set",
        "rotation": "not set",
        "voltage": "file",
    }


def test_entered_values_are_used(qtbot: Any, calibrate: CalibrateDock, shown: Workbench) -> None:
    type_into(qtbot, calibrate.voltage, "300")
    type_into(qtbot, calibrate.pixel_size, "0.05")
    calibration = shown.session.calibration
    assert calibration.voltage_kv == 300
    assert calibration.voltage_origin == "entered"
    assert calibration.pixel_size == pytest.approx(0.05)
    assert shown.session.patterns is not None
    assert shown.session.patterns.axes[3].scale == pytest.approx(0.05)
    assert "0.01969 Å" in calibrate.facts.full_text()


def test_the_centre_of_a_detector_can_be_taken(
    qtbot: Any, calibrate: CalibrateDock, shown: Workbench
) -> None:
    shown.desk.add_shape("rectangle")
    shown.desk.detectors.nudge(2, -3)
    expected = shown.session.detectors[-1].detector.shape.center
    qtbot.mouseClick(calibrate.take, Qt.MouseButton.LeftButton)
    assert shown.session.calibration.center == pytest.approx(expected)
    assert shown.session.calibration.center_origin == "entered"


def test_the_beam_is_found_again(
    qtbot: Any, calibrate: CalibrateDock, shown: Workbench, settle: Callable[[Workbench], None]
) -> None:
    shown.session.set_calibration(shown.session.calibration.with_center((3, 3), "entered"))
    qtbot.mouseClick(calibrate.find, Qt.MouseButton.LeftButton)
    settle(shown)
    assert shown.session.calibration.center == pytest.approx((15.6, 16.3), abs=0.3)


def test_an_impossible_voltage_is_refused_in_one_line(
    calibrate: CalibrateDock, shown: Workbench, notes: list[tuple[str, str]]
) -> None:
    calibrate.voltage.setValue(0.2)
    calibrate.voltage.editingFinished.emit()
    assert shown.session.calibration.voltage_kv == 200
    assert notes[-1][0] == "error"
    assert "kV" in notes[-1][1]
    assert calibrate.voltage.value() == 200


# --------------------------------------------------------------------- map
def test_the_map_says_what_it_needs(
    map_dock: MapDock, bench: Workbench, scan: Scan, settle: Callable[[Workbench], None]
) -> None:
    assert map_dock.line.full_text() == "Open a scan first."
    bench.opening.show(scan)
    settle(bench)
    assert map_dock.line.full_text().startswith("Add a phase first")
    assert not map_dock.map_button.isEnabled()
    map_dock.add_phases(["LiNiO2"])
    settle(bench)
    assert map_dock.line.full_text() == "Ready: press Map."
    assert map_dock.map_button.isEnabled()


def test_a_missing_voltage_is_named(
    map_dock: MapDock,
    bench: Workbench,
    make_scan: Callable[..., Scan],
    settle: Callable[[Workbench], None],
) -> None:
    from napari_diffmap.scan.calibration import Calibration

    bench.opening.show(make_scan(calibration=Calibration()))
    map_dock.add_phases(["LiNiO2"])
    settle(bench)
    assert "pixel size and the voltage" in map_dock.line.full_text()
    assert not map_dock.map_button.isEnabled()


@pytest.mark.parametrize(
    ("kind", "names", "said"),
    [
        ("STXM", ("energy", "y", "x"), "this scan (STXM) has none"),
        ("pattern stack", ("frame", "ky", "kx"), "Press Scan shape in the Scan dock"),
    ],
)
def test_a_scan_without_a_grid_of_patterns_gets_advice_that_works(
    map_dock: MapDock,
    bench: Workbench,
    settle: Callable[[Workbench], None],
    kind: Any,
    names: tuple[str, ...],
    said: str,
) -> None:
    import dask.array as da

    from napari_diffmap.scan.axes import Axis

    axes = tuple(Axis(name, n) for name, n in zip(names, (3, 8, 9), strict=True))
    bench.opening.show(Scan(da.ones((3, 8, 9)), axes, kind, "other"))
    settle(bench)
    assert said in map_dock.line.full_text()
    assert not map_dock.map_button.isEnabled()


def test_the_bar_and_the_line_agree(map_dock: MapDock, bench: Workbench) -> None:
    from napari_diffmap.jobs.control import Progress

    bench.run.progressed.emit(Progress(done=75, total=1000, seconds=1.0, message="mapping"))
    assert map_dock.progress.text() == "8 %"


def test_phases_are_added_and_removed(
    map_dock: MapDock, bench: Workbench, settle: Callable[[Workbench], None]
) -> None:
    map_dock.add_phases(["LiNiO2", "NiO"])
    settle(bench)
    assert [phase.name for phase in bench.session.phases] == ["LiNiO2", "NiO"]
    assert len({phase.color for phase in bench.session.phases}) == 2
    assert map_dock.phases.count() == 2
    map_dock.phases.setCurrentRow(0)
    map_dock.remove_phase()
    assert [phase.name for phase in bench.session.phases] == ["NiO"]


def test_a_broken_cif_is_one_line_and_leaves_the_list(
    map_dock: MapDock,
    bench: Workbench,
    settle: Callable[[Workbench], None],
    notes: list[tuple[str, str]],
    tmp_path: Path,
) -> None:
    map_dock.add_phases(["NiO"])
    settle(bench)
    path = tmp_path / "empty.cif"
    path.write_text("", encoding="utf-8")
    map_dock.add_phases([str(path)])
    settle(bench)
    assert [phase.name for phase in bench.session.phases] == ["NiO"]
    errors = [message for severity, message in notes if severity == "error"]
    assert len(errors) == 1
    assert "empty.cif" in errors[0]
    assert "\n" not in errors[0]


# --------------------------------------------------------------------- key
def test_the_key_says_what_it_waits_for(qtbot: Any, model: ViewerModel, bench: Workbench) -> None:
    view = KeyView(model)
    qtbot.addWidget(view)
    assert "Map orientations first" in view.message.text()
    assert not view.message.isHidden()


# --------------------------------------------------------------------- key
def test_shares_of_a_partial_map_are_of_what_was_mapped(
    qtbot: Any, model: ViewerModel, bench: Workbench, settle: Callable[[Workbench], None]
) -> None:
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.maps import OrientationMap

    view = KeyView(model)
    qtbot.addWidget(view)
    rotations = np.zeros((4, 5, 1, 4), dtype=np.float32)
    rotations[..., 0] = 1
    ids = np.zeros((4, 5, 1), dtype=np.int16)
    ambiguity = np.full((4, 5), 1, dtype=np.uint8)
    # Half of the scan is mapped, all of that is in doubt.
    ids[2:], ambiguity[2:] = -1, 6
    found = OrientationMap(
        rotations=rotations,
        scores=np.ones((4, 5, 1), dtype=np.float32),
        phase_ids=ids,
        reliability=np.full((4, 5), 0.2, dtype=np.float32),
        ambiguity=ambiguity,
        phases=load_phases(["NiO"]),
    )
    bench.session.set_map(found)
    qtbot.waitUntil(lambda: "NiO" in view.keys, timeout=60_000)
    settle(bench)
    assert "NiO 100.0 %" in view.legend.text()
    assert "twin or coincidence 100.0 %" in view.legend.text()
    assert found.ambiguous_fraction() == 1.0


def test_many_phases_have_their_keys_beside_the_legend(
    qtbot: Any, model: ViewerModel, bench: Workbench, settle: Callable[[Workbench], None]
) -> None:
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.maps import OrientationMap

    view = KeyView(model)
    qtbot.addWidget(view)
    view.resize(600, 290)
    view.show()
    phases = load_phases(["NiO", "LiNiO2", "Si", "Au"])
    rotations = np.zeros((2, 2, 1, 4), dtype=np.float32)
    rotations[..., 0] = 1
    found = OrientationMap(
        rotations=rotations,
        scores=np.ones((2, 2, 1), dtype=np.float32),
        phase_ids=np.arange(4, dtype=np.int16).reshape(2, 2, 1),
        reliability=np.full((2, 2), 0.9, dtype=np.float32),
        ambiguity=np.zeros((2, 2), dtype=np.uint8),
        phases=phases,
    )
    bench.session.set_map(found)
    qtbot.waitUntil(lambda: len(view.keys) == 4, timeout=60_000)
    settle(bench)
    qtbot.waitUntil(lambda: view.keys["Si"].mapTo(view, QPoint(0, 0)).x() > 200)
    for name in ("NiO", "LiNiO2", "Si"):
        label = view.keys[name]
        assert not label.pixmap().isNull()
        right = label.mapTo(view, QPoint(label.pixmap().width(), 0)).x()
        assert right <= view.legend.mapTo(view, QPoint(0, 0)).x(), name
    assert "Au 25.0 %" in view.legend.text()


@pytest.mark.parametrize("make", DOCKS)
def test_what_is_told_to_a_dock_that_is_gone_is_not_heard(
    qtbot: Any, bench: Workbench, model: ViewerModel, scan: Scan, make: Callable[[Any], QWidget]
) -> None:
    """A window that is closed while a map is made takes its docks along before the last word."""
    from napari_diffmap.jobs.control import Progress

    dock = make(model)
    with qtbot.waitSignal(dock.destroyed, timeout=60_000):
        dock.deleteLater()
    bench.run.progressed.emit(Progress(1, 2, 1.0))
    bench.run.state_changed.emit("running")
    bench.converting.changed.emit()
    bench.session.set_scan(scan)
    bench.session.set_calibration(scan.calibration.with_center((3, 4), "entered"))
