"""Complexes: finds of one frame that are neighbours of each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.finds import Finds


def complexes(finds: Finds, reach_px: float) -> NDArray[np.int64]:
    """Number of the complex of each find in its frame, from 0; one alone is a complex, too.

    Parameters
    ----------
    finds
        In any order.
    reach_px
        Finds no farther apart than this are of one complex.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    n = len(finds)
    if not n:
        return np.zeros(0, dtype=np.int64)
    beyond = 2 * (np.ptp(finds.places, axis=0).max() + reach_px) + 1
    tree = cKDTree(np.column_stack([finds.places, finds.frame * beyond]))
    pairs = tree.query_pairs(reach_px, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    # numbers start anew in every frame, in the order of their first finds
    heads, first, which = np.unique(label, return_index=True, return_inverse=True)
    order = np.lexsort((first, finds.frame[first]))
    frame = finds.frame[first[order]]
    number = np.arange(len(heads)) - np.searchsorted(frame, frame)
    out = np.empty(len(heads), dtype=np.int64)
    out[order] = number
    return out[which]


def complex_sizes(finds: Finds, number: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many finds the complex of each find has ``(n,)``.

    Parameters
    ----------
    finds
        As given to `complexes`.
    number
        What it told.
    """
    _, which, count = np.unique(
        np.column_stack([finds.frame, number]), axis=0, return_inverse=True, return_counts=True
    )
    return np.asarray(count[which.ravel()], dtype=np.int64)
