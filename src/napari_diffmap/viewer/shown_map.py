"""The layers of whichever kind of map the session holds, behind one face."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.viewer.map_layers import MapLayers
from napari_diffmap.viewer.map_stack import MapStack
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.spectral_layers import SpectralLayers

if TYPE_CHECKING:
    from napari.layers import Layer


class ShownMap:
    """Hands on to the layers of orientation maps or to those of spectral maps.

    Parameters
    ----------
    session
        Whose map it is.
    orientations, spectra
        Layers of either kind.

    Signals
    -------
    shown()
        The pictures of a new map are all shown.
    """

    shown = Signal()

    def __init__(self, session: Session, orientations: MapLayers, spectra: SpectralLayers) -> None:
        self.session = session
        self.orientations = orientations
        self.spectra = spectra
        for stack in (orientations, spectra):
            stack.shown.connect(self.shown.emit)

    @property
    def stack(self) -> MapStack:
        """The layers of the map that there is; those of orientations without one."""
        found = self.session.map
        return self.spectra if found is not None and self.spectra.fits(found) else self.orientations

    # ---------------------------------------------------------- boundaries
    @property
    def low(self) -> float:
        """Disorientation up to which there is no boundary, degrees."""
        return self.orientations.low

    @low.setter
    def low(self, angle: float) -> None:
        self.orientations.low = angle

    @property
    def high(self) -> float:
        """Disorientation above which a boundary is high-angle, degrees."""
        return self.orientations.high

    @high.setter
    def high(self, angle: float) -> None:
        self.orientations.high = angle

    # ------------------------------------------------------------ handed on
    @property
    def bases(self) -> tuple[str, ...]:
        """Pictures of which one is shown at a time."""
        return self.stack.bases

    @property
    def first(self) -> str:
        """The picture that is shown first."""
        return self.stack.first

    @property
    def shows_answer(self) -> bool:
        """Whether the answer is shown as it was, without the corrections."""
        return self.stack.shows_answer

    def layer(self, name: str) -> Layer | None:
        """One of the layers, by name."""
        return self.stack.layer(name)

    def named(self) -> dict[str, Layer]:
        """All layers that there are, by name."""
        return self.stack.named()

    def drawn(self, part: Any) -> dict[str, Callable[[], NDArray[Any]]]:
        """See `MapStack.drawn`."""
        return self.stack.drawn(part)

    def redraw(self) -> None:
        """See `MapStack.redraw`."""
        self.stack.redraw()

    def put(
        self, name: str, where: tuple[NDArray[np.int64], NDArray[np.int64]], values: NDArray[Any]
    ) -> None:
        """See `MapStack.put`."""
        self.stack.put(name, where, values)

    def mark(self, mask: NDArray[np.bool_] | None) -> None:
        """See `MapStack.mark`."""
        self.stack.mark(mask)

    def show_answer(self, on: bool) -> None:
        """See `MapStack.show_answer`."""
        self.stack.show_answer(on)

    def show_edited(self, visible: bool) -> None:
        """See `MapStack.show_edited`."""
        self.stack.show_edited(visible)

    def show_base(self, base: str | None) -> None:
        """See `MapStack.show_base`."""
        self.stack.show_base(base)

    def show_overlay(self, overlay: str, visible: bool) -> None:
        """See `MapStack.show_overlay`."""
        self.stack.show_overlay(overlay, visible)
