"""The drift of a movie as it is looked at: shifts, and the mean before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.runner import Runner

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.drift import Drift

Picture = NDArray[np.float32] | None


class DriftStudy:
    """Measures the drift beside the window.

    Parameters
    ----------
    defects, runner
        Whose movie, and where it is measured.

    Signals
    -------
    changed()
        It was measured, or another scan came.
    """

    changed = Signal()

    def __init__(self, defects: Defects, runner: Runner) -> None:
        self.session, self.runner = defects.session, runner
        self.found: Drift | None = None
        self.pictures: tuple[Picture, Picture] = (None, None)
        self.busy = False
        self.session.scan_changed.connect(self._on_scan)

    def _on_scan(self, *_: object) -> None:
        self.found, self.pictures, self.busy = None, (None, None), False
        self.changed.emit()

    def measure(self) -> None:
        """Measure it; mean images come with it."""
        scan = self.session.scan
        if scan is None or scan.kind != "image series":
            return
        self.busy = True
        self.changed.emit()

        def work(_token: object) -> Any:
            from napari_diffmap.jobs.defects_frames import Movie
            from napari_diffmap.methods.defects.drift import measure_drift

            found = measure_drift(Movie(scan))
            return found, (_middle(found.before), _middle(found.after))

        def done(result: Any) -> None:
            if self.session.scan is scan:
                self.busy = False
                self.found, self.pictures = result
                for line in self.found.warnings if self.found is not None else ():
                    self.session.message.emit(line)
                self.changed.emit()

        def failed(error: Exception) -> None:
            self.busy = False
            self.session.message.emit(f"drift: {error}")
            self.changed.emit()

        self.runner.latest("drift", work, done, failed=failed)

    def line(self) -> str:
        """How much the movie drifts, in words."""
        if self.busy:
            return "Measuring the drift …"
        if self.found is None:
            return ""
        scan, shifts = self.session.scan, self.found.shifts
        axis = None if scan is None else scan.axes[-1].canonical()
        known = axis is not None and axis.unit == "nm"
        size, unit = (abs(axis.scale), "nm") if known and axis is not None else (1.0, "px")
        far = size * float(np.hypot(*(shifts - shifts[0]).T).max())
        steps = size * np.hypot(*np.diff(shifts, axis=0).T)
        return (
            f"up to {far:.2g} {unit}, {np.median(steps):.2g} {unit} a frame;"
            f" quality {np.median(self.found.quality):.2f}"
        )


def _middle(mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """A quarter of the image about its middle, where single columns can be seen."""
    rows, columns = mean.shape
    y, x = rows // 4, columns // 4
    return np.asarray(mean[y : max(rows - y, y + 1), x : max(columns - x, x + 1)])
