"""The layers of the session's map, whichever kind it is: made one by one, updated in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.small_map_layers import EDITED_LAYER, SmallMapLayers
from napari_diffmap.viewer.views import show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffmap.maps import PhaseMap

#: Which pixels the next correction is for, or an offer.
MARK_LAYER = "to be corrected"
MARK_COLOR = "#FFFFFF"


class MapStack(SmallMapLayers):
    """Layers of one kind of map; while the session's map is of another kind there are none.

    Layers are told by name and metadata; one that the user deleted is made
    again when it is chosen, and with the next map.
    """

    #: The pictures of a new map are all shown.
    shown = Signal()
    #: The picture that is shown first.
    first: str

    def __init__(
        self, session: Session, viewer: ViewerModel, runner: Runner, order: Sequence[str]
    ) -> None:
        super().__init__(session, viewer, order)
        self.runner = runner
        #: Whether the answer is shown as it was, without the corrections.
        self.shows_answer = False
        self._pictures: Any = None
        session.map_changed.connect(self._on_map)
        session.scan_changed.connect(self.clear)

    # ------------------------------------------------------ what a kind says
    @property
    def bases(self) -> tuple[str, ...]:
        """Pictures of which one is shown at a time, in the order of the form."""
        raise NotImplementedError

    def fits(self, found: PhaseMap) -> bool:
        """Whether a map is of the kind that is shown here."""
        raise NotImplementedError

    def drawn(self, part: Any) -> dict[str, Callable[[], NDArray[Any]]]:
        """What the layers hold of a map of one row, by name, ``(n, …)`` values."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw anew, beside the window, what is not made of single pixels."""

    def _paint(self, found: Any) -> Callable[[], Any]:
        """What makes the pictures of a map, in a thread."""
        raise NotImplementedError

    def _makers(self, pictures: Any) -> dict[str, Callable[[], None]]:
        """What makes or updates each layer, by its name; what is seen first comes first."""
        raise NotImplementedError

    # ------------------------------------------------------------- lifetime
    def clear(self, *_: object) -> None:
        """Remove the layers of the map, one by one: each costs napari a tenth of a second."""
        layers = list(self._layers.values())
        self._forget()
        self._layers.clear()
        for layer in layers:
            show_layer(layer, False)
        self._leaving += layers
        self.runner.one_by_one([partial(self._remove, layer) for layer in layers])

    def _forget(self) -> None:
        self._pictures = None

    def _on_map(self, found: PhaseMap | None) -> None:
        if self._viewer() is None:
            return
        self.shows_answer = False
        if found is None or not self.fits(found):
            self.clear()
            return
        self._draw(found)

    def _draw(self, found: Any) -> None:
        """Make the pictures of the map, or of the answer, beside the window and show them."""
        paint = self._paint(found)

        def done(pictures: Any) -> None:
            if self._shown() is found and self._viewer() is not None:
                self.show(pictures)

        self.runner.latest("map pictures", lambda _token: paint(), done)

    def _shown(self) -> Any:
        found = self.session.answer if self.shows_answer else self.session.map
        return found if found is not None and self.fits(found) else None

    # --------------------------------------------------------- corrections
    def show_answer(self, on: bool) -> None:
        """Show the answer as it was found, or with its corrections again."""
        if on == self.shows_answer:
            return
        self.shows_answer = on
        found = self._shown()
        if found is not None:
            self._draw(found)

    def put(
        self, name: str, where: tuple[NDArray[np.int64], NDArray[np.int64]], values: NDArray[Any]
    ) -> None:
        """Change some pixels ``(y, x)`` of a layer in place; nothing where it is not shown."""
        layer = self._layers.get(name)
        if layer is not None and layer.data.shape[:2] == self.session.grid:
            layer.data[where] = values
            layer.refresh(extent=False)

    def show_edited(self, visible: bool) -> None:
        """Open or close the eye of what was corrected."""
        found, layer = self.session.map, self._layers.get(EDITED_LAYER)
        mine = found is not None and self.fits(found)
        if visible and mine and (layer is None or layer.data.shape != found.shape):
            self._show_edited(found)
            layer = self._layers.get(EDITED_LAYER)
        if layer is not None:
            show_layer(layer, visible)

    def mark(self, mask: NDArray[np.bool_] | None) -> None:
        """Outline some pixels ``(Y, X)``, above everything else; None: none."""
        layer = self._layers.get(MARK_LAYER)
        if mask is None:
            if layer is not None:
                show_layer(layer, False)
            return
        if layer is None or layer.data.shape != mask.shape:
            names = {"index": [0, 1], "pixels": ["", MARK_LAYER]}
            self._labels(MARK_LAYER, mask.astype(np.uint8), {1: MARK_COLOR}, names, opacity=0.6)
        else:
            np.copyto(layer.data, mask)
            layer.refresh(extent=False)
        show_layer(self._layers[MARK_LAYER], True)

    # --------------------------------------------------------------- result
    def show(self, pictures: Any) -> None:
        """Show a whole map; the eyes of layers that exist already stay as they are.

        Each new layer costs napari a tenth of a second, so they come one by one.
        """
        self._pictures = pictures
        makers = self._makers(pictures)
        # What this map does not tell, e.g. a number of crystals, is not left from the last one.
        kept = {*makers, MARK_LAYER}
        old = [self._layers.pop(name) for name in list(self._layers) if name not in kept]
        steps = [*(partial(self._remove, layer) for layer in old), *makers.values()]
        steps.append(self._all_shown)
        self.runner.one_by_one([self._unless_gone(pictures.found, step) for step in steps])

    def _ensure(self, name: str) -> Layer | None:
        """A layer of the shown map; made again where the user deleted it."""
        pictures = self._pictures
        if name not in self._layers and pictures is not None and self._viewer() is not None:
            # An imported map may have no such picture.
            self._makers(pictures).get(name, lambda: None)()
        return self._layers.get(name)

    def _unless_gone(self, found: Any, step: Callable[[], None]) -> Callable[[], None]:
        """Another scan, map or run may have come between two steps."""

        def act() -> None:
            shown = self._pictures
            if shown is not None and shown.found is found and self._viewer() is not None:
                step()

        return act

    def _all_shown(self) -> None:
        viewer = self._viewer()
        first = self._layers.get(self.first)
        if viewer is not None and first is not None and viewer.layers.selection.active != first:
            viewer.layers.selection.active = first
        self.shown.emit()

    # --------------------------------------------------------------- eyes
    def show_base(self, base: str | None) -> None:
        """Show one of `bases` and hide the others; None hides all."""
        for name in self.bases:
            layer = self._ensure(name) if name == base else self._layers.get(name)
            if layer is not None:
                show_layer(layer, name == base)
        viewer = self._viewer()
        layer = self._layers.get(base) if base else None
        if viewer is not None and layer is not None and viewer.layers.selection.active != layer:
            viewer.layers.selection.active = layer

    def show_overlay(self, overlay: str, visible: bool) -> None:
        """Open or close the eyes of layers that lie over the picture."""
        for name in self._overlay(overlay):
            layer = self._ensure(name) if visible else self._layers.get(name)
            if layer is not None:
                show_layer(layer, visible)

    def _overlay(self, overlay: str) -> Sequence[str]:
        """Names of the layers of an overlay."""
        raise NotImplementedError
