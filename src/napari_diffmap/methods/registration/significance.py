"""How rare a height is by chance, and how high a spot must be for so many false ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

#: Maxima of a smooth field that are maxima of its pixels too, and pass for a spot.
#: Measured on pure noise (normal and counts from 0.4 a pixel on, spots of 1 to 3 pixels).
_ON_PIXELS = 0.4


def resolution_elements(kernel: NDArray[np.float64], area: float) -> float:
    """How many independent places a pattern has for a spot of this kernel.

    Parameters
    ----------
    kernel
        ``(n, n)`` kernel that the noise was filtered with.
    area
        Pixels searched.

    Returns
    -------
    float
        ``area`` times the variance of the filtered noise's gradient, the noise
        having unit variance: the density of resolution elements of Worsley et
        al., *Hum. Brain Mapp.* 4 (1996) 58.
    """
    power = float((kernel**2).sum())
    along = float((kernel[:, 1:] * kernel[:, :-1]).sum())
    return area * 2.0 * (1.0 - along / power)


def false_spots(threshold: float, elements: float) -> float:
    """Expected maxima of normal noise above `threshold` (in units of its width).

    The expected Euler characteristic of the set above a high threshold, which is
    the number of maxima there: Adler, *The Geometry of Random Fields* (1981).

    Parameters
    ----------
    threshold
        Times the noise.
    elements
        See `resolution_elements`.
    """
    density = threshold * np.exp(-0.5 * threshold**2) / (2 * np.pi) ** 1.5
    return float(_ON_PIXELS * elements * density)


def threshold_for(expected: float, elements: float) -> float:
    """Threshold at which noise alone gives `expected` spots a pattern.

    Parameters
    ----------
    expected
        False spots per pattern, above 0.
    elements
        See `resolution_elements`.

    Returns
    -------
    float
        Times the noise, from 2 on: the formula holds for rare maxima only.
    """
    lowest = 2.0
    if false_spots(lowest, elements) <= expected:
        return lowest
    return float(brentq(lambda u: false_spots(u, elements) - expected, lowest, 20.0))


def background_counts(noise: Tensor, step: float) -> Tensor:
    """Counts that make a noise when one count adds `step`; infinite for no counts."""
    return (noise / step) ** 2 if step > 0 else torch.full_like(noise, torch.inf)


def root_deviance(z: Tensor, background: Tensor) -> Tensor:
    """Significance of counts: how rare they are by chance, in standard deviations.

    Parameters
    ----------
    z
        Counts above the background over the root of the background.
    background
        Counts of background e; infinite where values are no counts.

    Returns
    -------
    Tensor
        ``√(2 (n ln(n / e) − n + e))`` with n = e + z √e, of the sign of z; tends to z
        for many counts.
    """
    e = background.clamp(1e-8, 1e6)
    n = (e + z * torch.sqrt(e)).clamp_min(1e-9)
    deviance = torch.xlogy(n, n / e) - (n - e)
    root = torch.sign(z) * torch.sqrt(2 * deviance.clamp_min(0))
    # Far in the normal regime the difference of large numbers is all rounding.
    return torch.where(background > 1e4, z, root)
