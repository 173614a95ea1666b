"""The Scan dock on a file that grows while the window looks at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.widgets.scan_dock import ScanDock
from napari_diffmap.widgets.workbench import Workbench

SHAPE = (6, 8, 24, 24)
VALUES = np.random.default_rng(2).integers(1, 500, SHAPE).astype(np.uint16)


def record(path: Path, frames: int) -> None:
    """Append what is missing up to so many frames, as a recorder does."""
    there = path.stat().st_size if path.exists() else 0
    with path.open("ab") as file:
        file.write(VALUES.reshape(-1, *SHAPE[2:])[:frames].tobytes()[there:])


def test_the_image_grows_with_the_file(
    qtbot: Any, bench: Workbench, model: Any, tmp_path: Path
) -> None:
    dock = ScanDock(model)
    qtbot.addWidget(dock)
    dock.show()
    path = tmp_path / "scan.raw"
    record(path, 20)
    bench.opening.open(path, shape=SHAPE, dtype="uint16", growing=True)
    qtbot.waitUntil(lambda: bench.following.on, timeout=60_000)
    assert dock.follow_button.isChecked()
    assert dock.follow_button.isVisible()
    qtbot.waitUntil(lambda: bool(bench.desk.virtual.images), timeout=60_000)
    key = next(iter(bench.desk.virtual.images))

    def frames() -> int:
        return int(np.isfinite(bench.desk.virtual.images[key]).sum())

    qtbot.waitUntil(lambda: frames() == 20, timeout=60_000)
    assert "20 of 48 frames" in dock.name.text()
    record(path, 33)
    qtbot.waitUntil(lambda: frames() == 33, timeout=60_000)
    assert "33 of 48 frames" in dock.name.text()
    dock.follow_button.click()
    assert not bench.following.on
    dock.follow_button.click()
    record(path, 48)
    qtbot.waitUntil(lambda: frames() == 48, timeout=60_000)
    qtbot.waitUntil(lambda: not bench.following.on, timeout=60_000)
    assert not dock.follow_button.isVisible()


def test_the_map_grows_with_the_file(
    qtbot: Any, bench: Workbench, model: Any, tmp_path: Path
) -> None:
    from napari_diffmap.crystal import sample
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.methods.orientation import OrientationParameters

    counts = sample.simulate_rows(sample.build_truth(), slice(20, 28))[:, 18:30]
    path = tmp_path / "scan.raw"
    path.write_bytes(counts[:6].tobytes())
    dock = ScanDock(model)
    qtbot.addWidget(dock)
    dock.show()
    bench.opening.open(path, shape=counts.shape, dtype=str(counts.dtype), growing=True)
    qtbot.waitUntil(lambda: bench.following.on and not bench.runner.busy, timeout=60_000)
    calibration = bench.session.calibration.with_pixel_size(sample.PIXEL_SIZE, "entered")
    bench.session.set_calibration(calibration.with_voltage(sample.VOLTAGE_KV, "entered"))
    bench.session.set_phases(load_phases(["LiNiO2", "NiO"]))
    lines: list[str] = []
    bench.run.progressed.connect(lambda progress: lines.append(progress.text()))
    coarse = OrientationParameters(zone_step_deg=8, n_best=1, refine=False)
    bench.run.start(coarse, follow=bench.following.for_job())

    def mapped() -> int:
        live = bench.maps._live
        return 0 if live is None else int((live[..., 3] > 0).sum())

    qtbot.waitUntil(lambda: mapped() == 6 * 12, timeout=60_000)
    qtbot.waitUntil(lambda: "waiting for frames 72 of 96" in lines[-1], timeout=60_000)
    with path.open("ab") as file:
        file.write(counts[6:].tobytes())
    qtbot.waitUntil(lambda: bench.run.state == "idle", timeout=60_000)
    assert bench.run.last is not None
    assert bench.run.last.result.complete
    truth = sample.build_truth()
    right = bench.session.map.best_phase_ids == truth.phase_ids[20:28, 18:30]
    assert right[truth.single[20:28, 18:30]].mean() > 0.9
    qtbot.waitUntil(lambda: not bench.following.on and not bench.runner.busy, timeout=60_000)
