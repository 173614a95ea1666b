"""Virtual images of a 0.54 GB scan in memory beside plain Dask and NumPy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import dask.array as da
import numpy as np

from napari_diffmap.scan import Axis, Scan
from napari_diffmap.scan.detectors import Annulus, Detector, Disk, virtual_images
from napari_diffmap.scan.tiles import BlockReader

SIZE = 128


def _median_seconds(work: Callable[[], object], times: int = 7) -> float:
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def table() -> str:
    """Seconds and nominal GB/s (whole scan over time) of each."""
    data = np.random.default_rng(0).integers(0, 4000, (SIZE,) * 4, dtype=np.uint16)
    axes = tuple(Axis(name, SIZE) for name in ("y", "x", "ky", "kx"))
    scan = Scan(da.from_array(data, chunks=(16, -1, -1, -1)), axes, "4D-STEM", "made")
    reader = BlockReader(scan)
    list(reader)
    cases = (
        ("annulus 20–40 px, sum", Annulus(64, 64, 20, 40), "sum"),
        ("disk 10 px, sum", Disk(64, 64, 10), "sum"),
        ("annulus 20–40 px, CoM x", Annulus(64, 64, 20, 40), "com_x"),
    )
    lines = [
        "| detector | this package | plain Dask | read memory once | ratio to Dask |",
        "| --- | --- | --- | --- | --- |",
    ]
    floor = _median_seconds(lambda: data.view(np.uint64).sum())
    for name, shape, response in cases:
        detector = Detector("d", shape, response)
        mask = detector.mask((SIZE, SIZE))
        ours = _median_seconds(lambda d=detector: virtual_images(scan, [d], reader=reader))
        weight = mask * (np.arange(SIZE) - 64.0 if response == "com_x" else 1.0)
        dask = _median_seconds(
            lambda w=weight: (scan.data * w).sum(axis=(2, 3), dtype=np.float64).compute(), 3
        )
        lines.append(
            f"| {name} | {ours * 1e3:.0f} ms ({data.nbytes / ours / 1e9:.1f} GB/s)"
            f" | {dask * 1e3:.0f} ms | {floor * 1e3:.0f} ms | {dask / ours:.0f} × |"
        )
    return "\n".join(lines)
