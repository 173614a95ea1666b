"""Which grains touch, along which pixel edges, and for what length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.columns import check_fits

if TYPE_CHECKING:
    from napari_diffmap.maps.grains.find import Grains
    from napari_diffmap.maps.orientation_map import OrientationMap


@dataclass(frozen=True, eq=False)
class GrainPairs:
    """Every two grains that share a boundary; pair *i* is row *i*.

    Attributes
    ----------
    first, second
        ``(m,)`` int32: labels of the two grains, 1 … n, `first` < `second`.
    edges
        ``(m,)`` int64: pixel edges between them.
    length
        ``(m,)`` float64: length of those edges in `unit`.
    index_x
        ``(Y, X-1)`` int32: pair of the edge between ``[y, x]`` and ``[y, x+1]``,
        -1 where none is.
    index_y
        ``(Y-1, X)`` int32: the same for ``[y, x]`` and ``[y+1, x]``.
    n_grains
        Number of grains n.
    step, unit
        Of the map: ``(dy, dx)`` in ``nm`` or ``pixel``.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    edges: NDArray[np.int64]
    length: NDArray[np.float64]
    index_x: NDArray[np.int32]
    index_y: NDArray[np.int32]
    n_grains: int
    step: tuple[float, float]
    unit: str

    def __len__(self) -> int:
        return len(self.first)

    def neighbour_counts(self) -> NDArray[np.int64]:
        """Neighbours of each grain ``(n,)``."""
        both = np.concatenate((self.first, self.second)) - 1
        return np.bincount(both, minlength=self.n_grains).astype(np.int64)

    def neighbours(self, grain: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Labels of the grains that touch one, and the shared lengths, the longest first.

        Raises
        ------
        BadInputError
            If there is no such grain.
        """
        if not 1 <= grain <= self.n_grains:
            raise BadInputError(f"there is no grain {grain}: they run from 1 to {self.n_grains}")
        one, two = self.first == grain, self.second == grain
        labels = np.concatenate((self.second[one], self.first[two]))
        lengths = np.concatenate((self.length[one], self.length[two]))
        order = np.argsort(-lengths, kind="stable")
        return labels[order], lengths[order]

    def adjacency(self) -> Any:
        """Shared lengths as a symmetric sparse matrix ``(n, n)``; row i is grain i + 1."""
        from scipy.sparse import coo_array

        rows = np.concatenate((self.first, self.second)) - 1
        columns = np.concatenate((self.second, self.first)) - 1
        shape = (self.n_grains, self.n_grains)
        return coo_array((np.tile(self.length, 2), (rows, columns)), shape=shape).tocsr()

    def edge_lengths(self) -> NDArray[np.float64]:
        """Length of each edge ``(e,)`` of the pairs, in the order of `on_edges`."""
        upright = int(np.count_nonzero(self.index_x >= 0))
        level = int(np.count_nonzero(self.index_y >= 0))
        return np.repeat(np.array(self.step), (upright, level))

    def on_edges(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Values ``(e,)`` of two edge maps on the edges of the pairs.

        Parameters
        ----------
        x, y
            Maps shaped like `index_x` and `index_y`.

        Raises
        ------
        BadInputError
            If they are of another map.
        """
        check_fits(
            (x.shape[0], y.shape[1]), (self.index_x.shape[0], self.index_y.shape[1]), "edges"
        )
        return np.concatenate((x[self.index_x >= 0], y[self.index_y >= 0]))

    def pair_of_edges(self) -> NDArray[np.int32]:
        """Pair of each edge ``(e,)``, in the order of `on_edges`."""
        pairs: NDArray[np.int32] = self.on_edges(self.index_x, self.index_y)
        return pairs

    def mean_on_edges(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Mean ``(m,)`` of edge values ``(e,)`` weighted by length, NaN left out."""
        known = np.isfinite(values)
        pair, weight = self.pair_of_edges()[known], self.edge_lengths()[known]
        total = np.bincount(pair, values[known].astype(np.float64) * weight, len(self))
        whole = np.bincount(pair, weight, len(self))
        mean: NDArray[np.float64] = total / np.where(whole > 0, whole, np.nan)
        return mean

    def longest_on_edges(
        self, codes: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The code ``(m,)`` that most of a pair's length has, and that length."""
        base = int(codes.max(initial=0)) + 1
        key = self.pair_of_edges().astype(np.int64) * base + codes
        kinds, where = np.unique(key, return_inverse=True)
        length = np.bincount(where, self.edge_lengths(), len(kinds))
        pair, code = np.divmod(kinds, base)
        order = np.lexsort((length, pair))
        last = order[np.searchsorted(pair[order], np.arange(len(self)), side="right") - 1]
        return code[last].astype(np.int64), length[last].astype(np.float64)


def find_pairs(found: OrientationMap, grains: Grains) -> GrainPairs:
    """Grains that share pixel edges; pixels of no grain separate.

    Parameters
    ----------
    found
        Gives step and unit.
    grains
        From `find_grains` of the same map.

    Raises
    ------
    BadInputError
        If the grains are of another map.
    """
    check_fits(grains.labels.shape, found.shape, "grains")
    labels, base = grains.labels, len(grains) + 1
    key_x = _keys(labels[:, :-1], labels[:, 1:], base)
    key_y = _keys(labels[:-1], labels[1:], base)
    real_x, real_y = key_x > 0, key_y > 0
    kinds, where = np.unique(np.concatenate((key_x[real_x], key_y[real_y])), return_inverse=True)
    upright, level = np.split(where, [int(np.count_nonzero(real_x))])
    counts = [np.bincount(part, minlength=len(kinds)) for part in (upright, level)]
    index_x = np.full(key_x.shape, -1, dtype=np.int32)
    index_y = np.full(key_y.shape, -1, dtype=np.int32)
    index_x[real_x], index_y[real_y] = upright, level
    first, second = np.divmod(kinds, base)
    return GrainPairs(
        first=first.astype(np.int32),
        second=second.astype(np.int32),
        edges=(counts[0] + counts[1]).astype(np.int64),
        length=counts[0] * found.step[0] + counts[1] * found.step[1],
        index_x=index_x,
        index_y=index_y,
        n_grains=len(grains),
        step=found.step,
        unit=found.step_unit,
    )


def _keys(one: NDArray[np.int32], two: NDArray[np.int32], base: int) -> NDArray[np.int64]:
    """A number for each two grains, 0 where there are no two."""
    between = (one != two) & (one > 0) & (two > 0)
    key = np.zeros(one.shape, dtype=np.int64)
    low, high = np.minimum(one, two)[between], np.maximum(one, two)[between]
    key[between] = low.astype(np.int64) * base + high
    return key
