"""Diffusion of tracks: unbiased coefficient, interval, localisation noise, confinement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.follow.hops import Hops, hops
from napari_diffmap.methods.defects.follow.increments import Modes, Walk, interval, modes

__all__ = ["Diffusion", "Hops", "diffusion", "hops", "pooled"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Places without which neither D nor noise can be told.
_FEWEST: Final = 3
#: p below which a walk is called confined.
_CONFINED: Final = 0.05
#: What is left of a displacement from the centre after one frame, of the wells tried.
_WELLS: Final = (0.99, 0.97, 0.93, 0.87, 0.75, 0.55, 0.3)
_SETS: Final = 399


@dataclass(frozen=True)
class Diffusion:
    """Diffusion of one track or of several pooled.

    Attributes
    ----------
    D_nm2_s
        Covariance-based estimate (Vestergaard, Blainey & Flyvbjerg 2014), mean of the axes.
        Unbiased, so that it may come out below 0 where nothing moves.
    low, high
        95 % interval from the exact likelihood of the ways.
    likelihood_nm2_s
        The D of the largest likelihood, 0 at least.
    D_axes_nm2_s
        Estimate along y and along x.
    localisation_nm
        Standard deviation of a coordinate: estimated, or the mean of what was given.
    points, tracks
        Places and tracks used.
    confined
        Whether the walk is confined; None where that cannot be told.
    confinement_p
        Chance that a free walk looks as confined as this; NaN where it was not tested.
    method
        How D was found.
    warning
        What to know of it; empty if nothing.
    hops
        Hops between sites, where they were counted.
    """

    D_nm2_s: float
    low: float
    high: float
    likelihood_nm2_s: float
    D_axes_nm2_s: tuple[float, float]
    localisation_nm: float
    points: int
    tracks: int
    confined: bool | None
    confinement_p: float
    method: str
    warning: str
    hops: Hops | None = None

    @property
    def hop_rate(self) -> float:
        """Hops per second; NaN where they were not counted."""
        return float("nan") if self.hops is None else self.hops.rate

    def with_hops(self, counted: Hops) -> Diffusion:
        """The same with its hops."""
        return replace(self, hops=counted)


def diffusion(
    places_nm: Floats,
    frame_time_s: float,
    frames: Ints,
    *,
    localisation_nm: float | Floats | None = None,
    seed: int = 0,
) -> Diffusion:
    """Diffusion of one track; see `pooled`."""
    given = None if localisation_nm is None else [np.broadcast_to(localisation_nm, len(frames))]
    return pooled([places_nm], frame_time_s, [frames], localisation_nm=given, seed=seed)


def pooled(
    places_nm: Sequence[Floats],
    frame_time_s: float,
    frames: Sequence[Ints],
    *,
    localisation_nm: float | Sequence[Floats] | None = None,
    seed: int = 0,
    wells: bool = True,
) -> Diffusion:
    """Diffusion that several tracks have in common.

    Along an axis D = <dx²>/(2 dt) + <dx_n dx_(n+1)>/dt; with gaps the first mean is weighed by
    the time that passed.  A scanning probe passes a defect in a small part of the time of a
    frame, so places are taken as sharp in time.

    Parameters
    ----------
    places_nm
        ``(N, 2)`` y and x of each track in nm, drift taken off.
    frame_time_s
        Time from frame to frame.
    frames
        ``(N,)`` of each track, rising.
    localisation_nm
        Standard deviation of a coordinate, one for all or one for every place; None: estimated.
    seed
        Of the simulated walks behind interval and test.
    wells
        Whether to test for confinement, which takes as long as all the rest.

    Raises
    ------
    BadInputError
        If the time is not above 0, frames do not rise, or places are not finite.
    """
    if not frame_time_s > 0:
        raise BadInputError("diffusion needs a frame time above 0 s")
    long = [i for i, one in enumerate(frames) if len(one) >= _FEWEST]
    for i in long:
        if np.any(np.diff(frames[i]) <= 0) or not np.all(np.isfinite(places_nm[i])):
            raise BadInputError("tracks must have finite places in rising frames")
    chosen = [np.asarray(places_nm[i], dtype=float) for i in long]
    times = [np.asarray(frames[i], dtype=np.int64) for i in long]
    errors: list[Floats] | None = None
    if localisation_nm is not None:
        one = isinstance(localisation_nm, (int, float))
        errors = [
            np.full(len(times[k]), localisation_nm) if one else np.asarray(localisation_nm[i])  # type: ignore[index]
            for k, i in enumerate(long)
        ]
    points = sum(map(len, times))
    method = "covariance" if errors is None else "covariance, noise given"
    if not long:
        return _nothing(method, f"no track of {_FEWEST} places: D cannot be told")
    if not sum(float(np.abs(np.diff(one, axis=0)).sum()) for one in chosen):
        told = _nothing(method, "nothing moves: places on sites have a hop rate, no D of this kind")
        return replace(told, D_nm2_s=0.0, low=0.0, points=points, tracks=len(long))
    rng = np.random.default_rng(seed)
    parts = [
        modes(place, frame, None if errors is None else errors[k])
        for k, (place, frame) in enumerate(zip(chosen, times, strict=True))
    ]
    walk = Walk(Modes.joined(parts))
    a, s = walk.estimate()
    low, high = interval(walk, rng)
    axes = _covariance(chosen, times, errors, a) / (2 * frame_time_s)
    p = float("nan") if low <= 0 or not wells else _confinement(walk, rng)
    noise = np.sqrt(s) if errors is None else float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    scale = 2 * frame_time_s
    estimate = float(axes.mean())
    return Diffusion(
        D_nm2_s=estimate,
        # What does not move has an estimate below 0; an interval without its estimate misleads.
        low=min(low / scale, max(estimate, 0.0)),
        high=max(high / scale, estimate),
        likelihood_nm2_s=a / scale,
        D_axes_nm2_s=(float(axes[0]), float(axes[1])),
        localisation_nm=float(noise),
        points=points,
        tracks=len(long),
        confined=None if np.isnan(p) else p < _CONFINED,
        confinement_p=p,
        method=method,
        warning="; ".join(
            filter(
                None,
                [
                    "no motion beyond the noise of places: at rest, or held within less than that"
                    if low <= 0
                    else "",
                    "confined: D is that of short times, not of long ways" if p < _CONFINED else "",
                    _differ(parts, a, s),
                    _jumps(chosen, times),
                ],
            )
        ),
    )


def _nothing(method: str, warning: str) -> Diffusion:
    nan = float("nan")
    return Diffusion(nan, nan, nan, nan, (nan, nan), nan, 0, 0, None, nan, method, warning)


def _covariance(
    places: Sequence[Floats], frames: Sequence[Ints], errors: Sequence[Floats] | None, a: float
) -> Floats:
    """2 D dt along each axis: squared ways less the noise, over the frames passed."""
    ways = [np.diff(one, axis=0) for one in places]
    squares = sum((one**2).sum(axis=0) for one in ways)
    beside = sum((one[1:] * one[:-1]).sum(axis=0) for one in ways)
    passed = sum(int(one[-1] - one[0]) for one in frames)
    if errors is None:
        pairs, count = sum(len(one) - 1 for one in ways), sum(map(len, ways))
        return np.asarray((squares + 2 * count / pairs * beside) / passed)
    # both the squares and what neighbouring ways share are known to hold the noise: the weight of
    # the second is that of the least variance, and any weight leaves the sum unbiased
    noise = float(np.mean(np.concatenate(errors) ** 2))
    whole = a + 2 * noise
    weight = 4 * whole * noise / (whole**2 + 3 * noise**2)
    squares -= sum(float((one[1:] ** 2 + one[:-1] ** 2).sum()) for one in errors)
    beside += sum(float((one[1:-1] ** 2).sum()) for one in errors)
    return np.asarray((squares + weight * beside) / passed)


def _confinement(walk: Walk, rng: np.random.Generator) -> float:
    """How rare among free walks one is that looks as much like a walk in a harmonic well (p).

    Of a walk in a well slow modes lack power; how much more likely the best well makes the data
    than a free walk is the statistic.  The wells' spectrum is that of long tracks, which costs
    the test some power with short ones, and nothing of its p.
    """
    m = walk.modes
    # in units of the frequency: mu of noise that is the same everywhere, without gaps
    pace = m.noise / (np.average(m.noise, weights=m.count) / 2)
    a, s = walk.estimate()
    powers = np.concatenate([m.power[None], walk.simulated(a, s, _SETS, rng)])
    free = walk.best(powers)
    gain = np.zeros(len(powers))
    for left in _WELLS:
        weight = pace / ((1 - left) ** 2 + left * pace)
        gain = np.maximum(gain, free - Walk(m, weight).best(powers))
    return float((1 + (gain[1:] >= gain[0]).sum()) / (_SETS + 1))


def _differ(parts: Sequence[Modes], a: float, s: float) -> str:
    """Warning where the tracks do not have one D and one noise."""
    from scipy.stats import chi2, norm

    if len(parts) < 2:
        return ""
    energy = [float((one.power / np.maximum(a + s * one.noise, 1e-300)).sum()) for one in parts]
    counts = [float(one.count.sum()) for one in parts]
    odd = norm.isf(np.clip(chi2.sf(energy, counts), 1e-12, 1 - 1e-12))
    if chi2.sf((odd**2).sum(), len(parts)) > 0.01:
        return ""
    return "the tracks do not have one D: the interval is that of their mean at best"


def _jumps(places: Sequence[Floats], frames: Sequence[Ints]) -> str:
    """Warning where ways are far from normally distributed, as hops are."""
    ways = [np.diff(p, axis=0)[np.diff(f) == 1] for p, f in zip(places, frames, strict=True)]
    all_of = np.concatenate(ways).ravel()
    if len(all_of) < 20 or not all_of.any():
        return ""
    excess = float((all_of**4).mean() / (all_of**2).mean() ** 2 - 3)
    if excess < max(1.0, 5 * np.sqrt(24 / len(all_of))):
        return ""
    return "it moves in jumps: the interval holds for steady walks, use the hop rate"
