"""Kernels, running sums and maxima of batches of images; how bad pixels are filled."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def gaussian(sigma: float) -> list[float]:
    """A Gaussian of sum 1 to three widths (pixels)."""
    half = max(1, int(np.ceil(3 * sigma)))
    x = np.arange(-half, half + 1)
    kernel = np.exp(-0.5 * (x / sigma) ** 2)
    return [float(v) for v in kernel / kernel.sum()]


def response_kernel(spot: list[float], around: list[float]) -> NDArray[np.float64]:
    """The zero-sum kernel of the spot response as an image."""
    narrow = np.outer(spot, spot)
    wide = np.outer(np.convolve(spot, around), np.convolve(spot, around))
    reach = (len(wide) - len(narrow)) // 2
    return np.pad(narrow, reach) - wide


def smooth(images: Tensor, kernel: list[float]) -> Tensor:
    """Correlate with a separable symmetric kernel, edges repeated.

    Shifted sums: ten times the speed of a one-channel convolution on a CPU.
    """
    half = len(kernel) // 2
    for dim, pad in ((2, (half, half, 0, 0)), (1, (0, 0, half, half))):
        size = images.shape[dim]
        wide = torch.nn.functional.pad(images[:, None], pad, mode="replicate")[:, 0]
        images = wide.narrow(dim, half, size) * kernel[half]
        for i in range(1, half + 1):
            images.add_(wide.narrow(dim, half - i, size), alpha=kernel[half + i])
            images.add_(wide.narrow(dim, half + i, size), alpha=kernel[half + i])
    return images


def local_maximum(images: Tensor, reach: int) -> Tensor:
    """Largest value within ±`reach` pixels, ``(b, ky, kx)``."""
    for dim, pad in ((2, (reach, reach, 0, 0)), (1, (0, 0, reach, reach))):
        size = images.shape[dim]
        wide = torch.nn.functional.pad(images, pad, value=-torch.inf)
        images = wide.narrow(dim, reach, size).clone()
        for i in range(1, reach + 1):
            torch.maximum(images, wide.narrow(dim, reach - i, size), out=images)
            torch.maximum(images, wide.narrow(dim, reach + i, size), out=images)
    return images


def fill_plan(
    bad: NDArray[np.bool_] | None, device: torch.device
) -> tuple[Tensor, Tensor, Tensor] | None:
    """For each bad pixel its good neighbours (3 × 3, else 5 × 5) and their weights."""
    if bad is None or not bad.any():
        return None
    height, width = bad.shape
    places = np.argwhere(bad)
    sources = np.zeros((len(places), 24), dtype=np.int64)
    weights = np.zeros((len(places), 24), dtype=np.float32)
    for i, (y, x) in enumerate(places):
        for reach in (1, 2):
            ys, xs = np.mgrid[
                max(0, y - reach) : min(height, y + reach + 1),
                max(0, x - reach) : min(width, x + reach + 1),
            ]
            good = ~bad[ys, xs]
            if good.sum() >= 3 or reach == 2:
                flat = (ys * width + xs)[good][:24]
                sources[i, : len(flat)] = flat
                weights[i, : len(flat)] = 1.0 / max(1, len(flat))
                break
    flat_bad = places[:, 0] * width + places[:, 1]
    return (
        torch.as_tensor(flat_bad, device=device),
        torch.as_tensor(sources, device=device),
        torch.as_tensor(weights, device=device),
    )
