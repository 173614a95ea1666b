"""Spots and answers of the position that is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import DiffmapError
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.answers import Answer, describe, measured_spots
from napari_diffmap.viewer.pattern_layers import PatternLayers
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.maps import OrientationMap
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
        #: A finder being tried: its spots are drawn instead of those used.
        self.trial: Trial | None = None
        session.peaks_changed.connect(self.update)
        session.position_changed.connect(self.update)
        session.region_changed.connect(self.update)
        session.map_changed.connect(self.update)
        session.phases_changed.connect(self.update)
        session.calibration_changed.connect(self.update)
        pattern.loaded.connect(self.update)

    def update(self, *_: object) -> None:
        """Find and draw the spots of the present position."""
        session = self.session
        scan, found = session.patterns, session.map
        trial = self.trial
        nothing = found is None and trial is None and (scan is None or scan.peaks is None)
        if scan is None or session.region is not None or nothing:
            self.runner.cancel("spots")
            self.pattern.set_spots(None, None)
            self.answered.emit("")
            return
        y, x = session.position
        phases, method = session.phases, self._method()

        def work(_token: object) -> _Shown:
            return _describe(scan, found, phases, method, y, x, trial)

        def done(shown: _Shown) -> None:
            if self.trial is not trial:
                return
            if session.position == (y, x) and session.region is None and session.map is found:
                self.looked.emit(shown.facts)
                self.pattern.set_spots(shown.measured, shown.simulated, shown.labels)
                self.answered.emit(shown.text)

        self.runner.latest("spots", work, done, failed=self._failed)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, DiffmapError | OSError | ValueError | RuntimeError | MemoryError):
            raise error
        self.pattern.set_spots(None, None)
        self.session.message.emit(f"spots: {error}")


def _describe(
    scan: Scan,
    found: OrientationMap | None,
    phases: Sequence[CrystalPhase],
    method: OrientationMethod | None,
    y: int,
    x: int,
    trial: Trial | None = None,
) -> _Shown:
    facts = ""
    if trial is not None:
        measured, facts = trial(scan, y, x)
    else:
        measured = measured_spots(scan, method, y, x)
    if found is None:
        return _Shown(measured, None, [], "", facts)
    pixel = describe(scan, found, y, x, method=method, phases=phases)
    line = " · ".join(part for part in (pixel.doubt, pixel.note) if part)
    text = answers_html(pixel.answers[:_SHOWN], line)
    return _Shown(measured, pixel.simulated, pixel.hkl, text, facts)


def answers_html(answers: Sequence[Answer], line: str) -> str:
    """Answers as a small table, the best one first, bold and with its doubt in words."""
    rows = ""
    for rank, answer in enumerate(answers, start=1):
        euler = " ".join(f"{angle:.1f}°" for angle in answer.euler)
        cells = (
            f"{rank}",
            f'<span style="color:{answer.color}">■</span> {escape(answer.phase)}',
            f"Euler {euler}",
            f"zone {answer.zone} ({answer.zone_off:.1f}° off)" if answer.zone else "",
            f"score {answer.score:.3f}",
            escape(answer.role),
        )
        weight = "bold" if rank == 1 else "normal"
        inner = "".join(
            f'<td style="padding-right:8px; white-space:nowrap">{cell}</td>' for cell in cells
        )
        rows += f'<tr style="font-weight:{weight}">{inner}</tr>'
    return f"<table>{rows}</table><span>{escape(line)}</span>"
