"""Colours of maps: orientations (TSL key), phases, ambiguity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import NO_DOUBT
from napari_diffmap.maps.color_key import color_key
from napari_diffmap.maps.quaternions import rotate_vector

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap
    from napari_diffmap.maps.phase_map import PhaseMap

Direction = Literal["x", "y", "z"]

#: Laboratory directions: x right, y down, z along the beam into the page.
DIRECTIONS: dict[Direction, tuple[float, float, float]] = {
    "x": (1.0, 0.0, 0.0),
    "y": (0.0, 1.0, 0.0),
    "z": (0.0, 0.0, 1.0),
}


def ipf_colors(found: OrientationMap, direction: Direction = "z") -> NDArray[np.uint8]:
    """Inverse-pole-figure colours of the first answers.

    The colour tells which crystal direction is parallel to a laboratory
    direction; ``"z"`` is the beam.  Equal to orix's `IPFColorKeyTSL` within
    rounding.

    Parameters
    ----------
    found
        The map; every phase is coloured by its own Laue group.
    direction
        ``"x"`` (right), ``"y"`` (down) or ``"z"`` (beam, into the page).

    Returns
    -------
    ndarray
        ``(Y, X, 4)`` uint8 RGBA; transparent where there is no answer.

    Raises
    ------
    BadInputError
        If the direction is none of the three.
    PhaseError
        If a phase has no symmetry.
    """
    if direction not in DIRECTIONS:
        raise BadInputError(f"the direction must be x, y or z, not {direction!r}")
    out = np.zeros((*found.shape, 4), dtype=np.uint8)
    for i, phase in enumerate(found.phases):
        mask = found.phase_mask(i)
        if mask.any():
            crystal = rotate_vector(found.best_rotations[mask], DIRECTIONS[direction])
            out[mask, :3] = color_key(phase.point_group).colors(crystal)
            out[mask, 3] = 255
    return out


def phase_colors(found: PhaseMap) -> NDArray[np.uint8]:
    """``(Y, X, 4)`` RGBA colours of the phases; transparent where there is no answer."""
    table = np.zeros((len(found.phases) + 1, 4), dtype=np.uint8)
    for i, phase in enumerate(found.phases):
        table[i + 1] = rgba(phase.color)
    return table[found.best_phase_ids.astype(np.intp) + 1]


def ambiguity_colors(found: PhaseMap) -> NDArray[np.uint8]:
    """``(Y, X, 4)`` RGBA colours of the causes of doubt; transparent where there is none."""
    table = np.array([rgba(cause.color) for cause in found.causes], dtype=np.uint8)
    table[NO_DOUBT, 3] = 0
    return table[found.ambiguity]


def rgba(color: str, alpha: float = 1.0) -> tuple[int, int, int, int]:
    """A colour of any spelling matplotlib knows as four bytes."""
    from matplotlib.colors import to_rgba

    try:
        red, green, blue, opacity = (round(255 * part) for part in to_rgba(color, alpha))
    except ValueError as error:
        raise BadInputError(f"{color!r} is no colour: write #RRGGBB") from error
    return red, green, blue, opacity
