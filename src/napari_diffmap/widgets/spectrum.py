"""The second canvas of a stack: spectra of positions, regions and labels, or traces over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.viewer.spectral_curves import IMAGES, Look
from napari_diffmap.widgets.align_bar import AlignBar
from napari_diffmap.widgets.parts import Links, one_line_label
from napari_diffmap.widgets.spectrum_bar import SpectrumBar
from napari_diffmap.widgets.spectrum_legend import SpectrumLegend
from napari_diffmap.widgets.spectrum_plot import SpectrumPlot

if TYPE_CHECKING:
    from napari_diffmap.viewer.desk import Desk

_WORDS = {"energy": "Energy", "time": "Time", "angle": "Angle"}
_PLOT_TIPS = {
    "energy": "Click or drag: show the image at this energy, time or angle",
    "window": "Drag beside the window to draw it anew, inside to move it, at a rim to change it",
    "difference": (
        "Drag inside a window to move it, at a rim to change it; beside them the nearer one is"
        " drawn anew. The sample shows the mean of A less the mean of B"
    ),
}


class SpectrumView(QWidget):
    """Spectra over energy, with what is shown of the stack on the sample.

    Click or drag in the plot, or the slider below it, chooses the plane.

    Parameters
    ----------
    desk
        Of the window.

    Signals
    -------
    plane_asked(index)
        The user pointed at a plane.
    """

    plane_asked = Signal(int)

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.session = desk.session
        self.spectral = desk.spectral
        self.plot = SpectrumPlot()
        self.canvas, self.axes = self.plot.canvas, self.plot.axes
        self.bar = SpectrumBar(desk)
        self.legend = SpectrumLegend(self.spectral)
        self.aligning = AlignBar(self.spectral.aligning)
        self.aligning.hide()
        self._scale: tuple[object, ...] = ()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.bar)
        middle = QHBoxLayout()
        middle.setSpacing(4)
        middle.addWidget(self.canvas, 1)
        middle.addWidget(self.legend)
        layout.addLayout(middle, 1)
        layout.addWidget(self.aligning)
        layout.addLayout(self._make_planes())
        layout.addWidget(self.shown)
        layout.addWidget(self.bar.incident.state)
        self._connect()
        self.reset()

    def _make_planes(self) -> QHBoxLayout:
        self.image = QComboBox()
        self.image.addItems(list(IMAGES.values()))
        self.image.setToolTip(
            "What the sample shows: one energy, the mean of an energy window, or of one window"
            " less that of another"
        )
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip("Plane of the stack shown on the sample")
        self.sum = QCheckBox("mean of all")
        self.sum.setToolTip("Show the mean of all planes on the sample")
        self.label = QLabel()
        self.shown = one_line_label("What the sample shows, energies in eV")
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.image)
        row.addWidget(self.slider, 1)
        row.addWidget(self.label)
        row.addWidget(self.sum)
        return row

    def _connect(self) -> None:
        spectral = self.spectral
        images = list(IMAGES)
        self.plot.pointed.connect(self._on_pointed)
        self.plot.window_moved.connect(self._on_window)
        self.plot.edge_moved.connect(lambda low, high: spectral.change_look(edge=(low, high)))
        self.image.activated.connect(lambda i: spectral.change_look(image=images[i]))
        self.slider.valueChanged.connect(self._ask)
        self.sum.toggled.connect(self._on_sum)
        self.bar.align.toggled.connect(self._on_align)
        self._links = Links(
            self,
            [
                (self.session.scan_changed, self.reset),
                (self.session.plane_changed, self._on_plane),
                (spectral.spectrum_changed, self.draw),
                (spectral.look_changed, self._on_look),
                (spectral.incidence.known, self._say),
                (spectral.aligning.preview_changed, self._say),
            ],
        )

    def disconnect_session(self) -> None:
        """Stop listening; called when the dock goes."""
        self._links.end()
        for part in (self.bar, self.legend, self.aligning):
            part.end()

    # --------------------------------------------------------------- state
    @property
    def coordinates(self) -> NDArray[np.float64]:
        """Energies or times of the planes."""
        return self.spectral.energies

    @property
    def values(self) -> NDArray[np.float64]:
        """What is plotted of the spectrum under the mouse."""
        current = self.spectral.current
        return np.zeros(0) if current is None else self.spectral.shown(current)

    def reset(self) -> None:
        """Another scan."""
        stack = self.session.stack
        if stack is None:
            return
        axis = stack.axes[0].canonical()
        x = self.coordinates
        self.plot.show_range(float(x.min()), float(x.max()))
        for widget in (self.bar, self.image, self.shown, self.bar.incident.state):
            widget.setVisible(self.spectral.active)
        self.bar.align.setChecked(False)
        self.slider.blockSignals(True)
        self.slider.setRange(0, axis.size - 1)
        self.slider.blockSignals(False)
        self._on_plane(self.session.plane)
        self._on_look(self.spectral.look)
        self.draw()

    def draw(self) -> None:
        """Draw the spectra as they are now."""
        stack = self.session.stack
        if stack is None:
            return
        now, held, known = self.spectral.curves()
        self._name_axes()
        self.plot.show_curves(now[0] if now else None, [*known, *held])
        self._say()

    def _name_axes(self) -> None:
        stack, look, current = self.session.stack, self.spectral.look, self.spectral.current
        scale = (look.quantity, look.normalisation, stack)
        if scale != self._scale:
            self._scale = scale
            self.plot.scale_anew()
        assert stack is not None
        axis = stack.axes[0].canonical()
        unit = f" ({axis.unit})" if axis.unit != "pixel" else " (index)"
        what = "Intensity"
        if self.spectral.active:
            what = "Counts" if look.quantity == "counts" else "OD"
            if look.quantity == "OD" and look.normalisation != "none":
                what = {
                    "pre-edge": "OD − pre-edge",
                    "area": "OD / area",
                    "post-edge": "OD / post-edge",
                }[look.normalisation]
        of = "position"
        if current is not None and current.mask is not None:
            of = "region" if self.session.region is not None else "label"
        self.plot.name_axes(_WORDS.get(axis.name, axis.name) + unit, f"{what} ({of})")

    def _on_look(self, look: Look) -> None:
        if self.session.stack is None:
            return
        used = look.quantity == "OD" and look.normalisation != "none"
        self.plot.show_edge(look.edge if used else None)
        spans = {"energy": (), "window": look.spans[:1], "difference": look.spans}[look.image]
        self.plot.show_windows(spans)
        self.canvas.setToolTip(_PLOT_TIPS[look.image])
        self.image.setCurrentText(IMAGES[look.image])
        one = look.image == "energy"
        for widget in (self.slider, self.label, self.sum):
            widget.setEnabled(one)
        self._mark(self.session.plane)
        self._say()

    def _on_plane(self, plane: int | None) -> None:
        stack = self.session.stack
        if stack is None:
            return
        for widget in (self.slider, self.sum):
            widget.blockSignals(True)
        self.sum.setChecked(plane is None)
        if plane is not None:
            self.slider.setValue(plane)
        for widget in (self.slider, self.sum):
            widget.blockSignals(False)
        axis = stack.axes[0].canonical()
        unit = "" if axis.unit == "pixel" else f" {axis.unit}"
        self.label.setText("" if plane is None else f"{plane}: {self.coordinates[plane]:.6g}{unit}")
        self._mark(plane)
        self._say()

    def _mark(self, plane: int | None) -> None:
        one = plane is not None and self.spectral.look.image == "energy"
        self.plot.show_plane(float(self.coordinates[plane]) if one and plane is not None else None)

    def _say(self, *_: object) -> None:
        if self.spectral.active:
            lines = (self.spectral.picture_line(), self.spectral.spectrum_line())
            text = " · ⚠ ".join(line for line in lines if line)
            if text != self.shown.full_text():
                self.shown.setText(text)

    # --------------------------------------------------------------- input
    def _on_sum(self, on: bool) -> None:
        self.session.set_plane(None if on else self.slider.value())

    def _ask(self, plane: int) -> None:
        self.plane_asked.emit(plane)
        self.session.set_plane(plane)

    def _on_pointed(self, energy: float) -> None:
        if len(self.coordinates):
            self._ask(int(np.argmin(np.abs(self.coordinates - energy))))

    def _on_window(self, i: int, low: float, high: float) -> None:
        spans = list(self.spectral.look.spans)
        spans[i] = (low, high)
        self.spectral.change_look(spans=tuple(spans))

    def _on_align(self, on: bool) -> None:
        self.aligning.setVisible(on)
        if not on:
            self.spectral.aligning.show("off")
