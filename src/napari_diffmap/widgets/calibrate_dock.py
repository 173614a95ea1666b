"""The Calibrate dock: the geometry of the patterns, each value with its origin and fit."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.scan.calibration import Calibration, electron_wavelength
from napari_diffmap.viewer.calibrating import FITTED, NEED_PHASE
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.calibration_proposal import CalibrationProposal
from napari_diffmap.widgets.parts import Links, one_line_label, spin_width, tool_button
from napari_diffmap.widgets.workbench import workbench_of

_ORIGINS = {
    "missing": "missing",
    "file": "file",
    "measured": "measured",
    "entered": "entered",
}
#: Rows of the form: words, part of the calibration, and what its Fit button fits.
_ROWS = (
    ("Direct beam", "center", "center"),
    ("Pixel size", "pixel_size", "pixel-size"),
    ("Ellipse", "ellipse", "ellipse"),
    ("Scan rotation", "rotation", "rotation"),
    ("Voltage", "voltage", ""),
)
_FIT_TIPS = {
    "center": "Measure every pattern's direct beam and fit its walk over the scan,\n"
    "deaf to Bragg disks taken for it",
    "pixel-size": "Fit the pixel size to the spots of the known phase;\n"
    "the stated one may be wrong by a factor of two",
    "ellipse": "Fit the elliptic distortion to the spots of the known phase",
    "rotation": "Find the rotation between scan and detector in which the beam's\n"
    "deflection has the least curl",
}
_NEED_PHASE = "Add the known phase in the Map dock first"


class CalibrateDock(QWidget):
    """Centre, descan, pixel size, ellipse, rotation and voltage of the patterns.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        self.fits = self.bench.calibrating
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(3)
        self.state = one_line_label("What an orientation map needs, and where each value came from")
        layout.addWidget(self.state)
        layout.addLayout(self._make_grid())
        layout.addLayout(self._make_phase())
        self.proposal = CalibrationProposal(self.fits, self.bench.desk.pattern)
        layout.addWidget(self.proposal, 1)
        self.facts = one_line_label("What follows from the calibration")
        layout.addWidget(self.facts)
        self._connect()
        self.refresh()

    # ------------------------------------------------------------ building
    def _make_grid(self) -> QGridLayout:
        self.center_y = _spin(0, 1e5, 2, " px", "Direct beam: row in detector pixels")
        self.center_x = _spin(0, 1e5, 2, " px", "Direct beam: column in detector pixels")
        self.pixel_size = _spin(
            0, 9.99, 6, " 1/Å", "Size of a detector pixel in 1/Å, without 2π; 0 is unknown"
        )
        self.ratio = _spin(
            1, 2, 4, "", "Long over short axis of what should be a circle; 1 is a circle"
        )
        self.direction = _spin(
            0,
            180,
            1,
            "°",
            "Direction of the long axis, in degrees from the columns towards the rows",
        )
        self.rotation = _spin(
            -180, 180, 1, "°", "Direction of the scan's x axis on the detector, from its columns"
        )
        self.rotation.setToolTip(self.rotation.toolTip() + " towards its rows, in degrees")
        self.transposed = QCheckBox("transposed")
        self.transposed.setToolTip("Rows and columns of the detector are exchanged")
        self.voltage = _spin(0, 3000, 1, " kV", "Accelerating voltage in kV; 0 is unknown")
        for box in (self.pixel_size, self.voltage):
            box.setSpecialValueText("missing")
        self.ratio.setSpecialValueText("circle")
        controls: tuple[tuple[QWidget, ...], ...] = (
            (self.center_y, self.center_x),
            (self.pixel_size,),
            (self.ratio, self.direction),
            (self.rotation, self.transposed),
            (self.voltage,),
        )
        grid = QGridLayout()
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(3, 1)
        self.origins = {part: QLabel() for _, part, _ in _ROWS}
        self.fit_buttons: dict[str, Any] = {}
        self.remove_buttons: dict[str, Any] = {}
        for row, ((words, part, fitted), boxes) in enumerate(zip(_ROWS, controls, strict=True)):
            grid.addWidget(QLabel(words), row, 0)
            for column, box in enumerate(boxes):
                grid.addWidget(box, row, 1 + column)
            grid.addWidget(self.origins[part], row, 3)
            if fitted:
                button = tool_button("Fit", _FIT_TIPS[fitted])
                button.clicked.connect(partial(self.fit, fitted))
                self.fit_buttons[fitted] = button
                grid.addWidget(button, row, 4)
            remove = tool_button("Remove", "Take this value out: back to the file's, or to none")
            remove.clicked.connect(partial(self._remove, fitted or part))
            self.remove_buttons[part] = remove
            grid.addWidget(remove, row, 5)
        # napari's style sheet overrules a box's own minimum width.
        for column in (1, 2):
            grid.setColumnMinimumWidth(column, spin_width(self.pixel_size, "9.999999 1/Å"))
        return grid

    def _make_phase(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(QLabel("Known phase"))
        self.phase = QComboBox()
        self.phase.setToolTip("Phase whose lattice is known; add phases in the Map dock")
        row.addWidget(self.phase, 1)
        self.fit_all = tool_button(
            "Fit all", "Fit all of them, and move the centre to where the spots are symmetric about"
        )
        self.fit_all.clicked.connect(self.fit_everything)
        row.addWidget(self.fit_all)
        self.find = tool_button("Find beam", "Measure the direct beam on the mean pattern")
        self.find.clicked.connect(lambda: self.bench.desk.find_beam())
        self.take = tool_button(
            "From detector", "Take the centre of the selected detector as the direct beam"
        )
        self.take.clicked.connect(self.take_center)
        row.addWidget(self.find)
        row.addWidget(self.take)
        return row

    def _connect(self) -> None:
        for box in (self.center_y, self.center_x):
            box.editingFinished.connect(self._on_center)
        self.pixel_size.editingFinished.connect(self._on_pixel_size)
        for box in (self.ratio, self.direction):
            box.editingFinished.connect(self._on_ellipse)
        self.rotation.editingFinished.connect(self._on_rotation)
        self.transposed.clicked.connect(self._on_rotation)
        self.voltage.editingFinished.connect(self._on_voltage)
        self._links = Links(
            self,
            [
                (self.session.scan_changed, self.refresh),
                (self.session.calibration_changed, self.refresh),
                (self.session.detectors_changed, self._on_detectors),
                (self.session.phases_changed, self._on_phases),
                (self.bench.desk.beam_found, self.refresh),
                (self.fits.changed, self._on_fits),
            ],
        )

    # --------------------------------------------------------------- state
    def refresh(self, *_: object) -> None:
        """Show the calibration as it is."""
        patterns = self.session.patterns
        calibration = self.session.calibration
        self._on_detectors()
        self._on_phases()
        self._on_fits()
        if patterns is None:
            self.state.setText(
                "Open a scan first."
                if self.session.scan is None
                else f"No patterns to calibrate: this is {self.session.scan.in_words}."
            )
            self.facts.setText("")
            return
        lacking = calibration.missing()
        self.state.setText(
            f"⚠ {' and '.join(lacking)} missing: an orientation map needs it"
            if lacking
            else "Everything an orientation map needs is known"
        )
        center = calibration.center or (0.0, 0.0)
        ellipse = calibration.ellipse or (1.0, 0.0)
        more = (calibration.rotation_deg or 0.0, calibration.voltage_kv or 0.0)
        values = (*center, calibration.pixel_size or 0.0, *ellipse, *more)
        for box, value in zip(self._boxes, values, strict=True):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        self.transposed.setChecked(calibration.transposed)
        for part, label in self.origins.items():
            label.setText(_origin_words(calibration, part))
            label.setToolTip(_origin_tip(calibration, part))
            self.remove_buttons[part].setEnabled(calibration.knows(part))
        self.facts.setText(self._facts(calibration))

    def _facts(self, calibration: Calibration) -> str:
        patterns = self.session.patterns
        assert patterns is not None
        lines = []
        if self.session.beam_radius is not None:
            lines.append(f"Beam radius {self.session.beam_radius:.1f} px")
        if calibration.pixel_size is not None:
            reach = min(patterns.shape[2:]) / 2 * calibration.pixel_size
            lines.append(f"reach {reach:.2f} 1/Å (d {1 / reach:.2f} Å)")
        if calibration.voltage_kv is not None:
            wavelength = electron_wavelength(calibration.voltage_kv)
            lines.append(f"λ {wavelength:.5f} Å")
            if calibration.pixel_size is not None:
                mrad = calibration.pixel_size * wavelength * 1e3
                lines.append(f"{mrad:.3f} mrad per px")
        return " · ".join(lines)

    def _on_detectors(self) -> None:
        self.take.setEnabled(
            self.session.patterns is not None and self.session.selected is not None
        )

    def _on_phases(self) -> None:
        names = [phase.name for phase in self.session.phases]
        if names == [self.phase.itemText(i) for i in range(self.phase.count())]:
            return
        chosen = self.phase.currentText()
        self.phase.clear()
        self.phase.addItems(names)
        self.phase.setCurrentIndex(max(0, self.phase.findText(chosen)) if names else -1)
        self._on_fits()

    def _on_fits(self) -> None:
        """What can be pressed now; a proposal takes the room of the facts."""
        self.facts.setVisible(self.fits.proposal is None)
        ready = self.session.patterns is not None and not self.fits.running
        for widget in (*self._boxes, self.find, self.transposed):
            widget.setEnabled(self.session.patterns is not None)
        self.fit_all.setEnabled(ready)
        for name, button in self.fit_buttons.items():
            lacks = name in NEED_PHASE and not self.session.phases
            button.setEnabled(ready and not lacks)
            button.setToolTip(_NEED_PHASE if lacks else _FIT_TIPS[name])

    @property
    def _boxes(self) -> tuple[QDoubleSpinBox, ...]:
        return (
            self.center_y,
            self.center_x,
            self.pixel_size,
            self.ratio,
            self.direction,
            self.rotation,
            self.voltage,
        )

    # -------------------------------------------------------------- fitting
    def fit_everything(self, *_: object) -> None:
        """Fit every row; without a known phase those that need none."""
        self.fit(*(n for n in FITTED if self.session.phases or n not in NEED_PHASE))

    def fit(self, *names: object) -> None:
        """Fit rows beside the window; the proposal is shown below."""
        wanted = [str(name) for name in names if name in FITTED]
        index = self.phase.currentIndex()
        phase = self.session.phases[index] if index >= 0 and NEED_PHASE & set(wanted) else None
        try_to(lambda: self.fits.fit(wanted, self.proposal.parameters(), phase))

    def _remove(self, name: str, *_: object) -> None:
        self.fits.remove(name)

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

    def _on_ellipse(self) -> None:
        ellipse = (self.ratio.value(), self.direction.value())
        old = self.session.calibration.ellipse
        if old is None and ellipse[0] == 1.0:
            return
        if old is not None and (round(old[0], 4), round(old[1], 1)) == ellipse:
            return
        self._set(lambda c: c.with_ellipse(ellipse, "entered"))

    def _on_rotation(self, *_: object) -> None:
        value, swapped = self.rotation.value(), self.transposed.isChecked()
        old = self.session.calibration
        if (round(old.rotation_deg or 0.0, 1), old.transposed) == (value, swapped):
            return
        self._set(lambda c: c.with_rotation(value, "entered", transposed=swapped))

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
        session = self.session
        if not try_to(lambda: session.set_calibration(change(session.calibration))):
            self.refresh()

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self._links.end()
        self.proposal.end()
        super().closeEvent(event)


def _origin_words(calibration: Calibration, part: str) -> str:
    """Where a value came from, in a word."""
    if part in ("ellipse", "rotation") and not calibration.knows(part):
        return "not set"
    return _ORIGINS[calibration.origin(part)]


def _origin_tip(calibration: Calibration, part: str) -> str:
    """Where a value came from, and what its fit left."""
    lines = [f"Where it came from: {_origin_words(calibration, part)}"]
    if part == "center" and calibration.knows("descan"):
        lines.append(f"With a {calibration.in_words('descan')}")
    if calibration.residual(part):
        lines.append(f"Residual: {calibration.residual(part)}")
    return "\n".join(lines)


def _spin(low: float, high: float, decimals: int, suffix: str, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(decimals)
    box.setSuffix(suffix)
    box.setToolTip(tip)
    box.setKeyboardTracking(False)
    return box
