"""Frames of an image or a movie, read one by one, with their calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan

P = ParamSpec("P")
T = TypeVar("T")
#: Pixels whose sides differ by more than this share are not square.
_SQUARE = 0.02
#: Seconds of the time units of files.
_SECONDS = {"s": 1.0, "ms": 1e-3}


def one_thread_of_algebra(step: Callable[P, T]) -> Callable[P, T]:
    """A step of a run whose linear algebra starts no threads of its own.

    Frames are shared among threads and their matrices are small: threads within threads wait for
    each other and spin, on a busy machine for eight times as long as they work.
    """
    limited: Callable[P, T] = threadpool_limits.wrap(limits=1, user_api="blas")(step)
    return limited


def calibrated(
    scan: Scan, pixel_size_nm: float | None = None, frame_time_s: float | None = None
) -> Scan:
    """The scan with the user's pixel and frame time in place of the file's.

    Parameters
    ----------
    scan
        An image or an image series.
    pixel_size_nm, frame_time_s
        None: as in the file.

    Raises
    ------
    BadInputError
        If a size is impossible.
    """
    axes = list(scan.axes)
    for given, unit, names in ((pixel_size_nm, "nm", "yx"), (frame_time_s, "s", ("time",))):
        if given is None:
            continue
        if not np.isfinite(given) or given <= 0:
            what = "pixel size" if unit == "nm" else "frame time"
            raise BadInputError(f"a {what} of {given:g} {unit} is impossible: give one above 0")
        axes = [Axis(a.name, a.size, given, 0.0, unit) if a.name in names else a for a in axes]
    return replace(scan, axes=tuple(axes))


class Movie:
    """The frames of a scan as ``float32``; an image is a movie of one frame.

    Parameters
    ----------
    scan
        An image or an image series.

    Attributes
    ----------
    scan
        As given.
    shape
        ``(T, Y, X)``.
    pixel_size_nm, frame_time_s
        Calibration; None where there is none.
    warnings
        What the user must know of it.

    Raises
    ------
    BadInputError
        If the scan holds no images.
    """

    def __init__(self, scan: Scan) -> None:
        if scan.kind not in ("image", "image series"):
            raise BadInputError(
                f"{scan.name} is {scan.in_words}: defects are found in images, and in series of"
                " images over time"
            )
        if scan.dtype.kind not in "biuf":
            raise BadInputError(f"{scan.name} holds {scan.dtype} values: defects need real numbers")
        self.scan = scan
        self.warnings: tuple[str, ...] = ()
        rows, columns = scan.shape[-2:]
        self.shape = (scan.shape[0] if scan.kind == "image series" else 1, rows, columns)
        self.pixel_size_nm = self._pixel()
        self.frame_time_s = self._time()

    def _pixel(self) -> float | None:
        y, x = (axis.canonical() for axis in self.scan.axes[-2:])
        if not y.unit == x.unit == "nm":
            return None
        sizes = abs(y.scale), abs(x.scale)
        if abs(sizes[0] - sizes[1]) > _SQUARE * max(sizes):
            high, wide = sizes
            line = f"pixels are {high:.4g} nm high and {wide:.4g} nm wide: lengths use their mean"
            self.warnings = (line,)
        return float(np.sqrt(sizes[0] * sizes[1]))

    def _time(self) -> float | None:
        if self.scan.kind != "image series":
            return None
        axis = self.scan.axes[0]
        factor = _SECONDS.get(axis.unit)
        return None if factor is None else abs(axis.scale) * factor

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, number: int) -> NDArray[np.float32]:
        """One frame, read now; NaN where none was recorded."""
        if not 0 <= number < len(self):
            raise IndexError(number)  # ends an iteration
        series = self.scan.kind == "image series"
        data = self.scan.data[number] if series else self.scan.data
        frame = np.asarray(data.compute(scheduler="synchronous"), dtype=np.float32)
        missing = self.scan.missing
        if series and missing is not None and bool(np.asarray(missing[number]).all()):
            return np.full(frame.shape, np.nan, dtype=np.float32)
        return frame

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[i] for i in range(len(self)))


def in_order(
    work: Callable[[int], T], count: int, workers: int, control: JobControl
) -> Iterator[T]:
    """Results of work on frames, in their order; few frames are under way at once.

    Parameters
    ----------
    work
        Called with the number of a frame, from several threads.
    count, workers
        Frames, and threads.
    control
        Stops it between frames.

    Raises
    ------
    CancelledError
        When stopped.
    """
    if workers <= 1 or count <= 1:
        for number in range(count):
            control.check()
            yield work(number)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="diffmap-frames") as pool:
        waiting: list[Future[T]] = []
        numbers = iter(range(count))
        try:
            waiting += [pool.submit(work, i) for i in islice(numbers, 2 * workers)]
            while waiting:
                control.check()
                yield waiting.pop(0).result()
                waiting += [pool.submit(work, i) for i in islice(numbers, 1)]
        finally:
            for future in waiting:
                future.cancel()


def is_empty(frame: NDArray[np.float32]) -> bool:
    """Whether nothing was recorded: no value, or everywhere the same."""
    known = frame[np.isfinite(frame)]
    return not known.size or float(known.max()) <= float(known.min())


def filled(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """A frame with the median in the place of pixels that were not recorded."""
    bad = ~np.isfinite(frame)
    if not bad.any():
        return frame
    known = frame[~bad]
    return np.where(bad, np.float32(np.median(known) if known.size else 0), frame)
