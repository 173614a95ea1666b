"""The scores of every zone axis, one picture a phase, beside the pattern."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap, QResizeEvent
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_diffmap.widgets.parts import ElidedLabel, one_line_label


class LandscapeView(QScrollArea):
    """A column of pictures that scrolls where there are many phases; hidden when empty."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.titles: list[ElidedLabel] = []
        self.pictures: list[QLabel] = []
        self._column: QWidget | None = None
        self.hide()

    def show_pictures(self, pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> None:
        """Show pictures ``(height, width, 4)`` uint8 RGBA with their titles."""
        self.setVisible(bool(pictures))
        if not pictures:
            self.titles, self.pictures = [], []
            return
        bar = self.verticalScrollBar()
        at = 0 if bar is None else bar.value()
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        shown = [_add(column, title, picture) for title, picture in pictures]
        self.titles = [title for title, _ in shown]
        self.pictures = [image for _, image in shown]
        self._column = body
        self.setWidget(body)
        self._fit()
        if bar is not None:
            # Another position is looked at, with the eyes on the same phase.
            bar.setValue(at)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Leave room for the scroll bar where one is needed."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self._column is None:
            return
        wanted, bar = self._column.sizeHint(), self.verticalScrollBar()
        room = bar.sizeHint().width() if bar is not None and wanted.height() > self.height() else 0
        self.setFixedWidth(wanted.width() + room)


def _add(column: QVBoxLayout, title: str, picture: NDArray[np.uint8]) -> tuple[ElidedLabel, QLabel]:
    image = QLabel()
    image.setPixmap(_pixmap(picture))
    image.setToolTip(
        "Score of every zone axis of this phase at its best in-plane angle, before refinement;\n"
        "numbers are the answers. The colour scale is the same for all phases"
    )
    image.setFixedSize(picture.shape[1], picture.shape[0])
    name = one_line_label("Phase, and the lowest and highest score of its zone axes")
    name.setText(title)
    column.addWidget(name)
    column.addWidget(image)
    return name, image


def _pixmap(rgba: NDArray[np.uint8]) -> QPixmap:
    rgba = np.ascontiguousarray(rgba)
    height, width = rgba.shape[:2]
    image = QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    return QPixmap.fromImage(image.copy())
