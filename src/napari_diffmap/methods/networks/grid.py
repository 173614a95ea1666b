"""Orientations of several phases in bins: what a network says, and what it is taught.

A bin is a beam direction of one phase, as far as its Laue group tells directions apart
(a zone axis or its mirror copy), at an in-plane angle.  A probability over all bins is
set-valued: the crystal's symmetry is in the zones, and a pattern that fits an orientation
and its half turn about the beam alike has two modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.crystal.simulate import rotation_matrices
from napari_diffmap.methods.networks.upright import about_beam
from napari_diffmap.methods.orientation.rotations import template_matrices
from napari_diffmap.methods.orientation.zones import zone_axes, zone_rotations

#: Neighbouring zones that share a taught orientation.
_SHARED = 4
_MIRROR = (-1.0, 1.0, -1.0)


@dataclass(frozen=True, eq=False)
class Taught:
    """Where the probability of a batch of patterns belongs; weights sum to 1.

    Attributes
    ----------
    column, angle, weight
        ``(b, n)`` places of the bins and their shares.
    """

    column: Tensor
    angle: Tensor
    weight: Tensor


class OrientationGrid:
    """Bins of all orientations of some phases.

    Parameters
    ----------
    phases
        What the sample may be.
    zone_step_deg
        Distance of neighbouring zone axes, degrees.
    angles
        In-plane angles of a full turn.

    Attributes
    ----------
    columns
        Beam directions of all phases: two for each zone in turn, plain and mirrored.
    phase
        ``(columns,)`` which phase each is of.
    """

    def __init__(self, phases: Sequence[CrystalPhase], zone_step_deg: float, angles: int) -> None:
        self.angles, self.zone_step_deg = angles, zone_step_deg
        self.operators = [
            rotation_matrices(torch.as_tensor(p.symmetry, dtype=torch.float64)).float()
            for p in phases
        ]
        zones = [zone_axes(m.double().numpy(), zone_step_deg) for m in self.operators]
        self._rotations = [torch.as_tensor(zone_rotations(z), dtype=torch.float32) for z in zones]
        self._zones = [torch.as_tensor(z, dtype=torch.float32) for z in zones]
        self.first = np.cumsum([0, *(2 * len(z) for z in zones)]).tolist()
        self.columns = self.first[-1]
        self.phase = torch.cat(
            [torch.full((2 * len(z),), i, dtype=torch.long) for i, z in enumerate(zones)]
        )
        # Every column's crystal → laboratory matrix at angle 0.
        both = []
        for rotations in self._rotations:
            plain = template_matrices(
                rotations, torch.zeros(len(rotations), dtype=torch.bool), rotations[:, 0] * 0
            )
            mirrored = template_matrices(
                rotations, torch.ones(len(rotations), dtype=torch.bool), rotations[:, 0] * 0
            )
            both.append(torch.stack((plain, mirrored), 1).reshape(-1, 3, 3))
        self._base = torch.cat(both)

    def matrices(self, column: Tensor, angle: Tensor) -> Tensor:
        """Crystal → laboratory ``(…, 3, 3)`` of columns at angles given in bins (not rounded)."""
        turn = angle * (2 * np.pi / self.angles)
        return about_beam(turn) @ self._base.to(column.device)[column]

    def taught(self, matrices: Tensor, phase: Tensor) -> Taught:
        """The bins near true orientations.

        Parameters
        ----------
        matrices
            ``(b, 3, 3)`` crystal → laboratory.
        phase
            ``(b,)`` number of the phase of each.
        """
        b, home = len(matrices), matrices.device
        column = torch.zeros(b, _SHARED, dtype=torch.long, device=home)
        angle, weight = torch.zeros(2, b, _SHARED, device=home)
        for i in phase.unique().tolist():
            mine = torch.nonzero(phase == i)[:, 0]
            column[mine], angle[mine], weight[mine] = self._near(i, matrices[mine])
        lower = torch.floor(angle)
        upper = angle - lower
        return Taught(
            column=torch.cat((column, column), 1),
            angle=torch.cat((lower, lower + 1), 1).long() % self.angles,
            weight=torch.cat((weight * (1 - upper), weight * upper), 1),
        )

    def _near(self, phase: int, matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Nearest columns of one phase, angles in bins, and shares that sum to 1."""
        home = matrices.device
        zones, operators = self._zones[phase].to(home), self.operators[phase].to(home)
        n, m = len(zones), len(operators)
        # Beams of all symmetric variants (crystal frame) against all zones.
        beams = torch.einsum("mij,bj->bmi", operators, matrices[:, 2])
        along = (beams.reshape(-1, 3) @ zones.T).reshape(len(matrices), m * n)
        near = along.abs().topk(_SHARED, dim=1)
        variant, zone = near.indices // n, near.indices % n
        against = along.gather(1, near.indices) < 0
        column = self.first[phase] + 2 * zone + against.long()
        own = matrices[:, None] @ operators[variant].transpose(-1, -2)
        between = own @ self._base.to(home)[column].transpose(-1, -2)
        turn = torch.atan2(
            between[..., 1, 0] - between[..., 0, 1], between[..., 0, 0] + between[..., 1, 1]
        )
        angle = torch.remainder(turn * (self.angles / (2 * np.pi)), self.angles)
        off = torch.rad2deg(torch.acos(near.values.clamp(-1, 1)))
        weight = torch.exp(-0.5 * (off / (0.5 * self.zone_step_deg)) ** 2)
        return column, angle, weight / weight.sum(1, keepdim=True)
