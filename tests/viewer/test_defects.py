"""Defects as they are looked at and corrected, without a window."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.defect_doubt import DefectDoubt
from napari_diffmap.maps.defect_map import DefectMap, defect_classes, make_defect_map
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_crop import crop_at, facts_of
from napari_diffmap.viewer.defects_keys import own_bindings, take_keys
from napari_diffmap.viewer.defects_layers import (
    CHOSEN_LAYER,
    FINDS_LAYER,
    TRACKS_LAYER,
    DefectLayers,
    track_rows,
)
from napari_diffmap.viewer.defects_mouse import take_defects
from napari_diffmap.viewer.desk import Desk, desk_of

FRAMES, SIDE, PIXEL = 4, 48, 0.03


def movie() -> Scan:
    data = np.random.default_rng(1).normal(100, 5, (FRAMES, SIDE, SIDE)).astype(np.float32)
    axes = (
        Axis("time", FRAMES, 2.0, 0.0, "s"),
        Axis("y", SIDE, PIXEL, 0.0, "nm"),
        Axis("x", SIDE, PIXEL, 0.0, "nm"),
    )
    return Scan(da.from_array(data, chunks=(1, SIDE, SIDE)), axes, "image series", "movie")


def found_map() -> DefectMap:
    """Two tracks through four frames, and a lone find in doubt in frame 1."""
    frame = np.array([0, 0, 1, 1, 1, 2, 2, 3, 3], dtype=np.int32)
    places = np.array(
        [(10, 10), (30, 30), (10, 12), (30, 30), (20, 40), (10, 14), (30, 30), (10, 16), (30, 30)],
        dtype=np.float64,
    )
    track = np.array([0, 1, 0, 1, -1, 0, 1, 0, 1])
    chance = np.tile([0.9, 0.08, 0.02], (9, 1))
    chance[track == 1] = [0.05, 0.9, 0.05]
    chance[4] = [0.4, 0.35, 0.25]
    doubt = np.zeros(9, dtype=np.uint8)
    doubt[4] = DefectDoubt.UNSURE
    doubt[6] = doubt[8] = DefectDoubt.CLASS
    reliability = np.full(9, 0.97)
    reliability[4] = 0.5
    return make_defect_map(
        frame, places, chance, reliability, defect_classes(("V_S", "Mo", "V_S2")),
        (FRAMES, SIDE, SIDE), doubt=doubt, extra={"track": track, "ratio": np.full(9, 0.5)},
        pixel_size_nm=PIXEL, frame_time_s=2.0, spare=8,
    )  # fmt: skip


class Lattice:
    """A square of sites eight pixels apart."""

    spacing = 8.0

    def sites(self, margin: float = 0.0) -> Any:
        grid = np.stack(np.mgrid[4:SIDE:8, 4:SIDE:8], axis=-1).reshape(-1, 2).astype(float)
        return SimpleNamespace(places=grid, sublattice=np.zeros(len(grid), dtype=np.int8))

    def nearest(self, places: NDArray[Any]) -> Any:
        sites = self.sites().places
        away = np.linalg.norm(sites[None] - places[:, None], axis=2)
        return sites[away.argmin(1)], np.zeros(len(places), np.int8), away.min(1)


def run_of(found: DefectMap) -> Any:
    return SimpleNamespace(
        map=found, lattices=dict.fromkeys(range(FRAMES), Lattice()), classes=None, tracks=None
    )


@pytest.fixture
def desk(viewer: ViewerModel) -> Desk:
    desk = desk_of(viewer)
    desk.show_scan(movie())
    return desk


@pytest.fixture
def defects(desk: Desk) -> Defects:
    return Defects(desk.session)


@pytest.fixture
def layers(defects: Defects, viewer: ViewerModel) -> DefectLayers:
    layers = DefectLayers(defects, viewer)
    take_defects(defects, layers, viewer)
    defects.set_run(run_of(found_map()))
    return layers


def classes_of(defects: Defects) -> list[int]:
    assert defects.map is not None
    return defects.map.best_phase_ids[0, defects.map.filled].tolist()


# ------------------------------------------------------------- the movie
def test_the_slider_and_the_session_agree_on_the_frame(desk: Desk, viewer: ViewerModel) -> None:
    image = viewer.layers["movie"]
    assert image.data.shape == (FRAMES, SIDE, SIDE)
    assert [str(unit) for unit in image.units] == ["second", "nanometer", "nanometer"]
    assert viewer.dims.current_step[0] == desk.session.plane == 0
    viewer.dims.set_current_step(0, 3)
    assert desk.session.plane == 3
    desk.session.set_plane(1)
    assert viewer.dims.current_step[0] == 1
    low, high = image.contrast_limits
    assert 80 < low < 90
    assert 110 < high < 120


def test_an_image_after_a_movie_and_back(desk: Desk, viewer: ViewerModel) -> None:
    scan = movie()
    flat = Scan(scan.data[0], scan.axes[1:], "image", "flat")
    desk.show_scan(flat)
    assert viewer.layers["flat"].data.shape == (SIDE, SIDE)
    assert viewer.dims.ndim == 2
    desk.show_scan(scan)
    assert viewer.dims.ndim == 3
    assert desk.session.plane == 0


# ------------------------------------------------------------------ layers
def test_marks_tell_class_and_doubt_without_colour(layers: DefectLayers) -> None:
    marks = layers.layer(FINDS_LAYER)
    assert marks is not None
    assert marks.data.shape == (9, 3)
    found = layers.defects.map
    assert found is not None
    shapes = [str(symbol) for symbol in marks.symbol]
    ids = found.best_phase_ids[0, layers.slots]
    assert len({s for s, k in zip(shapes, ids, strict=True) if k == 0}) == 1
    assert {s for s, k in zip(shapes, ids, strict=True) if k == 0}.isdisjoint(
        s for s, k in zip(shapes, ids, strict=True) if k == 1
    )
    hollow = marks.face_color[:, 3] == 0
    np.testing.assert_array_equal(hollow, found.ambiguous[0, layers.slots])
    assert hollow.sum() == 3


def test_tracks_are_rows_of_track_and_frame() -> None:
    rows, share = track_rows(found_map())
    assert rows[:, 0].tolist() == [0] * 4 + [1] * 4
    assert rows[:4, 1].tolist() == [0, 1, 2, 3]
    assert rows[:4, 3].tolist() == [10, 12, 14, 16]
    assert len(set(share[:4])) == 1


def test_another_scan_begins_with_nothing(layers: DefectLayers, desk: Desk) -> None:
    assert layers.layer(TRACKS_LAYER) is not None
    desk.show_scan(movie())
    assert layers.defects.map is None
    assert not layers.named()


def test_a_single_image_has_marks_of_two_axes(
    defects: Defects, desk: Desk, viewer: ViewerModel
) -> None:
    scan = movie()
    desk.show_scan(Scan(scan.data[0], scan.axes[1:], "image", "flat"))
    layers = DefectLayers(defects, viewer)
    found = make_defect_map(
        np.zeros(1, int), np.array([[5.0, 7.0]]), np.ones((1, 1)), np.ones(1),
        defect_classes(("V_S",)), (1, SIDE, SIDE),
    )  # fmt: skip
    defects.set_run(run_of(found))
    marks = layers.layer(FINDS_LAYER)
    assert marks is not None
    assert marks.data.tolist() == [[5, 7]]
    assert layers.layer(TRACKS_LAYER) is None


# --------------------------------------------------------------- selecting
def test_a_click_selects_and_a_drag_of_the_selected_moves(
    layers: DefectLayers, viewer: ViewerModel, mouse: Any
) -> None:
    defects = layers.defects
    hand = mouse(viewer)
    hand.click((10 * PIXEL, 10 * PIXEL))
    assert defects.selection.tolist() == [0]
    ring = layers.layer(CHOSEN_LAYER)
    assert ring is not None
    assert ring.data.tolist() == [[0, 10, 10]]
    # A drag that begins on it moves it by as much as the mouse moved.
    for _ in hand.drag((10 * PIXEL, 11 * PIXEL), (14 * PIXEL, 15 * PIXEL)):
        pass
    assert defects.map is not None
    assert np.allclose(defects.map.best_places[0, 0], (0, 14, 14), atol=1e-3)
    assert defects.corrections is not None
    assert defects.corrections.done[-1].kind == EditKind.MOVED
    defects.undo()
    assert defects.map.best_places[0, 0].tolist() == [0, 10, 10]
    assert np.allclose(layers.layer(FINDS_LAYER).data[0], (0, 10, 10))  # type: ignore[union-attr]
    hand.click((40 * PIXEL, 5 * PIXEL))
    assert not len(defects.selection)


def test_a_class_is_selected_then_nothing_then_one(layers: DefectLayers) -> None:
    defects = layers.defects
    defects.select_class(1)
    defects.session.set_plane(3)
    defects.select([])
    defects.select([0], go=True)
    ring = layers.layer(CHOSEN_LAYER)
    assert ring is not None
    assert ring.data.tolist() == [[0, 10, 10]]
    assert ring.visible


def test_only_finds_of_the_frame_are_hit(layers: DefectLayers) -> None:
    defects = layers.defects
    assert defects.at(10, 16, 2) is None
    defects.session.set_plane(3)
    assert defects.at(10, 16.5, 2) == 7


def test_a_track_is_selected_from_where_one_looks(layers: DefectLayers) -> None:
    defects = layers.defects
    defects.session.set_plane(2)
    defects.select_track(0)
    assert defects.selection[0] == 5
    assert sorted(defects.selection.tolist()) == [0, 2, 5, 7]
    assert defects.session.plane == 2
    assert defects.session.position == (10, 14)


# --------------------------------------------------------------- correcting
def test_corrections_act_on_what_is_selected_and_are_undone(layers: DefectLayers) -> None:
    defects = layers.defects
    before = classes_of(defects)
    with pytest.raises(BadInputError, match="click a defect"):
        defects.discard()
    defects.select([1], go=True)
    defects.set_class(2)
    assert defects.map is not None

    assert defects.map.best_phase_ids[0, 1] == 2
    defects.reach = "track"
    defects.discard()
    assert not defects.map.indexed[0, [1, 3, 6, 8]].any()
    assert not len(defects.selection)
    assert defects.stale
    marks = layers.layer(FINDS_LAYER)
    assert marks is not None
    assert marks.shown.sum() == 5
    defects.undo()
    defects.undo()
    assert classes_of(defects) == before
    assert marks.shown.sum() == 9
    assert layers.layer(FINDS_LAYER) is marks, "the layer is changed in place"
    defects.redo()
    assert defects.map.best_phase_ids[0, 1] == 2
    number = defects.corrections.done[0].number  # type: ignore[union-attr]
    defects.switch(number, False)
    assert classes_of(defects) == before


def test_what_is_added_near_a_site_sits_on_it(layers: DefectLayers) -> None:
    defects = layers.defects
    defects.session.set_plane(2)
    defects.select_class(2)
    defects.add((21.0, 12.5))
    found = defects.map
    assert found is not None
    slot = int(defects.selection[0])
    assert found.best_places[0, slot].tolist() == [2, 20, 12]
    assert found.best_phase_ids[0, slot] == 2
    defects.add((24.0, 16.0))
    assert found.best_places[0, int(defects.selection[0])].tolist() == [2, 24, 16]


def test_classes_are_renamed_merged_and_added(layers: DefectLayers) -> None:
    defects = layers.defects
    defects.rename(0, "sulphur vacancy")
    assert defects.map is not None
    names = [defects.map.phases[k].name for k in defects.shown_classes()]
    assert "sulphur vacancy" in names
    assert "V_S" not in names
    number = defects.shown_classes()[names.index("sulphur vacancy")]
    defects.merge(1, number)
    assert set(classes_of(defects)) == {number}
    fresh = defects.new_class("Cr on W")
    assert fresh in defects.shown_classes()
    defects.undo()
    defects.undo()
    assert sorted(set(classes_of(defects))) == [0, 1]


# -------------------------------------------------------------------- queue
def test_the_queue_goes_by_weight_and_shrinks(layers: DefectLayers) -> None:
    defects, queue = layers.defects, layers.defects.queue
    assert [item.slots.tolist() for item in queue.items] == [[4], [6, 8]]
    assert queue.left == 3
    queue.next()
    assert defects.selection.tolist() == [4]
    assert defects.session.plane == 1
    defects.accept(1)
    assert queue.left == 2
    assert "1 settled" in queue.line()
    queue.next()
    assert defects.selection[0] == 6
    assert defects.session.plane == 2
    queue.back()
    assert defects.selection.tolist() == [4]
    queue.filter(int(DefectDoubt.UNSURE))
    assert not queue.items


def test_keys_do_what_they_do_to_other_maps(layers: DefectLayers) -> None:
    defects = layers.defects
    press, own = take_keys(defects), own_bindings(defects)
    assert press("N")
    assert defects.selection.tolist() == [4]
    assert press("2")
    assert defects.map is not None
    assert defects.map.best_phase_ids[0, 4] == 1
    own["C"](None)
    assert defects.map.best_phase_ids[0, 4] == 0
    own["Alt-2"](None)
    assert defects.map.best_phase_ids[0, 4] == 1
    press("X")
    assert not defects.map.indexed[0, 4]
    press("Control-Z")
    assert defects.map.indexed[0, 4]
    defects.session.set_position(40, 40)
    own["A"](None)
    assert len(defects.map.filled) == 10
    defects.session.set_scan(None)
    assert not press("X"), "other maps have their keys back"


# --------------------------------------------------------------------- crop
def test_the_crop_holds_pixels_sites_and_finds_about_the_position(layers: DefectLayers) -> None:
    defects = layers.defects
    image = np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    defects.select([0], go=True)
    crop = crop_at(defects, image)
    y0, x0 = crop.first
    assert crop.pixels[10 - y0, 10 - x0] == image[10, 10]
    assert np.isnan(crop.pixels[0, 0]), "beyond the border"
    first = next(mark for mark in crop.marks if mark.slot == 0)
    assert (first.y + y0, first.x + x0) == (10, 10)
    assert first.selected
    assert np.isclose(crop.sites + crop.first, (12, 12)).all(axis=1).any()
    told = dict(facts_of(defects))
    assert told["answer 1"].startswith("V_S")
    assert "0.300" in told["place"]
    assert told["track"] == "0, in 4 of 4 frames"
