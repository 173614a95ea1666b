"""Rings of polycrystals: where they lie in every direction from the beam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.shell_model import SpotList

#: Directions in which a ring's radius is measured, and pixels of a radial bin.
_SECTORS = 36
_BIN = 1.0
#: Background: the profile smoothed over so many pixels (sigma), the rings clipped away.
_WIDE = 9.0


def ring_points(
    frames: NDArray[np.floating],
    centers: NDArray[np.float64],
    inner: float,
    threshold: float = 5.0,
    bad: NDArray[np.bool_] | None = None,
) -> SpotList:
    """Points on the rings of the mean of all patterns, each about its own beam.

    Parameters
    ----------
    frames, centers
        ``(n, ky, kx)`` patterns and ``(n, 2)`` beams, pixels.
    inner
        Nothing nearer to the beam is looked at, pixels.
    threshold
        How many times the noise of its profile a ring stands out.
    bad
        Pixels to leave out.

    Returns
    -------
    SpotList
        One point for every radius and direction that stands above the background, its
        trust the height relative to the background; the direction counts as its pattern.
    """
    profiles, counted = _sectors(frames, centers, bad)
    radius = (np.arange(profiles.shape[1]) + 0.5) * _BIN
    offsets, sectors, excess = [], [], []
    for number, (profile, count) in enumerate(zip(profiles, counted, strict=True)):
        # Corners and the beam's flank hold too little, or too much, to judge a ring.
        seen = (count > 0.25 * np.median(count[count > 0])) & (radius > inner)
        if seen.sum() < 12:
            continue
        rise = _rise(profile[seen], threshold)
        up = rise > 0
        angle = (number + 0.5) * 2 * np.pi / _SECTORS - np.pi
        direction = np.array((np.sin(angle), np.cos(angle)))
        offsets.append(radius[seen][up, None] * direction)
        sectors.append(np.full(int(up.sum()), number))
        excess.append(rise[up])
    if not offsets:
        return SpotList(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0))
    trust = np.concatenate(excess)
    trust = trust / max(float(trust.max()), 1e-12) if len(trust) else trust
    return SpotList(np.concatenate(offsets), np.concatenate(sectors).astype(np.int64), trust)


def _sectors(
    frames: NDArray[np.floating], centers: NDArray[np.float64], bad: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean counts and number of pixels by direction and radius, ``(sectors, bins)``."""
    height, width = frames.shape[1:]
    bins = int(np.hypot(height, width) / _BIN) + 2
    total, count = np.zeros(_SECTORS * bins), np.zeros(_SECTORS * bins)
    use = np.ones(height * width) if bad is None else (~bad).astype(np.float64).ravel()
    for frame, (cy, cx) in zip(frames, centers, strict=True):
        y, x = np.arange(height)[:, None] - cy, np.arange(width)[None, :] - cx
        ring = (np.hypot(y, x) / _BIN).astype(np.int64)
        turn = (np.arctan2(y, x) + np.pi) / (2 * np.pi) * _SECTORS
        place = (turn.astype(np.int64) % _SECTORS * bins + ring).ravel()
        total += np.bincount(place, frame.ravel() * use, minlength=len(total))
        count += np.bincount(place, use, minlength=len(count))
    mean = total / np.maximum(count, 1)
    return mean.reshape(_SECTORS, bins), count.reshape(_SECTORS, bins)


def _rise(profile: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Share by which a profile stands above its background; 0 where that may be noise."""
    from scipy import ndimage

    log = np.log(np.maximum(profile, 1e-3 * max(float(profile.max()), 1e-9)))
    # Second differences leave the rings out, which are wider than a bin.
    noise = 1.4826 * float(np.median(np.abs(np.diff(log, 2)))) / np.sqrt(6) + 1e-6
    # A straight line first: at the ends the smoothing has nothing beyond it.
    r = np.arange(len(log), dtype=np.float64)
    line = np.polyval(np.polyfit(r, log, 3), r)
    rest = log - line
    clipped = rest
    for _ in range(12):
        floor = ndimage.gaussian_filter1d(clipped, _WIDE, mode="mirror")
        clipped = np.minimum(rest, floor + 1.5 * noise)
    rise = rest - floor
    return np.where(
        ndimage.gaussian_filter1d(rise, 1.0) > 0.55 * threshold * noise, np.maximum(rise, 0.0), 0.0
    )
