"""The calibration of a scan: the same call in window, terminal and notebook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.scan.calibration_file import to_record
from napari_diffmap.scan.scan import Scan

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.methods.calibration import CalibrationParameters, FittedCalibration


def calibrate_scan(
    scan: Scan,
    parameters: CalibrationParameters | None = None,
    parts: Iterable[str] | None = None,
    *,
    phase: CrystalPhase | None = None,
    control: JobControl | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> FittedCalibration:
    """Fit centre and descan, pixel size, ellipse and rotation of a scan.

    Nothing is applied: give the result's ``calibration`` to `Scan.with_calibration`.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    parameters
        How; its `phase` is loaded where none is given.
    parts
        Which of ``center``, ``pixel-size``, ``ellipse``, ``rotation``; all without it.
    phase
        The known phase.
    control
        Stops it.
    on_progress
        Told how far it is.

    Raises
    ------
    BadInputError
        If the scan has no patterns, or a known phase is missing.
    CancelledError
        When stopped.
    """
    from napari_diffmap.crystal.phases import load_phase
    from napari_diffmap.methods.calibration import PARTS, CalibrationParameters, fit_calibration

    parameters = parameters or CalibrationParameters()
    if phase is None and parameters.phase:
        phase = load_phase(parameters.phase)
    start = time.perf_counter()

    def tell(done: int, total: int, what: str) -> None:
        if control is not None:
            control.check()
        if on_progress is not None:
            on_progress(Progress(done, total, time.perf_counter() - start, what))

    return fit_calibration(scan, parameters, PARTS if parts is None else parts, phase, tell)


def calibration_summary(scan: Scan, found: FittedCalibration) -> dict[str, Any]:
    """What ``calibrate --json`` prints."""
    fit = found.known_phase
    return {
        "scan": str(scan.source or scan.name),
        "before": to_record(found.before),
        "calibration": to_record(found.calibration),
        "parts": [
            {
                "part": part.part,
                "found": part.value,
                "before": part.stated,
                "residual": part.residual,
                "problem": part.problem,
            }
            for part in found.parts
        ],
        "alternatives": []
        if fit is None
        else [
            {
                "pixel_size": one.pixel_size,
                "residual_percent": one.residual_percent,
                "explained": one.explained,
                "evidence": one.evidence,
            }
            for one in fit.candidates
        ],
    }
