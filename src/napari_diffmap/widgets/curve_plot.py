"""A plot of a few lines that is drawn in a moment, however often they change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_diffmap.viewer.training_curves import PlotLine

_INK, _GRID, _SHADE = QColor("#d0d0d0"), QColor("#4a4d55"), QColor(38, 41, 48, 170)
#: Room for numbers on the left, for steps below, above and on the right.
_LEFT, _BELOW, _ABOVE, _RIGHT = 42, 20, 20, 10
#: Length of a line's piece in the legend.
_KEY = 22
#: Points of a line that are looked at when the legend is placed.
_DENSE = 128


class CurvePlot(QWidget):
    """Lines over steps.

    Parameters
    ----------
    title
        What is drawn, with its unit.
    message
        Stands there while there is nothing to draw.
    limits
        Lowest and highest value; None: those of the lines.
    """

    def __init__(self, title: str, message: str, limits: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.title = title
        self.message = message
        self.limits = limits
        self.lines: tuple[PlotLine, ...] = ()
        self.setMinimumSize(120, 96)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Large enough to read."""
        return QSize(280, 150)

    def show_lines(self, lines: Sequence[PlotLine]) -> None:
        """Draw other lines."""
        self.lines = tuple(lines)
        self.update()

    # --------------------------------------------------------------- drawing
    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Frame, numbers, lines and legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(_INK)
        points = [(x, y) for line in self.lines for x, y in _finite(line)]
        if not points:
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(6, 6, -6, -6), flags, self.message)
            painter.end()
            return
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() - 1.5, 6.0))
        painter.setFont(font)
        most = max(x for x, _ in points)
        low, high = self.limits or _span(y for _, y in points)
        frame = QRectF(
            _LEFT, _ABOVE, self.width() - _LEFT - _RIGHT, self.height() - _ABOVE - _BELOW
        )

        def place(x: float, y: float) -> QPointF:
            across = frame.width() * x / max(most, 1.0)
            return QPointF(
                frame.left() + across, frame.bottom() - frame.height() * (y - low) / (high - low)
            )

        painter.drawText(
            QRectF(4, 0, self.width() - 8, _ABOVE - 2), Qt.AlignmentFlag.AlignCenter, self.title
        )
        self._draw_numbers(painter, frame, most, low, high)
        painter.save()
        painter.setClipRect(frame.adjusted(-3, -3, 3, 3))
        places = [[place(x, y) for x, y in _finite(line)] for line in self.lines]
        for line, points_of in zip(self.lines, places, strict=True):
            _draw(painter, line, points_of)
        painter.restore()
        self._draw_legend(painter, frame, np.concatenate([_along(p) for p in places if p]))
        painter.end()

    def _draw_numbers(
        self, painter: QPainter, frame: QRectF, most: float, low: float, high: float
    ) -> None:
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for value in ticks(low, high, max(2, int(frame.height() / 28))):
            y = frame.bottom() - frame.height() * (value - low) / (high - low)
            painter.setPen(_GRID)
            painter.drawLine(QPointF(frame.left(), y), QPointF(frame.right(), y))
            painter.setPen(_INK)
            painter.drawText(QRectF(0, y - 8, _LEFT - 5, 16), right, f"{value:g}")
        for value in ticks(0, most, max(2, int(frame.width() / 70))):
            x = frame.left() + frame.width() * value / max(most, 1.0)
            painter.setPen(_INK)
            painter.drawLine(QPointF(x, frame.bottom()), QPointF(x, frame.bottom() + 3))
            box = QRectF(x - 35, frame.bottom() + 3, 70, 16)
            if box.right() > self.width():
                box.moveRight(self.width())
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{value:g}")
        painter.setPen(_GRID)
        painter.drawRect(frame)

    def _draw_legend(self, painter: QPainter, frame: QRectF, points: NDArray[np.float64]) -> None:
        """In the corner of the frame where it hides the least."""
        metrics = painter.fontMetrics()
        high = metrics.height()
        wide = max(metrics.horizontalAdvance(line.name) for line in self.lines) + _KEY + 12
        tall = high * len(self.lines) + 2
        corners = [
            QRectF(x, y, wide, tall)
            for y in (frame.top() + 2, frame.bottom() - tall - 2)
            for x in (frame.right() - wide - 2, frame.left() + 2)
        ]
        box = min(corners, key=lambda corner: _hidden(corner, points))
        painter.fillRect(box, _SHADE)
        for i, line in enumerate(self.lines):
            y = box.top() + 1 + (i + 0.5) * high
            _draw(painter, line, [QPointF(box.left() + 4, y), QPointF(box.left() + 4 + _KEY, y)])
            painter.setPen(_INK)
            painter.drawText(QPointF(box.left() + _KEY + 9, y + 0.32 * high), line.name)


def _along(places: list[QPointF]) -> NDArray[np.float64]:
    """Points ``(n, 2)`` along a line, so dense that no box is missed."""
    corners = np.array([(place.x(), place.y()) for place in places])
    at = np.linspace(0, len(corners) - 1, _DENSE)
    number = np.arange(len(corners))
    return np.stack([np.interp(at, number, corners[:, i]) for i in (0, 1)], axis=1)


def _hidden(box: QRectF, points: NDArray[np.float64]) -> int:
    """How many of the points ``(n, 2)`` a box hides."""
    x, y = points.T
    inside = (x >= box.left()) & (x <= box.right()) & (y >= box.top()) & (y <= box.bottom())
    return int(inside.sum())


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` + 1 round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _span(values: Iterable[float]) -> tuple[float, float]:
    """Lowest and highest with some room."""
    found = list(values)
    low, high = min(found), max(found)
    room = 0.06 * (high - low) or max(abs(high) * 0.1, 0.5)
    return low - room, high + room


def _finite(line: PlotLine) -> list[tuple[float, float]]:
    return [
        (x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(x) and math.isfinite(y)
    ]


def _draw(painter: QPainter, line: PlotLine, places: list[QPointF]) -> None:
    pen = QPen(QColor(line.color), 1.8)
    if line.dashes:
        pen.setDashPattern(list(line.dashes))
    painter.setPen(pen)
    painter.drawPolyline(QPolygonF(places))
    if line.dots:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(line.color))
        for at in places:
            painter.drawEllipse(at, 2.2, 2.2)
        painter.setBrush(Qt.BrushStyle.NoBrush)
