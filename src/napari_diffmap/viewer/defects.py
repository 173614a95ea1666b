"""Defects of an image or a movie as they are looked at and corrected; knows no layer, no Qt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.viewer.defects_queue import DoubtfulFinds
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects import DefectsRun
    from napari_diffmap.maps import DefectMap
    from napari_diffmap.maps.edits.corrections import Change, Corrections
    from napari_diffmap.methods.defects.finds import Finds

Slots = NDArray[np.int64]
#: What a correction is for.
Reach = Literal["find", "track", "selection"]
REACHES: tuple[Reach, ...] = get_args(Reach)
#: A defect that is added this near to a site sits on it, in lattice constants.
_ON_SITE = 0.25
_NO_SLOTS: Slots = np.zeros(0, dtype=np.int64)


class Defects:
    """The finds of the scan on the desk: run, corrections, what is selected.

    Everything is of the scan on the desk: another one begins with nothing.

    Signals
    -------
    run_changed(run)
        A `jobs.defects.DefectsRun` is shown with new corrections; None: another scan.
    followed()
        The finds that there are were followed again: other tracks and numbers.
    found(finds)
        Finds of the frames that were looked at so far, while it is still searched.
    edited(change)
        Finds were corrected; see `maps.edits.corrections.Change`.
    changed()
        What can be undone and redone, or what classes there are.
    selected(slots)
        Other finds are selected, by their slots.
    """

    run_changed = Signal(object)
    followed = Signal()
    found = Signal(object)
    edited = Signal(object)
    changed = Signal()
    selected = Signal(object)

    def __init__(self, session: Session) -> None:
        self.session = session
        self.run: DefectsRun | None = None
        self.corrections: Corrections | None = None
        #: Slots that are selected; the first is the one looked at.
        self.selection: Slots = _NO_SLOTS
        self.reach: Reach = "find"
        #: Class of what is added by hand.
        self.brush = 0
        self._made: set[int] = set()
        #: Whether numbers of the run are older than the last correction.
        self.stale = False
        self.queue = DoubtfulFinds(self)
        session.scan_changed.connect(self._on_scan)

    # ---------------------------------------------------------------- state
    @property
    def active(self) -> bool:
        """Whether the scan on the desk can hold defects."""
        return self.session.pictured

    @property
    def map(self) -> DefectMap | None:
        """The map as it is corrected, changed in place by every edit."""
        return None if self.corrections is None else self.corrections.map  # type: ignore[return-value]

    @property
    def frame(self) -> int:
        """The frame that is looked at."""
        return self.session.plane or 0

    @property
    def frames(self) -> int:
        """How many frames there are."""
        scan = self.session.scan
        return scan.axes[0].size if scan is not None and scan.kind == "image series" else 1

    def missing(self) -> str:
        """What must be there before defects can be found, as a sentence; empty when nothing."""
        return "" if self.active else "Open an image or an image series first."

    def _on_scan(self, *_: object) -> None:
        self.set_run(None)

    def set_run(self, run: DefectsRun | None, corrections: Corrections | None = None) -> None:
        """Show what a run found.

        Parameters
        ----------
        run
            None: nothing any more.
        corrections
            Of its map; none so far when absent.
        """
        from napari_diffmap.maps.edits.corrections import Corrections

        self.run = run
        self.corrections = None
        if run is not None:
            self.corrections = Corrections(run.map) if corrections is None else corrections
        self.selection, self.brush, self.stale = _NO_SLOTS, 0, False
        self._made.clear()
        counts = self.counts()
        if len(counts):
            self.brush = int(counts.argmax())
        self.run_changed.emit(run)
        self.selected.emit(self.selection)
        self.changed.emit()

    def set_followed(self, run: DefectsRun, corrections: Corrections) -> None:
        """The finds as they are corrected were followed again: take their tracks and numbers."""
        if corrections is not self.corrections:
            return
        found, answer, new = corrections.map, corrections.answer, run.map
        for one in (found, answer):
            object.__setattr__(one, "extra", {**one.extra, "track": new.extra["track"]})
        # What was decided by hand stays so; the doubt of the others is judged anew.
        judged = new.indexed & (found.extra[EDITED] == 0)
        for one in (found, answer):
            one.ambiguity[judged] = new.ambiguity[judged]
        self.run, self.stale = run, False
        self.followed.emit()
        self.changed.emit()

    def show_again(self) -> None:
        """The search was given up: show what there was before."""
        self.run_changed.emit(self.run)

    def show_found(self, finds: Finds) -> None:
        """Show what was found so far, while the search goes on."""
        self.found.emit(finds)

    # ------------------------------------------------------------ selecting
    def select(self, slots: ArrayLike, *, go: bool = False) -> None:
        """Select finds, the first of them to be looked at.

        Parameters
        ----------
        slots
            Their numbers; none: nothing is selected.
        go
            Whether the window goes there.
        """
        chosen = np.atleast_1d(np.asarray(slots, dtype=np.int64)).reshape(-1)
        found = self.map
        chosen = _NO_SLOTS if found is None else chosen[found.indexed[0, chosen]]
        if np.array_equal(chosen, self.selection) and not (go and len(chosen)):
            return
        self.selection = chosen
        if go and len(chosen):
            self.go_to(int(chosen[0]))
        self.selected.emit(chosen)

    def go_to(self, slot: int) -> None:
        """Look at the frame and the place of a find."""
        found = self.map
        if found is None or not found.indexed[0, slot]:
            return
        frame, y, x = found.best_places[0, slot]
        self.session.set_plane(int(frame))
        self.session.set_position(round(float(y)), round(float(x)))

    def at(self, y: float, x: float, radius: float) -> int | None:
        """The find nearest to a place of the frame that is looked at; None where none is near.

        Parameters
        ----------
        y, x, radius
            Pixels of the image.
        """
        found = self.map
        if found is None:
            return None
        here = found.in_frame(self.frame)
        if not len(here):
            return None
        away = np.hypot(*(found.best_places[0, here, 1:] - (y, x)).T)
        nearest = int(np.argmin(away))
        return int(here[nearest]) if away[nearest] <= radius else None

    def select_track(self, track: int) -> None:
        """Select the finds of a track; that of the frame looked at, or the nearest to it, first."""
        found = self.map
        if found is None:
            return
        slots = np.flatnonzero((found.tracks == track) & found.indexed[0])
        if not len(slots):
            return
        away = np.abs(found.best_places[0, slots, 0] - self.frame)
        first = int(np.argmin(away))
        self.select(np.r_[slots[first], np.delete(slots, first)], go=True)

    def select_class(self, class_id: int) -> None:
        """Select all finds of a class; what is added by hand is of it from now on."""
        found = self.map
        if found is None:
            return
        self.brush = class_id
        self.select(np.flatnonzero(found.best_phase_ids[0] == class_id))
        self.changed.emit()

    def chosen(self) -> Slots:
        """Slots that the next correction is for, rising.

        Raises
        ------
        BadInputError
            If nothing is selected.
        """
        found = self.map
        if found is None:
            raise BadInputError("find defects first")
        if not len(self.selection):
            raise BadInputError("click a defect first")
        first = self.selection[:1]
        if self.reach == "selection":
            return np.unique(self.selection)
        track = int(found.tracks[first[0]])
        if self.reach == "track" and track >= 0:
            return np.flatnonzero((found.tracks == track) & found.indexed[0])
        return first

    # ---------------------------------------------------------- corrections
    def accept(self, rank: int = 0) -> None:
        """Take one of the answers, from 0; the first confirms what is there."""
        from napari_diffmap.maps.edits import defect_edits

        self._edit(lambda c: defect_edits.accept(c, self.chosen(), rank, note=self.reach))

    def set_class(self, class_id: int) -> None:
        """Give a class; it is that of what is added by hand from now on."""
        from napari_diffmap.maps.edits import defect_edits

        self._edit(lambda c: defect_edits.set_class(c, self.chosen(), class_id))
        self.brush = class_id

    def next_class(self) -> None:
        """Give the class that comes next in the list."""
        found = self.map
        if found is None or not len(self.selection):
            raise BadInputError("click a defect first")
        names = self.shown_classes()
        now = int(found.best_phase_ids[0, self.selection[0]])
        place = names.index(now) + 1 if now in names else 0
        self.set_class(names[place % len(names)])

    def discard(self, *, unknown: bool = False) -> None:
        """Say that it is no defect, or that nobody can tell."""
        from napari_diffmap.maps.edits import defect_edits

        self._edit(
            lambda c: defect_edits.discard(c, self.chosen(), unknown=unknown, note=self.reach)
        )

    def add(self, place: tuple[float, float] | None = None) -> None:
        """Add a defect that was not found; near a site of the lattice it sits on it.

        Parameters
        ----------
        place
            y and x in pixels; the position of the session when absent.
        """
        from napari_diffmap.maps.edits import defect_edits

        y, x = self.session.position if place is None else place
        where = (float(self.frame), *self._on_site(float(y), float(x)))
        change = self._edit(lambda c: defect_edits.add(c, where, self.brush))
        if change is not None:
            self.select(change.pixels)

    def _on_site(self, y: float, x: float) -> tuple[float, float]:
        lattice = self.lattice(self.frame)
        if lattice is None:
            return y, x
        site, _, away = lattice.nearest(np.array([[y, x]]))
        if not len(away) or float(away[0]) > _ON_SITE * lattice.spacing:
            return y, x
        return float(site[0, 0]), float(site[0, 1])

    def move(self, slot: int, y: float, x: float) -> None:
        """Move a find within its frame."""
        from napari_diffmap.maps.edits import defect_edits

        self._edit(lambda c: defect_edits.move(c, [slot], (y, x)))

    def merge(self, gone: int, into: int) -> None:
        """Give all finds of one class another."""
        from napari_diffmap.maps.edits import defect_edits

        self._edit(lambda c: defect_edits.merge_classes(c, gone, into))

    def rename(self, class_id: int, name: str) -> None:
        """Give a class another name."""
        from napari_diffmap.maps.edits import defect_edits

        found = self.map
        if found is None or name.strip() in ("", found.phases[class_id].name):
            return
        change = self._edit(lambda c: defect_edits.rename_class(c, class_id, name))
        if change is not None and self.brush == class_id:
            self.brush = int(found.best_phase_ids[0, change.pixels[0]])

    def new_class(self, name: str) -> int:
        """A class that the sorting did not find; finds are given it by hand."""
        corrections = self._held()
        number = corrections.add_phase(name.strip(), "")
        self._made.add(number)
        self.brush = number
        self.changed.emit()
        return number

    def undo(self) -> None:
        """Take the last edit back."""
        self._step(lambda corrections: corrections.undo())

    def redo(self) -> None:
        """Make the edit again that was undone last."""
        self._step(lambda corrections: corrections.redo())

    def switch(self, number: int, on: bool) -> None:
        """Let one edit count or not."""
        self._step(lambda corrections: corrections.switch(number, on))

    def _held(self) -> Corrections:
        if self.corrections is None:
            raise BadInputError("find defects first")
        return self.corrections

    def _edit(self, act: Callable[[Corrections], Change]) -> Change | None:
        return self._told(act(self._held()))

    def _step(self, act: Callable[[Corrections], Change | None]) -> None:
        if self.corrections is None:
            return
        self._told(act(self.corrections))
        counts = self.counts()
        if len(counts) and not counts[self.brush] and self.brush not in self._made:
            # The class came and went with the edit.
            self.brush = int(counts.argmax())
            self.changed.emit()

    def _told(self, change: Change | None) -> Change | None:
        found = self.map
        if change is not None and found is not None:
            self.stale = True
            self.edited.emit(change)
            self.select(self.selection[found.indexed[0, self.selection]])
        self.changed.emit()
        return change

    def try_to(self, act: Callable[[], object]) -> None:
        """Do it, or say in one line why it cannot be done."""
        try:
            act()
        except DiffmapError as error:
            self.session.message.emit(str(error))

    # -------------------------------------------------------------- reading
    def shown_classes(self) -> list[int]:
        """Classes that have finds, and the one that is added by hand."""
        return [i for i, count in enumerate(self.counts()) if count or i == self.brush]

    def counts(self) -> NDArray[np.int64]:
        """Finds of each class ``(k,)``."""
        found = self.map
        if found is None:
            return np.zeros(0, dtype=np.int64)
        ids = found.best_phase_ids[0]
        return np.bincount(ids[ids >= 0], minlength=len(found.phases))

    def lattice(self, frame: int) -> Any:
        """The lattice of a frame; None where there is none."""
        lattices: Mapping[int, Any] = {} if self.run is None else self.run.lattices
        return lattices.get(frame)
