"""Rotations of templates and candidates as matrices, batched in torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.crystal.simulate import rotation_matrices


def template_matrices(rotations: Tensor, mirrored: Tensor, angle: Tensor) -> Tensor:
    """Crystal → laboratory matrices of templates turned in the plane.

    Parameters
    ----------
    rotations
        ``(…, 4)`` zone rotations O_n.
    mirrored
        ``(…)`` whether the mirror copy is meant: the crystal turned half about
        y, whose Friedel pairs draw the pattern mirrored in y.
    angle
        ``(…)`` in-plane angle φ from x towards y, radians.

    Returns
    -------
    Tensor
        ``R_z(φ) [C_2y] O_nᵀ``.
    """
    base = rotation_matrices(rotations).transpose(-1, -2)
    flip = torch.tensor([-1.0, 1.0, -1.0], device=base.device)
    one = torch.ones_like(flip)
    base = torch.where(mirrored[..., None], flip, one)[..., None] * base
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero, unit = torch.zeros_like(cos), torch.ones_like(cos)
    turn = torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, unit), dim=-1)
    return turn.reshape(*angle.shape, 3, 3) @ base


def disorientation(matrices: Tensor, reference: Tensor, operators: Tensor) -> Tensor:
    """Disorientation angle (radians) of crystal → laboratory matrices.

    Parameters
    ----------
    matrices
        ``(b, k, 3, 3)``.
    reference
        ``(b, 1, 3, 3)``.
    operators
        ``(m, 3, 3)`` proper rotations of the crystal.
    """
    between = matrices.transpose(-1, -2) @ reference  # crystal → crystal
    trace = torch.einsum("bkij,mji->bkm", between, operators).amax(dim=-1)
    return torch.arccos(((trace - 1) / 2).clamp(-1, 1))


def matrices_to_quaternions(matrices: NDArray[np.floating]) -> NDArray[np.float32]:
    """Unit quaternions (a, b, c, d), a ≥ 0, ``(…, 4)`` float32 of rotation matrices."""
    from scipy.spatial.transform import Rotation

    flat = np.asarray(matrices, dtype=np.float64).reshape(-1, 3, 3)
    xyzw = Rotation.from_matrix(flat).as_quat(canonical=True)
    quaternions = np.roll(xyzw, 1, axis=1).reshape(*matrices.shape[:-2], 4)
    return np.asarray(quaternions, dtype=np.float32)


def pick(matrices: Tensor, index: Tensor) -> Tensor:
    """``(b, n, 3, 3)`` of ``(b, k, 3, 3)`` by ``(b, n)`` indices."""
    wanted = index[..., None, None].expand(*index.shape, 3, 3)
    return matrices.gather(1, wanted)
