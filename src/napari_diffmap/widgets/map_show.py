"""The row of the Map dock that says what of the map is shown."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QWidget

from napari_diffmap.viewer.map_layers import BASES, MapLayers
from napari_diffmap.widgets.parts import Links


class MapShow(QWidget):
    """Picture, boundaries and their angles, zones of doubt.

    Parameters
    ----------
    maps
        The layers.
    """

    def __init__(self, maps: MapLayers) -> None:
        super().__init__()
        self.maps = maps
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.base = QComboBox()
        self.base.addItems([*BASES, "none"])
        self.base.setCurrentText("IPF-Z")
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
        for widget in (self.base, self.boundaries, QLabel("low"), self.low):
            row.addWidget(widget)
        for widget in (QLabel("high"), self.high, self.ambiguity):
            row.addWidget(widget)
        row.addStretch()
        self._links = Links(self, [(maps.shown, self._on_shown)])

    def _on_shown(self) -> None:
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
        self.maps.set_thresholds(self.low.value(), self.high.value())

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
