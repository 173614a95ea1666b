"""Alignment of a stack: find shifts, look at them, apply or remove."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QWidget

from napari_diffmap.viewer.aligning import PREVIEWS, Aligning
from napari_diffmap.viewer.training_curves import PlotLine
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.curve_plot import CurvePlot
from napari_diffmap.widgets.parts import Links, one_line_label, tool_button

#: How long each picture of the two is seen, ms.
_FLICK_MS = 500
_HEIGHT = 118


class AlignBar(QWidget):
    """Buttons on the left, the shifts over the frames on the right.

    Parameters
    ----------
    aligning
        Of the stack on the desk.
    """

    def __init__(self, aligning: Aligning) -> None:
        super().__init__()
        self.aligning = aligning
        self.setFixedHeight(_HEIGHT)
        self.find = tool_button(
            "Find", "Find the shift of every frame by phase correlation, pixels"
        )
        self.apply = tool_button(
            "Apply", "Look at, and map, the shifted frames; borders without data are left out"
        )
        self.remove = tool_button("Remove", "Go back to the frames as they were measured")
        self.shown = QComboBox()
        self.shown.addItems(list(PREVIEWS.values()))
        self.shown.setToolTip(
            "What the sample shows at this energy (at the mean of all: the frame that moves most),"
            " in counts; a good alignment leaves no bright and dark rims between frames"
        )
        self.state = one_line_label("How far the frames lie apart, pixels")
        self.plot = CurvePlot("shift (pixel) over frames", "Shifts are plotted here")
        left = QGridLayout()
        left.setSpacing(2)
        left.addWidget(self.find, 0, 0)
        left.addWidget(self.apply, 0, 1)
        left.addWidget(self.remove, 0, 2)
        label = QLabel("Sample")
        label.setToolTip(self.shown.toolTip())
        left.addWidget(label, 1, 0)
        left.addWidget(self.shown, 1, 1, 1, 2)
        left.addWidget(self.state, 2, 0, 1, 3)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addLayout(left, 1)
        row.addWidget(self.plot, 1)
        self._timer = QTimer(self)
        self._timer.setInterval(_FLICK_MS)
        self._timer.timeout.connect(aligning.flick)
        self.find.clicked.connect(aligning.find)
        self.apply.clicked.connect(self._on_apply)
        self.remove.clicked.connect(aligning.remove)
        previews = list(PREVIEWS)
        self.shown.activated.connect(lambda i: aligning.show(previews[i]))
        self._links = Links(self, [(aligning.changed, self.refresh)])
        self.refresh()

    def _on_apply(self) -> None:
        try_to(self.aligning.apply)

    def refresh(self) -> None:
        """Show the state."""
        aligning = self.aligning
        found = aligning.found
        self.state.setText(aligning.line())
        self.find.setEnabled(not aligning.busy)
        self.apply.setEnabled(found is not None and not aligning.applied)
        self.remove.setEnabled(aligning.applied)
        self.shown.setEnabled(found is not None)
        self.shown.setCurrentText(PREVIEWS[aligning.preview])
        if aligning.preview == "flicker":
            self._timer.start()
        else:
            self._timer.stop()
        if found is None:
            self.plot.show_lines([])
            return
        frames = tuple(range(len(found.shifts)))
        styles = (("y (rows)", "#56B4E9", ()), ("x (columns)", "#E69F00", (5.0, 3.0)))
        self.plot.show_lines(
            [
                PlotLine(name, color, frames, tuple(map(float, found.shifts[:, i])), dashes)
                for i, (name, color, dashes) in enumerate(styles)
            ]
        )

    def end(self) -> None:
        """Stop listening; nothing is looked at any more."""
        self._timer.stop()
        self._links.end()
