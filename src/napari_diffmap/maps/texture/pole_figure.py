"""Densities of poles and of crystal directions, in multiples of a random distribution (MRD).

Axes are counted in bins of equal area on the hemisphere (z ≥ 0), smoothed with the von
Mises–Fisher kernel exp κ(cos ω − 1) about both ends of each axis, and divided by what the same
smoothing makes of an even distribution: that has a density of 1 everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.color_key import ColorKey, color_key
from napari_diffmap.maps.quaternions import Quaternions, chunks
from napari_diffmap.maps.texture.poles import (
    Projection,
    crystal_directions,
    lab_poles,
    project,
    unproject,
    upwards,
)

if TYPE_CHECKING:
    from napari_diffmap.maps.phases import PhaseLike

#: Half widths of the kernel that the bins can resolve, degrees.
HALF_WIDTHS = (4.0, 45.0)
#: Bins a half width; and the share of its peak at which the kernel is cut.
_BINS, _CUT = 3.0, 1e-3
#: Part of a bin at the rim is found from so many points along each side.
_FINE = 8
_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class Density:
    """A picture of a density.

    Attributes
    ----------
    picture
        ``(size, size)`` float32, multiples of a random distribution; NaN outside.
    box
        Plot coordinates of its left and upper edge, and the length of its side.
    highest, lowest
        Of the density.
    n
        Orientations.
    half_width
        Of the smoothing: the angle (degrees) at which the kernel is half its peak.
    projection
        How it is drawn.
    """

    picture: NDArray[np.float32]
    box: tuple[float, float, float]
    highest: float
    lowest: float
    n: int
    half_width: float
    projection: Projection


def pole_figure(
    rotations: Quaternions,
    poles: NDArray[np.float64],
    *,
    projection: Projection = "stereographic",
    half_width: float = 7.5,
    size: int = 201,
) -> Density:
    """Density of poles in the laboratory frame, X right and Y down, seen along the beam.

    Parameters
    ----------
    rotations
        ``(n, 4)`` orientations, laboratory → crystal.
    poles
        ``(m, 3)`` crystal axes, see `poles.crystal_poles`.
    projection
        ``stereographic`` keeps angles, ``equal area`` keeps areas.
    half_width
        Of the smoothing, degrees.
    size
        Pixels along each side.

    Raises
    ------
    BadInputError
        If there are no orientations, or the half width is out of range.
    """
    hemisphere = _hemisphere(_checked(half_width, len(rotations)))
    counts = np.zeros(hemisphere.n**2)
    for _, turned in lab_poles(rotations, poles):
        counts += hemisphere.count(turned.reshape(-1, 3))
    field = hemisphere.smooth(counts)
    x, y = _pixels((-1.0, -1.0, 2.0), size)
    inside = x**2 + y**2 <= 1
    v = unproject(np.stack((x[inside], y[inside]), axis=-1), projection)
    return _density(
        hemisphere.at(field, v), inside, (-1.0, -1.0, 2.0), len(rotations), half_width, projection
    )


def inverse_pole_figure(
    rotations: Quaternions,
    phase: PhaseLike,
    direction: tuple[float, float, float],
    *,
    projection: Projection = "stereographic",
    half_width: float = 7.5,
    size: int = 201,
) -> Density:
    """Density of the crystal directions along a laboratory direction, in the fundamental sector.

    Parameters
    ----------
    rotations
        ``(n, 4)`` orientations, laboratory → crystal.
    phase
        Its Laue group gives the sector, as in the colour key.
    direction
        Unit vector, e.g. `colors.DIRECTIONS`.
    projection, half_width, size
        As for `pole_figure`.

    Raises
    ------
    BadInputError
        If there are no orientations, or the half width is out of range.
    PhaseError
        If the phase has no symmetry.
    """
    hemisphere = _hemisphere(_checked(half_width, len(rotations)))
    counts = np.zeros(hemisphere.n**2)
    for part in chunks(len(rotations), _CHUNK):
        counts += hemisphere.count(upwards(crystal_directions(rotations[part], direction)))
    field = hemisphere.smooth(counts)
    key = color_key(phase.point_group)
    box = sector_box(key, projection)
    x, y = _pixels(box, size)
    v = unproject(np.stack((x, -y), axis=-1), projection)
    inside = (v @ key.normals.T.astype(np.float64) >= -1e-9).all(axis=-1)
    inside &= (x**2 + y**2 <= 1) & (v[..., 2] >= -1e-9)
    shown = v[inside]
    # The density of all equivalents together is the mean of the density at all equivalents.
    total = np.zeros(len(shown))
    for operator in key.operators.astype(np.float64):
        total += hemisphere.at(field, upwards(shown @ operator))  # S⁻¹ v
    total /= len(key.operators)
    return _density(total, inside, box, len(rotations), half_width, projection)


def sector_border(key: ColorKey, projection: Projection) -> NDArray[np.float64]:
    """``(n, 2)`` border of the sector in plot coordinates, e1 right and e2 up."""
    azimuth = np.linspace(0, 2 * np.pi, len(key.edge))[:, None]
    outward = np.cos(azimuth) * key.axis_x.astype(np.float64) + np.sin(azimuth) * key.axis_y
    edge = key.edge[:, None].astype(np.float64)
    border = np.cos(edge) * key.center + np.sin(edge) * outward
    border[:, 2] = np.abs(border[:, 2])
    flat: NDArray[np.float64] = project(border, projection) * (1, -1)
    return flat


def sector_box(key: ColorKey, projection: Projection) -> tuple[float, float, float]:
    """Left and upper edge and side of the square about the sector."""
    border = sector_border(key, projection)
    low, high = border.min(axis=0), border.max(axis=0)
    side = float((high - low).max())
    left, top = (low + high - side) / 2
    return float(left), float(top), side


def _checked(half_width: float, n: int) -> float:
    if not n:
        raise BadInputError("there are no orientations to draw: select grains, or another phase")
    if not HALF_WIDTHS[0] <= half_width <= HALF_WIDTHS[1]:
        raise BadInputError(
            f"the half width must be {HALF_WIDTHS[0]:g} to {HALF_WIDTHS[1]:g}°, not {half_width:g}°"
        )
    return float(half_width)


def _pixels(
    box: tuple[float, float, float], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Plot coordinates of the centres of a picture's pixels."""
    places = (np.arange(size) + 0.5) / size * box[2]
    x, y = np.meshgrid(box[0] + places, box[1] + places)
    return x, y


def _density(
    values: NDArray[np.float64],
    inside: NDArray[np.bool_],
    box: tuple[float, float, float],
    n: int,
    half_width: float,
    projection: Projection,
) -> Density:
    picture = np.full(inside.shape, np.nan, dtype=np.float32)
    picture[inside] = values
    highest, lowest = float(values.max()), float(values.min())
    return Density(picture, box, highest, lowest, n, half_width, projection)


@dataclass(frozen=True, eq=False)
class _Hemisphere:
    """Square bins on the equal-area disk, and their smoothing.

    ``kernel`` takes counts of the bins to sums at the `nodes`: bins in the disk or close to
    its rim, where an axis is met by its other end; ``even`` is its sum for an even distribution.
    """

    n: int
    kernel: Any
    nodes: NDArray[np.intp]
    even: NDArray[np.float64]

    def count(self, v: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Directions ``(k, 3)``, z ≥ 0, in each bin."""
        place = project(v, "equal area")
        # A hair inside, so that rounding puts nothing beyond the rim.
        place *= place.dtype.type(0.5 * self.n * (1 - 1e-6))
        place += place.dtype.type(0.5 * self.n)
        index = place.astype(np.int32)
        flat = index[:, 1] * np.int32(self.n) + index[:, 0]
        return np.bincount(flat, minlength=self.n**2).astype(np.float64)

    def smooth(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Density ``(n, n)`` at the nodes from counts."""
        field = np.zeros(self.n**2)
        field[self.nodes] = self.kernel @ counts / self.even / counts.sum()
        return field.reshape(self.n, self.n)

    def at(self, field: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Density at directions ``(k, 3)``, z ≥ 0."""
        from scipy.ndimage import map_coordinates

        place = (project(v, "equal area") + 1) * (0.5 * self.n) - 0.5
        values: NDArray[np.float64] = map_coordinates(
            field, [place[:, 1], place[:, 0]], order=1, mode="nearest"
        )
        return values


@lru_cache(maxsize=4)
def _hemisphere(half_width: float) -> _Hemisphere:
    from scipy.sparse import coo_array
    from scipy.spatial import cKDTree

    width = np.deg2rad(half_width)
    kappa = np.log(2) / (1 - np.cos(width))
    # The unit disk is the hemisphere: a bin of side s has a solid angle of 2 s².  Two bins of
    # margin on each side are for the nodes beyond the rim.
    n = int(np.ceil(_BINS * 2 * np.sqrt(2) / width))
    side = 2 / n
    middle = (np.arange(n) + 0.5) * side - 1
    x, y = np.meshgrid(middle, middle)
    centre = np.stack((x, y), axis=-1).reshape(-1, 2)
    fine = ((np.arange(_FINE) + 0.5) / _FINE - 0.5) * side
    dx, dy = (part.ravel() for part in np.meshgrid(fine, fine))
    there = np.stack((centre[:, :1] + dx, centre[:, 1:] + dy), axis=-1)
    inside = (there**2).sum(axis=-1) <= 1
    share = inside.mean(axis=1)
    filled = np.flatnonzero(share)
    place = (there * inside[..., None]).sum(axis=1)[filled] / inside.sum(axis=1)[filled, None]
    nodes = np.flatnonzero(np.hypot(*centre.T) <= 1 + 2 * side)
    bins, ends = unproject(place, "equal area"), unproject(centre[nodes], "equal area")
    both = cKDTree(np.concatenate((bins, -bins)))
    # |u - v|² = 2 (1 - cos ω)
    reach = float(np.sqrt(min(4.0, 2 * np.log(1 / _CUT) / kappa)))
    near = cKDTree(ends).sparse_distance_matrix(both, reach, output_type="ndarray")
    weight = np.exp(-0.5 * kappa * near["v"] ** 2)
    shape = (len(nodes), n**2)
    column = filled[near["j"] % len(filled)]
    kernel = coo_array((weight, (near["i"], column)), shape=shape).tocsr()
    return _Hemisphere(n, kernel, nodes, kernel @ (share / share.sum()))
