"""The window on a scan that is being recorded: looks for new frames and shows them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import DiffmapError
from napari_diffmap.scan.open.follow import Follower
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session

SLOT = "follow"


class Following:
    """Follows the session's scan until it is complete, another is opened, or it is told to stop.

    Signals
    -------
    changed(on)
        Following began or ended.
    """

    changed = Signal(bool)

    def __init__(self, session: Session, runner: Runner) -> None:
        self.session = session
        self.runner = runner
        self.follower: Follower | None = None
        self._busy = False
        self._again: Callable[[], Follower] | None = None
        session.scan_changed.connect(self.stop)

    @property
    def on(self) -> bool:
        """Whether a scan is followed."""
        return self.follower is not None

    def for_job(self) -> Callable[[], Follower] | None:
        """What opens the followed scan once more, for a job that looks for frames itself."""
        return self._again if self.on else None

    def possible(self) -> bool:
        """Whether the scan on the desk has frames to come."""
        scan = self.session.scan
        if scan is None or scan.source is None:
            return False
        return scan.has_patterns and scan.missing is not None

    def start(self, path: str | Path, options: dict[str, Any]) -> None:
        """Follow the file of the session's scan.

        Parameters
        ----------
        path, options
            What `open_scan` was called with.
        """
        scan = self.session.scan
        if not self.possible() or self.on or scan is None:
            return
        known = {name: value for name, value in options.items() if name != "growing"}

        def work(token: Token) -> Follower:
            del token
            return Follower(path, **known)

        def done(follower: Follower) -> None:
            self._busy = False
            if self.session.scan is None or self.session.scan.shape != follower.scan.shape:
                return
            self.follower = follower
            self._again = partial(Follower, path, **known)
            self.changed.emit(True)
            self._show(follower.there & ~_there(self.session))

        self._busy = True
        self.runner.latest(SLOT, work, done, failed=self._failed)

    def look(self) -> None:
        """See whether there is more; what is new is shown when it has been read."""
        follower = self.follower
        if follower is None or self._busy:
            return

        def work(token: Token) -> NDArray[np.bool_] | None:
            del token
            return follower.poll()

        def done(new: NDArray[np.bool_] | None) -> None:
            self._busy = False
            if self.follower is follower and new is not None:
                self._show(new)

        self._busy = True
        self.runner.latest(SLOT, work, done, failed=self._failed)

    def _show(self, new: NDArray[np.bool_]) -> None:
        follower = self.follower
        if follower is None:
            return
        if new.any():
            self.session.grow(follower.scan, new)
        if follower.complete:
            self.stop()
            self.session.message.emit("every frame has been recorded")

    def stop(self, *_: object) -> None:
        """Look no more."""
        self._busy = False
        if self.follower is not None:
            self.follower = None
            self.runner.cancel(SLOT)
            self.changed.emit(False)

    def _failed(self, error: Exception) -> None:
        self.stop()
        if not isinstance(error, DiffmapError | OSError):
            raise error
        self.session.message.emit(f"follow: {error}")


def _there(session: Session) -> NDArray[np.bool_]:
    """Positions whose frame the session knows."""
    scan = session.scan
    if scan is None or scan.missing is None:
        return np.ones(session.grid, dtype=bool)
    return ~scan.missing
