"""The site model: how bright each site of a lattice is, and how surely it is not as the others.

Counts are Poisson about a sum of columns and a smooth ground.  Given the neighbours, how bright a
site is follows from the slope and the Fisher information of the likelihood; the share of the
brightnesses that occur is learnt from the image itself (empirical Bayes), and so each site gets a
probability that it is a defect.  Neighbours are known only as well as that probability, so it is
gone round a few times.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.kernels import add_blobs, scores
from napari_diffmap.methods.defects.lattice import Lattice, Sites
from napari_diffmap.methods.defects.profile import Profile, find_profile
from napari_diffmap.methods.defects.ratios import EXPECTED, RATIOS, STEPS, posterior, usual_ratio
from napari_diffmap.methods.defects.site_answer import MISFIT, SiteAnswer, values_at

#: Times that sites and ground are estimated in turn.
_ROUNDS: Final = 4
#: Cosines of the ground along each side; what they leave is smoothed over this many lattice
#: constants.
_GROUND, _SMOOTH = 5, 1.5
#: Of so many pixels along each side one is looked at for the heights of columns.
_THIN: Final = 3
#: The same where the columns show with less than this share of their height.
_ALIKE: Final = 0.5


@dataclass(eq=False)
class Experience:
    """What frames of one movie have in common, learnt frame by frame.

    Attributes
    ----------
    profile
        Of a column.
    shares
        Sublattice → share of sites of each of the ratios, `RATIOS`.
    """

    profile: Profile | None = None
    shares: dict[int, NDArray[np.float64]] = field(default_factory=dict)


def site_model(
    image: NDArray[np.floating[Any]], lattice: Lattice, experience: Experience | None = None
) -> SiteAnswer:
    """Fit the site model.

    Parameters
    ----------
    image
        ``(Y, X)`` in any units; NaN where nothing was recorded.
    lattice
        Of the image.
    experience
        Of frames before; what this one teaches is added.

    Returns
    -------
    SiteAnswer
    """
    experience = Experience() if experience is None else experience
    values = np.asarray(image, dtype=np.float64)
    known = np.isfinite(values)
    values = np.where(known, values, values[known].mean())
    if experience.profile is None:
        experience.profile = find_profile(values, lattice)
    return _Fit(values, known, lattice, experience).made()


class _Fit:
    """One image on its way."""

    def __init__(
        self,
        image: NDArray[np.float64],
        known: NDArray[np.bool_],
        lattice: Lattice,
        experience: Experience,
    ) -> None:
        assert experience.profile is not None
        self.image, self.known, self.lattice = image, known, lattice
        self.experience, self.profile = experience, experience.profile
        # Columns beyond the border shine into the image.
        self.sites = lattice.sites(-3 * self.profile.sigma)
        self.kinds = len(lattice.basis)
        self.sigma = self.profile.sigma
        self.mean = np.ones(len(self.sites.places))
        self.amplitudes = np.ones(self.kinds)
        self.gain, self.floor, self.least = 1.0, 0.0, 1e-12
        self.ground = np.zeros(image.shape)
        self.cosines = _cosines((image.shape[0], image.shape[1]))

    def made(self) -> SiteAnswer:
        blobs = self._columns()
        expected = self._levels(blobs, np.full(self.image.shape, self.image.mean()))
        self._noise(expected)
        for turn in range(_ROUNDS):
            self.mean = self._judge(expected)[-1]
            blobs = self._columns()
            expected = self._levels(blobs, self._variance(expected), smooth=turn > 0)
            if turn < 2:
                self._noise(expected)
        return self._answer(expected, *self._judge(expected))

    def _columns(self) -> list[NDArray[np.float64]]:
        """Image of each sublattice with columns of height 1 times their ratio."""
        found = []
        for kind in range(self.kinds):
            mine = self.sites.sublattice == kind
            found.append(
                add_blobs(
                    np.zeros(self.image.shape), self.sites.places[mine], self.mean[mine], self.sigma
                )
            )
        return found

    def _levels(
        self,
        blobs: list[NDArray[np.float64]],
        variance: NDArray[np.float64],
        smooth: bool = False,
    ) -> NDArray[np.float64]:
        """Heights of the columns and the ground, by weighted least squares; the image they make."""
        # Few numbers are sought: a part of the pixels tells them.
        thin = (slice(None, None, _THIN), slice(None, None, _THIN))
        columns = [blob[thin].ravel() for blob in blobs]
        design = np.concatenate(
            (np.stack(columns), self.cosines[:, ::_THIN, ::_THIN].reshape(-1, len(columns[0])))
        )
        weight = (self.known / np.maximum(variance, 1e-12))[thin].ravel()
        normal = (design * weight) @ design.T
        normal[np.diag_indices_from(normal)] *= 1 + 1e-9
        found = np.linalg.solve(normal, design @ (weight * self.image[thin].ravel()))
        # A column shines: where noise says otherwise its kind is hardly seen.
        self.amplitudes = np.maximum(
            found[: self.kinds], 1e-3 * max(float(found[: self.kinds].max()), 1e-9)
        )
        self.ground = np.tensordot(found[self.kinds :], self.cosines, axes=1)
        lattice = sum(a * blob for a, blob in zip(self.amplitudes, blobs, strict=True))
        if smooth:
            left = self.image - lattice - self.ground
            self.ground = self.ground + smoothed(left, _SMOOTH * self.lattice.spacing, self.known)
        return np.asarray(lattice + self.ground)

    def _variance(self, expected: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(self.gain * expected + self.floor, self.least)

    def _noise(self, expected: NDArray[np.float64]) -> None:
        """Variance = gain × expected + floor, from the residuals."""
        thin = (slice(None, None, 2), slice(None, None, 2))
        known = self.known[thin].ravel()
        square = ((self.image - expected)[thin].ravel() ** 2)[known]
        level = expected[thin].ravel()[known]
        order = np.argsort(level)
        # Of groups of pixels of a level the mean square, without what no model explains.
        groups = np.array_split(order, 24)
        x = np.array([level[g].mean() for g in groups])
        y = np.array([_trimmed(square[g]) for g in groups])
        # The floor may be below 0: images are often saved with an offset.
        design = np.stack((x, np.ones_like(x)), axis=1) / np.maximum(y, 1e-12)[:, None]
        gain, floor = np.linalg.lstsq(design, np.ones_like(y))[0]
        if gain <= 1e-6 * float(y.mean()) / max(float(np.ptp(x)), 1e-12):
            # Noise that does not grow with the signal.
            floor = float(y.mean())
            gain = 1e-6 * floor / max(float(np.abs(x).mean()), 1e-12)
        self.least = 0.3 * float(y.min())
        self.gain, self.floor = float(gain), float(floor)

    def _judge(self, expected: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Ratio, error, z, probability and mean ratio of each site."""
        # Counts with the variance that the image has: (I + f/g) / g is Poisson-like.
        variance = self._variance(expected) / self.gain**2
        counts = variance + (self.image - expected) / self.gain
        counts = np.where(self.known, counts, variance)
        slope, weight = scores(counts, variance, self.sites.places, self.sigma)
        weight = np.maximum(weight, 1e-12)
        height = self.amplitudes[self.sites.sublattice] / self.gain
        ratio = self.mean + slope / weight / height
        error = 1 / np.sqrt(weight) / height
        z, probability = np.zeros(len(ratio)), np.zeros(len(ratio))
        mean = np.ones(len(ratio))
        for kind in range(self.kinds):
            mine = np.flatnonzero(self.sites.sublattice == kind)
            # At the border half a column is seen, and less beyond it.
            inside = self._inside(mine)
            usual, width = usual_ratio(ratio[mine][inside], error[mine][inside])
            r, e = ratio[mine] / usual, np.maximum(error[mine] * width / usual, 1e-6)
            begun = kind in self.experience.shares
            prior = self._prior(kind)
            start = self.experience.shares.get(kind, prior)
            p, m, shares = posterior(r, e, prior, inside, start, STEPS // 5 if begun else STEPS)
            self.experience.shares[kind] = shares
            ratio[mine], error[mine], z[mine] = r, e, (r - 1) / e
            probability[mine], mean[mine] = p, np.where(inside, m, 1.0)
        return ratio, error, z, probability, mean

    def _inside(self, mine: NDArray[np.int64]) -> NDArray[np.bool_]:
        places, rim = self.sites.places[mine], 0.5 * self.sigma
        far = np.array(self.image.shape) - 1 - rim
        return np.asarray(((places >= rim) & (places <= far)).all(axis=1))

    def _prior(self, kind: int) -> NDArray[np.float64]:
        """Shares of `RATIOS` that are expected; their sum is that of defects."""
        shares = np.full(len(RATIOS), 1.0)
        if kind > 0 and self.amplitudes[kind] < 0.6 * self.amplitudes[0]:
            # Two atoms above each other: one is missing more often than anything else.
            shares[np.isclose(RATIOS, 0.5)] = 25
            shares[np.isclose(RATIOS, 0.0)] = 5
        return np.asarray(EXPECTED * shares / shares.sum())

    def _answer(
        self,
        expected: NDArray[np.float64],
        ratio: NDArray[np.float64],
        error: NDArray[np.float64],
        z: NDArray[np.float64],
        probability: NDArray[np.float64],
        _mean: NDArray[np.float64],
    ) -> SiteAnswer:
        noise = np.sqrt(self._variance(expected))
        pristine = self.ground.copy()
        for kind in range(self.kinds):
            mine = self.sites.places[self.sites.sublattice == kind]
            add_blobs(pristine, mine, np.full(len(mine), self.amplitudes[kind]), self.sigma)
        left = np.where(self.known, (self.image - expected) / noise, 0.0)
        local = smoothed(np.minimum(left**2, 25.0), self.lattice.spacing, self.known)
        local /= max(float(np.median(local)), 1e-9)
        # Where the columns are not, or lie beside their places, the image is unlike the model.
        columns = pristine - self.ground
        columns = columns - smoothed(columns, 2 * self.lattice.spacing, self.known)
        wide = _SMOOTH * self.lattice.spacing
        alike = smoothed((self.image - self.ground) * columns, wide, self.known)
        alike /= np.maximum(smoothed(columns**2, wide, self.known), 1e-12)
        # One map says both: a likeness of 0 is as bad as twice the limit of the misfit.
        local = np.maximum(local, MISFIT * (1 + 2 * (_ALIKE - alike) / _ALIKE) * (alike < _ALIKE))
        inside = self._inside(np.arange(len(ratio)))
        there = values_at(local, self.sites.places, 1)
        sites = Sites(*(getattr(self.sites, n)[inside] for n in ("places", "sublattice", "cells")))
        return SiteAnswer(
            sites,
            ratio[inside],
            error[inside],
            z[inside],
            probability[inside],
            (there < MISFIT)[inside],
            expected.astype(np.float32),
            np.where(self.known, self.image - pristine, 0.0).astype(np.float32),
            left.astype(np.float32),
            local.astype(np.float32),
            self.amplitudes,
            self.profile,
            self.gain,
        )


@lru_cache(maxsize=2)
def _cosines(shape: tuple[int, int]) -> NDArray[np.float64]:
    y, x = (np.cos(np.pi * np.outer(np.arange(_GROUND), (np.arange(n) + 0.5) / n)) for n in shape)
    return np.asarray((y[:, None, :, None] * x[None, :, None, :]).reshape(-1, *shape))


def smoothed(
    values: NDArray[np.float64], width: float, known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """An image smoothed by a wide Gaussian, by way of a coarser one.

    Parameters
    ----------
    values
        ``(Y, X)``.
    width
        Standard deviation in pixels.
    known
        ``(Y, X)``: where `values` count.
    """
    from scipy.ndimage import gaussian_filter

    step = max(1, int(width / 3))
    rows, columns = values.shape
    high = (-rows % step, -columns % step)

    def coarse(some: NDArray[np.float64]) -> NDArray[np.float64]:
        filled = np.pad(some, ((0, high[0]), (0, high[1])))
        blocks = filled.reshape(filled.shape[0] // step, step, filled.shape[1] // step, step)
        return np.asarray(gaussian_filter(blocks.sum(axis=(1, 3)), width / step))

    mean = coarse(np.where(known, values, 0.0)) / np.maximum(coarse(known.astype(float)), 1e-6)
    at = [(np.arange(n) - (step - 1) / 2) / step for n in values.shape]
    if step == 1:
        return mean
    # Rows, then columns: a plane through four points is a product.
    tall = _between(mean, at[0])
    return _between(tall.T, at[1]).T


def _between(values: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear interpolation along the first axis, held at the ends."""
    places = np.clip(places, 0, len(values) - 1)
    low = np.minimum(places.astype(np.int64), max(len(values) - 2, 0))
    share = (places - low)[:, None]
    return np.asarray(
        values[low] * (1 - share) + values[np.minimum(low + 1, len(values) - 1)] * share
    )


def _trimmed(values: NDArray[np.float64]) -> float:
    """Mean of squares of a normal variable without the largest 2 %, corrected for these."""
    kept = np.sort(values)[: max(1, int(0.98 * len(values)))]
    return float(kept.mean() / 0.8735)
