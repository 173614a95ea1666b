"""Symmetry operators of a crystal: from a file, from a name, or found in the atoms.

An operator is a pair ``(W, t)``: ``x' = W x + t`` in fractional coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from orix.quaternion.symmetry import Symmetry

Operator = tuple[NDArray[np.int64], NDArray[np.float64]]
Cell = tuple[float, float, float, float, float, float]

#: Two atoms nearer than this (Å) are images of one site.
SAME_SITE = 0.05


def base_from_cell(cell: Cell) -> NDArray[np.float64]:
    """Cell vectors as rows (Å) in the crystal Cartesian frame e1 ∥ a, e3 ∥ c*."""
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.deg2rad(cell[3:]))
    sg = float(np.sqrt(1 - cg**2))
    cy = (ca - cb * cg) / sg
    cz2 = 1 - cb**2 - cy**2
    if cz2 <= 0:
        raise ValueError("the three cell angles cannot meet in a corner")
    return np.array(
        [[a, 0.0, 0.0], [b * cg, b * sg, 0.0], [c * cb, c * cy, c * float(np.sqrt(cz2))]]
    )


def fits_cell(operators: Sequence[Operator], base: NDArray[np.float64]) -> bool:
    """Whether every operator keeps lengths and angles of the cell (1 %)."""
    metric = base @ base.T
    scale = float(np.abs(metric).max())
    return all(np.abs(w.T @ metric @ w - metric).max() < 0.01 * scale for w, _ in operators)


def operators_from_name(name: str) -> tuple[tuple[Operator, ...], str, int] | None:
    """Operators, short name and number of a space group that diffpy knows by `name`."""
    from diffpy.structure.spacegroups import GetSpaceGroup, IsSpaceGroupIdentifier

    plain = name.split(":")[0].strip()
    for word in (name, plain, plain.replace(" ", "")):
        if IsSpaceGroupIdentifier(word):
            group = GetSpaceGroup(word)
            operators = tuple(
                (np.rint(op.R).astype(np.int64), np.asarray(op.t, dtype=np.float64) % 1.0)
                for op in group.iter_symops()
            )
            return operators, str(group.short_name), int(group.number)
    return None


def expand(
    xyz: NDArray[np.float64], operators: Sequence[Operator], base: NDArray[np.float64]
) -> NDArray[np.float64]:
    """All images of one site in the cell, ``(n, 3)`` fractional in [0, 1)."""
    images: list[NDArray[np.float64]] = []
    for w, t in operators:
        image = (w @ xyz + t) % 1.0
        if all(_distance(image, other, base) > SAME_SITE for other in images):
            images.append(image)
    result = np.array(images)
    result[np.abs(result - 1) < 1e-9] = 0.0
    return result


def _distance(
    one: NDArray[np.float64], other: NDArray[np.float64], base: NDArray[np.float64]
) -> float:
    d = one - other
    return float(np.linalg.norm((d - np.round(d)) @ base))


def pair_distances(xyz: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (Å) of every pair of atoms to its nearest image, ``(n, n)``; inf on the diagonal.

    An atom's distance to its own images is never shorter than the cell, so the
    diagonal carries nothing.
    """
    d = xyz[:, None] - xyz[None]
    d -= np.round(d)
    shifts = np.array(list(product((-1, 0, 1), repeat=3)))
    result = np.full(d.shape[:2], np.inf)
    for shift in shifts:
        np.minimum(result, np.linalg.norm((d + shift) @ base, axis=-1), out=result)
    np.fill_diagonal(result, np.inf)
    return np.asarray(result)


def lattice_operators(base: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Integer matrices that keep the metric of the lattice (0.5 %), ``W`` on column vectors."""
    metric = base @ base.T
    lengths = np.sqrt(np.diag(metric))
    # Reach far enough that a skewed cell finds its images too.
    inverse = np.linalg.norm(np.linalg.inv(base), axis=0)
    reach = np.ceil(1.01 * lengths.max() * inverse).astype(int)
    grid = np.array(list(product(*(range(-n, n + 1) for n in reach))))
    norms = np.linalg.norm(grid @ base, axis=1)
    columns = [grid[np.abs(norms - length) < 0.005 * length] for length in lengths]
    tolerance = 0.005 * float(metric.max())
    found: list[NDArray[np.int64]] = []
    for first in columns[0]:
        for second in columns[1]:
            if abs(first @ metric @ second - metric[0, 1]) > tolerance:
                continue
            for third in columns[2]:
                if (
                    abs(first @ metric @ third - metric[0, 2]) < tolerance
                    and abs(second @ metric @ third - metric[1, 2]) < tolerance
                ):
                    found.append(np.stack((first, second, third), axis=1))
    return [w for w in found if abs(round(float(np.linalg.det(w)))) == 1]


def find_operators(
    base: NDArray[np.float64],
    xyz: NDArray[np.float64],
    kinds: NDArray[np.int64],
    tolerance: float = SAME_SITE,
) -> tuple[Operator, ...]:
    """Symmetry operators that map a full cell of atoms onto itself.

    Parameters
    ----------
    base
        Cell vectors as rows, Å.
    xyz
        Every atom of the cell, ``(n, 3)`` fractional.
    kinds
        ``(n,)`` numbers; only atoms of one kind may change places.
    tolerance
        How far (Å) an atom may lie from the image it should meet.
    """
    values, counts = np.unique(kinds, return_counts=True)
    rare = xyz[kinds == values[np.argmin(counts)]]
    operators: list[Operator] = []
    for w in lattice_operators(base):
        moved = xyz @ w.T
        start = rare[0] @ w.T
        for target in rare:
            shift = (target - start) % 1.0
            if _maps_onto(moved + shift, xyz, kinds, base, tolerance):
                operators.append((w, shift))
    return tuple(operators)


def _maps_onto(
    moved: NDArray[np.float64],
    xyz: NDArray[np.float64],
    kinds: NDArray[np.int64],
    base: NDArray[np.float64],
    tolerance: float,
) -> bool:
    for i in range(len(moved)):
        d = xyz[kinds == kinds[i]] - moved[i]
        d -= np.round(d)
        if np.linalg.norm(d @ base, axis=1).min() > tolerance:
            return False
    return True


def cartesian_rotations(
    operators: Sequence[Operator], base: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distinct rotation parts as Cartesian matrices ``(n, 3, 3)``; mirrors have det −1."""
    unique = np.unique(np.array([w for w, _ in operators]), axis=0)
    columns = base.T
    inverse = np.linalg.inv(columns)
    rotations = np.array([columns @ w @ inverse for w in unique])
    # The nearest orthogonal matrix: cells are rounded numbers.
    u, _, vt = np.linalg.svd(rotations)
    return np.asarray(u @ vt, dtype=np.float64)


def proper_rotations(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations of the Laue group, mirrors taken times the inversion, ``(m, 3, 3)``."""
    turned = rotations * np.linalg.det(rotations)[:, None, None]
    keep: list[NDArray[np.float64]] = []
    for r in turned:
        if all(np.abs(r - other).max() > 0.01 for other in keep):
            keep.append(r)
    return np.array(keep)


def quaternions_from_matrices(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions (a, b, c, d), a ≥ 0, of active rotation matrices ``(..., 3, 3)``."""
    from scipy.spatial.transform import Rotation

    flat = matrices.reshape(-1, 3, 3)
    xyzw = Rotation.from_matrix(flat).as_quat(canonical=True)
    return np.asarray(np.roll(xyzw, 1, axis=1).reshape(*matrices.shape[:-2], 4))


def orix_point_group(rotations: NDArray[np.float64], hint: str = "") -> tuple[Symmetry, bool]:
    """The orix point group with exactly these operators.

    Parameters
    ----------
    rotations
        Cartesian matrices of the whole group, mirrors with det −1.
    hint
        Name to give a group that orix has no name for (another setting).

    Returns
    -------
    group, named
        The group, and whether it is one of orix's named ones.
    """
    from orix.quaternion.symmetry import Symmetry, _groups

    def same(group: Any) -> bool:
        if group.size != len(rotations):
            return False
        matrices = group.to_matrix() * np.where(group.improper, -1, 1)[:, None, None]
        gaps = np.abs(matrices[:, None] - rotations[None]).max(axis=(-1, -2))
        return bool((gaps.min(axis=1) < 0.02).all())

    # Prefer the plain names (2/m, 32, -3m) to their oriented twins (112, 321).
    for group in sorted(_groups, key=lambda g: len(g.name)):
        if same(group):
            return group, True
    determinants = np.linalg.det(rotations)
    group = Symmetry(quaternions_from_matrices(rotations * determinants[:, None, None]))
    group.improper = (determinants < 0).astype(int)
    group.name = hint
    return group, False
