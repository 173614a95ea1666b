"""What may find defects: the networks there are, and the site model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari_diffmap.viewer.engines import EngineChoice

if TYPE_CHECKING:
    from napari_diffmap.models.registry import ModelEntry

#: The model that is no network, as `methods.defects.parameters` calls it.
SITES = "sites"
_SITES_TIP = (
    "Fits the lattice and how bright each of its sites is: no training, any hexagonal monolayer"
)


def choices(entries: Iterable[ModelEntry]) -> tuple[EngineChoice, ...]:
    """Networks for defects that can be used, then the site model."""
    found = []
    for entry in entries:
        card = entry.card
        if card is None or entry.problem or card.task != "defects":
            continue
        found.append(EngineChoice(entry.name, card.title, f"{card.title} ({entry.name})"))
    return (*found, EngineChoice(SITES, "sites (no network)", _SITES_TIP))
