"""Batches of spots whose answers do not depend on what else is in them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from napari_diffmap.methods.registration.spots import PeakBatch


def evened(peaks: PeakBatch, rows: int = 8, columns: int = 32) -> PeakBatch:
    """The same spots, filled up with nothing to multiples of some rows and columns.

    Sums round differently with their length: without this an answer would depend, in
    its last bits, on what else is in the batch, and so on how a run was cut.
    """
    b, p = peaks.kx.shape
    used = peaks.intensity > 0
    if peaks.hidden is not None:
        used = used | peaks.hidden
    any_ = used.any(dim=0).nonzero()
    width = -(-(int(any_.max()) + 1 if len(any_) else 1) // columns) * columns
    index = torch.arange(b + (-b % rows), device=peaks.kx.device)
    filled = peaks.take(torch.where(index < b, index, 0))

    def wide(values: Tensor) -> Tensor:
        return torch.nn.functional.pad(values, (0, width - p))

    return replace(
        filled,
        kx=wide(filled.kx),
        ky=wide(filled.ky),
        intensity=wide(filled.intensity * (index < b)[:, None]),
        trust=wide(filled.trust),
        noise=None if filled.noise is None else wide(filled.noise),
        hidden=None if filled.hidden is None else wide(filled.hidden),
    )
