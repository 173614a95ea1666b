"""The Peaks dock: try the finder on a pattern, register the scan, look at the table, use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.errors import DiffmapError
from napari_diffmap.viewer.peak_layers import MAPS
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.dialogs import save_dialog
from napari_diffmap.widgets.parameter_form import ParameterForm
from napari_diffmap.widgets.parts import Links, ShareBar, one_line_label, scrolling, tool_button
from napari_diffmap.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari_diffmap.jobs.control import Progress


class PeaksDock(QWidget):
    """Register diffraction spots and work with their table.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        self.peaks = self.bench.peaks
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        layout.addWidget(self._make_form(), 1)
        self.facts = one_line_label("What the finder sees in the pattern looked at")
        layout.addWidget(self.facts)
        layout.addLayout(self._make_run())
        self.line = one_line_label("What is missing, how far the run is, or what it found")
        layout.addWidget(self.line)
        self.stored = one_line_label("Bytes of the table on the disk, all of its columns")
        layout.addWidget(self.stored)
        layout.addLayout(self._make_show())
        self._connect()
        self.refresh()

    # ------------------------------------------------------------ building
    def _make_form(self) -> QScrollArea:
        from napari_diffmap.methods.registration.parameters import RegistrationParameters

        self.form = ParameterForm(RegistrationParameters)
        self.form.changed.connect(self._on_preview)
        return scrolling(self.form)

    def _make_run(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.preview = QCheckBox("Preview")
        self.preview.setToolTip(
            "Ring the spots that these settings find in the pattern looked at (cyan)"
        )
        self.preview.toggled.connect(self._on_preview)
        self.start_button = QPushButton("Register")
        self.start_button.setToolTip("Find and measure the spots of every pattern of the scan")
        self.start_button.clicked.connect(self.start)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End the run within a second; the peaks found stay")
        self.stop_button.clicked.connect(lambda: self.peaks.stop())
        self.progress = ShareBar("Share of the scan positions that are registered")
        self.save_button = QPushButton("Save…")
        self.save_button.setToolTip(
            "Save the table as .parquet or .zarr; it opens again as a scan drawn from its peaks"
        )
        self.save_button.clicked.connect(self.ask_file)
        for widget in (self.preview, self.start_button, self.stop_button):
            row.addWidget(widget)
        row.addWidget(self.progress, 1)
        row.addWidget(self.save_button)
        return row

    def _make_show(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(QLabel("Map"))
        self.map = QComboBox()
        self.map.addItems(list(MAPS))
        self.map.setToolTip("Map of the table shown on the sample")
        self.map.textActivated.connect(lambda name: self._try(lambda: self.peaks.show_map(name)))
        self.dark = tool_button(
            "Dark field",
            "Image of the peaks under the detector selected in the Scan dock:\n"
            "a point picks a spot, other shapes are a mask; it follows the detector",
        )
        self.dark.clicked.connect(lambda: self._try(self.peaks.show_dark_field))
        self.drop = tool_button(
            "Drop singletons",
            "Drop spots that no neighbouring scan position sees: noise is seen once",
        )
        self.drop.clicked.connect(lambda: self._try(self.peaks.drop_singletons))
        self.use = QCheckBox("Use for matching")
        self.use.setToolTip("Match orientations on these peaks instead of finding spots again")
        self.use.clicked.connect(lambda on: self._try(lambda: self.peaks.use(on)))
        for widget in (self.map, self.dark, self.drop, self.use):
            row.addWidget(widget)
        row.addStretch()
        return row

    def _connect(self) -> None:
        session, peaks = self.session, self.peaks
        self._links = Links(
            self,
            [
                (session.scan_changed, self._on_scan),
                (session.calibration_changed, self.refresh),
                (session.detectors_changed, self.refresh),
                (session.peaks_changed, self.refresh),
                (peaks.state_changed, self.refresh),
                (peaks.progressed, self._on_progress),
                (peaks.table_changed, self.refresh),
                (peaks.saved, self.refresh),
                (self.bench.spots.looked, self.facts.setText),
            ],
        )

    # -------------------------------------------------------------- acting
    def _try(self, act: Callable[[], None]) -> None:
        try_to(act)
        self.refresh()

    def start(self) -> None:
        """Register the scan with the form's settings."""
        self._try(lambda: self.peaks.start(self.form.parameters()))  # type: ignore[arg-type]

    def _on_preview(self, *_: object) -> None:
        if not self.preview.isChecked():
            self.peaks.preview(None)
            return
        try:
            self.peaks.preview(self.form.parameters())  # type: ignore[arg-type]
            self.facts.setText("Looking …")
        except DiffmapError as error:
            self.facts.setText(str(error))

    def _on_scan(self, _scan: object) -> None:
        self.facts.setText("")
        self.refresh()
        if self.preview.isChecked():
            self._on_preview()

    def _on_progress(self, progress: Progress) -> None:
        if self.peaks.state == "running":
            self.line.setText(progress.text())
        self.progress.show_share(progress.fraction)

    def ask_file(self) -> None:
        """Choose a file to save to."""
        kinds = "Peak table (*.parquet);;Zarr folder (*.zarr)"
        self.file_dialog = save_dialog(
            self, "Save the peak table", self.save, kinds, suffix="parquet"
        )

    def save(self, path: str | Path) -> None:
        """Save the table."""
        self._try(lambda: self.peaks.save(path))

    # --------------------------------------------------------------- state
    def refresh(self, *_: object) -> None:
        """Enable what can be done and say what cannot."""
        peaks = self.peaks
        idle, missing = peaks.state == "idle", peaks.missing()
        if idle:
            ready = "Ready: tick Preview and click on the sample, then press Register."
            self.line.setText(missing or peaks.outcome or ready)
            self.stored.setText(peaks.stored)
            done = 0.0 if peaks.last is None else float(peaks.last.done.mean())
            self.progress.show_share(done)
        elif peaks.state == "stopping":
            self.line.setText("Stopping …")
        have = peaks.table is not None
        self.preview.setEnabled(not missing)
        self.start_button.setEnabled(idle and not missing)
        self.stop_button.setEnabled(peaks.state == "running")
        self.form.setEnabled(idle)
        for widget in (self.map, self.drop, self.use, self.save_button):
            widget.setEnabled(have and idle)
        self.dark.setEnabled(have and idle and self.session.selected is not None)
        self.use.setChecked(peaks.used)

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self.peaks.preview(None)
        self._links.end()
        super().closeEvent(event)
