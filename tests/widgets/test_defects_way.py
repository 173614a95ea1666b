"""The whole way of a movie by mouse and keys: open, find, sort, correct, follow, save, reopen."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from driver import ALT, CONTROL, LEFT, Window
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.methods.defects.simulated_movie import SimulatedMovie, movie
from napari_diffmap.scan.open import save_scan
from napari_diffmap.widgets.samples import movie_scan
from napari_diffmap.widgets.workspace import show_dock

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def made() -> SimulatedMovie:
    return movie(2, frames=4, size=256, vacancies=6, molybdenum=4, complexes=2, drift=0.1)


def kinds(window: Window) -> list[EditKind]:
    corrections = window.bench.defects.corrections
    assert corrections is not None
    return [edit.kind for edit in corrections.done]


def run(window: Window, button: Any) -> None:
    """Press a button and wait for what it finds."""
    bench, before = window.bench, window.bench.defects.run
    QTest.mouseClick(button, LEFT)
    window.wait(lambda: bench.defects_run.state == "idle" and bench.defects.run is not before)


def test_a_movie_is_searched_sorted_corrected_followed_and_saved(
    viewer: Any, made: SimulatedMovie, tmp_path: Path
) -> None:
    save_scan(movie_scan(made), tmp_path / "movie.hspy")
    window = Window(viewer)
    session, defects, dock = window.session, window.bench.defects, window.defects
    window.wait()
    show_dock(viewer, "Defects")
    assert "Open an image" in dock.line.full_text()
    assert not dock.start.isEnabled()

    # ------------------------------------------------------------------- open
    window.scan.open(tmp_path / "movie.hspy")
    window.wait(lambda: session.pictured and len(viewer.layers) > 0)
    assert viewer.layers[0].data.shape == made.frames.shape
    assert window.pattern.pages.currentWidget() is window.pattern.crop
    assert dock.find.pixel.value() == pytest.approx(made.pixel_size_nm)
    viewer.reset_view()

    # ------------------------------------------------------- find, sort, follow
    dock.find.model.choose("sites")
    dock.find.form.set_values({"material": "WS2"})
    seen: list[int] = []
    defects.found.connect(lambda finds: seen.append(len(finds)))
    run(window, dock.start)
    assert seen, "finds are shown while it is searched"
    found = defects.map
    assert found is not None
    true = sum(made.frame == 0)
    assert len(found.in_frame(0)) >= 0.7 * true
    assert len(defects.run.tracks) >= 5
    window.wait(lambda: len(window.bench.defects_gallery.crops) > 0)
    assert len(dock.sort.gallery.cards) >= 2
    assert dock.follow.tracks.table.rowCount() == len(defects.run.tracks)

    # ------------------------------------------- a click selects, keys correct
    slot = inside(found, session)
    y, x = (float(v) for v in found.best_places[0, slot, 1:])
    window.drag((y, x))
    assert defects.selection.tolist() == [slot]
    assert window.pattern.crop.canvas.crop.marks, "the magnified view shows it"
    old = int(found.best_phase_ids[0, slot])
    window.key(Qt.Key.Key_C)
    assert found.best_phase_ids[0, slot] != old
    window.key(Qt.Key.Key_1, ALT)
    window.key(Qt.Key.Key_Z, CONTROL)
    window.key(Qt.Key.Key_Z, CONTROL)
    assert found.best_phase_ids[0, slot] == old
    window.key(Qt.Key.Key_X)
    assert not found.indexed[0, slot]

    # ------------------------------------------------------ add, move, the queue
    empty = (80.0, 80.0)
    while defects.at(*empty, 8) is not None:
        empty = (empty[0] + 7, empty[1])
    count = len(found.filled)
    window.drag(empty)
    window.key(Qt.Key.Key_A)
    assert len(found.filled) == count + 1
    fresh = int(defects.selection[0])
    begin = tuple(float(v) for v in found.best_places[0, fresh, 1:])
    # Far enough to be a drag on any screen: some ten of its pixels, of which 4 hold still.
    window.drag(begin, (begin[0] + 3, begin[1] + 2), (begin[0] + 8, begin[1] + 6))
    assert kinds(window)[-1] == EditKind.MOVED
    assert np.hypot(*(found.best_places[0, fresh, 1:] - begin)) > 1
    if defects.queue.items:
        left = defects.queue.left
        window.key(Qt.Key.Key_N)
        window.key(Qt.Key.Key_1)
        assert defects.queue.left < left

    # ---------------------------------------------------------------- follow, save
    dock.tabs.setCurrentWidget(dock.follow)
    assert defects.stale
    run(window, dock.follow.again)
    assert not defects.stale
    saved: list[Any] = []
    window.bench.defects_run.saved.connect(saved.append)
    dock.save(tmp_path / "out")
    window.wait(lambda: bool(saved))
    out = tmp_path / "out"
    for name in ("recipe.yaml", "defects.csv", "tracks.csv", "diffusion.json", "defects.h5"):
        assert (out / name).is_file(), name
    with (out / "defects.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == len(found.filled)
    assert {row["edited"] for row in rows} >= {"moved"}

    # ---------------------------------- what is corrected now is kept there, too
    show_dock(viewer, "Defects")
    dock.tabs.setCurrentWidget(dock.doubt)
    defects.select(found.in_frame(1)[:1], go=True)
    QTest.mouseClick(dock.doubt.invalid, LEFT)
    edits = len(kinds(window))
    assert (out / "edits.jsonl").read_text().count('"step": "edit"') == edits

    # ------------------------------------------------------------------ reopen
    before = found.best_phase_ids.copy()
    window.scan.open(tmp_path / "movie.hspy")
    window.wait(lambda: defects.run is None)
    dock.open(out)
    window.wait(lambda: window.bench.defects_run.state == "idle" and defects.run is not None)
    again = defects.map
    assert again is not None
    np.testing.assert_array_equal(again.best_phase_ids, before)
    assert len(kinds(window)) == edits


def inside(found: Any, session: Any) -> int:
    """A find of the first frame, away from others and from the border."""
    session.set_plane(0)
    slots = found.in_frame(0)
    places = found.best_places[0, slots, 1:]
    away = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e3 * np.eye(len(slots))
    border = np.minimum(places, 255 - places).min(axis=1)
    return int(slots[int(np.argmax(np.minimum(away.min(axis=1), border)))])
