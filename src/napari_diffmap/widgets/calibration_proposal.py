"""What a fit of the calibration proposes: words, residual map, rings; apply or dismiss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from napari_diffmap.viewer.ring_layers import RingLayers
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.parameter_form import ParameterForm
from napari_diffmap.widgets.parts import Links, plain_label, scrolling, tool_button

if TYPE_CHECKING:
    from napari_diffmap.methods.calibration import CalibrationParameters
    from napari_diffmap.scan.descan import DescanFit
    from napari_diffmap.viewer.calibrating import Calibrating
    from napari_diffmap.viewer.pattern_layers import PatternLayers

#: Largest side of the residual map on the screen, pixels.
_MAP_SIDE = 84
_HINT = "Press Fit: what was found and what it leaves is shown here before it is used."


class CalibrationProposal(QWidget):
    """The lower half of the Calibrate dock.

    Parameters
    ----------
    fits
        Runs the fits and holds the proposal.
    pattern
        Where rings are drawn.
    """

    def __init__(self, fits: Calibrating, pattern: PatternLayers) -> None:
        super().__init__()
        self.fits = fits
        self.rings = RingLayers(pattern)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.stack = QStackedWidget()
        self.stack.addWidget(self._make_words())
        self.stack.addWidget(self._make_form())
        layout.addWidget(self.stack, 1)
        layout.addLayout(self._make_buttons())
        self._links = Links(self, [(fits.changed, self.refresh)])
        self.refresh()

    # ------------------------------------------------------------ building
    def _make_words(self) -> QWidget:
        page = QWidget()
        row = QHBoxLayout(page)
        row.setContentsMargins(0, 0, 0, 0)
        self.words = plain_label("")
        self.words.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        area = scrolling(self.words)
        row.addWidget(area, 1)
        self.map = QLabel()
        self.map.setToolTip(
            "Distance of each pattern's beam from the fitted walk: black is none, white three"
            " times the RMS or more"
        )
        row.addWidget(self.map)
        return page

    def _make_form(self) -> QWidget:
        from napari_diffmap.methods.calibration.parameters import (
            GIVEN_ELSEWHERE,
            CalibrationParameters,
        )

        self.form = ParameterForm(CalibrationParameters, skip=GIVEN_ELSEWHERE)
        return scrolling(self.form)

    def _make_buttons(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(2)
        self.apply_button = tool_button("Apply", "Use what was found")
        self.apply_button.clicked.connect(self.apply)
        self.dismiss_button = tool_button("Dismiss", "Forget what was found; nothing changes")
        self.dismiss_button.clicked.connect(self.dismiss)
        self.settings_button = tool_button("Settings", "How the fits are done")
        self.settings_button.setCheckable(True)
        self.settings_button.toggled.connect(lambda on: self.stack.setCurrentIndex(int(on)))
        for button in (self.apply_button, self.dismiss_button, self.settings_button):
            button.setMinimumWidth(84)
            column.addWidget(button)
        column.addStretch()
        return column

    def parameters(self) -> CalibrationParameters:
        """The settings of the fits.

        Raises
        ------
        BadInputError
            If they do not fit together.
        """
        found: Any = self.form.parameters()
        return found  # type: ignore[no-any-return]

    # --------------------------------------------------------------- state
    def refresh(self) -> None:
        """Show how far the fit is, or what it found."""
        running = bool(self.fits.running)
        if running:
            self.settings_button.setChecked(False)
            self.words.setText(f"Fitting: {self.fits.doing} …")
        else:
            self.words.setText("\n".join(self.fits.lines()) or _HINT)
        self.words.setToolTip(self.words.text())
        self.apply_button.setEnabled(self.fits.can_apply)
        self.dismiss_button.setText("Stop" if running else "Dismiss")
        self.dismiss_button.setEnabled(running or self.fits.proposal is not None)
        proposal = self.fits.proposal
        if proposal is not None:
            self.settings_button.setChecked(False)
        center = proposal is not None and any(p.part == "center" for p in proposal.parts)
        self.map.setVisible(center and proposal is not None and proposal.descan is not None)
        if center and proposal is not None and proposal.descan is not None:
            self.map.setPixmap(residual_pixmap(proposal.descan))
        self.rings.show(self.fits.preview())

    def apply(self) -> None:
        """Use the proposal."""
        try_to(self.fits.apply)

    def dismiss(self) -> None:
        """Stop a fit, or forget its result."""
        if self.fits.running:
            self.fits.stop()
        else:
            self.fits.dismiss()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
        self.rings.show(None)


def residual_pixmap(fit: DescanFit) -> QPixmap:
    """The residuals of the sampled positions as a small picture, black 0, white 3 RMS."""
    rows, columns = (np.unique(fit.places[:, i], return_inverse=True) for i in (0, 1))
    distance = np.full((len(rows[0]), len(columns[0])), np.nan)
    distance[rows[1], columns[1]] = np.linalg.norm(fit.residuals, axis=1)
    grey = np.nan_to_num(distance / max(3 * fit.rms, 1e-6), nan=1.0)
    return _pixmap(np.clip(grey * 255, 0, 255).astype(np.uint8))


def _pixmap(grey: NDArray[np.uint8]) -> QPixmap:
    grey = np.ascontiguousarray(grey)
    height, width = grey.shape
    image = QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
    tall, wide = (max(12, _MAP_SIDE * n // max(grey.shape)) for n in (height, width))
    return QPixmap.fromImage(image.copy()).scaled(wide, tall)
