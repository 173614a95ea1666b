"""The Doubt dock by its controls: answers, offers, the list of edits, saving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.maps import Ambiguity, OrientationMap
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.doubt_dock import DoubtDock
from napari_diffmap.widgets.workbench import Workbench

LEFT = Qt.MouseButton.LeftButton


def two_answers(rows: int, columns: int) -> OrientationMap:
    """Everywhere the same two orientations compete."""
    q = np.array([[1.0, 0, 0, 0], [np.cos(0.3), 0, 0, np.sin(0.3)]])
    return OrientationMap(
        rotations=np.tile(q, (rows, columns, 1, 1)),
        scores=np.tile([0.9, 0.85], (rows, columns, 1)),
        phase_ids=np.zeros((rows, columns, 2)),
        reliability=np.full((rows, columns), 0.4),
        ambiguity=np.full((rows, columns), Ambiguity.TWIN),
        phases=load_phases(["Si"]),
        step=(5, 5),
        step_unit="nm",
    )


@pytest.fixture
def dock(
    qtbot: Any, model: ViewerModel, shown: Workbench, settle: Callable[..., None]
) -> DoubtDock:
    made = DoubtDock(model)
    qtbot.addWidget(made)
    made.resize(610, 370)
    made.show()
    shown.session.set_map(two_answers(*shown.session.grid))
    settle(shown)
    return made


def test_without_a_map_it_says_what_is_missing(
    qtbot: Any, model: ViewerModel, shown: Workbench
) -> None:
    made = DoubtDock(model)
    qtbot.addWidget(made)
    assert "Map the scan first" in made.line.full_text()
    assert not made.next.isEnabled()
    assert not made.invalid.isEnabled()


def test_a_button_accepts_and_the_offer_follows(
    qtbot: Any, dock: DoubtDock, settle: Callable[..., None]
) -> None:
    session = dock.session
    session.set_position(2, 3)
    assert [button.isVisible() for button in dock.answers] == [True, True, False, False, False]
    qtbot.mouseClick(dock.answers[1], LEFT)
    settle(dock.bench)
    assert session.map.extra[EDITED][2, 3] == EditKind.ACCEPTED
    assert session.map.rotations[2, 3, 0, 3] == pytest.approx(np.sin(0.3))
    assert dock.offer.isVisible()
    assert "71 more pixels" in dock.offer.line.full_text()
    qtbot.mouseClick(dock.offer.take, LEFT)
    settle(dock.bench)
    assert not session.map.ambiguous.any()
    assert not dock.offer.isVisible()
    assert "no zone left" in dock.line.full_text()
    assert not dock.next.isEnabled()


def test_the_list_switches_an_edit_and_goes_there(
    qtbot: Any, dock: DoubtDock, settle: Callable[..., None]
) -> None:
    session = dock.session
    for place in ((0, 0), (4, 4)):
        session.set_position(*place)
        qtbot.mouseClick(dock.invalid, LEFT)
        settle(dock.bench)
    assert dock.model.rowCount() == 2
    newest = dock.model.index(0, 0)
    dock.model.setData(newest, Qt.CheckState.Unchecked.value, Qt.ItemDataRole.CheckStateRole)
    assert session.map.indexed[4, 4]
    assert not session.map.indexed[0, 0]
    dock.history.doubleClicked.emit(dock.model.index(1, 1))
    assert session.position == (0, 0)
    qtbot.mouseClick(dock.undo, LEFT)
    qtbot.mouseClick(dock.undo, LEFT)
    assert session.map.indexed.all()
    assert not dock.undo.isEnabled()
    qtbot.mouseClick(dock.redo, LEFT)
    assert not session.map.indexed[0, 0]


def test_the_queue_is_narrowed_by_its_boxes(dock: DoubtDock, settle: Callable[..., None]) -> None:
    assert len(dock.queue.zones) == 1
    dock.cause.setCurrentText("overlap")
    settle(dock.bench)
    assert dock.queue.zones == ()
    dock.cause.setCurrentIndex(0)
    dock.least.setValue(1000)
    settle(dock.bench)
    assert dock.queue.zones == ()


def test_saving_says_what_it_needs(
    qtbot: Any, dock: DoubtDock, notes: list[tuple[str, str]], tmp_path: Path
) -> None:
    """The scan of this window comes from no file."""
    dock.saving.save(tmp_path / "a.diffmap")
    assert "comes from no file" in notes[-1][1]
    assert not (tmp_path / "a.diffmap").exists()
    qtbot.mouseClick(dock.saving.recipe, LEFT)
    assert "a recipe needs" in notes[-1][1]


def test_a_saved_session_gives_a_recipe(
    qtbot: Any,
    dock: DoubtDock,
    tmp_path: Path,
    make_scan: Callable[..., Scan],
    settle: Callable[..., None],
    notes: list[tuple[str, str]],
) -> None:
    from napari_diffmap.scan.open import save_scan

    bench, session = dock.bench, dock.session
    save_scan(make_scan(), tmp_path / "scan.hspy")
    bench.opening.open(tmp_path / "scan.hspy")
    settle(bench)
    session.set_phases(load_phases(["Si"]))
    session.set_map(two_answers(*session.grid))
    settle(bench)
    session.set_position(1, 1)
    qtbot.mouseClick(dock.unknown, LEFT)
    settle(bench)
    assert bench.keeper.dirty
    qtbot.mouseClick(dock.saving.recipe, LEFT)
    assert "save the session first" in notes[-1][1]
    with qtbot.waitSignal(dock.saving.button.clicked):
        qtbot.mouseClick(dock.saving.button, LEFT)
    dock.saving.dialog.close()
    saved: list[Path] = []
    bench.keeper.saved.connect(saved.append)
    dock.saving.save(tmp_path / "mine")
    qtbot.waitUntil(lambda: bool(saved))
    assert saved == [tmp_path / "mine.diffmap"]
    assert not bench.keeper.dirty
    qtbot.mouseClick(dock.saving.recipe, LEFT)
    text = QApplication.clipboard().text()
    assert str(tmp_path / "mine.diffmap" / "edits.jsonl") in text
    assert "napari-diffmap recipe: 1" in text
