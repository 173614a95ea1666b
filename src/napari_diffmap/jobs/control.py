"""Pause, resume and stop, and how far a run is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from napari_diffmap.errors import CancelledError


class JobControl:
    """Handles a run from another thread.

    The run calls `check` between small pieces of work; it blocks while paused
    and raises when stopped.
    """

    def __init__(self) -> None:
        self._may_run = threading.Event()
        self._may_run.set()
        self._stopped = threading.Event()

    def pause(self) -> None:
        """Hold the run at its next check."""
        self._may_run.clear()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._may_run.set()

    def stop(self) -> None:
        """End the run at its next check; what is done is kept."""
        self._stopped.set()
        self._may_run.set()

    @property
    def paused(self) -> bool:
        """Whether the run is held."""
        return not self._may_run.is_set()

    @property
    def stopped(self) -> bool:
        """Whether the run was told to end."""
        return self._stopped.is_set()

    def check(self) -> float:
        """Wait while paused; raise when stopped.

        Returns
        -------
        float
            Seconds spent waiting, so that an ETA can leave them out.

        Raises
        ------
        CancelledError
            After `stop`.
        """
        waited = 0.0
        if not self._may_run.is_set():
            start = time.perf_counter()
            self._may_run.wait()
            waited = time.perf_counter() - start
        if self._stopped.is_set():
            raise CancelledError("stopped; what was mapped so far is kept")
        return waited


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, total
        Positions mapped and to map, or steps of a preparation.
    seconds
        Time worked, pauses left out.
    message
        What is being done.
    """

    done: int
    total: int
    seconds: float
    message: str = "mapping"

    @property
    def fraction(self) -> float:
        """Done over total, 0 to 1."""
        return self.done / self.total if self.total else 1.0

    @property
    def eta(self) -> float | None:
        """Seconds left at the pace so far; None before the first piece is done."""
        if not self.done:
            return None
        return self.seconds / self.done * (self.total - self.done)

    def text(self) -> str:
        """One line, e.g. ``mapping 512 of 4096 (12 %), 31 s left``."""
        line = f"{self.message} {self.done} of {self.total} ({100 * self.fraction:.0f} %)"
        if self.eta is None or self.done == self.total:
            return line
        left = round(self.eta)
        if left < 120:
            return f"{line}, {left} s left"
        return f"{line}, {left // 60} min {left % 60:02d} s left"
