"""Corrections of one run of defects on another: the same finds, numbered otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.edits.corrections import Corrections
from napari_diffmap.maps.edits.edit import MAP, Edit, EditKind
from napari_diffmap.maps.edits.log import answer_digest, load_log, recorded_digest

#: Finds of two runs that are nearer than this are the same, pixels.
REACH: Final = 3.0


def load_edits(
    path: Path, answer: DefectMap, earlier: Path | None = None
) -> tuple[Corrections, tuple[str, ...]]:
    """Corrections as a record tells them, of this run or of an earlier one.

    Parameters
    ----------
    path
        The record (``edits.jsonl``).
    answer
        What this run found.
    earlier
        File with the answer that was corrected; without it the one beside the record.

    Returns
    -------
    corrections, warnings
        See `load_log` and `carried`.

    Raises
    ------
    BadInputError
        If the record is damaged, or of a run whose answer is not there.
    """
    from napari_diffmap.maps.files.load_defects import load_defects_h5

    if recorded_digest(path) == answer_digest(answer):
        return load_log(path, answer)
    earlier = earlier or path.parent / "answer.h5"
    if not earlier.is_file():
        raise BadInputError(
            f"{path.name} corrects another run, whose finds have other numbers: keep its"
            f" {earlier.name} beside it"
        )
    old, warnings = load_log(path, load_defects_h5(earlier))
    mine, more = carried(old, answer)
    return mine, (*warnings, *more)


def carried(
    corrections: Corrections, answer: DefectMap, reach: float = REACH
) -> tuple[Corrections, tuple[str, ...]]:
    """Corrections of another run made again on this one, find by find.

    Finds are the same where they are each other's nearest in their frame.  Classes are told by
    name; those that this run lacks are added.  What was undone stays behind.

    Parameters
    ----------
    corrections
        Of an earlier run on the same images.
    answer
        What this run found.
    reach
        Largest distance of the same find, pixels.

    Returns
    -------
    corrections, warnings
        On `answer`; a line where finds that were corrected are not found any more.

    Raises
    ------
    BadInputError
        If the images were others, or no room is left for what was added by hand.
    """
    old = corrections.answer
    if not isinstance(old, DefectMap) or old.image_shape != answer.image_shape:
        raise BadInputError("these corrections are of other images: find their defects again")
    mine = Corrections(answer)
    twin = _twins(old, answer, reach)
    lost: set[int] = set()
    for edit in corrections.done:
        if edit.target != MAP:
            continue
        if edit.kind == EditKind.ADDED:
            _room(twin, edit, mine, reach)
        known = twin[edit.pixels] >= 0
        lost.update(edit.pixels[~known].tolist())
        if known.any():
            again = _again(edit, np.flatnonzero(known), twin, old, mine)
            mine.replay("edit", again)
            if edit.number in corrections.off:
                mine.replay("off", number=again.number)
    told = () if not lost else (f"{len(lost)} finds that were corrected are not found any more",)
    return mine, told


def _twins(old: DefectMap, new: DefectMap, reach: float) -> NDArray[np.int64]:
    """Slot in the new map of each slot of the old one, -1 for none."""
    twin = np.full(old.shape[1], -1, dtype=np.int64)
    ours, theirs = old.filled, new.filled
    if not len(ours) or not len(theirs):
        return twin
    from scipy.spatial import cKDTree

    # Frames so far apart that no find reaches another frame's.
    apart = np.array([10 * reach, 1, 1])
    points = [found.best_places[0, slots] * apart for found, slots in ((old, ours), (new, theirs))]
    distance, there = cKDTree(points[1]).query(points[0], distance_upper_bound=reach)
    _, back = cKDTree(points[0]).query(points[1])
    near = np.isfinite(distance)
    near[near] = back[there[near]] == np.flatnonzero(near)
    twin[ours[near]] = theirs[there[near]]
    return twin


def _room(twin: NDArray[np.int64], edit: Edit, mine: Corrections, reach: float) -> None:
    """Find places for what was added: a find that this run made itself, or an empty slot."""
    found = mine.map
    assert isinstance(found, DefectMap)
    taken = set(twin[twin >= 0].tolist())
    empty = iter([slot for slot in found.empty_slots.tolist() if slot not in taken])
    for slot, place in zip(edit.pixels, edit.values["places"], strict=True):
        there = found.in_frame(int(place[0]))
        there = np.setdiff1d(there, np.array(sorted(taken), dtype=np.int64))
        gaps = np.linalg.norm(found.best_places[0, there, 1:] - place[1:], axis=1)
        near = len(gaps) and gaps.min() <= reach
        chosen = int(there[gaps.argmin()]) if near else next(empty, -1)
        if chosen < 0:
            raise BadInputError("this run has no room for all defects that were added by hand")
        taken.add(chosen)
        twin[slot] = chosen


def _again(
    edit: Edit,
    rows: NDArray[np.int64],
    twin: NDArray[np.int64],
    old: DefectMap,
    mine: Corrections,
) -> Edit:
    """An edit with the numbers, classes and places of this run."""
    slots = twin[edit.pixels[rows]]
    order = np.argsort(slots)
    rows, slots = rows[order], slots[order]
    values: dict[str, NDArray[Any]] = {k: v[rows] for k, v in edit.values.items()}
    if values:
        ids = [mine.add_phase(p.name, p.color, p.note) for p in _named(old, values["phase_ids"])]
        values["phase_ids"] = np.array(ids, dtype=np.int16)
        # Who names a find does not move it.
        stayed = (values["places"] == old.best_places[0, edit.pixels[rows]]).all(axis=1)
        answer = mine.answer
        assert isinstance(answer, DefectMap)
        here = answer.best_places[0, slots]
        stayed &= np.isfinite(here).all(axis=1)
        values["places"][stayed] = here[stayed]
    return replace(edit, pixels=slots, values=values)


def _named(old: DefectMap, ids: NDArray[Any]) -> list[Any]:
    return [old.phases[int(i)] for i in ids]
