"""The scores of every zone axis, one picture a phase, below the pattern."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget


class LandscapeView(QScrollArea):
    """A row of pictures that scrolls sideways where there are many phases; hidden when empty."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.pictures: list[QLabel] = []
        self.hide()

    def show_pictures(self, pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> None:
        """Show pictures ``(height, width, 4)`` uint8 RGBA with their titles."""
        self.setVisible(bool(pictures))
        if not pictures:
            self.pictures = []
            return
        body = QWidget()
        row = QHBoxLayout(body)
        row.setContentsMargins(0, 0, 0, 0)
        row.setAlignment(Qt.AlignmentFlag.AlignLeft)
        self.pictures = [_add(row, title, picture) for title, picture in pictures]
        self.setWidget(body)
        wanted = body.sizeHint()
        bar = self.horizontalScrollBar()
        room = bar.sizeHint().height() if bar is not None and wanted.width() > self.width() else 0
        self.setFixedHeight(wanted.height() + room)


def _add(row: QHBoxLayout, title: str, picture: NDArray[np.uint8]) -> QLabel:
    column = QVBoxLayout()
    column.setSpacing(0)
    image = QLabel()
    image.setPixmap(_pixmap(picture))
    image.setToolTip(
        "Score of every zone axis of this phase at its best in-plane angle; numbers are the"
        " answers. The colour scale is the same for all phases"
    )
    column.addWidget(QLabel(escape(title)))
    column.addWidget(image)
    row.addLayout(column)
    return image


def _pixmap(rgba: NDArray[np.uint8]) -> QPixmap:
    rgba = np.ascontiguousarray(rgba)
    height, width = rgba.shape[:2]
    image = QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    return QPixmap.fromImage(image.copy())
