"""The Labels dock: label maps, the table of their labels, changes with a preview."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.maps.labels.label_maps import color_of
from napari_diffmap.viewer.label_changes import SCOPES, Operation, Proposal
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.dialogs import save_dialog
from napari_diffmap.widgets.labels_add import AddLabels
from napari_diffmap.widgets.labels_table import LabelModel, LabelView
from napari_diffmap.widgets.parts import Links, one_line_label, tool_button
from napari_diffmap.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari_diffmap.maps.labels.label_maps import LabelTable

#: Operations and what they do: on chosen labels, then where the scope says.
_CHOSEN: dict[Operation, tuple[str, str]] = {
    "merge": ("Merge", "Give the chosen labels the number of the largest of them"),
    "split": ("Split", "Cut each chosen label; its largest piece keeps the number"),
    "delete": ("Delete", "Take the chosen labels away (Delete key)"),
}
_SCOPED: dict[Operation, tuple[str, str]] = {
    "clean small": ("Clean small", "Give small connected pieces to the neighbour they touch most"),
    "majority": ("Majority", "Give each pixel the label that most pixels around it have"),
    "fill holes": ("Fill holes", "Fill what has no label and lies inside one label"),
    "grow": ("Grow", "Let labels grow into pixels without one; the nearest label wins"),
}
_FILES = "OME-TIFF (*.ome.tif *.ome.tiff);;OME-Zarr (*.ome.zarr)"


class LabelsDock(QWidget):
    """Choose a label map, work with its labels.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        self.labelling = self.bench.labelling
        self.buttons: dict[str, QPushButton] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(3)
        layout.addLayout(self._make_head())
        self.model = LabelModel(self._color, self._rename, self)
        self.table = LabelView(self.model)
        layout.addWidget(self.table, 1)
        layout.addLayout(self._make_chosen())
        layout.addLayout(self._make_scoped())
        self.line = one_line_label("What is missing, what would change, or what the map holds")
        layout.addWidget(self.line)
        layout.addLayout(self._make_end())
        self._connect()
        self._on_counted(self.labelling.table)
        self.refresh()

    # ------------------------------------------------------------ building
    def _make_head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.map = QComboBox()
        self.map.setToolTip("Label map in hand; its layer becomes the active one")
        self.map.textActivated.connect(self.labelling.select)
        row.addWidget(self.map, 1)
        self._add_button(row, "Add…", "Add a label map: empty, of phases, grains …", self.ask_map)
        self._add_button(
            row,
            "New label",
            "Paint with a number that no pixel has yet; all tools of napari work on the layer",
            lambda: try_to(self.labelling.new_label),
        )
        self._add_button(
            row, "Zoom", "See the chosen label in the middle of the sample (double click)",
            self.zoom,
        )  # fmt: skip
        self._add_button(
            row, "Save…", "Save the label map as OME-TIFF or OME-Zarr, with names and colours",
            self.ask_file,
        )  # fmt: skip
        return row

    def _make_chosen(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.angle = QDoubleSpinBox()
        self.angle.setRange(0, 90)
        self.angle.setDecimals(1)
        self.angle.setSuffix("°")
        self.angle.setSpecialValueText("pieces")
        self.angle.setToolTip(
            "Disorientation of neighbours above which Split cuts, degrees; 0: only into"
            " connected pieces"
        )
        for operation, (words, tip) in _CHOSEN.items():
            self._add_operation(row, operation, words, tip)
            if operation == "split":
                row.addWidget(_narrow(self.angle, 76))
        self.distance = _box(1, 1000, 1, "How far labels grow, pixels")
        self._add_operation(row, "grow", *_SCOPED["grow"])
        row.addWidget(_narrow(self.distance, 60))
        row.addStretch()
        return row

    def _make_scoped(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.least = _box(2, 100_000, 5, "Smaller connected pieces are given away, pixels")
        self.window_size = _box(3, 15, 3, "Width of the square window of Majority, pixels (odd)")
        self.window_size.setSingleStep(2)
        self.hole = _box(0, 100_000, 0, "Largest hole that is filled, pixels; 0: any")
        self.hole.setSpecialValueText("any")
        boxes = {"clean small": self.least, "majority": self.window_size, "fill holes": self.hole}
        for operation, box in boxes.items():
            self._add_operation(row, operation, *_SCOPED[operation])  # type: ignore[index,arg-type]
            row.addWidget(_narrow(box, 60))
        row.addStretch()
        self.scope = QComboBox()
        self.scope.addItems(list(SCOPES))
        self.scope.setToolTip(
            "Where Grow, Clean small, Majority and Fill holes may change something"
        )
        # Its words are shortened rather than the dock made wider.
        self.scope.setMinimumWidth(80)
        self.scope.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        row.addWidget(self.scope, 1)
        return row

    def _make_end(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self._add_button(row, "Apply", "Make the previewed change (Return)", self.labelling.apply)
        self._add_button(row, "Cancel", "Drop the previewed change (Escape)", self.labelling.cancel)
        row.addStretch()
        self._add_button(
            row, "Undo", "Take the last edit back, of this or another map (Ctrl+Z on the layer)",
            self.labelling.undo,
        )  # fmt: skip
        self._add_button(
            row, "Redo", "Make the edit again (Ctrl+Shift+Z on the layer)", self.labelling.redo
        )
        return row

    def _add_button(
        self, row: QHBoxLayout, words: str, tip: str, slot: Callable[[], object]
    ) -> None:
        button = tool_button(words, tip)
        button.clicked.connect(lambda _on=False: slot())
        self.buttons[words] = button
        row.addWidget(button)

    def _add_operation(self, row: QHBoxLayout, operation: Operation, words: str, tip: str) -> None:
        self._add_button(row, words, f"{tip}; previewed first", lambda: self.propose(operation))

    def _connect(self) -> None:
        labelling, table = self.labelling, self.table
        table.chosen.connect(labelling.choose)
        table.zoom_asked.connect(labelling.zoom_to)
        table.color_asked.connect(self.ask_color)
        table.delete_asked.connect(lambda: self.propose("delete"))
        table.apply_asked.connect(labelling.apply)
        table.cancel_asked.connect(labelling.cancel)
        self._links = Links(
            self,
            [
                (labelling.changed, self.refresh),
                (labelling.counted, self._on_counted),
                (labelling.proposed, self._on_proposed),
                (labelling.picked, self._on_picked),
            ],
        )

    # -------------------------------------------------------------- asking
    def ask_map(self) -> None:
        """Ask for a label map to add."""
        dialog = AddLabels(self.labelling, self)
        dialog.accepted.connect(lambda: try_to(dialog.make))
        self.add_dialog = dialog
        dialog.open()

    def ask_color(self, number: int) -> None:
        """Ask for a label's colour."""
        dialog = QColorDialog(QColor(self._color(number)), self)
        dialog.setWindowTitle(f"Colour of label {number}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.colorSelected.connect(lambda color: self.labelling.recolor(number, color.name()))
        self.color_dialog = dialog
        dialog.open()

    def ask_file(self) -> None:
        """Ask where to save the label map."""
        name = f"{self.labelling.name}.ome.tif"
        self.file_dialog = save_dialog(self, "Save the label map", self.save, _FILES, name=name)

    def save(self, path: str | Path) -> None:
        """Save the label map; OME-TIFF where the name does not say."""
        path = Path(path)
        if not path.name.endswith((".ome.tif", ".ome.tiff", ".ome.zarr")):
            path = path.with_name(path.name + ".ome.tif")
        try_to(lambda: self.labelling.save(path))

    # ------------------------------------------------------------- changing
    def propose(self, operation: Operation) -> None:
        """Preview an operation with the value beside its button."""
        boxes: dict[str, QDoubleSpinBox | QSpinBox] = {
            "split": self.angle,
            "grow": self.distance,
            "clean small": self.least,
            "majority": self.window_size,
            "fill holes": self.hole,
        }
        value = boxes[operation].value() if operation in boxes else 0
        if operation == "majority":
            value = int(value) | 1  # an even width that was typed
        scope = SCOPES[self.scope.currentIndex()]
        try_to(lambda: self.labelling.propose(operation, value, scope))

    def zoom(self) -> None:
        """See the label that was chosen last."""
        if self.labelling.chosen:
            self.labelling.zoom_to(self.labelling.chosen[-1])

    def _rename(self, number: int, name: str) -> None:
        try_to(lambda: self.labelling.rename(number, name))

    def _color(self, number: int) -> str:
        labels = self.labelling.labels
        return color_of(labels, number) if labels is not None else "#808080"

    # --------------------------------------------------------------- state
    def _on_counted(self, table: LabelTable | None) -> None:
        self.table.show_table(table)
        left = self.table.numbers()
        if len(left) != len(self.labelling.chosen):
            self.labelling.choose(left)
        self.refresh()

    def _on_proposed(self, _proposal: Proposal | None) -> None:
        self.refresh()

    def _on_picked(self, number: int) -> None:
        if number not in self.labelling.chosen and number:
            self.table.choose([number], scroll=True)
            self.labelling.choose([number] if self.table.numbers() else [])

    def _say(self) -> str:
        labelling = self.labelling
        if labelling.missing() or labelling.working:
            return labelling.working or labelling.missing()
        if labelling.proposal is not None:
            return labelling.proposal.text()
        table = labelling.table
        if table is None or not len(table):
            return "No label yet: New label, then paint on the sample."
        shares = 100 * float(table.shares.sum())
        return f"{len(table)} labels on {shares:.3g} % of the map; {len(labelling.chosen)} chosen"

    def refresh(self, *_: object) -> None:
        """Enable what can be done and say what cannot."""
        labelling, corrections = self.labelling, self.session.corrections
        names = list(labelling.names)
        if [self.map.itemText(i) for i in range(self.map.count())] != names:
            self.map.clear()
            self.map.addItems(names)
        self.map.setCurrentText(labelling.name or "")
        self.map.setEnabled(bool(names))
        there, chosen = labelling.labels is not None, len(labelling.chosen)
        proposal = labelling.proposal
        able = {
            "Add…": corrections is not None,
            "New label": there,
            "Zoom": there and chosen > 0,
            "Save…": there,
            "Merge": there and chosen > 1,
            "Split": there and chosen > 0,
            "Delete": there and chosen > 0,
            **{words: there for words, _ in _SCOPED.values()},
            "Apply": proposal is not None and len(proposal.pixels) > 0,
            "Cancel": proposal is not None or bool(labelling.working),
            "Undo": corrections is not None and bool(corrections.done),
            "Redo": corrections is not None and bool(corrections.undone),
        }
        for words, on in able.items():
            self.buttons[words].setEnabled(on)
        for box in (self.angle, self.distance, self.least, self.window_size, self.hole):
            box.setEnabled(there)
        self.scope.setEnabled(there)
        self.line.setText(self._say())

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self._links.end()
        super().closeEvent(event)


def _box(low: int, high: int, value: int, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    box.setToolTip(tip)
    box.setKeyboardTracking(False)
    return box


def _narrow(box: QSpinBox | QDoubleSpinBox, width: int) -> QSpinBox | QDoubleSpinBox:
    box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
    box.setFixedWidth(width)
    return box
