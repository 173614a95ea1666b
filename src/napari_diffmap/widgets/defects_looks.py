"""Symbols of classes and grey images, painted by Qt as napari shows them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

from napari_diffmap.maps.defect_map import class_symbol
from napari_diffmap.viewer.display import contrast_limits

#: Opacity of the inside of a mark that is sure, of 255.
_TINT = 100
#: Corners of symbols about their middle, x and y, in half widths.
_CORNERS: dict[str, list[tuple[float, float]]] = {
    "s": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "^": [(0, -1), (0.95, 0.75), (-0.95, 0.75)],
    "v": [(0, 1), (0.95, -0.75), (-0.95, -0.75)],
    "D": [(0, -1), (0.8, 0), (0, 1), (-0.8, 0)],
    "*": [(-1, -0.5), (0, 0.2), (1, -0.5), (1, 0), (0, 0.8), (-1, 0)],
    "h": [
        (r * math.sin(math.pi * i / 5), -r * math.cos(math.pi * i / 5))
        for i, r in enumerate([1, 0.45] * 5)
    ],
}
_BAR = 0.35
_PLUS = [
    (-_BAR, -1), (_BAR, -1), (_BAR, -_BAR), (1, -_BAR), (1, _BAR), (_BAR, _BAR), (_BAR, 1),
    (-_BAR, 1), (-_BAR, _BAR), (-1, _BAR), (-1, -_BAR), (-_BAR, -_BAR),
]  # fmt: skip
_HALF = math.sqrt(0.5)
_CORNERS["P"] = _PLUS
_CORNERS["X"] = [(_HALF * (x - y), _HALF * (x + y)) for x, y in _PLUS]


def symbol_path(class_id: int, at: QPointF, size: float) -> QPainterPath:
    """Outline of the symbol of a class, `size` wide."""
    path, half = QPainterPath(), size / 2
    symbol = class_symbol(class_id)
    corners = _CORNERS.get(symbol)
    if corners is not None:
        path.addPolygon(
            QPolygonF([QPointF(at.x() + half * x, at.y() + half * y) for x, y in corners])
        )
        path.closeSubpath()
    elif symbol == "p":
        for turn in (0, 1, 2):
            angle = 2 * math.pi * turn / 3
            middle = QPointF(
                at.x() + 0.45 * half * math.sin(angle), at.y() - 0.45 * half * math.cos(angle)
            )
            path.addEllipse(middle, 0.5 * half, 0.5 * half)
        path = path.simplified()
    else:
        path.addEllipse(at, half, half)
    return path


def paint_symbol(
    painter: QPainter,
    class_id: int,
    color: str,
    at: QPointF,
    size: float,
    *,
    doubtful: bool = False,
    width: float = 1.8,
) -> None:
    """Draw the symbol of a class: tinted where sure, hollow and dashed where in doubt."""
    pen = QPen(QColor(color), width)
    fill = QColor(color)
    fill.setAlpha(0 if doubtful else _TINT)
    if doubtful:
        pen.setDashPattern([2.5, 1.8])
    painter.setPen(pen)
    painter.setBrush(fill)
    painter.drawPath(symbol_path(class_id, at, size))
    painter.setBrush(Qt.BrushStyle.NoBrush)


def class_icon(class_id: int, color: str, size: int = 16) -> QIcon:
    """The symbol of a class as an icon."""
    pixmap = QPixmap(size, size)
    pixmap.fill(QColor(0, 0, 0, 0))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    paint_symbol(painter, class_id, color, QPointF(size / 2, size / 2), size - 4.0)
    painter.end()
    return QIcon(pixmap)


def grey_image(values: NDArray[Any], limits: tuple[float, float] | None = None) -> QImage:
    """An array ``(y, x)`` as a grey picture; what is not known is dark blue."""
    image = np.asarray(values, dtype=np.float32)
    low, high = contrast_limits(image) if limits is None else limits
    known = np.isfinite(image)
    grey = np.clip((np.where(known, image, low) - low) / max(high - low, 1e-12), 0, 1)
    level = np.round(255 * grey).astype(np.uint8)
    picture = np.stack((level, level, level), axis=-1)
    picture[~known] = (22, 26, 44)
    picture = np.ascontiguousarray(picture)
    rows, columns = level.shape
    found = QImage(picture.tobytes(), columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    return found.copy()


def fitted(image: QImage, rect: QRectF) -> QRectF:
    """The largest place of an image's shape within a rectangle."""
    scale = min(rect.width() / max(image.width(), 1), rect.height() / max(image.height(), 1))
    width, height = image.width() * scale, image.height() * scale
    return QRectF(rect.center().x() - width / 2, rect.center().y() - height / 2, width, height)
