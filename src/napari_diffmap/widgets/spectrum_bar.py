"""What is plotted of a stack: quantity, I0, normalisation, held spectra, masks."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.spectral_curves import NORMALISATIONS, QUANTITIES, Look
from napari_diffmap.widgets.incident_row import IncidentRow
from napari_diffmap.widgets.parts import Links, tool_button

_EDGE_TIPS = (
    (
        "Energies up to this lie before the edge: a line through them is taken off. eV; drag the"
        " dash-dotted line in the plot as well"
    ),
    (
        "Energies from this on lie behind the edge: post-edge normalisation divides by their mean."
        " eV; drag the dash-dotted line in the plot as well"
    ),
)


class SpectrumBar(QWidget):
    """Two rows of choices above the plot.

    Parameters
    ----------
    desk
        Of the window.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.spectral = desk.spectral
        self.layers = desk.stack_layers
        self.quantity = QComboBox()
        self.quantity.addItems(list(QUANTITIES.values()))
        self.quantity.setToolTip(
            "What spectra and sample image show: counts, or optical density −ln(counts / I0)"
        )
        self.incident = IncidentRow(desk, line=False)
        self.how = QComboBox()
        self.how.addItems(list(NORMALISATIONS))
        self.how.setToolTip(
            "Scale of the plotted spectra: none; pre-edge: a line through the energies before the"
            " edge is taken off; area, post-edge: also divided by the mean over all energies, or"
            " over those behind the edge. Optical density only"
        )
        self.edge = tuple(_energy(tip) for tip in _EDGE_TIPS)
        self.hold = tool_button(
            "Hold", "Keep this spectrum in the plot and mark its place on the sample"
        )
        self.hold.clicked.connect(self.spectral.hold)
        self.labels = QCheckBox("whole label")
        self.labels.setToolTip(
            "Mean spectrum of the label under the position (of the uppermost Labels layer that is"
            " seen) instead of the single pixel"
        )
        self.masks = QCheckBox("masks")
        self.masks.setChecked(self.layers.masks_shown)
        self.masks.setToolTip(
            "Show on the sample: pixels of I0 (crossed lines), saturated pixels (stripes), dark"
            " pixels (dots)"
        )
        self.align = tool_button("Align…", "Lay the frames on each other to fractions of a pixel")
        self.align.setCheckable(True)
        first = self.incident.row
        label = QLabel("Plot")
        label.setToolTip(self.quantity.toolTip())
        first.insertWidget(0, label)
        first.insertWidget(1, self.quantity)
        first.addWidget(self.hold)
        first.addWidget(self.align)
        first.addStretch()
        second = QHBoxLayout()
        second.setSpacing(4)
        self.how.setMinimumWidth(104)
        label = QLabel("Normalise")
        label.setToolTip(self.how.toolTip())
        for widget in (label, self.how, *self.edge, self.labels, self.masks):
            second.addWidget(widget)
        second.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.incident)
        layout.addLayout(second)
        self._connect()
        self.refresh()

    def _connect(self) -> None:
        spectral = self.spectral
        names = list(QUANTITIES)
        self.quantity.activated.connect(lambda i: spectral.change_look(quantity=names[i]))
        self.how.textActivated.connect(self._on_how)
        for box in self.edge:
            box.valueChanged.connect(self._on_edge)
        self.labels.toggled.connect(lambda on: spectral.change_look(whole_labels=on))
        self.masks.toggled.connect(self.layers.set_masks)
        self._links = Links(
            self,
            [(spectral.look_changed, self.refresh), (spectral.spectrum_changed, self._enable)],
        )

    def _on_how(self, how: str) -> None:
        # A normalisation is one of optical density: who asks for it wants to see that.
        more = {} if how == "none" else {"quantity": "OD"}
        self.spectral.change_look(normalisation=how, **more)

    def _on_edge(self, _value: float) -> None:
        low, high = (box.value() for box in self.edge)
        if low > high:
            low = high = self.sender().value()  # type: ignore[union-attr]
        self.spectral.change_look(edge=(low, high))

    def refresh(self, *_: object) -> None:
        """Show what is plotted."""
        look: Look = self.spectral.look
        self.quantity.setCurrentText(QUANTITIES[look.quantity])
        used = look.quantity == "OD" and look.normalisation != "none"
        self.how.setCurrentText(look.normalisation if look.quantity == "OD" else "none")
        energies = self.spectral.energies
        for box, value in zip(self.edge, look.edge, strict=True):
            box.blockSignals(True)
            if len(energies):
                box.setRange(float(energies[0]) - 1e-3, float(energies[-1]) + 1e-3)
            box.setValue(value)
            box.blockSignals(False)
            box.setEnabled(used)
        self.labels.blockSignals(True)
        self.labels.setChecked(look.whole_labels)
        self.labels.blockSignals(False)
        self._enable()

    def _enable(self) -> None:
        self.hold.setEnabled(self.spectral.current is not None)

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
        self.incident.end()


def _energy(tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(2)
    box.setSingleStep(0.5)
    box.setSuffix(" eV")
    box.setToolTip(tip)
    box.setKeyboardTracking(False)
    box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
    box.setFixedWidth(76)
    return box
