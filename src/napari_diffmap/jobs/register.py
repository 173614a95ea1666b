"""The peak table from scan to file: the same call in window, terminal and notebook."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import DiffmapError, ResourceError, RunError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.pieces import InProcess, is_out_of_memory
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.models.device import device_label, resolve_device
from napari_diffmap.scan.peaks import PeakTable
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BlockReader

if TYPE_CHECKING:
    from napari_diffmap.jobs.cluster import OnCluster
    from napari_diffmap.methods.registration import RegistrationMethod, RegistrationParameters
    from napari_diffmap.methods.registration.method import TileSpots

OnSpots = Callable[["TileSpots"], Any]


@dataclass(frozen=True, eq=False)
class RegistrationRun:
    """A finished or interrupted registration.

    Attributes
    ----------
    table
        The peaks so far.
    done
        ``(y, x)``; True where spots were sought.
    seconds
        Time worked, pauses and preparation left out.
    summary
        What ``--json`` prints.
    error
        None when finished; else why the run ended early.
    """

    table: PeakTable
    done: NDArray[np.bool_]
    seconds: float
    summary: dict[str, Any]
    error: DiffmapError | None = None


def register(
    scan: Scan,
    parameters: RegistrationParameters | None = None,
    *,
    device: str = "auto",
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
    on_spots: OnSpots | None = None,
    reader: BlockReader | None = None,
    executor: OnCluster | None = None,
) -> RegistrationRun:
    """Detect and register the diffraction spots of a whole scan.

    Parameters
    ----------
    scan
        A 4D-STEM scan; calibrated or not.
    parameters
        See `RegistrationParameters`.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    control
        Pause and stop from another thread.
    on_progress, on_spots
        Called from this thread after every piece.
    reader
        Reuse decoded blocks.
    executor
        A cluster whose workers do the work; `device` is then only where it is prepared.

    Returns
    -------
    RegistrationRun
        Also when stopped or failed half way; its `error` says so.

    Raises
    ------
    BadInputError
        If the scan has no patterns, or the parameters leave nothing to search.
    """
    from napari_diffmap.methods.registration import RegistrationMethod
    from napari_diffmap.methods.registration.method import assemble

    device = resolve_device(device) if executor is None else "cpu"
    where = device_label(device) if executor is None else executor.label
    method = RegistrationMethod(parameters)
    control = control or JobControl()
    report = on_progress or (lambda _progress: None)
    start = time.perf_counter()

    def preparing(done: int, total: int, what: str) -> None:
        control.check()
        report(Progress(done, total, time.perf_counter() - start, what))

    method.prepare(scan, device, preparing)
    prepared = time.perf_counter() - start
    done = np.zeros(scan.shape[:2], dtype=bool)
    tiles: list[TileSpots] = []
    error: DiffmapError | None = None
    todo, seconds = ~done, 0.0
    try:
        for piece in (executor or InProcess(reader)).over(scan, method.find, todo, control):
            spots = piece.found
            tiles.append(spots)
            done.ravel()[spots.position] = True
            todo[piece.rows, piece.columns] = False
            seconds += piece.seconds
            if on_spots is not None:
                on_spots(spots)
            report(Progress(int(done.sum()), done.size, seconds, "registering"))
    except RunError as stopped:
        error = stopped
    except (MemoryError, RuntimeError, ValueError, OSError, ArithmeticError) as failed:
        error = _as_run_error(failed, int(done.sum()), device)
    scan_shape = (int(scan.shape[0]), int(scan.shape[1]))
    calibrated = scan.calibration.pixel_size is not None
    table = assemble(scan_shape, tiles, method.source(), calibrated)
    summary = summarise(scan, method, table, done, seconds, prepared, where, error)
    return RegistrationRun(table, done, seconds, summary, error)


def _as_run_error(error: Exception, done: int, device: str) -> RunError:
    if is_out_of_memory(error):
        found: RunError = ResourceError(
            f"out of memory on {device} after {done} positions: close other programs, or use cpu"
        )
    else:
        reason = str(error).splitlines()[0] if str(error) else ""
        found = RunError(
            f"registration failed after {done} positions: {type(error).__name__}: {reason}"
        )
    found.__cause__ = error
    return found


def summarise(
    scan: Scan,
    method: RegistrationMethod,
    table: PeakTable,
    done: NDArray[np.bool_],
    seconds: float,
    prepare_seconds: float,
    device: str,
    error: DiffmapError | None = None,
) -> dict[str, Any]:
    """What ``--json`` prints, but for what was written."""
    from napari_diffmap import __version__

    patterns = int((done & np.isfinite(table.noise_map())).sum())
    setting = method.setting
    assert setting is not None
    return {
        "scan": str(scan.source or scan.name),
        "shape": list(scan.shape),
        "patterns": patterns,
        "spots": len(table),
        "spots_per_pattern": len(table) / max(1, patterns),
        "seconds": round(seconds, 3),
        "prepare_seconds": round(prepare_seconds, 3),
        "patterns_per_second": round(patterns / seconds, 2) if seconds else None,
        "device": device,
        "parameters": method.parameters.model_dump(),
        "used": {
            "threshold": method.threshold,
            "spot_sigma": setting.detector.spot_sigma,
            "inner": setting.detector.q_min,
            "beam": list(setting.calibration.center or ()),
            "beam_radius": setting.beam_radius,
            "bad_pixels": 0 if setting.detector.bad is None else int(setting.detector.bad.sum()),
            "gain": setting.noise.gain,
            "readout": setting.noise.readout,
        },
        "calibrated": table.calibrated,
        "raw_bytes": scan.nbytes,
        "complete": error is None,
        "error": None if error is None else str(error),
        "project_version": __version__,
        "warnings": list(scan.warnings),
    }


def save_maps(table: PeakTable, beside: str | Path) -> list[Path]:
    """Write the maps of a table as 32-bit TIFF beside it.

    Parameters
    ----------
    table
        Registered peaks.
    beside
        The table's file; ``scan.parquet`` gives ``scan-count.tif`` and so on.

    Returns
    -------
    list of Path
        Spot count, summed intensity, mean prominence and noise.
    """
    import tifffile

    target = Path(beside)
    images = {"count": table.count_map(), "intensity": table.intensity_map()}
    if table.prominence is not None:
        images["prominence"] = table.prominence_map()
    if table.noise is not None:
        images["noise"] = table.noise_map()
    written = []
    for name, image in images.items():
        path = target.with_name(f"{target.stem}-{name}.tif")
        tifffile.imwrite(path, np.asarray(image, dtype=np.float32))
        written.append(path)
    return written
