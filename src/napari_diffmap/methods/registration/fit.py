"""Sub-pixel centres, intensities and widths: a maximum-likelihood fit of each spot."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Steps of Fisher scoring; the last one moves a spot by less than 0.002 pixels.
_STEPS = 5

#: Spread of the logarithm of a spot's width about the width of the scan's spots.
_WIDTH_SPREAD = 0.3

#: A spot does not lie farther than this from its brightest pixel, pixels.
_FARTHEST = 1.2

#: Spots fitted at once: bounds the memory.
_BATCH = 16384


@dataclass(frozen=True)
class NoiseModel:
    """How noise grows with the signal: variance = readout² + gain · mean.

    Attributes
    ----------
    gain
        Values per count; 1 for a counting detector.
    readout
        Standard deviation without signal.
    """

    gain: float
    readout: float

    @property
    def counting(self) -> bool:
        """Whether values are counts without any other noise."""
        return self.gain == 1.0 and self.readout == 0.0

    def variance(self, mean: Tensor) -> Tensor:
        """Variance of values whose mean is known."""
        # Half a count: where nothing is expected a first electron still says little.
        floor = self.readout**2 + 0.05 * self.gain**2 + 1e-12
        return self.gain * mean.clamp_min(0) + floor


@dataclass(frozen=True, eq=False)
class Fitted:
    """Fitted spots, one row each.

    Attributes
    ----------
    y, x
        Centre, pixels.
    height
        Above the local background.
    sigma
        Gaussian width, pixels.
    """

    y: Tensor
    x: Tensor
    height: Tensor
    sigma: Tensor

    @property
    def intensity(self) -> Tensor:
        """Volume under the Gaussian."""
        return 2 * torch.pi * self.sigma**2 * self.height


def fit_spots(
    images: Tensor,
    which: Tensor,
    y: Tensor,
    x: Tensor,
    sigma: float,
    noise: NoiseModel,
    slope: tuple[Tensor, Tensor] | None = None,
) -> Fitted:
    """Fit a Gaussian on a local background to every spot.

    Weights follow the noise of the fitted model (Fisher scoring of a Poisson-like
    likelihood), so centres are as sharp as the counts allow; a centre of mass
    would be drawn by the background and by neighbours.  The width is held near
    `sigma` by a log-normal prior, which only faint spots feel.

    Parameters
    ----------
    images
        ``(b, ky, kx)`` clean patterns.
    which, y, x
        ``(n,)`` pattern, row and column of the brightest pixel of each spot.
    sigma
        Usual width of the scan's spots, pixels.
    noise
        How noise grows with the signal.
    slope
        ``(n,)`` each: slope of the background at the spots, values per pixel along
        ky and kx; it would draw a wide spot along.
    """
    if not len(which):
        empty = torch.zeros(0, device=images.device)
        return Fitted(empty, empty, empty, empty)
    cuts = [slice(i, i + _BATCH) for i in range(0, len(which), _BATCH)]
    zero = torch.zeros(len(which), device=images.device)
    down, across = slope if slope is not None else (zero, zero)
    parts = [_fit(images, which[i], y[i], x[i], sigma, noise, (down[i], across[i])) for i in cuts]
    return Fitted(
        *(torch.cat([getattr(p, n) for p in parts]) for n in ("y", "x", "height", "sigma"))
    )


def windows(images: Tensor, which: Tensor, y: Tensor, x: Tensor, reach: int) -> Tensor:
    """Square surroundings ``(n, 2 reach + 1, 2 reach + 1)``, edges repeated."""
    height, width = images.shape[1:]
    step = torch.arange(-reach, reach + 1, device=images.device)
    rows = (y[:, None] + step).clamp(0, height - 1)
    columns = (x[:, None] + step).clamp(0, width - 1)
    flat = (which[:, None, None] * height + rows[:, :, None]) * width + columns[:, None, :]
    return images.reshape(-1)[flat]


def _fit(
    images: Tensor,
    which: Tensor,
    y: Tensor,
    x: Tensor,
    sigma: float,
    noise: NoiseModel,
    slope: tuple[Tensor, Tensor],
) -> Fitted:
    reach = max(2, int(2.2 * sigma + 1.5))
    data = windows(images, which, y, x, reach).reshape(len(which), -1)
    step = torch.arange(-reach, reach + 1, device=images.device, dtype=torch.float32)
    dy, dx = (grid.reshape(1, -1) for grid in torch.meshgrid(step, step, indexing="ij"))
    data = data - slope[0][:, None] * dy - slope[1][:, None] * dx
    # Neighbours stand at the rim: what lies far from the spot counts less.
    taper = torch.exp(-0.5 * ((dy**2 + dx**2) / (1.8 * sigma + 0.8) ** 2) ** 2)
    rim = (dy**2 + dx**2) > (1.8 * sigma + 0.5) ** 2
    base = data[:, rim[0]].quantile(0.4, dim=1)
    top = (data[:, len(dy[0]) // 2] - base).clamp_min(1e-6)
    level = 2 * float(sigma)
    zero = torch.zeros_like(base)
    theta = torch.stack((zero, zero, torch.zeros_like(base), top, base), dim=1)
    prior = torch.zeros(5, 5, device=images.device)
    prior[2, 2] = 1 / _WIDTH_SPREAD**2
    eye = torch.eye(5, device=images.device)
    for _ in range(_STEPS):
        a, b, log_width, height, ground = (theta[:, i : i + 1] for i in range(5))
        inverse = torch.exp(-2 * log_width) / sigma**2
        ry, rx = dy - a, dx - b
        square = (ry**2 + rx**2) * inverse
        shape = torch.exp(-0.5 * square)
        model = height * shape + ground
        weight = taper / noise.variance(model)
        lifted = height * shape
        slopes = torch.stack(
            (lifted * ry * inverse, lifted * rx * inverse, lifted * square, shape, 1 + 0 * shape),
            dim=1,
        )
        weighted = slopes * weight[:, None]
        normal = weighted @ slopes.transpose(1, 2) + prior
        pull = (weighted @ (data - model)[:, :, None])[:, :, 0]
        pull[:, 2] -= log_width[:, 0] / _WIDTH_SPREAD**2
        scale = normal.diagonal(dim1=1, dim2=2).clamp_min(1e-20).rsqrt()
        scaled = normal * scale[:, :, None] * scale[:, None, :] + 1e-4 * eye
        move = torch.linalg.solve(scaled, (pull * scale)[:, :, None])[:, :, 0] * scale
        move[:, :2] = move[:, :2].clamp(-0.5, 0.5)
        move[:, 2] = move[:, 2].clamp(-0.3, 0.3)
        theta = theta + move
        theta[:, 3] = torch.maximum(theta[:, 3], 0.1 * top)
        theta[:, 3] = torch.minimum(theta[:, 3], level * top)
        theta[:, 2] = theta[:, 2].clamp(-0.9, 0.9)
        theta[:, :2] = theta[:, :2].clamp(-_FARTHEST, _FARTHEST)
    return Fitted(y + theta[:, 0], x + theta[:, 1], theta[:, 3], sigma * torch.exp(theta[:, 2]))
