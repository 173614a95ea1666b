"""The workspace in a real napari window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QScrollBar, QTableWidget

from napari_diffmap.widgets.pattern_dock import PatternDock
from napari_diffmap.widgets.workbench import Workbench, main_window, workbench_of
from napari_diffmap.widgets.workspace import arrange, docks_of

pytestmark = pytest.mark.viewer

TABS = (
    *("Scan", "Calibrate", "Peaks", "Map", "Defects", "Doubt", "Grains", "Labels", "Models"),
    "Key",
)
DOCKS = {"Pattern", *TABS}
Settle = Callable[[Workbench], None]


@pytest.fixture
def scan_file(tmp_path: Path, make_scan: Callable[..., Any]) -> tuple[Path, NDArray[Any]]:
    counts = np.asarray(make_scan().data)
    path = tmp_path / "scan.npy"
    np.save(path, counts)
    return path, counts


def bf_image(viewer: Any) -> NDArray[Any]:
    return np.asarray(viewer.layers["BF"].data)


def test_the_standard_arrangement_fits(viewer: Any, qtbot: Any, settle: Settle, scan: Any) -> None:
    bench = arrange(viewer)
    bench.opening.show(scan)
    settle(bench)
    docks = docks_of(viewer)
    assert set(docks) == DOCKS
    window = main_window(viewer)
    assert window is not None
    right = Qt.DockWidgetArea.RightDockWidgetArea
    assert all(window.dockWidgetArea(dock) == right for dock in docks.values())
    qtbot.waitUntil(lambda: docks["Pattern"].height() > 300)
    for name in TABS:
        docks[name].raise_()
        qtbot.waitUntil(lambda n=name: docks[n].widget().isVisible())
        widget = docks[name].widget()
        hint = widget.minimumSizeHint()
        assert hint.height() <= widget.height(), name
        assert hint.width() <= widget.width(), name
        bars = [bar for bar in widget.findChildren(QScrollBar) if bar.isVisible()]
        # Nothing of a form is out of sight; a list that grows, as that of the models, scrolls.
        lists = [bar for view in widget.findChildren(QTableWidget)
                 for bar in view.findChildren(QScrollBar)]  # fmt: skip
        assert all(any(bar is other for other in lists) for bar in bars), name
    assert window.height() <= 900
    assert window.width() <= 1400
    # The docks leave the sample its room, whatever is said in them.
    assert docks["Pattern"].width() <= 640
    pattern = docks["Pattern"].widget()
    pattern.answer.setText("a note of a line that is much longer than the dock is wide " * 12)
    pattern.answer.show()
    qtbot.waitUntil(lambda: pattern.answer.height() > 3 * pattern.readout.height())
    assert docks["Pattern"].width() <= 640


def test_the_pattern_does_not_float_without_shared_contexts(viewer: Any, qtbot: Any) -> None:
    arrange(viewer)
    dock = docks_of(viewer)["Pattern"]
    qtbot.waitUntil(lambda: dock.isVisible())
    floatable = QDockWidget.DockWidgetFeature.DockWidgetFloatable
    assert not dock.features() & floatable
    title = dock.titleBarWidget()
    assert title is not None
    assert not title.float_button.isVisible()
    qtbot.mouseDClick(title, Qt.MouseButton.LeftButton)
    assert not dock.isFloating()


def test_arranging_twice_opens_nothing_twice(viewer: Any) -> None:
    arrange(viewer)
    before = docks_of(viewer)
    arrange(viewer)
    assert docks_of(viewer) == before


def test_the_menu_opens_the_workspace(viewer: Any, qtbot: Any) -> None:
    viewer.window.add_plugin_dock_widget("napari-diffmap", "Workspace")
    qtbot.waitUntil(lambda: set(docks_of(viewer)) == DOCKS)


@pytest.mark.parametrize("name", sorted(DOCKS))
def test_each_dock_opens_alone(viewer: Any, name: str) -> None:
    viewer.window.add_plugin_dock_widget("napari-diffmap", name)
    assert set(docks_of(viewer)) == {name}


def test_two_pattern_docks_do_not_share_a_canvas(viewer: Any) -> None:
    arrange(viewer)
    second = PatternDock(viewer)
    assert second.canvas is None
    second.deleteLater()


def open_by_command(viewer: Any, path: Path) -> None:
    viewer.open(str(path), plugin="napari-diffmap")


def open_by_drop(viewer: Any, path: Path) -> None:
    """What dropping a file on the canvas does."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(10, 10),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    viewer.__wrapped__.window._qt_viewer.dropEvent(event)


def open_by_dock(viewer: Any, path: Path) -> None:
    arrange(viewer)
    docks_of(viewer)["Scan"].widget().open(path)


@pytest.mark.parametrize("way", [open_by_command, open_by_drop, open_by_dock])
def test_every_way_leads_to_the_same_place(
    viewer: Any,
    qtbot: Any,
    settle: Settle,
    make_scan: Callable[..., Any],
    tmp_path: Path,
    way: Callable[[Any, Path], None],
) -> None:
    # .hspy has one reader here, so that napari asks nothing.
    from napari_diffmap.scan.open import save_scan

    path = tmp_path / "scan.hspy"
    save_scan(make_scan(), path)
    way(viewer, path)
    bench = workbench_of(viewer)
    qtbot.waitUntil(lambda: "BF" in viewer.layers and not bench.runner.busy, timeout=60_000)
    assert set(docks_of(viewer)) == DOCKS
    assert [layer.name for layer in viewer.layers] == ["BF", "position"]
    assert bf_image(viewer).max() > 0
    assert viewer.dims.ndim == 2
    pattern = bench.desk.pattern.model
    assert pattern.dims.ndim == 4
    assert [str(u) for u in viewer.layers["BF"].units] == ["nanometer", "nanometer"]
    assert [str(u) for u in pattern.layers["pattern"].units][2:] == ["1 / angstrom"] * 2


def test_the_reader_keeps_its_layer(
    viewer: Any, qtbot: Any, settle: Settle, scan_file: tuple[Path, NDArray[Any]]
) -> None:
    path, _ = scan_file
    (layer,) = viewer.open(str(path), plugin="napari-diffmap")
    bench = workbench_of(viewer)
    qtbot.waitUntil(lambda: "BF" in viewer.layers and not bench.runner.busy, timeout=60_000)
    assert layer in viewer.layers
    assert layer.name == "BF"


def test_a_broken_file_given_to_napari_is_one_line_of_ours(
    viewer: Any,
    qtbot: Any,
    settle: Settle,
    make_scan: Callable[..., Any],
    tmp_path: Path,
    notes: list[tuple[str, str]],
) -> None:
    from napari_diffmap.scan.open import save_scan

    bench = arrange(viewer)
    bench.opening.show(make_scan())
    settle(bench)
    path = tmp_path / "cut.hspy"
    save_scan(make_scan(), path)
    path.write_bytes(path.read_bytes()[:5000])
    before, names = bench.session.scan, [layer.name for layer in viewer.layers]
    assert not viewer.open(str(path), plugin="napari-diffmap")
    settle(bench)
    (line,) = [said for severity, said in notes if severity == "error"]
    assert line.startswith("cut.hspy")
    assert "\n" not in line
    assert bench.session.scan is before
    assert [layer.name for layer in viewer.layers] == names


def test_a_sample_ends_in_the_workspace(
    viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, make_scan: Callable[..., Any]
) -> None:
    from napari_diffmap.widgets import samples

    monkeypatch.setattr(samples, "fetch", lambda name: make_scan())
    viewer.open_sample("napari-diffmap", "sped_ag")
    bench = workbench_of(viewer)
    qtbot.waitUntil(lambda: "BF" in viewer.layers and not bench.runner.busy, timeout=60_000)
    assert [layer.name for layer in viewer.layers] == ["BF", "position"]


def test_an_offline_sample_leaves_one_line_and_no_layer(
    viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, notes: list[tuple[str, str]]
) -> None:
    from napari_diffmap.errors import ResourceError
    from napari_diffmap.widgets import samples

    def offline(_name: str) -> None:
        raise ResourceError("cannot download SPED-Ag.zspy: connect to the internet")

    monkeypatch.setattr(samples, "fetch", offline)
    viewer.open_sample("napari-diffmap", "sped_ag")
    qtbot.waitUntil(lambda: any(severity == "error" for severity, _ in notes), timeout=60_000)
    assert not len(viewer.layers)


def test_questions_of_a_dropped_file_are_asked_by_the_workspace(
    viewer: Any, qtbot: Any, tmp_path: Path, make_scan: Callable[..., Any]
) -> None:
    import h5py

    counts = np.asarray(make_scan().data)
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        file["a/data"], file["b/data"] = counts, counts[:, :, ::2, ::2]
    viewer.open(str(path), plugin="napari-diffmap")
    bench = workbench_of(viewer)
    qtbot.waitUntil(
        lambda: bench.opening.asker is not None and bench.opening.asker.dialog is not None,
        timeout=60_000,
    )
    dialog = bench.opening.asker.dialog
    dialog.list.setCurrentRow(1)
    dialog.accept()
    qtbot.waitUntil(lambda: "BF" in viewer.layers and not bench.runner.busy, timeout=60_000)
    assert bench.session.scan.shape[2:] == (16, 16)


def test_closing_the_pattern_dock_frees_its_canvas(viewer: Any, qtbot: Any, scan: Any) -> None:
    bench = arrange(viewer)
    dock = docks_of(viewer)["Pattern"]
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: "Pattern" not in bench.docks)
    arrange(viewer)
    assert bench.docks["Pattern"].canvas is not None


def test_work_goes_on_without_the_pattern_dock(
    viewer: Any, qtbot: Any, settle: Settle, scan: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench = arrange(viewer)
    bench.opening.show(scan)
    settle(bench)
    viewer.window.remove_dock_widget(docks_of(viewer)["Pattern"])
    qtbot.waitUntil(lambda: "Pattern" not in bench.docks)
    qtbot.wait(100)
    caplog.clear()
    bench.session.set_position(1, 2)
    bench.desk.add_preset("ADF")
    bench.desk.detectors.nudge(1, 1)
    settle(bench)
    bench.opening.show(scan)
    settle(bench)
    bench.session.set_position(2, 3)
    settle(bench)
    # A visual on a canvas that is gone is logged by vispy, not raised.
    assert "has been deleted" not in caplog.text
    arrange(viewer)
    settle(bench)
    assert bench.docks["Pattern"].canvas is not None
    assert bench.desk.pattern.model.dims.current_step[:2] == (2, 3)


def test_the_pattern_dock_shows_counts_and_spacings(
    viewer: Any, qtbot: Any, settle: Settle, scan: Any
) -> None:
    bench = arrange(viewer)
    bench.opening.show(scan)
    settle(bench)
    dock = bench.docks["Pattern"]
    pattern = bench.desk.pattern
    assert dock.position.full_text().startswith("y 4, x 4")
    assert "200 kV (file)" in dock.state.full_text()
    dock.scale.setCurrentText("gamma")
    dock.gamma.setValue(0.4)
    assert dock.gamma.isVisible()
    assert pattern.pattern.gamma == pytest.approx(0.4)
    dock.scale.setCurrentText("linear")
    assert not dock.gamma.isVisible()
    assert pattern.pattern.gamma == 1.0

    class Event:
        position = (0.0, 0.0, 0.0, 0.4)

    dock._on_mouse(None, Event())
    # 0.4 1/Å from the beam is a spacing of 2.5 Å.
    assert "|k| 0.400 1/Å · d 2.50 Å" in dock.readout.full_text()
    assert "counts" in dock.readout.full_text()


def test_a_stack_shows_its_spectrum_instead(
    viewer: Any, qtbot: Any, settle: Settle, scan: Any
) -> None:
    import dask.array as da

    from napari_diffmap.scan.axes import Axis
    from napari_diffmap.scan.scan import Scan

    bench = arrange(viewer)
    axes = (Axis("energy", 5, 0.5, 700, "eV"), Axis("y", 6, 40, 0, "nm"), Axis("x", 7, 40, 0, "nm"))
    data = np.random.default_rng(0).normal(10, 1, (5, 6, 7))
    bench.opening.show(Scan(da.from_array(data), axes, "STXM", "stack"))
    settle(bench)
    dock = bench.docks["Pattern"]
    assert dock.pages.currentWidget() is dock.spectrum
    assert not dock.scale.isVisible()
    bench.session.set_position(2, 3)
    settle(bench)
    assert np.allclose(dock.spectrum.values, data[:, 2, 3])
    bench.opening.show(scan)
    settle(bench)
    assert dock.pages.currentWidget() is dock.canvas
    assert dock.scale.isVisible()


# ---------------------------------------------------------------------- answers
@pytest.fixture
def two_answers(viewer: Any, settle: Settle, scan: Any) -> Any:
    """A map whose every position has two answers, 45° apart about the beam."""
    from dataclasses import replace

    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.maps import OrientationMap

    bench = arrange(viewer)
    bench.opening.show(scan)
    settle(bench)
    (phase,) = load_phases(["Si"])
    # A name as long as a file's.
    phase = replace(phase, name="Si_mp-149_conventional_standard")
    bench.session.set_phases([phase])
    rows, columns = bench.session.grid
    rotations = np.zeros((rows, columns, 2, 4), dtype=np.float32)
    rotations[..., 0, 0] = 1
    half = np.deg2rad(45) / 2
    rotations[..., 1, 0], rotations[..., 1, 3] = np.cos(half), np.sin(half)
    scores = np.broadcast_to(np.array([0.9, 0.8], np.float32), (rows, columns, 2)).copy()
    found = OrientationMap(
        rotations=rotations,
        scores=scores,
        phase_ids=np.zeros((rows, columns, 2), dtype=np.int16),
        reliability=np.full((rows, columns), 0.3, dtype=np.float32),
        ambiguity=np.full((rows, columns), 1, dtype=np.uint8),
        phases=(phase,),
    )
    bench.session.set_map(found)
    settle(bench)
    return bench


def click_link(qtbot: Any, label: Any, number: int) -> None:
    """Click the number of an answer; the table's rows are as high as its text."""
    rows = label.text().count("<tr")
    line = label.fontMetrics().height()
    qtbot.waitUntil(lambda: label.height() > rows * line)
    hits: list[str] = []
    label.linkActivated.connect(hits.append)
    for y in range(2, label.height(), 3):
        for x in range(2, 24, 3):
            place = QPoint(x, y)
            qtbot.mouseMove(label, place)
            qtbot.mouseClick(label, Qt.MouseButton.LeftButton, pos=place)
            if hits and hits[-1] == str(number - 1):
                label.linkActivated.disconnect(hits.append)
                return
    raise AssertionError(f"no link of answer {number} can be clicked")


def test_a_click_on_a_number_shows_that_answers_spots(
    qtbot: Any, two_answers: Any, settle: Settle
) -> None:
    bench = two_answers
    dock, spots = bench.docks["Pattern"], bench.desk.pattern.spots.simulated
    qtbot.waitUntil(lambda: len(spots.data) > 3 and dock.answer.isVisible(), timeout=60_000)
    first = np.array(spots.data)[:, -2:]
    click_link(qtbot, dock.answer, 2)
    settle(bench)
    assert bench.spots.rank == 1
    second = np.array(spots.data)[:, -2:]
    # Turned by 45° about the beam: the same distances, other places.
    center = np.array(bench.session.calibration.center)
    reach = [np.sort(np.hypot(*(one - center).T))[:8] for one in (first, second)]
    np.testing.assert_allclose(reach[0], reach[1], atol=0.3)
    nearest = np.linalg.norm(first[:, None] - second[None], axis=-1).min(axis=1)
    assert np.median(nearest) > 2
    bold = [row for row in dock.answer.text().split("<tr") if "font-weight:bold" in row]
    assert len(bold) == 1
    assert 'href="1"' in bold[0]
    # The next position begins with its best answer.
    bench.session.set_position(1, 1)
    settle(bench)
    assert bench.spots.rank == 0


def test_answers_and_scores_leave_pattern_and_sample_their_room(
    viewer: Any, qtbot: Any, two_answers: Any
) -> None:
    """At 1400 × 900 with a map, long names, a doubt in words and the scores shown."""
    bench = two_answers
    dock, docks = bench.docks["Pattern"], docks_of(viewer)
    qtbot.waitUntil(
        lambda: dock.answer.isVisible() and len(bench.desk.pattern.spots.simulated.data) > 3
    )
    assert "in doubt" in dock.answer.text()
    wide, high = dock.canvas.width(), dock.canvas.height()
    assert high >= 300
    pictures = [(f"phase {i}: 0.10–0.90", np.full((132, 132, 4), 99, np.uint8)) for i in range(3)]
    assert not dock.landscape.isVisible(), "scores are folded away until asked for"
    bench.spots.scored.emit(pictures)
    qtbot.waitUntil(lambda: dock.canvas.width() < wide)
    assert dock.canvas.height() == high
    assert dock.canvas.width() >= 300
    assert dock.answer.isVisible()
    window = main_window(viewer)
    assert window is not None
    assert docks["Pattern"].width() <= window.width() / 2
    bench.spots.scored.emit(())
    qtbot.waitUntil(lambda: dock.canvas.width() == wide)


def test_one_line_below_the_pattern_for_mouse_or_calibration(
    viewer: Any, qtbot: Any, settle: Settle, scan: Any
) -> None:
    bench = arrange(viewer)
    bench.opening.show(scan)
    settle(bench)
    dock = bench.docks["Pattern"]
    assert dock.state.isVisible()
    assert not dock.readout.isVisible()
    high = dock.canvas.height()

    class Event:
        position = (0.0, 0.0, 0.0, 0.4)

    dock._on_mouse(None, Event())
    assert dock.readout.isVisible()
    assert not dock.state.isVisible()
    qtbot.wait(50)
    assert dock.canvas.height() == high
    QApplication.sendEvent(dock.canvas.canvas.native, QEvent(QEvent.Type.Leave))
    assert dock.state.isVisible()
