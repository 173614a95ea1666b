"""The probability of a defect at every pixel of the frame that is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_diffmap.viewer.defects_work import on_pixels
from napari_diffmap.widgets.bridge import report_error

if TYPE_CHECKING:
    from napari_diffmap.widgets.defects_run import DefectsRunner


class Probability:
    """Asks the network that found the defects about one frame at a time.

    Parameters
    ----------
    run
        What found them.

    Signals
    -------
    drawn(image)
        Probability ``(Y, X)`` of the frame that is looked at; None: not to be shown.
    """

    drawn = Signal(object)

    def __init__(self, run: DefectsRunner) -> None:
        self.run, self.on = run, False
        run.session.plane_changed.connect(self.draw)

    @property
    def known(self) -> bool:
        """Whether a network was asked: the site model tells sites, not pixels."""
        return self.run.finder is not None and self.run.finder.network is not None

    def show(self, on: bool) -> None:
        """Show the probability of the frame that is looked at, or hide it."""
        self.on = on
        self.draw()

    def draw(self, *_: object) -> None:
        """Work it out again, if it is shown."""
        run, frame = self.run, self.run.defects.frame
        finder, found = run.finder, run.found
        if not self.on or not self.known or found is None:
            self.drawn.emit(None)
            return
        scan = run.session.scan

        def work(_token: object) -> Any:
            from napari_diffmap.jobs.queue import submit

            def look() -> Any:
                return finder.frame(found.movie[frame], frame, ask=True).probability_map

            return on_pixels(submit(finder.device, look).result(), found.movie.shape[1:])

        def done(image: Any) -> None:
            if run.session.scan is scan and self.on and run.defects.frame == frame:
                self.drawn.emit(image)

        run.runner.latest("probability", work, done, failed=report_error)
