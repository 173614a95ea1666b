"""The Models dock; every training is real, of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.errors import BadInputError
from napari_diffmap.models import registry
from napari_diffmap.models.weights import read_card
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.models_dock import ModelsDock
from napari_diffmap.widgets.train_run import CHECKPOINT, folder_state
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[[Workbench], None]


@pytest.fixture(autouse=True)
def unshipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model comes with the package."""
    monkeypatch.setattr(registry, "shipped_folder", lambda: tmp_path / "shipped")


@pytest.fixture
def dock(qtbot: Any, model: ViewerModel, shown: Workbench, settle: Settle) -> ModelsDock:
    dock = ModelsDock(model)
    qtbot.addWidget(dock)
    dock.resize(600, 340)
    dock.show()
    settle(shown)
    return dock


@pytest.fixture
def stocked(dock: ModelsDock, tiny_model: Path, settle: Settle) -> ModelsDock:
    """With the tiny model added."""
    dock.bench.engines.add([tiny_model])
    settle(dock.bench)
    settle(dock.bench)
    return dock


def click(qtbot: Any, button: Any) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def row(dock: ModelsDock, number: int) -> list[str]:
    table = dock.list.table
    items = [table.item(number, column) for column in range(table.columnCount())]
    return ["" if item is None else item.text() for item in items]


# -------------------------------------------------------------------- list
def test_without_models_it_says_what_to_do(dock: ModelsDock) -> None:
    assert "There is no model yet" in dock.list.card.toPlainText()
    assert dock.list.add.isEnabled()
    assert not dock.list.remove.isEnabled()
    assert not dock.list.use.isEnabled()


def test_an_added_model_is_chosen_and_its_whole_card_is_there(
    stocked: ModelsDock, tiny_model: Path
) -> None:
    assert row(stocked, 0)[:4] == ["tiny", "LiNiO2, NiO", "200", "polar"]
    assert row(stocked, 0)[4].endswith(" MB")
    assert row(stocked, 0)[5] == "added"
    text = " ".join(stocked.list.card.toPlainText().split())
    card = read_card(tiny_model)
    for what, value in card.rows():
        assert f"{what} {' '.join(value.split())}" in text
    # What tells whether to trust it comes first.
    places = [text.index(word) for word in ("held out", "knows next to nothing", "trained on")]
    assert places == sorted(places)


def test_a_damaged_file_is_one_line_of_error(
    dock: ModelsDock,
    tiny_model: Path,
    tmp_path: Path,
    settle: Settle,
    notes: list[tuple[str, str]],
) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_model.read_bytes()[:-100])
    dock.list.ask_files()
    dock.list.dialog.filesSelected.emit([str(cut)])  # type: ignore[union-attr]
    settle(dock.bench)
    (line,) = [said for severity, said in notes if severity == "error"]
    assert line == "cut.safetensors is damaged: copy or download it again"
    assert dock.list.table.rowCount() == 0
    dock.list.dialog.reject()


def test_a_damaged_file_among_the_models_shows_its_problem(
    qtbot: Any, stocked: ModelsDock, models_folder: Path, settle: Settle
) -> None:
    bad = models_folder / "bad.safetensors"
    bad.write_bytes(b"nothing")
    stocked.bench.engines.refresh()
    settle(stocked.bench)
    # The chosen one stays chosen though its row is another.
    assert stocked.list.chosen is not None
    assert stocked.list.chosen.name == "tiny"
    assert row(stocked, 0)[0] == "⚠ bad.safetensors"
    assert "bad.safetensors is no .safetensors file" in row(stocked, 0)[1]
    stocked.list.table.setCurrentCell(0, 0)
    assert "cannot be used" in stocked.list.line.full_text()
    assert not stocked.list.use.isEnabled()
    click(qtbot, stocked.list.remove)
    stocked.list.dialog.button(QMessageBox.StandardButton.Yes).click()  # type: ignore[union-attr]
    settle(stocked.bench)
    assert not bad.exists()
    assert [entry.name for entry in stocked.bench.engines.entries] == ["tiny"]


def test_removing_asks_first(
    qtbot: Any, stocked: ModelsDock, models_folder: Path, settle: Settle
) -> None:
    file = models_folder / "tiny.safetensors"
    click(qtbot, stocked.list.remove)
    assert str(file) in stocked.list.dialog.text()  # type: ignore[union-attr]
    stocked.list.dialog.button(QMessageBox.StandardButton.Cancel).click()  # type: ignore[union-attr]
    settle(stocked.bench)
    assert file.exists()
    click(qtbot, stocked.list.remove)
    stocked.list.dialog.button(QMessageBox.StandardButton.Yes).click()  # type: ignore[union-attr]
    settle(stocked.bench)
    assert not file.exists()
    assert stocked.list.table.rowCount() == 0
    assert not stocked.list.remove.isEnabled()


def test_a_shipped_model_cannot_be_removed(
    dock: ModelsDock, tiny_model: Path, tmp_path: Path, settle: Settle
) -> None:
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "tiny.safetensors").write_bytes(tiny_model.read_bytes())
    dock.bench.engines.refresh()
    settle(dock.bench)
    dock.list.table.setCurrentCell(0, 0)
    assert row(dock, 0)[5] == "shipped"
    assert not dock.list.remove.isEnabled()
    assert dock.list.use.isEnabled()


def test_a_model_is_used_for_the_map_where_it_fits(qtbot: Any, stocked: ModelsDock) -> None:
    session, engines = stocked.bench.session, stocked.bench.engines
    session.set_phases(load_phases(["Au"]))
    assert not stocked.list.use.isEnabled()
    assert "Au is unknown to it" in stocked.list.line.full_text()
    session.set_phases(load_phases(["NiO"]))
    click(qtbot, stocked.list.use)
    assert engines.chosen == "tiny"
    assert stocked.list.line.full_text() == "The Map dock uses it."


# ------------------------------------------------------------- filling in
@pytest.fixture
def train(qtbot: Any, dock: ModelsDock, settle: Settle) -> Any:
    """The page of training, its recipes read."""
    dock.tabs.setCurrentWidget(dock.train)
    qtbot.waitUntil(lambda: dock.bench.training.recipes is not None, timeout=60_000)
    settle(dock.bench)
    return dock.train


def test_what_is_missing_is_said(train: Any) -> None:
    assert train.line.full_text().startswith("Add a phase in the Map dock first")
    assert not train.train.isEnabled()
    assert not train.resume.isEnabled()
    assert not train.stop.isEnabled()


def test_the_scan_fills_in_the_form(
    train: Any, shown: Workbench, settle: Settle, models_folder: Path
) -> None:
    shown.session.set_phases(load_phases(["LiNiO2", "NiO"]))
    settle(shown)
    draft = train.form.draft()
    assert [phase.name for phase in draft.phases] == ["LiNiO2", "NiO"]
    assert draft.voltage_kv == 200
    center = shown.session.calibration.center
    assert center is not None
    reach = min(*center, 31 - center[0], 31 - center[1]) * 0.04
    assert draft.q_max == pytest.approx(reach, abs=1e-3)
    assert draft.name == "linio2-nio-200kv-polar"
    assert train.form.target() == models_folder / "training" / draft.name
    assert train.line.full_text() == "Ready: press Train."
    train.form.phases.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert train.form.draft().name == "nio-200kv-polar"
    # A phase that is new is ticked; one that was not stays so.
    shown.session.set_phases(load_phases(["LiNiO2", "NiO", "Au"]))
    assert [phase.name for phase in train.form.draft().phases] == ["NiO", "Au"]


def test_what_the_user_wrote_stays(
    qtbot: Any, train: Any, shown: Workbench, settle: Settle, make_scan: Callable[..., Scan]
) -> None:
    from napari_diffmap.scan.calibration import Calibration

    shown.session.set_phases(load_phases(["NiO"]))
    train.form.voltage.setValue(300)
    train.form.name.selectAll()
    qtbot.keyClicks(train.form.name, "mine")
    shown.opening.show(
        make_scan(calibration=Calibration(None, 0.05, 80.0, "missing", "file", "file"))
    )
    settle(shown)
    shown.session.set_phases(load_phases(["NiO"]))
    draft = train.form.draft()
    assert (draft.name, draft.voltage_kv) == ("mine", 300)
    assert train.form.target().name == "mine"


def test_a_scan_without_a_voltage_asks_for_one(
    train: Any, shown: Workbench, settle: Settle, make_scan: Callable[..., Scan]
) -> None:
    from napari_diffmap.scan.calibration import Calibration

    train.form.voltage.setValue(train.form.voltage.minimum())
    shown.opening.show(make_scan(calibration=Calibration()))
    settle(shown)
    shown.session.set_phases(load_phases(["NiO"]))
    assert train.line.full_text() == "Enter the voltage in kV: 20 to 1500."
    train.form.voltage.setValue(120)
    assert train.line.full_text() == "Ready: press Train."


def test_a_recipe_gives_network_and_conditions(
    train: Any, shown: Workbench, settle: Settle
) -> None:
    shown.session.set_phases(load_phases(["NiO"]))
    settle(shown)
    like = train.form.like
    assert like.count() >= 2, "a recipe comes with the package"
    like.setCurrentIndex(1)
    like.activated.emit(1)
    record = shown.training.recipes.records[like.currentText()]  # type: ignore[union-attr]
    draft = train.form.draft()
    assert draft.steps == record["plan"]["steps"]
    made = draft.record()
    assert made["options"] == record["options"]
    assert made["plan"]["rate"] == record["plan"]["rate"]
    assert made["phases"] == ["NiO"]


def test_another_family_learns_one_phase(train: Any, shown: Workbench, settle: Settle) -> None:
    shown.session.set_phases(load_phases(["LiNiO2", "NiO"]))
    settle(shown)
    train.form.family.setCurrentText("swin")
    train.form.family.activated.emit(train.form.family.currentIndex())
    assert "learns one phase" in train.line.full_text()
    train.form.phases.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert train.form.draft().name == "nio-200kv-swin"
    assert train.line.full_text() == "Ready: press Train."


def test_conditions_take_the_place_of_the_curves(train: Any, shown: Workbench) -> None:
    assert train.loss.isVisible()
    train.form.more.click()
    assert not train.loss.isVisible()
    box = train.form.conditions.domain.controls["thickness_nm"]
    assert box.isVisible()
    shown.session.set_phases(load_phases(["NiO"]))
    box.high.setValue(25)
    assert train.form.draft().record()["domain"]["thickness_nm"] == (8.0, 25.0)


def test_a_name_that_is_taken_is_told(
    qtbot: Any, stocked: ModelsDock, train: Any, settle: Settle
) -> None:
    stocked.bench.session.set_phases(load_phases(["NiO"]))
    settle(stocked.bench)
    train.form.name.selectAll()
    qtbot.keyClicks(train.form.name, "tiny")
    assert "There is a model named tiny already" in train.line.full_text()
    assert not train.train.isEnabled()


# ----------------------------------------------------------------- training
@pytest.fixture
def ready(train: Any, shown: Workbench, settle: Settle) -> Any:
    """Filled in for a training of seconds."""
    recipes = shown.training.recipes
    assert recipes is not None
    recipes.records["defaults"]["held_out"] = 64
    shown.session.set_phases(load_phases(["NiO"]))
    settle(shown)
    form = train.form
    form.steps.setValue(32)
    form.conditions.batch.setValue(16)
    form.conditions.pool.setValue(256)
    form.conditions.options.setText("width: 16, depth: 1")
    return train


def finish(qtbot: Any, bench: Workbench) -> None:
    qtbot.waitUntil(lambda: not bench.training.running, timeout=60_000)
    qtbot.waitUntil(lambda: not bench.runner.busy, timeout=60_000)


def errors(notes: list[tuple[str, str]]) -> list[str]:
    return [said for severity, said in notes if severity == "error"]


def test_a_network_is_trained_and_chosen(
    qtbot: Any,
    ready: Any,
    dock: ModelsDock,
    models_folder: Path,
    notes: list[tuple[str, str]],
) -> None:
    bench, lines = dock.bench, []
    bench.training.changed.connect(lambda: lines.append(bench.training.line))
    click(qtbot, ready.train)
    assert bench.training.running
    assert not ready.form.steps.isEnabled()
    finish(qtbot, bench)
    assert not errors(notes)
    assert any(line.startswith("Simulating patterns") for line in lines)
    steps = [line for line in lines if line.startswith("Step ")]
    assert "32 of 32 (100 %)" in steps[-1]
    assert "held out" in steps[-1]
    assert "% right" in steps[-1]
    assert any("s left" in line for line in steps)
    # The model is in the list, its card is shown, the map may use it.
    name = "nio-200kv-polar"
    assert dock.tabs.currentWidget() is dock.list
    assert dock.list.chosen is not None
    assert dock.list.chosen.name == name
    assert "NiO" in dock.list.card.toPlainText()
    assert (models_folder / f"{name}.safetensors").is_file()
    click(qtbot, dock.list.use)
    assert bench.engines.missing() == ""
    # Curves of both kinds are drawn.
    assert [line.name for line in ready.loss.lines] == ["trained on", "held out"]
    assert len(ready.loss.lines[1].x) == 16
    assert {"first answer", "any answer"} <= {line.name for line in ready.shares.lines}
    assert ready.progress.value() == 1000
    # Another training would have another name and folder.
    dock.tabs.setCurrentWidget(ready)
    assert ready.form.draft().name == f"{name}-2"
    assert ready.train.isEnabled()
    assert "trained in" in ready.line.full_text()
    folder = models_folder / "training" / name
    assert folder_state(folder) == "finished"
    ready.form.choose_folder(str(folder))
    assert "finished training" in ready.line.full_text()
    assert not ready.resume.isEnabled()


def test_a_stopped_training_goes_on(
    qtbot: Any, ready: Any, dock: ModelsDock, models_folder: Path, notes: list[tuple[str, str]]
) -> None:
    from napari_diffmap.models.training import read_log

    bench = dock.bench
    ready.form.steps.setValue(160)
    bench.training.stepped.connect(lambda: bench.training.share > 0.05 and bench.training.stop())
    click(qtbot, ready.train)
    finish(qtbot, bench)
    folder = models_folder / "training" / "nio-200kv-polar"
    assert folder_state(folder) == "stopped"
    assert bench.training.last is not None
    done = bench.training.last.summary["steps"]
    assert 8 <= done < 160
    assert "Resume goes on from there" in ready.line.full_text()
    assert not ready.train.isEnabled()
    assert not list(models_folder.glob("*.safetensors"))
    # What is filled in since does not matter: its own recipe counts.
    bench.training.stepped.disconnect()
    bench.training.stepped.connect(ready._on_stepped)
    ready.form.steps.setValue(7)
    shares: list[float] = []
    bench.training.stepped.connect(lambda: shares.append(bench.training.share))
    click(qtbot, ready.resume)
    finish(qtbot, bench)
    assert not errors(notes)
    # The first turn brings the curves of before, the next steps go on behind them.
    assert shares[0] == 0
    assert shares[1] * 160 > done
    assert bench.training.last.summary["steps"] == 160
    assert [entry.name for entry in bench.engines.entries] == ["nio-200kv-polar"]
    log = [one.step for one in read_log(folder / "training.jsonl")]
    assert log == list(range(10, 161, 10))
    assert ready.loss.lines[1].x == tuple(map(float, log))


def test_stopped_before_the_first_step_nothing_is_left(
    qtbot: Any, ready: Any, dock: ModelsDock, notes: list[tuple[str, str]]
) -> None:
    bench = dock.bench
    click(qtbot, ready.train)
    click(qtbot, ready.stop)
    assert bench.training.state == "stopping"
    finish(qtbot, bench)
    assert bench.training.line.startswith("Stopped before the first step")
    assert not errors(notes)
    assert ready.train.isEnabled()
    assert not ready.resume.isEnabled()


def test_a_second_training_is_refused(qtbot: Any, ready: Any, dock: ModelsDock) -> None:
    bench = dock.bench
    draft, folder = ready.form.draft(), ready.form.target()
    click(qtbot, ready.train)
    with pytest.raises(BadInputError, match="being trained"):
        bench.training.start(draft, folder)
    bench.training.stop()
    finish(qtbot, bench)


def test_an_error_is_one_line_and_stays_readable(
    qtbot: Any, ready: Any, dock: ModelsDock, tmp_path: Path, notes: list[tuple[str, str]]
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    ready.form.choose_folder(str(tmp_path / "file" / "folder"))
    click(qtbot, ready.train)
    finish(qtbot, dock.bench)
    (line,) = errors(notes)
    assert "\n" not in line
    assert "Not a directory" in line
    assert dock.bench.training.line == line
    assert ready.train.isEnabled()


def test_options_that_no_network_has_are_one_line(
    qtbot: Any, ready: Any, dock: ModelsDock, notes: list[tuple[str, str]]
) -> None:
    ready.form.conditions.options.setText("widht: 16")
    click(qtbot, ready.train)
    finish(qtbot, dock.bench)
    (line,) = errors(notes)
    assert "cannot be built" in line


def test_a_model_that_cannot_be_listed_is_kept_and_told(
    qtbot: Any,
    ready: Any,
    dock: ModelsDock,
    tiny_model: Path,
    models_folder: Path,
    notes: list[tuple[str, str]],
) -> None:
    """Another one took its name meanwhile."""
    from napari_diffmap.models.weights import read_model, write_model

    bench, (card, state) = dock.bench, read_model(tiny_model)
    taken = models_folder / "nio-200kv-polar.safetensors"
    click(qtbot, ready.train)
    write_model(taken, state, card.model_copy(update={"name": "nio-200kv-polar"}))
    finish(qtbot, bench)
    (line,) = errors(notes)
    assert "already: remove that one first" in line
    kept = models_folder / "training" / "nio-200kv-polar" / "nio-200kv-polar.safetensors"
    assert str(kept) in line
    assert read_card(kept).patterns_seen == 32 * 16


def test_a_window_that_closes_ends_the_training(
    qtbot: Any, ready: Any, dock: ModelsDock, models_folder: Path
) -> None:
    bench = dock.bench
    ready.form.steps.setValue(100_000)
    click(qtbot, ready.train)
    qtbot.waitUntil(lambda: bench.training.share > 0, timeout=60_000)
    bench.close()
    qtbot.waitUntil(lambda: not bench.training.running, timeout=60_000)
    assert folder_state(models_folder / "training" / "nio-200kv-polar") == "stopped"


def test_another_scan_does_not_end_a_training(
    qtbot: Any, ready: Any, dock: ModelsDock, make_scan: Callable[..., Scan], settle: Settle
) -> None:
    bench = dock.bench
    click(qtbot, ready.train)
    bench.opening.show(make_scan())
    bench.session.set_phases([])
    finish(qtbot, bench)
    assert [entry.name for entry in bench.engines.entries] == ["nio-200kv-polar"]


def test_a_map_that_waits_for_a_training_says_so(
    qtbot: Any, ready: Any, dock: ModelsDock, model: ViewerModel
) -> None:
    from napari_diffmap.widgets.map_dock import MapDock

    bench = dock.bench
    maps = MapDock(model)
    qtbot.addWidget(maps)
    ready.form.steps.setValue(100_000)
    click(qtbot, ready.train)
    qtbot.waitUntil(lambda: bench.training.share > 0, timeout=60_000)
    maps.start()
    assert "Waiting for the training" in maps.line.full_text()
    time.sleep(0.5)
    assert bench.run.state == "running"
    assert bench.session.map is None
    bench.training.stop()
    qtbot.waitUntil(lambda: "Waiting" not in maps.line.full_text(), timeout=60_000)
    bench.run.stop()
    qtbot.waitUntil(lambda: bench.run.state == "idle", timeout=60_000)
    finish(qtbot, bench)


def test_the_names_of_files_are_those_of_the_training() -> None:
    from napari_diffmap.models.training import CHECKPOINT as THEIRS

    assert CHECKPOINT == THEIRS


# ----------------------------------------------------------------- adapting
def test_without_a_saved_session_nothing_is_learnt(
    qtbot: Any,
    stocked: ModelsDock,
    flat_map: Callable[..., Any],
    notes: list[tuple[str, str]],
) -> None:
    stocked.list.choose("tiny")
    click(qtbot, stocked.list.adapt)
    assert errors(notes) == ["map the scan, correct and save it first: that is learnt from"]
    stocked.bench.session.set_map(flat_map(stocked.bench.session.grid))
    click(qtbot, stocked.list.adapt)
    assert errors(notes)[-1].startswith("save the session in the Doubt dock first")
    assert not stocked.bench.training.running


def test_a_model_goes_on_from_the_saved_session(
    qtbot: Any,
    stocked: ModelsDock,
    flat_map: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    notes: list[tuple[str, str]],
) -> None:
    begun: list[tuple[dict[str, Any], Path]] = []
    bench = stocked.bench
    monkeypatch.setattr(bench.training, "start_record", lambda *what: begun.append(what))
    bench.session.set_map(flat_map(bench.session.grid))
    bench.keeper.folder = tmp_path / "mine.diffmap"
    stocked.list.choose("tiny")
    click(qtbot, stocked.list.adapt)
    assert not errors(notes)
    (record, folder) = begun[0]
    assert record["start"] == "tiny"
    assert record["labelled"] == [str(tmp_path / "mine.diffmap")]
    assert folder.name == record["name"] == "tiny-adapted"
    assert stocked.tabs.currentWidget() is stocked.train
