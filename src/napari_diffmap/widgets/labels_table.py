"""The table of labels: colour, number, name, pixels, area, share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    Qt,
    Signal,
)
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_diffmap.maps.labels.label_maps import LabelTable
from napari_diffmap.widgets.parts import swatch

COLUMNS = ("", "Number", "Name", "Pixels", "Area", "Share")
COLOR, NUMBER, NAME, PIXELS, AREA, SHARE = range(6)
_TIPS = (
    "Colour; double-click for another",
    "Number of the label in the map and in files",
    "Name; double-click or F2 to type one",
    "Scan positions that have the label",
    "Area of the label",
    "Share of all scan positions of the map",
)
_WIDTHS = {COLOR: 28, NUMBER: 86, PIXELS: 84, AREA: 96, SHARE: 72}
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


@lru_cache(maxsize=512)
def _icon(color: str) -> QIcon:
    return swatch(color)


class LabelModel(QAbstractTableModel):
    """A `LabelTable` as rows, in the order of any column.

    Parameters
    ----------
    color
        Colour of a number, ``#rrggbb``.
    rename
        Called with a number and the name that was typed.
    """

    def __init__(
        self, color: Callable[[int], str], rename: Callable[[int, str], None], parent: Any = None
    ) -> None:
        super().__init__(parent)
        self._color = color
        self._rename = rename
        self.table: LabelTable | None = None
        self.order: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._by: tuple[int, bool] = (NUMBER, True)

    # -------------------------------------------------------------- content
    def show(self, table: LabelTable | None) -> bool:
        """Show another table; whether its rows are others."""
        old = self.table
        same = old is not None and table is not None and np.array_equal(old.numbers, table.numbers)
        if same:
            self.table = table
            last = self.index(self.rowCount() - 1, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(0, 0), last)
            return False
        self.beginResetModel()
        self.table = table
        self._sort()
        self.endResetModel()
        return True

    def _sort(self) -> None:
        if self.table is None:
            self.order = np.zeros(0, dtype=np.intp)
            return
        column, rising = self._by
        keys: dict[int, Any] = {NAME: np.array(self.table.names, dtype=np.str_)}
        values = keys.get(column, self.table.numbers if column <= NUMBER else self.table.pixels)
        order = np.argsort(values, kind="stable")
        self.order = order if rising else order[::-1]

    def number(self, row: int) -> int:
        """Label of a row."""
        assert self.table is not None
        return int(self.table.numbers[self.order[row]])

    def numbers(self, rows: Sequence[int]) -> tuple[int, ...]:
        """Labels of rows."""
        if self.table is None:
            return ()
        return tuple(self.table.numbers[self.order[np.asarray(rows, dtype=np.intp)]].tolist())

    def rows_of(self, numbers: Sequence[int]) -> list[int]:
        """Rows of labels that are there, rising."""
        if self.table is None:
            return []
        shown = self.table.numbers[self.order]
        return [int(row) for row in np.flatnonzero(np.isin(shown, list(numbers)))]

    # ----------------------------------------------------------- Qt's names
    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Labels."""
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles and tips."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            nm = section == AREA and self.table is not None and self.table.unit != "pixel"
            return f"Area, {self.table.unit}" if nm and self.table is not None else COLUMNS[section]
        return _TIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        table, column = self.table, index.column()
        if table is None or not index.isValid():
            return None
        row = int(self.order[index.row()])
        if role == Qt.ItemDataRole.DecorationRole and column == COLOR:
            return _icon(self._color(int(table.numbers[row])))
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return _text(table, row, column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column not in (COLOR, NAME):
            return _RIGHT
        return _TIPS[column] if role == Qt.ItemDataRole.ToolTipRole else None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """A name was typed."""
        if index.column() != NAME or role != Qt.ItemDataRole.EditRole:
            return False
        self._rename(self.number(index.row()), str(value))
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Names can be typed."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == NAME else flags

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Order the rows by a column; thousands at once."""
        self._by = (column, order == Qt.SortOrder.AscendingOrder)
        self.beginResetModel()
        self._sort()
        self.endResetModel()


def _text(table: LabelTable, row: int, column: int) -> str | None:
    if column == NUMBER:
        return str(int(table.numbers[row]))
    if column == NAME:
        return table.names[row]
    if column == PIXELS:
        return str(int(table.pixels[row]))
    if column == AREA:
        return f"{table.areas[row]:.5g}"
    return f"{100 * table.shares[row]:.2f} %" if column == SHARE else None


class LabelView(QTableView):
    """The table; keys and clicks on it.

    Signals
    -------
    chosen(numbers)
        Labels were chosen by the user, the last one touched at the end.
    zoom_asked(number), color_asked(number)
        A double click.
    delete_asked(), apply_asked(), cancel_asked()
        Delete, Return and Escape.
    """

    chosen = Signal(object)
    zoom_asked = Signal(int)
    color_asked = Signal(int)
    delete_asked = Signal()
    apply_asked = Signal()
    cancel_asked = Signal()

    def __init__(self, model: LabelModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.labels = model
        self._told = True
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.setVisible(False)
        rows.setDefaultSectionSize(24)
        header.setMinimumSectionSize(24)
        header.setHighlightSections(False)
        for column, width in _WIDTHS.items():
            self.setColumnWidth(column, width)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setSortIndicator(NUMBER, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        # After the view's own: the rows stand in the new order by then.
        header.sortIndicatorChanged.connect(lambda *_: self.choose(self._kept))
        self._kept: tuple[int, ...] = ()
        self.doubleClicked.connect(self._on_double)

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        """Tell what the user chose."""
        super().selectionChanged(selected, deselected)
        if self._told:
            self._kept = self.numbers()
            self.chosen.emit(self._kept)

    def numbers(self) -> tuple[int, ...]:
        """Chosen labels, the current one last."""
        model = self.selectionModel()
        if model is None:
            return ()
        # By ranges: asking for each of thousands of rows takes a second.
        parts: Any = model.selection()
        rows = {row for part in parts for row in range(part.top(), part.bottom() + 1)}
        current = model.currentIndex().row()
        ordered = sorted(rows, key=lambda row: (row == current, row))
        return self.labels.numbers(ordered)

    def show_table(self, table: LabelTable | None) -> None:
        """Show another table; what is chosen and still there stays chosen."""
        if self.labels.show(table):
            self.choose(self._kept)

    def choose(self, numbers: Sequence[int], *, scroll: bool = False) -> None:
        """Choose labels from elsewhere; nobody is told."""
        self._kept = tuple(numbers)
        model = self.selectionModel()
        assert model is not None
        selection, rows = QItemSelection(), self.labels.rows_of(numbers)
        for row in rows:
            selection.select(self.labels.index(row, 0), self.labels.index(row, len(COLUMNS) - 1))
        flags = QItemSelectionModel.SelectionFlag
        self._told = False
        try:
            if len(rows) == 1:
                current = self.labels.index(rows[0], NUMBER)
                model.setCurrentIndex(current, flags.NoUpdate)
            model.select(selection, flags.ClearAndSelect)
        finally:
            self._told = True
        if scroll and rows:
            self.scrollTo(self.labels.index(rows[-1], NUMBER))

    def _on_double(self, index: QModelIndex) -> None:
        if index.column() == COLOR:
            self.color_asked.emit(self.labels.number(index.row()))
        elif index.column() != NAME:
            self.zoom_asked.emit(self.labels.number(index.row()))

    def keyPressEvent(self, event: Any) -> None:
        """Delete, Return, Escape."""
        signals = {
            Qt.Key.Key_Delete: self.delete_asked,
            Qt.Key.Key_Return: self.apply_asked,
            Qt.Key.Key_Enter: self.apply_asked,
            Qt.Key.Key_Escape: self.cancel_asked,
        }
        signal = signals.get(event.key())
        if signal is None or self.state() == QAbstractItemView.State.EditingState:
            super().keyPressEvent(event)
        else:
            signal.emit()
