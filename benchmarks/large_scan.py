"""Memory and speed of a 512 × 512 scan of 128 × 128 uint16 patterns (8.6 GB), part of it run.

Run with ``python -m benchmarks.large_scan [ROWS]``; stops after ROWS rows (64) and prints the
memory the process held along the way.  The patterns are made block by block as they are read
(expected counts of a few dozen orientations, Poisson noise seeded by the block), so the scan
itself takes no disk and no memory.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from benchmarks.simulated_scans import SIZE, Conditions, _background, _crystal, _random_rotation
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

EDGE = 512
_BASES, _GRAIN, _ROWS = 48, 16, 4
_CONDITIONS = Conditions(
    library=("LiNiO2", "NiO"),
    made_of=("LiNiO2", "NiO"),
    dynamical=False,
    voltage_kv=200.0,
    pixel_size=0.0225,
    scale_error=0.0,
    sigma=0.012,
    level=0.5,
    jitter=0.3,
    dose=4000.0,
    background=0.3,
    psf=1.0,
)


def large_scan() -> Scan:
    """The scan, lazily."""
    rng = np.random.default_rng(1)
    center = np.array([63.3, 64.2])
    floor = _background(_CONDITIONS, center, carbon=False)
    bases = [
        floor + _crystal(rng, _CONDITIONS, str(rng.choice(_CONDITIONS.made_of)), q, center)
        for q in (_random_rotation(rng) for _ in range(_BASES))
    ]
    expected = np.stack(bases).astype(np.float32)
    grains = rng.integers(0, _BASES, (EDGE // _GRAIN, EDGE // _GRAIN))

    def make(block_info: Any = None) -> NDArray[np.uint16]:
        (y0, y1), (x0, x1), *_ = block_info[None]["array-location"]
        noise = np.random.default_rng([2, y0, x0])
        rows, columns = np.arange(y0, y1) // _GRAIN, np.arange(x0, x1) // _GRAIN
        counts = noise.poisson(expected[grains[rows[:, None], columns]])
        return np.minimum(counts, 65535).astype(np.uint16)

    data = da.map_blocks(
        make,
        chunks=((_ROWS,) * (EDGE // _ROWS), (64,) * (EDGE // 64), (SIZE,), (SIZE,)),
        dtype=np.uint16,
        meta=np.empty((0, 0, 0, 0), dtype=np.uint16),
    )
    axes = (
        Axis("y", EDGE, 4.0, 0.0, "nm"),
        Axis("x", EDGE, 4.0, 0.0, "nm"),
        Axis("ky", SIZE),
        Axis("kx", SIZE),
    )
    calibration = Calibration(
        center=None,
        pixel_size=_CONDITIONS.pixel_size,
        voltage_kv=_CONDITIONS.voltage_kv,
        pixel_size_origin="file",
        voltage_origin="file",
    )
    return Scan(data, axes, "4D-STEM", "large", calibration=calibration)


def memory_mb(name: str = "VmRSS") -> float:
    """Memory this process holds (``VmRSS``) or held at most (``VmHWM``), MB; Linux."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return float("nan")


def main(rows: int = 64) -> None:
    """Map the first rows and say what it took."""
    write, control = sys.stdout.write, JobControl()
    before = memory_mb()
    scan = calibrated(large_scan())
    seen: list[tuple[int, float]] = []

    def look(progress: Progress) -> None:
        if progress.message != "mapping":
            return
        row = progress.done // EDGE
        if not seen or row >= seen[-1][0] + 8:
            seen.append((row, memory_mb()))
            write(f"{row} rows: {seen[-1][1]:.0f} MB\n")
            sys.stdout.flush()
        if row >= rows:
            control.stop()

    with tempfile.TemporaryDirectory() as folder:
        run = map_orientations(
            scan,
            make_method(["LiNiO2", "NiO"]),
            device="cpu",
            control=control,
            on_progress=look,
            out=Path(folder),
        )
        kept = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    done = int(run.result.done.sum())
    write(
        f"{done} of {run.result.done.size} patterns, {done / run.result.seconds:.0f}/s;"
        f" {before:.0f} MB after importing, {memory_mb('VmHWM'):.0f} MB at most;"
        f" {kept / done:.0f} bytes on disk a pattern\n"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
