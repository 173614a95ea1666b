"""The orientation map from scan to result: the same call in window, terminal and notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, CalibrationError, CancelledError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.pipeline import OnProgress, OnTile, RunResult, run_method
from napari_diffmap.models.device import device_label, resolve_device
from napari_diffmap.scan.center import find_direct_beam, mean_pattern
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BlockReader

if TYPE_CHECKING:
    from napari_diffmap.jobs.cluster import OnCluster
    from napari_diffmap.maps import OrientationMap
    from napari_diffmap.methods.networks.judge import Judgement
    from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
    from napari_diffmap.scan.open.follow import Follower


@dataclass(frozen=True, eq=False)
class OrientationRun:
    """A finished or interrupted orientation map.

    Attributes
    ----------
    map
        The answers so far, with provenance.
    result
        The raw arrays, which positions are done, times, and the error if any.
    summary
        What ``summary.json`` holds.
    """

    map: OrientationMap
    result: RunResult
    summary: dict[str, Any]


def calibrated(
    scan: Scan,
    *,
    voltage_kv: float | None = None,
    pixel_size: float | None = None,
    center: tuple[float, float] | None = None,
) -> Scan:
    """The scan with everything an orientation needs.

    What the user gives wins over the file.  A centre that nobody gave is
    measured on the mean pattern; a voltage or pixel size is never invented.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    voltage_kv, pixel_size, center
        kV, 1/Å per pixel, (row, column) in pixels.

    Raises
    ------
    BadInputError
        If the scan has no patterns on scan positions.
    CalibrationError
        If the voltage or the pixel size is unknown.
    """
    scan.need_patterns("orientations need")
    calibration = scan.calibration
    if voltage_kv is not None:
        calibration = calibration.with_voltage(voltage_kv, "entered")
    if pixel_size is not None:
        calibration = calibration.with_pixel_size(pixel_size, "entered")
    if center is not None:
        calibration = calibration.with_center(center, "entered")
    if calibration.voltage_kv is None:
        raise CalibrationError(f"{scan.name} does not say the accelerating voltage: give it in kV")
    if calibration.pixel_size is None:
        raise CalibrationError(
            f"{scan.name} has no calibrated detector pixel: give its size in 1/Å"
        )
    if calibration.center is None:
        cy, cx, _ = find_direct_beam(mean_pattern(scan))
        calibration = calibration.with_center((cy, cx), "measured")
    return scan.with_calibration(calibration)


def map_orientations(
    scan: Scan,
    method: OrientationMethod,
    *,
    device: str = "auto",
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
    on_tile: OnTile | None = None,
    reader: BlockReader | None = None,
    out: Path | None = None,
    resume: bool = False,
    before: RunResult | None = None,
    executor: OnCluster | None = None,
    follower: Follower | None = None,
) -> OrientationRun:
    """Map orientations and phases of a calibrated scan.

    Parameters
    ----------
    scan
        See `calibrated`.
    method
        The matcher with its phases and parameters.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    control, on_progress, on_tile, reader, before
        See `run_method`.
    out
        Folder in which the run keeps what it has mapped, until
        `results.write_results` of the complete run deletes it; nothing is kept
        without one.
    resume
        Go on with the unfinished run in `out`.
    executor
        A cluster whose workers do the work; `device` is then only where it is prepared.
    follower
        Of the scan while it is being recorded: frames are mapped as they come, until all
        are there or the run is stopped.

    Returns
    -------
    OrientationRun
        Also when stopped or failed half way; its ``result.error`` says so.

    Raises
    ------
    BadInputError
        If there is nothing to resume, or what is there is another run.
    """
    from napari_diffmap.methods.orientation import assemble, resolve

    device = resolve_device(device) if executor is None else "cpu"
    where = device_label(device) if executor is None else executor.label
    checkpoint = None
    if out is not None:
        from napari_diffmap.jobs.checkpoint import Checkpoint, identity_of

        identity = identity_of(scan, method, device if executor is None else executor.device)
        checkpoint = Checkpoint(out, identity, resume=resume)
    options: dict[str, Any] = {
        "device": device,
        "control": control or JobControl(),
        "on_progress": on_progress,
        "on_tile": on_tile,
        "checkpoint": checkpoint,
        "before": before,
        "executor": executor,
    }
    if follower is None:
        result = run_method(scan, method, reader=reader, **options)
    else:
        from napari_diffmap.jobs.follow import run_following

        scan, result = run_following(follower, method, **options)
    arrays = result.maps
    if method.parameters.spatial:
        arrays = resolve(arrays, method.phases, method.parameters.reliability_threshold)
    judgement = _judged(scan, method, arrays, result, options["control"])
    if judgement is not None:
        arrays = {**arrays, "judged": judgement.verdict}
    found = assemble(scan, arrays, method, device=where)
    summary = summarise(scan, found, result, where)
    if judgement is not None:
        summary["judge"] = {**judgement.summary, "line": judgement.line()}
    return OrientationRun(found, result, summary)


def _judged(
    scan: Scan,
    method: OrientationMethod,
    arrays: Mapping[str, NDArray[Any]],
    result: RunResult,
    control: JobControl,
) -> Judgement | None:
    """What the templates say of a sample of a network's map; None without a whole one."""
    from napari_diffmap.methods.networks.judge import judge
    from napari_diffmap.methods.networks.method import NetworkMethod

    if not isinstance(method, NetworkMethod) or not result.complete:
        return None
    try:
        return judge(scan, method, arrays, check=control.check)
    except CancelledError:
        return None


def make_method(
    phases: Sequence[str], parameters: OrientationParameters | None = None
) -> OrientationMethod:
    """The matcher for phases given as CIF files or bundled names.

    Raises
    ------
    PhaseError
        If a CIF cannot be read or cannot exist.
    BadInputError
        If no phase is given, or the engine does not know one.
    """
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.methods.networks.method import orientation_method
    from napari_diffmap.methods.orientation import OrientationParameters

    if not phases:
        raise BadInputError("add a phase first: a CIF file or the name of a bundled phase")
    parameters = (parameters or OrientationParameters()).model_copy(
        update={"phases": tuple(phases)}
    )
    return orientation_method(parameters, load_phases(phases))


def summarise(scan: Scan, found: OrientationMap, result: RunResult, device: str) -> dict[str, Any]:
    """What ``summary.json`` holds; the device in words."""
    patterns = int(result.done.sum())
    indexed = found.indexed
    with np.errstate(invalid="ignore"):
        reliability = found.reliability[indexed]
    return {
        "scan": str(scan.source or scan.name),
        "shape": list(scan.shape),
        "phases": [phase.name for phase in found.phases],
        "phase_fractions": {
            phase.name: float(found.phase_mask(i).sum() / max(1, indexed.sum()))
            for i, phase in enumerate(found.phases)
        },
        "patterns": patterns,
        "indexed": int(indexed.sum()),
        "seconds": round(result.seconds, 3),
        "prepare_seconds": round(result.prepare_seconds, 3),
        "patterns_per_second": round(patterns / result.seconds, 2) if result.seconds else None,
        "device": device,
        "engine": (found.provenance.method or "").removeprefix("orientation/"),
        "calibration": scan.calibration.summary(),
        "used": (found.provenance.parameters or {}).get("used"),
        "mean_reliability": float(np.nanmean(reliability)) if reliability.size else None,
        "ambiguous_fraction": found.ambiguous_fraction(),
        "crystals": _count_fractions(found),
        "resolved_fraction": _resolved_fraction(found),
        "complete": result.complete,
        "error": None if result.error is None else str(result.error),
        "versions": dict(found.provenance.versions),
        "project_version": found.provenance.project_version,
        "warnings": list(scan.warnings),
    }


def _count_fractions(found: OrientationMap) -> dict[str, float] | None:
    """Share of the answered positions by crystals in the pattern."""
    from napari_diffmap.maps import crystal_count

    count = crystal_count(found)
    if count is None:
        return None
    answered = count[count > 0]
    return {str(n): float((answered == n).mean()) for n in np.unique(answered)}


def _resolved_fraction(found: OrientationMap) -> float | None:
    """Share of the answered positions where the neighbourhood chose; None when not asked."""
    from napari_diffmap.maps import resolved

    flags = resolved(found)
    if flags is None:
        return None
    return float(flags.sum() / max(1, found.indexed.sum()))


def output_folder(out: str | Path) -> Path:
    """Make the folder that results go to, before any work is done.

    Raises
    ------
    BadInputError
        If it is a file or cannot be written.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".diffmap-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInputError(
            f"cannot write to {out} ({error.strerror}): choose another folder"
        ) from error
    return folder
