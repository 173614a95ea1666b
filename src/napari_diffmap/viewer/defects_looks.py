"""How classes of defects look: each has a colour, and a symbol of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.defect_map import class_symbol

if TYPE_CHECKING:
    from napari_diffmap.maps import DefectMap

#: napari's names of the symbols that matplotlib calls so.
NAPARI_SYMBOLS = {
    "o": "disc",
    "s": "square",
    "^": "triangle_up",
    "D": "diamond",
    "v": "triangle_down",
    "p": "clobber",
    "h": "star",
    "P": "cross",
    "X": "x",
    "*": "arrow",
}
#: What is found but not sorted yet.
FOUND_COLOR = "#FFFFFF"
#: Opacity of the inside of a mark: what is sure is tinted, what is in doubt is hollow.
_SURE, _DOUBTFUL = 0.4, 0.0


def symbol_of(class_id: int) -> str:
    """Napari's name of the symbol of a class."""
    return NAPARI_SYMBOLS[class_symbol(class_id)]


def rgba(color: str, alpha: float = 1.0) -> tuple[float, float, float, float]:
    """A colour ``#RRGGBB`` as numbers from 0 to 1."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue, alpha


def faces(found: DefectMap, slots: NDArray[np.int64]) -> NDArray[np.float64]:
    """Insides ``(n, 4)`` of the marks of some finds: tinted where sure, hollow where in doubt."""
    colors = edges(found, slots)
    colors[:, 3] = np.where(found.ambiguous[0, slots], _DOUBTFUL, _SURE)
    return colors


def edges(found: DefectMap, slots: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rims ``(n, 4)`` of the marks of some finds, in the colours of their classes."""
    # The last one is of finds that were taken away.
    table = np.array([*(rgba(one.color) for one in found.phases), rgba(FOUND_COLOR, 0.0)])
    return table[found.best_phase_ids[0, slots]]


def symbols(found: DefectMap, slots: NDArray[np.int64]) -> list[str]:
    """Symbols of some finds, as napari calls them."""
    table = [*(symbol_of(k) for k in range(len(found.phases))), symbol_of(0)]
    return [table[k] for k in found.best_phase_ids[0, slots]]
