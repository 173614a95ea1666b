"""Pictures of phase maps of spectra, with legends, colour bars and scale bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.figures.legends import GREY
from napari_diffmap.maps.figures.pictures import (
    save_ambiguity_png,
    save_phase_png,
    save_scalar_png,
)
from napari_diffmap.maps.figures.sheet import Part, on_grey, save_sheet
from napari_diffmap.maps.figures.sheet_parts import Sample, color_bar, legend
from napari_diffmap.maps.spectral_map import SpectralMap

_COLORS = "viridis"
#: Share of a map's width between two.
_GAP = 0.06


def save_phases_png(found: SpectralMap, path: str | Path, *, caption: str = "") -> Path:
    """First answers in the colours of the references, with their shares."""
    return save_phase_png(found, path, caption=caption)


def save_doubt_png(found: SpectralMap, path: str | Path, *, caption: str = "") -> Path:
    """Doubt by cause with the share of each among the positions with data."""
    return save_ambiguity_png(found, path, caption=caption)


def save_composition_png(found: SpectralMap, path: str | Path, *, caption: str = "") -> Path:
    """Composition between the least and the most of the references.

    Raises
    ------
    BadInputError, ResourceError
        If the references do not tell it, the name is wrong or it cannot be written.
    """
    values, limits = found.composition, found.composition_limits()
    if values is None or limits is None:
        raise BadInputError("the composition of every reference must be given to draw that map")
    if limits[0] == limits[1]:
        limits = (limits[0] - 0.5, limits[1] + 0.5)
    return save_scalar_png(
        found, path, "composition", values=values, limits=limits, cmap=_COLORS, caption=caption
    )


def save_fractions_png(found: SpectralMap, path: str | Path, *, caption: str = "") -> Path:
    """Share of every reference, the maps beside each other on one scale from 0 to 1.

    Raises
    ------
    BadInputError, ResourceError
        If the name is wrong or it cannot be written.
    """
    rows, columns = found.shape
    gap = max(1, round(_GAP * columns))
    count = len(found.phases)
    image = np.full((rows, count * columns + (count - 1) * gap, 3), 255, dtype=np.uint8)
    parts = []
    for i, phase in enumerate(found.phases):
        part = Part(phase.name, i * (columns + gap), columns)
        image[:, part.first : part.first + columns] = _picture(found.fractions[..., i])
        parts.append(part)
    blocks = [color_bar("fraction", 0.0, 1.0, _COLORS)]
    if not np.isfinite(found.fractions).all():
        blocks.append(legend("", [Sample(GREY, "no value")]))
    return save_sheet(
        image,
        path,
        step=found.step,
        unit=found.step_unit,
        title="Fractions of the references",
        blocks=blocks,
        provenance=found.provenance,
        caption=caption,
        parts=parts,
    )


def _picture(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map from 0 to 1 as RGB, grey where there is no value."""
    from matplotlib import colormaps

    image = colormaps[_COLORS](np.nan_to_num(values), bytes=True)
    image[~np.isfinite(values), 3] = 0
    return on_grey(image)
