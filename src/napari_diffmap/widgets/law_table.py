"""Boundary classes and the twin and CSL laws that occur: lengths, shares, lines on the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QHBoxLayout,
    QHeaderView,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.maps.boundaries.find import BOUNDARY_TABLE
from napari_diffmap.viewer.grain_layers import MOST_LAWS, GrainLayers
from napari_diffmap.viewer.map_layers import boundary_layer
from napari_diffmap.viewer.views import show_layer
from napari_diffmap.widgets.parts import Links, one_line_label, swatch

if TYPE_CHECKING:
    from napari_diffmap.jobs.grains import GrainRun

Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True)
class Line:
    """A class of boundaries, or a law.

    Attributes
    ----------
    name, phase, color
        As in the legend; a class has no phase.
    law
        Code of the law; 0 for a class.
    length, share
        In the unit of the map; 0–1.
    tip
        What it is.
    """

    name: str
    phase: str
    color: str
    law: int
    length: float
    share: float
    tip: str


def lines_of(run: GrainRun) -> list[Line]:
    """Classes in the order of the legend, then laws that occur, the longest first."""
    edges, laws, unit = run.boundaries, run.laws, run.found.step_unit
    lengths = edges.lengths(run.found.step)
    whole = sum(lengths.values())
    lines = [
        Line(
            style.name,
            "",
            style.color,
            0,
            lengths[style.code],
            lengths[style.code] / whole if whole else np.nan,
            f"{style.description}\nLow angle is {edges.low:g} to {edges.high:g}° here; share of the"
            " length of all boundaries. The lines are those of the Map dock",
        )
        for style in BOUNDARY_TABLE
    ]
    for i in np.argsort(-laws.lengths, kind="stable"):
        entry = laws.legend[i]
        if laws.lengths[i] <= 0:
            break
        tip = (
            f"{entry.name} of {entry.phase_name}, within {entry.law.tolerance_deg:.3g}°; share of"
            f" the boundary length above {laws.minimum:g}° inside the phase.\n"
            f"{laws.vanishing[i]:.4g} {unit} of it would vanish if one side were turned by 180°"
            " about the beam"
        )
        lines.append(
            Line(
                entry.name,
                entry.phase_name,
                entry.color,
                entry.code,
                float(laws.lengths[i]),
                float(laws.fractions[i]),
                tip,
            )
        )
    return lines


class LawModel(QAbstractTableModel):
    """Lines as rows; the tick shows them on the sample.

    Parameters
    ----------
    is_shown, show
        Whether a line is shown, and what shows or hides it.
    """

    def __init__(
        self, is_shown: Callable[[Line], bool], show: Callable[[Line, bool], None]
    ) -> None:
        super().__init__()
        self._is_shown, self._show = is_shown, show
        self.lines: list[Line] = []
        self.unit = ""
        self._per = 1.0

    def fill(self, run: GrainRun | None) -> None:
        """Show another measurement."""
        self.beginResetModel()
        self.lines = [] if run is None else lines_of(run)
        self.unit = "" if run is None else run.found.step_unit
        self._per = 1.0
        if self.unit == "nm" and max((line.length for line in self.lines), default=0) >= 1e5:
            self.unit, self._per = "µm", 1e-3
        self.endResetModel()

    def refresh(self) -> None:
        """Look at the ticks again."""
        if self.lines:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.lines) - 1, 0))

    def rowCount(self, parent: Index | None = None) -> int:
        """Lines."""
        return 0 if parent is not None and parent.isValid() else len(self.lines)

    def columnCount(self, parent: Index | None = None) -> int:
        """Name, phase, length, share."""
        return 0 if parent is not None and parent.isValid() else 4

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        """Names of the columns."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return ("boundary", "phase", f"length, {self.unit}", "share")[section]
        return None

    def flags(self, index: Index) -> Any:
        """The first column has ticks."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == 0 else flags

    def data(self, index: Index, role: int = 0) -> Any:
        """Text, tick, colour, tip."""
        line, column = self.lines[index.row()], index.column()
        if role == Qt.ItemDataRole.ToolTipRole:
            return line.tip
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= 2:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if column == 0 and role == Qt.ItemDataRole.CheckStateRole:
            return Qt.CheckState.Checked if self._is_shown(line) else Qt.CheckState.Unchecked
        if column == 0 and role == Qt.ItemDataRole.DecorationRole:
            return swatch(line.color, 12)
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        share = "–" if not np.isfinite(line.share) else f"{100 * line.share:.1f} %"
        length = line.length * self._per
        told = f"{length:.0f}" if length >= 1000 else f"{length:.4g}"
        return (line.name, line.phase, told, share)[column]

    def setData(self, index: Index, value: Any, role: int = 0) -> bool:
        """A tick."""
        if role != Qt.ItemDataRole.CheckStateRole or index.column():
            return False
        on = Qt.CheckState(value) == Qt.CheckState.Checked
        self._show(self.lines[index.row()], on)
        self.dataChanged.emit(index, index)
        return True


class LawView(QWidget):
    """The table, and a tick for all laws at once.

    Parameters
    ----------
    layers
        Where lines are drawn.
    """

    def __init__(self, layers: GrainLayers) -> None:
        super().__init__()
        self.layers = layers
        self.model = LawModel(self._is_shown, self._show)
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setToolTip("Tick: show the lines on the sample")
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setWordWrap(False)
        rows, columns = self.table.verticalHeader(), self.table.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(21)
        for i, width in enumerate((0, 64, 80, 58)):
            self.table.setColumnWidth(i, width)
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.all_laws = QCheckBox("law lines")
        self.all_laws.setToolTip(
            f"Show the twin and CSL laws of the greatest length on the sample, at most {MOST_LAWS}"
        )
        self.all_laws.clicked.connect(self._on_all)
        self.line = one_line_label(
            "Share of twin boundaries in the boundary length above 15° inside the phases that have"
            " laws"
        )
        row = QHBoxLayout()
        row.addWidget(self.all_laws)
        row.addWidget(self.line, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        layout.addWidget(self.table, 1)
        layout.addLayout(row)
        self._links = Links(self, [(layers.study.measured, self._on_measured)])
        self._on_measured(layers.study.run)

    def _on_measured(self, run: GrainRun | None) -> None:
        self.model.fill(run)
        with_laws = {line.phase for line in self.model.lines if line.law}
        self.table.setColumnHidden(1, len(with_laws) < 2)
        self.all_laws.setChecked(bool(self.layers.laws))
        self.all_laws.setEnabled(run is not None and bool(self.layers.strongest()))
        text = ""
        if run is not None:
            share = run.laws.twin_fraction()
            text = f"twins {100 * share:.1f} % of the length" if np.isfinite(share) else ""
            if not run.laws.legend:
                text = "no usual laws for these phases"
        self.line.setText(text)

    def _is_shown(self, line: Line) -> bool:
        if line.law:
            return line.law in self.layers.laws
        layer = self.layers.maps.layer(boundary_layer(line.name))
        return layer is not None and bool(layer.visible)

    def _show(self, line: Line, on: bool) -> None:
        if line.law:
            laws = set(self.layers.laws)
            (laws.add if on else laws.discard)(line.law)
            self.layers.show_laws(laws)
            self.all_laws.setChecked(bool(laws))
            return
        layer = self.layers.maps.layer(boundary_layer(line.name))
        if layer is not None:
            show_layer(layer, on)

    def _on_all(self, on: bool) -> None:
        self.layers.show_laws(self.layers.strongest() if on else ())
        self.model.refresh()

    def showEvent(self, event: Any) -> None:
        """Eyes may have been opened and closed elsewhere."""
        super().showEvent(event)
        self.model.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
