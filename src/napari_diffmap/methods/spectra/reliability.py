"""How often an answer is right: the found map, simulated at the measured dose, is mapped again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.spectra.normal import Floats
from napari_diffmap.methods.spectra.parameters import MethodName, SpectralParameters
from napari_diffmap.methods.spectra.posterior import Neighbours
from napari_diffmap.methods.spectra.telling import Spectra, Told, spectra_of, tell

Flags = NDArray[np.bool_]

#: Bins of certainty with as many pixels each.
_BINS = 40
#: Largest correction of an expected error.
_BIAS = 2.5
#: Shares of the second phase of a mixture.
_SHARES = np.arange(0.1, 0.91, 0.05)


@dataclass(frozen=True, eq=False)
class Twin:
    """A simulated map like the found one, and what the method made of it.

    Attributes
    ----------
    certainty
        ``(P,)`` the method's own certainty there.
    right
        ``(P,)`` whether it was right.
    bias
        By how much the error of a map is larger than that of its twin, seen on a twin of the
        twin, whose map has a known error.
    """

    certainty: Floats
    right: NDArray[np.bool_]
    bias: float = 1.0

    @property
    def error(self) -> float:
        """Share of wrong answers to be expected; NaN without pixels."""
        if not len(self.right):
            return float("nan")
        return min(float(1 - self.right.mean()) * self.bias, 1.0)

    def reliability(self, certainty: Floats) -> Floats:
        """Probability to be right at a certainty, rising with it (isotonic regression).

        A share of 0 or 1 in so many pixels is no certainty: (k + ½)/(n + 1) stays within.
        """
        from sklearn.isotonic import IsotonicRegression

        if not len(self.right):
            return np.full(len(certainty), np.nan)
        order = np.argsort(self.certainty, kind="stable")
        bins = [part for part in np.array_split(order, _BINS) if len(part)]
        x = np.array([self.certainty[part].mean() for part in bins])
        y = np.array([(self.right[part].sum() + 0.5) / (len(part) + 1) for part in bins])
        weight = np.array([len(part) for part in bins])
        fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        fit.fit(x, 1 - np.minimum((1 - y) * self.bias, 1), sample_weight=weight)
        return np.asarray(fit.predict(certainty), dtype=np.float64)


def twin(
    name: MethodName,
    spectra: Spectra,
    told: Told,
    first: Told,
    parameters: SpectralParameters,
    *,
    counting: bool,
    check: Callable[[], object] | None = None,
) -> Twin:
    """Simulate the map that was found at the dose that was measured, and map it by a method.

    Each pixel gets the spectrum of its phase of the map `first` (of its two phases where that is
    a mixture) with its own thickness and background, and noise of its own weights: photons where
    these were counted, else normal noise of the measured scale.  A method that was trained is not
    trained again.  A map is smoother or rougher than its sample, and so its twin's error is not
    its own; by how much is seen on a twin of the twin (the iterated bootstrap: Hall & Martin
    1988, *Biometrika* 75, 661).

    Parameters
    ----------
    name, told
        The method whose reliability is asked for, and what it said.
    spectra
        The pixels.
    first
        Of the method with neighbours: its map is the one simulated.
    parameters
        Of the map.
    counting
        Whether the weights are photons.
    check
        May raise.
    """

    def again(source: Spectra, found: Told, seed: int) -> tuple[Spectra, Told, Told, Flags]:
        rng = np.random.default_rng((parameters.seed, seed))
        fractions, truth = _mixture(source, _smoothed(source, found), rng)
        od, weights = _noisy(_clean(source, fractions), source, counting, rng)
        shared = (source.mask, source.curves, source.energies, parameters)
        other = spectra_of(od, weights, *shared, counting=counting, check=check)
        main = tell("posterior", other, parameters, check=check)
        said = main if name == "posterior" else _tell_again(name, told, other, parameters, check)
        return other, main, said, np.asarray(said.labels == truth)

    other, main, said, right = again(spectra, first, 1)
    *_, second = again(other, main, 2)
    n = len(right)
    bias = ((~right).sum() + 1) / ((~second).sum() + 1) if n else 1.0
    return Twin(said.certainty, right, float(np.clip(bias, 1 / _BIAS, _BIAS)))


def _tell_again(
    name: MethodName,
    told: Told,
    other: Spectra,
    parameters: SpectralParameters,
    check: Callable[[], object] | None,
) -> Told:
    """By a method as it was trained, where it was."""
    if told.again is None:
        return tell(name, other, parameters, check=check)
    support = told.again(other)
    return Told(support, support.max(axis=1), np.zeros(len(support), dtype=bool))


def _smoothed(spectra: Spectra, found: Told) -> Told:
    """A map less rough than the found one: noise breaks up borders that samples do not have.

    Neighbours count once more.
    """
    support = found.support + Neighbours(spectra.mask).sum(found.support)
    support /= support.sum(axis=1, keepdims=True)
    extra = dict(found.extra)
    partner = extra.get("partner")
    if partner is not None:
        now, before = support.argmax(axis=1), found.labels
        extra["partner"] = np.where(now == before, partner, np.where(partner == now, before, -1))
    return replace(found, support=support, extra=extra)


def _mixture(
    spectra: Spectra, first: Told, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.intp]]:
    """Shares of the references ``(P, M)`` to simulate, and the main one.

    Whether a pixel is a mixture, and of how much, is drawn from what its spectrum says: the main
    phase of a mixture of halves is as uncertain in the twin as it is in the map.
    """
    labels = first.labels
    fractions = np.zeros_like(first.support)
    fractions[np.arange(len(labels)), labels] = 1
    mixed, partner = first.extra.get("mixed"), first.extra.get("partner")
    if mixed is None or partner is None:
        return fractions, labels
    drawn = np.flatnonzero((rng.random(len(labels)) < mixed) & (partner >= 0))
    second = partner[drawn].astype(np.intp)
    pairs = labels[drawn] * fractions.shape[1] + second
    for pair in np.unique(pairs):
        a, b = divmod(int(pair), fractions.shape[1])
        if a == b:
            continue
        some = drawn[pairs == pair]
        chi2 = spectra.weighted.at(some).pair(a, b, _SHARES) / spectra.scale
        chance = np.exp(-0.5 * (chi2 - chi2.min(axis=1, keepdims=True)))
        chance = chance.cumsum(axis=1)
        place = (chance < rng.random((len(some), 1)) * chance[:, -1:]).sum(axis=1)
        share = _SHARES[np.minimum(place, len(_SHARES) - 1)]
        fractions[some, a], fractions[some, b] = 1 - share, share
    return fractions, np.asarray(fractions.argmax(axis=1))


def _clean(spectra: Spectra, fractions: Floats) -> Floats:
    """Optical densities without noise ``(P, E)``: thickness and background of each pixel."""
    shape = fractions @ spectra.curves
    w = spectra.weights.astype(np.float64)
    total = np.maximum(w.sum(axis=1, keepdims=True), 1e-12)
    mean_shape = (w * shape).sum(axis=1, keepdims=True) / total
    mean_od = (w * spectra.od).sum(axis=1, keepdims=True) / total
    away = shape - mean_shape
    size = (w * away * (spectra.od - mean_od)).sum(axis=1) / np.maximum(
        (w * away**2).sum(axis=1), 1e-12
    )
    size = np.maximum(size, 0)[:, None]
    return np.asarray(size * away + mean_od)


def _noisy(
    clean: Floats, spectra: Spectra, counting: bool, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    known = spectra.weights > 0
    # weights = I0 exp(-OD): what came in does not change with the noise.
    incident = spectra.weights * np.exp(np.clip(spectra.od, -1, 6))
    expected = incident * np.exp(-clean)
    if counting:
        counts = np.maximum(rng.poisson(np.maximum(expected, 0) / spectra.scale), 0.5)
        counts = counts * spectra.scale
        with np.errstate(divide="ignore", invalid="ignore"):
            od = np.where(known, -np.log(counts / incident), 0)
    else:
        spread = np.sqrt(spectra.scale / np.maximum(expected, 1e-12))
        od = np.where(known, clean + spread * rng.standard_normal(clean.shape), 0)
    weights = np.where(known, np.exp(-np.clip(od, -1, 6)) * incident, 0)
    return od.astype(np.float32), weights.astype(np.float32)
