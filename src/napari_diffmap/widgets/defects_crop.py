"""The second canvas of an image: the surroundings of the position, what is known of a find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_crop import Crop, crop_at, facts_of, image_of
from napari_diffmap.viewer.training_curves import PlotLine
from napari_diffmap.widgets.curve_plot import CurvePlot
from napari_diffmap.widgets.defects_looks import fitted, grey_image, paint_symbol
from napari_diffmap.widgets.parts import Links

if TYPE_CHECKING:
    from napari_diffmap.viewer.runner import Runner

#: A mark is so many lattice constants wide in the crop; without a lattice, pixels.
_MARK, _PIXELS = 0.85, 9.0
_CROSS = QColor("#D55E00")
_SITES = (QColor("#56B4E9"), QColor("#F0E442"))
#: Traces of movies up to this size are read, bytes.
_READ = 1 << 30
#: A drag begins after so many screen pixels.
_STILL = 4
_SIDE = 210


class CropCanvas(QWidget):
    """Paints a crop; a click selects a find, a drag of the selected one moves it.

    Parameters
    ----------
    defects
        What is looked at.
    """

    def __init__(self, defects: Defects) -> None:
        super().__init__()
        self.defects = defects
        self.crop: Crop | None = None
        self.message = ""
        self._image: QImage | None = None
        self._held: tuple[int, QPointF] | None = None
        self._moved: tuple[float, float] | None = None
        self.setMinimumSize(140, 140)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTip(
            "The surroundings of the position. Marks have the symbol and colour of their class;"
            " dashed and hollow: in doubt. Small crosses: sites of the lattice.\n"
            "Click selects a find, a drag of the selected one moves it, double-click adds a defect"
        )

    def sizeHint(self) -> QSize:
        """As large as there is room."""
        return QSize(340, 340)

    def show_crop(self, crop: Crop | None, message: str = "") -> None:
        """Show another crop."""
        self.crop, self.message = crop, message
        self._image = None if crop is None else grey_image(crop.pixels)
        self._held = self._moved = None
        self.update()

    # --------------------------------------------------------------- places
    def _frame(self) -> QRectF:
        assert self._image is not None
        return fitted(self._image, QRectF(self.rect()).adjusted(2, 2, -2, -2))

    def _zoom(self) -> float:
        assert self.crop is not None
        return self._frame().width() / self.crop.pixels.shape[1]

    def point(self, y: float, x: float) -> QPointF:
        """Where a place of the crop lies on the widget."""
        frame, zoom = self._frame(), self._zoom()
        return QPointF(frame.left() + (x + 0.5) * zoom, frame.top() + (y + 0.5) * zoom)

    def place(self, at: QPointF) -> tuple[float, float]:
        """The place of the image ``(y, x)`` under a point of the widget."""
        assert self.crop is not None
        frame, zoom = self._frame(), self._zoom()
        y = (at.y() - frame.top()) / zoom - 0.5 + self.crop.first[0]
        x = (at.x() - frame.left()) / zoom - 0.5 + self.crop.first[1]
        return y, x

    def _width(self) -> float:
        """Width of a mark, pixels of the image."""
        assert self.crop is not None
        return _PIXELS if self.crop.spacing is None else _MARK * self.crop.spacing

    # -------------------------------------------------------------- drawing
    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Pixels, sites, marks, position."""
        painter = QPainter(self)
        crop = self.crop
        if crop is None or self._image is None:
            painter.setPen(QColor("#d0d0d0"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(8, 8, -8, -8), flags, self.message)
            painter.end()
            return
        frame, zoom = self._frame(), self._zoom()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.drawImage(frame, self._image)
        painter.setClipRect(frame)
        for (y, x), kind in zip(crop.sites, crop.sublattice, strict=True):
            self._cross(painter, self.point(y, x), 2.6, _SITES[int(kind) % 2], 1.0)
        middle = crop.pixels.shape[0] // 2
        self._cross(painter, self.point(middle, middle), 8.0, _CROSS, 1.2, gap=4.0)
        for mark in crop.marks:
            y, x = mark.y, mark.x
            if self._moved is not None and self._held is not None and mark.slot == self._held[0]:
                y, x = self._moved[0] - crop.first[0], self._moved[1] - crop.first[1]
            at, wide = self.point(y, x), self._width() * zoom
            paint_symbol(painter, mark.class_id, mark.color, at, wide, doubtful=mark.doubtful)
            if mark.selected:
                painter.setPen(QPen(QColor("white"), 1.6))
                painter.drawEllipse(at, 0.72 * wide, 0.72 * wide)
        painter.end()

    @staticmethod
    def _cross(
        painter: QPainter, at: QPointF, half: float, color: QColor, width: float, gap: float = 0.0
    ) -> None:
        painter.setPen(QPen(color, width))
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            painter.drawLine(
                QPointF(at.x() + gap * dx, at.y() + gap * dy),
                QPointF(at.x() + (gap + half) * dx, at.y() + (gap + half) * dy),
            )

    # ---------------------------------------------------------------- mouse
    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Select, or take the selected one in hand."""
        if event is None or self.crop is None or event.button() != Qt.MouseButton.LeftButton:
            return
        y, x = self.place(event.position())
        slot = self.defects.at(y, x, 0.6 * self._width())
        if slot is not None and slot in self.defects.selection[:1]:
            self._held = (slot, event.position())
        else:
            self.defects.select([] if slot is None else [slot])

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """The mark follows the mouse."""
        if event is None or self._held is None or self.defects.map is None:
            return
        slot, start = self._held
        by = event.position() - start
        if self._moved is None and max(abs(by.x()), abs(by.y())) < _STILL:
            return
        zoom = self._zoom()
        y, x = (float(value) for value in self.defects.map.best_places[0, slot, 1:])
        self._moved = (y + by.y() / zoom, x + by.x() / zoom)
        self.update()

    def mouseReleaseEvent(self, _event: QMouseEvent | None) -> None:
        """Let go: the find is moved."""
        held, moved = self._held, self._moved
        self._held = self._moved = None
        if held is not None and moved is not None:
            self.defects.try_to(lambda: self.defects.move(held[0], *moved))
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Add a defect where there is none."""
        if event is None or self.crop is None or self.defects.map is None:
            return
        place = self.place(event.position())
        if self.defects.at(*place, 0.6 * self._width()) is None:
            self.defects.try_to(lambda: self.defects.add(place))


class CropView(QWidget):
    """The page of the Pattern dock for images and movies.

    Parameters
    ----------
    defects, runner
        What is looked at, and where frames are read.
    """

    def __init__(self, defects: Defects, runner: Runner) -> None:
        super().__init__()
        self.defects, self.session, self.runner = defects, defects.session, runner
        self._frame: tuple[object, int, NDArray[Any]] | None = None
        self.canvas = CropCanvas(defects)
        self.facts = QLabel()
        self.facts.setTextFormat(Qt.TextFormat.RichText)
        self.facts.setWordWrap(True)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.facts.setToolTip(
            "What is known of the selected find: place in pixels and nm, probability that there is"
            " a defect, answers with their probability (keys 1, 2, 3), amplitude over that of a"
            " pristine site, track"
        )
        self.trace = CurvePlot("Intensity here over frames", "")
        self.trace.setToolTip("Mean of 3 × 3 pixels about the position in every frame, counts")
        side = QWidget()
        side.setFixedWidth(_SIDE)
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.facts)
        column.addStretch(1)
        column.addWidget(self.trace, 2)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(side)
        session = self.session
        self._links = Links(
            self,
            [
                (session.scan_changed, self._on_scan),
                (session.position_changed, self._on_position),
                (session.plane_changed, self.refresh),
                (defects.run_changed, self._draw),
                (defects.followed, self._draw),
                (defects.edited, self._draw),
                (defects.selected, self._draw),
            ],
        )
        self._on_scan()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()

    def _on_scan(self, *_: object) -> None:
        self._frame = None
        self.trace.setVisible(self.session.stack is not None)
        if self.session.pictured:
            self.refresh()
            self._read_trace()

    def _on_position(self, *_: object) -> None:
        if self.session.pictured:
            self._draw()
            self._read_trace()

    def refresh(self, *_: object) -> None:
        """Read the frame that is looked at, beside the window, and show it."""
        scan, data, frame = self.session.scan, self.session.stack_data, self.defects.frame
        if scan is None or not self.session.pictured:
            return
        if self._frame is not None and self._frame[:2] == (scan, frame):
            self._draw()
            return

        def done(image: NDArray[Any]) -> None:
            if self.session.scan is scan and self.defects.frame == frame:
                self._frame = (scan, frame, image)
                self._draw()

        self.runner.latest("crop", lambda _token: image_of(data, scan, frame), done, patience=0.02)

    def _draw(self, *_: object) -> None:
        told = facts_of(self.defects)
        self.facts.setText(
            "".join(f"<b>{name}</b>&nbsp; {value}<br>" for name, value in told)
            if told
            else self._hint()
        )
        if self._frame is None or self._frame[0] is not self.session.scan:
            self.canvas.show_crop(None, "Reading …")
            return
        self.canvas.show_crop(crop_at(self.defects, self._frame[2]))

    def _hint(self) -> str:
        if self.defects.map is None:
            return "An image has no patterns: here it is magnified about the position."
        return "Click a defect to see what is known of it."

    def _read_trace(self) -> None:
        data, (y, x) = self.session.stack_data, self.session.position
        if data is None or self.session.scan is None or self.session.scan.nbytes > _READ:
            return
        rows, columns = self.session.grid

        def work(_token: object) -> NDArray[np.float64]:
            down = slice(max(y - 1, 0), min(y + 2, rows))
            part = data.whole()[:, down, max(x - 1, 0) : min(x + 2, columns)]
            return np.asarray(part, dtype=np.float64).mean(axis=(1, 2))

        def done(values: NDArray[np.float64]) -> None:
            frames = tuple(float(i) for i in range(len(values)))
            self.trace.show_lines([PlotLine("intensity", "#56B4E9", frames, tuple(values))])

        self.runner.latest("series trace", work, done)
