"""The Calibrate dock: direct beam, pixel size and voltage, with where each came from."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.errors import DiffmapError
from napari_diffmap.scan.calibration import Calibration, electron_wavelength
from napari_diffmap.viewer.readout import calibration_line
from napari_diffmap.widgets.bridge import report_error
from napari_diffmap.widgets.parts import plain_label, spin_width, tool_button
from napari_diffmap.widgets.workbench import workbench_of

_ORIGINS = {
    "missing": "missing",
    "file": "from the file",
    "measured": "measured",
    "entered": "entered",
}


class CalibrateDock(QWidget):
    """Centre, pixel size and voltage of the patterns.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        self.state = plain_label("")
        self.state.setToolTip("What an orientation map needs, and where each value came from")
        layout.addWidget(self.state)
        grid = QGridLayout()
        grid.setColumnStretch(4, 1)
        self.center_y = _spin(0, 1e5, 2, " px", "Direct beam: row in detector pixels")
        self.center_x = _spin(0, 1e5, 2, " px", "Direct beam: column in detector pixels")
        self.pixel_size = _spin(
            0, 9.99, 6, " 1/Å", "Size of a detector pixel in 1/Å, without 2π; 0 is unknown"
        )
        self.voltage = _spin(0, 3000, 1, " kV", "Accelerating voltage in kV; 0 is unknown")
        for box in (self.pixel_size, self.voltage):
            box.setSpecialValueText("missing")
        self.origins = {name: QLabel() for name in ("center", "pixel_size", "voltage")}
        rows = (
            ("Direct beam (row, column)", (self.center_y, self.center_x), "center"),
            ("Pixel size", (self.pixel_size,), "pixel_size"),
            ("Voltage", (self.voltage,), "voltage"),
        )
        for row, (words, boxes, name) in enumerate(rows):
            grid.addWidget(QLabel(words), row, 0)
            for column, box in enumerate(boxes):
                grid.addWidget(box, row, 1 + column)
            grid.addWidget(self.origins[name], row, 3)
        # napari's style sheet overrules a box's own minimum width.
        for column in (1, 2):
            grid.setColumnMinimumWidth(column, spin_width(self.pixel_size, "9.999999 1/Å"))
        layout.addLayout(grid)
        buttons = QHBoxLayout()
        self.find = tool_button("Find direct beam", "Measure the direct beam on the mean pattern")
        self.find.clicked.connect(lambda: self.bench.desk.find_beam())
        self.take = tool_button(
            "Centre from detector", "Take the centre of the selected detector as the direct beam"
        )
        self.take.clicked.connect(self.take_center)
        buttons.addWidget(self.find)
        buttons.addWidget(self.take)
        buttons.addStretch()
        layout.addLayout(buttons)
        self.facts = plain_label("")
        layout.addWidget(self.facts)
        layout.addStretch()
        for box in (self.center_y, self.center_x):
            box.editingFinished.connect(self._on_center)
        self.pixel_size.editingFinished.connect(self._on_pixel_size)
        self.voltage.editingFinished.connect(self._on_voltage)
        self._links: list[tuple[Any, Any]] = [
            (self.session.scan_changed, self.refresh),
            (self.session.calibration_changed, self.refresh),
            (self.session.detectors_changed, self._on_detectors),
            (self.bench.desk.beam_found, self.refresh),
        ]
        for signal, slot in self._links:
            signal.connect(slot)
        self.refresh()

    # --------------------------------------------------------------- state
    def refresh(self, *_: object) -> None:
        """Show the calibration as it is."""
        patterns = self.session.patterns
        calibration = self.session.calibration
        for widget in (self.center_y, self.center_x, self.pixel_size, self.voltage, self.find):
            widget.setEnabled(patterns is not None)
        self._on_detectors()
        if patterns is None:
            self.state.setText(
                "Open a scan first."
                if self.session.scan is None
                else f"No patterns to calibrate: this is {self.session.scan.in_words}."
            )
            self.facts.setText("")
            return
        self.state.setText(calibration_line(self.session))
        center = calibration.center or (0.0, 0.0)
        values = (*center, calibration.pixel_size or 0.0, calibration.voltage_kv or 0.0)
        boxes = (self.center_y, self.center_x, self.pixel_size, self.voltage)
        for box, value in zip(boxes, values, strict=True):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        for name, label in self.origins.items():
            label.setText(_ORIGINS[getattr(calibration, f"{name}_origin")])
        self.facts.setText(self._facts(calibration))

    def _facts(self, calibration: Calibration) -> str:
        patterns = self.session.patterns
        assert patterns is not None
        lines = []
        if self.session.beam_radius is not None:
            lines.append(f"Direct beam radius {self.session.beam_radius:.1f} px")
        if calibration.pixel_size is not None:
            reach = min(patterns.shape[2:]) / 2 * calibration.pixel_size
            lines.append(f"Detector reaches {reach:.2f} 1/Å from its middle (d {1 / reach:.2f} Å)")
        if calibration.voltage_kv is not None:
            wavelength = electron_wavelength(calibration.voltage_kv)
            lines.append(f"Wavelength {wavelength:.5f} Å")
            if calibration.pixel_size is not None:
                mrad = calibration.pixel_size * wavelength * 1e3
                lines.append(f"One pixel is {mrad:.3f} mrad")
        return " · ".join(lines)

    def _on_detectors(self) -> None:
        self.take.setEnabled(
            self.session.patterns is not None and self.session.selected is not None
        )

    # -------------------------------------------------------------- editing
    def _on_center(self) -> None:
        center = (self.center_y.value(), self.center_x.value())
        if self.session.calibration.center is None and center == (0.0, 0.0):
            return
        old = self.session.calibration.center
        if old is not None and all(round(a, 2) == b for a, b in zip(old, center, strict=True)):
            return
        self._set(lambda c: c.with_center(center, "entered"))

    def _on_pixel_size(self) -> None:
        value = self.pixel_size.value()
        old = self.session.calibration.pixel_size
        if value > 0 and (old is None or round(old, 6) != value):
            self._set(lambda c: c.with_pixel_size(value, "entered"))
        else:
            self.refresh()

    def _on_voltage(self) -> None:
        value = self.voltage.value()
        if value > 0 and value != self.session.calibration.voltage_kv:
            self._set(lambda c: c.with_voltage(value, "entered"))
        else:
            self.refresh()

    def take_center(self) -> None:
        """The selected detector's centre becomes the direct beam."""
        key = self.session.selected
        item = self.session.listed(key) if key is not None else None
        if item is not None:
            self._set(lambda c: c.with_center(item.detector.shape.center, "entered"))

    def _set(self, change: Any) -> None:
        try:
            self.session.set_calibration(change(self.session.calibration))
        except DiffmapError as error:
            report_error(error)
            self.refresh()

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        for signal, slot in self._links:
            signal.disconnect(slot)
        super().closeEvent(event)


def _spin(low: float, high: float, decimals: int, suffix: str, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(decimals)
    box.setSuffix(suffix)
    box.setToolTip(tip)
    box.setKeyboardTracking(False)
    return box
