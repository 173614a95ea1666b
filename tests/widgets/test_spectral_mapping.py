from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_diffmap.maps import SpectralMap
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.simulated import simulated_references, simulated_scan
from napari_diffmap.widgets.map_dock import MapDock
from napari_diffmap.widgets.parameter_form import NumbersEdit, ParameterForm
from napari_diffmap.widgets.phases_form import PhasesForm
from napari_diffmap.widgets.spectrum import SpectrumView
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[[Workbench], None]
LEFT, PLAIN = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def stack(bench: Workbench, settle: Settle) -> Workbench:
    bench.opening.show(simulated_scan(8, 2000, (40, 40))[0])
    settle(bench)
    return bench


@pytest.fixture
def view(qtbot: Any, stack: Workbench, settle: Settle) -> SpectrumView:
    view = SpectrumView(stack.desk)
    qtbot.addWidget(view)
    view.resize(600, 400)
    view.show()
    settle(stack)
    view.canvas.draw()
    return view


@pytest.fixture
def form(qtbot: Any, stack: Workbench) -> PhasesForm:
    form = PhasesForm(stack)
    qtbot.addWidget(form)
    return form


def at(view: SpectrumView, energy: float) -> QPoint:
    """Where an energy lies on the plot."""
    x, y = view.axes.transData.transform((energy, np.mean(view.axes.get_ylim())))
    ratio = view.canvas.device_pixel_ratio
    return QPoint(round(x / ratio), round(view.canvas.height() - y / ratio))


def drag(view: SpectrumView, *energies: float) -> None:
    QTest.mousePress(view.canvas, LEFT, PLAIN, at(view, energies[0]))
    for energy in energies[1:]:
        QTest.mouseMove(view.canvas, at(view, energy))
    QTest.mouseRelease(view.canvas, LEFT, PLAIN, at(view, energies[-1]))


def settled_map(qtbot: Any, bench: Workbench) -> None:
    qtbot.waitUntil(lambda: bench.spectral_run.state == "idle", timeout=120_000)
    qtbot.waitUntil(lambda: not bench.runner.busy, timeout=60_000)


def test_windows_are_dragged_in_the_plot(
    view: SpectrumView, stack: Workbench, settle: Settle
) -> None:
    view.image.setCurrentIndex(1)
    view.image.activated.emit(1)
    drag(view, 511.0, 513.0, 515.0)
    low, high = stack.spectral.look.spans[0]
    assert (low, high) == pytest.approx((511, 515), abs=0.3)
    drag(view, 513.0, 516.0)  # inside: moved
    assert stack.spectral.look.spans[0] == pytest.approx((514, 518), abs=0.3)
    drag(view, 518.0, 520.0)  # its rim
    assert stack.spectral.look.spans[0] == pytest.approx((514, 520), abs=0.4)
    settle(stack)
    assert "mean of A" in view.shown.full_text()
    assert not view.slider.isEnabled()


def test_the_edge_is_dragged_or_entered(view: SpectrumView, stack: Workbench) -> None:
    view.bar.how.textActivated.emit("post-edge")
    look = stack.spectral.look
    assert (look.quantity, look.normalisation) == ("OD", "post-edge")
    assert all(box.isEnabled() for box in view.bar.edge)
    drag(view, look.edge[1], 530.0)
    assert stack.spectral.look.edge[1] == pytest.approx(530, abs=0.3)
    assert view.bar.edge[1].value() == pytest.approx(530, abs=0.3)
    view.bar.edge[0].setValue(514.0)
    assert stack.spectral.look.edge[0] == 514.0
    assert view.plot.edges[0][0].get_visible()


def test_density_held_spectra_and_the_legend(
    view: SpectrumView, stack: Workbench, settle: Settle
) -> None:
    assert view.legend.isHidden()
    view.bar.quantity.activated.emit(1)
    settle(stack)
    assert "OD" in view.axes.get_ylabel()
    view.bar.hold.click()
    stack.spectral.references.set(simulated_references())
    settle(stack)
    assert not view.legend.isHidden()
    words = [view.legend.list.item(i).text() for i in range(view.legend.list.count())]
    assert words == ["1 y 20, x 20", "Na3", "Na2.4", "Na2", "Na1", "Na<1"]
    assert sum(line.get_visible() for line in view.plot.lines) == 6
    view.legend.list.item(1).setCheckState(Qt.CheckState.Unchecked)
    assert sum(line.get_visible() for line in view.plot.lines) == 5
    view.legend.list.item(0).setText("1 core")
    assert stack.spectral.held.items[0].name == "core"
    view.legend.clear.click()
    assert not stack.spectral.held.items


def test_spectra_follow_the_mouse(
    qtbot: Any, view: SpectrumView, stack: Workbench, settle: Settle, within: Any
) -> None:
    """Forty spectra of a large stack with references, drawn each, in two seconds."""
    stack.opening.show(simulated_scan(60, 2000, (256, 256))[0])
    stack.spectral.references.set(simulated_references())
    stack.spectral.change_look(quantity="OD")
    settle(stack)
    view.canvas.draw()
    shown: list[int] = []
    stack.spectral.spectrum_changed.connect(lambda: shown.append(1))
    with within(2.0):
        for i in range(40):
            stack.session.set_position(80 + i, 120)
            qtbot.waitUntil(lambda: not stack.runner.busy)
            view.plot._refresh()
    assert len(shown) >= 40


def test_i0_is_chosen_in_both_docks(
    view: SpectrumView,
    form: PhasesForm,
    stack: Workbench,
    settle: Settle,
    tmp_path: Path,
    notes: list[tuple[str, str]],
) -> None:
    row = view.bar.incident
    row._on_choice(1)
    assert "region" in notes[-1][1]
    assert row.choice.currentText() == "brightest pixels"
    path = tmp_path / "i0.xsp"
    energies = stack.spectral.energies
    np.savetxt(path, np.stack([energies, np.full(len(energies), 2000.0)], axis=1))
    row.take_file(str(path))
    settle(stack)
    assert form.incident.choice.currentText() == "i0.xsp"
    assert "i0.xsp" in form.incident.state.full_text()
    form.incident._on_choice(3)
    settle(stack)
    assert row.choice.currentText() == "none: stack is OD"


def test_shifts_are_found_and_applied(
    qtbot: Any, view: SpectrumView, form: PhasesForm, stack: Workbench, settle: Settle
) -> None:
    view.bar.align.setChecked(True)
    assert not view.aligning.isHidden()
    assert not view.aligning.apply.isEnabled()
    view.aligning.find.click()
    settle(stack)
    assert len(view.aligning.plot.lines) == 2
    view.aligning.apply.click()
    settle(stack)
    assert form.form.values()["align"] is True
    view.aligning.remove.click()
    settle(stack)
    assert form.form.values()["align"] is False


def test_the_map_dock_shows_the_form_of_the_scan(
    qtbot: Any, stack: Workbench, settle: Settle, make_scan: Callable[..., Any]
) -> None:
    dock = MapDock(stack.desk.sample.viewer)
    qtbot.addWidget(dock)
    assert dock.pages.currentWidget() is dock.phase_maps
    assert "two references" in dock.phase_maps.line.full_text()
    assert not dock.phase_maps.map_button.isEnabled()
    stack.opening.show(make_scan())
    settle(stack)
    assert dock.pages.currentIndex() == 0


def test_references_in_the_table(
    form: PhasesForm, stack: Workbench, settle: Settle, notes: list[tuple[str, str]]
) -> None:
    stack.spectral.references.set(simulated_references())
    settle(stack)
    table = form.references.table
    assert table.rowCount() == 5
    table.item(0, 0).setText("rhombic")
    table.item(0, 1).setText("2,9")
    assert stack.spectral.references.items[0].name == "rhombic"
    assert stack.spectral.references.items[0].composition == 2.9
    table.item(0, 1).setText("much")
    assert "number" in notes[-1][1]
    assert table.item(0, 1).text() == "2.9"
    table.setCurrentCell(4, 0)
    form.references.remove.click()
    assert len(stack.spectral.references) == 4
    assert form.line.full_text() == "Ready: press Map."


def test_a_stack_is_mapped(
    qtbot: Any, form: PhasesForm, stack: Workbench, settle: Settle, tmp_path: Path
) -> None:
    stack.spectral.references.set(simulated_references()[::2])
    settle(stack)
    form.form.set_values({"method": "nnls", "calibrate": False})
    form.map_button.click()
    assert stack.spectral_run.state == "running"
    assert form.stop_button.isEnabled()
    settled_map(qtbot, stack)
    found = stack.session.map
    assert isinstance(found, SpectralMap)
    assert [phase.name for phase in found.phases] == ["Na3", "Na2", "Na<1"]
    assert stack.spectral.last is not None
    names = [form.table.item(i, 0).text() for i in range(form.table.rowCount())]
    assert "▶ nnls (the map)" in names
    assert "in doubt" in form.line.full_text()
    saved: list[Any] = []
    stack.spectral_run.saved.connect(saved.append)
    form.save(tmp_path / "new" / "folder")
    qtbot.waitUntil(lambda: bool(saved), timeout=60_000)
    assert (tmp_path / "new" / "folder" / "summary.json").is_file()


def test_a_map_is_stopped(
    qtbot: Any, form: PhasesForm, stack: Workbench, settle: Settle, notes: list[tuple[str, str]]
) -> None:
    stack.spectral.references.set(simulated_references())
    settle(stack)
    form.map_button.click()
    form.stop_button.click()
    settled_map(qtbot, stack)
    assert stack.session.map is None
    assert any("stopped" in text for _, text in notes)
    assert form.map_button.isEnabled()


def test_energies_are_planned_and_used(form: PhasesForm, stack: Workbench, settle: Settle) -> None:
    assert not form.plan.plan.isEnabled()
    stack.spectral.references.set(simulated_references())
    settle(stack)
    form.plan.number.setValue(4)
    form.plan.among.setCurrentIndex(1)
    form.plan.plan.click()
    settle(stack)
    assert "Hardest to tell" in form.plan.answer.text()
    form.plan.use.click()
    energies = form.form.values()["energies"]
    assert len(energies) == 4
    assert set(energies) <= set(stack.spectral.energies.round(3))
    assert form.form.parameters().energies == energies


def test_the_form_of_the_parameters(qtbot: Any) -> None:
    form = ParameterForm(SpectralParameters)
    qtbot.addWidget(form)
    assert form.parameters() == SpectralParameters()
    assert isinstance(form.controls["energies"], NumbersEdit)
    form.set_values({"energies": (707.0, 708.2), "clusters": 5, "composition_range": (0.0, 3.0)})
    made = form.parameters()
    assert made.energies == (707.0, 708.2)
    assert made.clusters == 5
    assert made.composition_range == (0.0, 3.0)
    assert all(control.toolTip() for control in form.controls.values())
