"""Spots and answers of the position that is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.pattern_layers import PatternLayers
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.maps import OrientationMap


@dataclass(frozen=True, eq=False)
class _Shown:
    measured: NDArray[np.floating] | None
    simulated: NDArray[np.floating] | None
    labels: list[str]
    text: str


class SpotOverlay:
    """Draws measured and simulated spots on the pattern and words the answers.

    Signals
    -------
    answered(html)
        The answers at this position as rich text; empty when there is no map.
    """

    answered = Signal(str)

    def __init__(self, session: Session, pattern: PatternLayers, runner: Runner) -> None:
        self.session = session
        self.pattern = pattern
        self.runner = runner
        session.position_changed.connect(self.update)
        session.region_changed.connect(self.update)
        session.map_changed.connect(self.update)
        session.calibration_changed.connect(self.update)
        pattern.loaded.connect(self.update)

    def update(self, *_: object) -> None:
        """Find and draw the spots of the present position."""
        session = self.session
        scan, found = session.patterns, session.map
        if scan is None or session.region is not None:
            self.runner.cancel("spots")
            self.pattern.set_spots(None, None)
            self.answered.emit("")
            return
        if found is None and scan.peaks is None:
            self.pattern.set_spots(None, None)
            self.answered.emit("")
            return
        y, x = session.position

        def work(_token: object) -> _Shown:
            return _describe(scan, found, y, x)

        def done(shown: _Shown) -> None:
            if session.position == (y, x) and session.region is None:
                self.pattern.set_spots(shown.measured, shown.simulated, shown.labels)
                self.answered.emit(shown.text)

        self.runner.latest("spots", work, done)


def peaks_in_pixels(scan: Scan, y: int, x: int) -> NDArray[np.float64] | None:
    """Measured peaks of a peak list at one position, ``(n, 2)`` detector pixels."""
    peaks, calibration = scan.peaks, scan.calibration
    if peaks is None or calibration.center is None:
        return None
    size = calibration.pixel_size if peaks.calibrated else 1.0
    if size is None:
        return None
    return np.asarray(peaks.at(y, x)[:, :2], dtype=np.float64) / size + calibration.center


def _describe(scan: Scan, found: OrientationMap | None, y: int, x: int) -> _Shown:
    measured = peaks_in_pixels(scan, y, x)
    return _Shown(measured, None, [], "")


def answer_lines(rows: list[dict[str, Any]]) -> str:
    """Answers as a small table; the best one first."""
    cells = "".join(
        "<tr>" + "".join(f"<td>{escape(str(v))}&nbsp;&nbsp;</td>" for v in row.values()) + "</tr>"
        for row in rows
    )
    return f"<table>{cells}</table>" if rows else ""
