"""The list of virtual detectors: eye, colour, name, response."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QColorDialog,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.scan.detectors import RESPONSES, Response
from napari_diffmap.viewer.detector_shapes import describe
from napari_diffmap.widgets.parts import Links, swatch, tool_button

if TYPE_CHECKING:
    from napari_diffmap.viewer.desk import Desk
    from napari_diffmap.viewer.session import ListedDetector

#: How responses are called in the form, with the unit of the image.
RESPONSE_WORDS: dict[Response, str] = {
    "sum": "sum",
    "mean": "mean",
    "com_y": "CoM y",
    "com_x": "CoM x",
    "dpc_y": "DPC y",
    "dpc_x": "DPC x",
}
_RESPONSE_TIPS = {
    "sum": "Sum of counts inside the shape",
    "mean": "Mean counts per pixel inside the shape",
    "com_y": "Centre of mass inside the shape, down, in detector pixels from its centre",
    "com_x": "Centre of mass inside the shape, right, in detector pixels from its centre",
    "dpc_y": "Difference of lower and upper half over their sum (no unit)",
    "dpc_x": "Difference of right and left half over their sum (no unit)",
}
_PRESETS = {
    "BF": "Bright field: a disk over the direct beam",
    "ADF": "Annular dark field: a ring outside the direct beam",
    "HAADF": "High-angle annular dark field: the outer ring of the detector",
}
_SHAPES = {
    "disk": ("Disk", "Add a disk: drag its inside to move it, its edge to resize it"),
    "annulus": ("Ring", "Add a ring: drag between its edges to move it, an edge to resize it"),
    "rectangle": ("Rectangle", "Add a rectangle: drag its inside or its sides"),
    "polygon": ("Polygon", "Draw a polygon: click its corners, double-click to close it"),
    "point": ("Point", "Add a single detector pixel to drag"),
}
_COLUMNS = ("", "", "Name", "Response", "")


class DetectorList(QWidget):
    """Table of the session's detectors and the buttons that add some."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setToolTip("Virtual detectors: eye, colour, name, response")
        header = self.table.horizontalHeader()
        assert header is not None
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        for column, width in ((0, 28), (1, 28), (3, 84), (4, 28)):
            self.table.setColumnWidth(column, width)
        header.setMinimumSectionSize(24)
        rows = self.table.verticalHeader()
        assert rows is not None
        rows.setVisible(False)
        rows.setDefaultSectionSize(26)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        layout.addWidget(self.table, 1)
        self.buttons: dict[str, QPushButton] = {}
        presets = self._row({k: (k, tip) for k, tip in _PRESETS.items()}, self._preset)
        self.colors = QCheckBox("in colours")
        self.colors.setToolTip(
            "Add the visible images up, each in its detector's colour; otherwise the image of the"
            " detector in hand is shown in grey"
        )
        self.colors.toggled.connect(self.session.show_in_colors)
        presets.addWidget(self.colors)
        layout.addLayout(presets)
        layout.addLayout(self._row(_SHAPES, desk.add_shape))
        self._keys: list[int] = []
        self._links = Links(
            self,
            [
                (self.session.detectors_changed, self.refresh),
                (self.session.detector_moved, self._on_moved),
            ],
        )
        self.refresh()

    def disconnect_session(self) -> None:
        """Stop listening."""
        self._links.end()

    def _row(self, entries: dict[str, tuple[str, str]], slot: object) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(3)
        for key, (text, tip) in entries.items():
            button = tool_button(text, tip)
            button.clicked.connect(lambda _on=False, k=key: slot(k))  # type: ignore[operator]
            self.buttons[key] = button
            row.addWidget(button)
        row.addStretch()
        return row

    def _preset(self, name: str) -> None:
        self.desk.add_preset(name)

    # ------------------------------------------------------------- content
    def refresh(self) -> None:
        """Show the detectors as they are; a cell that is being typed in is left alone."""
        items = self.session.detectors
        for button in self.buttons.values():
            button.setEnabled(self.session.patterns is not None)
        self.colors.blockSignals(True)
        self.colors.setChecked(self.session.in_colors)
        self.colors.setEnabled(self.session.patterns is not None)
        self.colors.blockSignals(False)
        if [item.key for item in items] != self._keys:
            self._rebuild(items)
        for row, item in enumerate(items):
            self._update_row(row, item)

    def _rebuild(self, items: tuple[ListedDetector, ...]) -> None:
        self._keys = [item.key for item in items]
        self.table.setRowCount(0)
        self.table.setRowCount(len(items))
        for row, item in enumerate(items):
            self._make_row(row, item.key)

    def _make_row(self, row: int, key: int) -> None:
        eye = QCheckBox()
        eye.setToolTip("Show the image of this detector on the sample")
        eye.toggled.connect(lambda on: self.session.show_detector(key, on))
        color = QToolButton()
        color.setToolTip("Colour of the shape, and of its image when several are shown")
        color.clicked.connect(lambda: self._pick_color(key))
        name = QLineEdit()
        name.setToolTip("Name of the detector and of its image")
        name.editingFinished.connect(lambda: self._rename(key, name.text()))
        name.setFrame(False)
        response = QComboBox()
        for value in RESPONSES:
            response.addItem(RESPONSE_WORDS[value], value)
            response.setItemData(
                response.count() - 1, _RESPONSE_TIPS[value], Qt.ItemDataRole.ToolTipRole
            )
        response.setToolTip("What is measured inside the shape")
        response.currentIndexChanged.connect(lambda _i: self._respond(key, response.currentData()))
        remove = QToolButton()
        remove.setText("✕")
        remove.setToolTip("Remove this detector and its image")
        remove.clicked.connect(lambda: self.session.remove_detector(key))
        for column, widget in enumerate((eye, color, name, response, remove)):
            self.table.setCellWidget(row, column, widget)

    def _update_row(self, row: int, item: ListedDetector) -> None:
        eye, color, name, response = (self.table.cellWidget(row, c) for c in range(4))
        assert isinstance(eye, QCheckBox)
        assert isinstance(color, QToolButton)
        assert isinstance(name, QLineEdit)
        assert isinstance(response, QComboBox)
        for widget in (eye, name, response):
            widget.blockSignals(True)
        eye.setChecked(item.visible)
        color.setIcon(swatch(item.detector.color))
        if not name.hasFocus():
            name.setText(item.detector.name)
        response.setCurrentIndex(RESPONSES.index(item.detector.response))
        response.setToolTip(_RESPONSE_TIPS[item.detector.response])
        font = name.font()
        font.setBold(item.key == self.session.selected)
        name.setFont(font)
        name.setToolTip(_name_tip(item))
        for widget in (eye, name, response):
            widget.blockSignals(False)

    def _on_moved(self, key: int) -> None:
        item = self.session.listed(key)
        if item is None or key not in self._keys:
            return
        row = self._keys.index(key)
        response, name = self.table.cellWidget(row, 3), self.table.cellWidget(row, 2)
        if isinstance(response, QComboBox) and response.currentData() != item.detector.response:
            self._update_row(row, item)
        elif name is not None:
            name.setToolTip(_name_tip(item))

    # -------------------------------------------------------------- editing
    def _rename(self, key: int, name: str) -> None:
        item = self.session.listed(key)
        if item is not None and name.strip():
            self.session.change_detector(key, replace(item.detector, name=name.strip()))
            self.refresh()

    def _respond(self, key: int, response: Response) -> None:
        item = self.session.listed(key)
        if item is not None:
            self.session.change_detector(key, replace(item.detector, response=response))

    def _pick_color(self, key: int) -> None:
        item = self.session.listed(key)
        if item is None:
            return
        dialog = QColorDialog(QColor(item.detector.color), self)
        dialog.setWindowTitle(f"Colour of {item.detector.name}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.colorSelected.connect(lambda color: self.set_color(key, color.name()))
        dialog.open()

    def set_color(self, key: int, color: str) -> None:
        """Give a detector another colour (``#rrggbb``)."""
        item = self.session.listed(key)
        if item is not None:
            self.session.change_detector(key, replace(item.detector, color=color))


def _name_tip(item: ListedDetector) -> str:
    return f"{describe(item.detector.shape)}; name of the detector and its image"
