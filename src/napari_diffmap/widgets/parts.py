"""Small parts that several docks use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QFontMetrics, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QWidget,
)

#: Room for the buttons and margins of a box in napari's style, with a larger font besides.
_SPIN_BUTTONS = 72


class Links:
    """Slots of a widget on the signals of the session; they end with the widget at the latest.

    A window that is closed while a job runs takes its docks along before the job's last word.

    Parameters
    ----------
    widget
        Whose slots they are.
    pairs
        Signal and slot.
    """

    def __init__(self, widget: QWidget, pairs: Sequence[tuple[Any, Callable[..., None]]]) -> None:
        self._pairs = pairs
        for signal, slot in pairs:
            signal.connect(slot)
        widget.destroyed.connect(self.end)

    def end(self, *_: object) -> None:
        """Stop listening."""
        for signal, slot in self._pairs:
            signal.disconnect(slot, missing_ok=True)


class ElidedLabel(QLabel):
    """A label of one line that shortens its text to the room there is; the tooltip has it all."""

    def __init__(self, tip: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tip = tip
        self._text = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(tip)

    def setText(self, text: str | None) -> None:
        """Show a text, shortened in the middle where it does not fit."""
        self._text = text or ""
        self.setToolTip(f"{self._text}\n{self._tip}".strip())
        self._fit()

    def full_text(self) -> str:
        """The whole text."""
        return self._text

    def _fit(self) -> None:
        metrics = QFontMetrics(self.font())
        # The style's padding is no room for text; neither is the last letter's overhang.
        room = max(self.contentsRect().width() - 4, 20)
        super().setText(metrics.elidedText(self._text, Qt.TextElideMode.ElideRight, room))

    def resizeEvent(self, event: object) -> None:
        """Shorten again for the new width."""
        super().resizeEvent(event)  # type: ignore[arg-type]
        self._fit()

    def minimumSizeHint(self) -> QSize:
        """One line high, as narrow as need be."""
        return QSize(20, QFontMetrics(self.font()).height() + 2)


class ShareBar(QProgressBar):
    """How much of something is done, in per cent.

    Parameters
    ----------
    tip
        What it is a share of.
    """

    def __init__(self, tip: str) -> None:
        super().__init__()
        self.setRange(0, 1000)
        self.setToolTip(tip)

    def show_share(self, share: float) -> None:
        """Show how much is done, 0–1."""
        # The bar's own percentage is cut off where a line's is rounded.
        self.setValue(round(1000 * share))
        self.setFormat(f"{100 * share:.0f} %")


def scrolling(page: QWidget, *, sideways: bool = False) -> QScrollArea:
    """An area without a frame that a page scrolls in: up and down, and sideways where allowed."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    if not sideways:
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(page)
    return area


def one_line_label(tip: str = "") -> ElidedLabel:
    """A label that never makes its dock wider."""
    return ElidedLabel(tip)


def plain_label(text: str) -> QLabel:
    """A label that breaks lines."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def tool_button(text: str, tip: str) -> QPushButton:
    """A compact button with words and a tooltip."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.setAutoDefault(False)
    width = QFontMetrics(button.font()).horizontalAdvance(text)
    button.setMinimumWidth(min(width + 16, 200))
    button.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
    return button


def spin_width(box: QAbstractSpinBox, widest: str) -> int:
    """Width at which a box shows its widest text: napari's buttons take room on both sides."""
    return QFontMetrics(box.font()).horizontalAdvance(widest) + _SPIN_BUTTONS


def swatch(color: str, size: int = 14) -> QIcon:
    """A filled square as an icon."""
    pixmap = QPixmap(size, size)
    pixmap.fill(QColor(color))
    painter = QPainter(pixmap)
    painter.setPen(QColor("#808080"))
    painter.drawRect(0, 0, size - 1, size - 1)
    painter.end()
    return QIcon(pixmap)
