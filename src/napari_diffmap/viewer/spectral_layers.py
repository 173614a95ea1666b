"""A phase map of spectra as napari layers: phases, composition, fractions, doubt by cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.viewer.display import contrast_limits
from napari_diffmap.viewer.map_pictures import warm_labels
from napari_diffmap.viewer.map_stack import MARK_LAYER, MapStack
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.small_map_layers import EDITED_LAYER, small_values

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffmap.maps import PhaseMap, SpectralMap

PHASES_LAYER, COMPOSITION_LAYER, DOUBT_LAYER = "phases", "composition", "doubt"
_COLORS = "viridis"


def fraction_layer(name: str) -> str:
    """Name of the layer of a reference's share."""
    return f"fraction {name}"


@dataclass(frozen=True, eq=False)
class SpectralPictures:
    """What the layers of a spectral map need, made beside the window.

    Attributes
    ----------
    found
        The map.
    score
        ``(Y, X)`` float32, NaN where there is no answer.
    fractions
        Layer name → ``(Y, X)`` float32, in the order of the references.
    composition, limits
        ``(Y, X)`` float32 with the least and the most that the references allow; None when it
        is not known.
    """

    found: SpectralMap
    score: NDArray[np.float32]
    fractions: dict[str, NDArray[np.float32]]
    composition: NDArray[np.float32] | None
    limits: tuple[float, float] | None


def spectral_pictures(found: SpectralMap) -> SpectralPictures:
    """All pictures of a spectral map."""
    warm_labels()
    return SpectralPictures(
        found,
        np.where(found.indexed, found.best_scores, np.nan).astype(np.float32),
        {
            fraction_layer(phase.name): np.ascontiguousarray(found.fractions[..., i])
            for i, phase in enumerate(found.phases)
        },
        found.composition,
        found.composition_limits(),
    )


class SpectralLayers(MapStack):
    """The layers of the session's spectral map in the main viewer, updated in place."""

    first = PHASES_LAYER

    def __init__(self, session: Session, viewer: ViewerModel, runner: Runner) -> None:
        super().__init__(session, viewer, runner, _order(()))

    @property
    def bases(self) -> tuple[str, ...]:
        """Pictures of which one is shown at a time, in the order of the form."""
        shown: SpectralPictures | None = self._pictures
        if shown is None:
            return (PHASES_LAYER, "score", "reliability")
        composition = () if shown.composition is None else (COMPOSITION_LAYER,)
        return (PHASES_LAYER, *composition, *shown.fractions, "score", "reliability")

    def fits(self, found: PhaseMap) -> bool:
        """Whether a map tells shares of references."""
        return hasattr(found, "fractions")

    def drawn(self, part: SpectralMap) -> dict[str, Callable[[], NDArray[Any]]]:
        """What the layers hold of a map of one row, by name; fractions no correction changes."""
        return small_values(part, DOUBT_LAYER)

    def _paint(self, found: SpectralMap) -> Callable[[], SpectralPictures]:
        return lambda: spectral_pictures(found)

    def show(self, pictures: SpectralPictures) -> None:
        """Show a whole map; see `MapStack.show`."""
        order = _order(pictures.fractions)
        # Layers of references that this map does not have are on their way out.
        self._order = (*(name for name in self._layers if name not in order), *order)
        super().show(pictures)

    def _makers(self, pictures: SpectralPictures) -> dict[str, Callable[[], None]]:
        found = pictures.found
        hidden = {"colormap": _COLORS, "visible": False}
        score = {**hidden, "contrast_limits": contrast_limits(pictures.score)}
        reliability = {**hidden, "contrast_limits": (0.0, 1.0)}
        makers: dict[str, Callable[[], None]] = {
            PHASES_LAYER: lambda: self._show_phases(found, visible=True),
            DOUBT_LAYER: lambda: self._show_ambiguity(found, DOUBT_LAYER),
        }
        if pictures.composition is not None and pictures.limits is not None:
            makers[COMPOSITION_LAYER] = partial(
                self._image,
                COMPOSITION_LAYER,
                pictures.composition,
                contrast_limits=_apart(pictures.limits),
                **hidden,
            )
        # All hidden: below the phases one would be seen where there is no answer, like an answer.
        shares = {**hidden, "contrast_limits": (0.0, 1.0)}
        for name, values in pictures.fractions.items():
            makers[name] = partial(self._image, name, values, **shares)
        makers["reliability"] = lambda: self._image("reliability", found.reliability, **reliability)
        makers["score"] = lambda: self._image("score", pictures.score, **score)
        if EDITED in found.extra and found.extra[EDITED].any():
            makers[EDITED_LAYER] = partial(self._show_edited, found)
        return makers

    def _overlay(self, overlay: str) -> Sequence[str]:
        return (DOUBT_LAYER,) if overlay == "ambiguity" else ()


def _order(fractions: Sequence[str] | dict[str, Any]) -> tuple[str, ...]:
    """Layers from bottom to top."""
    pictures = ("score", "reliability", *reversed(list(fractions)), COMPOSITION_LAYER)
    return (*pictures, PHASES_LAYER, DOUBT_LAYER, EDITED_LAYER, MARK_LAYER)


def _apart(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits that a colour scale can have."""
    low, high = limits
    return (low, high) if high > low else (low - 0.5, high + 0.5)
