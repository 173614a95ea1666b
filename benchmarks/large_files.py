"""A simulated 63 GB scan (sparse on disk): opening, memory, first image, patterns, conversion."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.window import write_large

_GB = 1e9
#: Scan positions and patterns of the file that is read from the disk.
_COLD = (64, 64, 256, 256)

#: Opens the file in a process of its own: its memory and imports are the user's.
_OPEN = """
import sys, time
import napari_diffmap.scan.open.build, napari_diffmap.scan.detectors, napari_diffmap.scan.preview
import psutil
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.detectors import Annulus, Detector
from napari_diffmap.scan.preview import preview_images
process = psutil.Process()
from napari_diffmap.scan.sums import warm_up
warm_up()  # as the window does when it opens
before = process.memory_info().rss
start = time.perf_counter()
scan = open_scan(sys.argv[1], kind="4D-STEM")
opened = time.perf_counter() - start
detector = Detector("d", Annulus(128, 128, 20, 60))
firsts = []
for radius in (60, 61, 62, 63, 64, 65):
    start = time.perf_counter()
    preview_images(scan, [Detector("d", Annulus(128, 128, 20, radius))])
    firsts.append(time.perf_counter() - start)
clicks = []
for y, x in ((i * 37 % 800, i * 91 % 600) for i in range(40)):
    start = time.perf_counter()
    scan.pattern(y, x)
    clicks.append(time.perf_counter() - start)
grown = process.memory_info().rss - before
print(opened, firsts[0], sorted(firsts[1:])[2], sorted(clicks)[20], max(clicks), grown)
"""


def _cold(folder: Path) -> list[float]:
    """Seconds for single patterns of a file that the system has forgotten."""
    from napari_diffmap.scan.open import open_scan

    path = folder / "cold.npy"
    data = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=_COLD)
    data[:] = np.random.default_rng(0).integers(0, 4000, _COLD[1:], dtype=np.uint16)
    data.flush()
    del data
    seconds = []
    with path.open("rb") as file:
        os.fsync(file.fileno())
        scan = open_scan(path, kind="4D-STEM")
        for i in range(24):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            scan.pattern(i * 37 % _COLD[0], i * 23 % _COLD[1])
            seconds.append(time.perf_counter() - start)
    return seconds


def table() -> str:
    """Seconds and bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.npy"
        if not write_large(path):
            return "Skipped: the file system does not keep sparse files."
        runs = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", _OPEN, str(path)], check=True, capture_output=True, text=True
            )
            runs.append([float(word) for word in done.stdout.split()[-6:]])
        opened, first, next_, click, worst, grown = (
            statistics.median(column) for column in zip(*runs, strict=True)
        )
        size = path.stat().st_size / _GB
        seconds = _cold(Path(folder))
        cold = 1e3 * statistics.median(seconds), 1e3 * max(seconds)
    return "\n".join(
        (
            f"| {size:.0f} GB, 256 × 256 patterns of uint16 | median of three |",
            "| --- | --- |",
            f"| open | {opened:.2f} s |",
            f"| first coarse image | {1e3 * first:.0f} ms |",
            f"| further coarse images | {1e3 * next_:.0f} ms |",
            f"| a pattern anywhere: median | {1e3 * click:.1f} ms |",
            f"| a pattern anywhere: longest | {1e3 * worst:.1f} ms |",
            f"| a pattern of a file forgotten by the system: median | {cold[0]:.0f} ms |",
            f"| a pattern of a file forgotten by the system: longest | {cold[1]:.0f} ms |",
            f"| memory grown by all that | {grown / 1e6:.0f} MB |",
        )
    )


if __name__ == "__main__":
    print(table())
