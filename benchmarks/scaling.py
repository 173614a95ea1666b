"""Virtual images over scan size and cores: seconds, nominal GB/s, and a plot.

``python -m benchmarks.scaling [PICTURE.png]``; the annulus of `benchmarks.virtual` on 128 × 128
patterns of uint16 in memory.  Sizes that take more than a third of the free memory are left out.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

#: Edge of the scan in positions, and of the patterns in pixels.
EDGES, PIXELS, ROUNDS = (32, 64, 128, 256, 384), 128, 7
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "scaling.png"

_ONE = "import sys; from benchmarks.scaling import measure; print(measure(int(sys.argv[1])))"


def measure(edge: int) -> float:
    """Median seconds of one image on as many cores as this process may use."""
    from napari_diffmap.scan.detectors import Annulus, Detector, tile_image
    from napari_diffmap.scan.tiles import Tile

    block = np.random.default_rng(0).integers(0, 4000, (32, PIXELS, PIXELS), dtype=np.uint16)
    data = np.empty((edge, edge, PIXELS, PIXELS), dtype=np.uint16)
    flat = data.reshape(-1, 32, PIXELS, PIXELS)
    flat[:] = block
    tile = Tile(slice(0, edge), slice(0, edge), data, np.zeros((edge, edge), dtype=bool))
    detector = Detector("annulus", Annulus(64, 64, 20, 40))
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        tile_image(tile, detector)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _apart(edge: int, cores: int) -> float:
    """The same in a process that is held to so many cores."""
    code = f"import os; os.cpu_count = lambda: {cores}\n{_ONE}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(edge)], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])


def _bytes(edge: int) -> int:
    return 2 * (edge * PIXELS) ** 2


def table(picture: Path = PICTURE) -> str:
    """A row a size, a column a number of cores; the picture shows the same."""
    import psutil

    free = psutil.virtual_memory().available
    edges = [edge for edge in EDGES if _bytes(edge) < free / 3]
    every = os.cpu_count() or 1
    cores = sorted({2**i for i in range(10) if 2**i <= every} | {every})
    speeds = {n: [_bytes(e) / _apart(e, n) / 1e9 for e in edges] for n in cores}
    _plot(picture, edges, speeds)
    lines = [
        "| scan | " + " | ".join(f"{n} core{'s' if n > 1 else ''}" for n in cores) + " |",
        "| --- " * (1 + len(cores)) + "|",
    ]
    for i, edge in enumerate(edges):
        cells = " | ".join(
            f"{1e3 * _bytes(edge) / 1e9 / speeds[n][i]:.3g} ms ({speeds[n][i]:.0f} GB/s)"
            for n in cores
        )
        lines.append(f"| {edge} × {edge}, {_bytes(edge) / 1e9:.2g} GB | {cells} |")
    return "\n".join(lines)


def _plot(picture: Path, edges: list[int], speeds: dict[int, list[float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    sizes = [_bytes(edge) / 1e9 for edge in edges]
    for (cores, values), marker in zip(speeds.items(), "os^Dv<>ph*", strict=False):
        name = f"{cores} core{'s' if cores > 1 else ''}"
        axes.plot(sizes, values, marker=marker, label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("scan in memory (GB)")
    axes.set_ylabel("scan / time (GB/s)")
    axes.legend()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    print(table(*(Path(name) for name in sys.argv[1:2])))
