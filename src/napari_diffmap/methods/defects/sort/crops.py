"""Crops about finds, turned onto the lattice and brought to one scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.lattice import Lattice

Floats = NDArray[np.float64]
Crops = NDArray[np.float32]


class Frames(Protocol):
    """Frames, read one at a time."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> NDArray[Any]: ...


def cut_crops(
    movie: Frames,
    finds: Finds,
    lattices: Mapping[int, Lattice | None],
    size_px: int,
    spacing_px: float,
) -> Crops:
    """Square crops about finds in which all lattices lie alike.

    The nearest sites of the other sublattice lie up, lower left and lower right of a site of the
    brighter one and, since crops about the weaker one are turned by half a turn, of that too.
    Finds on no site are turned as those of the brighter one.

    Parameters
    ----------
    movie
        Frames ``(Y, X)`` by number.
    finds
        Their frames and places.
    lattices
        Lattice of each frame; where there is none, that of the nearest frame that has one.
    size_px
        Side of a crop in pixels of the crop; made odd.
    spacing_px
        Lattice constant in pixels of the crop.

    Returns
    -------
    ndarray
        ``(n, c, c)`` float32, NaN beyond the border of the image.
    """
    from scipy.ndimage import map_coordinates, spline_filter

    half = size_px // 2
    side = np.arange(-half, half + 1, dtype=float)
    up, right = np.meshgrid(side, side, indexing="ij")
    out = np.full((len(finds), len(side), len(side)), np.nan, dtype=np.float32)
    for frame in np.unique(finds.frame):
        image = np.asarray(movie[int(frame)], dtype=np.float64)
        unknown = ~np.isfinite(image)
        filtered = spline_filter(np.where(unknown, 0, image), order=3)
        mine = np.flatnonzero(finds.frame == frame)
        turns, spacings = _local(_nearest(lattices, int(frame)), finds.places[mine], spacing_px)
        for i, turn, spacing in zip(mine, turns, spacings, strict=True):
            angle = turn + (np.pi if finds.sublattice[i] == 1 else 0.0)
            scale = spacing / spacing_px
            y = finds.places[i, 0] + scale * (np.cos(angle) * up + np.sin(angle) * right)
            x = finds.places[i, 1] + scale * (np.cos(angle) * right - np.sin(angle) * up)
            inside = (y >= 0) & (x >= 0) & (y <= image.shape[0] - 1) & (x <= image.shape[1] - 1)
            if unknown.any():
                inside &= ~unknown[
                    np.clip(np.rint(y), 0, image.shape[0] - 1).astype(int),
                    np.clip(np.rint(x), 0, image.shape[1] - 1).astype(int),
                ]
            values = map_coordinates(filtered, (y, x), order=3, prefilter=False, mode="mirror")
            out[i] = np.where(inside, values, np.nan)
    return out


def _nearest(lattices: Mapping[int, Lattice | None], frame: int) -> Lattice | None:
    """The lattice of a frame, or of the nearest one that has any."""
    there = {number: lattice for number, lattice in lattices.items() if lattice is not None}
    if not there:
        return None
    return there[min(there, key=lambda number: abs(number - frame))]


def _local(lattice: Lattice | None, places: Floats, spacing_px: float) -> tuple[Floats, Floats]:
    """Turn and spacing of a distorted lattice about each place ``(n,)``."""
    if lattice is None:
        return np.zeros(len(places)), np.full(len(places), spacing_px)
    rotation, spacing = np.zeros(len(places), dtype=complex), np.zeros(len(places))
    for vector in lattice.vectors:
        ahead = lattice.displacement(places + vector / 2) - lattice.displacement(
            places - vector / 2
        )
        there = (vector + ahead) @ np.array([1j, 1])
        rotation += there * np.conj(vector @ np.array([1j, 1]))
        spacing += np.abs(there) / 2
    return upright(lattice) + np.angle(rotation), spacing


def upright(lattice: Lattice) -> float:
    """Angle to turn a lattice by so that it lies as in all crops, radians.

    Of a lattice with two kinds of sites the bond from the brighter one is turned up: the vectors
    of a hexagonal lattice are as well named in six ways, three of which turn bonds upside down.
    """
    if len(lattice.basis) < 2:
        return lattice.angle
    steps = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    bonds = (lattice.basis[1] - lattice.basis[0] + steps) @ lattice.vectors
    y, x = bonds[np.argmin(np.hypot(*bonds.T))]
    return float(np.arctan2(y, x) + np.pi / 2)


def operations(count: int) -> Iterator[tuple[float, bool]]:
    """Turns (radians) and mirroring of the symmetry of a site: three of a turn, times two."""
    for mirrored in (False, True)[: count // 3]:
        for k in range(3):
            yield 2 * np.pi * k / 3, mirrored


def turned(crops: Crops, angle: float, mirrored: bool) -> Crops:
    """Crops turned about their middle, right and left exchanged before where mirrored.

    Parameters
    ----------
    crops
        ``(n, c, c)`` without NaN.
    angle
        Radians.
    mirrored
        About the upright axis, along which a bond lies.
    """
    given = crops[:, :, ::-1] if mirrored else crops
    if angle == 0:
        return np.ascontiguousarray(given, dtype=np.float32)
    flat = given.reshape(len(given), -1)
    return np.asarray((_turning(crops.shape[1], angle) @ flat.T).T, np.float32).reshape(crops.shape)


def _turning(side: int, angle: float) -> Any:
    """Bilinear interpolation at turned pixels as a sparse matrix; at the border the nearest."""
    from scipy.sparse import coo_array

    half = side // 2
    at = np.arange(-half, half + 1, dtype=float)
    up, right = (part.ravel() for part in np.meshgrid(at, at, indexing="ij"))
    y = np.clip(half + np.cos(angle) * up + np.sin(angle) * right, 0, side - 1)
    x = np.clip(half + np.cos(angle) * right - np.sin(angle) * up, 0, side - 1)
    row, column = (np.minimum(part.astype(int), side - 2) for part in (y, x))
    parts = []
    for i, wy in ((0, 1 - (y - row)), (1, y - row)):
        for j, wx in ((0, 1 - (x - column)), (1, x - column)):
            parts.append(((row + i) * side + column + j, wy * wx))
    columns, weights = (np.concatenate(one) for one in zip(*parts, strict=True))
    rows = np.tile(np.arange(side * side), 4)
    return coo_array((weights, (rows, columns)), shape=(side * side,) * 2).tocsr()
