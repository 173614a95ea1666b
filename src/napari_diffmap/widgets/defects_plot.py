"""Tracks through space and time; a click picks one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import (
    QColor,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
    QResizeEvent,
)
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_ways import ALONG, Way, unit_of, ways
from napari_diffmap.widgets.curve_plot import ticks
from napari_diffmap.widgets.defects_looks import paint_symbol
from napari_diffmap.widgets.parts import Links

_INK, _GRID = QColor("#d0d0d0"), QColor("#4a4d55")
_LEFT, _BELOW, _ABOVE, _RIGHT = 46, 30, 8, 10
#: A click takes a track within so many pixels of the screen.
_NEAR = 12.0
#: Opacity of tracks beside the one that is selected, of 255.
_DIM, _CLEAR = 60, 220
_EMPTY = "Tracks of a movie are drawn here: place over time, in the colours of the classes."


class SpaceTimePlot(QWidget):
    """Place over time of every track, coloured by class; a symbol where one begins or changes.

    Parameters
    ----------
    defects
        Whose tracks.
    """

    def __init__(self, defects: Defects) -> None:
        super().__init__()
        self.defects = defects
        self.along = ALONG[0]
        self.ways: tuple[Way, ...] = ()
        self._limits = (0.0, 1.0)
        self._pixmap: QPixmap | None = None
        self.setMinimumSize(160, 110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTip(
            "Place over time of each track, the drift taken off; its line has the colour of the"
            " class, a symbol stands where it begins and where the class changes. Click one to"
            " select it and go there"
        )

    def sizeHint(self) -> QSize:
        """Large enough to read."""
        return QSize(280, 160)

    def refresh(self) -> None:
        """Draw the tracks as they are now."""
        self.ways = ways(self.defects, self.along)
        low = min((float(way.values.min()) for way in self.ways), default=0.0)
        high = max((float(way.values.max()) for way in self.ways), default=1.0)
        room = 0.04 * (high - low) or 0.5
        self._limits = low - room, high + room
        self.redraw()

    def redraw(self, *_: object) -> None:
        """Draw again, another frame or selection."""
        self._pixmap = None
        self.update()

    # --------------------------------------------------------------- places
    def _frame(self) -> QRectF:
        return QRectF(_LEFT, _ABOVE, self.width() - _LEFT - _RIGHT, self.height() - _ABOVE - _BELOW)

    def _seconds(self) -> float | None:
        found = self.defects.map
        return None if found is None else found.frame_time_s

    def point(self, frame: float, value: float) -> QPointF:
        """Where a frame and a value lie on the widget."""
        box, (low, high) = self._frame(), self._limits
        most = max(self.defects.frames - 1, 1)
        return QPointF(
            box.left() + box.width() * frame / most,
            box.bottom() - box.height() * (value - low) / (high - low),
        )

    # -------------------------------------------------------------- drawing
    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """The picture that is kept, and the frame looked at."""
        painter = QPainter(self)
        if not self.ways:
            painter.setPen(_INK)
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(8, 8, -8, -8), flags, _EMPTY)
            painter.end()
            return
        if self._pixmap is None:
            self._pixmap = self._drawn()
        painter.drawPixmap(0, 0, self._pixmap)
        x = self.point(self.defects.frame, 0).x()
        painter.setPen(QPen(QColor("#E69F00"), 1.2, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, self._frame().top()), QPointF(x, self._frame().bottom()))
        painter.end()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Draw for the new size."""
        super().resizeEvent(event)
        self._pixmap = None

    def _drawn(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(QColor(0, 0, 0, 0))
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() - 1.5, 6.0))
        painter.setFont(font)
        self._axes(painter)
        chosen = self._chosen()
        for way in sorted(self.ways, key=lambda one: one.track in chosen):
            dim = bool(chosen) and way.track not in chosen
            self._draw(painter, way, dim=dim, wide=2.4 if way.track in chosen else 1.3)
        painter.end()
        return pixmap

    def _chosen(self) -> set[int]:
        found = self.defects.map
        if found is None or not len(self.defects.selection):
            return set()
        track = int(found.tracks[self.defects.selection[0]])
        return {track} if track >= 0 else set()

    def _draw(self, painter: QPainter, way: Way, *, dim: bool, wide: float) -> None:
        found = self.defects.map
        assert found is not None
        points = [self.point(f, v) for f, v in zip(way.frames, way.values, strict=True)]
        change = np.flatnonzero(np.diff(way.class_ids)) + 1
        gap = np.flatnonzero(np.diff(way.frames) > 1) + 1
        # A piece is of one class and without a gap; it begins where the one before ends.
        ends = np.unique(np.concatenate(([0], change, gap, [len(points)])))
        for begin, end in pairwise(ends.tolist()):
            color = QColor(found.phases[int(way.class_ids[begin])].color)
            color.setAlpha(_DIM if dim else _CLEAR)
            if begin:
                missed = way.frames[begin] - way.frames[begin - 1] > 1
                style = Qt.PenStyle.DotLine if missed else Qt.PenStyle.SolidLine
                painter.setPen(QPen(color, wide, style))
                painter.drawLine(points[begin - 1], points[begin])
            painter.setPen(QPen(color, wide))
            painter.drawPolyline(QPolygonF(points[begin:end]))
        if dim:
            return
        for i in (0, *change.tolist()):
            class_id = int(way.class_ids[i])
            color_name = found.phases[class_id].color
            paint_symbol(painter, class_id, color_name, points[i], 8.0, width=1.2)

    def _axes(self, painter: QPainter) -> None:
        box, (low, high) = self._frame(), self._limits
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for value in ticks(low, high, max(2, int(box.height() / 30))):
            y = self.point(0, value).y()
            painter.setPen(_GRID)
            painter.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
            painter.setPen(_INK)
            painter.drawText(QRectF(0, y - 8, _LEFT - 5, 16), right, f"{value:g}")
        step = self._seconds() or 1.0
        last = (self.defects.frames - 1) * step
        for value in ticks(0, last, max(2, int(box.width() / 70))):
            x = self.point(value / step, 0).x()
            painter.setPen(_INK)
            painter.drawLine(QPointF(x, box.bottom()), QPointF(x, box.bottom() + 3))
            place = QRectF(x - 35, box.bottom() + 2, 70, 14)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, f"{value:g}")
        painter.setPen(_GRID)
        painter.drawRect(box)
        painter.setPen(_INK)
        time = "frame" if self._seconds() is None else "time (s)"
        below = QRectF(box.left(), box.bottom() + 14, box.width(), 15)
        words = f"{self.along.split()[0]} ({unit_of(self.defects)}) over {time}"
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, words)

    # ---------------------------------------------------------------- mouse
    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Select the track under the mouse, at the frame that was clicked."""
        if event is None or not self.ways:
            return
        at = event.position()
        best: tuple[float, int, float] | None = None
        for way in self.ways:
            for frame, value in zip(way.frames, way.values, strict=True):
                by = self.point(frame, value) - at
                away = (by.x() ** 2 + by.y() ** 2) ** 0.5
                if away <= _NEAR and (best is None or away < best[0]):
                    best = (away, way.track, float(frame))
        if best is not None:
            self.defects.session.set_plane(round(best[2]))
            self.defects.select_track(best[1])


class SpaceTimeView(QWidget):
    """The plot with what it plots.

    Parameters
    ----------
    defects
        Whose tracks.
    """

    def __init__(self, defects: Defects) -> None:
        super().__init__()
        self.plot = SpaceTimePlot(defects)
        self.along = QComboBox()
        self.along.addItems(list(ALONG))
        self.along.setToolTip("What is drawn over time, nm where the image is calibrated")
        self.along.currentTextChanged.connect(self._on_along)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        row = QHBoxLayout()
        row.addWidget(self.along)
        row.addStretch(1)
        layout.addLayout(row)
        layout.addWidget(self.plot, 1)
        refresh = lambda *_: self.plot.refresh()  # noqa: E731
        self._links = Links(
            self,
            [
                (defects.run_changed, refresh),
                (defects.followed, refresh),
                (defects.edited, refresh),
                (defects.selected, self.plot.redraw),
                (defects.session.plane_changed, lambda *_: self.plot.update()),
            ],
        )
        self.plot.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()

    def _on_along(self, text: str) -> None:
        self.plot.along = text  # type: ignore[assignment]
        self.plot.refresh()
