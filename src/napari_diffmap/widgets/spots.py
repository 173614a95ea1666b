"""Spots and answers of the position that is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import DiffmapError
from napari_diffmap.maps.edits.edit import MAP
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.answers import (
    Answer,
    describe,
    landscapes,
    measured_spots,
    unmatched,
)
from napari_diffmap.viewer.pattern_layers import PatternLayers
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.spectral_answers import answers_text

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.maps import OrientationMap, SpectralMap
    from napari_diffmap.maps.edits.corrections import Change
    from napari_diffmap.methods.orientation import OrientationMethod

#: Finds the spots of a position: places on the detector, and a line about them.
Trial = Callable[[Scan, int, int], tuple["NDArray[np.floating] | None", str]]

#: Answers worded below the pattern.
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class _Shown:
    measured: NDArray[np.floating] | None
    simulated: NDArray[np.floating] | None
    labels: list[str]
    text: str
    facts: str = ""
    unexplained: NDArray[np.bool_] | None = None
    absent: NDArray[np.bool_] | None = None
    pictures: tuple[tuple[str, NDArray[np.uint8]], ...] = ()


class SpotOverlay:
    """Draws measured and simulated spots on the pattern and words the answers.

    Parameters
    ----------
    session, pattern, runner
        What is looked at, where it is drawn, where it is computed.
    method
        Asked for the matcher of the last run, None when there was none.

    Signals
    -------
    answered(html)
        The answers at this position as rich text; empty when there is no map.
    """

    answered = Signal(str)
    #: What the finder that is being tried says of this pattern.
    looked = Signal(str)
    #: Name and RGBA picture of each phase's scores over the zone axes; empty unless
    #: asked for with `show_scores`.
    scored = Signal(object)

    def __init__(
        self,
        session: Session,
        pattern: PatternLayers,
        runner: Runner,
        method: Callable[[], OrientationMethod | None] = lambda: None,
    ) -> None:
        self.session = session
        self.pattern = pattern
        self.runner = runner
        self._method = method
        self.rank = 0
        self._scores = False
        self._place: tuple[object, ...] = ()
        #: A finder being tried: its spots are drawn instead of those used.
        self.trial: Trial | None = None
        session.peaks_changed.connect(self.update)
        session.position_changed.connect(self.update)
        session.region_changed.connect(self.update)
        session.map_changed.connect(self.update)
        session.edited.connect(self._on_edited)
        session.phases_changed.connect(self.update)
        session.calibration_changed.connect(self.update)
        pattern.loaded.connect(self.update)

    def _on_edited(self, change: Change) -> None:
        """Another answer may come first here; what was looked at may be none any more."""
        y, x = self.session.position
        if change.target == MAP and y * self.session.grid[1] + x in change.pixels:
            self.rank = 0
            self.update()

    def show_answer(self, rank: int) -> None:
        """Draw the spots of another of the answers at this position."""
        self.rank = rank
        self.update()

    def show_scores(self, wanted: bool) -> None:
        """Draw how well every zone axis fits, with each position that is picked."""
        self._scores = wanted
        self.update()

    def update(self, *_: object) -> None:
        """Find and draw the spots of the present position."""
        session = self.session
        place = (session.position, session.map)
        if place != self._place:
            self._place, self.rank = place, 0
        scan, found = session.patterns, session.map
        if found is not None and not found.has_orientations:
            self._tell_spectrum(found)
            return
        trial = self.trial
        nothing = found is None and trial is None and (scan is None or scan.peaks is None)
        if scan is None or session.region is not None or nothing:
            self.runner.cancel("spots")
            self.pattern.spots.set(None, None)
            self.answered.emit("")
            self.scored.emit(())
            return
        y, x = session.position
        phases, method = session.phases, self._method()
        rank, scores = self.rank, self._scores

        def work(_token: object) -> _Shown:
            return _describe(scan, found, phases, method, y, x, trial, rank, scores=scores)

        def done(shown: _Shown) -> None:
            self.runner.one_by_one([partial(unless_gone, step) for step in self._steps(shown)])

        def unless_gone(step: Callable[[], None]) -> None:
            if self.trial is not trial or (rank, scores) != (self.rank, self._scores):
                return
            if session.position == (y, x) and session.region is None and session.map is found:
                step()

        self.runner.latest("spots", work, done, failed=self._failed)

    def _tell_spectrum(self, found: SpectralMap) -> None:
        """Word the answers of a map of spectra; there are no spots to draw."""
        self.runner.cancel("spots")
        mean = self.session.region is not None
        self.answered.emit("" if mean else answers_text(found, *self.session.position, _SHOWN))

    def _steps(self, shown: _Shown) -> list[Callable[[], None]]:
        """What shows the spots: each step costs napari some time, and the mouse comes between."""
        spots = self.pattern.spots
        return [
            lambda: self.answered.emit(shown.text),
            lambda: spots.set_measured(shown.measured, shown.unexplained),
            lambda: spots.set_simulated(shown.simulated, shown.labels, shown.absent),
            lambda: self.looked.emit(shown.facts),
            lambda: self.scored.emit(shown.pictures),
        ]

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, DiffmapError | OSError | ValueError | RuntimeError | MemoryError):
            raise error
        self.pattern.spots.set(None, None)
        self.session.message.emit(f"spots: {error}")


def _describe(
    scan: Scan,
    found: OrientationMap | None,
    phases: Sequence[CrystalPhase],
    method: OrientationMethod | None,
    y: int,
    x: int,
    trial: Trial | None = None,
    rank: int = 0,
    *,
    scores: bool = False,
) -> _Shown:
    facts = ""
    if trial is not None:
        measured, facts = trial(scan, y, x)
    else:
        measured = measured_spots(scan, method, y, x)
    if found is None:
        return _Shown(measured, None, [], "", facts)
    pixel = describe(scan, found, y, x, method=method, phases=phases, shown=rank)
    unexplained = absent = None
    size, counts = scan.calibration.pixel_size, ""
    if measured is not None and pixel.simulated is not None and pixel.crystals is not None and size:
        unexplained = unmatched(measured, pixel.crystals, size)
        absent = unmatched(pixel.simulated, measured, size)
        counts = f"{int(unexplained.sum())} of {len(measured)} spots unexplained"
    pictures, note = landscapes(scan, found, method, y, x) if scores else ([], "")
    line = " · ".join(part for part in (pixel.doubt, counts, pixel.note, note) if part)
    text = answers_html(pixel.answers[:_SHOWN], line, min(rank, len(pixel.answers) - 1))
    return _Shown(
        measured,
        pixel.simulated,
        pixel.hkl,
        text,
        facts,
        unexplained=unexplained,
        absent=absent,
        pictures=tuple(pictures),
    )


def _short(name: str, most: int = 12) -> str:
    """A name that does not widen the window."""
    return name if len(name) <= most else name[: most - 1] + "…"


def answers_html(answers: Sequence[Answer], line: str, shown: int = 0) -> str:
    """Answers as a small table, the best first, the shown one bold, the doubt in words.

    Numbers are links by which another answer is shown.
    """
    rows = ""
    for rank, answer in enumerate(answers, start=1):
        euler = " ".join(f"{angle:.1f}" for angle in answer.euler)
        cells = (
            f'<a style="color:#56B4E9" href="{rank - 1}">{rank}</a>',
            f'<span style="color:{answer.color}">■</span> {escape(_short(answer.phase))}',
            f"Euler {euler}°",
            f"zone {answer.zone}, {answer.zone_off:.1f}° off" if answer.zone else "",
            f"score {answer.score:.3f}",
            escape(answer.role if answer.role.endswith("crystal") else ""),
        )
        weight = "bold" if rank == shown + 1 else "normal"
        inner = "".join(
            f'<td style="padding-right:6px; white-space:nowrap">{cell}</td>' for cell in cells
        )
        rows += f'<tr style="font-weight:{weight}">{inner}</tr>'
    return f"<table>{rows}</table><span>{escape(line)}</span>"
