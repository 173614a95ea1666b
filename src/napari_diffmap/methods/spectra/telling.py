"""The methods that tell phases, each from the same spectra to the same kind of answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.method import Report
from napari_diffmap.methods.spectra.clusters import Clusters, pca_gmm
from napari_diffmap.methods.spectra.correlation import best_two
from napari_diffmap.methods.spectra.normal import (
    Floats,
    Normal,
    Unmixed,
    noise_scale,
    normal_equations,
    unmix,
)
from napari_diffmap.methods.spectra.parameters import MethodName, SpectralParameters
from napari_diffmap.methods.spectra.posterior import Posterior, posterior
from napari_diffmap.methods.spectra.two_energy import best_pair, two_energy


@dataclass(frozen=True, eq=False)
class Spectra:
    """The pixels that are told, with what every method needs of them.

    Attributes
    ----------
    od, weights
        ``(P, E)`` optical densities and 1/variance (relative without counts), 0 where unknown.
    mask
        ``(Y, X)``: which pixels they are, row by row.
    curves
        References ``(M, E)``.
    energies
        ``(E,)`` eV.
    weighted, plain
        Normal equations with the weights, and with 1 for every known value.
    unmixed
        Non-negative least squares of the weighted ones.
    scale
        Reduced chi² of the bulk: by how much variances are larger than the weights say.
    """

    od: NDArray[np.float32]
    weights: NDArray[np.float32]
    mask: NDArray[np.bool_]
    curves: Floats
    energies: Floats
    weighted: Normal
    plain: Normal
    unmixed: Unmixed
    scale: float

    def __len__(self) -> int:
        return len(self.od)

    @property
    def known(self) -> Floats:
        """Energies known of each pixel ``(P,)``."""
        return np.asarray((self.weights > 0).sum(axis=1), dtype=np.float64)


def spectra_of(
    od: NDArray[np.float32],
    weights: NDArray[np.float32],
    mask: NDArray[np.bool_],
    curves: Floats,
    energies: Floats,
    parameters: SpectralParameters,
    *,
    counting: bool,
    check: Callable[[], object] | None = None,
) -> Spectra:
    """Collect the normal equations, unmix, and measure the noise.

    Parameters
    ----------
    od, weights, mask, curves, energies
        See `Spectra`.
    parameters
        Of the map.
    counting
        Whether the weights are photons: then the noise is at least theirs.
    check
        May raise.
    """
    weighted = normal_equations(od, weights, curves, energies, parameters.background, check)
    known = (weights > 0).astype(np.float32)
    plain = normal_equations(od, known, curves, energies, "offset", check)
    unmixed = unmix(weighted)
    freedom = weighted.known - (unmixed.weights > 0).sum(axis=1)
    scale = noise_scale(unmixed.chi2, freedom)
    scale = max(scale, 1.0) if counting else scale
    return Spectra(od, weights, mask, curves, energies, weighted, plain, unmixed, scale)


@dataclass(frozen=True, eq=False)
class Told:
    """What a method says of P pixels.

    Attributes
    ----------
    support
        ``(P, M)`` how much speaks for each reference, summing to 1: the largest is the answer.
    certainty
        ``(P,)`` the method's own measure of how sure it is, 0–1; not a probability yet.
    unsure
        ``(P,)`` whether, by its own test, the best two cannot be told apart.
    extra
        Further maps ``(P,)`` by name.
    clusters
        Of the methods that cluster.
    seconds
        That it took.
    again
        Tells other spectra with what was learnt; None: the method learns nothing.
    """

    support: Floats
    certainty: Floats
    unsure: NDArray[np.bool_]
    extra: dict[str, Floats] = field(default_factory=dict)
    clusters: Clusters | None = None
    seconds: float = 0.0
    again: Callable[[Spectra], Floats] | None = None

    @property
    def labels(self) -> NDArray[np.intp]:
        """The answer ``(P,)``."""
        return np.asarray(self.support.argmax(axis=1))


def tell(
    name: MethodName,
    spectra: Spectra,
    parameters: SpectralParameters,
    *,
    device: str = "cpu",
    progress: Report | None = None,
    check: Callable[[], object] | None = None,
) -> Told:
    """Run one method.

    Parameters
    ----------
    name
        One of `METHODS`.
    spectra
        The pixels.
    parameters
        Of the map.
    device
        For the autoencoders.
    progress, check
        Told how far it is; may raise.
    """
    start = time.perf_counter()
    given: dict[str, Any] = {}
    if name == "gmvae":
        given = {"device": device, "progress": progress}
    told = _TELLERS[name](spectra, parameters, check=check, **given)
    seconds = time.perf_counter() - start
    return Told(
        told.support,
        told.certainty,
        told.unsure,
        told.extra,
        told.clusters,
        seconds,
        told.again,
    )


def _posterior(
    spectra: Spectra, parameters: SpectralParameters, check: Callable[[], object] | None
) -> Told:
    found: Posterior = posterior(spectra.weighted, spectra.scale, spectra.mask, check=check)
    sure = found.labels.max(axis=1)
    extra = {"mixed": found.mixed, "partner": found.partner.astype(np.float64)}
    return Told(found.labels, sure, sure < parameters.certainty, extra)


def _pearson(
    spectra: Spectra, parameters: SpectralParameters, check: Callable[[], object] | None
) -> Told:
    correlation = spectra.plain.correlation()
    _, _, p = best_two(correlation, spectra.plain.between(), spectra.known)
    # Shares by rank of correlation: the largest is the answer, the second the next.
    support = np.exp((correlation - correlation.max(axis=1, keepdims=True)) * 100)
    return Told(support / support.sum(axis=1, keepdims=True), 1 - p, p > parameters.significance)


def _nnls(
    spectra: Spectra, parameters: SpectralParameters, check: Callable[[], object] | None
) -> Told:
    fractions = np.nan_to_num(spectra.unmixed.fractions())
    first = fractions.argmax(axis=1)
    rows = np.arange(len(fractions))
    largest = fractions[rows, first]
    # What goes from the first to another leaves this much of the other's spectrum to be seen: an
    # amount at its bound has no error of its own, and still cannot be told.
    gram = spectra.weighted.gram
    own, mine = np.einsum("pmm->pm", gram), gram[rows, first]
    left = own - mine**2 / np.maximum(own[rows, first], 1e-300)[:, None]
    error = np.sqrt(spectra.scale / np.maximum(left, 1e-300))
    spread = 2 * error / np.maximum(spectra.unmixed.total, 1e-12)[:, None]
    close = largest[:, None] - fractions < 2 * spread
    close[rows, first] = False
    unsure = close.any(axis=1)
    total = np.maximum(fractions.sum(axis=1, keepdims=True), 1e-12)
    return Told(fractions / total, largest, np.asarray(unsure))


def _pca_gmm(
    spectra: Spectra, parameters: SpectralParameters, check: Callable[[], object] | None
) -> Told:
    clusters = pca_gmm(
        spectra.od,
        spectra.weights,
        spectra.curves,
        _clusters(spectra, parameters),
        parameters.seed,
    )
    return _clustered(clusters, len(spectra.curves))


def _clusters(spectra: Spectra, parameters: SpectralParameters) -> int:
    return parameters.clusters or max(4, len(spectra.curves) + 2)


def _shares(support: Floats) -> Floats:
    """Adding up to 1; alike where nothing speaks for any, as in a cluster without a name."""
    total = support.sum(axis=1, keepdims=True)
    alike = 1 / support.shape[1]
    return np.asarray(np.where(total > 1e-9, support / np.maximum(total, 1e-9), alike))


def _clustered(clusters: Clusters, n_references: int) -> Told:
    support = _shares(clusters.support(n_references))
    q = np.clip(support, 1e-12, 1)
    # Between clusters of one name nothing is at stake.
    entropy = np.asarray(-(q * np.log(q)).sum(axis=1))
    return Told(support, support.max(axis=1), entropy > 0.5, {"entropy": entropy}, clusters)


def _two_energy(
    spectra: Spectra, parameters: SpectralParameters, check: Callable[[], object] | None
) -> Told:
    # An offset is known where a third energy lies before the edge.
    base = None
    if parameters.background != "none" and spectra.curves.shape[1] > 2:
        base = int(np.argmin(spectra.curves.sum(axis=0)))
    pair = best_pair(spectra.curves, base)
    if parameters.pair is not None:
        a, b = (int(np.argmin(np.abs(spectra.energies - e))) for e in parameters.pair)
        pair = (a, b) if a != b else pair
    weights = spectra.weights / spectra.scale
    angle, support = two_energy(spectra.od, weights, spectra.curves, pair, base)
    sure = support.max(axis=1)
    return Told(support, sure, sure < parameters.certainty, {"angle": np.rad2deg(angle)})


def _gmvae(
    spectra: Spectra,
    parameters: SpectralParameters,
    check: Callable[[], object] | None,
    device: str,
    progress: Report | None,
) -> Told:
    from napari_diffmap.methods.spectra.autoencoder import train_ensemble

    m = len(spectra.curves)
    ensemble = train_ensemble(
        spectra.od,
        spectra.weights / np.float32(spectra.scale),
        spectra.curves,
        _clusters(spectra, parameters),
        seeds=parameters.seeds,
        epochs=parameters.epochs,
        seed=parameters.seed,
        device=device,
        progress=progress,
        check=check,
    )
    told = _clustered(ensemble.clusters, m)

    def again(other: Spectra) -> Floats:
        membership = ensemble.membership(other.od, other.weights / np.float32(other.scale))
        support = np.zeros((len(membership), m))
        for k, reference in enumerate(ensemble.clusters.references):
            if reference >= 0:
                support[:, reference] += membership[:, k]
        return _shares(support)

    extra = {**told.extra, "stability": ensemble.stability}
    return Told(told.support, told.certainty, told.unsure, extra, told.clusters, again=again)


_TELLERS: dict[MethodName, Callable[..., Told]] = {
    "posterior": _posterior,
    "pearson": _pearson,
    "nnls": _nnls,
    "pca-gmm": _pca_gmm,
    "two-energy": _two_energy,
    "gmvae": _gmvae,
}
