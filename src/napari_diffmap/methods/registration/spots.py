"""From raw patterns to spots: bad pixels, background, noise, peaks; batched in torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.methods.registration.signal import SpotSignal, shaded_blocks
from napari_diffmap.methods.registration.significance import background_counts, root_deviance
from napari_diffmap.methods.registration.smoothing import (
    fill_plan,
    gaussian,
    local_maximum,
    response_kernel,
    smooth,
)

#: Patterns looked at for a smallest step of their values, and values that must show it.
_STEP_FRAMES, _STEP_VALUES = 8, 5
#: Peaks kept of a pattern, most significant first.
MOST_PEAKS = 96

#: At this significance a spot is half trusted.
_TRUSTED = 7.0

#: Noise reaches this many times its core's width; spots beyond do not count as noise.
_TAIL = 6.0

#: Blocks in which shadows are sought, pixels.
_BLOCK = 8

#: Rings in which background and noise are measured, pixels wide.
_RING_WIDTH = 2.0


@dataclass(frozen=True, eq=False)
class PeakBatch:
    """Spots of a batch of patterns.

    Attributes
    ----------
    kx, ky
        ``(b, p)`` position relative to the direct beam, 1/Å.
    intensity
        ``(b, p)`` integrated intensity above the background; 0 fills up.
    trust
        ``(b, p)`` weight 0–1: near 0 for a spot that may be noise.
    noise
        ``(b, p)`` noise of the intensity; a fifth of the pattern's faintest where None.
    signal
        What stands between the spots; None where only a list of spots is known.
    hidden
        ``(b, p)`` bool: spots taken away, where nothing can be said any more.
    """

    kx: Tensor
    ky: Tensor
    intensity: Tensor
    trust: Tensor
    noise: Tensor | None = None
    signal: SpotSignal | None = None
    hidden: Tensor | None = None

    @property
    def significance(self) -> Tensor:
        """``(b, p)`` intensity over its noise; 0 fills up."""
        if self.noise is not None:
            return self.intensity / self.noise.clamp_min(1e-12)
        return self.intensity / self.faintest_noise[:, None]

    @property
    def faintest_noise(self) -> Tensor:
        """``(b,)`` noise of the pattern's faintest spot."""
        there = self.intensity > 0
        if self.noise is None:
            least = torch.where(there, self.intensity, torch.inf).amin(dim=1)
            return torch.where(torch.isfinite(least), 0.2 * least, 1.0)
        least = torch.where(there, self.noise, torch.inf).amin(dim=1)
        return torch.where(torch.isfinite(least), least, 1.0)

    @property
    def clear(self) -> Tensor:
        """``(b, p)`` bool: spots that are more likely real than noise."""
        return (self.intensity > 0) & (self.trust >= 0.5)

    @property
    def count(self) -> Tensor:
        """``(b,)`` number of clear spots."""
        return self.clear.sum(dim=1)

    def __len__(self) -> int:
        return len(self.kx)

    def take(self, index: Tensor) -> PeakBatch:
        """Some of the patterns."""
        return PeakBatch(
            self.kx[index],
            self.ky[index],
            self.intensity[index],
            self.trust[index],
            noise=None if self.noise is None else self.noise[index],
            signal=None if self.signal is None else self.signal.take(index),
            hidden=None if self.hidden is None else self.hidden[index],
        )


@dataclass(frozen=True, eq=False)
class Detector:
    """What a spot finder must know of a detector.

    Attributes
    ----------
    shape
        ``(ky, kx)`` pixels.
    pixel_size
        1/Å per pixel.
    q_min, q_max
        Inner and outer limit of the spots used, 1/Å.
    spot_sigma
        Gaussian width of a spot, pixels.
    threshold
        How many times the noise a spot stands out.
    subtract_background
        Whether the radial median is subtracted.
    bad
        ``(ky, kx)`` bool: hot and dead pixels, None when there are none.
    quantum
        Smallest step of the values: 1 for counts, 0 for values without one.
    """

    shape: tuple[int, int]
    pixel_size: float
    q_min: float
    q_max: float
    spot_sigma: float
    threshold: float
    subtract_background: bool = True
    bad: NDArray[np.bool_] | None = None
    quantum: float = 0.0


@dataclass(frozen=True, eq=False)
class Detected:
    """Spots of a batch, one row each, at their brightest pixels.

    Attributes
    ----------
    which, row, column
        ``(n,)`` pattern and pixel.
    significance
        ``(n,)`` times the noise.
    height
        ``(n,)`` response above that of the ring.
    response
        ``(b, ky, kx)`` spot response of the patterns.
    level, noise
        ``(b, rings)`` mean and spread of the response in each ring.
    """

    which: Tensor
    row: Tensor
    column: Tensor
    significance: Tensor
    height: Tensor
    response: Tensor
    level: Tensor
    noise: Tensor


def smallest_step(dtype: np.dtype[Any], frames: NDArray[np.floating]) -> float:
    """Smallest step of the values of patterns, which may be what one count adds.

    Parameters
    ----------
    dtype
        Type of the values in the file.
    frames
        Some patterns.

    Returns
    -------
    float
        1 for integers; for other numbers the value of which all are multiples (counts
        written as floats, perhaps times a gain or averaged); 0 where there is none.
    """
    if np.issubdtype(dtype, np.integer):
        return 1.0
    values = frames[:: max(1, len(frames) // _STEP_FRAMES)]
    values = np.unique(values[values != 0])
    if len(values) < _STEP_VALUES or values[0] < 0:
        return 0.0
    multiple = values[values < 1000 * values[0]].astype(np.float64) / values[0]
    whole = np.abs(multiple - np.round(multiple)) < 1e-3
    return float(values[0]) if len(multiple) >= _STEP_VALUES and whole.all() else 0.0


def trust_of(significance: Tensor) -> Tensor:
    """Weight 0–1 of a spot that stands out so many times the noise."""
    return significance**2 / (significance**2 + _TRUSTED**2)


class SpotFinder:
    """Finds Bragg spots in batches of patterns.

    Bad pixels are filled from their neighbours; the pattern is correlated with a
    spot-shaped kernel of zero sum; from that response the radial background is
    taken (the mean of each ring with the spots clipped away, which is what a
    radial median estimates) and what stands above the noise of its ring is a
    spot.  Places are refined by a parabola.

    Parameters
    ----------
    detector
        Geometry and thresholds.
    device
        Torch device.
    """

    def __init__(self, detector: Detector, device: torch.device | str = "cpu") -> None:
        self.detector = detector
        self.device = torch.device(device)
        height, width = detector.shape
        self._rings = int(np.hypot(height, width) / _RING_WIDTH) + 2
        # A few thousand pixels tell the noise of every ring.
        self._stride = max(1, round(np.sqrt(height * width / 6000)))
        self._fill = fill_plan(detector.bad, self.device)
        self._spot = gaussian(detector.spot_sigma)
        self._around = gaussian(2.0 * detector.spot_sigma)
        # What one quantum adds to the variance and the skewness of the response.
        #: The zero-sum kernel of the response as an image.
        self.kernel = kernel = response_kernel(self._spot, self._around)
        self._blind = _blind(detector, self._spot, self.device)
        self._variance = detector.quantum * float((kernel**2).sum())
        self._step = detector.quantum * float((kernel**3).sum() / (kernel**2).sum())

    def clean(self, images: Tensor) -> Tensor:
        """Patterns as float32 with bad pixels filled by the mean of good neighbours."""
        images = torch.nan_to_num(images.to(torch.float32), nan=0.0, posinf=0.0, neginf=0.0)
        if self._fill is None:
            return images
        flat = images.reshape(len(images), -1)
        bad, sources, weights = self._fill
        flat[:, bad] = (flat[:, sources] * weights).sum(dim=-1)
        return images

    def response(self, images: Tensor) -> Tensor:
        """Zero-sum spot response ``(b, ky, kx)``: the spot's width minus twice that."""
        narrow = smooth(images, self._spot)
        return narrow - smooth(narrow, self._around)

    def find(self, images: Tensor, centers: Tensor) -> PeakBatch:
        """Spots of a batch.

        Parameters
        ----------
        images
            ``(b, ky, kx)`` raw patterns.
        centers
            ``(b, 2)`` direct beam (ky, kx), pixels.
        """
        images = self.clean(images)
        found = self._detect(images, centers)
        which, y, x, response = found.which, found.row, found.column, found.response
        middle = response[which, y, x]
        dy = _vertex(response[which, y - 1, x], middle, response[which, y + 1, x])
        dx = _vertex(response[which, y, x - 1], middle, response[which, y, x + 1])
        ky = (y + dy - centers[which, 0]) * self.detector.pixel_size
        kx = (x + dx - centers[which, 1]) * self.detector.pixel_size
        noise = found.noise[which, self._ring_of(y, x, centers[which])]
        columns = (ky, kx, found.height, found.significance, noise)
        size = self.detector.pixel_size
        signal = SpotSignal(
            response=response,
            level=found.level,
            noise=found.noise,
            ring=_RING_WIDTH,
            centers=centers,
            to_pixels=torch.eye(2, device=response.device) / size,
            step=self._step,
            blind=self._blind,
            shaded=shaded_blocks(images, centers, _BLOCK) if self.detector.quantum else None,
            block=_BLOCK,
        )
        return replace(_pack(len(images), which, columns), signal=signal)

    def _ring_of(self, y: Tensor, x: Tensor, centers: Tensor) -> Tensor:
        """In which ring pixels lie."""
        q = torch.hypot(y - centers[:, 0], x - centers[:, 1])
        return (q / _RING_WIDTH).long().clamp_max(self._rings - 1)

    def _detect(self, images: Tensor, centers: Tensor) -> Detected:
        """Every spot of clean patterns."""
        response = self.response(images)
        level, noise = self._ring_statistics(images, response, centers)
        return self._candidates(images, centers, response, level, noise)

    def _candidates(
        self, images: Tensor, centers: Tensor, response: Tensor, level: Tensor, noise: Tensor
    ) -> Detected:
        """Maxima of the response that stand out of the level and noise of their rings."""
        lowest = (level + self.detector.threshold * noise).amin(dim=1)
        top = local_maximum(response, max(1, round(1.5 * self.detector.spot_sigma)))
        found = (response == top) & (response > lowest[:, None, None])
        found[:, 0], found[:, -1], found[:, :, 0], found[:, :, -1] = False, False, False, False
        which, y, x = torch.nonzero(found, as_tuple=True)
        q = torch.hypot(y - centers[which, 0], x - centers[which, 1])
        ring = (q / _RING_WIDTH).long().clamp_max(self._rings - 1)
        height = response[which, y, x] - level[which, ring]
        at = noise[which, ring]
        background = background_counts(at, self._step)
        significance = root_deviance(height / at, background)
        d = self.detector
        keep = (significance > d.threshold) & (q * d.pixel_size >= d.q_min)
        keep &= (q * d.pixel_size <= d.q_max) & _is_spot(images, which, y, x)
        return Detected(
            which[keep], y[keep], x[keep], significance[keep], height[keep], response, level, noise
        )

    def _ring_statistics(
        self, images: Tensor, response: Tensor, centers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and spread of the response in each ring, spots clipped, ``(b, rings)``."""
        step = self._stride
        sampled = response[:, ::step, ::step]
        b, height, width = sampled.shape
        counts = images[:, ::step, ::step].reshape(b, -1)
        y = torch.arange(height, device=response.device) * step - centers[:, :1]
        x = torch.arange(width, device=response.device) * step - centers[:, 1:]
        r = torch.sqrt((y**2)[:, :, None] + (x**2)[:, None, :]).reshape(b, -1)
        ring = (r / _RING_WIDTH).long().clamp_max(self._rings - 1)
        flat = sampled.reshape(b, -1)
        zeros = torch.zeros(b, self._rings, device=response.device)
        kept = torch.ones_like(flat)
        level, spread = zeros, zeros
        for limit in (2.5, 2.5, 2.5, _TAIL):
            size = zeros.scatter_add(1, ring, kept).clamp_min(1.0)
            level = zeros.scatter_add(1, ring, flat * kept) / size
            gap = (flat - level.gather(1, ring)).abs()
            # The mean absolute deviation of normal noise cut at 2.5 sigma is 0.757 sigma.
            spread = zeros.scatter_add(1, ring, gap * kept) / size / 0.757
            # Where most pixels counted nothing the core of the noise says too little.
            rate = (zeros.scatter_add(1, ring, counts * kept) / size).clamp(0, 1)
            spread = torch.maximum(spread, torch.sqrt(rate * self._variance))
            kept = (gap < limit * spread.gather(1, ring)).to(flat.dtype)
        # Counting noise has longer tails than its core tells: take them in again.
        size = zeros.scatter_add(1, ring, kept).clamp_min(1.0)
        spread = torch.sqrt(zeros.scatter_add(1, ring, gap * gap * kept) / size)
        rate = (zeros.scatter_add(1, ring, counts * kept) / size).clamp(0, 1)
        spread = torch.maximum(spread, torch.sqrt(rate * self._variance))
        # A ring without a count would let its first electron pass for a spot, and
        # rounding alone structures a flat pattern.
        floor = 0.5 * spread.median(dim=1, keepdim=True).values
        floor = floor + 1e-6 + 1e-5 * counts.abs().mean(dim=1, keepdim=True)
        if not self.detector.subtract_background:
            level = torch.zeros_like(level)
        return level, torch.maximum(spread, floor)


def _is_spot(images: Tensor, which: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Whether a maximum is as wide as a spot; a cosmic ray or a hot pixel is one pixel."""
    around = (
        images[which, y - 1, x]
        + images[which, y + 1, x]
        + images[which, y, x - 1]
        + images[which, y, x + 1]
    )
    return around > 0.45 * images[which, y, x]


def _vertex(before: Tensor, middle: Tensor, after: Tensor) -> Tensor:
    """Where a parabola through three neighbours has its top, −0.5 … 0.5."""
    curvature = before - 2 * middle + after
    shift = 0.5 * (before - after) / torch.where(curvature < 0, curvature, -1.0)
    return torch.where(curvature < 0, shift, 0.0).clamp(-0.5, 0.5)


def _pack(n: int, which: Tensor, columns: tuple[Tensor, ...]) -> PeakBatch:
    """Peak rows (ky, kx, intensity, significance, noise) as padded ``(n, p)`` arrays.

    Most significant first.
    """
    ky, kx, intensity, significance, noise = columns
    order = torch.argsort(significance, descending=True, stable=True)
    order = order[torch.argsort(which[order], stable=True)]
    which = which[order]
    count = torch.bincount(which, minlength=n)
    start = torch.cumsum(count, 0) - count
    place = torch.arange(len(which), device=which.device) - start[which]
    kept = place < MOST_PEAKS
    width = max(1, min(MOST_PEAKS, int(count.max()) if n else 1))
    which, place, order = which[kept], place[kept], order[kept]
    trust = trust_of(significance)
    out = torch.zeros(5, n, width, device=which.device)
    for row, values in zip(out, (ky, kx, intensity, trust, noise), strict=True):
        row[which, place] = values[order].to(torch.float32)
    return PeakBatch(out[1], out[0], out[2], out[3], out[4])


def _blind(detector: Detector, spot: list[float], device: torch.device) -> Tensor | None:
    """Places where bad pixels make too much of a spot to judge it, ``(ky, kx)`` bool."""
    if detector.bad is None or not detector.bad.any():
        return None
    share = smooth(torch.as_tensor(detector.bad, dtype=torch.float32)[None], spot)[0]
    return (share > 0.3).to(device)
