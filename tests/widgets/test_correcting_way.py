"""A correction session by mouse and keys, killed, opened again, exported, and repeated headless."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from driver import CONTROL, LEFT, PLAIN, WAIT, Window, no_window
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.workspace import show_dock

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(900)]

PIXEL, CENTER, SHAPE, GRID = 0.0225, (47.5, 47.5), (96, 96), (8, 10)
STEP = 2.0
FIELDS = ("rotations", "scores", "phase_ids", "reliability", "ambiguity")


def save_gold(path: Path) -> None:
    """Grains of gold at a low dose: half of the answers are in doubt."""
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.crystal.reflections import reflections
    from napari_diffmap.crystal.simulate import Spots, render, spots
    from napari_diffmap.scan.open import save_scan

    random = np.random.default_rng(5)
    seeds = random.uniform((0, 0), GRID, (7, 2))
    y, x = np.indices(GRID)
    grain = ((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2).argmin(-1)
    q = random.normal(size=(7, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    found = spots(reflections(load_phases(["Au"])[0], 1.1), q, 200.0, 0.012)
    level = found.intensity.sqrt()
    level = 400 * level / level.sum(dim=1, keepdim=True)
    images = render(
        Spots(found.kx, found.ky, found.excitation, level), SHAPE, CENTER, PIXEL, 0.95, cutoff=2e-3
    ).numpy()
    ky, kx = np.indices(SHAPE)
    beam = 3000 * np.exp(-0.4 * ((ky - CENTER[0]) ** 2 + (kx - CENTER[1]) ** 2))
    counts = random.poisson(images[grain] + beam + 0.05).astype(np.uint16)
    axes = (
        Axis("y", GRID[0], STEP, 0.0, "nm"),
        Axis("x", GRID[1], STEP, 0.0, "nm"),
        Axis("ky", SHAPE[0], PIXEL, 0.0, "1/Å"),
        Axis("kx", SHAPE[1], PIXEL, 0.0, "1/Å"),
    )
    calibration = Calibration(CENTER, PIXEL, 200.0, "file", "file", "file")
    scan = Scan(da.from_array(counts), axes, "4D-STEM", "gold", calibration=calibration)
    save_scan(scan, path)


def done(window: Window) -> list[Any]:
    assert window.session.corrections is not None
    return window.session.corrections.done


def state_of(window: Window) -> dict[str, Any]:
    found = window.session.map
    assert found is not None
    return {**{name: getattr(found, name) for name in FIELDS}, EDITED: found.extra[EDITED]}


def correct(folder: Path) -> None:
    """Open, map, correct, save, go on correcting; then wait to be killed."""
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    window = Window(viewer)
    session, doubt = window.session, window.doubt
    window.wait()

    # ----------------------------------------------------------- open and map
    window.scan.open(folder / "gold.hspy")
    window.wait(lambda: "BF" in viewer.layers)
    window.map.add_phases(["Au"])
    window.map.form.set_values({"zone_step_deg": 4.0})
    window.wait(window.map.map_button.isEnabled)
    QTest.mouseClick(window.map.map_button, LEFT)
    window.wait(lambda: window.bench.run.state == "idle" and session.map is not None)
    window.wait(lambda: window.bench.maps.layer("ambiguity") is not None)
    show_dock(viewer, "Doubt")
    assert len(window.bench.doubting.queue.zones) >= 3

    # --------------------------------------------------- three doubtful zones
    doubt.scope.setCurrentText("zone")
    for number in range(3):
        before = window.bench.doubting.queue.left
        window.key(Qt.Key.Key_N)
        y, x = session.position
        second = session.map.rotations[y, x, 1].copy()
        window.key(Qt.Key.Key_2)
        assert len(done(window)) == number + 1
        np.testing.assert_array_equal(session.map.rotations[y, x, 0], second)
        window.wait(lambda before=before: window.bench.doubting.queue.left < before)
    assert "no zone left" in doubt.line.full_text() or window.bench.doubting.queue.left < 60

    # ------------------------------------------------------------------ paint
    QTest.mouseClick(doubt.paint, LEFT, PLAIN, QPoint(8, doubt.paint.height() // 2))
    assert window.bench.doubting.painting.on
    viewer.reset_view()
    doubt.brush.setCurrentIndex(0)  # erase
    viewer.layers["phases"].brush_size = 1
    window.drag((1, 1), (1, 4))
    painted = done(window)[-1]
    assert painted.kind == EditKind.INVALID
    assert {11, 12, 13, 14} <= set(painted.pixels.tolist())
    assert not session.map.indexed[1, 2]
    count = len(done(window))

    # ------------------------------------------------------------------- undo
    window.key(Qt.Key.Key_Z, CONTROL)
    assert len(done(window)) == count - 1
    assert session.map.indexed[1, 2]
    assert viewer.layers["phases"].data[1, 2] == 1
    window.drag((6, 6), (6, 7))
    QTest.mouseClick(doubt.paint, LEFT, PLAIN, QPoint(8, doubt.paint.height() // 2))
    assert not window.bench.doubting.painting.on

    # ------------------------------------------------------------------- save
    saved: list[Path] = []
    window.bench.keeper.saved.connect(saved.append)
    doubt.saving.save(folder / "gold.diffmap")
    window.wait(lambda: bool(saved))
    np.savez(folder / "saved.npz", **state_of(window))
    session.set_position(0, 9)
    doubt.scope.setCurrentText("pixel")
    window.key(Qt.Key.Key_U)
    window.wait(lambda: not window.bench.keeper.autosave.waits_for_answer)
    np.savez(folder / "last.npz", **state_of(window))
    (folder / "ready").write_text(json.dumps({"edits": len(done(window))}))
    while True:
        QApplication.processEvents()
        time.sleep(0.01)


def test_a_session_is_corrected_killed_opened_exported_and_repeated(
    viewer: Any, tmp_path: Path, state: Path
) -> None:
    save_gold(tmp_path / "gold.hspy")
    log = (tmp_path / "log.txt").open("w+")
    with subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "DIFFMAP_STATE": str(state)},
        stdout=log,
        stderr=subprocess.STDOUT,
    ) as program:
        end = time.monotonic() + 2 * WAIT
        while not (tmp_path / "ready").exists():
            time.sleep(0.05)
            if program.poll() is not None or time.monotonic() > end:
                program.kill()
                pytest.fail((tmp_path / "log.txt").read_text()[-4000:])
        program.send_signal(signal.SIGKILL)

    # ------------------------------------------------------------- open again
    window = Window(viewer)
    window.wait()
    window.scan.open(tmp_path / "gold.diffmap")
    window.wait(
        lambda: window.session.map is not None and window.doubt.unsaved.isVisibleTo(window.doubt)
    )
    show_dock(viewer, "Doubt")
    with np.load(tmp_path / "saved.npz") as saved:
        for name, values in state_of(window).items():
            np.testing.assert_array_equal(values, saved[name], err_msg=name)
    count = json.loads((tmp_path / "ready").read_text())["edits"]
    assert len(done(window)) == count - 1
    assert window.doubt.scope.currentText() == "pixel"

    # ------------------------------------------------- what had not been saved
    QTest.mouseClick(window.doubt.unsaved.restore, LEFT)
    window.wait(lambda: len(done(window)) == count)
    with np.load(tmp_path / "last.npz") as last:
        for name, values in state_of(window).items():
            np.testing.assert_array_equal(values, last[name], err_msg=name)
    assert window.bench.keeper.dirty
    window.key(Qt.Key.Key_Z, CONTROL)
    assert window.session.map.indexed[0, 9]

    # ----------------------------------------------------------------- export
    files: list[Any] = []
    window.bench.run.saved.connect(files.append)
    window.bench.run.save(tmp_path / "out")
    window.wait(lambda: bool(files))
    names = {path.name for path in files[0]}
    assert {"orientation.h5", "orientation.ang", "report.html", "edits.jsonl", "answer.h5"} <= names

    # --------------------------------------------------- the same, no window
    from napari_diffmap.cli import run
    from napari_diffmap.maps.files.export import load_orientation_h5

    recipe = tmp_path / "gold.diffmap" / "recipe.yaml"
    assert run(["run", str(recipe), "--out", str(tmp_path / "again")], no_window) == 0
    again = load_orientation_h5(tmp_path / "again" / "orientation.h5")
    with np.load(tmp_path / "saved.npz") as saved:
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(again, name), saved[name], err_msg=name)
        np.testing.assert_array_equal(again.extra[EDITED], saved[EDITED])


if __name__ == "__main__":
    correct(Path(sys.argv[1]))
