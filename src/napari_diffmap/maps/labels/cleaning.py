"""Operations on label maps by place: grow, clean small pieces, fill holes, majority filter.

See `ops` for what a label map is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.labels.ops import Labels, Mask, borders, checked, pieces_of

#: Outside the map; no label.
_OUTSIDE = -1
#: Windows of the majority filter that are sorted at a time.
_WINDOWS = 1 << 16


def grow(labels: Labels, pixels: float, within: Mask | None = None) -> Labels:
    """Let labels grow into pixels without one.

    Parameters
    ----------
    labels
        Label map.
    pixels
        How far (pixels, Euclidean); each pixel takes the nearest label.
    within
        ``(Y, X)`` bool: only these pixels are taken.

    Raises
    ------
    BadInputError
        If the distance is not above 0.
    """
    from scipy.ndimage import distance_transform_edt

    labels = checked(labels)
    if not pixels > 0:
        raise BadInputError(f"labels grow by more than 0 pixels, not {pixels:g}")
    if not labels.any():
        return labels.copy()
    away, nearest = distance_transform_edt(labels == 0, return_indices=True)
    taken = away <= pixels
    if within is not None:
        taken &= within
    return np.where(taken, labels[tuple(nearest)], labels)


def clean_small(labels: Labels, min_size: int) -> Labels:
    """Give small pieces to their neighbours.

    A connected piece of fewer than `min_size` pixels takes the label with which it shares the
    longest border (of several as long: the smallest number); what small pieces took counts for
    the small pieces behind them.  Where no large piece is in reach they get 0.  Borders with
    pixels without a label do not count.

    Parameters
    ----------
    labels
        Label map.
    min_size
        Pixels that a piece needs to stay.
    """
    labels = checked(labels)
    pieces, numbers = pieces_of(labels)
    sizes = np.bincount(pieces.reshape(-1), minlength=len(numbers))
    small = sizes < min_size
    small[0] = False
    if not small.any():
        return labels.copy()
    numbers = np.where(small, 0, numbers)
    one, other, lengths = borders(pieces)
    labelled = one > 0
    one, other, lengths = one[labelled], other[labelled], lengths[labelled]
    # Each border seen from both sides.
    here, there = np.concatenate((one, other)), np.concatenate((other, one))
    lengths = np.concatenate((lengths, lengths))
    while (use := small[here] & ~small[there]).any():
        piece, number = _longest(here[use], numbers[there[use]], lengths[use])
        numbers[piece] = number
        small[piece] = False
    return numbers[pieces]


def _longest(
    piece: NDArray[np.int64], number: Labels, lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each piece the label with the longest border."""
    top = int(number.max()) + 1
    pairs, row = np.unique(piece * top + number, return_inverse=True)
    totals = np.bincount(row, lengths)
    pieces, numbers = pairs // top, pairs % top
    order = np.lexsort((numbers, -totals, pieces))
    first = order[np.diff(pieces[order], prepend=-1) > 0]
    return pieces[first], numbers[first]


def fill_holes(labels: Labels, max_size: int | None = None) -> Labels:
    """Fill what has no label and lies inside one label.

    Parameters
    ----------
    labels
        Label map.
    max_size
        Larger holes (pixels) stay; None fills all.  What touches the edge of the map or two
        labels is no hole.
    """
    labels = checked(labels)
    empty = labels == 0
    regions, _ = pieces_of(empty.astype(np.int32))
    n = int(regions.max(initial=0)) + 1
    hole = np.ones(n, dtype=bool)
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        hole[edge] = False
    hole[0] = False
    if max_size is not None:
        hole &= np.bincount(regions.reshape(-1), minlength=n) <= max_size
    low = np.full(n, np.iinfo(np.int32).max, dtype=np.int32)
    high = np.zeros(n, dtype=np.int32)
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        for a, b in ((one, other), (other, one)):
            beside = empty[a] & ~empty[b]
            np.minimum.at(low, regions[a][beside], labels[b][beside])
            np.maximum.at(high, regions[a][beside], labels[b][beside])
    hole &= low == high
    return np.where(hole[regions], high[regions], labels)


def majority(labels: Labels, size: int = 3, within: Mask | None = None) -> Labels:
    """Give each pixel the label that most pixels around it have; 0 counts like any other.

    Parameters
    ----------
    labels
        Label map.
    size
        Width of the square window (odd, pixels); at the edge of the map only what is inside
        counts.
    within
        ``(Y, X)`` bool: only these pixels change.

    Returns
    -------
    ndarray
        Where several labels are as frequent, the pixel keeps its own.

    Raises
    ------
    BadInputError
        If the window is not odd.
    """
    labels = checked(labels)
    if size < 3 or size % 2 == 0:
        raise BadInputError(f"a window must be 3, 5, 7 … pixels wide, not {size}")
    half = size // 2
    padded = np.pad(labels, half, constant_values=_OUTSIDE)
    # Where more than half of the window is the pixel's own label nothing can change.
    open_ = _own_counts(padded, labels, size) <= size * size // 2
    if within is not None:
        open_ &= within
    y, x = np.nonzero(open_)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    out = labels.copy()
    for start in range(0, len(y), _WINDOWS):
        rows, columns = y[start : start + _WINDOWS], x[start : start + _WINDOWS]
        around = windows[rows, columns].reshape(len(rows), -1)
        out[rows, columns] = _modes(around, labels[rows, columns])
    return out


def _own_counts(padded: Labels, labels: Labels, size: int) -> NDArray[np.uint16]:
    """How many pixels of each window have the label of its middle."""
    rows, columns = labels.shape
    total = np.zeros(labels.shape, dtype=np.uint16)
    for dy in range(size):
        for dx in range(size):
            total += padded[dy : dy + rows, dx : dx + columns] == labels
    return total


def _modes(around: Labels, own: Labels) -> Labels:
    """The most frequent value of each row, its own where several are."""
    around = np.sort(around, axis=1)
    width = around.shape[1]
    # What fills more than half of a row is in its middle.
    best = around[:, width // 2].copy()
    plain = np.count_nonzero(around == best[:, None], axis=1) * 2 > width
    plain &= best != _OUTSIDE
    rows = np.flatnonzero(~plain)
    around = around[rows]
    for count in range(1, width + 1):
        # A run of `count` equal values, by its first.
        begins = around[:, : width - count + 1]
        runs = (begins == around[:, count - 1 :]) & (begins != _OUTSIDE)
        n = np.count_nonzero(runs, axis=1)
        reached = n > 0
        if not reached.any():
            break
        if not reached.all():
            rows, around, runs, n = rows[reached], around[reached], runs[reached], n[reached]
        most = around[np.arange(len(rows)), runs.argmax(axis=1)]
        best[rows] = np.where(n == 1, most, own[rows])
    return best
