"""One pipeline for window, command line and notebook: a method over the tiles of a scan."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import CancelledError, DiffmapError, ResourceError, RunError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.pieces import Executor, InProcess, is_out_of_memory
from napari_diffmap.methods.method import Method
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BlockReader, Tile

if TYPE_CHECKING:
    from napari_diffmap.jobs.checkpoint import Checkpoint

OnProgress = Callable[[Progress], Any]
OnTile = Callable[[Tile, dict[str, NDArray[Any]]], Any]


@dataclass(eq=False)
class RunResult:
    """What a run left, finished or not.

    Attributes
    ----------
    maps
        One array ``(y, x, *shape)`` a map; its fill value where not done.
    done
        ``(y, x)``; True where the method ran.
    seconds
        Time worked, pauses and preparation left out.
    prepare_seconds
        Time spent preparing (library, templates).
    error
        None when finished; else why the run ended early.
    """

    maps: dict[str, NDArray[Any]]
    done: NDArray[np.bool_]
    seconds: float = 0.0
    prepare_seconds: float = 0.0
    error: DiffmapError | None = None

    @property
    def complete(self) -> bool:
        """Whether every position was mapped."""
        return self.error is None and bool(self.done.all())


def run_method(
    scan: Scan,
    method: Method,
    *,
    device: str = "cpu",
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
    on_tile: OnTile | None = None,
    reader: BlockReader | None = None,
    checkpoint: Checkpoint | None = None,
    before: RunResult | None = None,
    executor: Executor | None = None,
    only: NDArray[np.bool_] | None = None,
    goes_on: bool = False,
) -> RunResult:
    """Run a method over a whole scan.

    The map fills visibly, piece by piece, and *stop* acts within half a second.  An
    error ends the run and is returned beside what was done; nothing is lost.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    method
        What to run; its `prepare` is called first.
    device
        Torch device.
    control
        Pause and stop from another thread.
    on_progress, on_tile
        Called from this thread after every piece; the tile says where and holds no patterns.
    reader
        Reuse decoded blocks.
    checkpoint
        Where parts are kept on disk; what they hold already is not mapped again.
    before
        An earlier run of the same method over the same scan that ended early; what
        it mapped is taken over.
    executor
        Where the pieces are worked on; this process without one.
    only
        ``(y, x)``: positions to run, all without; the rest is left undone without an error.
    goes_on
        Whether `before` is an earlier round of this very run: the method is prepared, and
        what the checkpoint holds is known.

    Returns
    -------
    RunResult
        Also when the run was stopped or failed; see its `error`.

    Raises
    ------
    BadInputError
        If the method refuses the scan or its parameters before anything ran.
    """
    control = control or JobControl()
    report = on_progress or (lambda _progress: None)
    reader = reader or BlockReader(scan, keep_bytes=0)
    ny, nx = scan.shape[:2]
    start = time.perf_counter()

    def preparing(done: int, total: int, what: str) -> None:
        control.check()
        report(Progress(done, total, time.perf_counter() - start, what))

    specs = method.maps()
    result = RunResult(
        {spec.name: spec.empty((ny, nx)) for spec in specs}, np.zeros((ny, nx), dtype=bool)
    )
    if before is not None:
        _take_over(before, result)
    if checkpoint is not None and not goes_on:
        checkpoint.restore(result)
    try:
        if not goes_on:
            method.prepare(scan, device, preparing)
        result.prepare_seconds = time.perf_counter() - start
        if not goes_on:
            _show_restored(reader, result, report, on_tile)
        _run_tiles(
            executor or InProcess(reader),
            scan,
            method,
            result,
            control,
            report,
            on_tile,
            checkpoint,
            only,
        )
    except CancelledError as error:
        result.error = error
    except RunError as error:
        result.error = error
    except (MemoryError, RuntimeError, ValueError, OSError, ArithmeticError, LookupError) as error:
        if is_out_of_memory(error):
            result.error = ResourceError(
                f"out of memory on {device} after {int(result.done.sum())} positions:"
                " lower the matcher's memory or choose a coarser zone-axis step"
            )
        else:
            result.error = RunError(
                f"{method.name} failed after {int(result.done.sum())} positions:"
                f" {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            )
        result.error.__cause__ = error
    if checkpoint is not None:
        try:
            checkpoint.flush(result)
        except ResourceError as error:
            result.error = result.error or error
    return result


def _take_over(before: RunResult, result: RunResult) -> None:
    for name, values in result.maps.items():
        values[...] = before.maps[name]
    result.done |= before.done
    result.seconds = before.seconds


def _show_restored(
    reader: BlockReader, result: RunResult, report: OnProgress, on_tile: OnTile | None
) -> None:
    """Hand on what an earlier run mapped, without reading its patterns again."""
    if not result.done.any():
        return
    for where in reader.blocks:
        if on_tile is not None and result.done[where].any():
            tile = _without_patterns(where, ~result.done[where])
            on_tile(tile, {name: values[where] for name, values in result.maps.items()})
    report(Progress(int(result.done.sum()), result.done.size, result.seconds))


def _run_tiles(
    executor: Executor,
    scan: Scan,
    method: Method,
    result: RunResult,
    control: JobControl,
    report: OnProgress,
    on_tile: OnTile | None,
    checkpoint: Checkpoint | None,
    only: NDArray[np.bool_] | None,
) -> None:
    """Fill `result` in place, piece by piece."""
    todo = ~result.done if only is None else only & ~result.done
    absent = np.zeros(todo.shape, dtype=bool) if scan.missing is None else scan.missing
    for piece in executor.over(scan, method.run, todo, control):
        where = (piece.rows, piece.columns)
        for name, values in piece.found.items():
            result.maps[name][where] = values
        # A piece may hold positions beside those asked for: they wait for their turn.
        result.done[where] |= True if only is None else only[where]
        todo[where] = False
        result.seconds += piece.seconds
        if checkpoint is not None:
            checkpoint.add(where, result)
        if on_tile is not None:
            on_tile(_without_patterns(where, absent[where]), piece.found)
        report(Progress(int(result.done.sum()), result.done.size, result.seconds))


def _without_patterns(where: tuple[slice, slice], missing: NDArray[np.bool_]) -> Tile:
    """A tile that says where maps belong; its patterns may never have been here."""
    return Tile(*where, np.empty((*missing.shape, 0, 0), dtype=np.uint8), missing)
