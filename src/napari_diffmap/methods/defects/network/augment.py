"""Patches of one image, made to look like those of other images of the same crystal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

from napari_diffmap.methods.defects.network.inputs import COLUMN, SPACING

#: Largest change of scale, blur in pixels, noise added in sigma, bend of the grey scale.
_ZOOM, _BLUR, _NOISE, _BEND = 0.12, 0.9, 0.8, 0.04
#: Share of the patches whose lattice is not told, and of pixels that are dead.
_BLIND, _DEAD = 0.15, 0.003


def augmented(
    inputs: Tensor, marks: Tensor, weight: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Zoomed, blurred, noisier, paler or darker patches; turned and mirrored they are already.

    Parameters
    ----------
    inputs, marks, weight
        ``(b, 4, y, x)``, ``(b, 2, y, x)``, ``(b, 1, y, x)``; see `samples.Pool`.
    random
        Random numbers.
    """
    inputs, marks, weight = _zoomed(inputs, marks, weight, random)
    count = len(inputs)
    # Noise lies on the image and on the residual alike, each on its own scale.
    scale, summed = _noise_ratio(inputs), _sum_ratio(inputs)
    if random.random() < 0.5:
        sharp, sites = inputs[:, :3], inputs[:, 3:]
        inputs = torch.cat((_blurred(sharp, float(random.uniform(0, _BLUR))), sites), dim=1)
    noise = _uniform(random, count, 0, _NOISE) * _normal(random, inputs[:, :1].shape)
    image, residual = inputs[:, :1] + noise / scale, inputs[:, 1:2] + noise
    column = inputs[:, 2:3] + summed * _blurred(noise, COLUMN * SPACING)
    dead = torch.from_numpy(random.random(tuple(image.shape)) < _DEAD)
    floor = image.amin((1, 2, 3), keepdim=True)
    image = torch.where(dead, floor, image)
    bend = _uniform(random, count, -_BEND, _BEND)
    image = (image + bend * (image**2 - 1)) * _uniform(random, count, 0.85, 1.18)
    told = torch.from_numpy(random.random((count, 1, 1, 1)) >= _BLIND).to(residual.dtype)
    lattice = torch.cat((residual, column, inputs[:, 3:]), dim=1) * told
    return torch.cat((image, lattice), dim=1), marks, weight


def _zoomed(
    inputs: Tensor, marks: Tensor, weight: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Every second patch at another scale; what comes from beyond it counts nothing."""
    count = len(inputs)
    change = random.uniform(-_ZOOM, _ZOOM, count) * (random.random(count) < 0.5)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.from_numpy(1 + change).float()
    every = torch.cat((inputs, marks, weight), dim=1)
    grid = affine_grid(theta, list(every.shape), align_corners=False)
    every = grid_sample(every, grid, align_corners=False, padding_mode="zeros")
    one, two, three = every.split((inputs.shape[1], marks.shape[1], 1), dim=1)
    return one, two.clamp(0, 1), three


def _noise_ratio(inputs: Tensor) -> Tensor:
    """``(b, 1, 1, 1)``: noise of the residual over that of the image, by their finest detail."""
    kernel = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    fine = conv2d(inputs.flatten(0, 1)[:, None], kernel[None, None]).square()
    spread = fine.mean((1, 2, 3)).sqrt().unflatten(0, inputs.shape[:2])
    ratio = spread[:, 1] / spread[:, 0].clamp_min(1e-6)
    # Without a residual: noise of the size of a tenth of the lattice.
    return torch.where(ratio > 0.05, ratio, 10.0)[:, None, None, None]


def _sum_ratio(inputs: Tensor) -> Tensor:
    """``(b, 1, 1, 1)``: what the third input is multiplied by against the smoothed second one."""
    smooth = _blurred(inputs[:, 1:2], COLUMN * SPACING)
    both = (smooth * inputs[:, 2:3]).sum((1, 2, 3))
    return (both / smooth.square().sum((1, 2, 3)).clamp_min(1e-6))[:, None, None, None]


def _blurred(inputs: Tensor, sigma: float) -> Tensor:
    if sigma < 0.2:
        return inputs
    place = torch.arange(-3, 4).float()
    line = torch.exp(-0.5 * (place / sigma) ** 2)
    line = line / line.sum()
    flat = pad(inputs.flatten(0, 1)[:, None], (3, 3, 3, 3), mode="replicate")
    flat = conv2d(conv2d(flat, line[None, None, None]), line[None, None, :, None])
    out: Tensor = flat[:, 0].unflatten(0, inputs.shape[:2])
    return out


def _uniform(random: np.random.Generator, count: int, low: float, high: float) -> Tensor:
    return torch.from_numpy(random.uniform(low, high, (count, 1, 1, 1))).float()


def _normal(random: np.random.Generator, shape: torch.Size) -> Tensor:
    return torch.from_numpy(random.standard_normal(tuple(shape), dtype=np.float32))
