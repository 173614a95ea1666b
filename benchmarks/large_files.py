"""A simulated 63 GB scan (sparse on disk): opening, memory, first image, patterns, conversion."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPE = (800, 600, 256, 256)
_GB = 1e9

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


def table() -> str:
    """Seconds and bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.npy"
        header = np.lib.format.header_data_from_array_1_0(np.empty((0,), np.uint16))
        header["shape"] = SHAPE
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + 2 * int(np.prod(SHAPE)))
        if path.stat().st_blocks * 512 > 64 << 20:
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
    return "\n".join(
        (
            f"| {size:.0f} GB, 256 × 256 patterns of uint16 | median of three |",
            "| --- | --- |",
            f"| open | {opened:.2f} s |",
            f"| first coarse image | {1e3 * first:.0f} ms |",
            f"| further coarse images | {1e3 * next_:.0f} ms |",
            f"| a pattern anywhere: median | {1e3 * click:.1f} ms |",
            f"| a pattern anywhere: longest | {1e3 * worst:.1f} ms |",
            f"| memory grown by all that | {grown / 1e6:.0f} MB |",
        )
    )


if __name__ == "__main__":
    start = time.perf_counter()
    print(table())
