"""The docks with a phase map of spectra: what they offer, and what they leave out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_diffmap.maps import SpectralDoubt
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.doubt_dock import DoubtDock
from napari_diffmap.widgets.grains_dock import GrainsDock
from napari_diffmap.widgets.key_view import KeyView
from napari_diffmap.widgets.labels_add import AddLabels
from napari_diffmap.widgets.map_show import MapShow
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[..., None]
LEFT = Qt.MouseButton.LeftButton
ENERGIES = tuple(np.linspace(512, 530, 7))


@pytest.fixture
def stack(bench: Workbench, settle: Settle, make_spectral: Any) -> Workbench:
    data = np.random.default_rng(2).normal(100, 10, (7, 12, 15))
    axes = (
        Axis("energy", 7, 3.0, 512, "eV", ENERGIES),
        Axis("y", 12, 40, 0, "nm"),
        Axis("x", 15, 40, 0, "nm"),
    )
    bench.opening.show(Scan(da.from_array(data), axes, "STXM", "stack"))
    settle(bench)
    bench.session.set_map(make_spectral())
    settle(bench)
    return bench


@pytest.fixture
def dock(qtbot: Any, model: ViewerModel, stack: Workbench, settle: Settle) -> DoubtDock:
    made = DoubtDock(model)
    qtbot.addWidget(made)
    made.resize(610, 370)
    made.show()
    settle(stack)
    return made


def offered(box: Any) -> list[str]:
    return [box.itemText(i) for i in range(box.count())]


def test_the_doubt_dock_offers_what_spectra_have(dock: DoubtDock) -> None:
    assert offered(dock.cause) == [
        *("any cause", "ambiguity", "false assignment", "transition", "too thin", "saturated"),
    ]
    assert offered(dock.phase) == ["any phase", "Na1", "Na2", "Na3"]
    for button in (dock.turn, dock.again, dock.refine):
        assert not button.isVisible()
    for button in (dock.by_phase, dock.invalid, dock.unknown, dock.paint):
        assert button.isVisible()
        assert button.isEnabled()
    assert [button.isVisible() for button in dock.answers] == [True, True, True, False, False]


def test_zones_are_visited_and_corrected_by_buttons(
    qtbot: Any, dock: DoubtDock, settle: Settle
) -> None:
    session = dock.session
    dock.cause.setCurrentText("ambiguity")
    settle(dock.bench)
    qtbot.mouseClick(dock.next, LEFT)
    assert session.map.ambiguity[session.position] == SpectralDoubt.AMBIGUITY
    dock.scope.setCurrentText("zone")
    second = session.map.phase_ids[(*session.position, 1)]
    y, x = session.position
    qtbot.mouseClick(dock.answers[1], LEFT)
    settle(dock.bench)
    assert session.map.phase_ids[y, x, 0] == second
    assert session.map.extra[EDITED][y, x] == EditKind.ACCEPTED
    assert dock.model.rowCount() == 1
    qtbot.mouseClick(dock.undo, LEFT)
    settle(dock.bench)
    assert not session.map.extra[EDITED].any()
    assert dock.redo.isEnabled()


def test_another_kind_of_map_has_other_causes_and_buttons(
    dock: DoubtDock, flat_map: Any, settle: Settle
) -> None:
    dock.cause.setCurrentText("transition")
    dock.session.set_map(flat_map((12, 15)))
    settle(dock.bench)
    assert offered(dock.cause)[1] == "twin or coincidence"
    assert dock.cause.currentIndex() == 0
    assert dock.queue.causes is None
    assert dock.turn.isVisible()


def test_the_answers_are_told_below_the_spectrum(stack: Workbench, settle: Settle) -> None:
    told: list[str] = []
    stack.spots.answered.connect(told.append)
    stack.session.set_position(2, 3)
    settle(stack)
    assert "Na1" in told[-1]
    assert "in doubt: ambiguity" in told[-1]
    stack.doubting.correcting.empty(EditKind.INVALID)
    settle(stack)
    assert "by hand: invalid" in told[-1]
    stack.session.set_region(np.ones((12, 15), dtype=bool))
    assert told[-1] == ""


def test_the_key_is_a_legend(
    qtbot: Any, model: ViewerModel, stack: Workbench, settle: Settle
) -> None:
    key = KeyView(model)
    qtbot.addWidget(key)
    key.show()
    settle(stack)
    text = key.legend.text()
    for words in ("Na1", "Na2", "Na3", "Doubt", "false assignment", "transition", "saturated"):
        assert words in text
    assert "Boundaries" not in text
    assert not key.keys
    assert key.message.isVisible()


def test_grains_and_labels_say_what_they_cannot(
    qtbot: Any, model: ViewerModel, stack: Workbench
) -> None:
    grains = GrainsDock(model)
    qtbot.addWidget(grains)
    assert "it has no grains" in grains.line.full_text()
    assert not grains.measure.isEnabled()
    form = AddLabels(stack.labelling)
    qtbot.addWidget(form)
    assert offered(form.kind) == ["empty", "phases", "drawn region", "threshold"]


def test_the_row_of_pictures_is_that_of_the_map(
    qtbot: Any, stack: Workbench, settle: Settle, flat_map: Any
) -> None:
    row = MapShow(stack.shown_map)
    qtbot.addWidget(row)
    row.show()
    assert offered(row.base) == [
        *("phases", "composition", "fraction Na1", "fraction Na2", "fraction Na3"),
        *("score", "reliability", "none"),
    ]
    assert not row.boundaries.isVisible()
    row.base.setCurrentText("composition")
    assert stack.shown_map.layer("composition").visible
    assert not stack.shown_map.layer("phases").visible
    row.ambiguity.setChecked(True)
    assert stack.shown_map.layer("doubt").visible
    stack.session.set_map(flat_map((12, 15)))
    settle(stack)
    assert row.base.currentText() == "IPF-Z"
    assert row.boundaries.isVisible()


def test_the_map_is_saved_with_its_corrections(
    stack: Workbench, settle: Settle, tmp_path: Path, qtbot: Any
) -> None:
    stack.session.set_position(4, 4)
    stack.doubting.correcting.empty(EditKind.UNKNOWN)
    settle(stack)
    with qtbot.waitSignal(stack.run.saved, timeout=60_000):
        stack.run.save(tmp_path, ("h5", "tiff"))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"phases.h5", "answer.h5", "edits.jsonl", "fractions.tif"} <= names


def test_a_session_is_saved_and_opened_again(
    bench: Workbench, settle: Settle, make_spectral: Any, tmp_path: Path, qtbot: Any
) -> None:
    counts = np.random.default_rng(0).poisson(50, (6, 12, 15)).astype(np.uint16)
    np.save(tmp_path / "stack.npy", counts)
    bench.opening.open(tmp_path / "stack.npy", kind="STXM")
    qtbot.waitUntil(lambda: bench.session.scan is not None, timeout=60_000)
    settle(bench)
    bench.session.set_map(make_spectral())
    settle(bench)
    bench.session.set_position(4, 4)
    bench.doubting.correcting.set_phase(2)
    settle(bench)
    bench.shown_map.show_base("composition")
    with qtbot.waitSignal(bench.keeper.saved, timeout=60_000):
        bench.keeper.save(tmp_path / "mine")
    assert not bench.keeper.dirty
    kept = bench.session.map
    bench.session.set_map(None)
    settle(bench)
    bench.keeper.open(tmp_path / "mine.diffmap")
    qtbot.waitUntil(lambda: bench.session.map is not None, timeout=60_000)
    settle(bench)
    qtbot.waitUntil(lambda: not bench.shown_map.layer("phases").visible, timeout=60_000)
    again = bench.session.map
    assert again is not kept
    np.testing.assert_array_equal(again.phase_ids, kept.phase_ids)
    assert again.extra[EDITED][4, 4] == EditKind.PHASE
    assert bench.shown_map.layer("composition").visible
    assert not bench.shown_map.layer("phases").visible
