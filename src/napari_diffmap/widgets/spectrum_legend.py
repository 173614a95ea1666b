"""The legend beside the spectra: those that are held, and the references."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_diffmap.viewer.spectral import Spectral
from napari_diffmap.viewer.spectral_curves import CURRENT_COLOR, REFERENCE_DASHES
from napari_diffmap.widgets.parts import Links, tool_button

_WIDTH = 158
_ICON = QSize(30, 12)
_KEY = Qt.ItemDataRole.UserRole
#: How Qt draws the markers of the plot: corners on a square of two by two.
_MARKERS: dict[str, tuple[tuple[float, float], ...]] = {
    "s": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "^": ((0, -1), (1, 1), (-1, 1)),
    "v": ((0, 1), (1, -1), (-1, -1)),
    "D": ((0, -1), (1, 0), (0, 1), (-1, 0)),
    "P": ((-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35), (0.35, 1),
          (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35)),
    "X": ((-1, -0.6), (-0.6, -1), (0, -0.4), (0.6, -1), (1, -0.6), (0.4, 0), (1, 0.6), (0.6, 1),
          (0, 0.4), (-0.6, 1), (-1, 0.6), (-0.4, 0)),
}  # fmt: skip


class SpectrumLegend(QWidget):
    """Names the lines of the plot; there while any is held or compared.

    Parameters
    ----------
    spectral
        What is looked at.
    """

    def __init__(self, spectral: Spectral) -> None:
        super().__init__()
        self.spectral = spectral
        self.setFixedWidth(_WIDTH)
        self.list = QListWidget()
        self.list.setIconSize(_ICON)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setToolTip(
            "Numbers are those of the marks on the sample. Double-click a held spectrum to rename"
            " it; tick a reference (dashed) to draw it, scaled to the spectrum under the mouse"
        )
        self.remove = tool_button("Remove", "Drop the chosen held spectrum")
        self.clear = tool_button("Clear", "Drop all held spectra")
        self.remove.clicked.connect(self._on_remove)
        self.clear.clicked.connect(spectral.held.clear)
        row = QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(self.remove)
        row.addWidget(self.clear)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.list, 1)
        layout.addLayout(row)
        self.list.itemChanged.connect(self._on_item)
        self.list.itemSelectionChanged.connect(self._enable)
        self._links = Links(
            self,
            [(spectral.held.changed, self.refresh), (spectral.references.changed, self.refresh)],
        )
        self.refresh()

    def refresh(self) -> None:
        """Name what is drawn."""
        held, references = self.spectral.held.items, self.spectral.references
        kept = self.list.currentRow()
        self.list.blockSignals(True)
        self.list.clear()
        for item in held:
            row = QListWidgetItem(line_icon(item.color, (), item.marker), f"{item.key} {item.name}")
            row.setData(_KEY, item.key)
            row.setFlags(row.flags() | Qt.ItemFlag.ItemIsEditable)
            row.setToolTip(f"{item.key}: {item.name} ({item.spectrum.name})")
            self.list.addItem(row)
        for i, reference in enumerate(references.items):
            dashes = REFERENCE_DASHES[i % len(REFERENCE_DASHES)]
            row = QListWidgetItem(line_icon(reference.color, dashes), reference.name)
            row.setFlags(row.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            shown = reference.name not in references.hidden
            row.setCheckState(Qt.CheckState.Checked if shown else Qt.CheckState.Unchecked)
            row.setToolTip(f"Reference {reference.name}, scaled to the spectrum under the mouse")
            self.list.addItem(row)
        self.list.setCurrentRow(min(kept, self.list.count() - 1))
        self.list.blockSignals(False)
        self.setVisible(bool(held) or len(references) > 0)
        self._enable()

    def _chosen(self) -> int | None:
        row = self.list.currentItem()
        key = None if row is None else row.data(_KEY)
        return None if key is None else int(key)

    def _enable(self) -> None:
        self.remove.setEnabled(self._chosen() is not None)
        self.clear.setEnabled(bool(self.spectral.held.items))

    def _on_remove(self) -> None:
        key = self._chosen()
        if key is not None:
            self.spectral.held.remove(key)

    def _on_item(self, item: QListWidgetItem) -> None:
        key = item.data(_KEY)
        if key is None:
            self.spectral.references.show(item.text(), item.checkState() == Qt.CheckState.Checked)
        else:
            self.spectral.held.rename(int(key), item.text().removeprefix(f"{key} "))

    def end(self) -> None:
        """Stop listening."""
        self._links.end()


def line_icon(color: str, dashes: Sequence[float], marker: str = "") -> QIcon:
    """A piece of a line as it is drawn in the plot."""
    pixmap = QPixmap(_ICON)
    pixmap.fill(QColor("transparent"))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(QColor(color or CURRENT_COLOR), 2)
    if dashes:
        pen.setDashPattern(list(dashes) if len(dashes) % 2 == 0 else [*dashes, *dashes])
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    painter.setPen(pen)
    middle = _ICON.height() / 2
    painter.drawLine(QPointF(0, middle), QPointF(_ICON.width(), middle))
    if marker:
        painter.setBrush(QColor(color))
        painter.setPen(Qt.PenStyle.NoPen)
        across = _ICON.width() / 2
        painter.drawPolygon(
            [QPointF(across + 4.5 * x, middle + 4.5 * y) for x, y in _MARKERS[marker]]
        )
    painter.end()
    return QIcon(pixmap)
