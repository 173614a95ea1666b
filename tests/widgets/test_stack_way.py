"""The whole way of an STXM stack by mouse and keys: open, I0, map, doubt, correct, export."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from tifffile import imread

from driver import CONTROL, LEFT, PLAIN, Window, no_window
from napari_diffmap.maps import SpectralMap
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.methods.spectra.simulated import Truth, simulated_references, simulated_scan
from napari_diffmap.scan.open import save_scan
from napari_diffmap.widgets.workspace import show_dock

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(900)]

SIDE = 64


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Truth]:
    """A stack of 12 energies with its references as text."""
    scan, truth = simulated_scan(12, 2000, (SIDE, SIDE), seed=3)
    save_scan(scan, tmp_path / "stack.hspy")
    for reference in simulated_references():
        name = reference.name.replace("<", "below")
        table = np.stack((reference.energies, reference.values), axis=1)
        np.savetxt(tmp_path / f"{name}.txt", table)
    return tmp_path / "stack.hspy", truth


def test_a_stack_is_opened_mapped_doubted_corrected_and_exported(
    viewer: Any, files: tuple[Path, Truth], tmp_path: Path
) -> None:
    path, truth = files
    window = Window(viewer)
    session, bench = window.session, window.bench
    window.wait()

    # ------------------------------------------------------------------- open
    window.scan.open(path)
    window.wait(lambda: session.stack is not None and len(viewer.layers) > 0)
    viewer.reset_view()

    # ---------------------------------------------- I0 from a region by mouse
    bench.desk.sample.start_region("rectangle")
    empty = np.argwhere(truth.labels[:6, :6] < 0)
    assert len(empty) == 36, "the corner is beside the particles"
    window.drag((0, 0), (2, 2), (5, 5))
    window.wait(lambda: session.region is not None and bool(session.region.any()))
    show_dock(viewer, "Map")
    form = window.map.phase_maps
    form.incident._on_choice(1)
    window.wait(lambda: bench.spectral.density is not None)
    assert bench.spectral.incidence.incident.mask is not None
    bench.desk.sample.clear_region()

    # -------------------------------------------------------------------- map
    names = ["Na3.txt", "Na2.4.txt", "Na2.txt", "Na1.txt", "Nabelow1.txt"]
    form.references.read([str(tmp_path / name) for name in names])
    window.wait(form.map_button.isEnabled)
    QTest.mouseClick(form.map_button, LEFT)
    window.wait(lambda: bench.spectral_run.state == "idle" and session.map is not None)
    found = session.map
    assert isinstance(found, SpectralMap)
    pure = truth.pure
    assert (found.best_phase_ids[pure] == truth.labels[pure]).mean() > 0.98
    assert form.table.rowCount() == 5
    window.wait(lambda: "phases" in viewer.layers)

    # ------------------------------------------------------------------ doubt
    show_dock(viewer, "Doubt")
    queue = bench.doubting.queue
    window.wait(lambda: len(queue.zones) > 2)
    window.doubt.scope.setCurrentText("zone")
    before = queue.left
    window.key(Qt.Key.Key_N)
    y, x = session.position
    assert found.ambiguous[y, x]
    second = int(found.phase_ids[y, x, 1])
    window.key(Qt.Key.Key_2)
    window.wait(lambda: queue.left < before)
    assert session.corrections is not None
    assert [edit.kind for edit in session.corrections.done] == [EditKind.ACCEPTED]
    assert session.map.best_phase_ids[y, x] == second

    # --------------------------------------------------------- paint and undo
    QTest.mouseClick(window.doubt.paint, LEFT, PLAIN, QPoint(8, window.doubt.paint.height() // 2))
    viewer.reset_view()
    window.doubt.brush.setCurrentIndex(0)  # erase
    viewer.layers["phases"].brush_size = 1
    inside = np.argwhere(pure & np.roll(pure, -3, axis=1))[0]
    row, column = (int(n) for n in inside)
    window.drag((row, column), (row, column + 3))
    assert session.corrections.done[-1].kind == EditKind.INVALID
    assert not session.map.indexed[row, column + 1]
    window.key(Qt.Key.Key_Z, CONTROL)
    assert session.map.indexed[row, column + 1]
    QTest.mouseClick(window.doubt.paint, LEFT, PLAIN, QPoint(8, window.doubt.paint.height() // 2))

    # ----------------------------------------------------------------- export
    saved: list[Any] = []
    bench.spectral_run.saved.connect(saved.append)
    form.save(tmp_path / "out")
    window.wait(lambda: bool(saved))
    phases = imread(tmp_path / "out" / "phases.tif")
    np.testing.assert_array_equal(phases, session.map.best_phase_ids + 1)
    assert imread(tmp_path / "out" / "fractions.tif").shape == (5, SIDE, SIDE)
    assert set(np.unique(imread(tmp_path / "out" / "doubt.tif"))) <= {0, 1, 2, 3}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["method"] == "posterior"
    with (tmp_path / "out" / "spectra.csv").open() as table:
        assert len(list(csv.reader(table))) == 13
    assert summary["corrected"]["edits"] == len(session.corrections.done)
    # I0 was drawn by hand: no recipe can repeat that.
    assert not (tmp_path / "out" / "recipe.yaml").exists()

    # ----------------------------------- I0 by itself: the recipe repeats it
    form.incident._on_choice(0)
    window.wait(form.map_button.isEnabled)
    QTest.mouseClick(form.map_button, LEFT)
    window.wait(lambda: bench.spectral_run.state == "idle" and session.map is not found)
    window.wait(lambda: len(queue.zones) > 2)
    window.key(Qt.Key.Key_N)
    window.key(Qt.Key.Key_U)
    assert len(session.corrections.done) == 1
    form.save(tmp_path / "whole")
    window.wait(lambda: len(saved) == 2)
    from napari_diffmap.cli import run

    recipe = tmp_path / "whole" / "recipe.yaml"
    assert run(["run", str(recipe), "--out", str(tmp_path / "again")], no_window) == 0
    for name in ("phases.tif", "fractions.tif", "doubt.tif"):
        first, again = (imread(tmp_path / where / name) for where in ("whole", "again"))
        np.testing.assert_array_equal(first, again, err_msg=name)
