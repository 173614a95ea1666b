"""A pole figure or IPF density with what it is drawn with."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_diffmap.maps.texture.pole_figure import HALF_WIDTHS
from napari_diffmap.maps.texture.poles import PROJECTIONS, Region
from napari_diffmap.viewer.pole_study import PolePicture, PoleStudy
from napari_diffmap.widgets.parts import Links, one_line_label
from napari_diffmap.widgets.pole_plot import CLICKED_RADIUS, PolePlot

_SIDE = 136
_AXES = {"x": "X right", "y": "Y down", "z": "Z beam"}
_HOW = (
    f"Drag: a circle about an axis; click: one of {CLICKED_RADIUS:g}°. With the lasso: a closed"
    " line.\nGrains of which half or more lies inside are selected; their other pixels inside are"
    " orange on the map. Right button: nothing"
)
_FRAME = (
    "X right, Y down as on the map, seen along the beam Z. Poles are axes: of both ends the one"
    " away from the viewer (along the beam) is drawn"
)


class PoleView(QWidget):
    """The plot, and beside it what is drawn.

    Parameters
    ----------
    study
        What the figure shows.
    """

    def __init__(self, study: PoleStudy) -> None:
        super().__init__()
        self.study = study
        self.plot = PolePlot()
        frame = _FRAME if study.kind == "pole figure" else "e1 right, e2 up as in the Key dock"
        self._tip = f"{_HOW}\n{frame}. MRD: multiples of a random distribution"
        self.plot.setToolTip(self._tip)
        self.plot.drawn.connect(self._on_region)
        self.title = one_line_label("What is drawn")
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 2, 2, 2)
        row.setSpacing(2)
        left = QVBoxLayout()
        left.setSpacing(0)
        left.addWidget(self.title)
        left.addWidget(self.plot, 1)
        row.addLayout(left, 1)
        row.addLayout(self._make_side())
        self._links = Links(
            self,
            [
                (study.drawn, self._on_drawn),
                (study.failed, self._on_failed),
                (study.study.measured, self._on_measured),
                (study.study.selected, self._on_selected),
            ],
        )
        self._on_measured()
        self._on_drawn(study.picture)

    def _make_side(self) -> QVBoxLayout:
        side = QVBoxLayout()
        side.setSpacing(3)
        if self.study.kind == "pole figure":
            self.poles = QComboBox()
            self.poles.setEditable(True)
            self.poles.setToolTip(
                "Planes {hkl} or directions [uvw] whose poles are drawn, with all that symmetry"
                " makes equal; type others, e.g. 113, 10-12 or [1 1 0], and press Return"
            )
            self.poles.textActivated.connect(self._on_poles)
            edit = self.poles.lineEdit()
            assert edit is not None
            edit.returnPressed.connect(lambda: self._on_poles(self.poles.currentText()))
            side.addWidget(self.poles)
        else:
            self.direction = QComboBox()
            for name, words in _AXES.items():
                self.direction.addItem(words, name)
            self.direction.setCurrentIndex(2)
            self.direction.setToolTip("Direction of the sample whose crystal directions are drawn")
            self.direction.currentIndexChanged.connect(
                lambda _i: self.study.change(direction=self.direction.currentData())
            )
            side.addWidget(self.direction)
        self.scope = QComboBox()
        self.scope.addItems(["all grains", "selected"])
        self.scope.setToolTip("Draw the pixels of all grains of the phase, or of the selected ones")
        self.scope.currentIndexChanged.connect(lambda i: self.study.change(selection=i == 1))
        self.style_box = QComboBox()
        self.style_box.addItems(["density", "points"])
        self.style_box.setToolTip(
            "Density in multiples of a random distribution (MRD: 1 is random), or a point for each"
            " pole of up to 20 000"
        )
        self.style_box.currentIndexChanged.connect(lambda i: self.study.change(points=i == 1))
        self.projection = QComboBox()
        self.projection.addItems(PROJECTIONS)
        self.projection.setToolTip("Stereographic keeps angles, equal area keeps areas")
        self.projection.currentTextChanged.connect(lambda p: self.study.change(projection=p))
        self.half_width = QDoubleSpinBox()
        self.half_width.setRange(*HALF_WIDTHS)
        self.half_width.setDecimals(1)
        self.half_width.setPrefix("± ")
        self.half_width.setSuffix("°")
        self.half_width.setKeyboardTracking(False)
        self.half_width.setValue(self.study.settings.half_width)
        self.half_width.setToolTip(
            "Half width of the smoothing, degrees: where the von Mises–Fisher kernel is half its"
            " peak"
        )
        self.half_width.valueChanged.connect(lambda w: self.study.change(half_width=w))
        self.tool = QComboBox()
        self.tool.addItems(["circle", "lasso"])
        self.tool.setToolTip(f"What the mouse draws on the figure.\n{_HOW}")
        self.tool.currentTextChanged.connect(self._on_tool)
        boxes = (self.scope, self.style_box, self.projection, self.half_width, self.tool)
        for box in boxes:
            side.addWidget(box)
        side.addStretch()
        for i in range(side.count()):
            item = side.itemAt(i)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.setFixedWidth(_SIDE)
        return side

    # ----------------------------------------------------------------- slots
    def showEvent(self, event: Any) -> None:
        """Draw what has come meanwhile."""
        super().showEvent(event)
        self.study.look(True)

    def hideEvent(self, event: Any) -> None:
        """Nobody looks."""
        super().hideEvent(event)
        self.study.look(False)

    def _on_poles(self, text: str) -> None:
        self.study.change(poles=text.strip())

    def _on_tool(self, tool: str) -> None:
        self.plot.tool = "lasso" if tool == "lasso" else "circle"

    def _on_region(self, region: Region | None) -> None:
        self.study.select(region)

    def refresh_choices(self) -> None:
        """Offer the poles of the phase that is drawn."""
        if self.study.kind != "pole figure":
            return
        choices = self.study.choices()
        if choices == tuple(self.poles.itemText(i) for i in range(self.poles.count())):
            return
        self.poles.clear()
        self.poles.addItems(choices)
        if self.study.settings.poles and choices:
            self.study.change(poles="")

    def _on_measured(self, *_: object) -> None:
        self.refresh_choices()
        self.plot.show_region(None)

    def _on_selected(self, *_: object) -> None:
        if self.study.region is None:
            self.plot.show_region(None)

    def _on_drawn(self, picture: PolePicture | None) -> None:
        self.refresh_choices()
        message = "" if self.study.study.run is not None else "Measure the grains first"
        self.plot.show_picture(picture, message)
        self.plot.show_region(self.study.region)
        if picture is not None and self.study.kind == "pole figure":
            self.poles.setCurrentText(picture.settings.poles or self.poles.itemText(0))
        self.title.setText("" if picture is None else picture.title)
        self.plot.setToolTip(self._tip if picture is None else f"{picture.told}\n{self._tip}")

    def _on_failed(self, line: str) -> None:
        self.refresh_choices()
        self.plot.show_picture(None, line)
        self.title.setText("")

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
