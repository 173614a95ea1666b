"""The table of grains: any column sorts, rows are the grains that are selected on the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    Signal,
)
from qtpy.QtWidgets import QAbstractItemView, QTableView, QWidget

if TYPE_CHECKING:
    from napari_diffmap.maps.columns import Column

Index = QModelIndex | QPersistentModelIndex

#: Columns that the table says otherwise: the phase by its name, the box by going there.
HIDDEN = frozenset({"phase_id", "first_row", "first_column", "end_row", "end_column"})
#: A selection in more pieces than these is listed first, in one: Qt looks at all pieces again and
#: again.
_MOST_PIECES = 300
#: Phases have long names, and say little in a table of one phase.
_TEXT_WIDTH = 84
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_DISPLAY, _TIP = Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole
_ALIGN = Qt.ItemDataRole.TextAlignmentRole


class GrainModel(QAbstractTableModel):
    """Columns over arrays; order and filter are one array of rows, so that 10⁵ rows sort at once.

    A proxy model would ask Python for two values of each comparison.
    """

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.columns: tuple[Column, ...] = ()
        self.order: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._phase: int | None = None
        self._phase_ids: NDArray[Any] = np.zeros(0, dtype=np.int16)
        self._by: tuple[int, bool] = (0, True)
        #: Grains that are listed before all others.
        self.raised: tuple[int, ...] = ()

    # --------------------------------------------------------------- content
    def show(self, columns: Sequence[Column]) -> None:
        """Show a table: `GrainRun.grain_columns`, its first column numbering from 1."""
        self.beginResetModel()
        ids = [column for column in columns if column.name == "phase_id"]
        self._phase_ids = ids[0].values if ids else np.zeros(0, dtype=np.int16)
        self.columns = tuple(column for column in columns if column.name not in HIDDEN)
        self._arrange()
        self.endResetModel()

    def filter_phase(self, phase: int | None) -> None:
        """List only grains of a phase; None: all."""
        self.beginResetModel()
        self._phase = phase
        self._arrange()
        self.endResetModel()

    def _arrange(self) -> None:
        if not self.columns:
            self.order = np.zeros(0, dtype=np.intp)
            return
        by, rising = self._by
        values = self.columns[min(by, len(self.columns) - 1)].values
        if values.dtype == object:
            values = np.unique(values.astype(str), return_inverse=True)[1]
        order = np.argsort(values, kind="stable")
        if not rising:
            order = order[::-1]
            if values.dtype.kind == "f":  # what has no number stands last either way
                order = np.concatenate((order[np.isfinite(values[order])],
                                        order[~np.isfinite(values[order])]))  # fmt: skip
        if self._phase is not None and len(self._phase_ids):
            order = order[self._phase_ids[order] == self._phase]
        if self.raised:
            first = np.isin(order + 1, self.raised)
            order = np.concatenate((order[first], order[~first]))
        self.order = order

    def put_first(self, labels: Sequence[int]) -> None:
        """List some grains before all others, in the order that is chosen."""
        self.beginResetModel()
        self.raised = tuple(labels)
        self._arrange()
        self.endResetModel()

    def labels_at(self, rows: Sequence[int] | NDArray[np.intp]) -> NDArray[np.intp]:
        """Grains of rows."""
        return self.order[np.asarray(rows, dtype=np.intp)] + 1

    def rows_of(self, labels: Sequence[int]) -> NDArray[np.intp]:
        """Rows of grains that are listed, rising."""
        if not len(self.order):
            return np.zeros(0, dtype=np.intp)
        n = len(self.columns[0].values)
        wanted = np.zeros(n + 1, dtype=bool)
        numbers = np.asarray(labels, dtype=np.intp)
        wanted[numbers[(numbers >= 1) & (numbers <= n)]] = True
        return np.flatnonzero(wanted[self.order + 1])

    # ------------------------------------------------------------ Qt's names
    def rowCount(self, parent: Index | None = None) -> int:
        """Grains."""
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: Index | None = None) -> int:
        """Columns."""
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Any, role: int = _DISPLAY) -> Any:
        """Names with units; what they mean as a tip."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self.columns):
            return None
        column = self.columns[section]
        if role == _DISPLAY:
            return head(column)
        if role == _TIP:
            unit = f" ({column.unit})" if column.unit else ""
            return f"{column.name.replace('_', ' ')}{unit}: {column.description}\nClick: sort"
        return None

    def data(self, index: Index, role: int = _DISPLAY) -> Any:
        """Text of a cell."""
        if role == _DISPLAY:
            value = self.columns[index.column()].values[self.order[index.row()]]
            return cell(value)
        if role == _ALIGN:
            text = self.columns[index.column()].values.dtype == object
            return None if text else _RIGHT
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Order the rows by a column."""
        self.beginResetModel()
        self._by = (max(column, 0), order == Qt.SortOrder.AscendingOrder)
        self._arrange()
        self.endResetModel()


def head(column: Column) -> str:
    """Name over two lines, with its unit."""
    words = column.name.split("_")
    half = (len(words) + 1) // 2
    first, second = " ".join(words[:half]), " ".join(words[half:])
    unit = column.unit
    return f"{first}\n{', '.join(part for part in (second, unit) if part)}"


def cell(value: Any) -> str:
    """A number as it is read: whole ones in full, others to four digits."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return "–" if not np.isfinite(value) else f"{float(value):.4g}"
    return str(value)


def _ranges(selection: Any) -> list[Any]:
    return list(selection)


class GrainTable(QTableView):
    """The table view.

    Signals
    -------
    chosen(labels)
        The user selected rows.
    zoom_asked()
        A double click.
    """

    chosen = Signal(object)
    zoom_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._told = True
        self._labels: tuple[int, ...] = ()
        self._fitted = ""
        self.grains = GrainModel(self)
        self.setModel(self.grains)
        self.setToolTip(
            "Grains; click a head to sort. Selected rows are outlined on the sample; a click on the"
            " sample selects its row. Double click: go there"
        )
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.hide()
        rows.setDefaultSectionSize(21)
        header.setMinimumSectionSize(36)
        header.setHighlightSections(False)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        # After the view's own: what is selected is forgotten by then.
        self.grains.modelReset.connect(lambda: self.choose(self._labels))
        self.doubleClicked.connect(lambda _index: self.zoom_asked.emit())

    @property
    def labels(self) -> tuple[int, ...]:
        """Grains that are selected, listed or not."""
        return self._labels

    def show_columns(self, columns: Sequence[Column]) -> None:
        """Show another table; what is selected stays."""
        self._quietly(lambda: self.grains.show(columns))
        heads = "|".join(head(column) for column in self.grains.columns)
        if heads != self._fitted:
            self._fitted = heads
            self._fit()

    def _fit(self) -> None:
        """Widths of the heads: those of 10⁵ cells take too long to ask for."""
        metrics = self.fontMetrics()
        for i, column in enumerate(self.grains.columns):
            texts = [*head(column).split("\n"), *(cell(v) for v in column.values[:50])]
            width = max((metrics.horizontalAdvance(text) for text in texts), default=40)
            widest = _TEXT_WIDTH if column.values.dtype == object else 160
            self.setColumnWidth(i, min(width + 22, widest))

    def filter_phase(self, phase: int | None) -> None:
        """List only grains of a phase; None: all."""
        self._quietly(lambda: self.grains.filter_phase(phase))

    def _quietly(self, act: Any) -> None:
        told, self._told = self._told, False
        try:
            act()
        finally:
            self._told = told

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        """Tell which grains the user selected."""
        super().selectionChanged(selected, deselected)
        if not self._told:
            return
        model = self.selectionModel()
        assert model is not None
        # By ranges: asking for each of thousands of rows takes a second.
        parts = [np.arange(part.top(), part.bottom() + 1) for part in _ranges(model.selection())]
        rows = np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)
        self._labels = tuple(np.unique(self.grains.labels_at(rows)).tolist())
        self.chosen.emit(self._labels)

    def choose(self, labels: Sequence[int], *, scroll: bool = False) -> None:
        """Select grains from elsewhere; nobody is told."""
        self._labels = tuple(labels)
        model = self.selectionModel()
        assert model is not None
        grains = self.grains
        rows, last = grains.rows_of(labels), grains.columnCount() - 1
        breaks = np.flatnonzero(np.diff(rows) > 1) + 1
        if grains.raised not in ((), self._labels) or len(breaks) >= _MOST_PIECES:
            # Ends here again, by `modelReset`.
            self._quietly(lambda: grains.put_first(labels if len(breaks) >= _MOST_PIECES else ()))
            return
        selection = QItemSelection()
        for run in np.split(rows, breaks) if len(rows) else ():
            top, bottom = grains.index(int(run[0]), 0), grains.index(int(run[-1]), last)
            selection.select(top, bottom)
        flags = QItemSelectionModel.SelectionFlag

        def act() -> None:
            if len(rows):
                model.setCurrentIndex(self.grains.index(int(rows[0]), 0), flags.NoUpdate)
            model.select(selection, flags.ClearAndSelect)

        self._quietly(act)
        if scroll and len(rows):
            shown = self.horizontalScrollBar()
            at = 0 if shown is None else shown.value()
            self.scrollTo(self.grains.index(int(rows[0]), 0))
            if shown is not None:
                shown.setValue(at)
