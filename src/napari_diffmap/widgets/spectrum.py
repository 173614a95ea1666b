"""The second canvas of a stack: values of a position or region over energy or time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from napari_diffmap.widgets.parts import Links

if TYPE_CHECKING:
    from napari_diffmap.viewer.desk import Desk

_INK, _LINE, _MARK = "#d0d0d0", "#56B4E9", "#E69F00"
_BACK = "#262930"
_WORDS = {"energy": "Energy", "time": "Time", "angle": "Angle"}


class SpectrumView(QWidget):
    """Plot of one trace with a marker on the plane whose image is shown.

    Click or drag in the plot, or the slider below it, chooses the plane.

    Signals
    -------
    plane_asked(index)
        The user pointed at a plane.
    """

    plane_asked = Signal(int)

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        self.desk = desk
        self.session = desk.session
        self.coordinates: NDArray[np.float64] = np.zeros(0)
        self.values: NDArray[np.float64] = np.zeros(0)
        self.figure = Figure(layout="constrained", facecolor=_BACK)
        self.canvas = FigureCanvasQTAgg(self.figure)
        self.canvas.setToolTip("Click or drag: show the image at this energy, time or angle")
        self.canvas.setMinimumHeight(120)
        self.axes = self.figure.add_subplot()
        (self._trace,) = self.axes.plot([], [], color=_LINE, marker=".", markersize=3, lw=1.2)
        self._marker = self.axes.axvline(0, color=_MARK, lw=1.5, ls="--", visible=False)
        self._dress()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip("Plane of the stack shown on the sample")
        self.sum = QCheckBox("mean of all")
        self.sum.setToolTip("Show the mean of all planes on the sample")
        self.label = QLabel()
        row = QHBoxLayout()
        row.addWidget(self.slider, 1)
        row.addWidget(self.label)
        row.addWidget(self.sum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.canvas, 1)
        layout.addLayout(row)
        self._pressed = False
        self.canvas.mpl_connect("button_press_event", self._on_press)
        self.canvas.mpl_connect("motion_notify_event", self._on_move)
        self.canvas.mpl_connect("button_release_event", self._on_release)
        self.slider.valueChanged.connect(self._on_slider)
        self.sum.toggled.connect(self._on_sum)
        self._links = Links(
            self,
            [
                (self.session.scan_changed, self.reset),
                (self.session.position_changed, self.update_trace),
                (self.session.region_changed, self.update_trace),
                (self.session.plane_changed, self._on_plane),
            ],
        )
        self.reset()

    def disconnect_session(self) -> None:
        """Stop listening; called when the dock goes."""
        self._links.end()

    def _dress(self) -> None:
        self.axes.set_facecolor(_BACK)
        for spine in self.axes.spines.values():
            spine.set_color(_INK)
        self.axes.tick_params(colors=_INK, labelsize=8)
        self.axes.xaxis.label.set_color(_INK)
        self.axes.yaxis.label.set_color(_INK)
        self.axes.margins(x=0.01)

    # --------------------------------------------------------------- state
    def reset(self) -> None:
        """Another scan."""
        stack = self.session.stack
        if stack is None:
            return
        axis = stack.axes[0].canonical()
        self.coordinates = axis.coordinates
        unit = f" ({axis.unit})" if axis.unit != "pixel" else " (index)"
        self.axes.set_xlabel(_WORDS.get(axis.name, axis.name) + unit, fontsize=9)
        self.slider.blockSignals(True)
        self.slider.setRange(0, axis.size - 1)
        self.slider.blockSignals(False)
        self._on_plane(self.session.plane)
        self.update_trace()

    def update_trace(self) -> None:
        """Load the trace of the position or region beside the window."""
        data = self.desk.sample.stack
        if data is None:
            return
        mask, (y, x) = self.session.region, self.session.position

        def work(_token: object) -> NDArray[np.float64]:
            return data.trace(y, x) if mask is None else data.mean_trace(mask)

        self.desk.runner.latest("trace", work, self._show)

    def _show(self, values: NDArray[np.float64]) -> None:
        if len(values) != len(self.coordinates):
            return
        self.values = values
        self._trace.set_data(self.coordinates, values)
        self._fit()
        what = "mean of region" if self.session.region is not None else "position"
        self.axes.set_ylabel(f"Intensity, {what}", fontsize=9)
        self.canvas.draw_idle()

    def _fit(self) -> None:
        """Show the whole trace; the marker must not widen the plot."""
        x, y = self.coordinates, self.values[np.isfinite(self.values)]
        if not len(y):
            return
        dx = float(np.ptp(x)) or 1.0
        dy = float(np.ptp(y)) or 1.0
        self.axes.set_xlim(x.min() - 0.02 * dx, x.max() + 0.02 * dx)
        self.axes.set_ylim(y.min() - 0.05 * dy, y.max() + 0.05 * dy)

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
        self._marker.set_visible(plane is not None)
        if plane is not None:
            self._marker.set_xdata([self.coordinates[plane]] * 2)
        self.canvas.draw_idle()

    # --------------------------------------------------------------- input
    def _on_slider(self, value: int) -> None:
        self._ask(value)

    def _on_sum(self, on: bool) -> None:
        self.session.set_plane(None if on else self.slider.value())

    def _ask(self, plane: int) -> None:
        self.plane_asked.emit(plane)
        self.session.set_plane(plane)

    def _on_press(self, event: Any) -> None:
        self._pressed = event.button == 1 and event.inaxes is self.axes
        self._on_move(event)

    def _on_move(self, event: Any) -> None:
        if self._pressed and event.xdata is not None and len(self.coordinates):
            self._ask(int(np.argmin(np.abs(self.coordinates - event.xdata))))

    def _on_release(self, _event: Any) -> None:
        self._pressed = False
