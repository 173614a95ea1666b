"""Grains: connected pixels of one phase without a boundary between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.boundaries.find import Boundaries, find_boundaries
from napari_diffmap.maps.quaternions import group_means, laue_operators

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap


@dataclass(frozen=True, eq=False)
class Grains:
    """Grains of a map; grain *i* (1 … n) is row *i* - 1 of the tables.

    Attributes
    ----------
    labels
        ``(Y, X)`` int32: grain of each pixel, 0 where there is no answer or
        the piece is smaller than `min_size`.
    phase_ids
        ``(n,)`` int16.
    sizes
        ``(n,)`` pixels.
    mean_rotations
        ``(n, 4)`` float64 unit quaternions, laboratory → crystal, any of the
        symmetric variants.
    centroids
        ``(n, 2)`` mean row and column.
    threshold, min_size
        What the grains were made with: degrees, pixels.
    """

    labels: NDArray[np.int32]
    phase_ids: NDArray[np.int16]
    sizes: NDArray[np.int64]
    mean_rotations: NDArray[np.float64]
    centroids: NDArray[np.float64]
    threshold: float
    min_size: int

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def count(self) -> int:
        """Number of grains."""
        return len(self.sizes)

    def equivalent_diameters(self, step: tuple[float, float]) -> NDArray[np.float64]:
        """Diameters of circles of the grains' areas, in the unit of `step` (dy, dx)."""
        diameters: NDArray[np.float64] = 2 * np.sqrt(self.sizes * step[0] * step[1] / np.pi)
        return diameters


def find_grains(
    found: OrientationMap,
    *,
    threshold: float = 5.0,
    min_size: int = 1,
    boundaries: Boundaries | None = None,
) -> Grains:
    """Connect neighbours (four of them) of one phase up to a disorientation.

    Parameters
    ----------
    found
        The first answer of each pixel is used.
    threshold
        Neighbours up to this disorientation (degrees) belong together.
    min_size
        Smaller pieces (pixels) get label 0.
    boundaries
        Reuse the disorientations of `find_boundaries`.

    Raises
    ------
    BadInputError
        If the threshold or size cannot be, or `boundaries` are of another map.
    """
    if not 0 < threshold < 180 or min_size < 1:
        raise BadInputError(
            f"grains need a threshold between 0 and 180° and a size of at least 1 pixel, not"
            f" {threshold:g}° and {min_size}"
        )
    edges = boundaries or find_boundaries(found)
    if edges.shape != found.shape:
        raise BadInputError(
            f"boundaries of a {edges.shape} map do not fit a {found.shape} map: find them again"
        )
    labels = _components(found, edges, threshold)
    labels, first = _relabelled(labels, min_size)
    return _described(found, labels, first, threshold, min_size)


def _components(found: OrientationMap, edges: Boundaries, threshold: float) -> NDArray[np.int32]:
    """Connected pieces 1 …, 0 where there is no answer."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = found.shape[0] * found.shape[1]
    index = np.arange(n, dtype=np.int32).reshape(found.shape)
    with np.errstate(invalid="ignore"):  # NaN: another phase, or no answer
        join_x, join_y = edges.angle_x <= threshold, edges.angle_y <= threshold
    start = np.concatenate((index[:, :-1][join_x], index[:-1][join_y]))
    end = np.concatenate((index[:, 1:][join_x], index[1:][join_y]))
    graph = coo_array((np.ones(start.size, dtype=np.int8), (start, end)), shape=(n, n))
    pieces = connected_components(graph, directed=False)[1].reshape(found.shape)
    return np.where(found.indexed, pieces + 1, 0).astype(np.int32)


def _relabelled(
    labels: NDArray[np.int32], min_size: int
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Labels 1 … n in reading order without the small, and each one's first pixel."""
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept, first = np.unique(labels, return_index=True)
    large = (sizes[kept] >= min_size) & (kept > 0)
    kept, first = kept[large], first[large]
    order = np.argsort(first)
    table = np.zeros(len(sizes), dtype=np.int32)
    table[kept[order]] = np.arange(1, len(kept) + 1)
    return table[labels], first[order]


def _described(
    found: OrientationMap,
    labels: NDArray[np.int32],
    first: NDArray[np.intp],
    threshold: float,
    min_size: int,
) -> Grains:
    n = len(first)
    y, x = np.nonzero(labels)
    member = labels[y, x] - 1
    sizes = np.bincount(member, minlength=n).astype(np.int64)
    phase_ids = found.best_phase_ids.ravel()[first]
    centroids = np.stack(
        (np.bincount(member, y, n), np.bincount(member, x, n)), axis=1
    ) / np.maximum(sizes, 1).reshape(-1, 1)
    means = np.zeros((n, 4))
    q = found.best_rotations[y, x]
    for phase in np.unique(phase_ids):
        of_phase = np.flatnonzero(phase_ids == phase)
        row = np.full(n, -1)
        row[of_phase] = np.arange(len(of_phase))
        mine = row[member] >= 0
        operators = laue_operators(found.phases[int(phase)])
        means[of_phase] = group_means(q[mine], row[member[mine]], len(of_phase), operators)
    return Grains(labels, phase_ids, sizes, means, centroids, threshold, min_size)
