"""Tables of tracks, diffusion and transitions; a track is picked in its table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QStackedWidget,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_numbers import (
    DIFFUSION_HEADS,
    TRACK_HEADS,
    TRANSITIONS,
    diffusion_line,
    diffusion_rows,
    track_rows,
    transition_table,
    units,
)
from napari_diffmap.widgets.defects_looks import class_icon
from napari_diffmap.widgets.parts import Links, one_line_label, plain_label

_TRACK_TIPS = (
    "Number of the track",
    "The class it shows most often",
    "Frames in which it was seen",
    "Diffusion coefficient by the covariance estimator, {0}; unbiased: may be below 0",
    "95 % interval of D, {0}",
)
_DIFFUSION_TIPS = (
    "Class of the tracks",
    "Tracks that are pooled",
    "Diffusion coefficient of all its tracks by the covariance estimator, {0}",
    "95 % interval of D, {0}",
    "Hops between sites, {2}",
    "Standard deviation of a coordinate that the tracks show, {1}",
    "Whether the walks are confined (p < 0.05)",
)
#: Height of rows, and widths of the columns of tracks, pixels.
_ROW = 20
_WIDTHS = (40, 96, 36, 66, 100)


class _Number(QTableWidgetItem):
    """A cell that is sorted by a number."""

    def __init__(self, text: str, key: float) -> None:
        super().__init__(text)
        self.key = key

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return self.key < other.key if isinstance(other, _Number) else super().__lt__(other)


def _table(heads: tuple[str, ...], tip: str) -> QTableWidget:
    table = QTableWidget(0, len(heads))
    table.setHorizontalHeaderLabels(list(heads))
    table.setToolTip(tip)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setWordWrap(False)
    rows, header = table.verticalHeader(), table.horizontalHeader()
    assert rows is not None
    assert header is not None
    rows.setVisible(False)
    rows.setDefaultSectionSize(_ROW)
    header.setMinimumSectionSize(24)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setStretchLastSection(True)
    return table


def _tell_heads(table: QTableWidget, tips: tuple[str, ...], unit: tuple[str, str, str]) -> None:
    for i, tip in enumerate(tips):
        head = table.horizontalHeaderItem(i)
        if head is not None:
            head.setToolTip(tip.format(*unit))


class _FollowedView(QStackedWidget):
    """Something told of tracks; words while there are none.

    Parameters
    ----------
    defects
        Whose tracks.
    words
        What is said instead.
    """

    def __init__(self, defects: Defects, words: str) -> None:
        super().__init__()
        self.defects = defects
        self.empty = plain_label(words)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.addWidget(self.empty)

    def _show_on(self, page: QWidget, *more: tuple[Any, Callable[..., None]]) -> None:
        """Have what is told on a page, and follow the tracks from now on."""
        self.addWidget(page)
        runs, followed = self.defects.run_changed, self.defects.followed
        self._links = Links(self, [(runs, self.refresh), (followed, self.refresh), *more])
        self.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()

    def refresh(self, *_: object) -> None:
        """Tell it of the tracks as they are."""
        raise NotImplementedError


class TrackTable(_FollowedView):
    """Tracks; a click selects one, and the track of the selected find is marked."""

    def __init__(self, defects: Defects) -> None:
        super().__init__(defects, "")
        self.table = _table(TRACK_HEADS, "Tracks; click one to select it and go there")
        self.table.setSortingEnabled(True)
        header = self.table.horizontalHeader()
        assert header is not None
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for i, width in enumerate(_WIDTHS):
            self.table.setColumnWidth(i, width)
        self.table.setMinimumWidth(200)
        self.table.itemSelectionChanged.connect(self._on_chosen)
        self._show_on(self.table, (defects.selected, self._on_selected))

    def refresh(self, *_: object) -> None:
        """Show the tracks as they were followed last."""
        rows = track_rows(self.defects)
        self.setCurrentIndex(1 if rows else 0)
        if self.defects.run is None:
            self.empty.setText("Find defects in a movie first: their tracks are listed here.")
        else:
            self.empty.setText(
                "No track: nothing was seen in as many frames as Shortest track asks for."
                if self.defects.frames > 1
                else "A single image has no tracks."
            )
        table, found = self.table, self.defects.map
        table.blockSignals(True)
        table.setSortingEnabled(False)
        table.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for j, (text, key) in enumerate(zip(row.cells, row.keys, strict=True)):
                cell = _Number(text, key)
                cell.setToolTip(row.tip)
                if j == 0:
                    cell.setData(Qt.ItemDataRole.UserRole, row.track)
                if j == 1 and found is not None:
                    cell.setIcon(class_icon(row.class_id, found.phases[row.class_id].color, 14))
                table.setItem(i, j, cell)
        table.setSortingEnabled(True)
        table.blockSignals(False)
        _tell_heads(table, _TRACK_TIPS, units(self.defects))
        self._on_selected(self.defects.selection)

    def _on_chosen(self) -> None:
        chosen = self.table.selectedItems()
        if chosen:
            cell = self.table.item(chosen[0].row(), 0)
            assert cell is not None
            self.defects.select_track(int(cell.data(Qt.ItemDataRole.UserRole)))

    def _on_selected(self, slots: NDArray[np.int64]) -> None:
        found = self.defects.map
        track = -1 if found is None or not len(slots) else int(found.tracks[slots[0]])
        self.table.blockSignals(True)
        self.table.clearSelection()
        for row in range(self.table.rowCount() if track >= 0 else 0):
            cell = self.table.item(row, 0)
            if cell is not None and cell.data(Qt.ItemDataRole.UserRole) == track:
                self.table.selectRow(row)
                self.table.scrollToItem(cell)
                break
        self.table.blockSignals(False)


class DiffusionTable(_FollowedView):
    """Diffusion of each class."""

    def __init__(self, defects: Defects) -> None:
        super().__init__(defects, "Diffusion of each class is listed here once a movie has tracks.")
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        self.table = _table(DIFFUSION_HEADS, "Diffusion of the tracks of each class, pooled")
        self.line = one_line_label("Units, and what to know of these numbers")
        column.addWidget(self.table, 1)
        column.addWidget(self.line)
        self._show_on(page)

    def refresh(self, *_: object) -> None:
        """Show the numbers as they are."""
        rows = diffusion_rows(self.defects)
        self.setCurrentIndex(1 if rows else 0)
        self.table.setRowCount(len(rows))
        for i, (cells, tip) in enumerate(rows):
            for j, text in enumerate(cells):
                cell = QTableWidgetItem(text)
                cell.setToolTip(tip)
                self.table.setItem(i, j, cell)
        unit = units(self.defects)
        _tell_heads(self.table, _DIFFUSION_TIPS, unit)
        self.line.setText(diffusion_line(self.defects))


class TransitionView(_FollowedView):
    """Transitions between classes from frame to frame."""

    def __init__(self, defects: Defects) -> None:
        words = "How classes change from frame to frame is shown here once a movie has tracks."
        super().__init__(defects, words)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self.which = QComboBox()
        for i, (key, words, tip) in enumerate(TRANSITIONS):
            self.which.addItem(words, key)
            self.which.setItemData(i, tip, Qt.ItemDataRole.ToolTipRole)
        self.which.setToolTip("What the transitions are between")
        self.which.currentIndexChanged.connect(self.refresh)
        self.table = QTableWidget(0, 0)
        self.table.setToolTip(
            "Probability a frame that a defect of the class on the left is of the class above in"
            " the next; intervals (95 %) and counts in the tips"
        )
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.line = one_line_label("Second eigenvalue, relaxation time, test for memory")
        column.addWidget(self.which, alignment=Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.table, 1)
        column.addWidget(self.line)
        self._show_on(page)

    def refresh(self, *_: object) -> None:
        """Show the matrix as it is."""
        run: Any = self.defects.run
        some = run is not None and run.followed.transitions is not None
        self.setCurrentIndex(1 if some else 0)
        told = transition_table(self.defects, str(self.which.currentData())) if some else None
        if told is None:
            self.table.setRowCount(0)
            self.line.setText("not known of these tracks" if some else "")
            return
        n = len(told.names)
        self.table.setRowCount(n)
        self.table.setColumnCount(n)
        self.table.setHorizontalHeaderLabels([f"→ {name}" for name in told.names])
        self.table.setVerticalHeaderLabels(list(told.names))
        for i in range(n):
            for j in range(n):
                low_high = told.spans[i][j]
                cell = QTableWidgetItem(f"{told.cells[i][j]}  ({low_high})")
                cell.setToolTip(told.tips[i][j])
                self.table.setItem(i, j, cell)
        rows, header = self.table.verticalHeader(), self.table.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.setDefaultSectionSize(_ROW)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.line.setText(told.line)
