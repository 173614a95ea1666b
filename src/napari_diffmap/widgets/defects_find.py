"""The stage of the Defects dock that finds: calibration, model, settings, training, drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.methods.defects.parameters import FindParameters
from napari_diffmap.viewer.defects_drift import DriftStudy
from napari_diffmap.viewer.defects_models import SITES, choices
from napari_diffmap.viewer.training_curves import PlotLine
from napari_diffmap.widgets.curve_plot import CurvePlot
from napari_diffmap.widgets.defects_gallery import Picture
from napari_diffmap.widgets.parameter_form import ParameterForm
from napari_diffmap.widgets.parts import Links, one_line_label, spin_width, tool_button

if TYPE_CHECKING:
    from napari_diffmap.widgets.defects_run import DefectsRunner
    from napari_diffmap.widgets.workbench import Workbench

_SIDE = 118


class ModelBox(QComboBox):
    """Chooses what finds: a network for defects, or lattice and site model alone.

    Parameters
    ----------
    bench
        Of the window.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self.engines, self.session = bench.engines, bench.session
        self._touched = False
        #: A model that is chosen as soon as it is there.
        self.wanted = ""
        self.setMinimumWidth(260)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setToolTip(
            "What finds defects: a network trained on simulated or on your own images, or the"
            " lattice with a model of its sites and no network"
        )
        self.activated.connect(self._on_activated)
        self._links = Links(self, [(self.engines.changed, self.refresh)])
        self.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()

    def _on_activated(self, _index: int) -> None:
        self._touched = True

    @property
    def chosen(self) -> str:
        """Name of the model, as the parameters call it."""
        return str(self.currentData())

    def choose(self, name: str) -> None:
        """Choose another, and keep to it."""
        self._touched = True
        place = self.findData(name)
        if place >= 0:
            self.setCurrentIndex(place)

    def refresh(self, *_: object) -> None:
        """Show what there is; the first network is chosen until the user says another."""
        before = self.chosen if self.count() else ""
        self.blockSignals(True)
        self.clear()
        for choice in choices(self.engines.entries):
            self.addItem(choice.title, choice.name)
            self.setItemData(self.count() - 1, choice.tip, Qt.ItemDataRole.ToolTipRole)
        if self.wanted and self.findData(self.wanted) >= 0:
            before, self.wanted, self._touched = self.wanted, "", True
        place = self.findData(before) if self._touched else -1
        self.setCurrentIndex(max(place, 0))
        self.blockSignals(False)


class FindPage(QWidget):
    """What finds, on what scale, and how the movie drifts.

    Parameters
    ----------
    bench
        Of the window.
    runner
        Runs it.
    """

    def __init__(self, bench: Workbench, runner: DefectsRunner) -> None:
        super().__init__()
        self.bench, self.session, self.runner = bench, bench.session, runner
        self.drift = DriftStudy(bench.defects, bench.runner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(self._make_model())
        layout.addLayout(self._make_scale())
        self.form = ParameterForm(FindParameters, skip=("model", "train"), columns=2)
        layout.addWidget(self.form)
        layout.addWidget(self._make_tabs(), 1)
        self._links = Links(
            self,
            [
                (self.session.scan_changed, self.refresh),
                (runner.state_changed, self.refresh),
                (runner.learnt, self._on_learnt),
                (runner.added, self._on_added),
                (self.drift.changed, self._on_drift),
                (bench.engines.changed, self.refresh),
            ],
        )
        self.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
        self.model.end()

    # ------------------------------------------------------------ building
    def _make_model(self) -> QHBoxLayout:
        row = QHBoxLayout()
        label = QLabel("Model")
        self.model = ModelBox(self.bench)
        label.setToolTip(self.model.toolTip())
        self.train = tool_button(
            "Train on this image", "Train a small network on this image alone, then find with it"
        )
        menu = QMenu(self.train)
        for words, kind, tip in (
            ("on labels of the site model", "sites", "What deviates from the lattice is a defect"),
            (
                "on labels of the Fourier filter",
                "fourier",
                "The published way: what is left without the periodicity is a defect",
            ),
        ):
            action = menu.addAction(words)
            assert action is not None
            action.setToolTip(tip)
            action.triggered.connect(lambda _on=False, k=kind: self.runner.ask_training(k))
        menu.setToolTipsVisible(True)
        self.train.setMenu(menu)
        self.adapt = tool_button(
            "Adapt",
            "Let the chosen network go on learning for a minute from this image: from the"
            " corrected finds where there are some, else from what the site model says",
        )
        self.adapt.clicked.connect(lambda: self.runner.ask_adapting())
        for widget in (label, self.model):
            row.addWidget(widget)
        row.addStretch(1)
        for widget in (self.train, self.adapt):
            row.addWidget(widget)
        return row

    def _make_scale(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.pixel, self.time = QDoubleSpinBox(), QDoubleSpinBox()
        for box, words, suffix, decimals, tip in (
            (self.pixel, "Pixel size", " nm", 5, "Side of a pixel in nm; unknown: lengths in px"),
            (self.time, "Frame time", " s", 4, "From frame to frame in s; unknown: in frames"),
        ):
            label = QLabel(words)
            label.setToolTip(tip)
            box.setToolTip(tip)
            box.setDecimals(decimals)
            box.setRange(0.0, 1e6)
            box.setSingleStep(10.0 ** -(decimals - 2))
            box.setSuffix(suffix)
            box.setSpecialValueText("unknown")
            box.setKeyboardTracking(False)
            box.setFixedWidth(spin_width(box, "9999.00000 nm"))
            box.editingFinished.connect(self._on_scale)
            row.addWidget(label)
            row.addWidget(box)
        row.addStretch(1)
        return row

    def _make_tabs(self) -> QTabWidget:
        tabs = self.tabs = QTabWidget()
        self.loss = CurvePlot(
            "Loss over steps", "While a network is trained on this image, its loss is drawn here."
        )
        self.loss.setToolTip("Loss of the patches learnt from, and of those held out; no unit")
        page = QWidget()
        row = QHBoxLayout(page)
        row.setContentsMargins(0, 2, 0, 0)
        column = QVBoxLayout()
        self.measure = tool_button(
            "Measure drift", "How far each frame lies from the first, to fractions of a pixel"
        )
        self.measure.clicked.connect(lambda: self.drift.measure())
        self.before = Picture(_SIDE, "Mean of all frames as they were recorded")
        self.after = Picture(_SIDE, "Mean of all frames with the drift taken off")
        pictures = QHBoxLayout()
        pictures.setSpacing(3)
        for picture, words in ((self.before, "before"), (self.after, "after")):
            one = QVBoxLayout()
            one.setSpacing(0)
            one.addWidget(QLabel(words))
            one.addWidget(picture)
            one.addStretch(1)
            pictures.addLayout(one)
        self.drift_line = one_line_label("How much the movie drifts, and how sure that is")
        self.shifts = CurvePlot("Drift (pixels) over frames", "")
        self.shifts.setToolTip("Shift of each frame along y and x against the first, pixels")
        self.shifts.setMinimumHeight(60)
        top = QHBoxLayout()
        top.addWidget(self.measure)
        top.addWidget(self.drift_line, 1)
        column.addLayout(top)
        column.addWidget(self.shifts, 1)
        row.addLayout(column, 1)
        row.addLayout(pictures)
        tabs.addTab(page, "Drift")
        tabs.addTab(self.loss, "Training")
        tabs.setTabToolTip(0, "How the movie drifts, and its mean before and after")
        tabs.setTabToolTip(1, "How the training on this image goes")
        return tabs

    # --------------------------------------------------------------- state
    def parameters(self, **more: Any) -> Any:
        """Settings of finding.

        Raises
        ------
        BadInputError
            If one of them cannot be.
        """
        return self.form.parameters(**{"model": self.model.chosen, **more})

    def refresh(self, *_: object) -> None:
        """Show the scan's scale and what can be done."""
        scan = self.session.scan
        able = self.session.pictured and self.runner.state == "idle"
        for widget in (self.train, self.pixel, self.form, self.model):
            widget.setEnabled(able)
        self.adapt.setEnabled(able and self.model.chosen != SITES)
        movie = scan is not None and scan.kind == "image series"
        self.time.setEnabled(able and movie)
        self.measure.setEnabled(able and movie)
        if not movie:
            words = "A single image does not drift." if scan is not None else ""
            self.shifts.message = words or "The drift of a movie is drawn here."
        elif self.drift.found is None:
            self.shifts.message = "Measure drift draws here how far each frame moved."
        self._show_scale()
        self._on_drift()

    def _show_scale(self) -> None:
        scan = self.session.scan
        size = step = 0.0
        if scan is not None and self.session.pictured:
            axis = scan.axes[-1].canonical()
            size = abs(axis.scale) if axis.unit == "nm" else 0.0
            time = scan.axes[0].canonical()
            step = {"s": 1.0, "ms": 1e-3}.get(time.unit, 0.0) * abs(time.scale)
        for box, value in ((self.pixel, size), (self.time, step)):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)

    def _on_scale(self) -> None:
        """The user knows what the file does not say."""
        scan = self.session.scan
        if scan is None or not self.session.pictured:
            return
        from napari_diffmap.jobs.defects_frames import Movie, calibrated

        known = Movie(scan)
        size = self.pixel.value() or None
        step = self.time.value() or None
        if _same(size, known.pixel_size_nm) and _same(step, known.frame_time_s):
            return
        self.bench.desk.show_scan(calibrated(scan, size, step))

    def _on_drift(self) -> None:
        found = self.drift.found
        self.drift_line.setText(self.drift.line())
        lines = []
        if found is not None:
            frames = tuple(float(i) for i in range(len(found.shifts)))
            for k, (name, color, dashes) in enumerate(
                (("y", "#56B4E9", ()), ("x", "#E69F00", (5.0, 3.0)))
            ):
                values = tuple(float(v) for v in found.shifts[:, k])
                lines.append(PlotLine(name, color, frames, values, dashes))
        self.shifts.show_lines(lines)
        before, after = self.drift.pictures
        self.before.show_values(before, None)
        self.after.show_values(after, None)

    def _on_added(self, name: str) -> None:
        """A network was adapted: it is the one that finds from now on."""
        self.model.wanted = name
        self.bench.engines.refresh()

    def _on_learnt(self) -> None:
        self.loss.show_lines(() if self.runner.curves.empty else self.runner.curves.losses())
        if not self.runner.curves.empty:
            self.tabs.setCurrentIndex(1)


def _same(value: float | None, known: float | None) -> bool:
    if value is None or known is None:
        return value is known
    return abs(value - known) <= 1e-4 * known
