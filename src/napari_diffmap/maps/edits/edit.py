"""Corrections of a map by hand: what was changed, and the map with it.

The answer of a method is never overwritten.  A corrected map is the answer and, on top, the
edits that are in force, in the order in which they were made.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import NO_DOUBT
from napari_diffmap.maps.phase_map import PhaseMap

#: What edits of the map itself are called; those of a label map are `labels/NAME`.
MAP = "map"
LABELS = "labels/"
#: Name of the extra map that says how each pixel was corrected, see `EditKind`.
EDITED = "edited"
#: Whose edits these are, unless the computer's user name says it.
USER_VARIABLE = "DIFFMAP_USER"

Map = TypeVar("Map", bound=PhaseMap)


class EditKind(IntEnum):
    """What was done to a pixel; the code in the `EDITED` map."""

    NONE = 0
    ACCEPTED = 1
    PHASE = 2
    TURNED = 3
    REFINED = 4
    INVALID = 5
    UNKNOWN = 6
    PAINTED = 7
    ADDED = 8
    MOVED = 9


#: Kinds that take the answer away.
EMPTYING = (EditKind.INVALID, EditKind.UNKNOWN)


@dataclass(frozen=True, eq=False)
class Edit:
    """One correction.

    Attributes
    ----------
    number
        From 1, in the order in which the edits were made.
    kind
        What was done.
    pixels
        ``(n,)`` int64, flat numbers of the pixels in rising order, row by row.
    values
        What the pixels are after it.  Of the map: what makes up one answer of it
        (`PhaseMap.no_answer`): ``phase_ids (n,)``, ``scores (n,)`` and, of an orientation map,
        ``rotations (n, 4)``, of a map of defects ``places (n, 3)``; none for kinds that take the
        answer away.  Of a label map: ``labels (n,)``.
    target
        `MAP`, or `LABELS` and the name of a label map.
    who, when
        User, and UTC in ISO 8601.
    before, after
        In words.
    note
        What the user added, or how it came about.
    """

    number: int
    kind: EditKind
    pixels: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    target: str = MAP
    who: str = ""
    when: str = ""
    before: str = ""
    after: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        pixels = np.asarray(self.pixels, dtype=np.int64)
        if pixels.ndim != 1 or not len(pixels) or (np.diff(pixels) <= 0).any():
            raise BadInputError("an edit needs pixels, each once and in rising order")
        for name, values in self.values.items():
            if len(values) != len(pixels):
                raise BadInputError(
                    f"{name} of {len(values)} pixels do not fit an edit of {len(pixels)}"
                )
        object.__setattr__(self, "pixels", pixels)

    def within(self, pixels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Which of some pixels (rising) the edit changed, and their rows in `values`."""
        if len(pixels) < len(self.pixels):
            rows = np.searchsorted(self.pixels, pixels)
            rows[rows == len(self.pixels)] = 0
            mine = self.pixels[rows] == pixels
            return pixels[mine], rows[mine]
        rows = np.searchsorted(pixels, self.pixels)
        rows[rows == len(pixels)] = 0
        kept = np.flatnonzero(pixels[rows] == self.pixels)
        return self.pixels[kept], kept


def user_name() -> str:
    """Who corrects: ``DIFFMAP_USER``, or the user of the computer."""
    said = os.environ.get(USER_VARIABLE, "").strip()
    if said:
        return said
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def editable(answer: Map) -> Map:
    """A copy of a map whose arrays may be changed in place; `EDITED` is added, all 0."""
    mine = copy(answer)
    for name in answer.arrays:
        object.__setattr__(mine, name, getattr(answer, name).copy())
    extra = {name: values for name, values in answer.extra.items() if name != EDITED}
    extra[EDITED] = np.zeros(answer.shape, dtype=np.uint8)
    object.__setattr__(mine, "extra", extra)
    return mine


def snapshot(found: Map) -> Map:
    """A copy that later edits do not reach, without an `EDITED` map that is empty."""
    mine = copy(found)
    for name in found.arrays:
        object.__setattr__(mine, name, getattr(found, name).copy())
    extra = dict(found.extra)
    if EDITED in extra:
        extra[EDITED] = extra[EDITED].copy()
        if not extra[EDITED].any():
            del extra[EDITED]
    object.__setattr__(mine, "extra", extra)
    return mine


def part_of(found: Map, pixels: NDArray[np.int64]) -> Map:
    """Some pixels of a map, copied, as a map of one row."""
    part = copy(found)
    for name in (*found.arrays, *found.measured):
        object.__setattr__(part, name, _flat(getattr(found, name))[pixels][None])
    extra = {name: _flat(values)[pixels][None] for name, values in found.extra.items()}
    object.__setattr__(part, "extra", extra)
    return part


def restore(mine: PhaseMap, answer: PhaseMap, pixels: NDArray[np.int64]) -> None:
    """Put the answer back at some pixels of an `editable` map."""
    for name in mine.arrays:
        _flat(getattr(mine, name))[pixels] = _flat(getattr(answer, name))[pixels]
    _flat(mine.extra[EDITED])[pixels] = 0


def apply(mine: PhaseMap, edit: Edit, only: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Carry an edit out on an `editable` map.

    The new answer comes first; the others keep their order behind it, and the last is dropped
    unless the new one was among them.  No reliability is known of what a user decided.

    Parameters
    ----------
    mine
        Changed in place.
    edit
        Of the map.
    only
        Pixels (rising) to which it is restricted.

    Returns
    -------
    ndarray
        The pixels changed.
    """
    if only is None:
        pixels, rows = edit.pixels, np.arange(len(edit.pixels))
    else:
        pixels, rows = edit.within(only)
    if not len(pixels):
        return pixels
    if edit.kind in EMPTYING:
        for name, nothing in mine.no_answer.items():
            _flat(getattr(mine, name))[pixels] = nothing
    else:
        _put_first(mine, pixels, {name: values[rows] for name, values in edit.values.items()})
    _flat(mine.reliability)[pixels] = np.nan
    _flat(mine.ambiguity)[pixels] = NO_DOUBT
    _flat(mine.extra[EDITED])[pixels] = edit.kind
    return pixels


def _put_first(
    mine: PhaseMap, pixels: NDArray[np.int64], values: Mapping[str, NDArray[Any]]
) -> None:
    n = mine.n_best
    same = mine.is_kept(pixels, values)
    gone = np.where(same.any(axis=1), same.argmax(axis=1), n - 1)
    places = np.arange(n)
    source = places - ((places > 0) & (places <= gone[:, None]))
    rows = np.arange(len(pixels))[:, None]
    for name in mine.no_answer:
        kept = _flat(getattr(mine, name))
        moved = kept[pixels][rows, source]
        moved[:, 0] = values[name]
        kept[pixels] = moved


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    """Rows and columns as one axis, a view."""
    return values.reshape(-1, *values.shape[2:])


def flat_pixels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers of the pixels where a mask ``(Y, X)`` is True, as `Edit.pixels` wants them."""
    return np.flatnonzero(mask).astype(np.int64)


def words(found: PhaseMap, pixels: NDArray[np.int64]) -> str:
    """First answers of some pixels: ``Cu 12, Ag 3, no answer 1``; of one pixel in full."""
    ids = _flat(found.phase_ids)[pixels, 0]
    if len(pixels) == 1 and ids[0] >= 0:
        return found.words_of(int(pixels[0]))
    named = [(phase.name, int((ids == i).sum())) for i, phase in enumerate(found.phases)]
    named.append(("no answer", int((ids < 0).sum())))
    return ", ".join(f"{name} {count}" for name, count in named if count)
