"""Hops between the sites of a sublattice: their rate, and the diffusion it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Hops in a frame from which on too many are hidden by others.
_FREQUENT: Final = 0.1
#: Spacings from the length of a way to that of a lattice vector beyond which it is no such way.
_BETWEEN: Final = 0.3


@dataclass(frozen=True)
class Hops:
    """Hops of one track or of several.

    Attributes
    ----------
    hops
        Hops counted: of a way of several sites, the fewest that make it.
    seconds
        Time watched.
    rate, low, high
        Hops per second with the exact 95 % interval of a Poisson count (Garwood).
    D_nm2_s, D_low, D_high
        ``true_rate * spacing**2 / 4``: a random walk on the sublattice.
    per_frame
        Hops per frame.
    true_rate, true_low, true_high
        Rate per second with which a random walk on a triangular sublattice shows what was seen,
        hops there and back within a frame included; same as `rate` where hops are rare.
    warning
        What to know of it; empty if nothing.
    """

    hops: int
    seconds: float
    rate: float
    low: float
    high: float
    D_nm2_s: float
    D_low: float
    D_high: float
    per_frame: float
    true_rate: float
    true_low: float
    true_high: float
    warning: str


def hops(
    places_nm: Sequence[Floats],
    frames: Sequence[Ints],
    frame_time_s: float,
    spacing_nm: float,
) -> Hops:
    """Rate of hops between neighbouring sites of a sublattice.

    A way between two frames counts as the hops that it is long: exact on a triangular lattice,
    whatever the places' common error, which only has to be well below half a spacing.

    Parameters
    ----------
    places_nm
        ``(N, 2)`` of each track, drift taken off.
    frames
        ``(N,)`` of each track, rising.
    frame_time_s
        Time from frame to frame.
    spacing_nm
        Distance of neighbouring sites.

    Raises
    ------
    BadInputError
        If time or spacing is not above 0.
    """
    from scipy.stats import chi2

    if frame_time_s <= 0 or spacing_nm <= 0:
        raise BadInputError("hops need a frame time and a distance of sites above 0")
    ways = [np.linalg.norm(np.diff(one, axis=0), axis=1) / spacing_nm for one in places_nm]
    gaps = [np.diff(one) for one in frames]
    way = np.concatenate(ways) if ways else np.zeros(0)
    gap = np.concatenate(gaps) if gaps else np.zeros(0)
    length = np.rint(way)
    count, passed = int(length.sum()), float(gap.sum())
    seconds = passed * frame_time_s
    if not passed:
        nan = float("nan")
        return Hops(0, 0.0, *(nan,) * 10, "no track of two frames")
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(0.975, 2 * count + 2) / 2
    per_frame = count / passed
    true = (per_frame, low / passed, high / passed)
    warnings = []
    if per_frame > _FREQUENT:
        true = _hidden(length[gap == 1])
        warnings.append(
            f"{per_frame:.2f} hops per frame: many are hidden by others of the same frame; "
            "the true rate is the one to use"
        )
    between = float((np.abs(way - _nearest_length(way)) > _BETWEEN).mean())
    if between > 0.1:
        warnings.append(f"{between:.0%} of the ways are not from site to site")
    area = spacing_nm**2 / 4
    return Hops(
        hops=count,
        seconds=seconds,
        rate=count / seconds,
        low=low / seconds,
        high=high / seconds,
        D_nm2_s=true[0] / frame_time_s * area,
        D_low=true[1] / frame_time_s * area,
        D_high=true[2] / frame_time_s * area,
        per_frame=per_frame,
        true_rate=true[0] / frame_time_s,
        true_low=true[1] / frame_time_s,
        true_high=true[2] / frame_time_s,
        warning="; ".join(warnings),
    )


def _nearest_length(way: Floats) -> Floats:
    """Length of the lattice vector whose length is nearest, triangular lattice of spacing 1."""
    i, j = np.mgrid[0:8, 0:8]
    lengths = np.unique(np.sqrt(i**2 + j**2 + i * j))
    return np.asarray(lengths[np.abs(way[:, None] - lengths).argmin(axis=1)])


def _hidden(length: Floats) -> tuple[float, float, float]:
    """Hops per frame, with interval, of a walk that is seen to rest or to go one site.

    Ways of more than one site are beyond the reach of linking, mostly; among the others the share
    of ways of one site grows with the rate, so its exact interval is one of the rate.
    """
    from scipy.stats import beta

    still, moved = int((length == 0).sum()), int((length == 1).sum())
    if not moved + still:
        return float("nan"), 0.0, float("inf")
    shares = (
        moved / (moved + still),
        beta.ppf(0.025, moved, still + 1) if moved else 0.0,
        beta.ppf(0.975, moved + 1, still) if still else 1.0,
    )
    # the walk's Fourier transform: one number for every direction of the lattice
    angle = 2 * np.pi * np.arange(48) / 48
    first, second = np.meshgrid(angle, angle)
    step = ((np.cos(first) + np.cos(second) + np.cos(first - second)) / 3).ravel()
    rate = np.concatenate([[0], np.logspace(-3, 1.5, 200)])
    decay = np.exp(-rate[:, None] * (1 - step))
    rest, one = decay.mean(axis=1), 6 * (decay * step).mean(axis=1)
    share = one / (rest + one)
    rising = np.maximum.accumulate(share)
    found = [float(np.interp(s, rising, rate)) if s < rising[-1] else float("inf") for s in shares]
    return found[0], found[1], found[2]
