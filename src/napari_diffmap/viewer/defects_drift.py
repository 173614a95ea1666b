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
            from napari_diffmap.methods.defects.drift import aligned, measure_drift

            movie = Movie(scan)
            found = measure_drift(movie)
            before = np.zeros(movie.shape[1:], dtype=np.float64)
            after = np.zeros_like(before)
            count = np.zeros_like(before)
            for number, frame in enumerate(movie):
                before += np.nan_to_num(frame)
                moved = np.asarray(aligned(frame, found.shifts[number]), dtype=np.float64)
                known = np.isfinite(moved)
                after[known] += moved[known]
                count += known
            mean = np.where(count > 0, after / np.maximum(count, 1), np.nan)
            return found, (_small(before / len(movie)), _small(mean))

        def done(result: Any) -> None:
            if self.session.scan is scan:
                self.busy = False
                self.found, self.pictures = result
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
        shifts = np.asarray(self.found.shifts)
        far = float(np.hypot(*(shifts - shifts[0]).T).max())
        quality = np.asarray(getattr(self.found, "quality", np.nan), dtype=np.float64)
        sure = "" if not np.isfinite(quality).any() else f" · quality {np.nanmedian(quality):.2f}"
        return f"drifts by up to {far:.1f} px{sure}"


def _small(mean: NDArray[np.float64]) -> NDArray[np.float32]:
    """A quarter of the image about its middle, where single columns can be seen."""
    rows, columns = mean.shape
    y, x = rows // 4, columns // 4
    return mean[y : max(rows - y, y + 1), x : max(columns - x, x + 1)].astype(np.float32)
