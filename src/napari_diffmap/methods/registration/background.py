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


def radial_background(
    images: Tensor, centers: Tensor, noise: NoiseModel, inner: float = 0.0
) -> Tensor:
    """Mean of each ring about the beam between the spots, ``(b, rings)``.

    Spots may fill most of a ring of a small pattern: so the mean is sought from
    below, among values that the noise of that mean can explain.

    Parameters
    ----------
    images
        ``(b, ky, kx)`` clean patterns.
    centers
        ``(b, 2)`` direct beam, pixels.
    noise
        How the noise grows with the signal.
    inner
        Radius up to which the background goes on as it is there, pixels: rings are
        too coarse for the direct beam, and what they left of it would look like spots.
    """
    stride = max(1, round(float(np.sqrt(images.shape[1] * images.shape[2] / 8000))))
    height, width = images.shape[1:]
    rings = int(np.hypot(height, width) / RING) + 2
    sampled = images[:, ::stride, ::stride]
    at = radii((sampled.shape[1], sampled.shape[2]), centers / stride) * stride
    at = at.reshape(len(images), -1)
    ring = (at / RING).long().clamp_max(rings - 1)
    flat = sampled.reshape(len(images), -1)
    zeros = torch.zeros(len(images), rings, device=images.device)

    def mean(values: Tensor, kept: Tensor) -> Tensor:
        size = zeros.scatter_add(1, ring, kept).clamp_min(1.0)
        return zeros.scatter_add(1, ring, values * kept) / size

    def slope(values: Tensor) -> Tensor:
        step = torch.nn.functional.pad(values, (1, 1), mode="replicate")
        rise: Tensor = (step[:, 2:] - step[:, :-2]) / (2 * RING)
        return rise

    kept = torch.ones_like(flat)
    level = mean(flat, kept)
    kept = (flat <= level.gather(1, ring)).to(flat.dtype)
    level = mean(flat, kept)
    for _ in range(3):
        # A ring on the flank of the beam spans more values than noise does.
        reach = 3.0 * torch.sqrt(noise.variance(level)) + noise.gain + RING * slope(level).abs()
        kept = ((flat - level.gather(1, ring)).abs() <= reach.gather(1, ring)).to(flat.dtype)
        level = mean(flat, kept)
    # The pixels of a ring do not lie about its middle evenly: on a steep flank that counts.
    middle = RING * (torch.arange(rings, device=images.device) + 0.5)
    off = torch.where(level != 0, middle - mean(at, kept), 0.0).clamp(-0.5 * RING, 0.5 * RING)
    level = level + slope(level) * off
    first = min(int(np.ceil(inner / RING)), rings - 2)
    level[:, :first] = level[:, first : first + 1]
    smooth = level.clone()
    smooth[:, 1:-1] = 0.25 * level[:, :-2] + 0.5 * level[:, 1:-1] + 0.25 * level[:, 2:]
    return smooth


def background_image(profile: Tensor, shape: tuple[int, ...], centers: Tensor) -> Tensor:
    """Radial background of every pixel, ``(b, ky, kx)``."""
    frame, last = (shape[1], shape[2]), profile.shape[1] - 1.001
    rise = torch.nn.functional.pad(profile[:, 1:] - profile[:, :-1], (0, 1))
    middle = centers.mean(dim=0, keepdim=True)
    if float((centers - middle).abs().max()) < 0.25:
        # One table of places for all patterns: several times faster.
        place = (radii(frame, middle).reshape(-1) / RING - 0.5).clamp_(0, last)
        ring = place.long()
        inner, step = profile.index_select(1, ring), rise.index_select(1, ring)
    else:
        place = (radii(frame, centers).reshape(len(profile), -1) / RING - 0.5).clamp_(0, last)
        ring = place.long()
        inner, step = profile.gather(1, ring), rise.gather(1, ring)
    return inner.addcmul_(step, place.sub_(ring)).reshape(len(profile), *frame)


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
        Whether the values are integers: they are taken as counts where their
        variance is near their mean.
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
    means = np.array(rows)[:, 1]
    if counts and means.max() > 0:
        # Over the background alone: where spots are, their slopes pass for noise.
        dim = means <= np.median(means)
        if 0.6 < np.sum(np.array(values)[dim]) / max(np.sum(means[dim]), 1e-12) < 1.6:
            return NoiseModel(1.0, 0.0)
    (offset, gain), _ = nnls(np.array(rows) * weight[:, None], np.array(values) * weight)
    return NoiseModel(float(gain), float(np.sqrt(offset)))


def _clipped_variance(values: NDArray[np.float32], least: float) -> float:
    """Variance without what lies beyond five times the spread, but with all up to `least`."""
    variance = float(np.mean(values.astype(np.float64) ** 2))
    for _ in range(3):
        inside = np.abs(values) <= max(5 * np.sqrt(variance), least)
        variance = float(np.mean(values[inside].astype(np.float64) ** 2))
    return variance
