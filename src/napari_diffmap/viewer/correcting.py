"""Correcting a map by hand: at a pixel, a grain, a zone; what a correction suggests; undo."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError, DiffmapError
from napari_diffmap.maps.edits import selection
from napari_diffmap.maps.edits.edit import EditKind, flat_pixels
from napari_diffmap.viewer.rematching import Rematching, Values, ranked
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.maps import OrientationMap, PhaseMap
    from napari_diffmap.maps.boundaries.twin_laws import TwinLaw
    from napari_diffmap.maps.edits.corrections import Change, Corrections
    from napari_diffmap.maps.edits.selection import Pixels
    from napari_diffmap.methods.orientation import OrientationMethod

#: What a correction is for, as the window says it.
Scope = Literal["pixel", "disk", "region", "grain", "zone", "same confusion"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SLOT = "correction"
#: The window waits so long for a correction: most are there by then.
_PATIENCE = 0.03
#: Fewer pixels of the same kind are not worth a question.
_WORTH_OFFERING = 3

#: Quaternion ``(4,)``, None of a map without orientations, and number of the phase.
AnswerKey = tuple[NDArray[np.float32] | None, int]


@dataclass(frozen=True, eq=False)
class Offer:
    """Pixels in which the same two answers compete as where a correction was made.

    Attributes
    ----------
    pixels
        Flat, rising.
    rotation, phase
        The answer that was accepted.
    """

    pixels: Pixels
    rotation: NDArray[np.float32] | None
    phase: int


@dataclass(frozen=True, eq=False)
class _Made:
    kind: EditKind
    pixels: Pixels
    values: Values | None
    note: str
    #: The answer that was first and the one that was accepted: they may compete elsewhere.
    pair: tuple[AnswerKey, AnswerKey] | None = None
    told: str = ""


class Correcting:
    """Carries out corrections of the session's map, one after the other.

    Parameters
    ----------
    session, runner
        What is corrected, and where it is computed.
    matcher
        Asked for the matcher of the last run; None when there was none.

    Signals
    -------
    changed()
        What can be undone and redone.
    working(line)
        What is being computed; empty when nothing.
    offered(offer)
        An `Offer`, or None when it was taken or does not hold any more.
    """

    changed = Signal()
    working = Signal(str)
    offered = Signal(object)

    def __init__(
        self,
        session: Session,
        runner: Runner,
        matcher: Callable[[], OrientationMethod | None] = lambda: None,
    ) -> None:
        self.session = session
        self.runner = runner
        self.matching = Rematching(session, matcher)
        self.scope: Scope = "pixel"
        #: Radius of a disk, pixels.
        self.radius = 3.0
        self.offer: Offer | None = None
        self._waiting: deque[Callable[[Token], _Made | None]] = deque()
        self._running = False
        session.map_changed.connect(self._on_map)

    def _on_map(self, *_: object) -> None:
        self._waiting.clear()
        self.runner.cancel(SLOT)
        self._running = False
        self._offer(None)
        self.working.emit("")
        self.changed.emit()

    @property
    def corrections(self) -> Corrections | None:
        """Those of the session's map."""
        return self.session.corrections

    @property
    def refining(self) -> bool:
        """Whether an orientation that the matcher had not kept is refined on the pattern."""
        return self.matching.refining

    @refining.setter
    def refining(self, on: bool) -> None:
        self.matching.refining = on

    # --------------------------------------------------------------- asking
    def missing(self) -> str:
        """What must be there before a correction, in one line; empty when nothing."""
        if self.session.corrections is None:
            return "Map the scan first, or open a map."
        return ""

    @property
    def busy(self) -> bool:
        """Whether a correction is computed or waits."""
        return self._running or bool(self._waiting)

    def _map(self) -> tuple[Corrections, PhaseMap, int, int]:
        corrections = self.session.corrections
        if corrections is None:
            raise BadInputError("there is no map to correct: map the scan first, or open a map")
        return corrections, corrections.map, *self.session.position

    @property
    def turns(self) -> bool:
        """Whether answers can be turned and refined: a map of phases alone has no orientations."""
        found = self.session.map
        return found is not None and found.has_orientations

    def _turnable(self) -> tuple[Corrections, OrientationMap, int, int]:
        corrections, found, y, x = self._map()
        if not found.has_orientations:
            raise BadInputError(
                "this map holds phases of spectra: there is no orientation to turn or refine"
            )
        return corrections, cast("OrientationMap", found), y, x

    def pixels(self) -> Pixels:
        """The pixels that the next correction is for.

        Raises
        ------
        BadInputError
            If there is no map, or no region is drawn where one is asked for.
        """
        _, found, y, x = self._map()
        return self._chosen(found, y, x, self.scope, self.radius, self.session.region)

    def _chosen(
        self,
        found: PhaseMap,
        y: int,
        x: int,
        scope: Scope,
        radius: float,
        region: NDArray[np.bool_] | None,
    ) -> Pixels:
        if scope == "region":
            if region is None or not region.any():
                raise BadInputError("draw a region first (Region in the Scan dock)")
            return flat_pixels(region)
        if scope == "grain":
            return selection.grain_at(found, y, x)
        if scope == "zone" and found.ambiguous[y, x]:
            return selection.zone_at(found, y, x)
        if scope == "same confusion" and found.ambiguous[y, x] and found.n_best > 1:
            pixels, _ = selection.same_confusion(found, y, x, 1)
            return pixels if len(pixels) else np.array([y * found.shape[1] + x])
        if scope == "disk":
            return selection.disk(found.shape, y, x, radius)
        return np.array([y * found.shape[1] + x], dtype=np.int64)

    # ---------------------------------------------------------- corrections
    def accept(self, rank: int) -> None:
        """Take one of the answers at the position, from 0; the first confirms what is there.

        In the other pixels of the scope the kept answer that is nearest to it is taken; where
        none is near, that orientation itself, refined on the pattern.  A zone may reach over
        several grains: its pixels without such an answer are left as they are.

        Raises
        ------
        BadInputError
            If there is no such answer here.
        """
        _, found, y, x = self._map()
        if rank >= found.n_best or found.phase_ids[y, x, rank] < 0:
            raise BadInputError(f"there is no answer {rank + 1} at this position")
        scope, radius, region = self.scope, self.radius, self.session.region
        rotation, phase = found.rotation_at(y, x, rank), int(found.phase_ids[y, x, rank])
        first = found.rotation_at(y, x, 0), int(found.phase_ids[y, x, 0])
        note = f"answer {rank + 1} of row {y}, column {x}; {scope}"

        def work(token: Token) -> _Made:
            if scope == "same confusion" and rank and found.ambiguous[y, x]:
                pixels, places = selection.same_confusion(found, y, x, rank)
                return _Made(EditKind.ACCEPTED, pixels, ranked(found, pixels, places), note)
            pixels = self._chosen(found, y, x, scope, radius, region)
            if scope == "zone":
                pixels = selection.of_one_doubt(found, pixels, y, x, rank)
            values, told = self.matching.nearest(token, found, pixels, rotation, phase)
            pair = (first, (rotation, phase)) if rank else None
            return _Made(EditKind.ACCEPTED, pixels, values, note, pair, told)

        self._queue(work)

    def accept_offer(self) -> None:
        """Accept in all pixels of the offer what was accepted before."""
        _, found, _, _ = self._map()
        offer = self.offer
        if offer is None:
            return
        self._offer(None)

        def work(token: Token) -> _Made:
            values, told = self.matching.nearest(
                token, found, offer.pixels, offer.rotation, offer.phase
            )
            return _Made(EditKind.ACCEPTED, offer.pixels, values, "offered", told=told)

        self._queue(work)

    def refuse_offer(self) -> None:
        """Leave the pixels of the offer as they are."""
        self._offer(None)

    def empty(self, kind: Literal[EditKind.INVALID, EditKind.UNKNOWN]) -> None:
        """Take the answer away: it is wrong (invalid), or nobody can tell (unknown)."""
        _, found, y, x = self._map()
        scope, radius, region = self.scope, self.radius, self.session.region

        def work(_token: Token) -> _Made:
            pixels = self._chosen(found, y, x, scope, radius, region)
            return _Made(kind, pixels, None, scope)

        self._queue(work)

    def set_phase(self, phase: int) -> None:
        """Take each pixel's best kept answer of a phase; match it anew where none is kept.

        A spectrum is not matched again: its phase is set, and no score of it is known.
        """
        _, found, y, x = self._map()
        scope, radius, region = self.scope, self.radius, self.session.region

        def work(token: Token) -> _Made:
            pixels = self._chosen(found, y, x, scope, radius, region)
            return self._of_phase(token, found, pixels, phase, EditKind.PHASE, scope)

        self._queue(work)

    def paint(self, pixels: Pixels, phase: int) -> None:
        """What was painted on the phases: a phase by its number, or -1 for no answer."""
        _, found, _, _ = self._map()

        def work(token: Token) -> _Made:
            if phase < 0:
                return _Made(EditKind.INVALID, pixels, None, "painted")
            return self._of_phase(token, found, pixels, phase, EditKind.PAINTED, "painted")

        self._queue(work)

    def _of_phase(
        self,
        token: Token,
        found: PhaseMap,
        pixels: Pixels,
        phase: int,
        kind: EditKind,
        note: str,
    ) -> _Made:
        pixels, values, told = self.matching.of_phase(token, found, pixels, phase)
        return _Made(kind, pixels, values, f"{found.phases[phase].name}; {note}", told=told)

    def turn(self) -> None:
        """Turn the crystal by 180° about the beam, and refine it there."""
        self._restart(EditKind.TURNED, selection.half_turned)

    def twin(self, law: TwinLaw) -> None:
        """Turn the crystal by a twin law: that of its variants which fits the pattern here best.

        The other pixels of the scope take the same variant, each refined on its own pattern.
        """
        _, found, y, x = self._turnable()
        if found.phase_ids[y, x, 0] < 0:
            raise BadInputError("there is no answer here to turn")
        scope, radius, region = self.scope, self.radius, self.session.region

        def work(token: Token) -> _Made:
            pixels = self._chosen(found, y, x, scope, radius, region)
            pixels = pixels[found.best_phase_ids.reshape(-1)[pixels] == found.phase_ids[y, x, 0]]
            values = self.matching.twinned(token, found, pixels, y * found.shape[1] + x, law)
            return _Made(EditKind.TURNED, pixels, values, f"{law.name}; {scope}")

        self._queue(work)

    def refine(self) -> None:
        """Refine the first answer on the pattern once more.

        Raises
        ------
        BadInputError
            If no matcher can be made.
        """
        self._restart(EditKind.REFINED, lambda rotations: rotations)

    def _restart(
        self, kind: EditKind, start: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> None:
        _, found, y, x = self._turnable()
        scope, radius, region = self.scope, self.radius, self.session.region

        def work(token: Token) -> _Made | None:
            pixels = self._chosen(found, y, x, scope, radius, region)
            pixels = pixels[found.best_phase_ids.reshape(-1)[pixels] >= 0]
            if not len(pixels):
                raise BadInputError("there is no answer here to turn or refine")
            values = ranked(found, pixels, np.zeros(len(pixels), np.int64))
            values["rotations"] = start(values["rotations"])
            values["scores"] = np.full(len(pixels), np.nan, np.float32)
            told = self.matching.refined(token, pixels, values, np.arange(len(pixels)))
            if told and kind == EditKind.REFINED:
                raise BadInputError(told)
            return _Made(kind, pixels, values, scope, told=told)

        self._queue(work)

    # ------------------------------------------------------------ undo, redo
    def undo(self) -> None:
        """Take the last edit back."""
        self._step(lambda corrections: corrections.undo())

    def redo(self) -> None:
        """Make the edit again that was undone last."""
        self._step(lambda corrections: corrections.redo())

    def switch(self, number: int, on: bool) -> None:
        """Let one edit count or not."""
        self._step(lambda corrections: corrections.switch(number, on))

    def _step(self, act: Callable[[Corrections], Change | None]) -> None:
        corrections = self.session.corrections
        if corrections is None:
            return
        self._offer(None)
        change = act(corrections)
        if change is not None:
            self.session.edited.emit(change)
        self.changed.emit()

    def stop(self) -> None:
        """Give up what is being computed and what waits."""
        self._waiting.clear()
        self.runner.cancel(SLOT)
        self._running = False
        self.working.emit("")

    # -------------------------------------------------------------- running
    def _queue(self, work: Callable[[Token], _Made | None]) -> None:
        """One after the other: each sees the map with those before it."""
        self._waiting.append(work)
        self._next()

    def _next(self) -> None:
        if self._running or not self._waiting:
            return
        self._running = True
        corrections = self.session.corrections
        work = self._waiting.popleft()
        # The position may have left it by the time that it is done.
        self.runner.latest(
            SLOT,
            work,
            lambda made: self._done(corrections, made),
            failed=self._failed,
            partial=self.working.emit,
            patience=_PATIENCE,
        )

    def _done(self, corrections: Corrections | None, made: _Made | None) -> None:
        self._running = False
        self.working.emit("")
        if corrections is not None and corrections is self.session.corrections and made is not None:
            if made.told:
                self.session.message.emit(made.told)
            if len(made.pixels):
                change = corrections.edit(made.kind, made.pixels, made.values, note=made.note)
                self._offer(None)
                self.session.edited.emit(change)
                if made.pair is not None:
                    self._look_for_more(corrections, *made.pair)
            self.changed.emit()
        self._next()

    def _look_for_more(self, corrections: Corrections, first: AnswerKey, right: AnswerKey) -> None:
        """Offer the correction where the same two answers compete."""
        found = corrections.map
        steps = len(corrections.done)

        def work(_token: object) -> Pixels:
            return selection.alike(found, first, right)

        def done(pixels: Pixels) -> None:
            same = corrections is self.session.corrections and len(corrections.done) == steps
            if same and len(pixels) >= _WORTH_OFFERING:
                self._offer(Offer(pixels, *right))

        self.runner.latest("offer", work, done)

    def _failed(self, error: Exception) -> None:
        self._running = False
        self.working.emit("")
        if not isinstance(error, DiffmapError | OSError | MemoryError | RuntimeError):
            raise error
        if not isinstance(error, CancelledError):
            self.session.message.emit(str(error))
        # What was painted but not taken is shown as it is.
        self.changed.emit()
        self._next()

    def _offer(self, offer: Offer | None) -> None:
        if offer is not None or self.offer is not None:
            self.offer = offer
            self.offered.emit(offer)
