"""The corrections of a map as a table: newest first, each can be switched off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QPushButton, QTableView

from napari_diffmap.maps.edits.edited import EDITED_NAMES
from napari_diffmap.widgets.parts import tool_button

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.maps.edits.edit import Edit

Index = QModelIndex | QPersistentModelIndex

#: Width of the column of ticks, pixels.
_TICK = 28
HEADS = ("", "correction", "pixels", "before → after", "who, when")


class Corrected(Protocol):
    """What is corrected: a map of positions, or the finds of defects."""

    @property
    def corrections(self) -> Corrections | None:
        """Its edits; None while there is nothing to correct."""
        ...

    def switch(self, number: int, on: bool) -> None:
        """Let one edit count or not."""
        ...

    def undo(self) -> None:
        """Take the last edit back."""
        ...

    def redo(self) -> None:
        """Make it again."""
        ...


class HistoryModel(QAbstractTableModel):
    """Edits that are done, newest first, above them in grey what can be redone.

    Parameters
    ----------
    correcting
        Whose edits are listed.
    what
        What an edit is of, in the plural.
    names
        What kinds of edits are called.
    """

    def __init__(
        self,
        correcting: Corrected,
        what: str = "pixels",
        names: Mapping[int, str] = EDITED_NAMES,
    ) -> None:
        super().__init__()
        self.what, self.names = what, names
        self.correcting = correcting
        self._rows: list[tuple[Edit, bool]] = []
        self.refresh()

    def refresh(self) -> None:
        """Look at the edits again."""
        corrections = self.correcting.corrections
        rows: list[tuple[Edit, bool]] = []
        if corrections is not None:
            rows = [(edit, False) for edit in corrections.undone]
            rows += [(edit, True) for edit in reversed(corrections.done)]
        self.beginResetModel()
        self._rows = rows
        self.endResetModel()

    def edit_at(self, row: int) -> Edit:
        """The edit of a row."""
        return self._rows[row][0]

    def rowCount(self, parent: Index | None = None) -> int:
        """Number of edits."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index | None = None) -> int:
        """Number of columns."""
        return 0 if parent is not None and parent.isValid() else len(HEADS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        """Names of the columns."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return self.what if HEADS[section] == "pixels" else HEADS[section]
        return None

    def flags(self, index: Index) -> Any:
        """What is done can be switched."""
        flags = super().flags(index)
        if index.column() == 0 and self._rows[index.row()][1]:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def data(self, index: Index, role: int = 0) -> Any:
        """Text, tick, colour and tooltip of a cell."""
        edit, done = self._rows[index.row()]
        if role == Qt.ItemDataRole.CheckStateRole and index.column() == 0:
            corrections = self.correcting.corrections
            on = done and corrections is not None and edit.number not in corrections.off
            return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._told(edit, done)
        if role == Qt.ItemDataRole.ForegroundRole and not done:
            return Qt.GlobalColor.gray
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        cells = (
            "",
            self.names[edit.kind] if edit.target == "map" else edit.target.split("/", 1)[1],
            f"{len(edit.pixels)}",
            changed(edit.before, edit.after),
            f"{edit.who}, {edit.when[11:16]}",
        )
        return cells[index.column()]

    def setData(self, index: Index, value: Any, role: int = 0) -> bool:
        """Switch an edit."""
        edit, done = self._rows[index.row()]
        if role != Qt.ItemDataRole.CheckStateRole or not done:
            return False
        on = Qt.CheckState(value) == Qt.CheckState.Checked
        self.correcting.switch(edit.number, on)
        return True

    def _told(self, edit: Edit, done: bool) -> str:
        state = "" if done else "\nundone: redo brings it back"
        return (
            f"{edit.number}: {self.names[edit.kind] or 'edited'}, {len(edit.pixels)} {self.what}"
            f" ({edit.note})\n{edit.before} → {edit.after}\n{edit.who}, {edit.when}{state}"
        )


class HistoryTable(QTableView):
    """The corrections of a map: a double-click goes to the place of one.

    Parameters
    ----------
    model
        The corrections.
    widths
        Of the columns of what was done, of how much, and of who and when, pixels.
    go
        Called with the places of the edit to go to.
    """

    def __init__(
        self,
        model: HistoryModel,
        widths: tuple[int, int, int],
        go: Callable[[NDArray[np.int64]], None],
    ) -> None:
        super().__init__()
        self.setModel(model)
        self.setToolTip(
            "What was corrected, newest first; without its tick a correction does not count."
            " Double-click: go there"
        )
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        self.doubleClicked.connect(lambda index: go(model.edit_at(index.row()).pixels))
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(22)
        columns.setStretchLastSection(False)
        what, many, who = widths
        for i, width in ((0, _TICK), (1, what), (2, many), (4, who)):
            self.setColumnWidth(i, width)
        columns.setSectionResizeMode(3, QHeaderView.ResizeMode.Stretch)


def undo_buttons(correcting: Corrected) -> tuple[QPushButton, QPushButton]:
    """*Undo* and *Redo*."""
    undo = tool_button("Undo", "Take the last correction back (Ctrl + Z)")
    undo.clicked.connect(lambda: correcting.undo())
    redo = tool_button("Redo", "Make it again (Ctrl + Shift + Z)")
    redo.clicked.connect(lambda: correcting.redo())
    return undo, redo


def changed(before: str, after: str) -> str:
    """What an edit did; a place that both ends name is said once."""
    first, mark, place = before.partition(" in frame ")
    second, _, same = after.partition(" in frame ")
    if place and place == same:
        return f"{first} → {second}{mark}{place}"
    return f"{before} → {after}"
