"""Rotations of many pixels at once: symmetry, disorientation, means.

Quaternions are ``(a, b, c, d)`` with the scalar first, as in orix; an
orientation takes laboratory directions to crystal directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.phases import PhaseLike

Quaternions = NDArray[np.floating[Any]]

#: Half turn about the beam (laboratory z).
HALF_TURN = np.array([0.0, 0.0, 0.0, 1.0])
#: Products of rotations and symmetry operators made at once.  They stay within the cache, and
#: below the size from which a matrix product waits for threads on cores that are busy.
_PRODUCTS = 1 << 16
#: Proper rotations of Laue groups by the operations of the point group.
_LAUE_OPERATORS: dict[tuple[bytes, bytes], NDArray[np.float64]] = {}


def laue_operators(phase: PhaseLike) -> NDArray[np.float64]:
    """Proper rotations ``(n, 4)`` of a phase's Laue group.

    Diffraction adds the inversion (Friedel's law), so two orientations that
    differ by any of these give the same kinematic pattern.
    """
    group = phase.point_group
    key = (group.data.tobytes(), group.improper.tobytes())
    if key not in _LAUE_OPERATORS:  # orix makes every subgroup anew, 50 ms for a cubic one
        operators = np.array(group.laue_proper_subgroup.data, dtype=np.float64)
        operators.setflags(write=False)
        _LAUE_OPERATORS[key] = operators
    return _LAUE_OPERATORS[key]


def conjugate(q: Quaternions) -> NDArray[np.float64]:
    """Inverse rotations."""
    return np.asarray(q, dtype=np.float64) * (1.0, -1.0, -1.0, -1.0)


def multiply(p: Quaternions, q: Quaternions) -> NDArray[np.float64]:
    """Hamilton product ``p q``: first q turns, then p.  Shapes broadcast."""
    a1, b1, c1, d1 = np.moveaxis(np.asarray(p, dtype=np.float64), -1, 0)
    a2, b2, c2, d2 = np.moveaxis(np.asarray(q, dtype=np.float64), -1, 0)
    return np.stack(
        (
            a1 * a2 - b1 * b2 - c1 * c2 - d1 * d2,
            a1 * b2 + b1 * a2 + c1 * d2 - d1 * c2,
            a1 * c2 - b1 * d2 + c1 * a2 + d1 * b2,
            a1 * d2 + b1 * c2 - c1 * b2 + d1 * a2,
        ),
        axis=-1,
    )


def rotate_vector(q: Quaternions, v: tuple[float, float, float]) -> NDArray[Any]:
    """``q v q⁻¹`` for one vector and many rotations ``(…, 4)`` → ``(…, 3)``."""
    a, b, c, d = np.moveaxis(q, -1, 0)
    x, y, z = (a.dtype.type(value) for value in v)
    # t = 2 (b, c, d) × v;  v' = v + a t + (b, c, d) × t
    tx, ty, tz = 2 * (c * z - d * y), 2 * (d * x - b * z), 2 * (b * y - c * x)
    return np.stack(
        (
            x + a * tx + c * tz - d * ty,
            y + a * ty + d * tx - b * tz,
            z + a * tz + b * ty - c * tx,
        ),
        axis=-1,
    )


def chunks(n: int, size: int) -> Iterator[slice]:
    """Slices that cover ``range(n)``."""
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))


def batches(n: int, operators: int) -> Iterator[slice]:
    """Slices that cover ``range(n)``, short enough for products with so many operators."""
    return chunks(n, max(1, _PRODUCTS // operators))


def disorientation(
    first: Quaternions,
    second: Quaternions,
    operators: NDArray[np.float64],
    *,
    half_turn: bool = False,
) -> NDArray[np.float32]:
    """Disorientation of pairs of orientations of one phase.

    The smallest angle of ``s₂ O₂ O₁⁻¹ s₁`` over all symmetry operators; as the
    angle does not change under conjugation, one of the two suffices.

    Parameters
    ----------
    first, second
        ``(n, 4)`` orientations O₁, O₂.
    operators
        ``(m, 4)`` proper rotations of the crystal, see `laue_operators`.
    half_turn
        Turn the second crystal by 180° about the beam before comparing.

    Returns
    -------
    ndarray
        ``(n,)`` float32, degrees.

    Notes
    -----
    Computed in float64, because the arc cosine of a float32 near 1 errs by
    0.04°.
    """
    out = np.empty(len(first), dtype=np.float32)
    for part in batches(len(first), len(operators)):
        o1, o2 = _unit(first[part]), _unit(second[part])
        if half_turn:
            o2 = multiply(o2, HALF_TURN)
        cosine = np.abs(operators @ multiply(o2, conjugate(o1)).T).max(axis=0)
        out[part] = np.rad2deg(2 * np.arccos(np.minimum(cosine, 1.0)))
    return out


def _unit(q: Quaternions) -> NDArray[np.float64]:
    wide = np.asarray(q, dtype=np.float64)
    unit: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return unit


def bunge(q: Quaternions) -> NDArray[np.float64]:
    """Bunge Euler angles (φ1, Φ, φ2) ``(n, 3)`` in radians, 0 ≤ φ1, φ2 < 2π, 0 ≤ Φ ≤ π.

    From the half sum and half difference of φ1 and φ2, which are exact where
    the usual formulas are not: at Φ = 0 and at Φ = 180° (where orix 0.15 errs).
    There only φ1 ± φ2 is defined, and φ2 is 0.

    Parameters
    ----------
    q
        ``(n, 4)`` orientations.
    """
    a, b, c, d = _unit(q).T
    half_sum, half_difference = np.arctan2(-d, a), np.arctan2(-c, -b)
    euler = np.stack(
        (
            half_sum + half_difference,
            2 * np.arctan2(np.hypot(b, c), np.hypot(a, d)),
            half_sum - half_difference,
        ),
        axis=-1,
    )
    flat = np.sin(euler[:, 1]) < 1e-7
    euler[flat, 0] = 2 * np.where(euler[flat, 1] < 1, half_sum[flat], half_difference[flat])
    euler[flat, 2] = 0.0
    euler[:, 0::2] %= 2 * np.pi
    # A tiny negative angle rounds up to 2π itself.
    euler[euler >= 2 * np.pi] = 0.0
    return euler


def nearest_variant(
    q: Quaternions, reference: Quaternions, operators: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The symmetric variant ``s O`` of each orientation that is nearest to its reference.

    Parameters
    ----------
    q, reference
        ``(n, 4)`` orientations.
    operators
        ``(m, 4)`` proper rotations of the crystal.

    Returns
    -------
    ndarray
        ``(n, 4)`` float64, on the same half of the quaternion sphere as the reference.
    """
    out = np.empty((len(q), 4))
    for part in batches(len(q), len(operators)):
        o, ref = _unit(q[part]), _unit(reference[part])
        # <ref, s o> = <ref o⁻¹, s>
        closeness = operators @ multiply(ref, conjugate(o)).T
        best = np.abs(closeness).argmax(axis=0)
        sign = np.sign(closeness[best, np.arange(len(best))])
        sign[sign == 0] = 1
        out[part] = multiply(operators[best], o) * sign[:, np.newaxis]
    return out


def group_means(
    q: Quaternions,
    groups: NDArray[np.integer[Any]],
    n_groups: int,
    operators: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean orientation of each group of pixels of one phase.

    Parameters
    ----------
    q
        ``(n, 4)`` orientations.
    groups
        ``(n,)`` group of each, 0 … `n_groups` - 1; every group has a member.
    operators
        ``(m, 4)`` proper rotations of the crystal.

    Returns
    -------
    ndarray
        ``(n_groups, 4)`` unit quaternions.

    Notes
    -----
    Largest eigenvector of Σ q qᵀ (Markley et al., *J. Guid. Control Dyn.* 30
    (2007) 1193), first over the variants nearest to one member, then over
    those nearest to that mean.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(n_groups))
    mean = np.asarray(q, dtype=np.float64)[order[starts]]
    upper = np.triu_indices(4)
    for _ in range(2):
        near = nearest_variant(q, mean[groups], operators)
        moments = np.empty((n_groups, 4, 4))
        for i, j in zip(*upper, strict=True):
            total = np.bincount(groups, near[:, i] * near[:, j], n_groups)
            moments[:, i, j] = moments[:, j, i] = total
        mean = np.linalg.eigh(moments)[1][:, :, -1]
    return mean * np.where(mean[:, :1] < 0, -1.0, 1.0)
