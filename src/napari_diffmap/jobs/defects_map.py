"""From finds to a map that can be corrected, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.defect_doubt import doubt_of, flickering
from napari_diffmap.maps.defect_map import DefectMap, defect_classes, make_defect_map
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.maps.provenance import Provenance
from napari_diffmap.methods.defects.finds import OFF, Finds

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.lattice import Lattice
    from napari_diffmap.methods.defects.sort.classes import DefectClasses

#: A find nearer to a site than this share of the distance of neighbouring sites sits on it.
ON_SITE: Final = 0.35
#: Finds nearer to the border than this, in distances of neighbouring sites, lack neighbours.
_BORDER: Final = 0.6


@dataclass(frozen=True, eq=False)
class InForce:
    """The finds of a map as they are with its corrections.

    Attributes
    ----------
    finds
        In the order of frames.  What a user decided has probability 1.
    class_id
        ``(n,)`` class of each.
    track
        ``(n,)`` number of its track, -1 for none.
    slots
        ``(n,)`` its number in the map.
    by_hand
        ``(n,)`` whether a user decided on it.
    """

    finds: Finds
    class_id: NDArray[np.int64]
    track: NDArray[np.int64]
    slots: NDArray[np.int64]
    by_hand: NDArray[np.bool_]


def finds_of(found: DefectMap, lattices: Mapping[int, Lattice | None] | None = None) -> InForce:
    """What is in force in a map: found, corrected, added and not discarded.

    Parameters
    ----------
    found
        The map with its corrections.
    lattices
        Of the frames, to say on which sublattice those lie that were added or moved; without
        them these are off the lattice.
    """
    slots = found.filled
    frame = found.best_places[0, slots, 0]
    slots = slots[np.argsort(frame, kind="stable")]
    where = found.best_places[0, slots].astype(np.float64)
    kinds = found.extra[EDITED][0, slots] if EDITED in found.extra else np.zeros(len(slots))
    by_hand = np.asarray(kinds > 0)
    probability = np.where(by_hand, 1.0, np.nan_to_num(found.reliability[0, slots], nan=1.0))
    sublattice = np.nan_to_num(found.extra_of("sublattice", slots), nan=OFF).astype(np.int8)
    ratio = found.extra_of("ratio", slots).copy()
    excess = found.extra_of("excess", slots)
    moved = np.isin(kinds, (EditKind.ADDED, EditKind.MOVED))
    ratio[moved] = np.nan
    sublattice[moved] = OFF
    # One that was moved and then named bears the kind of the last edit: its place tells.
    for number in np.unique(where[by_hand, 0]).astype(int):
        lattice = None if lattices is None else lattices.get(int(number))
        here = np.flatnonzero(by_hand & (where[:, 0] == number))
        if lattice is not None:
            sublattice[here] = on_sublattice(where[here, 1:], lattice)
    finds = Finds(
        where[:, 0].astype(np.int32),
        where[:, 1:],
        probability.astype(np.float32),
        sublattice,
        ratio,
        found.extra_of("error", slots),
        np.where(np.isnan(excess), ratio > 1, excess > 0),
    )
    ids = found.best_phase_ids[0, slots].astype(np.int64)
    return InForce(finds, ids, found.tracks[slots], slots, by_hand)


def class_chances(found: DefectMap, slots: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of every class of some finds, ``(n, k)``; 0 of those that are not kept."""
    chances = np.zeros((len(slots), len(found.phases) + 1))
    ids, scores = found.phase_ids[0, slots], np.nan_to_num(found.scores[0, slots])
    np.put_along_axis(chances, ids.astype(np.int64), scores.astype(np.float64), axis=1)
    return chances[:, :-1]  # the last column is that of -1


def on_sublattice(places: NDArray[np.floating[Any]], lattice: Lattice) -> NDArray[np.int8]:
    """Sublattice of the site that each place ``(n, 2)`` lies on; `OFF` where it is none."""
    _, kind, gap = lattice.nearest(places)
    return np.where(gap <= ON_SITE * lattice.bond, kind, OFF).astype(np.int8)


def map_of(
    finds: Finds,
    classes: DefectClasses,
    track: NDArray[np.int64],
    image_shape: tuple[int, int, int],
    neighbour_px: float,
    *,
    shortest: int = 3,
    complexes: NDArray[np.integer[Any]] | None = None,
    notes: Mapping[str, str] | None = None,
    pixel_size_nm: float | None = None,
    frame_time_s: float | None = None,
    drift: NDArray[np.float64] | None = None,
    provenance: Provenance | None = None,
    warnings: Sequence[str] = (),
) -> DefectMap:
    """A map of finds with their classes, tracks and doubts.

    Parameters
    ----------
    finds
        In the order of frames.
    classes
        Of the finds.
    track
        ``(n,)`` number of the track of each, -1 for none.
    image_shape, pixel_size_nm, frame_time_s, drift
        Of the movie.
    neighbour_px
        Distance of neighbouring sites of one sublattice, pixels.
    shortest
        Frames of the shortest track that is steady.
    complexes
        ``(n,)`` finds in the complex of each.
    notes
        What classes stand for, by name.
    """
    extra: dict[str, NDArray[Any]] = {
        "ratio": finds.ratio,
        "sublattice": finds.sublattice,
        "error": finds.error,
        "excess": finds.excess,
        "track": track,
    }
    if complexes is not None:
        extra["complex"] = complexes
    return make_defect_map(
        finds.frame,
        finds.places,
        classes.probability,
        finds.probability,
        defect_classes(classes.names, notes),
        image_shape,
        doubt=doubts(finds, classes.probability, track, image_shape, neighbour_px, shortest),
        extra=extra,
        pixel_size_nm=pixel_size_nm,
        frame_time_s=frame_time_s,
        drift=drift,
        provenance=provenance,
        warnings=tuple(warnings),
    )


def doubts(
    finds: Finds,
    class_probability: NDArray[np.floating[Any]],
    track: NDArray[np.int64],
    image_shape: tuple[int, int, int],
    neighbour_px: float,
    shortest: int,
) -> NDArray[np.uint8]:
    """Codes of doubt of finds; see `maps.defect_doubt.doubt_of`."""
    frames, rows, columns = image_shape
    y, x = finds.places.T if len(finds) else np.zeros((2, 0))
    inside = np.minimum(np.minimum(y, rows - 1 - y), np.minimum(x, columns - 1 - x))
    best = class_probability.max(axis=1) if class_probability.size else np.ones(len(finds))
    return doubt_of(
        finds.probability,
        best,
        border=inside < _BORDER * neighbour_px,
        off_lattice=finds.sublattice == OFF,
        flickers=flickering(finds.frame, track, frames, shortest),
    )
