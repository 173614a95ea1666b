"""Labels from the site model, and from what a user corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.network.inputs import MARK, SPACING, marks
from napari_diffmap.methods.defects.site_answer import SiteAnswer

#: A site this many robust standard deviations off is a defect, one off by less than half is none.
LIMIT = 3.0
#: A probability from which a deviant site is a defect, and below which it is none.
SURE, UNSURE = 0.8, 0.2


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of an image.

    Attributes
    ----------
    marks
        ``(2, Y, X)`` float32, 0–1: lacking, excess intensity.
    weight
        ``(Y, X)`` float32: what a pixel counts; 0 where nothing is known.
    places, excess
        ``(n, 2)`` y, x in pixels and ``(n,)`` bool: the defects.
    """

    marks: NDArray[np.float32]
    weight: NDArray[np.float32]
    places: NDArray[np.float64]
    excess: NDArray[np.bool_]


def site_labels(
    answer: SiteAnswer, shape: tuple[int, int], zoom: float = 1.0, spacing: float = SPACING
) -> Labels:
    """Labels of sites that are surely, or surely not, as all others.

    A site is a defect where its amplitude is off by more than `LIMIT` robust standard deviations
    and the model holds a defect for probable (`SURE`).  Between that and an ordinary site nothing
    is said, nor is it where the image does not show the lattice.

    Parameters
    ----------
    answer
        Of the site model.
    shape
        Of the labels: the image's, or that of the resampled one.
    zoom
        By which places of the image are multiplied, see `inputs.resampled`.
    spacing
        Lattice constant in pixels of the labels.
    """
    z, p, there = answer.z, answer.probability, answer.fitted
    defect = there & (np.abs(z) > LIMIT) & (p > SURE)
    usual = there & (np.abs(z) < LIMIT / 2 + 0.5) & (p < UNSURE)
    places = answer.sites.places * zoom
    weight = np.ones(shape, np.float32)
    around = disks(shape, places[~(defect | usual)], 2 * MARK * spacing)
    weight[around > 0] = 0
    excess = z[defect] > 0
    return Labels(marks(shape, places[defect], excess), weight, places[defect], excess)


def corrected_labels(
    shape: tuple[int, int],
    places: NDArray[np.floating],
    excess: Sequence[bool] | NDArray[np.bool_],
    no_defects: NDArray[np.floating] | None = None,
    *,
    known: NDArray[np.bool_] | None = None,
    spacing: float = SPACING,
) -> Labels:
    """Labels from places that a user confirmed, added, or said to be none.

    Parameters
    ----------
    shape
        Of the image.
    places, excess
        ``(n, 2)`` y, x in pixels and ``(n,)``: defects, and whether intensity is in excess.
    no_defects
        ``(m, 2)``: places at which there is none.
    known
        ``(Y, X)``: where all defects are among `places`, e.g. a region that was gone through.  By
        default nothing is known farther than a lattice constant from the given places.
    spacing
        Lattice constant in pixels.

    Raises
    ------
    BadInputError
        If nothing is given.
    """
    yes = np.asarray(places, dtype=float).reshape(-1, 2)
    no = np.asarray([] if no_defects is None else no_defects, dtype=float).reshape(-1, 2)
    signs = np.asarray(excess, dtype=bool)
    if len(yes) + len(no) == 0:
        raise BadInputError("there is nothing to learn: confirm, add or reject some finds first")
    if len(signs) != len(yes):
        raise BadInputError(f"{len(yes)} places have {len(signs)} signs: give one for each")
    if known is None:
        near = disks(shape, np.concatenate((yes, no)), spacing)
        weight = 0.25 * (near > 0).astype(np.float32)
    else:
        weight = 0.25 * known.astype(np.float32)
    # What was said of a place by hand counts more than what is about it.
    for some in (yes, no):
        weight[disks(shape, some, 1.5 * MARK * spacing) > 0] = 1
    return Labels(marks(shape, yes, signs, MARK * spacing), weight, yes, signs)


def disks(
    shape: tuple[int, int], places: NDArray[np.floating], radius: float
) -> NDArray[np.float32]:
    """``shape`` float32: 1 within a radius (px) of a place."""
    return np.asarray(marks(shape, places, np.zeros(len(places), dtype=bool), radius)[0])
