"""Which measured spot lies nearest to a place: a lookup per pattern."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_diffmap.methods.registration.spots import MOST_PEAKS, PeakBatch

_FAR = torch.iinfo(torch.int32).max
#: Room for the peak's number below its quantised distance.
_PLACES = 128
assert MOST_PEAKS < _PLACES


@dataclass(frozen=True, eq=False)
class SpotMap:
    """Measured spots of a batch with a nearest-spot lookup.

    Attributes
    ----------
    kx, ky, amplitude
        ``(b, p + 1)``; the last place is a spot of no height, far away.
    nearest
        ``(b, cells · cells)`` number of the nearest spot, p where none is near.
    cells
        Cells along one edge.
    cell
        Edge of a cell, 1/Å.
    norm2
        ``(b,)`` sum of squared amplitudes.
    """

    kx: Tensor
    ky: Tensor
    amplitude: Tensor
    nearest: Tensor
    cells: int
    cell: float
    norm2: Tensor

    def take(self, index: Tensor) -> SpotMap:
        """Some of the patterns."""
        return SpotMap(
            self.kx[index],
            self.ky[index],
            self.amplitude[index],
            self.nearest[index],
            self.cells,
            self.cell,
            self.norm2[index],
        )

    def lookup(self, kx: Tensor, ky: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Nearest spot of each place.

        Parameters
        ----------
        kx, ky
            ``(b, …)`` places, 1/Å.

        Returns
        -------
        number, kx, ky, amplitude
            Of the nearest spot; number p and amplitude 0 where none is near.
        """
        b = kx.shape[0]
        half = self.cells // 2
        column = torch.round(kx / self.cell).long() + half
        row = torch.round(ky / self.cell).long() + half
        inside = (column >= 0) & (column < self.cells) & (row >= 0) & (row < self.cells)
        flat = torch.where(inside, row * self.cells + column, 0).reshape(b, -1)
        number = self.nearest.gather(1, flat).long()
        number = torch.where(inside.reshape(b, -1), number, self.kx.shape[1] - 1)

        def of(values: Tensor) -> Tensor:
            return values.gather(1, number).reshape(kx.shape)

        return number.reshape(kx.shape), of(self.kx), of(self.ky), of(self.amplitude)


def build_spot_map(peaks: PeakBatch, amplitude: Tensor, q_max: float, reach: float) -> SpotMap:
    """Make the lookup.

    Parameters
    ----------
    peaks
        Measured spots.
    amplitude
        ``(b, p)`` their heights; 0 where there is none.
    q_max
        Largest radius asked for, 1/Å.
    reach
        How far from a spot it still counts as near, 1/Å.
    """
    b, p = amplitude.shape
    device = amplitude.device
    cell = reach / 3.5
    cells = 2 * int(q_max / cell + 2) + 1
    half = cells // 2
    steps = torch.arange(-4, 5, device=device)
    column = torch.round(peaks.kx / cell).long()[..., None, None] + steps
    row = torch.round(peaks.ky / cell).long()[..., None, None] + steps[:, None]
    dx = column * cell - peaks.kx[..., None, None]
    dy = row * cell - peaks.ky[..., None, None]
    distance = torch.sqrt(dx**2 + dy**2)
    real = (amplitude > 0)[..., None, None] & (distance <= reach)
    real = real & (column.abs() <= half) & (row.abs() <= half)
    number = torch.arange(p, device=device)[:, None, None]
    key = (distance * (1 << 20) / reach).long() * _PLACES + number
    key = torch.where(real, key, _FAR)
    flat = (row.clamp(-half, half) + half) * cells + column.clamp(-half, half) + half
    table = torch.full((b, cells * cells), _FAR, dtype=torch.int64, device=device)
    table.scatter_reduce_(1, flat.reshape(b, -1), key.reshape(b, -1), "amin")
    nearest = torch.where(table == _FAR, p, table % _PLACES).to(torch.int16)
    far = torch.full((b, 1), 1e3, device=device)
    return SpotMap(
        kx=torch.cat((peaks.kx, far), 1),
        ky=torch.cat((peaks.ky, far), 1),
        amplitude=torch.cat((amplitude, torch.zeros_like(far)), 1),
        nearest=nearest,
        cells=cells,
        cell=cell,
        norm2=(amplitude**2).sum(dim=1),
    )
