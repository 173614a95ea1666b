"""The form that adds a label map: empty, or made from what was found or drawn."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from napari_diffmap.maps.labels.label_maps import QUANTITIES
from napari_diffmap.viewer.labelling import Labelling

KINDS = {
    "empty": "No label yet: paint them with napari's tools",
    "phases": "A label for each phase of the map",
    "grains": "A label for each grain: neighbours of one phase up to a disorientation",
    "drawn region": "A label where a region is drawn (Scan dock)",
    "threshold": "A label for each connected part where a quantity reaches a value",
}


class AddLabels(QDialog):
    """Ask for a label map and have it made.

    Parameters
    ----------
    labelling
        Who makes it.
    parent
        The dock.
    """

    def __init__(self, labelling: Labelling, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.labelling = labelling
        self.setWindowTitle("Add a label map")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.form = QFormLayout(self)
        self.kind = QComboBox()
        found = labelling.session.map
        for name, tip in KINDS.items():
            if name == "grains" and found is not None and not found.has_orientations:
                continue
            self.kind.addItem(name)
            self.kind.setItemData(self.kind.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.name = QLineEdit()
        self.name.setToolTip("Name of the label map; without one it is called by what it is of")
        self.angle = QDoubleSpinBox()
        self.angle.setRange(0.1, 90)
        self.angle.setDecimals(1)
        self.angle.setValue(5)
        self.angle.setSuffix("°")
        self.angle.setToolTip("Largest disorientation of neighbours in one grain, degrees")
        self.least = QSpinBox()
        self.least.setRange(1, 100_000)
        self.least.setToolTip("Smaller grains get no label, pixels")
        self.quantity = QComboBox()
        self.quantity.addItems(list(QUANTITIES))
        self.quantity.setToolTip("Score of the first answer, or its reliability (probability 0–1)")
        self.side = QComboBox()
        self.side.addItems(["at least", "less than"])
        self.side.setToolTip("Which side of the value gets labels")
        self.value = QDoubleSpinBox()
        self.value.setRange(-1e6, 1e6)
        self.value.setDecimals(3)
        self.value.setSingleStep(0.05)
        self.value.setValue(0.5)
        self.value.setToolTip("Threshold, in the unit of the quantity")
        self.form.addRow("From", self.kind)
        self.form.addRow("Name", self.name)
        self._rows: list[tuple[str, QWidget]] = []
        for kind, words, widget in (
            ("grains", "Disorientation", self.angle),
            ("grains", "Smallest grain, pixels", self.least),
            ("threshold", "Quantity", self.quantity),
            ("threshold", "Side", self.side),
            ("threshold", "Value", self.value),
        ):
            self.form.addRow(words, widget)
            self._rows.append((kind, widget))
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.form.addRow(self.buttons)
        self.kind.currentTextChanged.connect(self._on_kind)
        self._on_kind(self.kind.currentText())

    def _on_kind(self, kind: str) -> None:
        self.kind.setToolTip(KINDS[kind])
        for owner, widget in self._rows:
            self.form.setRowVisible(widget, owner == kind)
        self.adjustSize()

    def make(self) -> None:
        """Have the label map made.

        Raises
        ------
        BadInputError
            If there is no map, or no region where one is needed.
        """
        name, labelling = self.name.text().strip(), self.labelling
        kind = self.kind.currentText()
        if kind == "empty":
            labelling.add_empty(name)
        elif kind == "phases":
            labelling.add_phases(name)
        elif kind == "grains":
            labelling.add_grains(name, self.angle.value(), self.least.value())
        elif kind == "drawn region":
            labelling.add_region(name)
        else:
            labelling.add_threshold(
                name,
                quantity="score" if self.quantity.currentText() == "score" else "reliability",
                value=self.value.value(),
                above=self.side.currentIndex() == 0,
            )
