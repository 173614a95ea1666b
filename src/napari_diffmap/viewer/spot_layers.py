"""Measured and simulated spots on the pattern: told apart by shape as well as by colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

    def forget(self) -> None:
        """The canvas was emptied."""
        self.measured = self.simulated = None

    def add(self, model: ViewerModel, size: float, where: dict[str, Any]) -> None:
        """Add both layers, empty.

        Parameters
        ----------
        model
            Of the pattern canvas.
        size
            Edge of the pattern over 128 pixels.
        where
            Scale, offset and units of the detector.
        """
        self.measured = points(
            model, "measured spots", MEASURED, MEASURED_COLOR, 6 * size, where, (2, 1e4)
        )
        # A ring: the spot inside it stays visible.
        self.measured.current_face_color = "transparent"
        self.measured.current_border_width = _RING
        self.simulated = points(
            model, "simulated spots", SIMULATED, SIMULATED_COLOR, 4.5 * size, where, (2, 1e4)
        )
        for layer in (self.measured, self.simulated):
            layer.visible = self.visible

    def show(self, visible: bool, *, indices: bool = False) -> None:
        """Open or close the eyes of both layers; write hkl at the simulated spots."""
        self.visible, self.indices = visible, indices
        if self.measured is None or self.simulated is None:
            return
        self.measured.visible = visible
        self.simulated.visible = visible
        self._write(self.simulated)

    def _write(self, layer: Points) -> None:
        if not self.indices or not len(layer.data):
            layer.text = None
            return
        layer.features = {"hkl": self._hkl}
        layer.text = {
            "string": "{hkl}",
            "size": 8,
            "color": SIMULATED_COLOR,
            "anchor": "upper_left",
        }

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
        if self.measured is None or self.simulated is None:
            return
        there = len(self.measured.data) or len(self.simulated.data)
        if measured is None and simulated is None and not there:
            return  # napari would draw no spots anew
        none = np.zeros((0, 2))
        self.measured.data = none if measured is None else np.asarray(measured, dtype=float)
        self.simulated.text = None
        self.simulated.data = none if simulated is None else np.asarray(simulated, dtype=float)
        _mark(self.measured, MEASURED, UNEXPLAINED, unexplained)
        _mark(self.simulated, SIMULATED, ABSENT, absent)
        # The strongest come first; more words than these cover the pattern.
        self._hkl = [text if i < _LABELLED else "" for i, text in enumerate(labels or [])]
        if self._hkl:
            self._write(self.simulated)


def points(
    model: ViewerModel,
    name: str,
    symbol: str,
    color: str,
    size: float,
    where: dict[str, Any],
    limits: tuple[float, float],
) -> Points:
    """An empty layer of symbols between so many screen pixels in size."""
    return model.add_points(
        np.zeros((0, 2)),
        name=name,
        symbol=symbol,
        face_color=color,
        border_color=color,
        border_width=0,
        size=size,
        canvas_size_limits=limits,
        **where,
    )


def _mark(layer: Points, plain: str, other: str, which: NDArray[np.bool_] | None) -> None:
    """Give some points of a layer another symbol: what is told differs in shape."""
    if not len(layer.data):
        return
    flags = np.zeros(len(layer.data), dtype=bool) if which is None else which
    layer.symbol = np.where(flags, other, plain)
    if other == ABSENT:
        # Open triangles: the place where nothing is stays visible.
        layer.face_color = ["transparent" if flag else SIMULATED_COLOR for flag in flags]
        layer.border_width = np.where(flags, _RING, 0.0)
