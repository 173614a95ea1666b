"""The Pattern dock: what was recorded at the position under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QDockWidget,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.viewer.display import Stretch
from napari_diffmap.viewer.readout import calibration_line, pattern_line, position_line
from napari_diffmap.viewer.views import detector_grid
from napari_diffmap.widgets.canvas_end import end_canvas
from napari_diffmap.widgets.landscape_view import LandscapeView
from napari_diffmap.widgets.parts import Links, one_line_label, plain_label
from napari_diffmap.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari.qt import QtViewer

_SCALES = ("log", "linear", "gamma")


class PatternDock(QWidget):
    """Pattern (or spectrum) under the cursor, detectors, spots and answers.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        self.pattern = self.bench.desk.pattern
        self.canvas: QtViewer | None = None
        self._docked = False
        self._hint = ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        if self.bench.docks.get("Pattern") is not None:
            layout.addWidget(plain_label("The pattern is shown in the other Pattern dock."))
            layout.addStretch()
            return
        self.bench.docks["Pattern"] = self
        layout.addLayout(self._make_bar())
        self.pages = QStackedWidget()
        # napari's canvas asks for 800 pixels; the dock is as wide as it is made.
        self.pages.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        # Beside the pattern, which is as high as it is wide: below it would be squeezed.
        self.landscape = LandscapeView()
        beside = QHBoxLayout()
        beside.setSpacing(4)
        beside.addWidget(self.pages, 1)
        beside.addWidget(self.landscape)
        layout.addLayout(beside, 1)
        self._make_canvas()
        self.spectrum: Any = None
        self.crop: Any = None
        self.readout = one_line_label("Pixel, scattering vector and d-spacing under the mouse")
        self.state = one_line_label("Calibration of the patterns and where each value came from")
        self.answer = QLabel()
        self.answer.setTextFormat(Qt.TextFormat.RichText)
        # Neither a long note nor long names widen the window.
        self.answer.setWordWrap(True)
        self.answer.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.answer.setToolTip(
            "Answers of the map at this position: phase, Bunge Euler angles φ1 Φ φ2, zone axis"
            " along the beam and its distance, score; below reliability and cause of doubt.\n"
            "Click a number to see that answer's spots"
        )
        self.answer.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.LinksAccessibleByMouse
        )
        self.answer.linkActivated.connect(lambda rank: self.bench.spots.show_answer(int(rank)))
        self.answer.hide()
        # One line of one height for both: the canvas must not move under the mouse.
        self.line = QStackedWidget()
        for label in (self.readout, self.state):
            self.line.addWidget(label)
        self.line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        layout.addWidget(self.answer)
        layout.addWidget(self.line)
        self._connect()
        self._on_scan()

    # ------------------------------------------------------------ building
    def _make_bar(self) -> QHBoxLayout:
        bar = QHBoxLayout()
        self.scale = QComboBox()
        self.scale.addItems(_SCALES)
        self.scale.setToolTip("How counts become grey: logarithmic, linear or a power (gamma)")
        self.gamma = QDoubleSpinBox()
        self.gamma.setRange(0.05, 2.0)
        self.gamma.setSingleStep(0.05)
        self.gamma.setValue(0.5)
        self.gamma.setToolTip("Exponent of the gamma display; 0.5 is a square root (no unit)")
        self.gamma.setEnabled(False)
        self.spots = QCheckBox("spots")
        self.spots.setChecked(True)
        self.spots.setToolTip(
            "Measured spots as cyan rings (squares: unexplained), simulated spots of the answer"
            " in bold as orange crosses (triangles: not measured)"
        )
        self.scores = QCheckBox("scores")
        self.scores.setToolTip(
            "How well every zone axis fits this pattern, before refinement (score, no unit), with"
            " the answers' places: dark is low, bright is high"
        )
        self.indices = QCheckBox("hkl")
        self.indices.setToolTip("Write Miller indices at the simulated spots")
        self.angle = QSlider(Qt.Orientation.Horizontal)
        self.angle.setToolTip("Angle of the rocking scan whose patterns are shown")
        self.angle.setMaximumWidth(140)
        self.angle.valueChanged.connect(self.session.set_plane)
        self.position = one_line_label("Position or region that is shown")
        self.position.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._pattern_controls = (self.scale, self.gamma, self.spots, self.indices, self.scores)
        for widget in (*self._pattern_controls, self.angle):
            bar.addWidget(widget)
        bar.addWidget(self.position, 1)
        return bar

    def _make_canvas(self) -> None:
        from napari.qt import QtViewer

        self.canvas = QtViewer(self.pattern.model)
        self.canvas.setMinimumHeight(160)
        native = self.canvas.canvas.native
        native.setToolTip("")
        native.installEventFilter(self)
        self.pages.addWidget(self.canvas)
        self.pattern.model.mouse_move_callbacks.append(self._on_mouse)
        self.pattern.model.canvas.events.size.connect(self._on_resized)

    def _connect(self) -> None:
        self.scale.currentTextChanged.connect(self._on_stretch)
        self.gamma.valueChanged.connect(self._on_stretch)
        self.spots.toggled.connect(self._on_spots)
        self.indices.toggled.connect(self._on_spots)
        self.scores.toggled.connect(self.bench.spots.show_scores)
        session, bench = self.session, self.bench
        self._links = Links(
            self,
            [
                (session.scan_changed, self._on_scan),
                (session.position_changed, self._on_position),
                (session.region_changed, self._on_position),
                (session.calibration_changed, self._on_calibration),
                (session.plane_changed, self._on_position),
                (bench.desk.detectors.hint, self._on_hint),
                (bench.spots.answered, self._on_answer),
                (bench.spots.scored, self.landscape.show_pictures),
            ],
        )
        self.destroyed.connect(self._forget(bench))

    @staticmethod
    def _forget(bench: Any) -> Any:
        def forget(*_: object) -> None:
            bench.docks.pop("Pattern", None)

        return forget

    # -------------------------------------------------------------- events
    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keys go to the canvas under the mouse, unless the user types a value."""
        if event is not None and event.type() == QEvent.Type.Enter:
            typing = isinstance(QApplication.focusWidget(), QLineEdit | QAbstractSpinBox)
            if not typing and self.canvas is not None:
                self.canvas.canvas.native.setFocus()
        if event is not None and event.type() == QEvent.Type.Leave and not self._hint:
            self._say("")
        return False

    def showEvent(self, event: Any) -> None:
        """Keep the canvas docked where a floating one could not draw."""
        super().showEvent(event)
        self._docked = isinstance(self.parent(), QDockWidget)
        keep_docked(self)

    def changeEvent(self, event: Any) -> None:
        """Napari closes a dock by taking its widget out; the canvas must end then."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self._docked and self.parent() is None:
            QTimer.singleShot(0, self.shut)

    def closeEvent(self, event: Any) -> None:
        """Close the embedded canvas with the dock."""
        self.shut()
        super().closeEvent(event)

    def shut(self) -> None:
        """Stop listening and close the canvas; napari counts canvases that stay."""
        if self.canvas is None:
            return
        self._links.end()
        if self._on_mouse in self.pattern.model.mouse_move_callbacks:
            self.pattern.model.mouse_move_callbacks.remove(self._on_mouse)
        if self.spectrum is not None:
            self.spectrum.disconnect_session()
        if self.crop is not None:
            self.crop.end()
        canvas, self.canvas = self.canvas, None
        canvas.canvas.native.removeEventFilter(self)
        end_canvas(canvas)
        self.bench.docks.pop("Pattern", None)

    # --------------------------------------------------------------- slots
    def _on_scan(self) -> None:
        stack = self.session.stack
        pictured = self.session.pictured
        if stack is not None and not pictured and self.spectrum is None:
            from napari_diffmap.widgets.spectrum import SpectrumView

            self.spectrum = SpectrumView(self.bench.desk)
            self.pages.addWidget(self.spectrum)
        if pictured and self.crop is None:
            from napari_diffmap.widgets.defects_crop import CropView

            self.crop = CropView(self.bench.defects, self.bench.runner)
            self.pages.addWidget(self.crop)
        second = self.crop if pictured else self.spectrum if stack is not None else self.canvas
        self.pages.setCurrentWidget(second)
        has_patterns = self.session.patterns is not None
        rocking = self.session.scan if self._rocking else None
        self.angle.setVisible(rocking is not None)
        if rocking is not None:
            self.angle.blockSignals(True)
            self.angle.setRange(0, rocking.axes[0].size - 1)
            self.angle.setValue(self.session.plane or 0)
            self.angle.blockSignals(False)
        for widget in self._pattern_controls:
            widget.setVisible(stack is None and not pictured)
        self.gamma.setVisible(
            stack is None and not pictured and self.scale.currentText() == "gamma"
        )
        self.spots.setEnabled(has_patterns)
        if self.canvas is not None:
            # The sample canvas is the navigator; sliders would say the same twice.
            self.canvas.dims.setVisible(False)
        self._say("")
        self.answer.hide()
        self._on_position()
        self._on_calibration()

    @property
    def _rocking(self) -> bool:
        scan = self.session.scan
        return scan is not None and scan.kind == "nanodiffraction"

    def _on_position(self, *_: object) -> None:
        self.position.setText(position_line(self.session))

    def _on_calibration(self, *_: object) -> None:
        self.state.setText(calibration_line(self.session))
        self._say(self.readout.full_text())

    def _say(self, text: str) -> None:
        """What is under the mouse, in the place of the calibration; one line is always there."""
        self.readout.setText(text)
        below = not text and bool(self.state.full_text())
        self.line.setCurrentWidget(self.state if below else self.readout)

    def _on_stretch(self, *_: object) -> None:
        scale = self.scale.currentText()
        self.gamma.setVisible(scale == "gamma")
        self.gamma.setEnabled(scale == "gamma")
        self.pattern.set_stretch(Stretch(scale, self.gamma.value()))  # type: ignore[arg-type]

    def _on_spots(self, *_: object) -> None:
        self.pattern.spots.show(self.spots.isChecked(), indices=self.indices.isChecked())

    def _on_hint(self, text: str) -> None:
        self._hint = text
        if text:
            self._say(text)

    def _on_mouse(self, _viewer: Any, event: Any) -> None:
        patterns = self.session.patterns
        if patterns is None or self._hint:
            return
        ky, kx = detector_grid(patterns)
        y = (event.position[-2] - ky.offset) / ky.scale
        x = (event.position[-1] - kx.offset) / kx.scale
        row, column = round(y), round(x)
        counts = None
        if 0 <= row < ky.size and 0 <= column < kx.size:
            image = self.pattern.counts()
            value = None if image is None else image[row, column]
            counts = None if value is None or np.isnan(value) else float(value)
        self._say(pattern_line(self.session, y, x, counts))

    def _on_answer(self, text: str) -> None:
        self.answer.setText(text)
        self.answer.setVisible(bool(text))

    def _on_resized(self, *_: object) -> None:
        """Show the whole pattern again, unless the user zoomed."""
        QTimer.singleShot(0, self.pattern.refit)


def shared_contexts() -> bool:
    """Whether canvases share their graphics context, so that one may float."""
    return QApplication.testAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)


def keep_docked(widget: QWidget) -> None:
    """Take the float button from a dock whose canvas could not draw when floating."""
    dock = widget.parent()
    if not isinstance(dock, QDockWidget) or shared_contexts():
        return

    def pin(*_: object) -> None:
        dock.setFeatures(dock.features() & ~QDockWidget.DockWidgetFeature.DockWidgetFloatable)
        title = dock.titleBarWidget()
        button = getattr(title, "float_button", None)
        if button is not None:
            button.hide()

    pin()
    if not dock.property("diffmap_pinned"):
        dock.setProperty("diffmap_pinned", True)
        dock.topLevelChanged.connect(pin)
        dock.dockLocationChanged.connect(pin)
