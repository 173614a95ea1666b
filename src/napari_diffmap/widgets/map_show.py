"""The row of the Map dock that says what of the map is shown."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QWidget

from napari_diffmap.viewer.map_stack import MapStack
from napari_diffmap.viewer.shown_map import ShownMap
from napari_diffmap.widgets.parts import Links


class MapShow(QWidget):
    """Picture, boundaries and their angles, zones of doubt.

    Parameters
    ----------
    maps
        The layers.
    """

    def __init__(self, maps: ShownMap) -> None:
        super().__init__()
        self.maps = maps
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.base = QComboBox()
        self._stack: MapStack | None = None
        self._fill()
        self.base.setToolTip(
            "Map shown on the sample; IPF colours tell the crystal direction along X (right),"
            " Y (down) or Z (the beam)"
        )
        # Chosen again too: another dock may show its own picture meanwhile.
        for chosen in (self.base.currentTextChanged, self.base.textActivated):
            chosen.connect(lambda name: maps.show_base(None if name == "none" else name))
        self.boundaries = QCheckBox("boundaries")
        self.boundaries.setChecked(True)
        self.boundaries.setToolTip("Grain boundaries by class; see the Key dock")
        self.boundaries.toggled.connect(lambda on: maps.show_overlay("boundaries", on))
        self.ambiguity = QCheckBox("ambiguity")
        self.ambiguity.setToolTip("Zones where the answer is in doubt, by cause")
        self.ambiguity.toggled.connect(lambda on: maps.show_overlay("ambiguity", on))
        self.low, self.high = (
            _angle("Disorientation up to which there is no boundary, degrees"),
            (_angle("Disorientation above which a boundary is high-angle, degrees")),
        )
        self.low.setValue(maps.low)
        self.high.setValue(maps.high)
        for box in (self.low, self.high):
            box.valueChanged.connect(self._on_thresholds)
        self._of_boundaries = (
            *(self.boundaries, QLabel("low"), self.low, QLabel("high"), self.high),
        )
        for widget in (self.base, *self._of_boundaries, self.ambiguity):
            row.addWidget(widget)
        row.addStretch()
        self._links = Links(self, [(maps.shown, self._on_shown)])
        self._fit()

    def _fill(self) -> None:
        """Offer the pictures of the map that is shown; the chosen one stays where it can."""
        wanted = [*self.maps.bases, "none"]
        chosen = self.base.currentText()
        if self._stack is not self.maps.stack or chosen not in wanted:
            chosen = self.maps.first
        if [self.base.itemText(i) for i in range(self.base.count())] != wanted:
            self.base.blockSignals(True)
            self.base.clear()
            self.base.addItems(wanted)
            self.base.blockSignals(False)
        self.base.blockSignals(True)
        self.base.setCurrentText(chosen)
        self.base.blockSignals(False)
        self._stack = self.maps.stack

    def _fit(self) -> None:
        """Hide what the kind of map that is shown does not have."""
        oriented = self.maps.stack is self.maps.orientations
        for widget in self._of_boundaries:
            widget.setVisible(oriented)
        self.ambiguity.setText("ambiguity" if oriented else "doubt")

    def _on_shown(self) -> None:
        self._fill()
        self._fit()
        self.maps.show_overlay("boundaries", self.boundaries.isChecked())
        self.maps.show_overlay("ambiguity", self.ambiguity.isChecked())
        base = self.base.currentText()
        self.maps.show_base(None if base == "none" else base)

    def _on_thresholds(self, _value: float) -> None:
        if self.low.value() > self.high.value():
            changed = self.sender()
            other = self.high if changed is self.low else self.low
            other.setValue(self.low.value() if changed is self.low else self.high.value())
            return
        self.maps.orientations.set_thresholds(self.low.value(), self.high.value())

    def end(self) -> None:
        """Stop listening."""
        self._links.end()


def _angle(tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.1, 180)
    box.setDecimals(1)
    box.setSuffix("°")
    box.setSingleStep(1)
    box.setToolTip(tip)
    box.setKeyboardTracking(False)
    box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
    box.setFixedWidth(64)
    return box
