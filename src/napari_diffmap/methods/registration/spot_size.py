"""How wide the Bragg spots of a scan are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_diffmap.methods.registration.spots import Detector, PeakBatch, SpotFinder


def measure_spot_sigma(
    frames: NDArray[np.float32],
    centers: NDArray[np.float64],
    detector: Detector,
) -> float:
    """Gaussian width (pixels) of the Bragg spots, from the mean shape of the clearest ones.

    The direct beam does not tell it: it may be saturated, or stand in a halo.

    Parameters
    ----------
    frames, centers
        ``(n, ky, kx)`` patterns and ``(n, 2)`` beam positions, pixels.
    detector
        Geometry; its `spot_sigma` is the first guess.
    """
    sigma = detector.spot_sigma
    beams = torch.as_tensor(centers, dtype=torch.float32)
    for _ in range(3):
        finder = SpotFinder(replace(detector, spot_sigma=sigma, threshold=6.0))
        peaks = finder.find(torch.as_tensor(frames), beams)
        measured = _mean_spot_radius(
            finder.clean(torch.as_tensor(frames)).numpy(), centers, peaks, detector, sigma
        )
        if measured is None:
            return sigma
        previous, sigma = sigma, float(np.clip(measured / 1.177, 0.7, 12.0))
        if abs(sigma - previous) < 0.1 * previous:
            break
    return sigma


def _mean_spot_radius(
    images: NDArray[np.float32],
    centers: NDArray[np.float64],
    peaks: PeakBatch,
    detector: Detector,
    sigma: float,
) -> float | None:
    """Radius (pixels) at half height of the median of the clearest spots; None without spots."""
    reach = int(np.ceil(max(4.0, 3.5 * sigma)))
    intensity = peaks.intensity.numpy()
    strongest = np.argsort(-intensity, axis=1)[:, :5]
    shapes = []
    for i, order in enumerate(strongest):
        for j in order[intensity[i, order] > 0]:
            y = round(float(peaks.ky[i, j]) / detector.pixel_size + centers[i, 0])
            x = round(float(peaks.kx[i, j]) / detector.pixel_size + centers[i, 1])
            window = images[i, y - reach : y + reach + 1, x - reach : x + reach + 1]
            if min(y, x) < reach or window.shape != (2 * reach + 1,) * 2:
                continue
            rim = np.concatenate((window[0], window[-1], window[:, 0], window[:, -1]))
            lifted = window - np.median(rim)
            if lifted.sum() > 0:
                shapes.append(lifted / np.sqrt((lifted**2).sum()))
    if len(shapes) < 5:
        return None
    shape = np.mean(shapes, axis=0)
    dy, dx = np.indices(shape.shape) - reach
    radius = np.hypot(dy, dx)
    profile = np.array(
        [shape[(radius >= r - 0.5) & (radius < r + 0.5)].mean() for r in range(reach)]
    )
    below = np.flatnonzero(profile < 0.5 * profile[0])
    if not below.size:
        return None
    last = below[0]
    step = (profile[last - 1] - 0.5 * profile[0]) / (profile[last - 1] - profile[last])
    return float(last - 1 + step)
