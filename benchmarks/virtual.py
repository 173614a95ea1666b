"""Virtual images of a 0.54 GB scan in memory beside its peers, in one run.

``python -m benchmarks.virtual --peer NAME=PYTHON …`` with NAME ``libertem py4DSTEM pyxem dask``
and the interpreter of an environment that holds it (or DIFFMAP_PEERS="NAME=PYTHON …"); pyxem and
dask run in this project's own where none is named.  Where torch sees a GPU, the same sums there
are a column of their own.  Programs take turns, each in a process of
its own; medians of what each needs for the whole image, its first time left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.models.device import best_device
from napari_diffmap.models.device_tiles import on_device
from napari_diffmap.scan.detectors import Annulus, Detector, Polygon, Response, Shape, tile_image
from napari_diffmap.scan.masks import blocks_of
from napari_diffmap.scan.tiles import Tile

SIZE, ROUNDS = 128, 9
VARIABLE = "DIFFMAP_PEERS"
_SERVER = Path(__file__).parent / "peers" / "virtual_server.py"
_CORNERS = ((10, 20), (100, 40), (70, 110))
#: What is measured: name, our detector, the same for the peers.
CASES: tuple[tuple[str, Shape, tuple[Response, ...], Any], ...] = (
    ("annulus 20–40 px", Annulus(64, 64, 20, 40), ("sum",), ["annulus", 64, 64, 20, 40]),
    ("disk 10 px", Annulus(64, 64, 0, 10), ("sum",), ["annulus", 64, 64, 0, 10]),
    ("polygon (triangle of 3000 px)", Polygon(_CORNERS), ("sum",), ["polygon", _CORNERS]),
    (
        "centre of mass in a disk of 40 px, y and x",
        Annulus(64, 64, 0, 40),
        ("com_y", "com_x"),
        ["annulus", 64, 64, 0, 40],
    ),
)


class _Peer:
    """A program in a process of its own that makes images on request."""

    def __init__(self, name: str, python: str, scan: Path) -> None:
        self.name = name
        self._process: Any = subprocess.Popen(
            [python, str(_SERVER), name, str(scan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reply()

    def _reply(self) -> dict[str, Any]:
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise RuntimeError(f"{self.name} ended: run {_SERVER} by hand to see why")

    def seconds(self, shape: Any, what: str) -> float | None:
        self._process.stdin.write(json.dumps({"shape": shape, "what": what}) + "\n")
        self._process.stdin.flush()
        found = self._reply()["seconds"]
        return None if found is None else float(found)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def _peers(named: Sequence[str], data: NDArray[Any]) -> Iterator[list[_Peer]]:
    pythons = {"pyxem": sys.executable, "dask": sys.executable}
    pythons.update(entry.split("=", 1) for entry in named)
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.npy"
        np.save(scan, data)
        peers: list[_Peer] = []
        try:
            for name, python in pythons.items():
                peers.append(_Peer(name, python, scan))
            yield peers
        finally:
            for peer in peers:
                peer.close()


def _read_all(data: NDArray[Any], pool: ThreadPoolExecutor) -> float:
    """Seconds in which all cores together read the scan once."""
    parts = np.array_split(data.reshape(-1).view(np.uint64), pool._max_workers)
    start = time.perf_counter()
    list(pool.map(np.sum, parts))
    return time.perf_counter() - start


def table(named: Sequence[str] | None = None) -> str:
    """Seconds and nominal GB/s (whole scan over time) of each program."""
    if named is None:
        named = os.environ.get(VARIABLE, "").split()
    data = np.random.default_rng(0).integers(0, 4000, (SIZE,) * 4, dtype=np.uint16)
    tile = Tile(slice(0, SIZE), slice(0, SIZE), data, np.zeros((SIZE, SIZE), dtype=bool))
    lines = []
    with _peers(named, data) as peers, ThreadPoolExecutor(os.cpu_count()) as pool:
        names = [peer.name for peer in peers]
        on_gpu = on_device(tile, "cuda") if best_device() == "cuda" else None
        heads = ["detector", "this package", "share of the bandwidth"]
        heads += ["this package, GPU"] * (on_gpu is not None) + names
        lines.append("| " + " | ".join(heads) + " |")
        lines.append("| --- " * len(heads) + "|")
        for name, shape, responses, asked in CASES:
            what = "com" if len(responses) > 1 else "sum"
            ours: list[float] = []
            gpu: list[float] = []
            whole: list[float] = []
            theirs: dict[str, list[float]] = {peer.name: [] for peer in peers}
            for _ in range(ROUNDS):
                ours.append(_seconds(tile, shape, responses))
                if on_gpu is not None:
                    gpu.append(_seconds(on_gpu, shape, responses))
                whole.append(_read_all(data, pool))
                for peer in peers:
                    seconds = peer.seconds(asked, what)
                    if seconds is not None:
                        theirs[peer.name].append(seconds)
            mine, once = statistics.median(ours[1:]), statistics.median(whole[1:])
            touched = blocks_of(shape.mask((SIZE, SIZE)), 2, 2 * SIZE).touched * SIZE**2
            share = len(responses) * touched / mine / (data.nbytes / once)
            cells = [f"{_speed(data, mine)}", f"{share:.0%} of {data.nbytes / once / 1e9:.0f} GB/s"]
            if gpu:
                other = statistics.median(gpu[1:])
                cells.append(f"{_speed(data, other)}, {other / mine:.2f} ×")
            for seconds_of in theirs.values():
                if not seconds_of:
                    cells.append("–")
                    continue
                other = statistics.median(seconds_of[1:])
                cells.append(f"{_speed(data, other)}, {other / mine:.1f} ×")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _seconds(tile: Tile, shape: Shape, responses: Sequence[Response]) -> float:
    start = time.perf_counter()
    for response in responses:
        tile_image(tile, Detector("d", shape, response))
    return time.perf_counter() - start


def _speed(data: NDArray[Any], seconds: float) -> str:
    digits = 0 if seconds > 0.01 else 1
    return f"{1e3 * seconds:.{digits}f} ms ({data.nbytes / seconds / 1e9:.1f} GB/s)"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", action="append", metavar="NAME=PYTHON")
    print(table(parser.parse_args().peer))
