"""The Scan dock: open, see what was opened, virtual detectors and regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.scan.scan import AXIS_NAMES, Scan
from napari_diffmap.viewer.keys import help_text
from napari_diffmap.viewer.readout import calibration_line, number
from napari_diffmap.widgets.convert_bar import ConvertBar
from napari_diffmap.widgets.detector_list import DetectorList
from napari_diffmap.widgets.dialogs import DialogAsker, ShapeDialog, file_dialog, folder_dialog
from napari_diffmap.widgets.parts import Links, one_line_label, plain_label, tool_button
from napari_diffmap.widgets.workbench import workbench_of

_NOTHING = "Open a scan: drop a file on the window or press Open."
#: Notes shown at once; a fourth would take the room of the axes.
_NOTES = 3
#: Between looks at a scan that is being recorded.
_LOOK_MS = 700
_HINT = "Sample: click or drag picks a position · arrows step · Shift-drag pans · wheel zooms"


class ScanDock(QWidget):
    """Open a scan, see its axes, choose virtual detectors and regions.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        self.bench.opening.asker = self.asker = DialogAsker(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        self.converting = ConvertBar(self.bench.converting, self.bench.opening)
        layout.addLayout(self._make_top())
        layout.addWidget(self.converting)
        middle = QGridLayout()
        middle.setColumnStretch(0, 4)
        middle.setColumnStretch(1, 5)
        middle.setHorizontalSpacing(8)
        middle.addLayout(self._make_left(), 0, 0)
        self.detectors = DetectorList(self.bench.desk)
        middle.addWidget(self.detectors, 0, 1)
        layout.addLayout(middle, 1)
        self.notes = plain_label("")
        self.notes.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout.addWidget(self.notes)
        self.hint = one_line_label(help_text())
        self.hint.setText(_HINT)
        layout.addWidget(self.hint)
        self._links = Links(
            self,
            [
                (self.session.scan_changed, self._on_scan),
                (self.session.calibration_changed, self._on_scan),
                (self.session.region_changed, self._on_region),
                (self.session.message, self._on_message),
                (self.bench.opening.busy, self._on_busy),
                (self.bench.opening.opened, self._on_opened),
                (self.bench.following.changed, self._on_following),
                (self.session.grown, self._on_grown),
                (self.bench.converting.changed, self._on_converting),
            ],
        )
        self._on_scan()

    # ------------------------------------------------------------ building
    def _make_top(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.open_button = tool_button("Open…", "Open a scan file (4D-STEM, STXM, image series)")
        self.open_button.clicked.connect(self.ask_file)
        self.folder_button = tool_button("Folder…", "Open a Zarr folder (.zspy, .zarr)")
        self.folder_button.clicked.connect(self.ask_folder)
        self.name = one_line_label("What is open")
        self.kind = QComboBox()
        self.kind.setToolTip("What the file is taken for; choose another where the guess is wrong")
        self.kind.activated.connect(self._on_kind)
        self.shape_button = tool_button(
            "Scan shape…", "Lay the patterns out on other rows × columns of scan positions"
        )
        self.shape_button.clicked.connect(self.ask_shape)
        self.convert_button = tool_button(
            "Convert…",
            "Convert for speed: write the scan as .zspy, packed in blocks that serve patterns and\n"
            "virtual images alike; the file opens in HyperSpy too",
        )
        self.convert_button.clicked.connect(self.converting.ask)
        self.follow_button = tool_button(
            "Follow", "The scan is being recorded: show each frame when it has come"
        )
        self.follow_button.setCheckable(True)
        self.follow_button.clicked.connect(self._on_follow)
        self._look = QTimer(self)
        self._look.setInterval(_LOOK_MS)
        self._look.timeout.connect(self.bench.following.look)
        for widget in (self.open_button, self.folder_button):
            row.addWidget(widget)
        row.addWidget(self.name, 1)
        row.addWidget(self.kind)
        for widget in (self.shape_button, self.convert_button, self.follow_button):
            row.addWidget(widget)
        return row

    def _make_left(self) -> QVBoxLayout:
        left = QVBoxLayout()
        left.setSpacing(4)
        self.axes = QTableWidget(0, 4)
        self.axes.setHorizontalHeaderLabels(["Axis", "Size", "Step", "Unit"])
        self.axes.setToolTip("Axes of the scan in array order, with their calibrated step")
        self.axes.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.axes.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.axes.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        rows, header = self.axes.verticalHeader(), self.axes.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.setVisible(False)
        rows.setDefaultSectionSize(22)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        left.addWidget(self.axes, 1)
        self.calibration = QLabel()
        self.calibration.setWordWrap(True)
        self.calibration.setToolTip("Calibration of the patterns; change it in the Calibrate dock")
        left.addWidget(self.calibration)
        left.addLayout(self._make_regions())
        return left

    def _make_regions(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(3)
        row.addWidget(QLabel("Region"))
        tips = {
            "rectangle": ("Rectangle", "Draw a rectangle on the sample: its mean pattern is shown"),
            "polygon": ("Polygon", "Click corners on the sample, double-click to close"),
            "lasso": ("Lasso", "Draw a free outline on the sample with the mouse held down"),
        }
        self.region_buttons = {}
        for tool, (text, tip) in tips.items():
            button = tool_button(text, tip)
            button.clicked.connect(lambda _on=False, t=tool: self.bench.desk.sample.start_region(t))
            self.region_buttons[tool] = button
            row.addWidget(button)
        self.clear_button = tool_button("Clear", "Remove the region; single patterns again")
        self.clear_button.clicked.connect(lambda: self.bench.desk.sample.clear_region())
        row.addWidget(self.clear_button)
        row.addStretch()
        return row

    # -------------------------------------------------------------- asking
    def ask_file(self) -> None:
        """Choose a file and open it."""
        self.file_dialog = file_dialog(self, "Open a scan", self.open, folder=self._beside())

    def ask_folder(self) -> None:
        """Choose a folder and open it."""
        title = "Open a folder as a scan"
        self.file_dialog = folder_dialog(self, title, self.open, self._beside())

    def _beside(self) -> str:
        """Where the last scan lies."""
        last = self.bench.opening.last
        return str(last.path.parent) if last else ""

    def open(self, path: str | Path) -> None:
        """Open a file or folder as a scan."""
        self.bench.opening.open(path)

    def ask_shape(self) -> None:
        """Lay the scan out on other positions."""
        opening = self.bench.opening
        last = opening.last
        raw = last is not None and last.raw
        rows, columns = self.session.grid
        line = f"{rows * columns} patterns, now {rows} × {columns} (rows × columns)"
        dialog = ShapeDialog(line, raw=raw, parent=self)
        for box, value in zip(dialog.scan, (rows, columns), strict=True):
            box.setValue(value)
        if self.session.patterns is not None:
            for box, value in zip(dialog.detector, self.session.patterns.shape[2:], strict=True):
                box.setValue(value)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: opening.reopen(**dialog.options()))
        self.shape_dialog = dialog
        dialog.open()

    def _on_kind(self, _index: int) -> None:
        """Open the file again as something else."""
        scan, kind = self.session.scan, self.kind.currentText()
        if scan is not None and kind != scan.kind:
            self.bench.opening.reopen(kind=kind)

    def _on_opened(self, _scan: Scan) -> None:
        """What is opened as still being recorded is followed at once."""
        last = self.bench.opening.last
        if last is not None and last.options.get("growing"):
            self._on_follow(True)

    def _on_follow(self, on: bool) -> None:
        """Begin or end to look for new frames."""
        last = self.bench.opening.last
        if on and last is not None:
            self.bench.following.start(last.path, last.options)
        else:
            self.bench.following.stop()
        self.follow_button.setChecked(self.bench.following.on)

    def _on_following(self, on: bool) -> None:
        self.follow_button.setChecked(on)
        if on:
            self._look.start()
        else:
            self._look.stop()
        self._on_grown()

    def _on_grown(self, *_: object) -> None:
        """Say how many frames there are."""
        following = self.bench.following
        possible = following.possible() and self.bench.opening.last is not None
        self.follow_button.setVisible(possible or following.on)
        scan = self.session.scan
        if following.on and scan is not None and scan.missing is not None:
            there = int((~scan.missing).sum())
            self.name.setText(f"{scan.name}: {there} of {scan.missing.size} frames recorded")

    # --------------------------------------------------------------- state
    def _show_kinds(self, scan: Scan | None) -> None:
        """What an array of as many axes can be."""
        kinds = (
            [] if scan is None else [k for k, n in AXIS_NAMES.items() if len(n) == len(scan.axes)]
        )
        self.kind.clear()
        self.kind.addItems(kinds)
        if scan is not None:
            self.kind.setCurrentText(scan.kind)
        self.kind.setVisible(len(kinds) > 1)
        self.kind.setEnabled(self.bench.opening.last is not None)

    def _on_busy(self, path: Path | None) -> None:
        for button in (self.open_button, self.folder_button):
            button.setEnabled(path is None)
        if path is not None:
            self.name.setText(f"Opening {path.name} …")
        else:
            self._on_scan()

    def _on_scan(self, *_: object) -> None:
        scan = self.session.scan
        self._show_kinds(scan)
        # Where the kind can be chosen it need not be said twice.
        self.name.setText(_NOTHING if scan is None else _facts(scan, kind=self.kind.count() < 2))
        self._fill_axes(scan)
        self.calibration.setText(calibration_line(self.session))
        self.calibration.setVisible(bool(calibration_line(self.session)))
        flat = scan is not None and scan.kind in ("4D-STEM", "pattern stack")
        self.shape_button.setEnabled(flat and self.bench.opening.last is not None)
        self._on_converting()
        self.detectors.setVisible(scan is None or self.session.patterns is not None)
        self._on_region(self.session.region)
        self._on_message()
        self._on_grown()

    def _on_converting(self) -> None:
        run = self.bench.converting
        self.convert_button.setEnabled(not run.running and not run.missing())

    def _on_message(self, *_: object) -> None:
        """What was said of this scan: the newest lines, all of them in the tooltip."""
        notes = self.session.notes
        self.notes.setText("\n".join(f"⚠ {line}" for line in notes[-_NOTES:]))
        self.notes.setToolTip("\n".join(("What was noticed in this scan:", *notes)))
        self.notes.setVisible(bool(notes))

    def _on_region(self, mask: object) -> None:
        for button in self.region_buttons.values():
            button.setEnabled(self.session.scan is not None)
        self.clear_button.setEnabled(mask is not None)

    def _fill_axes(self, scan: Scan | None) -> None:
        axes = () if scan is None else tuple(axis.canonical() for axis in scan.axes)
        self.axes.setRowCount(len(axes))
        for row, axis in enumerate(axes):
            step = number(axis.scale) if axis.calibrated else "–"
            about = "≈ " if axis.values is not None else ""
            cells = (axis.name, str(axis.size), about + step, axis.unit)
            for column, text in enumerate(cells):
                self.axes.setItem(row, column, QTableWidgetItem(text))

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self._links.end()
        self.detectors.disconnect_session()
        super().closeEvent(event)


def _facts(scan: Scan, *, kind: bool) -> str:
    size = scan.nbytes
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000  # type: ignore[assignment]
    words = (
        scan.name,
        scan.kind if kind else "",
        str(scan.dtype),
        f"{size:.3g} {unit}",
        scan.format,
    )
    return " · ".join(word for word in words if word)
