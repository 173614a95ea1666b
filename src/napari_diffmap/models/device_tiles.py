"""Virtual detectors where patterns are kept on a GPU: the sums of `scan.sums`, by torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import RunError
from napari_diffmap.scan.masks import WeightedMask
from napari_diffmap.scan.sums import readable
from napari_diffmap.scan.tiles import BlockReader, Tile

if TYPE_CHECKING:
    import torch

#: Share of a GPU's free memory that patterns may take: models need the rest.
_SHARE = 0.4
#: Pixels gathered at once: as double numbers they still fit the cache of a GPU, so that its
#: memory is read once.
_GATHERED = 2 << 20


@dataclass(frozen=True, eq=False)
class DeviceTile(Tile):
    """A tile whose patterns also lie on a torch device.

    Attributes
    ----------
    held
        ``(ny * nx, ky * kx)`` on the device, in the file's own width; unsigned counts lie in
        signed numbers of the same bits.
    """

    held: torch.Tensor

    def sums(self, weighted: WeightedMask) -> NDArray[np.float64]:
        """Both sums of every pattern, ``(ny, nx, 2)``.

        Counts without weights are summed as whole numbers, everything else in double
        precision: to the last bit what `scan.sums.sums` gives for counts, and for floats as
        far as the order of a sum allows.
        """
        import torch

        pixels, weights = _on_device(weighted, str(self.held.device))
        patterns = len(self.held)
        out = torch.zeros((patterns, 2), dtype=torch.float64, device=self.held.device)
        step = max(1, _GATHERED // max(len(pixels), 1))
        for begin in range(0, patterns if len(pixels) else 0, step):
            part = self._values(self.held[begin : begin + step].index_select(1, pixels))
            if weights is None:
                whole = part.sum(dim=1)
                out[begin : begin + step, 0] = whole.to(torch.float64)
            else:
                out[begin : begin + step] = part.to(torch.float64) @ weights
        return out.cpu().numpy().reshape(*self.shape, 2)

    def _values(self, raw: torch.Tensor) -> torch.Tensor:
        """Pixels as 64-bit numbers, unsigned counts what they were."""
        import torch

        dtype = self.patterns.dtype
        if raw.is_floating_point():
            return raw.to(torch.float64)
        if dtype.kind != "u" or dtype.itemsize == 1:
            wide = raw.to(torch.int64)
        elif dtype.itemsize < 8:
            wide = raw.to(torch.int64) & ((1 << 8 * dtype.itemsize) - 1)
        else:
            wide = raw
        if dtype.itemsize < 8:
            return wide
        # Sums of 64-bit counts may be larger than 64 bits.
        values = wide.to(torch.float64)
        return torch.where(wide < 0, values + 2.0**64, values) if dtype.kind == "u" else values


def on_device(tile: Tile, device: str) -> DeviceTile:
    """The tile with its patterns copied to a torch device."""
    import torch

    flat = readable(tile.patterns, 0).reshape(tile.missing.size, -1)
    native = np.array(flat, dtype=flat.dtype.newbyteorder("="), order="C")
    if native.dtype.kind == "u" and native.dtype.itemsize > 1:
        native = native.view(f"i{native.dtype.itemsize}")
    held = torch.from_numpy(native).to(device)
    return DeviceTile(tile.rows, tile.columns, tile.patterns, tile.missing, held)


def reader_on(reader: BlockReader, device: str) -> BlockReader:
    """A reader whose tiles are summed on a GPU.

    Parameters
    ----------
    reader
        Holds the whole scan in memory.
    device
        Torch device.

    Raises
    ------
    RunError
        If the scan is not in memory, or the device has no room for it beside a model.
    """
    import torch

    scan = reader.scan
    if not reader.resident:
        raise RunError(f"{scan.name} is larger than the memory allowed: it stays on the processor")
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        if scan.nbytes > _SHARE * free:
            raise RunError(
                f"{scan.name} has {scan.nbytes / 1e9:.1f} GB, {device} {_SHARE * free / 1e9:.1f}"
                " GB to spare: its virtual detectors stay on the processor"
            )
    try:
        return reader.with_kept(lambda tile: on_device(tile, device))
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"{device} has no memory left: virtual detectors stay on the processor"
        ) from error


@lru_cache(maxsize=64)
def _on_device(weighted: WeightedMask, device: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Flat numbers of the pixels, and their weights ``(n, 2)``; None where all weigh 1."""
    import torch

    mask = weighted.mask
    pixels = torch.from_numpy(np.flatnonzero(mask)).to(device)
    if weighted.first is None and weighted.second is None:
        return pixels, None
    first, second = weighted.first, weighted.second
    columns: list[NDArray[Any]] = [
        np.ones(len(pixels)) if first is None else first[mask],
        np.zeros(len(pixels)) if second is None else second[mask],
    ]
    return pixels, torch.from_numpy(np.stack(columns, axis=1).astype(np.float64)).to(device)
