"""The engine of the Map dock: offered, refused, used; the network and its map are real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Qt, Signal

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.errors import BadInputError
from napari_diffmap.models import registry
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.engines import TEMPLATES
from napari_diffmap.widgets.key_view import KeyView
from napari_diffmap.widgets.map_dock import MapDock
from napari_diffmap.widgets.map_run import judged_line
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[[Workbench], None]


@pytest.fixture(autouse=True)
def unshipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model comes with the package."""
    monkeypatch.setattr(registry, "shipped_folder", lambda: tmp_path / "shipped")


@pytest.fixture
def dock(
    qtbot: Any,
    model: ViewerModel,
    bench: Workbench,
    settle: Settle,
    models_folder: Path,
    tiny_model: Path,
) -> MapDock:
    """With the tiny model among the engines."""
    (models_folder / "tiny.safetensors").write_bytes(tiny_model.read_bytes())
    dock = MapDock(model)
    qtbot.addWidget(dock)
    settle(bench)
    return dock


@pytest.fixture
def sample(
    dock: MapDock, bench: Workbench, make_scan: Callable[..., Scan], settle: Settle
) -> MapDock:
    """A few positions of the bundled sample, and its phases."""
    from napari_diffmap.crystal.sample import build_truth, simulate_rows
    from napari_diffmap.scan.calibration import Calibration

    counts = simulate_rows(build_truth(), slice(22, 24))[:, 18:24]
    calibration = Calibration(None, 0.0225, 200.0, "missing", "file", "file")
    bench.opening.show(make_scan(counts, calibration=calibration))
    settle(bench)
    bench.session.set_phases(load_phases(["LiNiO2", "NiO"]))
    dock.form.set_values({"zone_step_deg": 8, "n_best": 2, "most_crystals": 1})
    return dock


class _Told(QObject):
    """A signal of a controller as one of Qt, to be waited for."""

    told = Signal()

    def __init__(self, signal: Any) -> None:
        super().__init__()
        signal.connect(lambda *_: self.told.emit())


def items(dock: MapDock) -> dict[str, tuple[str, bool, str]]:
    """Engines by name: title, whether it can be chosen, tooltip."""
    box = dock.engine
    found = {}
    for i in range(box.count()):
        item = box.model().item(i)  # type: ignore[union-attr]
        found[box.itemData(i)] = (item.text(), item.isEnabled(), item.toolTip())
    return found


def choose(dock: MapDock, name: str) -> None:
    """As the user does."""
    dock.engine.setCurrentIndex(dock.engine.findData(name))
    dock.engine.activated.emit(dock.engine.currentIndex())


def test_engines_are_offered_by_title(dock: MapDock, bench: Workbench) -> None:
    bench.session.set_phases(load_phases(["NiO"]))
    found = items(dock)
    assert found[TEMPLATES][:2] == ("Templates", True)
    assert found["tiny"][:2] == ("Tiny network", True)
    assert dock.engine.currentData() == TEMPLATES


def test_what_does_not_fit_is_disabled_with_its_reason(
    dock: MapDock, bench: Workbench, scan: Scan, settle: Settle
) -> None:
    bench.opening.show(scan)
    settle(bench)
    bench.session.set_phases(load_phases(["Au"]))
    title, enabled, tip = items(dock)["tiny"]
    assert not enabled
    assert title == "Tiny network (does not fit)"
    assert "Au is unknown to it" in tip
    bench.session.set_phases(load_phases(["NiO"]))
    assert items(dock)["tiny"][1]
    bench.session.set_calibration(scan.calibration.with_voltage(80, "entered"))
    assert "voltage 80 kV is outside" in items(dock)["tiny"][2]
    bench.session.set_calibration(scan.calibration.with_voltage(200, "entered"))
    assert items(dock)["tiny"][1]
    dock.form.set_values({"precession_deg": 3})
    assert "precession 3° is outside" in items(dock)["tiny"][2]


def test_a_choice_that_no_longer_fits_is_told_in_the_line(sample: MapDock) -> None:
    session = sample.session
    choose(sample, "tiny")
    assert sample.line.full_text() == "Ready: press Map."
    assert sample.map_button.isEnabled()
    session.set_phases(load_phases(["LiNiO2", "Au"]))
    assert "Au is unknown to it" in sample.line.full_text()
    assert not sample.map_button.isEnabled()
    assert sample.engine.currentData() == "tiny"
    choose(sample, TEMPLATES)
    assert sample.line.full_text() == "Ready: press Map."


def test_a_model_that_comes_and_goes_is_followed(
    dock: MapDock, bench: Workbench, settle: Settle
) -> None:
    choose(dock, "tiny")
    bench.engines.remove("tiny")
    settle(bench)
    settle(bench)
    assert "There is no model 'tiny' any more" in dock.line.full_text()
    assert not items(dock)["tiny"][1]
    choose(dock, TEMPLATES)
    assert list(items(dock)) == [TEMPLATES]


def test_a_network_maps_and_the_templates_judge_it(
    qtbot: Any,
    sample: MapDock,
    model: ViewerModel,
    settle: Settle,
    notes: list[tuple[str, str]],
) -> None:
    bench = sample.bench
    key = KeyView(model)
    qtbot.addWidget(key)
    shown: list[bool] = []
    bench.maps.shown.connect(lambda: shown.append(True))
    choose(sample, "tiny")
    qtbot.mouseClick(sample.map_button, Qt.MouseButton.LeftButton)
    assert not sample.engine.isEnabled()
    qtbot.waitUntil(lambda: bench.run.state == "idle", timeout=120_000)
    qtbot.waitUntil(lambda: bool(shown), timeout=60_000)
    settle(bench)
    assert not [line for severity, line in notes if severity == "error"]
    run = bench.run.last
    assert run is not None
    assert run.summary["engine"] == "tiny"
    assert bench.run.method.parameters.engine == "tiny"
    # Its line stands in the dock, and the verdicts are a layer and a legend.
    judge = run.summary["judge"]
    assert judge["patterns"] > 0
    assert not sample.judged.isHidden()
    assert sample.judged.text().startswith("Templates agree in")
    advice = "look at the doubtful zones or map with templates"
    assert (advice in sample.judged.text()) is (judge["templates_likelier"] > 0.1)
    layer = bench.maps.layer("judged by templates")
    assert layer is not None
    assert not layer.visible
    assert len(layer.data) == judge["patterns"]
    assert int((run.map.extra["judged"] > 0).sum()) == judge["patterns"]
    assert f"Sample of {judge['patterns']} judged" in key.legend.text()
    # With another engine it is another run.
    choose(sample, TEMPLATES)
    partial = SimpleNamespace(complete=False, done=np.ones((2, 6), bool), seconds=1.0, error=None)
    bench.run.last = SimpleNamespace(  # type: ignore[assignment]
        result=partial, summary=run.summary, map=run.map
    )
    with pytest.raises(BadInputError, match="settings, phases or calibration changed"):
        bench.run.start(sample.form.parameters(engine=TEMPLATES), resume=True)  # type: ignore[arg-type]


def test_a_session_says_which_network_and_opens_without_it(
    qtbot: Any, sample: MapDock, settle: Settle, tmp_path: Path, notes: list[tuple[str, str]]
) -> None:
    from napari_diffmap.jobs.recipe import load_recipe
    from napari_diffmap.scan.open import save_scan

    bench = sample.bench
    assert bench.session.scan is not None
    save_scan(bench.session.scan, tmp_path / "scan.hspy")
    bench.opening.open(tmp_path / "scan.hspy")
    settle(bench)
    bench.session.set_calibration(bench.session.calibration.with_voltage(200, "entered"))
    choose(sample, "tiny")
    sample.start()
    qtbot.waitUntil(lambda: bench.run.state == "idle", timeout=120_000)
    settle(bench)
    folder = tmp_path / "kept.diffmap"
    with qtbot.waitSignal(_Told(bench.keeper.saved).told, timeout=60_000):
        bench.keeper.save(folder)
    assert load_recipe(folder / "recipe.yaml").parameters["engine"] == "tiny"
    # A colleague has no such model: the map is there, with its spots.
    bench.engines.remove("tiny")
    bench.opening.show(bench.session.scan)
    settle(bench)
    assert bench.session.map is None
    bench.keeper.open(folder)
    qtbot.waitUntil(lambda: bench.session.map is not None, timeout=60_000)
    settle(bench)
    bench.session.set_position(1, 1)
    settle(bench)
    assert bench.run.method is None
    recipe = bench.keeper.recipe()
    assert recipe is not None
    assert recipe.parameters["engine"] == "tiny"
    assert not [line for severity, line in notes if severity == "error"]


def test_a_map_by_templates_is_not_judged(qtbot: Any, sample: MapDock, settle: Settle) -> None:
    sample.start()
    qtbot.waitUntil(lambda: sample.run.state == "idle", timeout=120_000)
    settle(sample.bench)
    assert sample.run.last is not None
    assert sample.judged.isHidden()
    assert sample.bench.maps.layer("judged by templates") is None


@pytest.mark.parametrize(("likelier", "advised"), [(0.05, False), (0.1, False), (0.2, True)])
def test_advice_is_given_where_templates_are_often_likelier(likelier: float, advised: bool) -> None:
    judge = {"line": "templates agree in 80 %", "templates_likelier": likelier}
    line = judged_line(SimpleNamespace(summary={"judge": judge}))  # type: ignore[arg-type]
    assert line.startswith("Templates agree in 80 %")
    assert ("map with templates" in line) is advised


def test_nothing_to_say_without_a_judge() -> None:
    assert judged_line(None) == ""
    assert judged_line(SimpleNamespace(summary={})) == ""  # type: ignore[arg-type]
