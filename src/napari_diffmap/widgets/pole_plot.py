"""A pole figure or inverse pole figure as a picture that regions are drawn on."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_diffmap.maps.texture.poles import Circle, Lasso, Projection, Region, unproject, upwards
from napari_diffmap.viewer.pole_study import PolePicture

#: Room around the figure for X, Y or the indices of corners, and for the scale on the right.
_MARGIN, _SCALE = 20, 34
#: Radius of a circle that is clicked, not drawn; degrees.
CLICKED_RADIUS = 10.0
#: A press that moves less (pixels of the screen) is a click.
_CLICK = 4
_INK, _LINE, _REGION = QColor("#d0d0d0"), QColor("#808080"), QColor("#E69F00")
#: Side (pixels of the screen) and colour of a point.
_DOT, _DOT_COLOR = 2, (86, 180, 233)
_OVERLINE = "\u0305"


class PolePlot(QWidget):
    """Draws a `PolePicture`; click or drag on it marks a region.

    Signals
    -------
    drawn(region)
        A `Circle` or `Lasso` was drawn; None: it was taken away with the right button.
    """

    drawn = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tool: Literal["circle", "lasso"] = "circle"
        self.picture: PolePicture | None = None
        self.region: Region | None = None
        #: What stands there when there is no figure.
        self.message = ""
        self._base: QPixmap | None = None
        self._path: list[tuple[float, float]] = []
        self._start: QPointF | None = None
        self.setMinimumSize(120, 110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Large enough to read."""
        return QSize(260, 230)

    def show_picture(self, picture: PolePicture | None, message: str = "") -> None:
        """Show a figure, or in words why there is none."""
        self.picture, self.message, self._base = picture, message, None
        self.update()

    def show_region(self, region: Region | None) -> None:
        """Show a region."""
        self.region = region
        self.update()

    # -------------------------------------------------------------- geometry
    def _frame(self) -> QRectF:
        """The square on the screen that the figure's box fills."""
        scale = _SCALE if self.picture is not None and self.picture.density is not None else 0
        room = min(self.width() - 2 * _MARGIN - scale, self.height() - 2 * _MARGIN)
        side = max(room, 20)
        left = max((self.width() - scale - side) / 2, _MARGIN)
        return QRectF(left, (self.height() - side) / 2, side, side)

    def place(self, x: float, y: float) -> QPointF:
        """Where plot coordinates are on the screen."""
        assert self.picture is not None
        left, top, side = self.picture.box
        frame = self._frame()
        zoom = frame.width() / side
        return QPointF(frame.left() + (x - left) * zoom, frame.top() + (y - top) * zoom)

    def coordinates(self, point: QPointF) -> tuple[float, float]:
        """Plot coordinates of a place on the screen."""
        assert self.picture is not None
        left, top, side = self.picture.box
        frame = self._frame()
        zoom = frame.width() / side
        return left + (point.x() - frame.left()) / zoom, top + (point.y() - frame.top()) / zoom

    # --------------------------------------------------------------- drawing
    def resizeEvent(self, event: object) -> None:
        """Draw for the new size."""
        self._base = None
        super().resizeEvent(event)  # type: ignore[arg-type]

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """The figure, kept as it was drawn last, and the region on top."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.picture is None:
            painter.setPen(_INK)
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(8, 8, -8, -8), flags, self.message)
            painter.end()
            return
        if self._base is None:
            self._base = self._drawn(self.picture)
        painter.drawPixmap(0, 0, self._base)
        painter.setPen(QPen(_REGION, 2))
        for line in self._lines():
            painter.drawPolyline(QPolygonF([self.place(x, y) for x, y in line]))
        painter.end()

    def _drawn(self, picture: PolePicture) -> QPixmap:
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap(int(self.width() * ratio), int(self.height() * ratio))
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if picture.rgba is not None:
            painter.drawImage(self._frame(), _qimage(picture.rgba))
            self._draw_scale(painter, picture)
        painter.setPen(QPen(_INK, 1.2))
        painter.drawPolyline(QPolygonF([self.place(x, y) for x, y in picture.border[::2]]))
        if len(picture.points):
            painter.drawImage(QRectF(self.rect()), _qimage(self._dots(picture, ratio)))
        painter.setPen(_INK)
        if picture.kind == "pole figure":
            middle = self.place(0, 0)
            painter.drawLine(middle + QPointF(-3, 0), middle + QPointF(3, 0))
            painter.drawLine(middle + QPointF(0, -3), middle + QPointF(0, 3))
        centre = self._frame().center()
        for (x, y), text in picture.marks:
            self._write(painter, self.place(x, y), centre, plain_indices(text))
        painter.end()
        return pixmap

    def _dots(self, picture: PolePicture, ratio: float) -> NDArray[np.uint8]:
        """Points as a picture of the widget: Qt would take a fifth of a second for 20 000."""
        height, width = int(self.height() * ratio), int(self.width() * ratio)
        corner, zoom = self.place(0, 0), self._frame().width() / picture.box[2]
        at = (picture.points * zoom + (corner.x(), corner.y())) * ratio
        half = max(1, round(0.5 * _DOT * ratio))
        count = np.zeros((height, width), dtype=np.int32)
        column, row = np.floor(at).astype(np.intp).T
        for dy in range(-half, half):
            for dx in range(-half, half):
                y, x = row + dy, column + dx
                seen = (y >= 0) & (y < height) & (x >= 0) & (x < width)
                count += np.bincount(y[seen] * width + x[seen], minlength=height * width).reshape(
                    height, width
                )
        # One dot is seen, and many on top of each other are brighter.
        rgba = np.zeros((height, width, 4), dtype=np.uint8)
        rgba[..., :3] = _DOT_COLOR
        rgba[..., 3] = np.where(count > 0, 120 + 135 * (1 - 0.8 ** np.maximum(count - 1, 0)), 0)
        return rgba

    def _write(self, painter: QPainter, at: QPointF, centre: QPointF, text: str) -> None:
        """Words outside the figure, away from its centre, inside the widget."""
        metrics = painter.fontMetrics()
        width, height = metrics.horizontalAdvance(text) + 2, metrics.height()
        away = at - centre
        length = max(float(np.hypot(away.x(), away.y())), 1.0)
        far = 3 + 0.5 * abs(away.x()) / length * width + 0.5 * abs(away.y()) / length * height
        x = at.x() + away.x() / length * far - width / 2
        y = at.y() + away.y() / length * far - height / 2
        x = min(max(x, 0.0), self.width() - width)
        y = min(max(y, 0.0), self.height() - height)
        painter.drawText(QRectF(x, y, width, height), Qt.AlignmentFlag.AlignCenter, text)

    def _draw_scale(self, painter: QPainter, picture: PolePicture) -> None:
        """Colours from 0 to the highest density, with 1 (random) marked."""
        assert picture.density is not None
        from matplotlib import colormaps

        frame = self._frame()
        bar = QRectF(
            self.width() - _SCALE + 2, frame.top() + frame.height() * 0.15, 8, frame.height() * 0.7
        )
        table = np.asarray(colormaps["viridis"](np.arange(256)[::-1], bytes=True))
        painter.drawImage(bar, _qimage(table[:, None]))
        painter.setPen(_INK)
        top = picture.density.highest
        ends = [(bar.bottom(), "0"), (bar.top(), f"{top:.2g}" if top < 100 else f"{top:.0f}")]
        one = bar.bottom() - bar.height() / max(top, 1e-9)
        if one - bar.top() > 14 and bar.bottom() - one > 14:
            ends.append((one, "1"))
        for y, text in ends:
            painter.drawLine(QPointF(bar.right(), y), QPointF(bar.right() + 3, y))
            box = QRectF(bar.right() + 4, y - 8, _SCALE - 12, 16)
            painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
        box = QRectF(self.width() - _SCALE - 6, bar.top() - 26, _SCALE + 6, 16)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, "MRD")

    def _lines(self) -> list[list[tuple[float, float]]]:
        """The region, and what is being drawn, as lines in plot coordinates."""
        assert self.picture is not None
        if self._path and self.tool == "lasso":
            return [self._path]
        region = self._circle() if self._path else self.region
        if region is None:
            return []
        if isinstance(region, Lasso):
            return [[*region.points, region.points[0]]]
        flip = self._flip()
        pieces = region.outline(self.picture.settings.projection)
        return [[(float(x), flip * float(y)) for x, y in piece] for piece in pieces]

    def _flip(self) -> int:
        """In an inverse pole figure the second axis of the sector points up."""
        return 1 if self.picture is None or self.picture.kind == "pole figure" else -1

    # ----------------------------------------------------------------- mouse
    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Begin a region, or take it away with the right button."""
        if event is None or self.picture is None:
            return
        if event.button() == Qt.MouseButton.RightButton:
            self.show_region(None)
            self.drawn.emit(None)
        elif event.button() == Qt.MouseButton.LeftButton:
            self._start = event.position()
            self._path = [self.coordinates(event.position())]

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Draw on."""
        if event is not None and self._path:
            self._path.append(self.coordinates(event.position()))
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """The region is drawn."""
        if event is None or not self._path or self._start is None:
            return
        moved = event.position() - self._start
        if np.hypot(moved.x(), moved.y()) >= _CLICK:
            self._path.append(self.coordinates(event.position()))
        else:
            self._path = self._path[:1]
        region: Region | None
        if self.tool == "circle" or len(self._path) < 3:
            region = self._circle()
        else:
            region = Lasso(tuple(self._path))
        self._path, self._start = [], None
        if region is not None:
            self.show_region(region)
            self.drawn.emit(region)
        self.update()

    def _circle(self) -> Circle | None:
        """The circle from where the button was pressed to where the mouse is."""
        assert self.picture is not None
        projection = self.picture.settings.projection
        center = self._direction(self._path[0], projection)
        if center is None:
            return None
        axis = (float(center[0]), float(center[1]), float(center[2]))
        if len(self._path) == 1:
            return Circle(axis, CLICKED_RADIUS)
        # A drag may leave the figure: beyond the rim the sphere goes on.
        x, y = self._path[-1]
        end = unproject(np.array((x, self._flip() * y)), projection)
        radius = float(np.rad2deg(np.arccos(np.clip(center @ end, -1, 1))))
        return Circle(axis, min(max(radius, 1.0), 90.0))

    def _direction(
        self, place: tuple[float, float], projection: Projection
    ) -> NDArray[np.float64] | None:
        """Axis at plot coordinates; None outside the figure."""
        x, y = place
        if np.hypot(x, y) > 1.05:
            return None
        v = upwards(unproject(np.array((x, self._flip() * y)), projection))
        return np.asarray(v, dtype=np.float64)


def plain_indices(text: str) -> str:
    """Indices in mathtext as plain text with bars over them."""
    return re.sub(r"\$\\overline\{(\d+)\}\$", lambda m: m.group(1) + _OVERLINE, text)


def _qimage(rgba: NDArray[np.uint8]) -> QImage:
    rgba = np.ascontiguousarray(rgba)
    height, width = rgba.shape[:2]
    return QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
