"""The Calibrate dock: fit, residual, apply, remove; fits run beside the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.methods.calibration import CalibrationParameters
from napari_diffmap.scan.descan import fit_descan
from napari_diffmap.widgets.calibrate_dock import CalibrateDock
from napari_diffmap.widgets.calibration_proposal import residual_pixmap
from napari_diffmap.widgets.workbench import Workbench


@pytest.fixture
def dock(qtbot: Any, model: ViewerModel, shown: Workbench) -> CalibrateDock:
    dock = CalibrateDock(model)
    qtbot.addWidget(dock)
    dock.resize(590, 340)
    dock.show()
    return dock


def press(qtbot: Any, button: Any) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_the_centre_is_fitted_shown_applied_and_removed(
    qtbot: Any, dock: CalibrateDock, shown: Workbench, settle: Callable[[Workbench], None]
) -> None:
    before = shown.session.calibration
    press(qtbot, dock.fit_buttons["center"])
    assert dock.proposal.words.text().startswith("Fitting:")
    assert dock.proposal.dismiss_button.text() == "Stop"
    settle(shown)
    assert "RMS" in dock.proposal.words.text()
    assert dock.proposal.map.isVisible()
    assert shown.session.calibration == before
    press(qtbot, dock.proposal.apply_button)
    assert shown.session.calibration.center == pytest.approx((15.6, 16.3), abs=0.2)
    assert dock.origins["center"].text() == "measured"
    assert "RMS" in dock.origins["center"].toolTip()
    assert not dock.proposal.apply_button.isEnabled()
    press(qtbot, dock.remove_buttons["center"])
    assert shown.session.calibration.center is None
    assert dock.origins["center"].text() == "missing"
    assert "centre missing" in dock.state.full_text()


def test_a_fit_can_be_stopped(
    qtbot: Any, dock: CalibrateDock, shown: Workbench, settle: Callable[[Workbench], None]
) -> None:
    press(qtbot, dock.fit_buttons["center"])
    press(qtbot, dock.proposal.dismiss_button)
    settle(shown)
    assert shown.calibrating.proposal is None
    assert dock.proposal.words.text().startswith("Press Fit")


def test_a_known_phase_is_asked_for(
    dock: CalibrateDock, shown: Workbench, settle: Callable[[Workbench], None]
) -> None:
    assert not dock.fit_buttons["pixel-size"].isEnabled()
    assert "Map dock" in dock.fit_buttons["pixel-size"].toolTip()
    shown.session.set_phases([load_phase("Au"), load_phase("Si")])
    assert [dock.phase.itemText(i) for i in range(dock.phase.count())] == ["Au", "Si"]
    assert dock.fit_buttons["pixel-size"].isEnabled()
    dock.phase.setCurrentIndex(1)
    dock.fit("pixel-size")
    settle(shown)
    # 72 patterns with one spot each are no silicon.
    assert not dock.proposal.apply_button.isEnabled()
    assert dock.proposal.words.text().startswith("pixel size: ")
    dock.proposal.dismiss_button.click()
    assert dock.proposal.words.text().startswith("Press Fit")


def test_ellipse_and_rotation_are_entered(dock: CalibrateDock, shown: Workbench) -> None:
    dock.ratio.setValue(1.02)
    dock.direction.setValue(40)
    dock.direction.editingFinished.emit()
    assert shown.session.calibration.ellipse == pytest.approx((1.02, 40.0))
    assert dock.origins["ellipse"].text() == "entered"
    dock.rotation.setValue(-30)
    dock.rotation.editingFinished.emit()
    dock.transposed.click()
    assert shown.session.calibration.rotation_deg == -30
    assert shown.session.calibration.transposed
    dock.remove_buttons["rotation"].click()
    assert shown.session.calibration.rotation_deg is None
    assert not dock.transposed.isChecked()
    assert dock.origins["rotation"].text() == "not set"


def test_the_settings_are_those_of_the_model(dock: CalibrateDock) -> None:
    dock.proposal.settings_button.click()
    assert dock.proposal.stack.currentIndex() == 1
    fields = CalibrationParameters.model_fields.keys() - {"phase"}
    assert dock.proposal.form.controls.keys() == fields
    assert dock.proposal.parameters() == CalibrationParameters()
    dock.proposal.form.set_values({"beam": "inversion", "scale_factor": 1.2})
    assert dock.proposal.parameters().beam == "inversion"
    assert dock.proposal.parameters().scale_factor == pytest.approx(1.2)


def test_no_word_is_cut(dock: CalibrateDock, shown: Workbench) -> None:
    """At the size of the standard arrangement."""
    shown.session.set_phases([load_phase("LiNiO2")])
    for label in dock.origins.values():
        assert label.width() >= label.sizeHint().width()
    for button in (*dock.fit_buttons.values(), *dock.remove_buttons.values(), dock.fit_all):
        text = button.fontMetrics().horizontalAdvance(button.text())
        assert button.width() >= text


def test_the_residual_map_has_a_pixel_a_position(qtbot: Any) -> None:
    places = np.argwhere(np.ones((6, 9))).astype(float)
    beams = np.tile((10.0, 12.0), (54, 1)) + np.random.default_rng(0).normal(0, 0.1, (54, 2))
    pixmap = residual_pixmap(fit_descan(beams, places, (6, 9)))
    assert pixmap.width() == 84
    assert pixmap.height() == 56
