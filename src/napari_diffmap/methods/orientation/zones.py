"""Zone axes: an even grid on the part of the sphere that symmetry leaves.

A diffraction pattern of a Friedel-symmetric crystal does not tell the Laue
group's images of a zone axis apart, *including* the opposite direction, whose
pattern is the mirror image.  So one zone per orbit of the Laue group (with the
inversion) is enough, provided every template is also tried mirrored: without the
mirror copy half of all orientations are out of reach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fibonacci_sphere(n: int) -> NDArray[np.float64]:
    """`n` unit vectors of nearly equal area (González, *Math. Geosci.* 42 (2010) 49)."""
    i = np.arange(n) + 0.5
    polar = np.arccos(1 - 2 * i / n)
    azimuth = np.pi * (1 + 5**0.5) * i
    return np.stack(
        (np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)), axis=1
    )


def zone_axes(operators: NDArray[np.float64], step_deg: float) -> NDArray[np.float64]:
    """Zone axes of one Laue class.

    Parameters
    ----------
    operators
        ``(m, 3, 3)`` proper rotations of the Laue group, crystal Cartesian.
    step_deg
        Distance of neighbouring zone axes, degrees.

    Returns
    -------
    ndarray (n, 3)
        Unit vectors (crystal Cartesian) pointing along the beam.

    Notes
    -----
    The part kept is where a general direction v is nearer than all its images:
    a fundamental domain for any group in any setting, with half a step of margin.
    """
    step = np.deg2rad(step_deg)
    # A hexagonal grid of spacing d has an area of d² √3/2 a point.
    count = max(12, round(4 * np.pi / (step**2 * np.sqrt(3) / 2)))
    grid = fibonacci_sphere(count)
    images = np.concatenate((operators, -operators))
    middle = _middle(images)
    own = grid @ middle
    others = np.einsum("ni,mij,j->nm", grid, images, middle)
    # Margin as an angle across the border between v and its image.
    gaps = np.linalg.norm(images @ middle - middle, axis=1)
    border = (others - own[:, None]) / np.where(gaps > 1e-9, gaps, 1.0)
    keep = (border <= np.sin(step / 2)).all(axis=1)
    return np.asarray(grid[keep])


def _middle(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """A direction far from all its images, so that the domain is compact."""
    tried = fibonacci_sphere(997)
    dots = np.einsum("ni,mij,nj->nm", tried, images, tried)
    dots[:, [bool(np.allclose(m, np.eye(3), atol=1e-6)) for m in images]] = -1
    return np.asarray(tried[int(np.argmin(dots.max(axis=1)))])


def zone_rotations(zones: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations O (quaternions ``(n, 4)``, laboratory → crystal) with O z = zone.

    The shortest rotation from z; for −z half a turn about x.
    """
    q = np.stack((1 + zones[:, 2], -zones[:, 1], zones[:, 0], np.zeros(len(zones))), axis=1)
    opposite = zones[:, 2] < -1 + 1e-12
    q[opposite] = (0.0, 1.0, 0.0, 0.0)
    return np.asarray(q / np.linalg.norm(q, axis=1, keepdims=True))


def zone_neighbours(
    zones: NDArray[np.float64], operators: NDArray[np.float64], count: int = 6
) -> NDArray[np.int64]:
    """The nearest zones of each, over the borders of the domain too, ``(n, count)``."""
    from scipy.spatial import cKDTree

    images = np.concatenate((operators, -operators))
    everywhere = (images @ zones.T).transpose(0, 2, 1).reshape(-1, 3)
    owner = np.tile(np.arange(len(zones)), len(images))
    # A zone on a symmetry element meets its own images first: ask for more than needed.
    asked = min(len(everywhere), 12 * count + 1)
    _, found = cKDTree(everywhere).query(zones, k=asked)
    near = owner[found]
    result = np.empty((len(zones), count), dtype=np.int64)
    for i, row in enumerate(near):
        others = [j for j in dict.fromkeys(row.tolist()) if j != i][:count]
        result[i] = (others + [i] * count)[:count]
    return result
