"""The list of references: added from files or a region, named, coloured, hidden, removed."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.viewer.spectral import Spectral
from napari_diffmap.widgets.bridge import report_error, try_to
from napari_diffmap.widgets.dialogs import file_dialog
from napari_diffmap.widgets.incident_row import TEXT_FILES
from napari_diffmap.widgets.parts import Links, swatch, tool_button

_HEADS = ("Reference", "Composition", "Energies (eV)", "From")
_NAME, _COMPOSITION = 0, 1
_HEIGHT = 88


class ReferenceTable(QWidget):
    """References of the phases that the stack may hold.

    Parameters
    ----------
    spectral
        The stack.
    """

    def __init__(self, spectral: Spectral) -> None:
        super().__init__()
        self.spectral = spectral
        self.references = spectral.references
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._make_table(), 1)
        row.addLayout(self._make_buttons())
        self._links = Links(self, [(self.references.changed, self.refresh)])
        self.refresh()

    def _make_table(self) -> QTableWidget:
        table = self.table = QTableWidget(0, len(_HEADS))
        table.setHorizontalHeaderLabels(_HEADS)
        table.setToolTip(
            "Spectra of the phases. Tick: drawn over the measured spectrum. Double-click a name or"
            " composition to change it (composition: e.g. x of NaxV2(PO4)2F3, empty where unknown)"
        )
        table.setFixedHeight(_HEIGHT)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setWordWrap(False)
        rows, header = table.verticalHeader(), table.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.setVisible(False)
        rows.setDefaultSectionSize(20)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        table.itemChanged.connect(self._on_item)
        table.itemSelectionChanged.connect(self._enable)
        return table

    def _make_buttons(self) -> QGridLayout:
        self.add = tool_button(
            "Add…", "Add references from text files of two columns: energy (eV), absorption"
        )
        self.add.clicked.connect(self.ask_files)
        self.from_region = tool_button(
            "From region", "The mean optical density of the drawn region becomes a reference"
        )
        self.from_region.clicked.connect(self.take_region)
        self.color = tool_button("Colour…", "Another colour for the chosen reference")
        self.color.clicked.connect(self.ask_color)
        self.remove = tool_button("Remove", "Take the chosen reference out of the list")
        self.remove.clicked.connect(self._on_remove)
        grid = QGridLayout()
        grid.setSpacing(2)
        for i, button in enumerate((self.add, self.from_region, self.color, self.remove)):
            button.setMinimumWidth(92)
            grid.addWidget(button, *divmod(i, 2))
        return grid

    # --------------------------------------------------------------- asking
    def ask_files(self) -> None:
        """Choose files of references, several at once."""
        scan = self.spectral.session.scan
        folder = str(scan.source.parent) if scan is not None and scan.source is not None else ""
        self.file_dialog = file_dialog(
            self, "Add references", self.read, TEXT_FILES, folder, several=True
        )

    def read(self, paths: list[str]) -> None:
        """Add the references of some files."""
        self.references.read(paths, report_error)

    def take_region(self) -> None:
        """The drawn region becomes a reference."""
        try_to(lambda: self.references.add_region(report_error))

    def ask_color(self) -> None:
        """Choose another colour."""
        row = self.table.currentRow()
        if not 0 <= row < len(self.references):
            return
        dialog = QColorDialog(QColor(self.references.items[row].color), self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.colorSelected.connect(partial(self._on_color, row))
        self.color_dialog = dialog
        dialog.open()

    def _on_color(self, row: int, color: QColor) -> None:
        self.references.change(row, color=color.name().upper())

    def _on_remove(self) -> None:
        row = self.table.currentRow()
        if 0 <= row < len(self.references):
            self.references.remove(row)

    # ---------------------------------------------------------------- state
    def refresh(self) -> None:
        """Show the references."""
        kept = self.table.currentRow()
        self.table.blockSignals(True)
        self.table.setRowCount(len(self.references))
        for row, reference in enumerate(self.references.items):
            low, high = reference.energies[[0, -1]]
            x = reference.composition
            name = QTableWidgetItem(swatch(reference.color), reference.name)
            shown = reference.name not in self.references.hidden
            name.setFlags(name.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            name.setCheckState(Qt.CheckState.Checked if shown else Qt.CheckState.Unchecked)
            cells = [
                name,
                QTableWidgetItem("" if x is None else f"{x:g}"),
                QTableWidgetItem(f"{low:.5g}–{high:.5g}"),
                QTableWidgetItem(reference.source.replace("\\", "/").rsplit("/", 1)[-1]),
            ]
            for column, cell in enumerate(cells):
                if column > _COMPOSITION:
                    cell.setFlags(cell.flags() & ~Qt.ItemFlag.ItemIsEditable)
                cell.setToolTip(
                    f"{reference.name}, {len(reference.energies)} energies, {reference.source}"
                )
                self.table.setItem(row, column, cell)
        self.table.blockSignals(False)
        if len(self.references):
            kept = min(kept if kept >= 0 else len(self.references) - 1, len(self.references) - 1)
            self.table.setCurrentCell(kept, 0)
        self._enable()

    def _enable(self) -> None:
        chosen = 0 <= self.table.currentRow() < len(self.references)
        for button in (self.color, self.remove):
            button.setEnabled(chosen)

    def _on_item(self, item: QTableWidgetItem) -> None:
        row, text = item.row(), item.text().strip()
        if not 0 <= row < len(self.references):
            return
        old = self.references.items[row]
        try:
            if item.column() == _NAME and text != old.name:
                self.references.change(row, name=text)
            elif item.column() == _NAME:
                self.references.show(old.name, item.checkState() == Qt.CheckState.Checked)
            elif item.column() == _COMPOSITION:
                self.references.change(row, composition=_number(text))
        except DiffmapError as error:
            report_error(error)
            self.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self.end()
        super().closeEvent(event)


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ".")) if text else None
    except ValueError as error:
        raise BadInputError(f"a composition is a number, not {text!r}") from error
