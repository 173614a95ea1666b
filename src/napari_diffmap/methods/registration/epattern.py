"""The published recipe of adaptive prominence, for comparison with the adaptive finder.

Folastre et al., *Sci. Rep.* 14 (2024), s41598-024-63060-5, re-derived from its
description: 3 × 3 scan mean, noise from the corners, rolling-ball background,
Gaussian blur, maxima of a prominence, iterated centre of mass, mean in a disk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.methods.registration.finder import FoundSpots

#: Frame that the published lengths are given for, pixels.
_FRAME = 512.0
#: Least prominence, grey levels of 255.
_LEAST = 3.0
#: White is the brightest but one of so many pixels.
_WHITE_QUANTILE = 0.9995


@dataclass(frozen=True)
class EPatternFinder:
    """Finds spots as the published recipe does.

    Lengths are those of a 512-pixel frame and scale with the frame, down to what
    a pixel allows.

    Attributes
    ----------
    shape
        Pixels of a pattern.
    white
        Value that becomes grey level 255; brighter ones are clipped.
    inner, outer
        Limits about the direct beam, pixels.
    spot_sigma
        Written as the width of every spot: the recipe measures none.
    most
        Spots kept of a pattern.
    """

    shape: tuple[int, int]
    white: float
    inner: float
    outer: float
    spot_sigma: float
    most: int = 150

    def measure(self, images: Tensor, centers: Tensor) -> FoundSpots:
        """Spots of a batch; see `PeakFinder.measure`."""
        found = [
            self._one(image, center)
            for image, center in zip(images.cpu().numpy(), centers.cpu().numpy(), strict=True)
        ]
        rows = np.concatenate([np.c_[np.full(len(f), i), f] for i, (f, _) in enumerate(found)])
        noise = np.array([level for _, level in found])
        which, ky, kx, mean, prominence, width, snr = torch.as_tensor(rows.T.astype(np.float32))
        level = torch.as_tensor(noise.astype(np.float32))
        return FoundSpots(which.long(), ky, kx, mean, prominence, width, snr, level)

    def _one(
        self, image: NDArray[np.float32], center: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], float]:
        """Rows of ky, kx, mean, prominence, width, snr; and the noise."""
        from scipy.ndimage import gaussian_filter
        from skimage.restoration import rolling_ball

        zoom = min(self.shape) / _FRAME
        gain = 255.0 / self.white
        grey = np.clip(image * gain, 0, 255).astype(np.float64)
        noise = _corner_noise(grey)
        flat = grey - rolling_ball(grey, radius=max(4.0, min(self.shape) / 10))
        soft = gaussian_filter(flat, max(1.0, 2.0 * zoom))
        places = _maxima(soft, max(_LEAST, noise))
        window = max(2, round(5 * zoom))
        fine = np.array([_centre_of_mass(soft, place, window) for place in places]).reshape(-1, 2)
        far = np.hypot(fine[:, 0] - center[0], fine[:, 1] - center[1])
        fine = fine[(far >= self.inner) & (far <= self.outer)]
        around = max(4.0, 12.5 * zoom)
        rows = []
        for y, x in fine:
            mean = float(_disk(flat, y, x, 1.5).mean())
            surroundings = _disk(flat, y, x, around)
            prominence = float(soft[round(y), round(x)] - surroundings.min())
            rows.append(
                (
                    y, x, mean / gain, prominence / gain, self.spot_sigma,
                    prominence / max(noise, 1e-6),
                )
            )  # fmt: skip
        table = np.array(rows, dtype=np.float64).reshape(-1, 6)
        table = table[np.argsort(-table[:, 3], kind="stable")][: self.most]
        return table, noise / gain


def white_level(frames: NDArray[np.float32]) -> float:
    """Value to show as white: the histogram's upper end with its brightest pixels clipped."""
    level = float(np.quantile(frames, _WHITE_QUANTILE))
    return level if level > 0 else float(max(frames.max(), 1.0))


def _corner_noise(grey: NDArray[np.float64]) -> float:
    """Standard deviation outside the circle that the frame holds."""
    height, width = grey.shape
    y, x = np.ogrid[:height, :width]
    away = ((y - (height - 1) / 2) / (height / 2)) ** 2 + ((x - (width - 1) / 2) / (width / 2)) ** 2
    return float(grey[away > 1].std())


def _maxima(image: NDArray[np.float64], prominence: float) -> NDArray[np.float64]:
    """Centres of the maxima that rise by `prominence`, those at the border left out."""
    from scipy.ndimage import center_of_mass, label
    from skimage.morphology import h_maxima
    from skimage.segmentation import clear_border

    labels, _ = label(h_maxima(image, prominence), structure=np.ones((3, 3)))
    labels = clear_border(labels)
    numbers = np.unique(labels[labels > 0])
    return np.array(center_of_mass(labels > 0, labels, numbers)).reshape(-1, 2)


def _centre_of_mass(
    image: NDArray[np.float64], place: NDArray[np.float64], reach: int
) -> tuple[float, float]:
    """Five times the centre of mass in a square window about the last one."""
    y, x = float(place[0]), float(place[1])
    for _ in range(5):
        rows = slice(max(0, round(y) - reach), min(image.shape[0], round(y) + reach + 1))
        columns = slice(max(0, round(x) - reach), min(image.shape[1], round(x) + reach + 1))
        weight = np.clip(image[rows, columns], 0, None)
        total = weight.sum()
        if total <= 0:
            break
        y = float((weight.sum(axis=1) * np.arange(rows.start, rows.stop)).sum() / total)
        x = float((weight.sum(axis=0) * np.arange(columns.start, columns.stop)).sum() / total)
    return y, x


def _disk(image: NDArray[np.float64], y: float, x: float, radius: float) -> NDArray[np.float64]:
    """Pixels within `radius` of a place; at least the nearest one."""
    reach = int(np.ceil(radius))
    rows = slice(max(0, round(y) - reach), min(image.shape[0], round(y) + reach + 1))
    columns = slice(max(0, round(x) - reach), min(image.shape[1], round(x) + reach + 1))
    dy = np.arange(rows.start, rows.stop)[:, None] - y
    dx = np.arange(columns.start, columns.stop)[None, :] - x
    inside = dy**2 + dx**2 <= radius**2
    inside |= (dy**2 + dx**2) == (dy**2 + dx**2).min()
    return image[rows, columns][inside]
