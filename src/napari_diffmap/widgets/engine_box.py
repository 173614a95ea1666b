"""The drop-down of engines: templates and networks; those that do not fit say why."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QComboBox

from napari_diffmap.viewer.engines import Engines
from napari_diffmap.widgets.parts import Links

ENGINE_TIP = (
    "What proposes orientations: templates of all zone axes, or a network trained for these phases"
    " (Models dock); refinement, ranking and doubt are the same"
)
#: Wide enough for a title; the list that opens is as wide as its longest one.
_WIDTH, _MOST = 160, 520


class EngineBox(QComboBox):
    """Chooses the engine of the next map.

    Parameters
    ----------
    engines
        What there is to choose from.
    """

    def __init__(self, engines: Engines) -> None:
        super().__init__()
        self.engines = engines
        self._model = QStandardItemModel(self)
        self.setModel(self._model)
        self.setMinimumWidth(_WIDTH)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.activated.connect(self._on_activated)
        self._links = Links(
            self, [(engines.changed, self.refresh), (engines.chosen_changed, self.refresh)]
        )
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show what there is, and what does not fit."""
        choices = self.engines.choices()
        self.blockSignals(True)
        self._model.clear()
        for choice in choices:
            item = QStandardItem(choice.title + (" (does not fit)" if choice.problem else ""))
            item.setData(choice.name, Qt.ItemDataRole.UserRole)
            item.setToolTip(choice.tip + (f"\n{choice.problem}" if choice.problem else ""))
            item.setEnabled(not choice.problem)
            self._model.appendRow(item)
        names = [choice.name for choice in choices]
        self.setCurrentIndex(names.index(self.engines.chosen))
        self.blockSignals(False)
        chosen = choices[self.currentIndex()]
        self.setToolTip(
            "\n".join(part for part in (chosen.tip, chosen.problem, ENGINE_TIP) if part)
        )
        view = self.view()
        assert view is not None
        widest = max(self.fontMetrics().horizontalAdvance(c.title) for c in choices)
        view.setMinimumWidth(min(widest + 130, _MOST))

    def _on_activated(self, row: int) -> None:
        self.engines.choose(str(self.itemData(row, Qt.ItemDataRole.UserRole)))

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
