"""The Labels dock by clicks; the window itself is not needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.maps import OrientationMap
from napari_diffmap.widgets.labels_dock import LabelsDock
from napari_diffmap.widgets.labels_table import AREA, COLOR, NAME, NUMBER, PIXELS
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[[Workbench], None]
LEFT = Qt.MouseButton.LeftButton
SHAPE = (9, 8)


@cache
def found() -> OrientationMap:
    """Left half one phase, turned by 8° at the top; the other phase right."""
    turn = np.deg2rad(8) / 2
    rotations = np.zeros((*SHAPE, 1, 4), dtype=np.float32)
    rotations[..., 0] = 1
    rotations[:3, :4, 0] = (np.cos(turn), np.sin(turn), 0, 0)
    ids = np.zeros((*SHAPE, 1), dtype=np.int16)
    ids[:, 4:] = 1
    return OrientationMap(
        rotations=rotations,
        scores=np.ones((*SHAPE, 1)),
        phase_ids=ids,
        reliability=np.ones(SHAPE),
        ambiguity=np.zeros(SHAPE),
        step=(5.0, 5.0),
        step_unit="nm",
        phases=load_phases(["LiNiO2", "NiO"]),
    )


@pytest.fixture
def dock(qtbot: Any, model: ViewerModel, shown: Workbench, settle: Settle) -> LabelsDock:
    dock = LabelsDock(model)
    qtbot.addWidget(dock)
    dock.resize(600, 370)
    dock.show()
    shown.session.set_map(found())
    settle(shown)
    return dock


@pytest.fixture
def grains(qtbot: Any, dock: LabelsDock, settle: Settle) -> LabelsDock:
    press(qtbot, dock, "Add…")
    dialog = dock.add_dialog
    dialog.kind.setCurrentText("grains")
    assert dialog.angle.isVisibleTo(dialog)
    assert not dialog.value.isVisibleTo(dialog)
    dialog.accept()
    settle(dock.bench)
    assert dock.model.rowCount() == 3
    return dock


def press(qtbot: Any, dock: LabelsDock, words: str) -> None:
    assert dock.buttons[words].isEnabled(), words
    qtbot.mouseClick(dock.buttons[words], LEFT)


def cell(dock: LabelsDock, row: int, column: int) -> QPoint:
    return dock.table.visualRect(dock.model.index(row, column)).center()


def click(qtbot: Any, dock: LabelsDock, row: int, *keys: Qt.KeyboardModifier) -> None:
    modifier = keys[0] if keys else Qt.KeyboardModifier.NoModifier
    qtbot.mouseClick(dock.table.viewport(), LEFT, modifier, cell(dock, row, NUMBER))


def double_click(qtbot: Any, dock: LabelsDock, row: int, column: int) -> None:
    view, place = dock.table.viewport(), cell(dock, row, column)
    qtbot.mouseClick(view, LEFT, pos=place)
    qtbot.mouseDClick(view, LEFT, pos=place)


def values(dock: LabelsDock) -> Any:
    labels = dock.labelling.labels
    assert labels is not None
    return labels.values


def test_says_what_is_missing(qtbot: Any, model: ViewerModel, bench: Workbench) -> None:
    dock = LabelsDock(model)
    qtbot.addWidget(dock)
    assert dock.line.full_text() == "Map the scan first, or open a map."
    assert not any(button.isEnabled() for button in dock.buttons.values())


def test_every_control_says_what_it_does(dock: LabelsDock) -> None:
    kinds = (QAbstractButton, QAbstractSpinBox, QComboBox)
    controls = [control for kind in kinds for control in dock.findChildren(kind)]
    ours = [c for c in controls if type(c.parent()) is LabelsDock]
    assert len(ours) > 20
    assert all(control.toolTip() for control in ours)
    header = dock.table.horizontalHeader()
    assert header is not None
    for column in range(dock.model.columnCount()):
        tip = dock.model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        assert tip


def test_nothing_is_cut_at_the_width_of_the_window(dock: LabelsDock) -> None:
    assert dock.minimumSizeHint().width() <= 600
    for words, button in dock.buttons.items():
        assert button.width() >= button.sizeHint().width(), words
        assert button.geometry().right() < dock.width(), words


def test_one_set_of_layers_for_all_docks(qtbot: Any, model: ViewerModel, dock: LabelsDock) -> None:
    other = LabelsDock(model)
    qtbot.addWidget(other)
    assert other.labelling is dock.labelling is dock.bench.labelling
    assert dock.bench.label_layers is dock.labelling.layers


def test_merge_is_previewed_then_made_then_undone(
    qtbot: Any, grains: LabelsDock, model: ViewerModel, settle: Settle
) -> None:
    dock = grains
    before = values(dock).copy()
    assert not dock.buttons["Merge"].isEnabled()
    click(qtbot, dock, 0)
    assert model.layers["grains"].selected_label == 1
    click(qtbot, dock, 2, Qt.KeyboardModifier.ControlModifier)
    assert dock.labelling.chosen == (1, 3)
    press(qtbot, dock, "Merge")
    settle(dock.bench)
    assert dock.line.full_text() == "merge 3, 1: 12 pixels would change"
    assert model.layers["labels preview"].visible
    assert np.array_equal(values(dock), before)
    press(qtbot, dock, "Apply")
    settle(dock.bench)
    assert not model.layers["labels preview"].visible
    assert (values(dock)[before == 1] == 3).all()
    assert dock.model.rowCount() == 2
    assert dock.table.numbers() == (3,) == dock.labelling.chosen
    press(qtbot, dock, "Undo")
    settle(dock.bench)
    assert np.array_equal(values(dock), before)
    assert dock.model.rowCount() == 3
    press(qtbot, dock, "Redo")
    settle(dock.bench)
    assert (values(dock)[before == 1] == 3).all()


def test_the_keyboard_is_enough(qtbot: Any, grains: LabelsDock, settle: Settle) -> None:
    dock = grains
    dock.table.setFocus()
    click(qtbot, dock, 1)
    qtbot.keyClick(dock.table, Qt.Key.Key_Delete)
    settle(dock.bench)
    assert "to no label" in dock.line.full_text()
    qtbot.keyClick(dock.table, Qt.Key.Key_Escape)
    assert dock.labelling.proposal is None
    qtbot.keyClick(dock.table, Qt.Key.Key_Delete)
    settle(dock.bench)
    qtbot.keyClick(dock.table, Qt.Key.Key_Return)
    settle(dock.bench)
    assert sorted(np.unique(values(dock))) == [0, 1, 3]
    assert dock.line.full_text() == "2 labels on 50 % of the map; 0 chosen"


def test_scoped_operations(
    qtbot: Any, grains: LabelsDock, settle: Settle, notes: list[tuple[str, str]]
) -> None:
    dock = grains
    layer = dock.bench.label_layers.layer("grains")
    assert layer is not None
    layer.data_setitem((np.array([5, 8]), np.array([1, 6])), 0)
    layer.data_setitem((np.array([1]), np.array([6])), 3)
    settle(dock.bench)
    press(qtbot, dock, "Fill holes")
    settle(dock.bench)
    assert dock.line.full_text() == "fill holes: 1 pixel would change"
    dock.scope.setCurrentText("drawn region")
    press(qtbot, dock, "Grow")
    assert notes[-1] == ("error", "draw a region first (Scan dock)")
    dock.scope.setCurrentText("chosen labels")
    press(qtbot, dock, "Grow")
    assert notes[-1] == ("error", "grow: choose a label in the table first")
    click(qtbot, dock, 1)
    press(qtbot, dock, "Grow")
    settle(dock.bench)
    assert dock.line.full_text() == "grow by 1 pixel, labels 2: 1 pixel would change"
    dock.scope.setCurrentText("all labels")
    for words, wanted in (
        ("Clean small", "clean small below 5 pixels: 1 pixel would change"),
        ("Majority", "majority 3 × 3 pixels: 3 pixels would change"),
    ):
        press(qtbot, dock, words)
        settle(dock.bench)
        assert dock.line.full_text() == wanted
    press(qtbot, dock, "Cancel")
    assert not dock.buttons["Apply"].isEnabled()


def test_split_by_the_angle_beside_it(qtbot: Any, dock: LabelsDock, settle: Settle) -> None:
    dock.labelling.add_phases()
    settle(dock.bench)
    click(qtbot, dock, 0)
    press(qtbot, dock, "Split")
    settle(dock.bench)
    assert dock.line.full_text() == "split 1: nothing would change"
    assert not dock.buttons["Apply"].isEnabled()
    dock.angle.setValue(5)
    press(qtbot, dock, "Split")
    settle(dock.bench)
    assert dock.line.full_text() == "split 1 at 5°: 12 pixels would change"


def test_table_names_colours_order(
    qtbot: Any, grains: LabelsDock, model: ViewerModel, settle: Settle
) -> None:
    dock, view = grains, grains.table
    assert dock.model.headerData(AREA, Qt.Orientation.Horizontal) == "Area, nm²"
    double_click(qtbot, dock, 1, NAME)
    editor = view.findChild(QLineEdit)
    qtbot.keyClicks(editor, "twin")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    labels = dock.labelling.labels
    assert labels is not None
    qtbot.waitUntil(lambda: labels.names == {2: "twin"}, timeout=60_000)
    settle(dock.bench)
    assert dock.model.data(dock.model.index(1, NAME)) == "twin"
    double_click(qtbot, dock, 1, COLOR)
    dock.color_dialog.colorSelected.emit(type(dock.color_dialog.currentColor())("#102030"))
    dock.color_dialog.reject()
    assert labels.colors == {2: "#102030"}
    settle(dock.bench)
    header = view.horizontalHeader()
    assert header is not None
    spot = QPoint(header.sectionPosition(PIXELS) + 10, 8)
    qtbot.mouseClick(header.viewport(), LEFT, pos=spot)
    shown = [dock.model.data(dock.model.index(row, PIXELS)) for row in range(3)]
    assert shown == ["12", "24", "36"]
    assert view.numbers() == (2,) == dock.labelling.chosen
    assert [index.row() for index in view.selectionModel().selectedRows()] == [2]


def test_zoom_and_picking(
    qtbot: Any, grains: LabelsDock, model: ViewerModel, settle: Settle
) -> None:
    dock = grains
    double_click(qtbot, dock, 1, PIXELS)
    assert model.scene.camera.center[-2:] == pytest.approx((20.0, 27.5))
    position = dock.session.position
    assert values(dock)[position] == 2
    click(qtbot, dock, 0)
    press(qtbot, dock, "Zoom")
    assert values(dock)[dock.session.position] == 1
    model.layers["grains"].selected_label = 3
    assert dock.table.numbers() == (3,) == dock.labelling.chosen
    press(qtbot, dock, "New label")
    assert model.layers["grains"].mode == "paint"
    assert model.layers["grains"].selected_label == 4
    assert dock.labelling.chosen == ()
    model.layers["grains"].paint((0, 0), 4)
    settle(dock.bench)
    assert dock.model.rowCount() == 3


def test_other_label_maps(
    qtbot: Any, grains: LabelsDock, model: ViewerModel, settle: Settle
) -> None:
    dock = grains
    for kind, name in (("empty", "mine"), ("phases", ""), ("threshold", "good")):
        press(qtbot, dock, "Add…")
        dock.add_dialog.kind.setCurrentText(kind)
        dock.add_dialog.name.setText(name)
        dock.add_dialog.accept()
        settle(dock.bench)
    names = [dock.map.itemText(i) for i in range(dock.map.count())]
    assert names == ["grains", "mine", "phase labels", "good"]
    dock.map.setCurrentText("mine")
    dock.map.textActivated.emit("mine")
    settle(dock.bench)
    assert dock.line.full_text() == "No label yet: New label, then paint on the sample."
    assert model.layers.selection.active == model.layers["mine"]
    dock.session.set_map(None)
    settle(dock.bench)
    assert dock.map.count() == 0
    assert "mine" not in model.layers


def test_saving(qtbot: Any, grains: LabelsDock, settle: Settle, tmp_path: Path) -> None:
    from napari_diffmap.maps.labels.save import load_labels

    press(qtbot, grains, "Save…")
    assert grains.file_dialog.selectedFiles()[0].endswith("grains.ome.tif")
    grains.file_dialog.reject()
    grains.save(tmp_path / "grains")
    settle(grains.bench)
    assert np.array_equal(load_labels(tmp_path / "grains.ome.tif").labels, values(grains))


def test_thousands_of_labels_sort_at_once(
    qtbot: Any, dock: LabelsDock, within: Callable[..., Any]
) -> None:
    from napari_diffmap.maps.labels.label_maps import counts

    blocks = np.arange(1, 16385, dtype=np.int32).reshape(128, 128).repeat(4, 0).repeat(4, 1)
    dock.table.show_table(counts(blocks))
    with within(1.0):
        dock.table.sortByColumn(PIXELS, Qt.SortOrder.DescendingOrder)
        dock.table.selectAll()
        assert len(dock.table.numbers()) == 16384
