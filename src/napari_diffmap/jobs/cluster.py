"""Pieces of a scan on the workers of a Dask cluster (dask.distributed, as it is).

Each worker gets the scan and the prepared method once and opens the file itself, so the file
must be where the workers can see it.  Results stream back as they come.  A worker that dies
costs its pieces only: they are done again elsewhere.
"""

from __future__ import annotations

import pickle
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, RunError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.pieces import Done, in_halves
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import Tile, plan_blocks, read_tile

T = TypeVar("T")

#: Bytes and patterns of a piece: about a second of matching on one core.
_PIECE_BYTES, _PIECE_PATTERNS = 16 << 20, 256
#: Pieces that wait at each thread of the cluster, so that none runs dry.
_AHEAD = 8
#: How often a piece is sent out again after workers died over it.
_TRIES = 20
#: Seconds to wait for a scheduler, for a result before *stop* is looked at, and between
#: looks at how many workers there are.
_CONNECT, _POLL, _COUNT = 20.0, 0.2, 2.0


@contextmanager
def connected(address: str, device: str = "cpu") -> Iterator[OnCluster]:
    """An executor on a cluster.

    Parameters
    ----------
    address
        Of a scheduler (``tcp://host:8786``), or ``local`` or ``local:N`` for N worker
        processes on this machine while the run lasts.
    device
        Of the workers: ``cpu``, or ``cuda`` for those that offer the resource GPU.

    Raises
    ------
    BadInputError
        If distributed is not installed, the address cannot be, or nobody answers there.
    """
    try:
        import distributed
    except ImportError as error:
        raise BadInputError(
            "dask.distributed is not installed: pip install 'napari-diffmap[cluster]'"
        ) from error
    dask: Any = distributed
    cluster = None
    try:
        if address.partition(":")[0] == "local":
            cluster = dask.LocalCluster(
                n_workers=_workers(address),
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs="ERROR",
            )
        client = dask.Client(cluster or address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise BadInputError(
            f"no Dask scheduler answers at {address}: start one (dask scheduler), or give local"
        ) from error
    try:
        yield OnCluster(client, address, device)
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


@contextmanager
def on_cluster(address: str | None, device: str = "auto") -> Iterator[OnCluster | None]:
    """An executor where an address is given, None without one; *auto* is the workers' cpu."""
    if address is None:
        yield None
        return
    with connected(address, "cpu" if device == "auto" else device) as executor:
        yield executor


def _workers(address: str) -> int | None:
    """N of ``local:N``; None where the cluster is to choose."""
    _, colon, count = address.partition(":")
    if not colon:
        return None
    if not count.isdigit() or int(count) < 1:
        raise BadInputError(f"{address}: give local or local:N with N worker processes")
    return int(count)


class OnCluster:
    """Runs work over the pieces of a scan on a cluster; see `pieces.Executor`.

    Parameters
    ----------
    client
        A `distributed.Client`.
    name
        Address, for messages.
    device
        Of the workers.  On ``cuda`` a piece takes the resource GPU of a worker (dask worker
        --resources GPU=1), and the method is prepared again on the first of them.
    """

    def __init__(self, client: Any, name: str, device: str = "cpu") -> None:
        self.client = client
        self.name = name
        self.device = device
        self._resources = {"GPU": 1} if device.startswith("cuda") else None

    @property
    def label(self) -> str:
        """Where pieces are worked on, in words."""
        return f"{self.device} on {len(self.client.nthreads())} workers at {self.name}"

    def over(
        self, scan: Scan, work: Callable[[Tile], T], todo: NDArray[np.bool_], control: JobControl
    ) -> Iterator[Done[T]]:
        """See `pieces.Executor`."""
        waiting = deque(piece for piece in _pieces(scan) if todo[piece].any())
        payload = self._sent(scan, work)
        running: dict[Any, tuple[tuple[slice, slice], int]] = {}
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threads, counted, last = 0, 0.0, time.perf_counter()
        try:
            while waiting or running:
                control.check()
                if time.perf_counter() - counted > _COUNT:
                    threads, counted = self._threads(), time.perf_counter()
                room = _AHEAD * max(1, threads) - len(running)
                fresh = [(waiting.popleft(), 0) for _ in range(min(room, len(waiting)))]
                self._send(payload, fresh, running, ended)
                try:
                    batch = [ended.get(timeout=_POLL)]
                except queue.Empty:
                    continue
                while not ended.empty():
                    batch.append(ended.get())
                again, found = [], []
                for future, parts in zip(batch, self._gathered(batch), strict=True):
                    piece, tries = running.pop(future)
                    if isinstance(parts, Exception):
                        self._judge(parts, tries)
                        again.append((piece, tries + 1))
                    else:
                        found += parts
                self._send(payload, again, running, ended)
                seconds, last = time.perf_counter() - last, time.perf_counter()
                for rows, columns, part in found:
                    yield Done(rows, columns, part, seconds / len(found))
        finally:
            # What is running now ends by itself; nobody waits for it.
            self._forget([*running, payload])

    def _sent(self, scan: Scan, work: Callable[[Tile], Any]) -> Any:
        try:
            body = pickle.dumps((scan, work), protocol=5)
        except Exception as error:
            raise BadInputError(
                f"{scan.name} cannot be sent to other machines ({error}): save it as .zspy and"
                " open that"
            ) from error
        # As a task, and not as data on a worker: it is loaded again where a worker died.
        return self.client.submit(_loaded, body, self.device, pure=False, resources=self._resources)

    def _send(
        self, payload: Any, pieces: list[tuple[tuple[slice, slice], int]], running: Any, ended: Any
    ) -> None:
        if not pieces:
            return
        futures = self.client.map(
            _run_piece,
            [payload] * len(pieces),
            *zip(*(piece for piece, _ in pieces), strict=True),
            pure=False,
            resources=self._resources,
            batch_size=len(pieces),
        )
        for future, piece in zip(futures, pieces, strict=True):
            running[future] = piece
            future.add_done_callback(ended.put)

    def _gathered(self, batch: list[Any]) -> list[Any]:
        """Results of what has ended, or why there is none."""
        good = [future for future in batch if future.status == "finished"]
        try:
            results = dict(zip(good, self.client.gather(good), strict=True))
        except Exception:  # noqa: BLE001 - one of them was lost on the way: one by one then
            results = {}
        found = []
        for future in batch:
            try:
                found.append(results[future] if future in results else future.result())
            except Exception as error:  # noqa: BLE001 - whatever workers and network raise
                found.append(error)
        return found

    def _judge(self, error: Exception, tries: int) -> None:
        """Raise what trying again cannot mend."""
        name = type(error).__name__
        if name in ("KilledWorker", "FutureCancelledError", "CancelledError", "NoValidWorkerError"):
            if self.client.status != "running":
                raise RunError(
                    f"the cluster at {self.name} is gone: what was mapped is kept; go on with"
                    " --resume"
                ) from error
            if tries < _TRIES:
                return
            raise RunError(
                f"workers died {tries + 1} times over the same piece: see the log of the workers"
                " (too little memory?)"
            ) from error
        if isinstance(error, ModuleNotFoundError):
            raise RunError(
                f"the workers lack {error.name}: install napari-diffmap in their environment"
            ) from error
        raise error

    def _threads(self) -> int:
        try:
            return sum(self.client.nthreads().values())
        except Exception as error:
            raise RunError(
                f"the cluster at {self.name} is gone ({type(error).__name__}): what was mapped is"
                " kept; go on with --resume"
            ) from error

    def _forget(self, futures: list[Any]) -> None:
        try:
            self.client.cancel(futures, force=True)
        except Exception:  # noqa: BLE001 - a lost cluster has nothing to forget
            return


def _pieces(scan: Scan) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of pieces that follow the chunks of the file."""
    for rows, columns in plan_blocks(scan, _PIECE_BYTES):
        width = min(columns.stop - columns.start, _PIECE_PATTERNS)
        height = max(1, _PIECE_PATTERNS // width)
        yield from product(
            (slice(y, min(y + height, rows.stop)) for y in range(rows.start, rows.stop, height)),
            (
                slice(x, min(x + width, columns.stop))
                for x in range(columns.start, columns.stop, width)
            ),
        )


def _loaded(body: bytes, device: str) -> tuple[Scan, Callable[[Tile], Any]]:
    """On a worker: the scan and the work, made ready for its device."""
    scan, work = pickle.loads(body)
    if device != "cpu":
        work.__self__.prepare(scan, device)
    return scan, work


def _run_piece(
    payload: tuple[Scan, Callable[[Tile], T]], rows: slice, columns: slice
) -> list[tuple[slice, slice, T]]:
    """On a worker: read a piece and do the work, in halves where memory runs out."""
    scan, work = payload
    _share_the_processor()
    tile = read_tile(scan, rows, columns)
    return [(part.rows, part.columns, found) for part, found in in_halves(work, tile)]


def _share_the_processor() -> None:
    """A worker's torch uses as many threads as the worker was given, not the whole machine."""
    import torch
    from distributed import get_worker

    try:
        threads = get_worker().state.nthreads
    except ValueError:  # not on a worker
        return
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
