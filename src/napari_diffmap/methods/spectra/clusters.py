"""Clusters of spectra: principal components with a Gaussian mixture; names by correlation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.spectra.normal import Floats

#: Pixels that a mixture is fitted to; the others are only assigned.
_FITTED = 6000
#: A cluster's spectrum is the mean of pixels that belong to it at least this much.
SURE = 0.9


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of P pixels.

    Attributes
    ----------
    membership
        ``(P, K)`` probability of each cluster, summing to 1.
    means, spreads
        ``(K, E)`` mean optical density of the pixels that surely belong, and its standard
        deviation; NaN for an empty cluster.
    references
        ``(K,)`` the reference that correlates best with the mean; -1 for an empty cluster.
    correlations
        ``(K, M)`` Pearson correlations of means and references.
    """

    membership: Floats
    means: Floats
    spreads: Floats
    references: NDArray[np.intp]
    correlations: Floats

    @property
    def effective(self) -> float:
        """Effective number of clusters: exp of the entropy of their sizes."""
        share = self.membership.mean(axis=0)
        share = share[share > 1e-12]
        return float(np.exp(-(share * np.log(share)).sum()))

    @property
    def entropy(self) -> Floats:
        """Entropy of the membership ``(P,)``, nat."""
        q = np.clip(self.membership, 1e-12, 1)
        return np.asarray(-(q * np.log(q)).sum(axis=1))

    def support(self, n_references: int) -> Floats:
        """Membership summed over the clusters of each reference ``(P, M)``."""
        support = np.zeros((len(self.membership), n_references))
        for k, reference in enumerate(self.references):
            if reference >= 0:
                support[:, reference] += self.membership[:, k]
        return support


def shapes(
    od: NDArray[np.floating], weights: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Spectra freed of offset and size, and the standard error of their values ``(P, E)``.

    Both in the precision of the densities.

    Parameters
    ----------
    od, weights
        ``(P, E)`` optical densities and 1/variance, 0 where unknown.
    """
    known = np.asarray(weights > 0, dtype=od.dtype)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = (od - (od * known).sum(axis=1, keepdims=True) / count) * known
    size = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    size = np.maximum(size, 1e-9)
    error = 1 / np.sqrt(np.maximum(weights, 1e-12)) / size
    return centred / size, np.where(known > 0, error, np.inf).astype(od.dtype, copy=False)


def named(
    membership: Floats, od: NDArray[np.floating], weights: NDArray[np.floating], curves: Floats
) -> Clusters:
    """Clusters with their spectra, named by the reference that correlates best.

    Parameters
    ----------
    membership
        ``(P, K)``.
    od, weights
        ``(P, E)``, weight 0 where unknown.
    curves
        References ``(M, E)``.
    """
    k = membership.shape[1]
    means = np.full((k, od.shape[1]), np.nan)
    spreads = means.copy()
    correlations = np.zeros((k, len(curves)))
    references = np.full(k, -1, dtype=np.intp)
    for j in range(k):
        sure = membership[:, j] > SURE
        if sure.sum() < 3:
            sure = membership.argmax(axis=1) == j
        if not sure.any():
            continue
        known = weights[sure] > 0
        count = known.sum(axis=0)
        good = count > 0
        total = np.where(known, od[sure], 0).sum(axis=0)
        means[j, good] = total[good] / count[good]
        away = np.where(known, od[sure] - np.nan_to_num(means[j]), 0)
        spreads[j, good] = np.sqrt((away**2).sum(axis=0)[good] / count[good])
        if good.sum() > 1 and np.ptp(means[j, good]) > 0:
            both = np.corrcoef(np.vstack((means[j, good], curves[:, good])))[0, 1:]
            correlations[j] = np.nan_to_num(both)
            references[j] = int(np.argmax(correlations[j]))
    return Clusters(membership, means, spreads, references, correlations)


def fitted(mixture: Any, places: Floats) -> None:
    """Fit a mixture; one that still moves after its last step is as good as one that does not."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # So few places are fitted sooner than two threads have waited for each other.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(places)


def pca_gmm(
    od: NDArray[np.floating],
    weights: NDArray[np.floating],
    curves: Floats,
    n_clusters: int,
    seed: int = 0,
) -> Clusters:
    """Principal components of the spectra's shapes, and a Gaussian mixture in them.

    Parameters
    ----------
    od, weights
        ``(P, E)``.
    curves
        References ``(M, E)``.
    n_clusters
        Of the mixture; fewer where there are fewer pixels.
    seed
        Of the random numbers.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(seed)
    shape, _ = shapes(od, weights)
    some = rng.permutation(len(shape))[:_FITTED]
    n_clusters = max(1, min(n_clusters, len(some) // 2))
    dimensions = max(1, min(len(curves) + 1, shape.shape[1] - 1, len(some)))
    components = PCA(dimensions, random_state=seed).fit(shape[some])
    scores = components.transform(shape)
    mixture = GaussianMixture(
        n_clusters, covariance_type="full", reg_covar=1e-5, n_init=1, max_iter=60, random_state=seed
    )
    fitted(mixture, scores[some])
    membership = np.asarray(mixture.predict_proba(scores))
    return named(membership, od, weights, curves)
