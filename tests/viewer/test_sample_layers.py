from __future__ import annotations

from collections.abc import Callable

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.detectors import Detector, Disk
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.region import region_mask
from napari_diffmap.viewer.sample_layers import METADATA_KEY


def image_of(desk: Desk) -> NDArray[np.float32]:
    return np.asarray(next(iter(desk.sample.images.values())).data)


def test_a_scan_opens_as_its_bright_field_image(desk: Desk, viewer: ViewerModel) -> None:
    assert [layer.name for layer in viewer.layers] == ["BF", "position"]
    image = viewer.layers["BF"]
    assert image.data.shape == (12, 10)
    assert np.array_equal(image.data, next(iter(desk.virtual.images.values())))
    assert tuple(image.scale) == (5.0, 4.0)
    assert [str(u) for u in image.units] == ["nanometer"] * 2
    assert viewer.canvas.overlays.scale_bar.visible
    assert viewer.layers.selection.active == image


def test_no_pattern_axes_in_the_main_viewer(desk: Desk, viewer: ViewerModel) -> None:
    assert viewer.dims.ndim == 2
    assert all(layer.ndim == 2 for layer in viewer.layers)


def test_the_cursor_follows(desk: Desk) -> None:
    desk.session.set_position(3, 8)
    assert desk.sample.cursor is not None
    assert np.array_equal(desk.sample.cursor.data, [[3, 8]])


def test_images_are_updated_in_place(desk: Desk, viewer: ViewerModel) -> None:
    before = list(viewer.layers)
    old = image_of(desk).copy()
    desk.detectors.nudge(4, 4)
    assert list(viewer.layers) == before
    assert not np.array_equal(old, image_of(desk))


def test_contrast_that_the_user_set_is_kept(desk: Desk, viewer: ViewerModel) -> None:
    layer = viewer.layers["BF"]
    automatic = tuple(layer.contrast_limits)
    desk.detectors.nudge(3, 3)
    assert tuple(layer.contrast_limits) != automatic
    low, high = layer.contrast_limits
    chosen = (low + 0.2 * (high - low), low + 0.5 * (high - low))
    layer.contrast_limits = chosen
    desk.detectors.nudge(1, 1)
    assert tuple(layer.contrast_limits) == pytest.approx(chosen)


def test_a_deleted_cursor_comes_back_with_the_next_position(
    desk: Desk, viewer: ViewerModel
) -> None:
    viewer.layers.remove("position")
    assert desk.sample.cursor is None
    desk.session.set_position(2, 5)
    assert np.array_equal(viewer.layers["position"].data, [[2, 5]])
    assert viewer.layers.selection.active.name == "BF"


def test_deleting_a_layer_closes_the_eye_and_opening_it_brings_it_back(
    desk: Desk, viewer: ViewerModel
) -> None:
    key = desk.session.detectors[0].key
    viewer.layers.remove("BF")
    assert not desk.session.detectors[0].visible
    desk.session.show_detector(key, True)
    assert "BF" in viewer.layers


def test_removing_a_detector_removes_its_image_only(desk: Desk, viewer: ViewerModel) -> None:
    viewer.add_points(np.zeros((1, 2)), name="mine")
    desk.add_preset("ADF")
    desk.session.remove_detector(desk.session.detectors[0].key)
    assert {layer.name for layer in viewer.layers} == {"ADF", "position", "mine"}


def test_the_detector_in_hand_is_on_top(desk: Desk, viewer: ViewerModel) -> None:
    desk.add_preset("ADF")
    first = desk.session.detectors[0].key
    names = [layer.name for layer in viewer.layers]
    assert names.index("ADF") > names.index("BF")
    desk.session.select_detector(first)
    names = [layer.name for layer in viewer.layers]
    assert names.index("BF") > names.index("ADF")
    assert names[-1] == "position"


def test_in_colours_images_add_up(desk: Desk, viewer: ViewerModel) -> None:
    desk.add_preset("ADF")
    assert {layer.colormap.name for layer in desk.sample.images.values()} == {"gray"}
    desk.session.show_in_colors(True)
    maps = [layer.colormap for layer in desk.sample.images.values()]
    assert len({m.name for m in maps}) == 2
    assert viewer.layers["ADF"].blending == "additive"
    desk.session.show_in_colors(False)
    assert viewer.layers["ADF"].blending == "translucent_no_depth"


def test_another_scan_leaves_foreign_layers(
    desk: Desk, viewer: ViewerModel, make_scan: Callable[..., Scan]
) -> None:
    viewer.add_points(np.zeros((1, 2)), name="mine")
    desk.show_scan(make_scan())
    assert {layer.name for layer in viewer.layers} == {"mine", "BF", "position"}


def test_a_readers_layer_is_taken_over(viewer: ViewerModel, desk: Desk, scan: Scan) -> None:
    placeholder = viewer.add_image(np.zeros((12, 10)), name="known")
    desk.show_scan(scan, adopt=placeholder)
    assert desk.sample.images[desk.session.detectors[0].key] == placeholder
    assert placeholder.name == "BF"
    assert tuple(placeholder.scale) == (5.0, 4.0)
    assert placeholder.data.max() > 0


# ----------------------------------------------------------------- regions
def test_a_drawn_region_selects_its_pixels(desk: Desk) -> None:
    drawn: list[bool] = []
    desk.sample.region_drawn.connect(lambda: drawn.append(True))
    desk.sample.start_region("rectangle")
    layer = desk.sample.region
    assert layer is not None
    assert layer.mode == "add_rectangle"
    layer.add(np.array([[1.6, 2.6], [1.6, 5.4], [4.4, 5.4], [4.4, 2.6]]), shape_type="rectangle")
    expected = np.zeros((12, 10), dtype=bool)
    expected[2:5, 3:6] = True
    assert np.array_equal(desk.session.region, expected)
    assert drawn == [True]
    assert layer.mode == "pan_zoom"


def test_only_the_last_region_counts(desk: Desk) -> None:
    for y in (0.0, 6.0):
        desk.sample.start_region("polygon")
        layer = desk.sample.region
        assert layer is not None
        box = np.array([[y, 0], [y, 3], [y + 3, 3], [y + 3, 0]]) - 0.4
        layer.add(box, shape_type="polygon")
    assert layer is not None
    assert len(layer.data) == 1
    assert desk.session.region is not None
    assert not desk.session.region[:5].any()


def test_a_region_beside_the_scan_is_told(desk: Desk) -> None:
    lines: list[str] = []
    desk.session.message.connect(lines.append)
    desk.sample.start_region("polygon")
    assert desk.sample.region is not None
    desk.sample.region.add(np.array([[50, 50], [50, 60], [60, 60.0]]), shape_type="polygon")
    assert desk.session.region is None
    assert "beside the scan" in lines[0]


def test_clearing_the_region(desk: Desk) -> None:
    desk.sample.start_region("polygon")
    assert desk.sample.region is not None
    desk.sample.region.add(np.array([[1, 1], [1, 6], [6, 6.0]]), shape_type="polygon")
    assert desk.session.region is not None
    desk.sample.clear_region()
    assert desk.session.region is None
    assert not len(desk.sample.region.data)


def test_a_region_inside_one_pixel_is_that_pixel() -> None:
    tiny = np.array([[3.1, 4.1], [3.1, 4.3], [3.3, 4.3]])
    assert np.argwhere(region_mask(tiny, (12, 10))).tolist() == [[3, 4]]


# ------------------------------------------------------------------ stacks
@pytest.fixture
def stack() -> tuple[Scan, NDArray[np.float64]]:
    rng = np.random.default_rng(1)
    data = rng.normal(100, 5, (9, 12, 10)) + 50 * np.arange(9)[:, None, None]
    energies = tuple(700 + 0.5 * i**1.1 for i in range(9))
    axes = (
        Axis("energy", 9, 0.5, 700, "eV", energies),
        Axis("y", 12, 20, 0, "nm"),
        Axis("x", 10, 20, 0, "nm"),
    )
    return Scan(da.from_array(data, chunks=(1, 12, 10)), axes, "STXM", "stack"), data


def test_a_stack_opens_as_its_mean(
    viewer: ViewerModel, desk: Desk, stack: tuple[Scan, NDArray[np.float64]]
) -> None:
    scan, data = stack
    desk.show_scan(scan)
    assert np.allclose(image_of(desk), data.mean(axis=0), rtol=1e-5)
    desk.session.set_plane(4)
    assert np.allclose(image_of(desk), data[4], rtol=1e-5)
    desk.session.set_plane(None)
    assert np.allclose(image_of(desk), data.mean(axis=0), rtol=1e-5)
    assert viewer.dims.ndim == 2


def test_traces_of_positions_and_regions(
    desk: Desk, stack: tuple[Scan, NDArray[np.float64]]
) -> None:
    scan, data = stack
    desk.show_scan(scan)
    source = desk.sample.stack
    assert source is not None
    assert np.allclose(source.trace(3, 4), data[:, 3, 4])
    mask = np.zeros((12, 10), dtype=bool)
    mask[3:6, 2:8] = True
    assert np.allclose(source.mean_trace(mask), data[:, mask].mean(axis=1))


def test_names_and_marks_of_layers(desk: Desk, viewer: ViewerModel) -> None:
    desk.session.add_detectors([Detector("BF", Disk(10, 10, 3))])
    assert "BF 2" in viewer.layers
    assert all(METADATA_KEY in layer.metadata for layer in viewer.layers)
