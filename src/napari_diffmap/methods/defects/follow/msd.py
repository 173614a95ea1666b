"""Mean squared displacement over the lag, with the interval that a free walk gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_SETS: Final = 200


@dataclass(frozen=True, eq=False)
class SquaredDisplacement:
    """Mean squared displacement of one track or of several.

    Attributes
    ----------
    lag_s
        ``(L,)`` time between two frames.
    msd_nm2
        ``(L,)`` mean of the squared way, both axes.
    low, high
        ``(L,)`` 95 % interval of its expectation, from walks of the same frames.
    pairs
        ``(L,)`` pairs of frames averaged; they overlap, so they are not independent.
    """

    lag_s: Floats
    msd_nm2: Floats
    low: Floats
    high: Floats
    pairs: Ints


def squared_displacement(
    places_nm: Sequence[Floats],
    frames: Sequence[Ints],
    frame_time_s: float,
    D_nm2_s: float,
    localisation_nm: float,
    *,
    lags: int | None = None,
    seed: int = 0,
) -> SquaredDisplacement:
    """Mean squared displacement up to a quarter of the longest track.

    The interval is that of free walks with the given D and localisation noise, seen in the same
    frames and as large as what was measured: simulated, since squared ways that overlap are far
    from independent.

    Parameters
    ----------
    places_nm, frames
        ``(N, 2)`` and ``(N,)`` of each track.
    frame_time_s
        Time from frame to frame.
    D_nm2_s, localisation_nm
        Of the free walk; a D below 0 is taken as 0.
    lags
        Frames of the longest lag.
    seed
        Of the simulated walks.
    """
    rng = np.random.default_rng(seed)
    spans = [int(one[-1] - one[0]) for one in frames]
    most = lags if lags is not None else max(max(spans, default=0) // 4, 1)
    summed, simulated, pairs = np.zeros(most), np.zeros((_SETS, most)), np.zeros(most, int)
    step = np.sqrt(2 * max(D_nm2_s, 0) * frame_time_s)
    for place, frame in zip(places_nm, frames, strict=True):
        at = frame - frame[0]
        dense = np.full((1, int(at[-1]) + 1, 2), np.nan)
        dense[0, at] = place
        walk = np.cumsum(rng.normal(0, step, (_SETS, dense.shape[1], 2)), axis=1)
        walk += rng.normal(0, localisation_nm, walk.shape)
        for lag in range(1, min(most, dense.shape[1] - 1) + 1):
            way = ((dense[:, lag:] - dense[:, :-lag]) ** 2).sum(axis=2)[0]
            both = np.isfinite(way)
            summed[lag - 1] += way[both].sum()
            pairs[lag - 1] += int(both.sum())
            other = walk[:, lag:][:, both] - walk[:, :-lag][:, both]
            simulated[:, lag - 1] += (other**2).sum(axis=(1, 2))
    lag_s: Floats = np.arange(1.0, most + 1) * frame_time_s
    with np.errstate(divide="ignore", invalid="ignore"):
        msd = summed / pairs
        ratio = (
            simulated
            / pairs
            / (2 * 2 * (step**2 / 2 * np.arange(1, most + 1) + localisation_nm**2))
        )
        least, largest = np.nanquantile(ratio, (0.025, 0.975), axis=0)
        low, high = np.asarray(msd / largest), np.asarray(msd / least)
        return SquaredDisplacement(lag_s, msd, low, high, pairs)
