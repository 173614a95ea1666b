"""Classes of defects as cards: mean picture, symbol, name, number; and single finds of a class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QLineEdit,
    QMenu,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_gallery import Gallery
from napari_diffmap.widgets.defects_looks import class_icon, grey_image, paint_symbol
from napari_diffmap.widgets.parts import Links, plain_label, scrolling, tool_button

#: Side of a card's picture and of a single find's, pixels of the screen.
_PICTURE, _SINGLE = 64, 50
#: Widest field of a name, and what such a field has beside its text.
_WIDEST, _AROUND_TEXT = 180, 20
#: Single finds that are shown at most, and in a row.
_MOST, _ACROSS = 60, 10
_EMPTY = "Find defects first: their classes are shown here, each with its mean picture."


class Picture(QWidget):
    """A small picture that can be clicked.

    Parameters
    ----------
    side
        Pixels of the screen.
    tip
        Says what it is.

    Signals
    -------
    clicked()
        By the mouse.
    """

    clicked = Signal()

    def __init__(self, side: int, tip: str = "") -> None:
        super().__init__()
        self._image: QImage | None = None
        self._mark: tuple[int, str, bool] | None = None
        self.chosen = False
        self.setFixedSize(side, side)
        self.setToolTip(tip)

    def sizeHint(self) -> QSize:
        """Its side."""
        return self.minimumSize()

    def show_values(
        self,
        values: NDArray[Any] | None,
        limits: tuple[float, float] | None,
        mark: tuple[int, str, bool] | None = None,
        *,
        chosen: bool = False,
    ) -> None:
        """Show other values, the symbol of a class in its corner (class, colour, doubtful)."""
        self._image = None if values is None else grey_image(values, limits)
        self._mark, self.chosen = mark, chosen
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Picture, symbol, rim."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        inside = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        if self._image is not None:
            painter.drawImage(inside, self._image)
        else:
            painter.fillRect(inside, QColor("#1c1f26"))
        if self._mark is not None:
            class_id, color, doubtful = self._mark
            paint_symbol(painter, class_id, color, QPointF(12, 12), 13, doubtful=doubtful)
        color, wide = ("#ffffff", 2.5) if self.chosen else ("#5a5f69", 1.0)
        painter.setPen(QPen(QColor(color), wide))
        painter.drawRect(inside)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Tell it."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit()


class ClassCard(QWidget):
    """One class: picture, name that can be changed, number of its finds, menu.

    Parameters
    ----------
    defects
        Whose class it is.
    class_id
        Its number.
    place
        Its place in the list, for the key that gives it.
    """

    def __init__(self, defects: Defects, class_id: int, place: int) -> None:
        super().__init__()
        self.defects, self.class_id = defects, class_id
        found = defects.map
        assert found is not None
        phase = found.phases[class_id]
        self.picture = Picture(
            _PICTURE,
            f"Mean of the finds of {phase.name}, along the lattice, all classes in one grey scale."
            f" {phase.note}\nClick: select them all; what is added by hand gets this class"
            f" (Alt + {place} gives it to the selected find)",
        )
        self.picture.clicked.connect(lambda: defects.select_class(class_id))
        self.name = QLineEdit(phase.name)
        wide = self.name.fontMetrics().horizontalAdvance(phase.name) + _AROUND_TEXT
        self.name.setFixedWidth(min(max(wide, _PICTURE + 32), _WIDEST))
        # Of a name that is longer the beginning is seen.
        self.name.setCursorPosition(0)
        self.name.setToolTip(f"{phase.name}: type another name of this class and press Enter")
        self.name.editingFinished.connect(self._rename)
        self.count = QLabel()
        self.count.setToolTip("Finds of this class, and their share")
        self.more = tool_button("…", "Merge this class into another, or show its finds")
        self.more.setFixedWidth(30)
        self.menu = QMenu(self.more)
        self.menu.aboutToShow.connect(self._fill)
        self.more.setMenu(self.menu)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        layout.addWidget(self.picture, alignment=Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self.name)
        row = QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(self.count, 1)
        row.addWidget(self.more)
        layout.addLayout(row)

    def show_class(self, gallery: Gallery, limits: tuple[float, float]) -> None:
        """Show what there is of it now."""
        found = self.defects.map
        if found is None:
            return
        counts = self.defects.counts()
        phase = found.phases[self.class_id]
        share = 100 * counts[self.class_id] / max(counts.sum(), 1)
        self.count.setText(f"{counts[self.class_id]} · {share:.0f} %")
        self.picture.show_values(
            gallery.mean(self.class_id),
            limits,
            (self.class_id, phase.color, False),
            chosen=self.defects.brush == self.class_id,
        )

    def _rename(self) -> None:
        self.defects.try_to(lambda: self.defects.rename(self.class_id, self.name.text()))

    def _fill(self) -> None:
        self.menu.clear()
        found = self.defects.map
        if found is None:
            return
        into = self.menu.addMenu("Merge into")
        assert into is not None
        for other in self.defects.shown_classes():
            if other == self.class_id:
                continue
            phase = found.phases[other]
            action = into.addAction(class_icon(other, phase.color), phase.name)
            assert action is not None
            action.triggered.connect(
                lambda _on=False, k=other: self.defects.try_to(
                    lambda: self.defects.merge(self.class_id, k)
                )
            )


class GalleryView(QWidget):
    """Cards of all classes, and below them single finds of the chosen one.

    Parameters
    ----------
    defects, gallery
        What is shown.
    """

    def __init__(self, defects: Defects, gallery: Gallery) -> None:
        super().__init__()
        self.defects, self.gallery = defects, gallery
        self.cards: list[ClassCard] = []
        self.singles: list[Picture] = []
        self._shown: tuple[tuple[int, str], ...] = ()
        self._drawn: object = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.pages = QStackedWidget()
        empty = plain_label(_EMPTY)
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.pages.addWidget(empty)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self._make_cards())
        column.addWidget(self._make_singles(), 1)
        self.pages.addWidget(page)
        layout.addWidget(self.pages)
        self._links = Links(
            self,
            [
                (gallery.changed, self.refresh),
                (defects.changed, self.refresh),
                (defects.selected, self._on_selected),
            ],
        )
        self.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()

    def _make_cards(self) -> QWidget:
        inner = QWidget()
        self.row = QHBoxLayout(inner)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(2)
        self.fresh = tool_button(
            "New class…", "A class that was not found: finds are given it by hand"
        )
        self.fresh.clicked.connect(self.ask_class)
        self.row.addStretch(1)
        area = scrolling(inner, sideways=True)
        area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        # What acts on all classes stands beside them.
        self.acts = QVBoxLayout()
        self.acts.addWidget(self.fresh)
        self.acts.addStretch(1)
        row = QWidget()
        row.setFixedHeight(_PICTURE + 64)
        beside = QHBoxLayout(row)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.addWidget(area, 1)
        beside.addLayout(self.acts)
        return row

    def _make_singles(self) -> QScrollArea:
        inner = QWidget()
        self.grid = QGridLayout(inner)
        self.grid.setContentsMargins(0, 0, 0, 0)
        self.grid.setSpacing(2)
        self.grid.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        area = scrolling(inner)
        area.setMinimumHeight(_SINGLE + 4)
        area.setToolTip("Finds of the chosen class, those in doubt first; click one to go there")
        return area

    # --------------------------------------------------------------- state
    def showEvent(self, event: Any) -> None:
        """Show what changed while nobody looked."""
        super().showEvent(event)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the classes as they are now; nothing is drawn while nobody looks."""
        found = self.defects.map
        if found is not None and not self.isVisible():
            return
        self.pages.setCurrentIndex(0 if found is None else 1)
        if found is None:
            self._shown = ()
            return
        shown = tuple((k, found.phases[k].name) for k in self.defects.shown_classes())
        if shown != self._shown:
            self._shown = shown
            for card in self.cards:
                self.row.removeWidget(card)
                card.deleteLater()
            self.cards = [
                ClassCard(self.defects, k, place + 1) for place, (k, _) in enumerate(shown)
            ]
            for place, card in enumerate(self.cards):
                self.row.insertWidget(place, card)
        limits = self.gallery.limits()
        for card in self.cards:
            card.show_class(self.gallery, limits)
        self._show_singles()

    def _show_singles(self) -> None:
        found, brush = self.defects.map, self.defects.brush
        if found is None or not found.phases:
            return
        finds = self.gallery.of_class(brush, _MOST)
        phase = found.phases[brush]
        drawn = (
            id(self.gallery.crops),
            brush,
            tuple((slot, bool(found.ambiguous[0, slot])) for slot, _ in finds),
        )
        if drawn == self._drawn:
            self._on_selected(self.defects.selection)
            return
        self._drawn = drawn
        for picture in self.singles:
            self.grid.removeWidget(picture)
            picture.deleteLater()
        self.singles = []
        for i, (slot, values) in enumerate(finds):
            frame = int(found.best_places[0, slot, 0])
            chance = float(found.reliability[0, slot])
            picture = Picture(
                _SINGLE, f"{phase.name}, frame {frame}, p = {chance:.2f}; click to go there"
            )
            doubtful = bool(found.ambiguous[0, slot])
            picture.slot = slot  # type: ignore[attr-defined]
            picture.show_values(values, None, (brush, phase.color, doubtful))
            picture.clicked.connect(lambda s=slot: self.defects.select([s], go=True))
            self.grid.addWidget(picture, *divmod(i, _ACROSS))
            self.singles.append(picture)
        self._on_selected(self.defects.selection)

    def _on_selected(self, slots: NDArray[np.int64]) -> None:
        first = int(slots[0]) if len(slots) == 1 else -1
        for picture in self.singles:
            chosen = picture.slot == first  # type: ignore[attr-defined]
            if chosen != picture.chosen:
                picture.chosen = chosen
                picture.update()

    def ask_class(self) -> None:
        """Ask for the name of a class."""
        name, ok = QInputDialog.getText(self, "New class", "Name of the class")
        if ok and name.strip():
            self.defects.try_to(lambda: self.defects.new_class(name))
