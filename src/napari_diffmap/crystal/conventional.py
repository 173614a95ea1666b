"""Set a crystal given in an unusual cell (primitive, P1) on its conventional axes.

Colour keys and maps assume the axes of the International Tables: a cubic crystal
in its primitive cell would be coloured and saved wrongly without this step.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def conventional_basis(
    base: NDArray[np.float64], rotations: NDArray[np.float64]
) -> NDArray[np.int64] | None:
    """Conventional cell of a lattice from its Laue group.

    Parameters
    ----------
    base
        Present cell vectors as rows, Å.
    rotations
        Proper rotations of the Laue group as Cartesian matrices, ``(n, 3, 3)``.

    Returns
    -------
    ndarray (3, 3) int64 or None
        Rows are the conventional a, b, c in units of the present cell vectors;
        None where nothing is to be gained (triclinic and monoclinic crystals).
    """
    grid = _lattice_points(base)
    vectors = grid @ base
    axes = _axes(rotations)
    if len(axes[4]) >= 3 or (not axes[4] and len(axes[3]) >= 4):
        chosen = _orthogonal(axes[4] or axes[2])
    elif axes[6] or axes[3]:
        return _hexagonal(grid, vectors, (axes[6] or axes[3])[0], axes[2])
    elif axes[4]:
        z = axes[4][0]
        flat = [_direction(v) for v in _flat(vectors, z)]
        if not flat:
            return None
        twofold = [d for d in flat if any(abs(d @ a) > 0.999 for a in axes[2])]
        x = (twofold or flat)[0]
        chosen = [x, np.cross(z, x), z]
    elif len(axes[2]) == 3:
        chosen = _orthogonal(axes[2])
    else:
        return None
    rows = [_shortest_along(grid, vectors, axis) for axis in chosen]
    if any(row is None for row in rows):
        return None
    return _right_handed(np.array(rows), base)


def transform_cell(
    base: NDArray[np.float64], xyz: NDArray[np.float64], basis: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Atoms of a cell on another cell of the same lattice.

    Returns
    -------
    new_base : ndarray (3, 3)
    new_xyz : ndarray (m, 3)
        Fractional in [0, 1).
    index : ndarray (m,)
        Which old atom each new one is an image of.
    """
    new_base = basis @ base
    inverse = np.linalg.inv(basis)
    reach = int(np.abs(basis).sum(axis=0).max()) + 1
    shifts = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    new_xyz, index = [], []
    for i, atom in enumerate(xyz):
        images = ((atom + shifts) @ inverse + 1e-6) % 1.0 - 1e-6
        inside = np.unique(np.round(images, 5), axis=0)
        inside = inside[np.all(inside < 1 - 2e-5, axis=1)]
        new_xyz.append(inside)
        index.append(np.full(len(inside), i))
    return new_base, np.concatenate(new_xyz), np.concatenate(index)


def _lattice_points(base: NDArray[np.float64]) -> NDArray[np.int64]:
    grid = np.array(list(product(range(-4, 5), repeat=3)))
    grid = grid[np.any(grid != 0, axis=1)]
    return grid[np.argsort(np.linalg.norm(grid @ base, axis=1), kind="stable")]


def _direction(v: Vector) -> Vector:
    return np.asarray(v / np.linalg.norm(v))


def _axes(rotations: NDArray[np.float64]) -> dict[int, list[Vector]]:
    """Directions of the highest rotation axes by their order."""
    orders: list[tuple[Vector, int]] = []
    for r in rotations:
        angle = np.arccos(np.clip((np.trace(r) - 1) / 2, -1, 1))
        if angle < 0.1:
            continue
        values, vectors = np.linalg.eig(r)
        axis = _direction(np.real(vectors[:, np.argmin(np.abs(values - 1))]))
        order = round(2 * np.pi / angle)
        for i, (other, highest) in enumerate(orders):
            if abs(other @ axis) > 0.999:
                orders[i] = (other, max(order, highest))
                break
        else:
            orders.append((axis, order))
    result: dict[int, list[Vector]] = {2: [], 3: [], 4: [], 6: []}
    for axis, order in orders:
        if order in result:
            result[order].append(axis)
    return result


def _orthogonal(axes: list[Vector]) -> list[Vector]:
    """Three orthogonal axes in the order that turns the crystal least."""
    ordered: list[Vector] = []
    left = list(axes)
    for e in np.eye(3):
        best = max(left, key=lambda a: abs(a @ e))
        left = [a for a in left if a is not best]
        ordered.append(best if best @ e > 0 else -best)
    return ordered


def _flat(vectors: NDArray[np.float64], z: Vector) -> list[Vector]:
    return [v for v in vectors if abs(_direction(v) @ z) < 1e-3]


def _shortest_along(
    grid: NDArray[np.int64], vectors: NDArray[np.float64], axis: Vector
) -> NDArray[np.int64] | None:
    for point, vector in zip(grid, vectors, strict=True):
        if _direction(vector) @ axis > 0.9999:
            return np.asarray(point)
    return None


def _hexagonal(
    grid: NDArray[np.int64], vectors: NDArray[np.float64], z: Vector, twofold: list[Vector]
) -> NDArray[np.int64] | None:
    """Hexagonal axes: a ∥ a two-fold axis where there is one, c ∥ the main axis."""
    flat = [v for v in vectors if abs(_direction(v) @ z) < 1e-3]
    aligned = [v for v in flat if any(abs(_direction(v) @ a) > 0.999 for a in twofold)]
    if not flat:
        return None
    # -31m: the shortest vectors do not lie on the two-fold axes; keep the lattice's own.
    shortest = np.linalg.norm(flat[0])
    on_axis = aligned and np.linalg.norm(aligned[0]) < 1.01 * shortest
    first = aligned[0] if on_axis else flat[0]
    turn = np.cross(z, first)
    second = -0.5 * first + np.sqrt(0.75) * turn
    rows = []
    for target in (first, second):
        gaps = np.linalg.norm(vectors - target, axis=1)
        if gaps.min() > 0.02 * shortest:
            return None
        rows.append(grid[int(np.argmin(gaps))])
    third = _shortest_along(grid, vectors, z)
    if third is None:
        return None
    return np.array([*rows, third])


def _right_handed(rows: NDArray[np.int64], base: NDArray[np.float64]) -> NDArray[np.int64]:
    if np.linalg.det(rows @ base) < 0:
        rows = rows.copy()
        rows[2] = -rows[2]
    return rows
