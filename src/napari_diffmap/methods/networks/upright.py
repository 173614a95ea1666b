"""Patterns turned upright before a network sees them, and its answers turned back.

A pattern is turned in the plane until one of its strongest spots lies on the x axis.  So a
network of any build gives turned answers for turned patterns, and has no in-plane angle to
learn.  Which spot is the strongest hangs on noise and thickness: while it learns, any of the
first few is taken, and later several turns are tried.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_diffmap.methods.registration.spots import PeakBatch

#: One of so many strongest spots is turned to the x axis while a network learns.
CHOICES = 3
#: Turns of a pattern that are tried when it answers: by each of so many strongest spots.
TURNS = 2


def angle_of_spot(peaks: PeakBatch, rank: Tensor) -> Tensor:
    """In-plane angle ``(b,)``, radians, of each pattern's `rank`-th strongest spot (from 0)."""
    height = peaks.intensity * peaks.trust
    order = height.topk(min(CHOICES, height.shape[1]), dim=1)
    place = rank.clamp(max=order.indices.shape[1] - 1)[:, None]
    # A pattern of fewer spots is turned by its strongest.
    place = torch.where(order.values.gather(1, place) > 0, place, 0)
    index = order.indices.gather(1, place)
    return torch.atan2(peaks.ky.gather(1, index), peaks.kx.gather(1, index))[:, 0]


def about_beam(angle: Tensor) -> Tensor:
    """Rotations ``(…, 3, 3)`` about the beam (z), x towards y, by angles in radians."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = (cos, -sin, zero, sin, cos, zero, zero, zero, one)
    return torch.stack(rows, -1).reshape(*angle.shape, 3, 3)
