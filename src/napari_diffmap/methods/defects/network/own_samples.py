"""Measured images as networks see them, with labels of several origins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.lattice import Lattice
from napari_diffmap.methods.defects.network.inputs import SPACING, resampled, standardised
from napari_diffmap.methods.defects.network.labels_fourier import (
    fourier_labels,
    radius_below_bragg,
)
from napari_diffmap.methods.defects.network.labels_sites import (
    Labels,
    corrected_labels,
    site_labels,
)
from napari_diffmap.methods.defects.network.residual import pristine_fit
from napari_diffmap.methods.defects.network.samples import Sample, seen_with

#: Side of what is learnt at once, px.
PATCH: Final = 64
#: Between what is learnt and what is judged on, in lattice constants.
GAP: Final = 4.0


@dataclass(frozen=True, eq=False)
class Corrected:
    """What a user said of a frame.

    Attributes
    ----------
    image, lattice
        The frame ``(Y, X)``, and its lattice where there is one.
    spacing
        Lattice constant in pixels.
    places, excess
        ``(n, 2)`` y, x in pixels and ``(n,)`` bool: defects, confirmed or added.
    no_defects
        ``(m, 2)``: places that are none.
    """

    image: NDArray[np.floating]
    lattice: Lattice | None
    spacing: float
    places: NDArray[np.float64]
    excess: NDArray[np.bool_]
    no_defects: NDArray[np.float64]


def labelled_sites(image: NDArray[np.floating], lattice: Lattice | None) -> Labels:
    """Labels of the site model, at the network's sampling."""
    from napari_diffmap.methods.defects.sites import site_model

    if lattice is None:
        raise BadInputError("no lattice was found to label by: label by Fourier instead")
    zoom = SPACING / lattice.spacing
    even, _ = resampled(image, lattice.spacing)
    return site_labels(site_model(image, lattice), (even.shape[0], even.shape[1]), zoom)


def labelled_fourier(image: NDArray[np.floating], spacing: float) -> Labels:
    """Labels of the low frequencies, at the network's sampling; each region is marked once."""
    from scipy import ndimage

    even, _ = resampled(image, spacing)
    found = fourier_labels(even, radius=radius_below_bragg(even, SPACING))
    places, signs = [], []
    for sign, mask in ((False, found.lacking), (True, found.excess)):
        numbers, count = ndimage.label(mask, np.ones((3, 3)))
        if count:
            index = np.arange(1, count + 1)
            area = ndimage.sum_labels(mask, numbers, index)
            centre = np.array(ndimage.center_of_mass(mask, numbers, index))
            # Smaller or larger ones are noise, or regions that are dark as a whole.
            usual = (area > (0.15 * SPACING) ** 2) & (area < (2 * SPACING) ** 2)
            places.append(centre[usual])
            signs.append(np.full(int(usual.sum()), sign))
    where = np.concatenate([np.zeros((0, 2)), *places])
    more = np.concatenate([np.zeros(0, bool), *signs])
    return Labels(found.marks, np.ones(even.shape, np.float32), where, more)


def labelled_by_hand(one: Corrected) -> Labels:
    """Labels of what a user said, at the network's sampling."""
    zoom = SPACING / one.spacing
    shape = tuple(int((n - 1) * zoom) + 1 for n in one.image.shape)
    if abs(zoom - 1) < 1e-3:
        shape = one.image.shape
    return corrected_labels(
        (shape[0], shape[1]), one.places * zoom, one.excess, one.no_defects * zoom
    )


def sample_of_image(
    image: NDArray[np.floating], lattice: Lattice | None, spacing: float, labels: Labels
) -> Sample:
    """A measured image as networks see it, with labels at their sampling."""
    known = np.isfinite(image)
    full = np.where(known, image, np.median(image[known]) if known.any() else 0.0)
    even, zoom = resampled(full, spacing)
    fit = None
    if lattice is not None:
        sites = lattice.sites(-2 * spacing)
        fit = pristine_fit(even, sites.places * zoom, sites.sublattice, SPACING)
    shape = (max(even.shape[0], PATCH), max(even.shape[1], PATCH))
    return Sample(
        _padded(seen_with(standardised(even), fit), shape),
        _padded(labels.marks, shape),
        _padded(labels.weight, shape),
        labels.places,
        labels.excess,
    )


def _padded(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    more = [(0, n - m) for n, m in zip(shape, values.shape[-2:], strict=True)]
    return np.pad(values, [(0, 0)] * (values.ndim - 2) + more)


def halves(
    sample: Sample, share: float = 0.6, gap: float = GAP * SPACING
) -> tuple[list[Sample], Sample]:
    """One part of a field to learn from and another to be judged on, a gap between them.

    Parameters
    ----------
    sample
        The field.
    share
        Of its longer side that is learnt from.
    gap
        Pixels that belong to neither.

    Raises
    ------
    BadInputError
        If the field is too small, or one of the parts has no defects.
    """
    height, width = sample.seen.shape[-2:]
    axis = 0 if height > width else 1
    length = max(height, width)
    end = round(share * (length - gap))
    begin = end + int(np.ceil(gap))
    if min(end, length - begin, min(height, width)) < PATCH:
        raise BadInputError(
            f"the image has {length / SPACING:.0f} lattice constants along its longer side, too"
            " few to learn from one part and judge on another: adapt the shipped network instead"
        )
    learnt, judged = (_cut(sample, axis, part) for part in (slice(0, end), slice(begin, length)))
    for part in (learnt, judged):
        if not len(part.places):
            raise BadInputError(
                "all defects lie in one part of the image: adapt the shipped network instead"
            )
    return [learnt], judged


def _cut(sample: Sample, axis: int, part: slice) -> Sample:
    here = (..., part, slice(None)) if axis == 0 else (..., slice(None), part)
    inside = (sample.places[:, axis] >= part.start) & (sample.places[:, axis] <= part.stop - 1)
    places = sample.places[inside].copy()
    places[:, axis] -= part.start
    return Sample(
        sample.seen[here],
        sample.marks[here],
        sample.weight[here],
        places,
        sample.excess[inside],
    )
