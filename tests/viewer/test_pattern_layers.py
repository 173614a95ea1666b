from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.display import Stretch
from napari_diffmap.viewer.pattern_layers import PatternLayers, whole_bar
from napari_diffmap.viewer.runner import ImmediateRunner
from napari_diffmap.viewer.session import Session

LAYERS = ["pattern", "mean of region", "measured spots", "simulated spots", "direct beam"]


def shown_pattern(desk: Desk) -> NDArray[np.float32]:
    """What the 4D layer hands to the canvas."""
    layer = desk.pattern.pattern
    assert layer is not None
    y, x = desk.pattern.model.dims.current_step[:2]
    return np.asarray(layer.data[y, x])


def test_layers_from_bottom_to_top(desk: Desk) -> None:
    names = [layer.name for layer in desk.pattern.model.layers]
    assert names[:2] == LAYERS[:2]
    assert set(names) == {*LAYERS, "detectors"}


def test_the_pattern_of_the_position(desk: Desk, counts: NDArray[np.uint16]) -> None:
    desk.pattern.set_stretch(Stretch("linear"))
    desk.session.set_position(7, 2)
    assert desk.pattern.model.dims.current_step[:2] == (7, 2)
    assert np.array_equal(shown_pattern(desk), counts[7, 2])


def test_units_and_beam(desk: Desk) -> None:
    layer = desk.pattern.pattern
    assert layer is not None
    assert [str(u) for u in layer.units] == ["nanometer"] * 2 + ["1 / angstrom"] * 2
    center = desk.session.calibration.center
    assert center is not None
    beam = desk.pattern.beam
    assert beam is not None
    # The direct beam lies at the origin of reciprocal space.
    assert np.allclose(beam.data_to_world(beam.data[0]), 0, atol=1e-9)
    assert np.allclose(layer.data_to_world((0, 0, *center))[2:], 0, atol=1e-9)
    assert desk.pattern.model.canvas.overlays.scale_bar.visible


def test_every_layer_agrees_on_units(desk: Desk) -> None:
    desk.session.set_calibration(desk.session.calibration.with_pixel_size(0.05, "entered"))
    assert desk.pattern.model.layers.extent.units is not None
    assert all(layer.scale[-1] == 0.05 for layer in desk.pattern.model.layers)


def test_contrast_limits_are_sampled_not_taken_from_one_pattern(desk: Desk) -> None:
    desk.pattern.set_stretch(Stretch("linear"))
    layer = desk.pattern.pattern
    assert layer is not None
    low, high = layer.contrast_limits
    assert 0 <= low < 10
    assert 300 < high < 1000


@pytest.mark.parametrize("stretch", [Stretch("log"), Stretch("linear"), Stretch("gamma", 0.3)])
def test_stretch_changes_the_picture_not_the_counts(
    desk: Desk, counts: NDArray[np.uint16], stretch: Stretch
) -> None:
    desk.pattern.set_stretch(stretch)
    layer = desk.pattern.pattern
    assert layer is not None
    assert layer.gamma == (0.3 if stretch.scale == "gamma" else 1.0)
    low, high = layer.contrast_limits
    assert low < np.percentile(shown_pattern(desk), 99.9) <= high * 1.5
    assert np.array_equal(desk.pattern.counts(), counts[desk.session.position])


def test_a_region_shows_its_mean(desk: Desk, counts: NDArray[np.uint16]) -> None:
    desk.pattern.set_stretch(Stretch("linear"))
    mask = np.zeros((12, 10), dtype=bool)
    mask[2:5, 3:9] = True
    desk.session.set_region(mask)
    mean, pattern = desk.pattern.mean, desk.pattern.pattern
    assert mean is not None
    assert pattern is not None
    assert (mean.visible, pattern.visible) == (True, False)
    assert np.allclose(mean.data, counts[mask].mean(axis=0))
    assert np.allclose(desk.pattern.counts(), counts[mask].mean(axis=0))
    desk.session.set_position(1, 1)
    assert (mean.visible, pattern.visible) == (False, True)


def test_missing_frames_show_nothing(
    viewer: object, make_scan: Callable[..., Scan], desk: Desk
) -> None:
    missing = np.zeros((12, 10), dtype=bool)
    missing[0, 0] = True
    desk.show_scan(make_scan(missing=missing))
    desk.session.set_position(0, 0)
    assert np.isnan(shown_pattern(desk)).all()


def test_layers_are_updated_not_replaced(desk: Desk) -> None:
    before = list(desk.pattern.model.layers)
    desk.session.set_position(3, 3)
    desk.pattern.set_stretch(Stretch("linear"))
    desk.add_preset("ADF")
    desk.session.set_calibration(desk.session.calibration.with_center((17, 20), "entered"))
    assert list(desk.pattern.model.layers) == before


def test_spots_and_their_indices(desk: Desk) -> None:
    desk.pattern.spots.show(True, indices=True)
    desk.pattern.spots.set(np.array([[1, 2.0]]), np.array([[3, 4], [5, 6.0]]), ["1 0 0", "0 1 0"])
    measured, simulated = desk.pattern.spots.measured, desk.pattern.spots.simulated
    assert measured is not None
    assert simulated is not None
    assert np.array_equal(measured.data, [[1, 2]])
    assert np.array_equal(simulated.data, [[3, 4], [5, 6]])
    assert list(simulated.text.values) == ["1 0 0", "0 1 0"]
    desk.pattern.spots.set(None, None)
    assert not len(simulated.data)
    # Told apart by form, not by colour alone.
    assert str(measured.current_symbol) != str(simulated.current_symbol)


def test_another_scan_shows_its_own_patterns(desk: Desk, make_scan: Callable[..., Scan]) -> None:
    data = np.full((12, 10, 40, 44), 5, dtype=np.uint16)
    data[..., 18:21, 20:23] = 400
    desk.show_scan(make_scan(data))
    desk.pattern.set_stretch(Stretch("linear"))
    assert np.array_equal(shown_pattern(desk), data[6, 5])


@pytest.mark.parametrize(
    ("pixels", "length"), [(400, None), (300, 1), (150, 1), (70, 2), (20, 5), (0.4, 200)]
)
def test_scale_bar_is_in_whole_units(pixels: float, length: float | None) -> None:
    """napari would call half a reciprocal Å 500 1/kÅ."""
    assert whole_bar(pixels) == length


def test_scale_bar_follows_the_zoom(desk: Desk) -> None:
    model = desk.pattern.model
    for zoom, length in ((120.0, 1), (900.0, None), (30.0, 5)):
        model.scene.camera.zoom = zoom
        assert model.canvas.overlays.scale_bar.length == length


def test_what_fits_and_what_does_not_differ_in_shape(desk: Desk) -> None:
    measured = np.array([[5.0, 5], [9, 20], [30, 30]])
    simulated = np.array([[5.2, 5.1], [22, 7]])
    layers = desk.pattern.spots
    layers.set(
        measured,
        simulated,
        unexplained=np.array([False, True, True]),
        absent=np.array([False, True]),
    )
    assert layers.measured is not None
    assert layers.simulated is not None
    assert [str(symbol) for symbol in layers.measured.symbol] == ["disc", "square", "square"]
    assert [str(symbol) for symbol in layers.simulated.symbol] == ["x", "triangle_down"]
    # Not measured: open, so that the empty place is seen.
    assert layers.simulated.face_color[:, 3].tolist() == [1, 0]
    assert (layers.measured.face_color[:, 3] == 0).all()
    layers.set(measured[:1], simulated[:1])
    assert [str(symbol) for symbol in layers.measured.symbol] == ["disc"]
    assert [str(symbol) for symbol in layers.simulated.symbol] == ["x"]
    assert layers.simulated.face_color[0, 3] == 1
    layers.set(None, None)
    assert not len(layers.simulated.data)


class HeldTurns(ImmediateRunner):
    """Keeps steps until they are asked for: another event may come between two."""

    def __init__(self) -> None:
        self.turns: list[Callable[[], None]] = []

    def one_by_one(self, steps: Sequence[Callable[[], None]]) -> None:
        self.turns += steps

    def take(self) -> None:
        while self.turns:
            self.turns.pop(0)()


def test_a_calibration_that_comes_while_layers_are_placed_is_kept(
    make_scan: Callable[..., Scan],
) -> None:
    """The direct beam is measured while the layers are being made."""
    session, runner = Session(), HeldTurns()
    layers = PatternLayers(session, runner)
    session.set_scan(make_scan())
    while layers.beam is None or not layers.ready or len(runner.turns) > 3:
        runner.turns.pop(0)()
    center = (11.0, 23.0)
    session.set_calibration(session.calibration.with_center(center, "measured"))
    runner.take()
    for layer in layers.model.layers:
        place = (0, 0, *center) if layer.ndim == 4 else center
        assert np.allclose(layer.data_to_world(place)[-2:], 0, atol=1e-9), layer.name
