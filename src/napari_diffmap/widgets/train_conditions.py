"""Settings of a training that rarely need a change: network and simulated conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from napari_diffmap.methods.networks.domain import Domain
from napari_diffmap.viewer.train_draft import options_text
from napari_diffmap.widgets.parameter_form import ParameterForm

#: Conditions that are asked for with the phases.
_ELSEWHERE = ("voltage_kv", "q_max")


class TrainConditions(QWidget):
    """Size of the network, batches, and the domain that patterns are drawn from.

    Signals
    -------
    changed()
        A value was changed.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self.options = QLineEdit()
        self.options.setPlaceholderText("as its family has it")
        self.options.setToolTip(
            "What the network is built of, as in width: 128, depth: 8. polar: width, depth, reach,"
            " rings, bins; cnn: width, modes, size; densenet: growth, modes, size; swin: width,"
            " modes, size"
        )
        self.batch = QSpinBox()
        self.batch.setRange(2, 65536)
        self.batch.setValue(128)
        self.batch.setToolTip("Patterns that it learns from in one step")
        self.pool = QSpinBox()
        self.pool.setRange(256, 1_000_000)
        self.pool.setValue(8192)
        self.pool.setToolTip("Orientations of each phase that are held ready to be drawn from")
        grid = QGridLayout()
        grid.setVerticalSpacing(2)
        for i, (words, widget) in enumerate(
            (("Options", self.options), ("Batch", self.batch), ("Pool", self.pool))
        ):
            label = QLabel(words)
            label.setToolTip(widget.toolTip())
            grid.addWidget(label, 0, 2 * i)
            grid.addWidget(widget, 0, 2 * i + 1)
        grid.setColumnStretch(1, 1)
        layout.addLayout(grid)
        self.domain = ParameterForm(Domain, skip=_ELSEWHERE)
        layout.addWidget(self.domain)
        self.options.textEdited.connect(lambda _t: self.changed.emit())
        for box in (self.batch, self.pool):
            box.setKeyboardTracking(False)
            box.setFixedWidth(108)
            box.valueChanged.connect(lambda _v: self.changed.emit())
        self.domain.changed.connect(self.changed.emit)

    def show_record(self, record: Mapping[str, Any]) -> None:
        """Fill in what a recipe says."""
        self.show_options(options_text(record["options"]))
        self.batch.setValue(record["plan"]["batch"])
        self.pool.setValue(record["pool"])
        self.domain.set_values(record["domain"])

    def show_options(self, text: str) -> None:
        """Fill in what the network is built of; its begin is seen."""
        self.options.setText(text)
        self.options.setCursorPosition(0)

    def values(self) -> dict[str, Any]:
        """Keywords of a `TrainingDraft`."""
        return {
            "options": self.options.text(),
            "batch": self.batch.value(),
            "pool": self.pool.value(),
            "domain": self.domain.values(),
        }
