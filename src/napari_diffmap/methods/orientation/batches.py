"""Batches of spots whose answers do not depend on what else is in them."""

from __future__ import annotations

import torch

from napari_diffmap.methods.registration.spots import PeakBatch


def evened(peaks: PeakBatch, rows: int = 8, columns: int = 32) -> PeakBatch:
    """The same spots, filled up with nothing to multiples of some rows and columns.

    Sums round differently with their length: without this an answer would depend, in
    its last bits, on what else is in the batch, and so on how a run was cut.
    """
    b, p = peaks.kx.shape
    used = (peaks.intensity > 0).any(dim=0).nonzero()
    width = -(-(int(used.max()) + 1 if len(used) else 1) // columns) * columns
    fill = (0, width - p, 0, -b % rows)
    return PeakBatch(
        *(
            torch.nn.functional.pad(values, fill)
            for values in (peaks.kx, peaks.ky, peaks.intensity, peaks.trust)
        )
    )
