"""Operations on label maps by number: merge, erase, split; `cleaning` has those by place.

A label map is ``(Y, X)`` int32; 0 is no label.  Neighbours are the four of a pixel.  Every
operation returns a new array and leaves the old one as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.quaternions import disorientation, laue_operators

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


def checked(labels: NDArray[Any]) -> Labels:
    """Labels as int32.

    Raises
    ------
    BadInputError
        If they are no image of whole numbers from 0.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise BadInputError(
            f"labels must be a picture of whole numbers, not {labels.dtype} of {labels.shape}"
        )
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= np.iinfo(np.int32).max:
        raise BadInputError("labels must be numbered from 0")
    return labels.astype(np.int32, copy=False)


def difference(before: Labels, after: Labels) -> tuple[NDArray[np.int64], Labels]:
    """Where two label maps differ.

    Returns
    -------
    pixels
        Flat numbers, rising.
    values
        What `after` has there.
    """
    pixels = np.flatnonzero(before != after).astype(np.int64, copy=False)
    return pixels, after.reshape(-1)[pixels]


def restricted(
    before: Labels,
    after: Labels,
    *,
    numbers: Sequence[int] | None = None,
    within: Mask | None = None,
) -> Labels:
    """A change confined to some labels and to a region.

    Parameters
    ----------
    before, after
        Label maps.
    numbers
        Only pixels that had or get one of these labels change.
    within
        ``(Y, X)`` bool: only these pixels change.
    """
    allowed = np.ones(before.shape, dtype=bool) if within is None else within
    if numbers is not None:
        allowed = allowed & (np.isin(before, numbers) | np.isin(after, numbers))
    return np.where(allowed, after, before)


# ---------------------------------------------------------------- by number
def merge(labels: Labels, numbers: Sequence[int]) -> Labels:
    """Give several labels the number of the first.

    Raises
    ------
    BadInputError
        If fewer than two are given.
    """
    if len(set(numbers)) < 2:
        raise BadInputError("choose at least two labels to merge")
    return _replaced(checked(labels), numbers, numbers[0])


def erase(labels: Labels, numbers: Sequence[int]) -> Labels:
    """Take labels away: their pixels get 0."""
    return _replaced(checked(labels), numbers, 0)


def _replaced(labels: Labels, numbers: Sequence[int], number: int) -> Labels:
    return np.where(np.isin(labels, numbers), np.int32(number), labels)


def free_numbers(labels: Labels, n: int) -> Labels:
    """`n` numbers that no pixel has: those after the largest."""
    top = int(labels.max(initial=0))
    if top + n <= np.iinfo(np.int32).max:
        return np.arange(top + 1, top + n + 1, dtype=np.int32)
    used = np.unique(labels)
    candidates = np.arange(1, n + len(used) + 1, dtype=np.int32)
    return np.setdiff1d(candidates, used)[:n]


# ------------------------------------------------------------------- pieces
def pieces_of(labels: Labels) -> tuple[Labels, Labels]:
    """Connected pieces of equal label, 1 … n in reading order, 0 where there is no label.

    Returns
    -------
    pieces
        ``(Y, X)``.
    numbers
        ``(n + 1,)``: the label of each piece; 0 of the first.
    """
    from skimage.measure import label

    pieces = label(labels, background=0, connectivity=1).astype(np.int32, copy=False)
    numbers = np.zeros(int(pieces.max(initial=0)) + 1, dtype=np.int32)
    numbers[pieces.reshape(-1)] = labels.reshape(-1)
    return pieces, numbers


def borders(
    regions: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Regions that touch, and along how many pixel edges.

    Returns
    -------
    first, second
        ``(n,)`` numbers of the two regions, the smaller first; each pair once.
    lengths
        ``(n,)`` pixel edges between them.
    """
    n = int(regions.max(initial=0)) + 1
    keys = []
    for one, other in ((regions[:, :-1], regions[:, 1:]), (regions[:-1], regions[1:])):
        apart = one != other
        a, b = one[apart].astype(np.int64), other[apart].astype(np.int64)
        keys.append(np.minimum(a, b) * n + np.maximum(a, b))
    pairs, lengths = np.unique(np.concatenate(keys), return_counts=True)
    return pairs // n, pairs % n, lengths.astype(np.int64)


def split(labels: Labels, number: int) -> Labels:
    """Number the connected pieces of a label; the largest keeps the number.

    The others get free numbers in reading order.
    """
    labels = checked(labels)
    pieces, _ = pieces_of((labels == number).astype(np.int32))
    return _numbered(labels, pieces, number)


def split_by_orientation(
    labels: Labels, number: int, found: OrientationMap, threshold_deg: float
) -> Labels:
    """Cut a label where the orientation jumps or the phase changes.

    Neighbours up to the threshold stay together; the largest piece keeps the number, the
    others get free numbers in reading order.  Pixels without an answer go with the nearest
    one that has an answer.

    Parameters
    ----------
    labels
        Label map of the shape of `found`.
    number
        The label to cut.
    found
        The map; its first answers count.
    threshold_deg
        Disorientation (degrees) of neighbours above which there is a cut.

    Raises
    ------
    BadInputError
        If the shapes differ or the threshold is not between 0 and 180°.
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    labels = checked(labels)
    if labels.shape != found.shape:
        raise BadInputError(f"labels of {labels.shape} do not fit a map of {found.shape}")
    if not 0 < threshold_deg < 180:
        raise BadInputError(f"a cut needs an angle between 0 and 180°, not {threshold_deg:g}°")
    mask = labels == number
    if not mask.any():
        return labels.copy()
    box = find_objects(mask.astype(np.int8))[0]
    inside = mask[box]
    known = inside & found.indexed[box]
    if not known.any():
        return labels.copy()
    pieces = _oriented_pieces(known, found, box, threshold_deg)
    if (inside & ~known).any():
        nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
        pieces = np.where(inside, pieces[tuple(nearest)], 0)
    whole = np.zeros(labels.shape, dtype=np.int32)
    whole[box] = pieces
    return _numbered(labels, whole, number)


def _oriented_pieces(known: Mask, found: OrientationMap, box: Any, threshold: float) -> Labels:
    """Pieces 1 … n of the known pixels in a box, without a jump between neighbours."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids, q = found.best_phase_ids[box], found.best_rotations[box]
    index = np.arange(ids.size).reshape(ids.shape)
    starts, ends = [], []
    whole = slice(None)
    for one, other in (
        ((whole, slice(None, -1)), (whole, slice(1, None))),
        ((slice(None, -1), whole), (slice(1, None), whole)),
    ):
        pairs = known[one] & known[other] & (ids[one] == ids[other])
        start, end, phases = index[one][pairs], index[other][pairs], ids[one][pairs]
        angles = np.empty(len(start), dtype=np.float32)
        for phase in np.unique(phases):
            mine = phases == phase
            operators = laue_operators(found.phases[int(phase)])
            angles[mine] = disorientation(q[one][pairs][mine], q[other][pairs][mine], operators)
        starts.append(start[angles <= threshold])
        ends.append(end[angles <= threshold])
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(ids.size,) * 2)
    pieces = connected_components(graph, directed=False)[1].reshape(ids.shape) + 1
    return np.where(known, pieces, 0).astype(np.int32)


def _numbered(labels: Labels, pieces: Labels, number: int) -> Labels:
    """The pieces of one label with numbers: the largest's stays, free ones for the others."""
    sizes = np.bincount(pieces.reshape(-1))
    sizes[0] = 0
    there, first = np.unique(pieces, return_index=True)
    order = [int(piece) for piece in there[np.argsort(first)] if piece]
    others = [piece for piece in order if piece != int(sizes.argmax())]
    table = np.full(len(sizes), number, dtype=np.int32)
    table[others] = free_numbers(labels, len(others))
    return np.where(pieces > 0, table[pieces], labels)
