"""Twins merged into their parents, across boundaries of given laws.

Grains that a chain of twin boundaries connects are one parent, as in MTEX's *merge* and DREAM.3D's
*Merge Twins*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

if TYPE_CHECKING:
    from napari_diffmap.maps.boundaries.twins import BoundaryLaws
    from napari_diffmap.maps.grains.find import Grains
    from napari_diffmap.maps.grains.pairs import GrainPairs


@dataclass(frozen=True, eq=False)
class MergedGrains:
    """Grains joined across boundaries of given laws.

    Attributes
    ----------
    grains
        The parents as grains of their own, numbered in reading order.  Their mean
        orientation is that of the largest member: a mean over twins is none.
    parent_of
        ``(n,)`` int32: parent 1 … m of each of the grains that were merged.
    members
        ``(m,)``: grains in each parent.
    codes
        Codes of the laws that were merged across.
    """

    grains: Grains
    parent_of: NDArray[np.int32]
    members: NDArray[np.int64]
    codes: tuple[int, ...]


def merge_by_laws(
    grains: Grains,
    pairs: GrainPairs,
    laws: BoundaryLaws,
    *,
    across: Iterable[str | int] | None = None,
    share: float = 0.5,
) -> MergedGrains:
    """Join grains whose shared boundary mostly follows a law.

    Parameters
    ----------
    grains, pairs, laws
        From `find_grains`, `find_pairs` and `classify_laws` of the same map.
    across
        Names or codes (see `BoundaryLaws.legend`) of the laws to merge across; every
        twin (Σ3, but no other coincidence) without it.  A code is the law of one
        phase, a name that of every phase that has it.
    share
        At least this share of the shared length must follow one of the laws, 0–1.

    Raises
    ------
    BadInputError
        If there is no such law, the share cannot be, or the parts are of different maps.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not 0 < share <= 1:
        raise BadInputError(f"the share of a boundary must lie between 0 and 1, not {share:g}")
    if pairs.n_grains != len(grains):
        raise BadInputError("the pairs are of other grains: find them again")
    codes = _codes(laws, across)
    on_law = np.isin(pairs.on_edges(laws.law_x, laws.law_y), codes)
    joined = pairs.mean_on_edges(on_law) >= share - 1e-9
    ends = (pairs.first[joined] - 1, pairs.second[joined] - 1)
    n = len(grains)
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(n, n))
    pieces = connected_components(graph, directed=False)[1] if n else np.zeros(0, dtype=np.int32)
    # Grains are in reading order, and so are the pieces by their first grain.
    _, first, parent = np.unique(pieces, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    parent_of = (rank[parent] + 1).astype(np.int32)
    return MergedGrains(
        _parents(grains, parent_of, len(order)),
        parent_of,
        np.bincount(parent_of - 1, minlength=len(order)).astype(np.int64),
        codes,
    )


def _codes(laws: BoundaryLaws, across: Iterable[str | int] | None) -> tuple[int, ...]:
    if across is None:
        return tuple(entry.code for entry in laws.legend if entry.law.twin)
    wanted = set(across)
    unknown = wanted - {known for entry in laws.legend for known in (entry.name, entry.code)}
    if unknown:
        names = ", ".join(dict.fromkeys(entry.name for entry in laws.legend)) or "none"
        raise BadInputError(f"there is no law {unknown.pop()!r} here: the laws are {names}")
    return tuple(e.code for e in laws.legend if e.name in wanted or e.code in wanted)


def _parents(grains: Grains, parent_of: NDArray[np.int32], count: int) -> Grains:
    member = parent_of - 1
    sizes = np.bincount(member, grains.sizes, count).astype(np.int64)
    # The last in rising size is the largest.
    order = np.lexsort((grains.sizes, member))
    largest = order[np.searchsorted(member[order], np.arange(count), side="right") - 1]
    centroids = np.stack(
        [np.bincount(member, grains.sizes * place, count) for place in grains.centroids.T], axis=1
    ) / np.maximum(sizes, 1).reshape(-1, 1)
    table = np.concatenate(([0], parent_of)).astype(np.int32)
    return replace(
        grains,
        labels=table[grains.labels],
        phase_ids=grains.phase_ids[largest],
        sizes=sizes,
        mean_rotations=grains.mean_rotations[largest],
        centroids=centroids,
    )
