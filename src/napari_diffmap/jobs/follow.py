"""A method over a scan that is still being recorded: each frame is mapped when it has come."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from napari_diffmap.errors import CancelledError, RunError, ScanFileError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.pipeline import RunResult, run_method
from napari_diffmap.methods.method import Method
from napari_diffmap.scan.open.follow import Follower
from napari_diffmap.scan.scan import Scan

#: Seconds between looks at the file, and frames from which a method can be prepared.
_LOOK, _ENOUGH = 0.5, 64


def run_following(
    follower: Follower,
    method: Method,
    *,
    control: JobControl,
    before: RunResult | None = None,
    **options: Any,
) -> tuple[Scan, RunResult]:
    """Run a method over the frames that are there, then over those that come.

    The method is prepared once, on the first frames.

    Parameters
    ----------
    follower
        Of the scan.
    method, control, before, options
        As for `pipeline.run_method`.

    Returns
    -------
    scan, result
        The scan as it is at the end, and what was found in the frames that had come.
    """
    report = options.get("on_progress") or (lambda _progress: None)
    enough = min(_ENOUGH, follower.there.size)
    result, error, started = before, None, False
    begun = time.perf_counter()
    while error is None:
        there = follower.there
        if there.sum() >= enough:
            # Positions of a complete scan that hold no frame are filled in the last round.
            only = None if follower.complete else there
            result = run_method(
                follower.scan,
                method,
                control=control,
                before=result,
                only=only,
                goes_on=started,
                **options,
            )
            started = True
            if result.error is not None or only is None:
                return follower.scan, result
        try:
            while follower.poll() is None:
                control.check()
                done = there.sum() if result is None else result.done.sum()
                waited = time.perf_counter() - begun
                report(Progress(int(done), there.size, waited, "waiting for frames"))
                time.sleep(_LOOK)
        except (CancelledError, ScanFileError) as ended:
            stopped = isinstance(ended, CancelledError)
            error = ended if stopped else RunError(f"{ended}; what was mapped is kept")
    if result is None:
        nothing = np.zeros(follower.there.shape, dtype=bool)
        maps = {spec.name: spec.empty(follower.scan.shape[:2]) for spec in method.maps()}  # type: ignore[arg-type]
        result = RunResult(maps, nothing)
    result.error = error
    return follower.scan, result
