"""Why a pixel is doubted: false assignment, transition, ambiguity, too thin, saturated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.spectral_doubt import SpectralDoubt
from napari_diffmap.methods.spectra.correlation import best_two
from napari_diffmap.methods.spectra.normal import Floats
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.telling import Spectra, Told

#: Shares of the second phase between which a mixture is a transition.
_FROM, _TO = 0.15, 0.85
#: chi² that a mixture must gain on the better of its phases (1 degree of freedom, p = 0.05).
_GAIN = 3.84
#: p below which noise does not explain what a fit leaves.
_UNEXPLAINED = 1e-3
#: chi² that the best reference must gain on the background alone.
_PRESENT = 9.0
#: Two references nearer than so many standard deviations at a pixel's thickness are not parted.
_PARTED = 2.0

Mask = NDArray[np.bool_]


def doubts(
    spectra: Spectra,
    told: Told,
    first: Told,
    labels: NDArray[np.integer[Any]],
    unsure: Mask,
    saturated: Mask,
    composition: tuple[Floats, Floats] | None,
    parameters: SpectralParameters,
) -> NDArray[np.uint8]:
    """Cause of doubt of every pixel of the mask ``(P,)``, codes of `SpectralDoubt`.

    Where several hold: saturated, false assignment, transition, too thin, ambiguity.

    Parameters
    ----------
    spectra
        The pixels.
    told, first
        What the method said, and what the one with neighbours did.
    labels
        The answers ``(P,)``.
    unsure, saturated
        ``(P,)``.
    composition
        And its standard error, ``(P,)`` each; None where references have none.
    parameters
        Of the map.
    """
    plane = np.full(spectra.mask.shape, -1, dtype=np.int64)
    plane[spectra.mask] = labels
    codes = np.zeros(len(labels), dtype=np.uint8)
    codes[unsure] = SpectralDoubt.AMBIGUITY
    thin, absent = too_thin(spectra, labels), absorbs_nothing(spectra)
    codes[(unsure & thin) | absent] = SpectralDoubt.THIN
    transition = transitions(spectra, first, labels, plane, parameters.boundary)
    codes[transition & ~absent] = SpectralDoubt.TRANSITION
    wrong = false_assignments(spectra, labels, plane, composition, parameters)
    codes[wrong & ~transition & ~absent] = SpectralDoubt.FALSE_ASSIGNMENT
    codes[saturated] = SpectralDoubt.SATURATED
    return codes


def too_thin(spectra: Spectra, labels: NDArray[np.integer[Any]]) -> Mask:
    """Where the two most alike references could not be parted at this thickness ``(P,)``.

    The distance of the answer from the reference most like it, at the pixel's own amount and
    noise, is below two standard deviations, and the pixel absorbs less than half as much as most.
    """
    rows = np.arange(len(labels))
    amplitude, _ = spectra.weighted.pure()
    amount = amplitude[rows, labels]
    gram = spectra.weighted.gram
    own = np.maximum(np.einsum("pmm->pm", gram), 1e-300)
    mine = gram[rows, labels]
    left = own[rows, labels][:, None] - mine**2 / own
    left[rows, labels] = np.inf
    apart = amount * np.sqrt(np.maximum(left.min(axis=1), 0) / spectra.scale)
    usual = float(np.median(amount)) if len(amount) else 0.0
    return np.asarray((apart < _PARTED) & (amount < 0.5 * usual))


def absorbs_nothing(spectra: Spectra) -> Mask:
    """Where no reference explains more than noise would: three standard deviations ``(P,)``.

    And where noise is all there is: a spectrum unlike all references absorbs, too.
    """
    _, alone = spectra.weighted.pure()
    gain = spectra.weighted.square - alone.min(axis=1)
    return np.asarray((gain / spectra.scale < _PRESENT) & ~_unexplained(spectra))


def transitions(
    spectra: Spectra,
    first: Told,
    labels: NDArray[np.integer[Any]],
    plane: NDArray[np.int64],
    width: int,
) -> Mask:
    """Where two phases meet and a mixture of both explains the spectrum better ``(P,)``.

    Within `width` pixels of another label: the best mixture of the two, 15 to 85 %, has a chi²
    lower by 3.84 than the better of them alone, or is more probable than not given the
    neighbours.
    """
    other = _nearest_other(plane, width)[spectra.mask]
    near = other >= 0
    found = np.zeros(len(labels), dtype=bool)
    mixed = first.extra.get("mixed")
    shares = np.arange(_FROM, _TO + 1e-9, 0.1)
    _, alone = spectra.weighted.pure()
    m = len(spectra.curves)
    for a in range(m):
        for b in range(a + 1, m):
            pair = ((labels == a) & (other == b)) | ((labels == b) & (other == a))
            if not pair.any():
                continue
            best = spectra.weighted.at(pair).pair(a, b, shares).min(axis=1)
            gain = np.minimum(alone[pair, a], alone[pair, b]) - best
            found[pair] = gain / spectra.scale > _GAIN
    if mixed is not None:
        found |= mixed > 0.5
    return found & near


def _nearest_other(plane: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """The nearest other label within a distance ``(Y, X)``; -1 where there is none."""
    from scipy.ndimage import distance_transform_edt

    nearest = np.full(plane.shape, -1, dtype=np.int64)
    distance = np.full(plane.shape, np.inf)
    for label in np.unique(plane[plane >= 0]):
        there = plane == label
        away = distance_transform_edt(~there)
        closer = (away > 0) & (away <= width) & (away < distance) & (plane >= 0)
        nearest[closer], distance[closer] = label, away[closer]
    return nearest


def false_assignments(
    spectra: Spectra,
    labels: NDArray[np.integer[Any]],
    plane: NDArray[np.int64],
    composition: tuple[Floats, Floats] | None,
    parameters: SpectralParameters,
) -> Mask:
    """Where the answer contradicts the pixel itself or its surroundings ``(P,)``.

    Another reference correlates significantly better (Williams' test, a tenth of the significance
    asked for ambiguity); or even the best correlates too little and noise does not explain it; or
    the region is too small; or the composition cannot be.
    """
    correlation = spectra.plain.correlation()
    best, _, _ = best_two(correlation, spectra.plain.between(), spectra.known)
    rows = np.arange(len(labels))
    wrong = best != labels
    if wrong.any():
        from napari_diffmap.methods.spectra.correlation import williams

        some = np.flatnonzero(wrong)
        between = spectra.plain.between()[some, best[some], labels[some]]
        p = williams(
            correlation[some, best[some]],
            correlation[some, labels[some]],
            between,
            spectra.known[some],
        )
        wrong[some] = p < parameters.significance / 10
    wrong |= (correlation[rows, best] < parameters.least_correlation) & _unexplained(spectra)
    wrong |= _too_small(plane, parameters.smallest)[spectra.mask]
    if composition is not None and parameters.composition_range is not None:
        low, high = parameters.composition_range
        value, error = composition
        wrong |= (value + 3 * error < low) | (value - 3 * error > high)
    return np.asarray(wrong)


def _unexplained(spectra: Spectra) -> Mask:
    """Where what the references leave is more than noise ``(P,)``."""
    from scipy.special import chdtrc

    freedom = np.maximum(spectra.weighted.known - (spectra.unmixed.weights > 0).sum(axis=1), 1)
    return np.asarray(chdtrc(freedom, spectra.unmixed.chi2 / spectra.scale) < _UNEXPLAINED)


def _too_small(plane: NDArray[np.int64], smallest: int) -> Mask:
    """Regions of one label smaller than allowed that touch another label ``(Y, X)``."""
    from scipy.ndimage import binary_dilation, label

    small = np.zeros(plane.shape, dtype=bool)
    eight = np.ones((3, 3), dtype=bool)
    for value in np.unique(plane[plane >= 0]):
        regions, n = label(plane == value, structure=eight)
        sizes = np.bincount(regions.ravel(), minlength=n + 1)
        table = (sizes < smallest) & (np.arange(n + 1) > 0)
        small |= table[regions]
    # A small particle by itself is no outlier.
    if not small.any():
        return small
    pieces, n = label(plane >= 0, structure=eight)
    sizes = np.bincount(pieces.ravel(), minlength=n + 1)
    touching = binary_dilation((plane >= 0) & ~small, structure=eight)
    return np.asarray(small & (touching | (sizes[pieces] >= smallest)))
