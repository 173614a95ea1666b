"""Spots on the shells of a known lattice: a mixture with a smooth background."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Shells nearer than this (relative) are one.
_SAME = 0.0025
#: Spots are counted as one place within so many pixels.
_CELL = 1.5
#: Side of a place that a bootstrap draws, pixels.
_PLACES = 6.0
#: Spots used at most, the most trusted.
_MOST = 8000
#: A spot lies so many pixels from where its lattice has it, at least and at most: its
#: place is measured with an error, and a thin crystal's spots walk with the tilt.
_PLACE = (0.2, 2.5)
#: Width of a shell that is left when the pixels are counted (relative).
NARROWEST = 0.002
#: Beliefs before the fit (standard deviations): log scale is free, ellipse, centre
#: (pixels), and the squared height of spots above the plane of the pattern (1/Å²).
_PRIOR = (10.0, 0.03, 0.03, 2.0, 2.0, 4e-4)
#: Bin in which spots off the shells are looked at for rings, log radius.
_RING_BIN = 0.005
#: Fewest distinct places on the detector at which rings are looked for.
_RING_PLACES = 150
#: Nearest shells that a spot may belong to.
_NEAR = 4
#: Bin of the background's radial density and its smoothing, in log radius.
_BIN, _SMOOTH = 0.01, 0.12


@dataclass(frozen=True, eq=False)
class SpotList:
    """Spots of many patterns.

    Attributes
    ----------
    offsets
        ``(n, 2)`` place (ky, kx) relative to the direct beam, detector pixels.
    pattern
        ``(n,)`` number of the pattern each belongs to.
    trust
        ``(n,)`` weight 0–1.
    """

    offsets: NDArray[np.float64]
    pattern: NDArray[np.int64]
    trust: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, eq=False)
class Shells:
    """Lengths of a phase's reflections.

    Attributes
    ----------
    lengths
        ``(k,)`` |g| in 1/Å, rising.
    weight
        ``(k,)`` how often a spot of it is expected, any unit.
    """

    lengths: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.lengths)

    def merged(self) -> Shells:
        """Shells that no detector tells apart made one."""
        gaps = np.diff(np.log(self.lengths))
        group = np.concatenate(([0], np.cumsum(gaps > _SAME)))
        weight = np.bincount(group, self.weight).astype(np.float64)
        mean = np.bincount(group, self.weight * self.lengths) / np.maximum(weight, 1e-300)
        return Shells(mean, weight)


@dataclass(frozen=True, eq=False)
class State:
    """One trial geometry.

    Attributes
    ----------
    log_scale
        Logarithm of the pixel size in 1/Å.
    shear
        (a, b) with long axis stretched by exp(|(a, b)|), at half the angle of (a, b).
    shift
        Offset (ky, kx) of the true centre, pixels.
    tilt
        Mean squared height of the reflections above the plane of the pattern, 1/Å²:
        a spot at excitation error s is seen at √(g² − s²).
    place
        Scatter of the spots about their lattice (one coordinate), pixels.
    shares
        ``(k,)`` share of the lattice's spots on each shell.
    signal
        Share of the spots that belong to the lattice.
    """

    log_scale: float
    shear: tuple[float, float]
    shift: tuple[float, float]
    tilt: float
    place: float
    shares: NDArray[np.float64]
    signal: float


class ShellModel:
    """Likelihood of spots under a lattice of known shells.

    Parameters
    ----------
    spots
        At most a few thousand are used, the most trusted.
    shells
        See `Shells`.
    """

    def __init__(self, spots: SpotList, shells: Shells) -> None:
        kept = np.flatnonzero(np.linalg.norm(spots.offsets, axis=1) > 3.0)
        if len(kept) > _MOST:
            kept = kept[np.argsort(-spots.trust[kept], kind="stable")[:_MOST]]
        self.offsets = spots.offsets[kept]
        self.pattern = np.unique(spots.pattern[kept], return_inverse=True)[1]
        self.shells = shells.merged()
        self.log_shells = np.log(self.shells.lengths)
        self.log_radius = np.log(np.linalg.norm(self.offsets, axis=1))
        # The same crystal seen many times says little more than once.
        cell = np.round(self.offsets / _CELL).astype(np.int64)
        _, which, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
        self._cells = which.reshape(-1)
        weight = spots.trust[kept] / np.sqrt(count[self._cells])
        self.weight = weight * len(count) / max(float(weight.sum()), 1e-12)
        self._grid, self._counts, self._background = self._radial()
        self._pull = min(20.0, 0.1 * len(count))

    def _radial(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Bins of log radius, spots in each, and the smooth density of all."""
        from scipy import ndimage

        low, high = self.log_radius.min() - 0.1, self.log_radius.max() + 0.1
        edges = np.arange(low, high + _BIN, _BIN)
        counts = np.histogram(self.log_radius, edges, weights=self.weight)[0]
        # On a finite detector the density ends with the outermost spots.
        density = ndimage.gaussian_filter1d(counts, _SMOOTH / _BIN, mode="nearest")
        density = (density + 1e-3 * counts.sum() / len(counts)) / _BIN
        return (edges[:-1] + edges[1:]) / 2, counts, density / (density.sum() * _BIN)

    def background(self, log_radius: NDArray[np.float64]) -> NDArray[np.float64]:
        """Density of the background in log radius."""
        return np.asarray(np.interp(log_radius, self._grid, self._background))

    def prior(self, log_scale: float) -> NDArray[np.float64]:
        """Expected shares of the shells among the spots that the detector holds."""
        place = self.log_shells - log_scale
        seen = (place > self._grid[0]) & (place < self._grid[-1])
        # What reaches the detector at that radius at all is told by the spots.
        weight = self.shells.weight * seen
        total = weight.sum()
        return np.asarray(weight / total if total > 0 else weight)

    # --------------------------------------------------------------- coarse
    def coarse(self, log_scale: float, width: float) -> float:
        """Log-likelihood ratio of one scale against no lattice, shells `width` wide."""
        prior = self.prior(log_scale)
        used = np.flatnonzero(prior > 0)
        if len(used) < 2:
            return -math.inf
        places = self.log_shells[used] - log_scale
        z = (self._grid[:, None] - places) / width
        peaks = np.exp(-0.5 * z * z) / (math.sqrt(2 * math.pi) * width)
        shares, signal = prior[used], 0.7
        likelihood = -math.inf
        for _ in range(6):
            lattice = peaks @ shares
            total = signal * lattice + (1 - signal) * self._background
            ratio = self._counts / np.maximum(total, 1e-12)
            shares_now = signal * shares * (ratio @ peaks)
            signal_now = shares_now.sum() / self._counts.sum()
            shares = (shares_now + self._pull * prior[used]) / (shares_now.sum() + self._pull)
            signal = min(max(float(signal_now), 0.05), 0.98)
            likelihood = float(self._counts @ np.log(np.maximum(total, 1e-12) / self._background))
        cost = self._pull * float(prior[used] @ np.log(np.maximum(shares, 1e-12) / prior[used]))
        return likelihood + cost

    # --------------------------------------------------------------- refine
    def start(self, log_scale: float, place: float) -> State:
        """A state with nothing but a scale and a scatter (pixels)."""
        return State(log_scale, (0.0, 0.0), (0.0, 0.0), 0.0, place, self.prior(log_scale), 0.7)

    def improve(
        self,
        state: State,
        width: float,
        weight: NDArray[np.float64] | None = None,
        within: tuple[float, float] | None = None,
        scatter: bool = False,
    ) -> State:
        """One step of expectation maximisation.

        Parameters
        ----------
        state
            From here.
        width
            Relative width of a shell.
        weight
            Weights of the spots; those of the model when absent.
        within
            Keep the log scale within (middle, half width).
        scatter
            Measure the spots' scatter too.
        """
        weight = self.weight if weight is None else weight
        near, member, log_q, angle, radius, sigma = self._members(state, width)
        belief = weight * member.sum(axis=1)
        place = self.log_shells[near]
        pixels = state.place
        if scatter:
            off = (log_q[:, None] - place + state.tilt / (2 * np.exp(2 * place))) * radius[:, None]
            square = (weight[:, None] * member * off**2).sum() / max(float(belief.sum()), 1e-9)
            pixels = float(np.clip(math.sqrt(square), *_PLACE))
        bend = state.tilt / (2 * np.exp(2 * place))
        target = (member * (place - bend)).sum(axis=1) / np.maximum(member.sum(axis=1), 1e-12)
        lift = (member / (2 * np.exp(2 * place))).sum(axis=1) / np.maximum(
            member.sum(axis=1), 1e-12
        )
        step = self._solve(state, belief / sigma**2, target - log_q, angle, radius, lift)
        scale = state.log_scale + step[0]
        if within is not None:
            scale = float(np.clip(scale, within[0] - within[1], within[0] + within[1]))
        counted = np.bincount(
            near.ravel(), (weight[:, None] * member).ravel(), minlength=len(self.log_shells)
        )
        prior = self.prior(scale)
        shares = (counted + self._pull * prior) / (counted.sum() + self._pull)
        signal = float(np.clip(belief.sum() / weight.sum(), 0.05, 0.98))
        shear = (state.shear[0] + step[1], state.shear[1] + step[2])
        shift = (state.shift[0] + step[3], state.shift[1] + step[4])
        tilt = float(np.clip(state.tilt + step[5], 0.0, 2.5e-3))
        shear, shift = _clipped(shear, 0.12), _clipped(shift, 6.0)
        return State(scale, shear, shift, tilt, pixels, shares, signal)

    def _solve(
        self,
        state: State,
        precision: NDArray[np.float64],
        gap: NDArray[np.float64],
        angle: NDArray[np.float64],
        radius: NDArray[np.float64],
        lift: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Weighted least squares for the six numbers, with what is believed before."""
        design = _design(angle, radius, lift)
        now = np.array((0.0, *state.shear, *state.shift, state.tilt))
        ridge = 1.0 / np.array(_PRIOR) ** 2
        normal = design.T @ (design * precision[:, None]) + np.diag(ridge)
        right = design.T @ (precision * gap) - ridge * now
        return np.asarray(np.linalg.solve(normal, right))

    def _members(self, state: State, width: float) -> tuple[NDArray[np.float64], ...]:
        """Nearest shells of each spot, the probabilities that it belongs to them, its place."""
        y, x = self._undistorted(state).T
        radius = np.hypot(y, x)
        log_q = np.log(radius) + state.log_scale
        at = np.searchsorted(self.log_shells, log_q)
        near = np.clip(
            at[:, None] + np.arange(-_NEAR // 2, _NEAR // 2), 0, len(self.log_shells) - 1
        )
        double = np.zeros(near.shape, dtype=bool)
        double[:, 1:] = near[:, 1:] == near[:, :-1]
        sigma = np.hypot(width, state.place / radius)
        place = self.log_shells[near]
        gap = log_q[:, None] - place + state.tilt / (2 * np.exp(2 * place))
        peak = np.exp(-0.5 * (gap / sigma[:, None]) ** 2) / (
            math.sqrt(2 * math.pi) * sigma[:, None]
        )
        peak *= np.where(double, 0.0, state.signal * state.shares[near])
        rest = (1 - state.signal) * self.background(np.log(radius))
        member = peak / (peak.sum(axis=1) + rest)[:, None]
        return near, member, log_q, np.arctan2(y, x), radius, sigma

    def _undistorted(self, state: State) -> NDArray[np.float64]:
        return (self.offsets - state.shift) @ shear_matrix(state.shear).T

    # --------------------------------------------------------------- judging
    def evidence(self, state: State) -> float:
        """Log-likelihood of a state less that of no lattice; shells as narrow as spots are."""
        member = self._members(state, NARROWEST)[1]
        rest = np.clip(1 - member.sum(axis=1), 1e-12, None)
        # The background's share of the density tells the whole density.
        likelihood = float((self.weight * (math.log(1 - state.signal) - np.log(rest))).sum())
        prior = self.prior(state.log_scale)
        used = prior > 0
        pull = self._pull * float(
            prior[used] @ np.log(np.maximum(state.shares[used], 1e-12) / prior[used])
        )
        return likelihood + pull

    def unseen(self, state: State) -> float:
        """Share of the expected spots on shells that stay empty although many are due there.

        Looked at where the detector surely sees: within the radii of most spots.
        """
        near, member, *_ = self._members(state, NARROWEST)
        counted = np.bincount(
            near.ravel(), (self.weight[:, None] * member).ravel(), minlength=len(self.log_shells)
        )
        low, high = np.quantile(self.log_radius, (0.005, 0.7)) + state.log_scale
        inside = (self.log_shells > low - 0.02) & (self.log_shells < high)
        prior = self.shells.weight * inside
        if not prior.sum() > 0:
            return 0.0
        prior = prior / prior.sum()
        due = prior * counted[inside].sum()
        return float(prior[(due > 8) & (counted < 0.1 * due)].sum())

    def foreign(self, state: State) -> float:
        """Share of the spots that lie on rings of their own, where the lattice has no shell.

        Spurious spots are spread smoothly; what gathers at other radii is another
        phase, or this one at another scale.
        """
        from scipy import ndimage

        if self.weight.sum() < _RING_PLACES:  # the spots of one crystal make no rings
            return 0.0
        member = self._members(state, NARROWEST)[1].sum(axis=1)
        log_radius = np.log(np.linalg.norm(self._undistorted(state), axis=1))
        edges = np.arange(log_radius.min() - 0.05, log_radius.max() + 0.05, _RING_BIN)
        rest = np.histogram(log_radius, edges, weights=self.weight * (1 - member))[0]
        narrow = ndimage.gaussian_filter1d(rest, 1.2)
        wide = ndimage.gaussian_filter1d(rest, 14.0)
        return float(np.clip(narrow - 2 * wide, 0, None).sum() / self.weight.sum())

    def residuals(self, state: State) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """|Δq|/q of each spot from the shell it is nearest to, and whether it is on one."""
        near, member, log_q, *_ = self._members(state, NARROWEST)
        best = np.argmax(member, axis=1)
        rows = np.arange(len(near))
        place = self.log_shells[near[rows, best]]
        gap = log_q - place + state.tilt / (2 * np.exp(2 * place))
        return np.abs(gap), member.sum(axis=1) > 0.5

    def uncertainty(self, state: State) -> NDArray[np.float64]:
        """Standard errors of log scale and shear from the curvature of the likelihood."""
        near, member, _, angle, radius, sigma = self._members(state, NARROWEST)
        lift = (member / (2 * self.shells.lengths[near] ** 2)).sum(axis=1)
        precision = self.weight * member.sum(axis=1) / sigma**2
        design = _design(angle, radius, lift)
        normal = design.T @ (design * precision[:, None]) + np.diag(1 / np.array(_PRIOR) ** 2)
        return np.asarray(np.sqrt(np.diag(np.linalg.inv(normal)))[:3])

    def groups(self) -> list[NDArray[np.int64]]:
        """What a bootstrap may draw: patterns where there are some, places on the detector."""
        coarse = np.round(self.offsets / _PLACES).astype(np.int64)
        places = np.unique(coarse, axis=0, return_inverse=True)[1].reshape(-1)
        return [places] if self.pattern.max() < 9 else [places, self.pattern]

    def resampled(self, groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Weights of a bootstrap sample of groups of spots."""
        count = int(groups.max()) + 1
        drawn = np.bincount(rng.integers(0, count, count), minlength=count)
        return np.asarray(self.weight * drawn[groups])


def shear_matrix(shear: tuple[float, float]) -> NDArray[np.float64]:
    """Matrix on (ky, kx) that undoes a stretch by exp(|shear|) along half its angle."""
    size = math.hypot(*shear)
    if size == 0:
        return np.eye(2)
    cosine, sine = shear[0] / size, shear[1] / size
    # On (x, y): exp(-size [[cos, sin], [sin, -cos]]); rows and columns swapped for (y, x).
    part = math.sinh(size)
    return np.array(
        (
            (math.cosh(size) + part * cosine, -part * sine),
            (-part * sine, math.cosh(size) - part * cosine),
        )
    )


def _design(
    angle: NDArray[np.float64], radius: NDArray[np.float64], lift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What log q does when scale, shear, shift and tilt change, ``(n, 6)``."""
    return np.column_stack(
        (
            np.ones_like(angle),
            -np.cos(2 * angle),
            -np.sin(2 * angle),
            -np.sin(angle) / radius,
            -np.cos(angle) / radius,
            lift,
        )
    )


def _clipped(pair: tuple[float, float], most: float) -> tuple[float, float]:
    size = math.hypot(*pair)
    part = min(1.0, most / size) if size > 0 else 1.0
    return pair[0] * part, pair[1] * part
