"""The edits of one map in order: done, undone, switched off; and what the map is with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.edits.edit import (
    LABELS,
    MAP,
    Edit,
    EditKind,
    apply,
    editable,
    now,
    restore,
    user_name,
    words,
)
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phase_map import PhaseMap
from napari_diffmap.maps.phases import NamedPhase

#: Receives each step as it is made: what was done, and the edit or label map it was done to.
Listener = Callable[[str, Any], None]


@dataclass(eq=False)
class LabelMap:
    """A map of numbers with names that a user paints: grains, classes, regions.

    Attributes
    ----------
    name
        Of the map.
    base
        ``(Y, X)`` int32 as it was made, 0 for none.
    values
        ``(Y, X)`` int32 with the edits in force; changed in place.
    names, colors
        Of the numbers; a colour is ``#rrggbb``.
    source
        How the base came about.
    """

    name: str
    base: NDArray[np.int32]
    values: NDArray[np.int32] = field(init=False)
    names: dict[int, str] = field(default_factory=dict)
    colors: dict[int, str] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        self.base = np.ascontiguousarray(self.base, dtype=np.int32)
        self.values = self.base.copy()

    @property
    def target(self) -> str:
        """What its edits are called."""
        return LABELS + self.name


@dataclass(frozen=True, eq=False)
class Change:
    """What a step changed.

    Attributes
    ----------
    target
        `MAP`, or `LABELS` and a name.
    pixels
        Flat numbers of the pixels, rising.
    edit
        The edit that was done, undone, redone or switched.
    """

    target: str
    pixels: NDArray[np.int64]
    edit: Edit


class Corrections:
    """A map that is corrected by hand.

    Parameters
    ----------
    answer
        What a method found; never changed.

    Attributes
    ----------
    answer, map
        The answer, and a copy with the edits in force, changed in place by every step.
    labels
        Label maps by name.
    done, undone
        Edits in the order in which they were made, and those that `redo` brings back, the
        next one last.
    off
        Numbers of edits that are switched off.
    grown
        Phases that the user added to those of the method.
    """

    def __init__(self, answer: PhaseMap) -> None:
        self.answer = answer
        self.map = editable(answer)
        self.labels: dict[str, LabelMap] = {}
        self.done: list[Edit] = []
        self.undone: list[Edit] = []
        self.off: set[int] = set()
        self.grown: list[NamedPhase] = []
        self._last = 0
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have every step told: ``edit``, ``undo``, ``redo``, ``on``, ``off``, ``labels``,
        ``named``, ``phase``.
        """
        self._listeners.append(listener)

    def _tell(self, step: str, what: Any) -> None:
        # Who begins to listen because of this step has recorded it already.
        for listener in tuple(self._listeners):
            listener(step, what)

    # ---------------------------------------------------------------- edits
    def in_force(self, target: str = MAP) -> list[Edit]:
        """Edits that are neither undone nor switched off, oldest first."""
        return [e for e in self.done if e.target == target and e.number not in self.off]

    def edit(
        self,
        kind: EditKind,
        pixels: NDArray[np.int64],
        values: Mapping[str, NDArray[Any]] | None = None,
        *,
        target: str = MAP,
        note: str = "",
    ) -> Change:
        """Make an edit; what was undone before can then no longer be redone.

        Parameters
        ----------
        kind, pixels, values, target, note
            See `Edit`.

        Raises
        ------
        BadInputError
            If the pixels or values cannot be.
        """
        edit = Edit(
            self._last + 1, kind, pixels, dict(values or {}), target, user_name(), now(), note=note
        )
        self._check(edit)
        edit, before = replace(edit, before=self._words(edit)), self._first(edit)
        self._do(edit)
        edit = replace(edit, after=self._words(edit) + self._changed(edit, before))
        self._keep(edit)
        self._tell("edit", edit)
        return Change(target, edit.pixels, edit)

    def _first(self, edit: Edit) -> NDArray[np.float32] | None:
        """First orientations of the pixels of an edit, ``(n, 4)``; None where there are none."""
        if edit.target != MAP or not isinstance(self.map, OrientationMap):
            return None
        return self.map.best_rotations.reshape(-1, 4)[edit.pixels]

    def _changed(self, edit: Edit, before: NDArray[np.float32] | None) -> str:
        """How many of several pixels have another orientation now."""
        after = self._first(edit)
        if before is None or after is None or len(before) < 2:
            return ""
        same = np.abs((before * after).sum(axis=1)) > 1 - 1e-6
        return f"; {int((~same).sum())} turned"

    def _words(self, edit: Edit) -> str:
        if edit.target == MAP:
            return words(self.map, edit.pixels)
        mine = self.labels[edit.target.removeprefix(LABELS)]
        numbers, counts = np.unique(mine.values.reshape(-1)[edit.pixels], return_counts=True)
        most = np.argsort(-counts, kind="stable")[:5]
        told = [f"{mine.names.get(int(numbers[i]), int(numbers[i]))} {counts[i]}" for i in most]
        return ", ".join(told) + (" …" if len(numbers) > len(most) else "")

    def _check(self, edit: Edit) -> None:
        rows, columns = self.answer.shape
        if edit.pixels[0] < 0 or edit.pixels[-1] >= rows * columns:
            raise BadInputError(f"an edit lies outside the map of {rows} × {columns} positions")
        if edit.target != MAP:
            name = edit.target.removeprefix(LABELS)
            if name not in self.labels:
                raise BadInputError(f"there is no label map {name!r}")
            if "labels" not in edit.values:
                raise BadInputError("an edit of labels needs the labels")
        elif edit.values:
            if set(edit.values) != set(self.answer.no_answer):
                raise BadInputError("an edit of another kind of map does not fit this one")
            ids = edit.values["phase_ids"]
            if ids.min() < 0 or ids.max() >= len(self.answer.phases):
                raise BadInputError("an edit names a phase that the map does not have")

    def _keep(self, edit: Edit) -> None:
        self._last = max(self._last, edit.number)
        self.done.append(edit)
        self.undone.clear()

    def _do(self, edit: Edit) -> None:
        if edit.target == MAP:
            apply(self.map, edit)
        else:
            mine = self.labels[edit.target.removeprefix(LABELS)]
            mine.values.reshape(-1)[edit.pixels] = edit.values["labels"]

    def undo(self) -> Change | None:
        """Take the last edit back; None when there is none."""
        if not self.done:
            return None
        edit = self.done.pop()
        self.undone.append(edit)
        self._again(edit)
        self._tell("undo", edit)
        return Change(edit.target, edit.pixels, edit)

    def redo(self) -> Change | None:
        """Make the edit again that was undone last; None when there is none."""
        if not self.undone:
            return None
        edit = self.undone.pop()
        self.done.append(edit)
        self._again(edit)
        self._tell("redo", edit)
        return Change(edit.target, edit.pixels, edit)

    def switch(self, number: int, on: bool) -> Change | None:
        """Let an edit count or not; it keeps its place. None if nothing changes."""
        edit = next((e for e in self.done if e.number == number), None)
        if edit is None or (number not in self.off) == on:
            return None
        (self.off.discard if on else self.off.add)(number)
        self._again(edit)
        self._tell("on" if on else "off", edit)
        return Change(edit.target, edit.pixels, edit)

    def _again(self, edit: Edit) -> None:
        """Work out anew what the pixels of an edit are."""
        pixels = edit.pixels
        if edit.target == MAP:
            restore(self.map, self.answer, pixels)
            for other in self.in_force():
                apply(self.map, other, pixels)
            return
        mine = self.labels[edit.target.removeprefix(LABELS)]
        flat = mine.values.reshape(-1)
        flat[pixels] = mine.base.reshape(-1)[pixels]
        for other in self.in_force(edit.target):
            there, rows = other.within(pixels)
            flat[there] = other.values["labels"][rows]

    # --------------------------------------------------------------- phases
    def add_phase(self, name: str, color: str, note: str = "") -> int:
        """Let the map know one more phase; the number of one of that name which it knows already.

        Phases are only ever added: what is undone keeps their numbers.

        Parameters
        ----------
        name, color, note
            See `PhaseMap.new_phase`.

        Raises
        ------
        BadInputError
            If phases of this kind of map come from its method alone, or it has no name.
        """
        names = [known.name for known in self.answer.phases]
        if name in names:
            return names.index(name)
        phase = self.answer.new_phase(name, color, note)
        self._grow(phase)
        self._tell("phase", phase)
        return len(names)

    def _grow(self, phase: NamedPhase) -> None:
        if phase.name not in [known.name for known in self.grown]:
            self.grown.append(phase)
        if phase.name not in [known.name for known in self.answer.phases]:
            self.answer = self.answer.replaced(phases=(*self.answer.phases, phase))
            # In place, as its arrays: whoever shows the map holds on to it.
            object.__setattr__(self.map, "phases", self.answer.phases)

    # --------------------------------------------------------------- labels
    def add_labels(self, labels: LabelMap) -> LabelMap:
        """Add a label map, or one that takes the place of another of its name without edits.

        Raises
        ------
        BadInputError
            If its shape is another, or one of that name was edited.
        """
        if labels.base.shape != self.answer.shape:
            raise BadInputError(
                f"labels of {labels.base.shape} do not fit a map of {self.answer.shape}"
            )
        if any(edit.target == labels.target for edit in (*self.done, *self.undone)):
            raise BadInputError(f"label map {labels.name!r} was edited: choose another name")
        self.labels[labels.name] = labels
        self._tell("labels", labels)
        return labels

    def name_label(
        self, name: str, number: int, *, text: str | None = None, color: str | None = None
    ) -> None:
        """Give a number of a label map a name or a colour."""
        mine = self.labels[name]
        if text is not None:
            mine.names[number] = text
        if color is not None:
            mine.colors[number] = color
        self._tell("named", mine)

    # ---------------------------------------------------------------- replay
    def replay(
        self,
        step: str,
        edit: Edit | None = None,
        number: int = 0,
        phase: NamedPhase | None = None,
    ) -> None:
        """Repeat a step that was read from a file; nobody is told.

        Raises
        ------
        BadInputError
            If it does not fit.
        """
        listeners, self._listeners = self._listeners, []
        try:
            if phase is not None:
                self._grow(phase)
            elif edit is not None:
                self._check(edit)
                self._do(edit)
                self._keep(edit)
            elif step in ("undo", "redo"):
                stack = self.done if step == "undo" else self.undone
                if not stack or stack[-1].number != number:
                    raise BadInputError(f"step {step} of edit {number} does not fit what was done")
                (self.undo if step == "undo" else self.redo)()
            elif step in ("on", "off"):
                self.switch(number, step == "on")
        finally:
            self._listeners = listeners
