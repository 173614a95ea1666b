"""How often an answer is right: the found map, simulated at the measured dose, is mapped again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.spectra.normal import Floats
from napari_diffmap.methods.spectra.parameters import MethodName, SpectralParameters
from napari_diffmap.methods.spectra.telling import Spectra, Told, spectra_of, tell

#: Bins of certainty with as many pixels each.
_BINS = 40
#: Probability of a mixture from which on the twin holds one.
_MIXED = 0.5


@dataclass(frozen=True, eq=False)
class Twin:
    """A simulated map like the found one, and what the method made of it.

    Attributes
    ----------
    truth
        ``(P,)`` main phase of each simulated pixel.
    certainty
        ``(P,)`` the method's own certainty there.
    right
        ``(P,)`` whether it was right.
    """

    truth: NDArray[np.intp]
    certainty: Floats
    right: NDArray[np.bool_]

    @property
    def error(self) -> float:
        """Share of wrong answers."""
        return float(1 - self.right.mean()) if len(self.right) else float("nan")

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
        fit.fit(x, y, sample_weight=weight)
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
    trained again.

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
    rng = np.random.default_rng(parameters.seed + 1)
    fractions, truth = _mixture(spectra, first)
    clean = _clean(spectra, fractions)
    od, weights = _noisy(clean, spectra, counting, rng)
    other = spectra_of(
        od,
        weights,
        spectra.mask,
        spectra.curves,
        spectra.energies,
        parameters,
        counting=counting,
        check=check,
    )
    if told.again is not None:
        support = told.again(other)
        certainty = support.max(axis=1)
        labels = support.argmax(axis=1)
    else:
        said = tell(name, other, parameters, check=check)
        labels, certainty = said.labels, said.certainty
    return Twin(truth, certainty, np.asarray(labels == truth))


def _mixture(spectra: Spectra, first: Told) -> tuple[Floats, NDArray[np.intp]]:
    """Shares of the references ``(P, M)`` to simulate, and the main one."""
    labels = first.labels
    fractions = np.zeros_like(first.support)
    rows = np.arange(len(labels))
    fractions[rows, labels] = 1
    mixed = first.extra.get("mixed")
    if mixed is not None and spectra.curves.shape[0] > 1:
        some = np.flatnonzero(mixed > _MIXED)
        partner = np.where(
            np.arange(fractions.shape[1])[None] == labels[some, None],
            -np.inf,
            first.support[some],
        ).argmax(axis=1)
        amount = spectra.unmixed.weights[some]
        index = np.arange(len(some))
        a, b = amount[index, labels[some]], amount[index, partner]
        share = np.clip(np.where(a + b > 0, b / np.maximum(a + b, 1e-12), 0.3), 0.1, 0.5)
        fractions[some, labels[some]] = 1 - share
        fractions[some, partner] = share
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
