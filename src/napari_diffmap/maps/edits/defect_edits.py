"""Corrections of a map of defects: accept, name, add, move, merge.

Each is one edit, recorded and undone as those of other maps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.edits.corrections import Change, Corrections
from napari_diffmap.maps.edits.edit import EditKind

Slots = NDArray[np.int64]


def defect_map_of(corrections: Corrections) -> DefectMap:
    """The corrected map.

    Raises
    ------
    BadInputError
        If it is none of defects.
    """
    if not isinstance(corrections.map, DefectMap):
        raise BadInputError("this needs a map of defects: find them first")
    return corrections.map


def accept(corrections: Corrections, slots: ArrayLike, rank: int = 0, *, note: str = "") -> Change:
    """Accept an answer of some finds: it is first now, where the find lies.

    Parameters
    ----------
    corrections
        Of a `DefectMap`.
    slots
        Numbers of the finds.
    rank
        Which of the kept answers; finds that do not keep so many are left alone.
    note
        What the user adds.

    Raises
    ------
    BadInputError
        If none of the slots holds such an answer.
    """
    found = defect_map_of(corrections)
    if not 0 <= rank < found.n_best:
        raise BadInputError(f"there is no answer {rank + 1}: {found.n_best} are kept")
    chosen = _held(found, slots)
    chosen = chosen[found.phase_ids[0, chosen, rank] >= 0]
    if not len(chosen):
        raise BadInputError("there is no such answer here")
    values = {
        "phase_ids": found.phase_ids[0, chosen, rank].copy(),
        "scores": found.scores[0, chosen, rank].copy(),
        "places": found.places[0, chosen, 0].copy(),
    }
    return corrections.edit(EditKind.ACCEPTED, chosen, values, note=note)


def set_class(
    corrections: Corrections, slots: ArrayLike, class_id: int, *, note: str = ""
) -> Change:
    """Give some finds a class.

    Raises
    ------
    BadInputError
        If there is no such class, or no find in these slots.
    """
    found = defect_map_of(corrections)
    chosen = _held(found, slots)
    values = _values(found, chosen, class_id)
    name = found.phases[class_id].name
    return corrections.edit(EditKind.PHASE, chosen, values, note=note or name)


def merge_classes(corrections: Corrections, gone: int, into: int) -> Change:
    """Give all finds of one class another; the empty class keeps its number.

    Raises
    ------
    BadInputError
        If a class is not there or has no find.
    """
    found = defect_map_of(corrections)
    for class_id in (gone, into):
        _check_class(found, class_id)
    if gone == into:
        raise BadInputError("a class cannot be merged with itself")
    names = found.phases[gone].name, found.phases[into].name
    chosen = np.flatnonzero(found.best_phase_ids[0] == gone)
    if not len(chosen):
        raise BadInputError(f"class {names[0]!r} has no find")
    return set_class(corrections, chosen, into, note=f"{names[0]} merged into {names[1]}")


def rename_class(corrections: Corrections, class_id: int, name: str) -> Change:
    """Give all finds of a class one of another name, in its colour; made where there is none.

    Raises
    ------
    BadInputError
        If there is no such class, or it has no find.
    """
    found = defect_map_of(corrections)
    _check_class(found, class_id)
    old = found.phases[class_id]
    chosen = np.flatnonzero(found.best_phase_ids[0] == class_id)
    if name.strip() == old.name or not len(chosen):
        raise BadInputError(f"class {old.name!r} needs finds and another name")
    new = corrections.add_phase(name.strip(), old.color, old.note)
    return set_class(corrections, chosen, new, note=f"{old.name} named {name.strip()}")


def discard(
    corrections: Corrections, slots: ArrayLike, *, unknown: bool = False, note: str = ""
) -> Change:
    """Say that some finds are no defects (or that nobody can tell).

    Raises
    ------
    BadInputError
        If there is no find in these slots.
    """
    chosen = _held(defect_map_of(corrections), slots)
    kind = EditKind.UNKNOWN if unknown else EditKind.INVALID
    return corrections.edit(kind, chosen, note=note)


def add(corrections: Corrections, places: ArrayLike, class_id: int, *, note: str = "") -> Change:
    """Add defects that were not found.

    Parameters
    ----------
    corrections
        Of a `DefectMap`.
    places
        ``(n, 3)`` or ``(3,)``: frame, y and x in pixels.
    class_id
        Their class.
    note
        What the user adds.

    Raises
    ------
    BadInputError
        If a place lies outside the images, there is no such class, or no room is left.
    """
    found = defect_map_of(corrections)
    where = np.atleast_2d(np.asarray(places, dtype=np.float32))
    if where.ndim != 2 or where.shape[1] != 3 or not len(where):
        raise BadInputError("a defect is added at a frame, y and x")
    _check_class(found, class_id)
    _check_places(found, where)
    room = found.empty_slots
    if len(room) < len(where):
        raise BadInputError(
            f"there is room for {len(room)} more defects by hand, not {len(where)}: find defects"
            " again with a lower threshold, or follow what there is and save it"
        )
    values: dict[str, NDArray[Any]] = {
        "phase_ids": np.full(len(where), class_id, dtype=np.int16),
        "scores": np.full(len(where), np.nan, dtype=np.float32),
        "places": where,
    }
    return corrections.edit(EditKind.ADDED, room[: len(where)], values, note=note)


def move(
    corrections: Corrections, slots: ArrayLike, places: ArrayLike, *, note: str = ""
) -> Change:
    """Move finds within their frames.

    Parameters
    ----------
    corrections
        Of a `DefectMap`.
    slots
        ``(n,)`` rising, or one.
    places
        ``(n, 2)`` or ``(2,)``: where they belong, y and x in pixels.
    note
        What the user adds.

    Raises
    ------
    BadInputError
        If a place lies outside the image, or a slot holds no find.
    """
    found = defect_map_of(corrections)
    chosen = _held(found, slots)
    to = np.atleast_2d(np.asarray(places, dtype=np.float32))
    if to.shape != (len(chosen), 2):
        raise BadInputError(f"{len(chosen)} finds need as many places y, x")
    where = np.concatenate((found.places[0, chosen, 0, :1], to), axis=1)
    _check_places(found, where)
    values = {
        "phase_ids": found.phase_ids[0, chosen, 0].copy(),
        "scores": found.scores[0, chosen, 0].copy(),
        "places": where,
    }
    return corrections.edit(EditKind.MOVED, chosen, values, note=note)


def _values(found: DefectMap, slots: Slots, class_id: int) -> dict[str, NDArray[Any]]:
    """A class as an answer at some finds, with its probability where it is among those kept."""
    _check_class(found, class_id)
    kept = found.phase_ids[0, slots] == class_id
    score = found.scores[0, slots][np.arange(len(slots)), kept.argmax(axis=1)]
    return {
        "phase_ids": np.full(len(slots), class_id, dtype=np.int16),
        "scores": np.where(kept.any(axis=1), score, np.nan).astype(np.float32),
        "places": found.places[0, slots, 0].copy(),
    }


def _held(found: DefectMap, slots: ArrayLike) -> Slots:
    chosen: Slots = np.atleast_1d(np.asarray(slots, dtype=np.int64))
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= found.shape[1]):
        raise BadInputError(f"there are {found.shape[1]} numbers of finds, not {chosen.max() + 1}")
    chosen = chosen[found.indexed[0, chosen]]
    if not len(chosen):
        raise BadInputError("there is no find here")
    return chosen


def _check_class(found: DefectMap, class_id: int) -> None:
    if not 0 <= class_id < len(found.phases):
        raise BadInputError(f"there is no class {class_id}: the map has {len(found.phases)}")


def _check_places(found: DefectMap, where: NDArray[np.float32]) -> None:
    frames, rows, columns = found.image_shape
    low = np.array([0, -0.5, -0.5])
    high = np.array([frames - 1, rows - 0.5, columns - 0.5])
    if not np.isfinite(where).all() or (where < low).any() or (where > high).any():
        raise BadInputError(f"that lies outside {frames} frames of {rows} × {columns} pixels")
    if (where[:, 0] != np.rint(where[:, 0])).any():
        raise BadInputError("frames are whole numbers from 0")
