"""The pipeline on real worker processes: the same map, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from napari_diffmap.errors import BadInputError, CancelledError, ResourceError, RunError
from napari_diffmap.jobs.cluster import OnCluster, connected
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.pieces import in_halves
from napari_diffmap.jobs.pipeline import run_method
from napari_diffmap.methods.method import MapSpec
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import Tile, read_tile

pytest.importorskip("distributed")


class Moments:
    """A small real method; each piece also says which process made it, and may take a while."""

    name = "moments"
    Parameters = BaseModel

    def __init__(self, seconds: float = 0.0, most: int = 10**9) -> None:
        self.seconds = seconds
        self.most = most

    def maps(self) -> tuple[MapSpec, ...]:
        return (MapSpec("mean", "float64", "", np.nan), MapSpec("maker", "int64", "", -1))

    def prepare(self, scan: Any, device: str = "cpu", progress: Any = None) -> None:
        pass

    def run(self, tile: Any) -> dict[str, np.ndarray]:
        if tile.missing.size > self.most:
            raise MemoryError
        time.sleep(self.seconds)
        mean = tile.patterns.mean(axis=(2, 3))
        return {"mean": mean, "maker": np.full(mean.shape, os.getpid())}


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    path = tmp_path_factory.mktemp("cluster") / "scan.npy"
    np.save(path, np.random.default_rng(0).integers(0, 999, (48, 60, 16, 16)).astype(np.uint16))
    return open_scan(path, kind="4D-STEM")


@pytest.fixture(scope="module")
def cluster() -> Iterator[OnCluster]:
    with connected("local:2") as executor:
        yield executor


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 24 patterns."""
    monkeypatch.setattr("napari_diffmap.jobs.cluster._PIECE_PATTERNS", 24)


def truth(scan: Scan) -> np.ndarray:
    return np.asarray(scan.data.mean(axis=(2, 3)).compute())


def test_workers_make_the_map_that_one_process_makes(scan: Scan, cluster: OnCluster) -> None:
    shown: list[int] = []
    result = run_method(
        scan,
        Moments(),
        executor=cluster,
        on_tile=lambda tile, _found: shown.append(tile.rows.start),
    )
    assert result.complete
    np.testing.assert_array_equal(result.maps["mean"], truth(scan))
    makers = set(np.unique(result.maps["maker"]))
    assert os.getpid() not in makers
    assert len(makers) == 2
    assert len(shown) > 4


def test_killed_workers_cost_only_their_pieces(scan: Scan, cluster: OnCluster, small: None) -> None:
    """Killed again and again while the map is made: the result is the same, bit for bit."""
    over, killed = threading.Event(), []

    def kill() -> None:
        while not over.wait(0.7):
            workers = cluster.client.run(os.getpid) if len(killed) < 3 else {}
            for process in list(workers.values())[:1]:
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        result = run_method(scan, Moments(0.05), executor=cluster)
    finally:
        over.set()
        killer.join()
    assert result.error is None
    assert len(killed) >= 2
    np.testing.assert_array_equal(result.maps["mean"], truth(scan))


def test_stop_keeps_what_came_back(scan: Scan, cluster: OnCluster, small: None) -> None:
    control = JobControl()
    result = run_method(
        scan,
        Moments(0.02),
        executor=cluster,
        control=control,
        on_tile=lambda *_: control.stop(),
    )
    assert isinstance(result.error, CancelledError)
    assert 0 < result.done.sum() < result.done.size
    np.testing.assert_array_equal(result.maps["mean"][result.done], truth(scan)[result.done])
    rest = run_method(scan, Moments(), executor=cluster, before=result)
    assert rest.complete
    np.testing.assert_array_equal(rest.maps["mean"], truth(scan))


def test_where_memory_runs_out_a_piece_is_halved(scan: Scan, cluster: OnCluster) -> None:
    for executor in (cluster, None):
        result = run_method(scan, Moments(most=7), executor=executor)
        assert result.complete
        np.testing.assert_array_equal(result.maps["mean"], truth(scan))
    hopeless = run_method(scan, Moments(most=0), executor=cluster)
    assert isinstance(hopeless.error, ResourceError)


def test_halves_cover_a_tile_once(scan: Scan) -> None:
    sizes: list[int] = []

    def work(tile: Tile) -> tuple[int, int]:
        if tile.missing.size > 3:
            raise MemoryError
        sizes.append(tile.missing.size)
        return tile.shape

    tile = read_tile(scan, slice(3, 8), slice(2, 13))
    seen = np.zeros(scan.shape[:2], dtype=int)
    for part, shape in in_halves(work, tile):
        assert part.patterns.shape[:2] == shape
        seen[part.rows, part.columns] += 1
    assert (seen[3:8, 2:13] == 1).all()
    assert seen.sum() == 55
    assert max(sizes) > 1


def test_a_file_the_workers_cannot_see_is_named(cluster: OnCluster, tmp_path: Path) -> None:
    path = tmp_path / "gone.npy"
    np.save(path, np.ones((4, 4, 8, 8), dtype=np.uint8))
    scan = open_scan(path, kind="4D-STEM")
    path.unlink()
    result = run_method(scan, Moments(), executor=cluster)
    assert isinstance(result.error, RunError)
    assert "is the file still there?" in str(result.error)


@pytest.mark.parametrize("address", ["local:x", "local:0", "tcp://127.0.0.1:1"])
def test_an_address_without_a_scheduler_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_diffmap.jobs.cluster._CONNECT", 1.0)
    with pytest.raises(BadInputError, match="local"), connected(address):
        pass
