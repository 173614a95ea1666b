"""Which pixels a correction is for: a disk, a grain, a zone of doubt, all of the same confusion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.edits.edit import flat_pixels
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phase_map import PhaseMap
from napari_diffmap.maps.quaternions import (
    HALF_TURN,
    conjugate,
    disorientation,
    laue_operators,
    multiply,
)

Pixels = NDArray[np.int64]

#: Orientations nearer than this are the same answer, degrees.
SAME_DEG = 5.0
#: Relations between two answers that are the same confusion, degrees.
_RELATION_DEG = 3.0


def disk(shape: tuple[int, int], y: int, x: int, radius: float) -> Pixels:
    """Pixels whose centres lie within `radius` pixels of one."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return flat_pixels((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def grain_at(found: PhaseMap, y: int, x: int, threshold: float = SAME_DEG) -> Pixels:
    """The grain of a pixel: reached from neighbour to neighbour up to a disorientation.

    Of a map without orientations: the connected pixels of its phase.  Without an answer there:
    the connected pixels without one.

    Parameters
    ----------
    found
        The map.
    y, x
        A pixel of the grain.
    threshold
        Degrees, as of `find_grains`.
    """
    rows, columns = found.shape
    ids = found.best_phase_ids.reshape(-1)
    start = y * columns + x
    phase = int(ids[start])
    inside = ids == phase
    reached = np.zeros(rows * columns, dtype=bool)
    reached[start] = True
    front = np.array([start])
    while len(front):
        ours, theirs = _neighbours(front, rows, columns)
        open_ = inside[theirs] & ~reached[theirs]
        ours, theirs = ours[open_], theirs[open_]
        if phase >= 0:
            theirs = theirs[found.steps(ours, theirs, phase) <= threshold]
        front = np.unique(theirs)
        reached[front] = True
    return flat_pixels(reached)


def _neighbours(front: Pixels, rows: int, columns: int) -> tuple[Pixels, Pixels]:
    """Pairs of pixels of a front and their four neighbours."""
    y, x = np.divmod(front, columns)
    pairs = [
        (front[chosen], front[chosen] + step)
        for chosen, step in (
            (y > 0, -columns),
            (y < rows - 1, columns),
            (x > 0, -1),
            (x < columns - 1, 1),
        )
    ]
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


def zone_at(found: PhaseMap, y: int, x: int) -> Pixels:
    """The connected pixels (eight neighbours) that are in doubt for the same cause."""
    from scipy.ndimage import label

    same = found.ambiguity == found.ambiguity[y, x]
    pieces, _ = label(same, structure=np.ones((3, 3), dtype=bool))
    return flat_pixels(pieces == pieces[y, x])


def nearest_kept(
    found: PhaseMap,
    pixels: Pixels,
    rotation: NDArray[np.floating[Any]] | None,
    phase: int,
    within: float = SAME_DEG,
) -> NDArray[np.int64]:
    """Which of the kept answers of each pixel is a given one.

    Parameters
    ----------
    found
        The map.
    pixels
        ``(n,)`` flat.
    rotation, phase
        The answer that is sought: ``(4,)`` laboratory → crystal (None of a map without
        orientations), and its phase.
    within
        Degrees.

    Returns
    -------
    ndarray
        ``(n,)`` place of the nearest answer of that phase, -1 where none is near enough.
    """
    angle = found.gaps(pixels, rotation, phase)
    best = angle.argmin(axis=1)
    near = angle[np.arange(len(best)), best] <= within
    return np.asarray(np.where(near, best, -1), dtype=np.int64)


def of_one_doubt(found: PhaseMap, pixels: Pixels, y: int, x: int, rank: int) -> Pixels:
    """Pixels of a zone for which an answer accepted at one of them is an answer too.

    A zone may reach over several grains.  Those pixels keep that answer, and their first one is
    among the answers that compete at the pixel; where crystals overlap it is that pixel's first
    one or the accepted one: the other crystal is the right answer on its own side.

    Parameters
    ----------
    found
        The map.
    pixels
        The zone, flat.
    y, x, rank
        Where which answer was accepted.
    """
    here = found.phase_ids[y, x]

    def place_of(kept: int) -> NDArray[np.int64]:
        """Where each pixel keeps an answer of this one."""
        return nearest_kept(found, pixels, found.rotation_at(y, x, kept), int(here[kept]))

    kept = place_of(rank) >= 0
    competing = {0, rank} if found.crossed(y, x) else range(found.n_best)
    alike = np.zeros(len(pixels), dtype=bool)
    for place in competing:
        if here[place] >= 0:
            alike |= place_of(place) == 0
    return np.asarray(pixels[kept & alike], dtype=np.int64)


def best_of_phase(found: PhaseMap, pixels: Pixels, phase: int) -> NDArray[np.int64]:
    """Place of the first kept answer of a phase at each pixel, -1 where there is none."""
    of_phase = found.phase_ids.reshape(-1, found.n_best)[pixels] == phase
    first = np.where(of_phase.any(axis=1), of_phase.argmax(axis=1), -1)
    return np.asarray(first, dtype=np.int64)


def alike(
    found: PhaseMap,
    first: tuple[NDArray[np.floating[Any]] | None, int],
    other: tuple[NDArray[np.floating[Any]] | None, int],
    within: float = 8.0,
) -> Pixels:
    """Pixels in doubt whose first answer is one, with another among those kept.

    What a correction says about the rest of the map: the same two answers compete there.

    Parameters
    ----------
    found
        The map.
    first, other
        Orientation ``(4,)`` (or None) and phase of the answer that was first, and of the one
        that is right.
    within
        Degrees.
    """
    candidates = flat_pixels(found.ambiguous & (found.best_phase_ids == first[1]))
    candidates = candidates[nearest_kept(found, candidates, *first, within) == 0]
    kept = nearest_kept(found, candidates, *other, within) > 0
    return np.asarray(candidates[kept], dtype=np.int64)


def same_confusion(found: PhaseMap, y: int, x: int, rank: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Pixels in doubt for the same cause, between answers that are turned in the same way.

    The relation of the first answer and the `rank`-th: half a turn about the beam, or a turn of
    the crystal (such as a twin law), whatever the orientation.  Of a map without orientations:
    between the same two phases.

    Parameters
    ----------
    found
        The map.
    y, x, rank
        The pixel, and which of its answers (from 1) competes with the first.

    Returns
    -------
    pixels
        Flat, rising.
    places
        Which answer of each competes in this way.
    """
    phases = found.phase_ids.reshape(-1, found.n_best)
    here = y * found.shape[1] + x
    one, other = int(phases[here, 0]), int(phases[here, rank])
    cause = found.ambiguity.reshape(-1) == found.ambiguity[y, x]
    pixels = np.flatnonzero(cause & (phases[:, 0] == one) & found.ambiguous.reshape(-1))
    places = np.full(len(pixels), -1)
    turns = _Turns(found, here, rank) if isinstance(found, OrientationMap) else None
    for place in range(1, found.n_best):
        mine = np.flatnonzero((phases[pixels, place] == other) & (places < 0))
        if turns is not None:
            mine = mine[turns.alike(pixels[mine], place)]
        places[mine] = place
    kept = places > 0
    return pixels[kept].astype(np.int64), places[kept]


class _Turns:
    """How the answers of an orientation map are turned against each other.

    Parameters
    ----------
    found, here, rank
        The map, the flat number of a pixel, and which of its answers competes with the first.
    """

    def __init__(self, found: OrientationMap, here: int, rank: int) -> None:
        self._q = found.rotations.reshape(-1, found.n_best, 4)
        ids = found.phase_ids.reshape(-1, found.n_best)[here]
        one, other = int(ids[0]), int(ids[rank])
        self._operators = [laue_operators(found.phases[i]) for i in (one, other)]
        first, second = self._q[here, 0], self._q[here, rank]
        self._half = one == other and _is_half_turn(first, second, self._operators[0])
        self._wanted = _relation(first[None], second[None])[0]

    def alike(self, pixels: Pixels, place: int) -> NDArray[np.bool_]:
        """Where the first answer and that at a place are turned as those of the one pixel."""
        first, second = self._q[pixels, 0], self._q[pixels, place]
        if self._half:
            gap: NDArray[Any] = disorientation(first, second, self._operators[0], half_turn=True)
        else:
            gap = _relation_gap(_relation(first, second), self._wanted, *self._operators)
        return np.asarray(gap <= _RELATION_DEG)


def _is_half_turn(first: Any, second: Any, operators: NDArray[np.float64]) -> bool:
    gap = disorientation(first[None], second[None], operators, half_turn=True)
    return bool(gap[0] <= _RELATION_DEG)


def _relation(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Turn of the crystal from one orientation to the other."""
    return multiply(second, conjugate(first))


def _relation_gap(
    relations: NDArray[np.float64],
    wanted: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Angle between relations and a wanted one, degrees, over the symmetry of both crystals."""
    variants = multiply(multiply(second[:, None], wanted), first[None]).reshape(-1, 4)
    # Which of two crystals of one phase is the first says nothing.
    variants = np.concatenate((variants, conjugate(variants)))
    variants = np.unique(np.round(variants, 6), axis=0).T
    gap = np.empty(len(relations))
    for start in range(0, len(relations), 4096):
        part = slice(start, start + 4096)
        cosine = np.abs(relations[part] @ variants).max(axis=1)
        gap[part] = np.rad2deg(2 * np.arccos(np.minimum(cosine, 1)))
    return gap


def half_turned(rotations: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Orientations turned by 180° about the beam, ``(n, 4)``."""
    return np.asarray(multiply(rotations, HALF_TURN), dtype=np.float32)
