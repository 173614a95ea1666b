"""The Models dock: networks with their cards, and training of new ones."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from napari_diffmap.widgets.adapt import adapt
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.model_list import ModelList
from napari_diffmap.widgets.parts import Links
from napari_diffmap.widgets.train_view import TrainView
from napari_diffmap.widgets.workbench import workbench_of


class ModelsDock(QWidget):
    """Look at models, add and remove them, use one for the map, train one.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.list = ModelList(self.bench.engines)
        self.train = TrainView(self.bench.training, self.bench.session, self.bench.runner)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.list, "Models")
        self.tabs.addTab(self.train, "Train a model")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addWidget(self.tabs)
        self.list.adapt.clicked.connect(self.adapt)
        self._links = Links(self, [(self.bench.training.finished, self._on_finished)])

    def showEvent(self, event: Any) -> None:
        """Look for models when somebody looks."""
        super().showEvent(event)
        self.bench.engines.refresh()

    def adapt(self, *_: object) -> None:
        """Go on training the chosen model with the saved session."""
        entry = self.list.chosen
        if entry is None or entry.card is None:
            return
        card = entry.card
        if try_to(lambda: adapt(self.bench.training, self.bench.keeper, card)):
            self.tabs.setCurrentWidget(self.train)

    def _on_finished(self, _name: str) -> None:
        """The card of what was trained."""
        self.tabs.setCurrentWidget(self.list)

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self._links.end()
        self.list.end()
        self.train.end()
        super().closeEvent(event)
