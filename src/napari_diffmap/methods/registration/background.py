"""What lies under the spots: the radial background, and how noisy it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.methods.registration.fit import NoiseModel

#: Rings of the radial background, pixels wide.
RING = 2.0


def radii(shape: tuple[int, int], centers: Tensor) -> Tensor:
    """Distance of every pixel from the beam of each pattern, ``(b, ky, kx)``."""
    y = torch.arange(shape[0], device=centers.device) - centers[:, :1]
    x = torch.arange(shape[1], device=centers.device) - centers[:, 1:]
    return torch.sqrt((y**2)[:, :, None] + (x**2)[:, None, :])


def radial_background(images: Tensor, centers: Tensor, quantum: float) -> Tensor:
    """Mean of each ring about the beam, spots clipped away, ``(b, rings)``.

    Parameters
    ----------
    images
        ``(b, ky, kx)`` clean patterns.
    centers
        ``(b, 2)`` direct beam, pixels.
    quantum
        Smallest step of the values; a single count is never clipped.
    """
    stride = max(1, round(float(np.sqrt(images.shape[1] * images.shape[2] / 12000))))
    height, width = images.shape[1:]
    rings = int(np.hypot(height, width) / RING) + 2
    sampled = images[:, ::stride, ::stride]
    at = radii((sampled.shape[1], sampled.shape[2]), centers / stride) * stride
    ring = (at / RING).long().clamp_max(rings - 1).reshape(len(images), -1)
    flat = sampled.reshape(len(images), -1)
    zeros = torch.zeros(len(images), rings, device=images.device)
    kept = torch.ones_like(flat)
    level = zeros
    for limit in (3.0, 3.0, 0.0):
        size = zeros.scatter_add(1, ring, kept).clamp_min(1.0)
        level = zeros.scatter_add(1, ring, flat * kept) / size
        if not limit:
            break
        gap = flat - level.gather(1, ring)
        spread = torch.sqrt(zeros.scatter_add(1, ring, gap * gap * kept) / size)
        kept = (gap.abs() <= limit * spread.gather(1, ring) + quantum).to(flat.dtype)
    # An empty ring (off the detector) goes on as the one before it.
    smooth = level.clone()
    smooth[:, 1:-1] = 0.25 * level[:, :-2] + 0.5 * level[:, 1:-1] + 0.25 * level[:, 2:]
    return smooth


def at_radius(profile: Tensor, which: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Radial background and its slope (per pixel outwards) at places of some patterns."""
    place = (radius / RING - 0.5).clamp(0, profile.shape[1] - 1.001)
    ring = place.long()
    inner, outer = profile[which, ring], profile[which, ring + 1]
    return inner + (place - ring) * (outer - inner), (outer - inner) / RING


def measure_noise(frames: NDArray[np.float32], counts: bool) -> NoiseModel:
    """How the noise of a detector grows with the signal.

    The variance of what differs between neighbouring pixels, spots and their
    slopes clipped away, is fitted over bins of equal brightness.

    Parameters
    ----------
    frames
        ``(n, ky, kx)`` sampled patterns.
    counts
        Whether the values are integers; a gain near one is then one.
    """
    from scipy.ndimage import uniform_filter
    from scipy.optimize import nnls

    frames = frames[:: max(1, len(frames) // 24)]
    rough = (frames[:, :, 1:-1] - 0.5 * (frames[:, :, :-2] + frames[:, :, 2:])).ravel()
    mean = np.stack([uniform_filter(frame, 7) for frame in frames])[:, :, 1:-1].ravel()
    chosen = mean <= np.quantile(mean, 0.9)
    rough, mean = rough[chosen], mean[chosen]
    edges = np.quantile(mean, np.linspace(0, 1, 17))
    rows, values = [], []
    for low, high in pairwise(edges):
        part = (mean >= low) & (mean <= high)
        if part.sum() < 50:
            continue
        rows.append((1.0, max(float(mean[part].mean()), 0.0)))
        values.append(_clipped_variance(rough[part], 2.0 if counts else 0.0) / 1.5)
    if not rows or max(values) <= 0:
        return NoiseModel(1.0 if counts else 0.0, 0.0)
    weight = 1 / (np.array(values) + 0.01 * max(values))
    (offset, gain), _ = nnls(np.array(rows) * weight[:, None], np.array(values) * weight)
    if counts and 0.5 < gain < 2.0:
        gain = 1.0
    return NoiseModel(float(gain), float(np.sqrt(offset)))


def _clipped_variance(values: NDArray[np.float32], least: float) -> float:
    """Variance without what lies beyond five times the spread, but with all up to `least`."""
    variance = float(np.mean(values.astype(np.float64) ** 2))
    for _ in range(3):
        inside = np.abs(values) <= max(5 * np.sqrt(variance), least)
        variance = float(np.mean(values[inside].astype(np.float64) ** 2))
    return variance
