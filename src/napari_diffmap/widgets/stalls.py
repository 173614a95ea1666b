"""What keeps the window from answering: a probe for tests, benchmarks and bug reports."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from qtpy.QtCore import QObject, Qt, QTimer

Kind = Literal["ours", "napari layers", "drawing", "other"]

#: The window is asked for a sign of life, and its thread looked at, so often (s).
_BEAT, _LOOK = 0.005, 0.004
_OURS = str(Path(__file__).parents[1]) + os.sep
#: Functions that draw: what a renderer without a GPU takes is not the program's.
_DRAWING = (
    ("vispy/", frozenset({"paintGL", "on_draw", "_draw_scene", "flush", "finish"})),
    ("napari/_vispy/canvas.py", frozenset({"on_draw"})),
)
#: Where napari builds or takes down a layer and what belongs to it: controls, visuals, lists.
_LAYERS = (
    ("napari/components/layerlist.py", frozenset({"insert"})),
    ("napari/utils/events/containers/_evented_list.py", frozenset({"__delitem__"})),
    ("napari/layers/base/base.py", frozenset({"__call__"})),
)


@dataclass
class Stall:
    """A time in which the window did not answer.

    Attributes
    ----------
    began
        Seconds of `time.perf_counter`.
    seconds
        How long the window did not answer, on the wall's clock.
    busy
        Processor seconds of the window's thread by what it did; other programs do not count.
    where
        Lines of this package that were seen at work, and how often.
    """

    began: float
    seconds: float = 0.0
    busy: Counter[str] = field(default_factory=Counter)
    where: Counter[str] = field(default_factory=Counter)

    @property
    def ours(self) -> float:
        """Processor seconds in this package, but for drawing and napari's making of layers."""
        return self.busy["ours"]

    def text(self) -> str:
        """One line: how long, of what, where."""
        parts = ", ".join(f"{kind} {1e3 * s:.0f}" for kind, s in self.busy.most_common() if s)
        where = "; ".join(line for line, _ in self.where.most_common(2))
        return f"{1e3 * self.seconds:.0f} ms ({parts})" + (f" at {where}" if where else "")


class StallProbe(QObject):
    """Measures how long the window does not answer, and what its thread did meanwhile.

    A timer of the window beats every 5 ms: a beat that comes late is a stall.
    A signal of the system's profiling clock has the window's thread looked at
    every 2 ms that it works.  For the window's thread, on Linux and macOS.

    Parameters
    ----------
    least
        Gaps between beats below this are not kept, seconds.
    parent
        Owner.
    """

    def __init__(self, least: float = 0.02, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.least = least
        self.stalls: list[Stall] = []
        self._now = Stall(time.perf_counter())
        self._used = 0.0
        self._before: Any = None
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)

    def start(self) -> None:
        """Begin to watch."""
        self._before = signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, _LOOK, _LOOK)
        self._now, self._used = Stall(time.perf_counter()), time.thread_time()
        self._timer.start(round(1e3 * _BEAT))

    def stop(self) -> None:
        """End."""
        self._timer.stop()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)

    def take(self) -> list[Stall]:
        """The stalls since the last time, the one with the most work of ours first."""
        self._beat()
        taken, self.stalls = self.stalls, []
        return sorted(taken, key=lambda stall: (stall.ours, stall.seconds), reverse=True)

    def _beat(self) -> None:
        now, used = time.perf_counter(), time.thread_time()
        stall, self._now = self._now, Stall(now)
        stall.busy["other"] += used - self._used
        self._used = used
        stall.seconds = now - stall.began - _BEAT
        if stall.seconds >= self.least:
            self.stalls.append(stall)

    def _look(self, _number: int, frame: FrameType | None) -> None:
        used = time.thread_time()
        kind, line = _what(frame)
        self._now.busy[kind] += used - self._used
        self._used = used
        if line:
            self._now.where[line] += 1


def _what(frame: FrameType | None) -> tuple[Kind, str]:
    """What a thread is at, from its innermost frame outwards, and the line of ours."""
    drawing, layers, line = False, False, ""
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        drawing = drawing or any(part in file and name in names for part, names in _DRAWING)
        layers = layers or any(part in file and name in names for part, names in _LAYERS)
        if not line and file.startswith(_OURS) and file != __file__:
            line = f"{file.removeprefix(_OURS)}:{frame.f_lineno} {name}"
        frame = frame.f_back
    if drawing:
        return "drawing", line
    if layers:
        return "napari layers", line
    return ("ours" if line else "other"), line
