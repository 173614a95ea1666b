"""What is marked on the sample of an STXM stack: held spectra, pixels of I0, pixels not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.viewer.layer_stack import LayerStack
from napari_diffmap.viewer.spectral import Spectral
from napari_diffmap.viewer.views import place_layer, show_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffmap.methods.spectra.density import Density
    from napari_diffmap.viewer.held_spectra import Held

EMPTY_LAYER = "I0 pixels"
UNREAD_LAYER = "saturated (stripes), dark (dots)"
OUTLINE_LAYER = "held regions"
HELD_LAYER = "held spectra"
EMPTY_COLOR, SATURATED_COLOR, DARK_COLOR = (86, 180, 233), (213, 94, 0), (240, 228, 66)
#: Pixels of I0 are most of many images: what lies over them is to be seen.
_OPACITY = {EMPTY_LAYER: 0.45}
#: Opacity of a mask between and on the lines of its hatching, of 255.
_FAINT, _STRONG = 70, 215
#: Symbols of napari for the markers of the plot.
_SYMBOLS = {
    "s": "square",
    "^": "triangle_up",
    "D": "diamond",
    "v": "triangle_down",
    "P": "cross",
    "X": "x",
}


class StackLayers(LayerStack):
    """Layers of masks and marks over the image of a stack, updated in place.

    Parameters
    ----------
    spectral
        What is looked at.
    viewer
        The main viewer.
    """

    def __init__(self, spectral: Spectral, viewer: ViewerModel) -> None:
        order = (EMPTY_LAYER, UNREAD_LAYER, OUTLINE_LAYER, HELD_LAYER)
        super().__init__(spectral.session, viewer, order)
        self.spectral = spectral
        self.masks_shown = True
        spectral.label_at = self.label_at
        spectral.incidence.known.connect(self.show_masks)
        spectral.held.changed.connect(self._on_held)
        self.session.scan_changed.connect(self.clear)

    def clear(self, *_: object) -> None:
        """Take all of them out: another scan."""
        layers = list(self._layers.values())
        self._layers.clear()
        for layer in layers:
            self._remove(layer)

    # --------------------------------------------------------------- masks
    def set_masks(self, on: bool) -> None:
        """Show the pixels of I0 and those that are not read, or hide them."""
        self.masks_shown = on
        self.show_masks()

    def show_masks(self) -> None:
        """Draw the masks that follow from I0."""
        found = self.spectral.incidence.absorption
        empty = None if found is None else found.empty
        pictures = {
            EMPTY_LAYER: None
            if empty is None
            else painted([(empty, EMPTY_COLOR, hatched(empty.shape, "crosses"))]),
            UNREAD_LAYER: None if found is None else unread(found.density),
        }
        for name, picture in pictures.items():
            self._picture(name, picture if self.masks_shown else None)

    def _picture(self, name: str, picture: NDArray[np.uint8] | None) -> None:
        viewer, layer = self._viewer(), self._layers.get(name)
        if viewer is None:
            return
        if picture is None or not picture[..., 3].any():
            if layer is not None:
                show_layer(layer, False)
            return
        if layer is None:
            active = viewer.layers.selection.active
            self._image(name, picture, rgb=True, opacity=_OPACITY.get(name, 1.0))
            if active is not None and active in viewer.layers:
                viewer.layers.selection.active = active
            return
        layer.data = picture
        show_layer(layer, True)

    # ---------------------------------------------------------------- held
    def _on_held(self) -> None:
        if self._viewer() is None or self.session.scan is None:
            return
        items = self.spectral.held.items
        if not items and HELD_LAYER not in self._layers:
            return
        self._marks(items)
        outlines = [
            (outline(item.spectrum.mask), _rgb(item.color), None)
            for item in items
            if item.spectrum.mask is not None
        ]
        self._picture(OUTLINE_LAYER, painted(outlines) if outlines else None)

    def _marks(self, items: tuple[Held, ...]) -> None:
        places = np.array([item.spectrum.position for item in items], dtype=np.float32)
        layer = self._layers.get(HELD_LAYER)
        size = max(self.session.grid) / 40
        if layer is not None and len(layer.data) != len(items):
            # napari keeps the symbols of the first marks when others are taken out.
            self._layers.pop(HELD_LAYER)
            self._remove(layer)
            layer = None
        if not items:
            return
        self._points(
            HELD_LAYER,
            places.reshape(-1, 2),
            [_SYMBOLS[item.marker] for item in items],
            [item.color for item in items],
            {"number": [str(item.key) for item in items]},
            size,
            text={
                "string": "{number}",
                "color": "white",
                "size": 11,
                "translation": (-1.1 * size, 1.1 * size),
            },
        )
        place_layer(self._layers[HELD_LAYER], self._place())

    # --------------------------------------------------------------- labels
    def label_at(self, y: int, x: int) -> tuple[str, NDArray[np.bool_]] | None:
        """Name and mask ``(Y, X)`` of the uppermost label that is seen at a position."""
        from napari.layers import Labels

        viewer = self._viewer()
        if viewer is None:
            return None
        for layer in reversed(list(viewer.layers)):
            if not isinstance(layer, Labels) or not layer.visible:
                continue
            data = np.asarray(layer.data)
            if data.shape != self.session.grid or not data[y, x]:
                continue
            mask = data == data[y, x]
            return f"{layer.name} {int(data[y, x])}, {int(mask.sum())} px", mask
        return None


def hatched(shape: tuple[int, ...], pattern: str) -> NDArray[np.bool_]:
    """Pixels ``(Y, X)`` of a hatching: masks are told by it, not by colour alone.

    Parameters
    ----------
    shape
        Rows and columns.
    pattern
        ``stripes``, ``dots`` or ``crosses``.
    """
    y, x = np.indices(shape)
    if pattern == "stripes":
        drawn = (y + x) % 3 != 0
    elif pattern == "dots":
        drawn = (y % 2 == 0) & (x % 2 == 0)
    else:
        drawn = ((y + x) % 6 == 0) | ((y - x) % 6 == 0)
    return np.asarray(drawn)


def unread(density: Density) -> NDArray[np.uint8]:
    """Picture ``(Y, X, 4)`` of the pixels that are saturated or dark."""
    return painted(
        [
            (density.saturated, SATURATED_COLOR, hatched(density.shape, "stripes")),
            (density.dark, DARK_COLOR, hatched(density.shape, "dots")),
        ]
    )


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rim ``(Y, X)`` of a region: its pixels that have a neighbour beside it."""
    padded = np.pad(mask, 1)
    within = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~within


def painted(
    masks: list[tuple[NDArray[np.bool_], tuple[int, int, int], NDArray[np.bool_] | None]],
) -> NDArray[np.uint8]:
    """Masks ``(Y, X)`` in their colours as one picture ``(Y, X, 4)``.

    A single pixel is seen too: what lies between the lines of a hatching is tinted.
    """
    picture = np.zeros((*masks[0][0].shape, 4), dtype=np.uint8)
    for mask, color, lines in masks:
        picture[mask] = (*color, _FAINT)
        picture[mask if lines is None else mask & lines] = (*color, _STRONG)
    return picture


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
