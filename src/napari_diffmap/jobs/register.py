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
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.models.device import device_label, resolve_device
from napari_diffmap.scan.peaks import PeakTable
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BlockReader, Tile

if TYPE_CHECKING:
    from napari_diffmap.methods.registration import RegistrationMethod, RegistrationParameters
    from napari_diffmap.methods.registration.method import TileSpots

#: Seconds a piece of work may take; *stop* acts within it.
_PIECE_SECONDS = 0.4
_FIRST_PIECE, _LARGEST_PIECE = 16, 4096

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

    device = resolve_device(device)
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
    work = _Pieces(method, reader or BlockReader(scan, keep_bytes=0), control)
    try:
        for spots in work:
            tiles.append(spots)
            done.ravel()[spots.position] = True
            if on_spots is not None:
                on_spots(spots)
            report(Progress(int(done.sum()), done.size, work.seconds, "registering"))
    except RunError as stopped:
        error = stopped
    except (MemoryError, RuntimeError, ValueError, OSError, ArithmeticError) as failed:
        error = _as_run_error(failed, int(done.sum()), device)
    scan_shape = (int(scan.shape[0]), int(scan.shape[1]))
    calibrated = scan.calibration.pixel_size is not None
    table = assemble(scan_shape, tiles, method.source(), calibrated)
    summary = summarise(scan, method, table, done, work.seconds, prepared, device, error)
    return RegistrationRun(table, done, work.seconds, summary, error)


class _Pieces:
    """The spots of the scan piece by piece, sized by the pace so far."""

    def __init__(
        self, method: RegistrationMethod, reader: BlockReader, control: JobControl
    ) -> None:
        self._method, self._reader, self._control = method, reader, control
        self.seconds = 0.0
        self._pace: float | None = None

    def __iter__(self) -> Any:
        for tile in self._reader:
            rest = [tile]
            while rest:
                head, left = _cut(rest.pop(), self._size())
                rest += reversed(left)
                self._control.check()
                start = time.perf_counter()
                spots = self._method.find(head)
                elapsed = time.perf_counter() - start
                self.seconds += elapsed
                self._pace = elapsed / max(1, head.missing.size)
                yield spots

    def _size(self) -> int:
        if self._pace is None:
            return _FIRST_PIECE
        return int(np.clip(_PIECE_SECONDS / max(self._pace, 1e-7), 1, _LARGEST_PIECE))


def _cut(tile: Tile, size: int) -> tuple[Tile, list[Tile]]:
    """About `size` patterns from the beginning of a tile, and what is left of it in order."""
    ny, nx = tile.shape
    if size >= ny * nx:
        return tile, []
    if size >= nx:
        height = size // nx
        return _part(tile, slice(0, height), slice(0, nx)), [
            _part(tile, slice(height, ny), slice(0, nx))
        ]
    left = [_part(tile, slice(0, 1), slice(size, nx))]
    if ny > 1:
        left.append(_part(tile, slice(1, ny), slice(0, nx)))
    return _part(tile, slice(0, 1), slice(0, size)), left


def _part(tile: Tile, rows: slice, columns: slice) -> Tile:
    y, x = tile.rows.start, tile.columns.start
    return Tile(
        slice(y + rows.start, y + rows.stop),
        slice(x + columns.start, x + columns.stop),
        tile.patterns[rows, columns],
        tile.missing[rows, columns],
    )


def _as_run_error(error: Exception, done: int, device: str) -> RunError:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
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
        "device": device_label(device),
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
