"""The list of models with the card of the chosen one."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QMessageBox,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.viewer.engines import Engines
from napari_diffmap.widgets.dialogs import file_dialog
from napari_diffmap.widgets.parts import Links, one_line_label, tool_button

if TYPE_CHECKING:
    from napari_diffmap.models.card import ModelCard
    from napari_diffmap.models.registry import ModelEntry

_COLUMNS = (
    ("Name", "What a recipe and the command line call it"),
    ("Phases", "Crystals that it was trained for"),
    ("kV", "Accelerating voltage that it was trained for, kV"),
    ("Network", "Family of networks"),
    ("Size", "Size of the file, MB"),
    ("From", "Whether it comes with the plugin, or was added"),
)
_WIDTHS = {0: 150, 2: 66, 3: 76, 4: 66, 5: 66}
#: What a card begins with: whether to trust the model at all.
_FIRST = ("accuracy", "limit")


class ModelList(QWidget):
    """Choose a model, read its card, add, remove and use models.

    Parameters
    ----------
    engines
        The models there are.
    """

    def __init__(self, engines: Engines) -> None:
        super().__init__()
        self.engines = engines
        self._wanted = ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(3)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(self._make_table())
        self.card = QTextBrowser()
        self.card.setToolTip("Card of the chosen model: how good it is, its limits, all else")
        self.card.setMinimumHeight(80)
        split.addWidget(self.card)
        split.setSizes([96, 140])
        layout.addWidget(split, 1)
        self.line = one_line_label("What is missing, or whether the model fits the scan")
        layout.addWidget(self.line)
        layout.addLayout(self._make_buttons())
        self._links = Links(
            self,
            [
                (engines.changed, self.refresh),
                (engines.chosen_changed, self.refresh),
                (engines.added, self.choose),
            ],
        )
        self.refresh()

    def _make_table(self) -> QTableWidget:
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels([name for name, _ in _COLUMNS])
        for i, (_, tip) in enumerate(_COLUMNS):
            item = self.table.horizontalHeaderItem(i)
            assert item is not None
            item.setToolTip(tip)
        self.table.setToolTip("Models; a file that cannot be used says why")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setMinimumHeight(72)
        header, rows = self.table.horizontalHeader(), self.table.verticalHeader()
        assert header is not None
        assert rows is not None
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        for column, width in _WIDTHS.items():
            self.table.setColumnWidth(column, width)
        rows.setVisible(False)
        rows.setDefaultSectionSize(22)
        self.table.itemSelectionChanged.connect(self._on_chosen)
        return self.table

    def _make_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.add = tool_button(
            "Add from disk…", "Keep copies of model files (.safetensors); every byte is checked"
        )
        self.add.clicked.connect(self.ask_files)
        self.remove = tool_button(
            "Remove…", "Delete the chosen model; those that come with the plugin stay"
        )
        self.remove.clicked.connect(self.ask_remove)
        self.use = tool_button(
            "Use for the map", "Make the chosen model the engine of the Map dock"
        )
        self.use.clicked.connect(self.use_chosen)
        self.adapt = tool_button(
            "Adapt to this map",
            "Let a copy of the chosen model learn from the saved session: from what was corrected"
            " by hand, and from what is reliable",
        )
        for button in (self.add, self.remove, self.adapt):
            row.addWidget(button)
        row.addStretch()
        row.addWidget(self.use)
        return row

    # --------------------------------------------------------------- choosing
    @property
    def chosen(self) -> ModelEntry | None:
        """The model whose card is shown."""
        row = self.table.currentRow()
        return self.engines.entries[row] if 0 <= row < len(self.engines.entries) else None

    def choose(self, name: str) -> None:
        """Show the card of a model, also of one whose file is just being looked for."""
        self._wanted = name
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the models there are."""
        entries = self.engines.entries
        before = self._shown
        self.table.blockSignals(True)
        self.table.clearSpans()
        self.table.setRowCount(len(entries))
        for row, entry in enumerate(entries):
            self._fill(row, entry)
        wanted = next((i for i, e in enumerate(entries) if e.name == self._wanted), None)
        if wanted is not None:
            self._wanted = ""
        kept = next((i for i, e in enumerate(entries) if str(e.path) == before), None)
        current = wanted if wanted is not None else kept
        self.table.setCurrentCell(-1 if current is None else current, 0)
        self.table.blockSignals(False)
        self._on_chosen()

    @property
    def _shown(self) -> str:
        item = self.table.item(self.table.currentRow(), 0)
        return "" if item is None else str(item.data(Qt.ItemDataRole.UserRole))

    def _fill(self, row: int, entry: ModelEntry) -> None:
        card = entry.card
        mark = "⚠ " if entry.problem else ""
        tip = entry.problem or f"{'' if card is None else card.title}\n{entry.path}".strip()
        if entry.problem or card is None:
            texts = [mark + entry.path.name, entry.problem]
            self.table.setSpan(row, 1, 1, len(_COLUMNS) - 1)
        else:
            texts = [
                entry.name,
                ", ".join(card.subjects),
                card.voltage_text,
                card.network.family,
                f"{entry.nbytes / 1e6:.3g} MB",
                "shipped" if entry.shipped else "added",
            ]
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setToolTip(tip)
            self.table.setItem(row, column, item)
        first = self.table.item(row, 0)
        assert first is not None
        first.setData(Qt.ItemDataRole.UserRole, str(entry.path))

    def _on_chosen(self) -> None:
        entry, engines = self.chosen, self.engines
        usable = entry is not None and not entry.problem and entry.card is not None
        problem = engines.problem(entry.name) if usable and entry is not None else ""
        self.remove.setEnabled(entry is not None and not entry.shipped)
        self.use.setEnabled(usable and not problem)
        self.adapt.setEnabled(usable and not problem)
        if entry is None:
            self.card.setPlainText("Choose a model to read its card." if engines.entries else _NONE)
            self.line.setText("" if engines.known else "Looking for models …")
            return
        if entry.card is None or entry.problem:
            self.card.setPlainText(f"{entry.path}\n\n{entry.problem}")
            self.line.setText("This file cannot be used: remove it, or get it anew.")
            return
        self.card.setHtml(card_html(entry.card, str(entry.path)))
        if problem:
            self.line.setText(f"It does not fit: {problem}.")
        elif engines.chosen == entry.name:
            self.line.setText("The Map dock uses it.")
        else:
            self.line.setText("")

    # ----------------------------------------------------------------- acting
    def use_chosen(self) -> None:
        """Make the next map with the chosen model."""
        entry = self.chosen
        if entry is not None:
            self.engines.choose(entry.name)

    def ask_files(self) -> None:
        """Choose model files."""
        kinds = "Models (*.safetensors);;All files (*)"
        self.dialog: QFileDialog | QMessageBox = file_dialog(
            self, "Add models", self.engines.add, kinds, several=True
        )

    def ask_remove(self) -> None:
        """Ask whether the chosen model shall be deleted."""
        entry = self.chosen
        if entry is None:
            return
        buttons = QMessageBox.StandardButton
        dialog = QMessageBox(
            QMessageBox.Icon.Question,
            "Remove a model",
            f"Delete {entry.path}?",
            buttons.Yes | buttons.Cancel,
            self,
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: self.engines.remove(entry.name))
        self.dialog = dialog
        dialog.open()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()


_NONE = (
    "There is no model yet. Add one from disk, or train one of your own crystals: a network that"
    " knows them may propose orientations in place of the templates."
)


def card_html(card: ModelCard, path: str) -> str:
    """A card as a table: accuracy and limits first, then everything else."""
    rows = card.rows()
    ordered = [row for row in rows if row[0] in _FIRST]
    ordered += [row for row in rows if row[0] not in _FIRST]
    if not card.limits:
        ordered.insert(len(card.accuracy), ("limit", "none stated"))
    lines = "".join(
        f'<tr><td style="padding-right:8px"><b>{escape(what)}</b></td><td>{escape(text)}</td></tr>'
        for what, text in (*ordered, ("file", path))
    )
    head = f"{escape(card.title)} ({escape(card.name)} {escape(card.version)})"
    return f"<p><b>{head}</b></p><table>{lines}</table>"
