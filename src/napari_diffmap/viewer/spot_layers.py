"""Measured and simulated spots on the pattern: told apart by shape as well as by colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Points

#: Okabe–Ito orange and a cyan that differ for every reader, and differ in shape besides.
SIMULATED_COLOR = "#E69F00"
MEASURED_COLOR = "#00FFFF"
#: Symbols of measured spots and of those that nothing explains, of simulated ones and
#: of those that are not in the pattern.
MEASURED, UNEXPLAINED = "disc", "square"
SIMULATED, ABSENT = "x", "triangle_down"

#: Simulated spots that get their Miller indices.
_LABELLED = 16
#: Line of a measured ring, as a share of its diameter.
_RING = 0.12


class SpotLayers:
    """Two Points layers of a pattern canvas.

    Attributes
    ----------
    visible, indices
        Whether the layers are shown, and hkl written at the simulated spots.
    measured, simulated
        The layers; None without a pattern.
    """

    def __init__(self) -> None:
        self.visible, self.indices = True, False
        self.measured: Points | None = None
        self.simulated: Points | None = None
        self._hkl: list[str] = []
        self._written = False

    def prepare(self, model: ViewerModel) -> list[Callable[[], None]]:
        """Steps that make the layers that are not there yet, empty, on a pattern canvas."""

        def make_measured() -> None:
            if self.measured is not None:
                return
            self.measured = points(model, "measured spots", MEASURED, MEASURED_COLOR, (2, 1e4))
            # A ring: the spot inside it stays visible.
            self.measured.current_face_color = "transparent"
            self.measured.current_border_width = _RING
            self.measured.visible = self.visible

        def make_simulated() -> None:
            if self.simulated is not None:
                return
            self.simulated = points(model, "simulated spots", SIMULATED, SIMULATED_COLOR, (2, 1e4))
            self.simulated.visible = self.visible

        return [make_measured, make_simulated]

    def fit(self, size: float) -> None:
        """Fit the symbols to patterns whose edge is `size` times 128 pixels."""
        for layer, diameter in ((self.measured, 6.0), (self.simulated, 4.5)):
            if layer is not None:
                layer.current_size = diameter * size

    def show(self, visible: bool, *, indices: bool = False) -> None:
        """Open or close the eyes of both layers; write hkl at the simulated spots."""
        self.visible, self.indices = visible, indices
        if self.measured is None or self.simulated is None:
            return
        self.measured.visible = visible
        self.simulated.visible = visible
        self._write(self.simulated)

    def _write(self, layer: Points) -> None:
        if self.indices and self._hkl and len(layer.data):
            layer.features = {"hkl": self._hkl}
            layer.text = {
                "string": "{hkl}",
                "size": 8,
                "color": SIMULATED_COLOR,
                "anchor": "upper_left",
            }
            self._written = True
        else:
            self._wipe(layer)

    def _wipe(self, layer: Points) -> None:
        if self._written:
            layer.text = None
        self._written = False

    def set(
        self,
        measured: NDArray[np.floating] | None,
        simulated: NDArray[np.floating] | None,
        labels: list[str] | None = None,
        *,
        unexplained: NDArray[np.bool_] | None = None,
        absent: NDArray[np.bool_] | None = None,
    ) -> None:
        """Draw spots at ``(n, 2)`` detector pixels; None clears.

        Measured spots are rings, those that no answer explains squares; simulated
        ones are crosses, those that were not measured triangles.
        """
        self.set_measured(measured, unexplained)
        self.set_simulated(simulated, labels, absent)

    def set_measured(
        self, spots: NDArray[np.floating] | None, unexplained: NDArray[np.bool_] | None = None
    ) -> None:
        """Draw the measured spots alone."""
        if self.measured is not None and _give(self.measured, spots):
            _mark(self.measured, MEASURED, UNEXPLAINED, unexplained)

    def set_simulated(
        self,
        spots: NDArray[np.floating] | None,
        labels: list[str] | None = None,
        absent: NDArray[np.bool_] | None = None,
    ) -> None:
        """Draw the simulated spots alone."""
        layer = self.simulated
        # The strongest come first; more words than these cover the pattern.
        self._hkl = [text if i < _LABELLED else "" for i, text in enumerate(labels or [])]
        if layer is None:
            return
        self._wipe(layer)
        if _give(layer, spots):
            _mark(layer, SIMULATED, ABSENT, absent)
            self._write(layer)


def _give(layer: Points, spots: NDArray[np.floating] | None) -> bool:
    """Give a layer its spots; whether there is anything to draw."""
    data = np.zeros((0, 2)) if spots is None else np.asarray(spots, dtype=float)
    if len(data) or len(layer.data):  # napari would draw no spots anew
        layer.data = data
    return bool(len(data))


def points(
    model: ViewerModel, name: str, symbol: str, color: str, limits: tuple[float, float]
) -> Points:
    """An empty layer of symbols between so many screen pixels in size."""
    return model.add_points(
        np.zeros((0, 2)),
        name=name,
        symbol=symbol,
        face_color=color,
        border_color=color,
        border_width=0,
        canvas_size_limits=limits,
    )


def _mark(layer: Points, plain: str, other: str, which: NDArray[np.bool_] | None) -> None:
    """Give some points of a layer another symbol: what is told differs in shape."""
    flags = np.zeros(len(layer.data), dtype=bool) if which is None else which
    layer.symbol = np.where(flags, other, plain)
    if other == ABSENT:
        # Open triangles: the place where nothing is stays visible.
        layer.face_color = ["transparent" if flag else SIMULATED_COLOR for flag in flags]
        layer.border_width = np.where(flags, _RING, 0.0)
