"""Orientation gradients: KAM between neighbours, GROD and GOS about the mean of a grain.

Sources: Wright, Nowell & Field, *Microsc. Microanal.* 17 (2011) 316; order of neighbours as in
MTEX (Bachmann, Hielscher & Schaeben, *Solid State Phenom.* 160 (2010) 63).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.columns import check_fits
from napari_diffmap.maps.quaternions import disorientation, laue_operators

if TYPE_CHECKING:
    from napari_diffmap.maps.boundaries.find import Boundaries
    from napari_diffmap.maps.grains.find import Grains
    from napari_diffmap.maps.orientation_map import OrientationMap

Slices = tuple[slice, slice]

#: More neighbours than these are no longer local, and take minutes.
_MOST_ORDER = 10


def kam(
    found: OrientationMap,
    *,
    order: int = 1,
    limit: float = 5.0,
    grains: Grains | None = None,
    boundaries: Boundaries | None = None,
) -> NDArray[np.float32]:
    """Kernel average misorientation: mean disorientation of a pixel to its neighbours.

    Parameters
    ----------
    found
        The first answer of each pixel is used.
    order
        Neighbours up to so many steps along rows and columns: 4 for 1, 12 for 2,
        2 n (n + 1) for n.
    limit
        Neighbours beyond this disorientation (degrees) do not count.  Pixels of
        another phase or without an answer never do.
    grains
        Count only neighbours in the same grain.  Without it, boundaries below
        `limit` are counted across.
    boundaries
        Reuse the disorientations of `find_boundaries`.

    Returns
    -------
    ndarray
        ``(Y, X)`` float32, degrees; NaN where no neighbour counts.

    Raises
    ------
    BadInputError
        If order or limit cannot be, or `grains` or `boundaries` are of another map.
    """
    if not 1 <= order <= _MOST_ORDER or not 0 < limit <= 180:
        raise BadInputError(
            f"KAM needs an order from 1 to {_MOST_ORDER} and a limit up to 180°, not {order} and"
            f" {limit:g}°"
        )
    if grains is not None:
        check_fits(grains.labels.shape, found.shape, "grains")
    if boundaries is not None:
        check_fits(boundaries.shape, found.shape, "boundaries")
    operators = _operators(found)
    total = np.zeros(found.shape)
    count = np.zeros(found.shape, dtype=np.int32)
    for dy, dx in _half_kernel(order):
        here, there = _pair(dy, dx)
        if boundaries is not None and dy + abs(dx) == 1:
            angle = boundaries.angle_y if dy else boundaries.angle_x
        else:
            angle = _angles(found, here, there, operators)
        with np.errstate(invalid="ignore"):  # NaN: another phase, or no answer
            counts = angle <= limit
        if grains is not None:
            first = grains.labels[here]
            counts &= (first == grains.labels[there]) & (first > 0)
        within = np.where(counts, angle, 0)
        for place in (here, there):
            total[place] += within
            count[place] += counts
    with np.errstate(invalid="ignore"):
        return (total / np.where(count > 0, count, np.nan)).astype(np.float32)


def grod(found: OrientationMap, grains: Grains) -> NDArray[np.float32]:
    """Grain reference orientation deviation: disorientation of each pixel to its grain's mean.

    Parameters
    ----------
    found
        The first answer of each pixel is used.
    grains
        From `find_grains` of the same map.

    Returns
    -------
    ndarray
        ``(Y, X)`` float32, degrees; NaN outside the grains.

    Raises
    ------
    BadInputError
        If the grains are of another map.
    """
    check_fits(grains.labels.shape, found.shape, "grains")
    out = np.full(found.shape, np.nan, dtype=np.float32)
    phase_of = np.concatenate(([-1], grains.phase_ids))[grains.labels]
    for phase, operators in _operators(found).items():
        mine = phase_of == phase
        means = grains.mean_rotations[grains.labels[mine] - 1]
        out[mine] = disorientation(means, found.best_rotations[mine], operators)
    return out


def gos(
    found: OrientationMap, grains: Grains, *, deviation: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Grain orientation spread: mean disorientation of a grain's pixels to its mean.

    Parameters
    ----------
    found, grains
        As for `grod`.
    deviation
        Reuse what `grod` gave.

    Returns
    -------
    ndarray
        ``(n,)`` float64, degrees, a value a grain.
    """
    return grain_means(grains, grod(found, grains) if deviation is None else deviation)


def grain_means(grains: Grains, values: NDArray[Any]) -> NDArray[np.float64]:
    """Mean of a map over the pixels of each grain, NaN left out.

    Parameters
    ----------
    grains
        The grains.
    values
        ``(Y, X)`` numbers or truth values.

    Returns
    -------
    ndarray
        ``(n,)`` float64; NaN for a grain without a value.

    Raises
    ------
    BadInputError
        If the map has another shape.
    """
    check_fits(values.shape, grains.labels.shape, "values")
    known = np.isfinite(values) & (grains.labels > 0)
    member = grains.labels[known] - 1
    n = len(grains)
    total = np.bincount(member, values[known].astype(np.float64), n)
    count = np.bincount(member, minlength=n)
    mean: NDArray[np.float64] = total / np.where(count > 0, count, np.nan)
    return mean


def _operators(found: OrientationMap) -> dict[int, NDArray[np.float64]]:
    """Symmetry of every phase that a pixel has."""
    ids = np.unique(found.best_phase_ids)
    return {int(i): laue_operators(found.phases[int(i)]) for i in ids if int(i) >= 0}


def _half_kernel(order: int) -> list[tuple[int, int]]:
    """One of each two opposite offsets ``(dy ≥ 0, dx)`` within `order` steps."""
    return [
        (dy, dx)
        for dy in range(order + 1)
        for dx in range(dy - order, order - dy + 1)
        if dy > 0 or dx > 0
    ]


def _pair(dy: int, dx: int) -> tuple[Slices, Slices]:
    """Slices of the pixels and of those at an offset from them."""
    left, right = max(0, -dx), max(0, dx)
    here = (slice(None, -dy or None), slice(left, -right or None))
    there = (slice(dy, None), slice(right, -left or None))
    return here, there


def _angles(
    found: OrientationMap,
    here: Slices,
    there: Slices,
    operators: dict[int, NDArray[np.float64]],
) -> NDArray[np.float32]:
    ids = found.best_phase_ids
    out = np.full(ids[here].shape, np.nan, dtype=np.float32)
    first, second = found.best_rotations[here], found.best_rotations[there]
    for phase, symmetry in operators.items():
        same = (ids[here] == phase) & (ids[there] == phase)
        out[same] = disorientation(first[same], second[same], symmetry)
    return out
