from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_diffmap.scan.detectors import Annulus, Detector, Disk, Polygon, Rectangle
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.detector_layer import COLORS, next_color
from napari_diffmap.viewer.views import detector_grid


def world(desk: Desk, y: float, x: float) -> tuple[float, float]:
    assert desk.session.patterns is not None
    ky, kx = detector_grid(desk.session.patterns)
    return ky.offset + y * ky.scale, kx.offset + x * kx.scale


@pytest.fixture
def bright(desk: Desk) -> Desk:
    """One disk of radius 6 at (18, 22)."""
    desk.session.remove_detector(desk.session.detectors[0].key)
    desk.session.add_detectors([Detector("BF", Disk(18, 22, 6))])
    # 10 canvas pixels a detector pixel, so that edges are 0.7 pixels wide
    desk.pattern.model.scene.camera.zoom = 10 / 0.025
    return desk


def shape_of(desk: Desk) -> object:
    return desk.session.detectors[0].detector.shape


def test_drawn_where_it_is(bright: Desk) -> None:
    layer = bright.detectors.layer
    assert layer is not None
    assert np.allclose(np.mean(layer.data[0], axis=0), (18, 22))
    assert np.ptp(layer.data[0], axis=0) == pytest.approx((12, 12))
    assert list(layer.features["name"]) == ["BF"]


def test_dragging_the_inside_moves_disk_and_image(
    bright: Desk, mouse: type, counts: NDArray[np.uint16]
) -> None:
    images = []
    for _ in mouse(bright.pattern.model).drag(
        world(bright, 18, 22), world(bright, 15, 25), world(bright, 10, 30)
    ):
        images.append(next(iter(bright.virtual.images.values())).copy())
    assert shape_of(bright) == Disk(
        pytest.approx(10),  # type: ignore[arg-type]
        pytest.approx(30),  # type: ignore[arg-type]
        6,
    )
    assert not np.array_equal(images[0], images[1])
    y, x = np.mgrid[:40, :44]
    expected = counts[..., np.hypot(y - 10, x - 30) <= 6].sum(axis=-1)
    assert np.array_equal(images[-1], expected)


def test_dragging_the_edge_resizes(bright: Desk, mouse: type) -> None:
    for _ in mouse(bright.pattern.model).drag(world(bright, 18, 28), world(bright, 18, 32)):
        pass
    shape = shape_of(bright)
    assert isinstance(shape, Annulus)
    assert (shape.cy, shape.cx) == (18, 22)
    assert shape.r1 == pytest.approx(10)


def test_panning_is_held_only_while_dragging(bright: Desk, mouse: type) -> None:
    camera = bright.pattern.model.scene.camera
    held = [
        camera.mouse_pan
        for _ in mouse(bright.pattern.model).drag(world(bright, 18, 22), world(bright, 15, 25))
    ]
    assert held == [False, False]
    assert camera.mouse_pan


def test_the_background_still_pans(bright: Desk, mouse: type) -> None:
    before = shape_of(bright)
    for _ in mouse(bright.pattern.model).drag(world(bright, 35, 40), world(bright, 30, 35)):
        assert bright.pattern.model.scene.camera.mouse_pan
    assert shape_of(bright) == before


def test_editing_the_napari_layer_is_followed(bright: Desk) -> None:
    layer = bright.detectors.layer
    assert layer is not None
    layer.data = [layer.data[0] + (2, -3)]
    shape = shape_of(bright)
    assert isinstance(shape, Annulus)
    assert (shape.cy, shape.cx, shape.r1) == pytest.approx((20, 19, 6))


def test_deleting_the_napari_shape_removes_the_detector(bright: Desk) -> None:
    layer = bright.detectors.layer
    assert layer is not None
    layer.selected_data = {0}
    layer.remove_selected()
    assert not bright.session.detectors


def test_several_kinds_at_once(bright: Desk) -> None:
    for tool in ("annulus", "rectangle", "point"):
        bright.add_shape(tool)
    layer = bright.detectors.layer
    assert layer is not None
    assert list(layer.shape_type) == ["ellipse", "ellipse", "ellipse", "rectangle", "path"]
    assert list(layer.features["name"]) == ["BF", "annulus", "", "rectangle", "point"]
    assert len({item.detector.color for item in bright.session.detectors}) == 4
    bright.session.remove_detector(bright.session.detectors[1].key)
    assert list(layer.shape_type) == ["ellipse", "rectangle", "path"]


def test_a_polygon_is_drawn_by_hand(bright: Desk) -> None:
    bright.add_shape("polygon")
    layer = bright.detectors.layer
    assert layer is not None
    assert layer.mode == "add_polygon"
    corners = np.array([[2.0, 2], [2, 9], [8, 9], [8, 2]])
    layer.add(corners, shape_type="polygon")
    assert layer.mode == "pan_zoom"
    drawn = bright.session.detectors[-1].detector
    assert isinstance(drawn.shape, Polygon)
    assert np.allclose(drawn.shape.vertices, corners)
    assert len(layer.data) == 2


def test_escape_drops_an_unfinished_polygon(bright: Desk) -> None:
    bright.add_shape("polygon")
    bright.detectors.stop_drawing()
    layer = bright.detectors.layer
    assert layer is not None
    assert layer.mode == "pan_zoom"
    assert len(bright.session.detectors) == 1
    assert len(layer.data) == 1


def test_the_hint_tells_what_the_mouse_does(bright: Desk, mouse: type) -> None:
    hints: list[str] = []
    bright.detectors.hint.connect(hints.append)
    for _ in mouse(bright.pattern.model).drag(world(bright, 18, 22), world(bright, 15, 25)):
        pass
    assert "disk r 6.0 px at 15.0, 25.0" in hints[-1]


def test_keys_nudge_the_selected_one(bright: Desk) -> None:
    bright.detectors.nudge(1, 0)
    bright.detectors.nudge(0, -1)
    assert shape_of(bright) == Disk(19, 21, 6)


def test_presets_fit_the_found_beam(desk: Desk) -> None:
    presets = desk.presets()
    center = desk.session.calibration.center
    assert center is not None
    assert center == pytest.approx((18.4, 21.7), abs=0.2)
    assert list(presets) == ["BF", "ADF", "HAADF"]
    for detector in presets.values():
        assert detector.shape.center == pytest.approx(center)


def test_colors_do_not_repeat_before_they_must(desk: Desk) -> None:
    seen = []
    for i in range(len(COLORS)):
        color = next_color(desk.session)
        seen.append(color)
        desk.session.add_detectors([Detector(f"d{i}", Rectangle(0, 0, 3, 3), color=color)])
    first = desk.session.detectors[0].detector.color
    assert len({*seen, first}) >= len(COLORS) - 1


def test_recolouring_reaches_the_shape(bright: Desk) -> None:
    item = bright.session.detectors[0]
    bright.session.change_detector(item.key, replace(item.detector, color="#ff0000"))
    layer = bright.detectors.layer
    assert layer is not None
    assert np.allclose(layer.edge_color[0], (1, 0, 0, 1))


def test_detectors_stay_when_the_angle_changes(desk: Desk) -> None:
    import dask.array as da

    from napari_diffmap.scan.axes import Axis
    from napari_diffmap.scan.scan import Scan

    rng = np.random.default_rng(0)
    data = rng.poisson(5, (3, 4, 5, 20, 20)).astype(np.uint16)
    data[..., 9:12, 9:12] += 200
    data[2] *= 3
    names = ("angle", "y", "x", "qy", "qx")
    axes = tuple(Axis(name, n) for name, n in zip(names, data.shape, strict=True))
    desk.show_scan(Scan(da.from_array(data), axes, "nanodiffraction", "rocking"))
    before = next(iter(desk.virtual.images.values())).copy()
    desk.session.set_plane(2)
    after = next(iter(desk.virtual.images.values()))
    assert after.mean() > 2 * before.mean()
    names_shown = [layer.name for layer in desk.pattern.model.layers]
    assert names_shown.count("detectors") == 1
    layer = desk.detectors.layer
    assert layer is not None
    assert len(layer.data) == 1
    assert np.array_equal(desk.pattern.counts(), data[2, 2, 2])


def test_a_detector_too_small_for_rings_is_summed(desk: Desk) -> None:
    import dask.array as da

    from napari_diffmap.scan.axes import Axis
    from napari_diffmap.scan.scan import Scan

    data = np.random.default_rng(0).poisson(9, (4, 5, 3, 3)).astype(np.uint16)
    axes = tuple(Axis(n, size) for n, size in zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    lines: list[str] = []
    desk.session.message.connect(lines.append)
    desk.show_scan(Scan(da.from_array(data), axes, "4D-STEM", "tiny"))
    assert np.array_equal(next(iter(desk.virtual.images.values())), data.sum(axis=(2, 3)))
    desk.add_preset("HAADF")
    assert "no room for HAADF" in lines[-1]
