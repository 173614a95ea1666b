"""The Grains dock: table, pole figure, IPF density and boundaries, linked both ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QSpinBox,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.viewer.grain_layers import BASES
from napari_diffmap.viewer.pole_study import PoleStudy
from napari_diffmap.viewer.zooming import look_at
from napari_diffmap.widgets.bridge import report, try_to
from napari_diffmap.widgets.grain_table import GrainTable
from napari_diffmap.widgets.law_table import LawView
from napari_diffmap.widgets.parts import Links, one_line_label, spin_width, swatch, tool_button
from napari_diffmap.widgets.pole_view import PoleView
from napari_diffmap.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari_diffmap.jobs.grains import GrainRun

_MAP = "map"


class GrainsDock(QWidget):
    """Measure grains, sort and select them, look at their texture and boundaries.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        self.study = self.bench.grain_study
        self.layers = self.bench.grain_layers
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(3)
        layout.addLayout(self._make_settings())
        layout.addLayout(self._make_line())
        layout.addWidget(self._make_body(), 1)
        layout.addLayout(self._make_end())
        self._connect()
        self._on_measured(self.study.run)

    # ------------------------------------------------------------ building
    def _make_settings(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(4)
        settings = self.study.settings
        self.threshold = QDoubleSpinBox()
        self.threshold.setRange(0.1, 90)
        self.threshold.setDecimals(1)
        self.threshold.setPrefix("≤ ")
        self.threshold.setSuffix("°")
        self.threshold.setToolTip("Neighbours up to this disorientation are one grain, degrees")
        self.threshold.setValue(settings.threshold)
        self.least = QSpinBox()
        self.least.setRange(1, 10**6)
        self.least.setPrefix("≥ ")
        self.least.setSuffix(" pixels")
        self.least.setToolTip("Smaller pieces are no grains, pixels of the map")
        self.least.setValue(settings.min_size)
        self.order = QSpinBox()
        self.order.setRange(1, 10)
        self.order.setPrefix("KAM ")
        self.order.setToolTip(
            "Order of the neighbours of KAM: those within so many steps along rows and columns"
        )
        self.order.setValue(settings.kam_order)
        for box, widest in (
            (self.threshold, "≤ 90.0°"),
            (self.least, "≥ 99 pixels"),
            (self.order, "KAM 10"),
        ):
            box.setKeyboardTracking(False)
            box.setFixedWidth(spin_width(box, widest))
            box.valueChanged.connect(self._on_settings)
            row.addWidget(box)
        self.merge = QCheckBox("merge twins")
        self.merge.setToolTip("Join grains across twin boundaries into parents")
        self.merge.setChecked(settings.merge_twins)
        self.merge.toggled.connect(self._on_settings)
        self.auto = QCheckBox("auto")
        self.auto.setToolTip("Measure again after each correction of the map")
        self.auto.setChecked(self.study.auto)
        self.auto.toggled.connect(self._on_auto)
        self.measure = tool_button(
            "Measure",
            "Find the grains of the map with its corrections, measure sizes, shapes, gradients and"
            " boundary laws",
        )
        self.measure.clicked.connect(lambda: try_to(self.study.measure))
        row.addWidget(self.merge)
        row.addWidget(self.auto)
        row.addStretch()
        row.addWidget(self.measure)
        return row

    def _make_line(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.line = one_line_label("What is missing, what is being done, or what was found")
        self.progress = QProgressBar()
        self.progress.setRange(0, 0)
        self.progress.setFixedSize(80, 10)
        self.progress.setTextVisible(False)
        self.progress.setToolTip("Grains are being measured or saved")
        self.progress.hide()
        row.addWidget(self.line, 1)
        row.addWidget(self.progress)
        return row

    def _make_body(self) -> QSplitter:
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        head = QHBoxLayout()
        self.phase = QComboBox()
        self.phase.setToolTip("List grains of this phase; the figures are of it, too")
        self.phase.currentIndexChanged.connect(self._on_phase)
        self.count = one_line_label("Selected grains and listed grains")
        self.zoom = tool_button("Zoom", "See the selected grains on the sample (double click)")
        self.zoom.clicked.connect(self._zoom)
        head.addWidget(self.phase)
        head.addWidget(self.count, 1)
        head.addWidget(self.zoom)
        self.table = GrainTable()
        self.table.chosen.connect(self.study.select)
        self.table.zoom_asked.connect(self._zoom)
        column.addLayout(head)
        column.addWidget(self.table, 1)
        self.poles = PoleView(PoleStudy(self.study, self.bench.runner, "pole figure"))
        self.inverse = PoleView(PoleStudy(self.study, self.bench.runner, "IPF"))
        self.laws = LawView(self.layers)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.poles, "Pole figure")
        self.tabs.addTab(self.inverse, "IPF density")
        self.tabs.addTab(self.laws, "Boundaries")
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.addWidget(left)
        split.addWidget(self.tabs)
        split.setSizes([232, 373])
        return split

    def _make_end(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.base = QComboBox()
        self.base.addItem("map picture", None)
        for base in BASES:
            self.base.addItem(base, base)
        self.base.setToolTip(
            "Shown on the sample: the picture chosen in the Map dock, grains in arbitrary colours,"
            "\nKAM (kernel average misorientation, degrees) or GROD (disorientation to the grain's"
            " mean, degrees)"
        )
        self.base.activated.connect(lambda _i: self.layers.show_base(self.base.currentData()))
        self.scale = QLabel()
        self.scale.setToolTip("Colour scale of KAM or GROD on the sample, degrees: dark to yellow")
        self.dims = QCheckBox("dim the rest")
        self.dims.setToolTip("Darken what is not selected on the sample")
        self.dims.toggled.connect(self.layers.set_dims)
        self.save = tool_button(
            "Save tables…",
            "Save grains, boundaries and parents as CSV and Parquet, and grain numbers, KAM and"
            " GROD as TIFF, to a folder",
        )
        self.save.clicked.connect(self.ask_folder)
        self.as_labels = tool_button(
            "As labels", "Make the grains a label map that can be painted on (Labels dock)"
        )
        self.as_labels.clicked.connect(lambda: try_to(self._add_labels))
        row.addWidget(self.base)
        row.addWidget(self.scale)
        row.addWidget(self.dims)
        row.addStretch()
        row.addWidget(self.as_labels)
        row.addWidget(self.save)
        return row

    def _connect(self) -> None:
        study = self.study
        self._links = Links(
            self,
            [
                (self.session.map_changed, self._on_state),
                (study.measured, self._on_measured),
                (study.selected, self._on_selected),
                (study.working, self._on_working),
                (study.state_changed, self._on_state),
                (self.layers.base_changed, self._on_base),
            ],
        )

    # --------------------------------------------------------------- slots
    def _on_settings(self, *_: object) -> None:
        try_to(
            lambda: self.study.change(
                threshold=self.threshold.value(),
                min_size=self.least.value(),
                kam_order=self.order.value(),
                merge_twins=self.merge.isChecked(),
            )
        )

    def _on_auto(self, on: bool) -> None:
        try_to(lambda: self.study.set_auto(on))

    def _on_state(self, *_: object) -> None:
        self.measure.setEnabled(not self.study.missing() and not self.study.busy)
        if not self.study.busy:
            self.line.setText(self.study.line())

    def _on_working(self, line: str) -> None:
        self.progress.setVisible(bool(line))
        if line:
            self.line.setText(line)
        self._on_state()

    def _on_measured(self, run: GrainRun | None) -> None:
        phases = [] if run is None else sorted({int(i) for i in run.grains.phase_ids})
        wanted = [None, *phases]
        if wanted != [self.phase.itemData(i) for i in range(self.phase.count())]:
            self.phase.blockSignals(True)
            self.phase.clear()
            self.phase.addItem("all phases", None)
            for i in phases:
                assert run is not None
                phase = run.found.phases[i]
                self.phase.addItem(swatch(phase.color), phase.name, i)
            self.phase.blockSignals(False)
            self._on_phase()
        self.table.show_columns(() if run is None else run.grain_columns())
        for widget in (
            *(self.phase, self.table, self.tabs, self.zoom, self.base, self.dims),
            *(self.save, self.as_labels),
        ):
            widget.setEnabled(run is not None)
        self._on_selected(self.study.labels)
        self._on_state()

    def _on_phase(self, *_: object) -> None:
        phase = self.phase.currentData()
        self.table.filter_phase(phase)
        for view in (self.poles, self.inverse):
            view.study.change(phase=phase)
            view.refresh_choices()
        self._on_selected(self.study.labels)

    def _on_selected(self, labels: tuple[int, ...]) -> None:
        if labels != self.table.labels:
            self.table.choose(labels, scroll=True)
        listed = self.table.grains.rowCount()
        self.count.setText(f"{len(labels)} of {listed}" if listed else "")
        self.zoom.setEnabled(bool(labels))

    def _on_base(self, base: str | None) -> None:
        self.base.setCurrentIndex(max(self.base.findData(base), 0))
        layer = self.layers.layer(base) if base in ("KAM", "GROD") else None
        self.scale.setText("" if layer is None else f"0–{layer.contrast_limits[1]:.3g}°")

    def _zoom(self) -> None:
        box = self.study.box()
        if box is not None:
            look_at(self.session, self.bench.desk.sample.viewer, box)

    def _add_labels(self) -> None:
        name = self.study.add_labels()
        report(f"label map {name!r} added: see the Labels dock")

    def ask_folder(self) -> None:
        """Ask where to save."""
        folder = QFileDialog.getExistingDirectory(self, "Save the grains to a folder")
        if folder:
            try_to(lambda: self.study.save(Path(folder)))

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self._links.end()
        for view in (self.poles, self.inverse, self.laws):
            view.end()
        super().closeEvent(event)
