"""The parts of the Defects dock on a viewer model: no window is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtTest import QTest

from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.methods.defects.simulated_movie import SimulatedMovie, movie
from napari_diffmap.viewer.defects_models import SITES
from napari_diffmap.widgets.defects_crop import CropView
from napari_diffmap.widgets.defects_dock import DefectsDock
from napari_diffmap.widgets.samples import movie_scan
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[[Workbench], None]
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def made() -> SimulatedMovie:
    return movie(4, frames=4, size=192, vacancies=3, molybdenum=3, complexes=1, drift=0.1)


@pytest.fixture
def dock(qtbot: Any, bench: Workbench, model: ViewerModel) -> DefectsDock:
    dock = DefectsDock(model)
    qtbot.addWidget(dock)
    dock.resize(610, 380)
    dock.show()
    return dock


@pytest.fixture
def searched(
    qtbot: Any, dock: DefectsDock, bench: Workbench, made: SimulatedMovie, settle: Settle
) -> DefectsDock:
    """A dock whose movie was searched with the site model."""
    bench.opening.show(movie_scan(made))
    settle(bench)
    dock.find.model.choose(SITES)
    dock.find.form.set_values({"drift": False, "material": "WS2"})
    dock.search()
    qtbot.waitUntil(
        lambda: bench.defects_run.state == "idle" and bench.defects.run is not None, timeout=60_000
    )
    settle(bench)
    return dock


def test_every_page_says_what_is_missing(dock: DefectsDock) -> None:
    assert dock.line.full_text() == "Open an image or an image series first."
    assert not dock.start.isEnabled()
    assert not dock.save_button.isEnabled()
    assert "first" in dock.doubt.line.full_text()
    assert "Find defects first" in dock.sort.gallery.pages.currentWidget().text()  # type: ignore[union-attr]
    assert "first" in dock.follow.tracks.empty.text()
    assert not dock.doubt.invalid.isEnabled()


def test_a_run_fills_gallery_tables_and_plot(searched: DefectsDock, made: SimulatedMovie) -> None:
    defects = searched.defects
    assert defects.run is not None
    assert "finds in 4 frames" in searched.line.full_text()
    names = [card.name.text() for card in searched.sort.gallery.cards]
    assert len(names) == len(defects.shown_classes()) >= 2
    assert all(card.picture._image is not None for card in searched.sort.gallery.cards)
    rows = searched.follow.tracks.table.rowCount()
    assert rows == len(defects.run.tracks) == len(searched.follow.ways.plot.ways)
    assert searched.follow.diffusion.table.rowCount() >= 1
    assert "nm²/s" in searched.follow.diffusion.line.full_text()
    assert searched.minimumSizeHint().width() <= 610, "it fits beside the sample"


def test_table_gallery_and_plot_select_the_same(searched: DefectsDock) -> None:
    defects, table = searched.defects, searched.follow.tracks.table
    table.selectRow(1)
    chosen = table.item(1, 0)
    assert chosen is not None
    track = int(chosen.data(Qt.ItemDataRole.UserRole))
    found = defects.map
    assert found is not None
    assert set(found.tracks[defects.selection]) == {track}
    other = next(way for way in searched.follow.ways.plot.ways if way.track != track)
    searched.tabs.setCurrentWidget(searched.follow)
    plot = searched.follow.ways.plot
    place = plot.point(other.frames[-1], other.values[-1])
    QTest.mouseClick(plot, LEFT, pos=QPoint(round(place.x()), round(place.y())))
    picked = int(found.tracks[defects.selection[0]])
    assert picked != track
    assert table.selectedItems()[0].data(Qt.ItemDataRole.UserRole) == picked
    single = searched.sort.gallery.singles[0]
    single.clicked.emit()
    assert defects.selection.tolist() == [single.slot]  # type: ignore[attr-defined]


def test_classes_are_named_in_the_gallery(searched: DefectsDock) -> None:
    defects = searched.defects
    card = searched.sort.gallery.cards[0]
    count = defects.counts()[card.class_id]
    long = "a molybdenum atom beside two vacancies"
    for name in ("one sulphur atom missing", long, "mine"):
        card.name.setText(name)
        card.name.editingFinished.emit()
        card = next(c for c in searched.sort.gallery.cards if c.name.text() == name)
        room = card.name.width() - card.name.fontMetrics().horizontalAdvance(name)
        assert room > 0 if name != long else card.name.cursorPosition() == 0, (
            "its beginning is seen"
        )
    names = {card.name.text(): card.count.text() for card in searched.sort.gallery.cards}
    assert names["mine"].startswith(f"{count} ·")
    assert searched.doubt.model.rowCount() == 3
    for _ in range(3):
        QTest.mouseClick(searched.doubt.undo, LEFT)
    assert "mine" not in [card.name.text() for card in searched.sort.gallery.cards]


def test_buttons_correct_and_the_history_switches(searched: DefectsDock) -> None:
    defects, page = searched.defects, searched.doubt
    found = defects.map
    assert found is not None
    slot = int(found.filled[0])
    defects.select([slot], go=True)
    assert page.invalid.isEnabled()
    QTest.mouseClick(page.invalid, LEFT)
    assert not found.indexed[0, slot]
    assert "older" in page.stale.full_text()
    index = page.model.index(0, 0)
    page.model.setData(index, Qt.CheckState.Unchecked, Qt.ItemDataRole.CheckStateRole)
    assert found.indexed[0, slot]
    assert page.model.data(page.model.index(0, 1), Qt.ItemDataRole.DisplayRole) == "no defect"


def test_a_find_is_picked_moved_and_added_in_the_magnified_view(
    qtbot: Any, searched: DefectsDock, bench: Workbench, settle: Settle
) -> None:
    defects = searched.defects
    view = CropView(defects, bench.runner)
    qtbot.addWidget(view)
    view.resize(560, 340)
    view.show()
    found = defects.map
    assert found is not None
    inner = found.in_frame(0)
    middle = np.abs(found.best_places[0, inner, 1:] - 96).max(axis=1)
    slot = int(inner[np.argmin(middle)])
    defects.go_to(slot)
    settle(bench)
    canvas = view.canvas
    crop = canvas.crop
    assert crop is not None
    mark = next(mark for mark in crop.marks if mark.slot == slot)
    at = canvas.point(mark.y, mark.x).toPoint()
    QTest.mouseClick(canvas, LEFT, pos=at)
    assert defects.selection.tolist() == [slot]
    before = found.best_places[0, slot].copy()
    QTest.mousePress(canvas, LEFT, pos=at)
    QTest.mouseMove(canvas, at + QPoint(12, 0))
    QTest.mouseRelease(canvas, LEFT, pos=at + QPoint(12, 0))
    assert defects.corrections is not None
    assert defects.corrections.done[-1].kind == EditKind.MOVED
    moved = found.best_places[0, slot] - before
    assert moved[2] == pytest.approx(12 / canvas._zoom(), rel=0.05)
    y, x = canvas.place(QPointF(canvas.point(*(crop.pixels.shape[0] * 0.2,) * 2)))
    if defects.at(y, x, 8) is None:
        count = len(found.filled)
        spot = canvas.point(y - crop.first[0], x - crop.first[1]).toPoint()
        QTest.mouseDClick(canvas, LEFT, pos=spot)
        assert len(found.filled) == count + 1
    view.end()


def test_a_scale_that_the_file_does_not_give_is_entered(
    dock: DefectsDock, bench: Workbench, made: SimulatedMovie, settle: Settle
) -> None:
    from dataclasses import replace

    from napari_diffmap.scan.axes import Axis

    scan = movie_scan(made)
    bare = replace(scan, axes=tuple(Axis(axis.name, axis.size) for axis in scan.axes))
    bench.opening.show(bare)
    settle(bench)
    assert dock.find.pixel.text() == "unknown"
    dock.find.pixel.setValue(0.03)
    dock.find.pixel.editingFinished.emit()
    settle(bench)
    assert bench.session.scan is not None
    assert [axis.unit for axis in bench.session.scan.axes] == ["pixel", "nm", "nm"]
    assert dock.find.pixel.value() == pytest.approx(0.03)


def test_a_search_is_stopped_and_what_there_was_is_kept(
    qtbot: Any, searched: DefectsDock, bench: Workbench, settle: Settle
) -> None:
    before = bench.defects.run
    count = len(bench.defect_layers.layer("Defects").data)  # type: ignore[union-attr]
    searched.search()
    searched.run.stop()
    qtbot.waitUntil(lambda: bench.defects_run.state == "idle", timeout=60_000)
    settle(bench)
    assert bench.defects.run is before
    assert len(bench.defect_layers.layer("Defects").data) == count  # type: ignore[union-attr]


def test_sorting_again_makes_corrections_again(
    qtbot: Any, searched: DefectsDock, bench: Workbench
) -> None:
    defects = bench.defects
    found = defects.map
    assert found is not None
    place = found.best_places[0, int(found.filled[0])].copy()
    defects.select(found.filled[:1])
    defects.discard()
    run = defects.run
    QTest.mouseClick(searched.sort.again, LEFT)
    qtbot.waitUntil(
        lambda: bench.defects_run.state == "idle" and defects.run is not run, timeout=60_000
    )
    again = defects.map
    assert again is not None
    assert defects.corrections is not None
    assert [edit.kind for edit in defects.corrections.done] == [EditKind.INVALID]
    left = again.best_places[0, again.filled]
    assert not np.isclose(left, place, atol=0.01).all(axis=1).any()
