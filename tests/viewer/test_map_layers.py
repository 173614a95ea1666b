from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.maps import OrientationMap
from napari_diffmap.maps.colors import ipf_colors
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.map_layers import BASES, MapLayers
from napari_diffmap.viewer.map_pictures import part_map, tile_picture
from napari_diffmap.viewer.runner import ImmediateRunner

SHAPE = (12, 10)
#: Left half phase 0, right half phase 1; the top of the left half is turned by 8°.
TURN = np.deg2rad(8) / 2


def two_grains() -> OrientationMap:
    rotations = np.zeros((*SHAPE, 1, 4), dtype=np.float32)
    rotations[..., 0] = 1
    rotations[:4, :5, 0] = (np.cos(TURN), np.sin(TURN), 0, 0)
    ids = np.zeros((*SHAPE, 1), dtype=np.int16)
    ids[:, 5:] = 1
    ids[11, 9] = -1
    ambiguity = np.zeros(SHAPE, dtype=np.uint8)
    ambiguity[6:8, 1:3] = 3
    ambiguity[11, 9] = 6
    counts = np.ones(SHAPE, dtype=np.uint8)
    counts[6:8, 1:3] = 2
    counts[11, 9] = 0
    chosen = np.zeros(SHAPE, dtype=bool)
    chosen[2, 3] = True
    return OrientationMap(
        rotations=rotations,
        scores=np.linspace(0, 1, 120, dtype=np.float32).reshape(*SHAPE, 1),
        phase_ids=ids,
        reliability=np.full(SHAPE, 0.7, dtype=np.float32),
        ambiguity=ambiguity,
        extra={"crystals": counts, "resolved": chosen},
        phases=load_phases(["LiNiO2", "NiO"]),
    )


@pytest.fixture
def layers(desk: Desk, viewer: ViewerModel) -> MapLayers:
    return MapLayers(desk.session, viewer, desk.runner)


@pytest.fixture
def found(desk: Desk, layers: MapLayers) -> OrientationMap:
    found = two_grains()
    desk.session.set_map(found)
    return found


def test_a_map_is_ordinary_layers(found: OrientationMap, viewer: ViewerModel) -> None:
    names = [layer.name for layer in viewer.layers]
    assert names == [
        "BF",
        *BASES,
        "ambiguity",
        "resolved by neighbours",
        "low-angle boundaries",
        "vanishes under 180°",
        "high-angle boundaries",
        "phase boundary",
        "position",
    ]
    assert viewer.dims.ndim == 2
    units = {tuple(str(u) for u in layer.units) for layer in viewer.layers}
    assert units == {("nanometer", "nanometer")}
    assert all(tuple(layer.scale) == (5.0, 4.0) for layer in viewer.layers)


def test_ipf_layers_are_the_colours_of_the_key(found: OrientationMap, viewer: ViewerModel) -> None:
    for axis in "xyz":
        layer = viewer.layers[f"IPF-{axis.upper()}"]
        assert np.array_equal(layer.data, ipf_colors(found, axis))  # type: ignore[arg-type]
        assert layer.visible is (axis == "z")
    assert viewer.layers["IPF-Z"].data[11, 9, 3] == 0


def test_phases_and_doubt_are_named_labels(found: OrientationMap, viewer: ViewerModel) -> None:
    phases = viewer.layers["phases"]
    assert phases.data[0, 0] == 1
    assert phases.data[0, 9] == 2
    assert phases.data[11, 9] == 0
    assert list(phases.features["phase"]) == ["", "LiNiO2", "NiO"]
    assert not phases.editable
    doubt = viewer.layers["ambiguity"]
    assert np.argwhere(doubt.data).tolist() == [[6, 1], [6, 2], [7, 1], [7, 2]]
    assert doubt.data[11, 9] == 0
    causes = dict(zip(doubt.features["index"], doubt.features["cause"], strict=True))
    assert causes[3] == "overlap"
    assert None in doubt.colormap.color_dict


def test_counts_and_choices_are_labels(found: OrientationMap, viewer: ViewerModel) -> None:
    counts = viewer.layers["crystals"]
    assert np.bincount(counts.data.ravel()).tolist() == [1, 115, 4]
    assert list(counts.features["crystals"])[:3] == ["", "1", "2"]
    assert not counts.visible
    chosen = viewer.layers["resolved by neighbours"]
    assert np.argwhere(chosen.data).tolist() == [[2, 3]]
    assert not chosen.visible


def test_a_map_without_counts_has_no_such_layers(
    desk: Desk, layers: MapLayers, viewer: ViewerModel
) -> None:
    desk.session.set_map(two_grains().replaced(extra={}))
    names = [layer.name for layer in viewer.layers]
    assert "crystals" not in names
    assert "resolved by neighbours" not in names
    layers.show_base("crystals")
    assert not any(viewer.layers[name].visible for name in BASES if name in names)


def judged_grains(verdicts: dict[tuple[int, int], int]) -> OrientationMap:
    """Two grains of which some positions were judged."""
    found = two_grains()
    codes = np.zeros(SHAPE, dtype=np.uint8)
    for place, code in verdicts.items():
        codes[place] = code
    return found.replaced(extra={**found.extra, "judged": codes})


def test_what_the_templates_judged_is_told_by_symbols(
    desk: Desk, layers: MapLayers, viewer: ViewerModel
) -> None:
    from napari_diffmap.methods.networks.judge import AGREES, DIFFERS, HALF_TURN

    desk.session.set_map(judged_grains({(0, 1): AGREES, (3, 4): DIFFERS, (8, 2): HALF_TURN}))
    layer = viewer.layers["judged by templates"]
    assert not layer.visible
    assert not layer.editable
    assert viewer.layers.selection.active == viewer.layers["IPF-Z"]
    told = dict(zip(map(tuple, layer.data.astype(int)), layer.features["answer"], strict=True))
    assert told == {
        (0, 1): "templates agree",
        (3, 4): "templates differ",
        (8, 2): "agree up to half a turn",
    }
    assert [str(symbol) for symbol in layer.symbol] == ["disc", "x", "diamond"]
    assert len({tuple(color) for color in layer.face_color}) == 3
    assert tuple(layer.scale) == (5.0, 4.0)
    assert layer.size.min() > 0.6


def test_verdicts_are_those_of_the_map_that_is_shown(
    desk: Desk, layers: MapLayers, viewer: ViewerModel
) -> None:
    desk.session.set_map(judged_grains({(0, 1): 1, (3, 4): 3}))
    layer = viewer.layers["judged by templates"]
    layers.begin()
    assert not len(layer.data)
    desk.session.set_map(judged_grains({(5, 5): 3, (6, 6): 1, (7, 7): 1}))
    assert viewer.layers["judged by templates"] == layer
    assert [str(symbol) for symbol in layer.symbol] == ["x", "disc", "disc"]
    assert layer.data.astype(int).tolist() == [[5, 5], [6, 6], [7, 7]]
    desk.session.set_map(judged_grains({}))
    assert not len(layer.data)
    desk.session.set_map(two_grains())
    assert "judged by templates" not in viewer.layers


def test_boundaries_lie_between_the_grains(found: OrientationMap, viewer: ViewerModel) -> None:
    low = viewer.layers["low-angle boundaries"].data
    assert np.allclose(low[:, 0, 0], 3.5)
    assert np.abs(low[:, 1]).sum() == pytest.approx(5)
    phase = viewer.layers["phase boundary"].data
    assert np.allclose(phase[:, 0, 1], 4.5)
    widths = [
        viewer.layers[name].edge_width
        for name in ("low-angle boundaries", "high-angle boundaries", "phase boundary")
    ]
    assert widths == sorted(widths)
    assert widths[0] < widths[1]


def test_thresholds_redraw_the_classes(
    found: OrientationMap, layers: MapLayers, viewer: ViewerModel
) -> None:
    layer = viewer.layers["low-angle boundaries"]
    layers.set_thresholds(2.0, 6.0)
    assert viewer.layers["low-angle boundaries"] == layer
    assert not len(layer.data)
    high = viewer.layers["high-angle boundaries"].data
    assert np.abs(high[:, 1]).sum() == pytest.approx(5)
    layers.set_thresholds(10.0, 20.0)
    assert not len(viewer.layers["high-angle boundaries"].data)


def test_one_base_at_a_time_and_overlays_apart(
    found: OrientationMap, layers: MapLayers, viewer: ViewerModel
) -> None:
    for base in BASES:
        layers.show_base(base)
        assert [name for name in BASES if viewer.layers[name].visible] == [base]
    layers.show_base(None)
    assert not any(viewer.layers[name].visible for name in BASES)
    layers.show_overlay("boundaries", False)
    assert not viewer.layers["phase boundary"].visible
    layers.show_overlay("ambiguity", True)
    assert viewer.layers["ambiguity"].visible


def test_a_running_map_fills_tile_by_tile(
    desk: Desk, layers: MapLayers, viewer: ViewerModel
) -> None:
    whole = two_grains()
    layers.begin()
    assert not viewer.layers["IPF-Z"].data.any()
    rows, columns = slice(2, 5), slice(0, 10)
    raw: dict[str, NDArray[Any]] = {
        "rotations": whole.rotations[rows, columns],
        "scores": whole.scores[rows, columns],
        "phase_ids": whole.phase_ids[rows, columns],
    }
    layers.fill(tile_picture(rows, columns, part_map(raw, whole.phases)))
    shown = viewer.layers["IPF-Z"].data
    assert np.array_equal(shown[rows], ipf_colors(whole, "z")[rows])
    assert not shown[5:].any()
    live = viewer.layers["IPF-Z"]
    desk.session.set_map(whole)
    assert viewer.layers["IPF-Z"] == live


def test_the_next_map_uses_the_same_layers(
    desk: Desk, found: OrientationMap, viewer: ViewerModel
) -> None:
    before = list(viewer.layers)
    viewer.layers["phase boundary"].visible = False
    desk.session.set_map(two_grains())
    assert list(viewer.layers) == before
    assert not viewer.layers["phase boundary"].visible


def test_a_deleted_layer_comes_with_the_next_map(
    desk: Desk, found: OrientationMap, viewer: ViewerModel
) -> None:
    viewer.layers.remove("phases")
    desk.session.set_map(two_grains())
    names = [layer.name for layer in viewer.layers]
    assert names.index("phases") == names.index("IPF-Z") + 1


def test_a_deleted_layer_comes_back_when_it_is_chosen(
    desk: Desk, layers: MapLayers, found: OrientationMap, viewer: ViewerModel
) -> None:
    for name in ("phases", "ambiguity", "high-angle boundaries"):
        viewer.layers.remove(name)
    layers.show_overlay("ambiguity", False)
    layers.show_base("IPF-X")
    assert "ambiguity" not in viewer.layers
    assert "phases" not in viewer.layers
    layers.show_base("phases")
    assert viewer.layers["phases"].visible
    assert np.array_equal(viewer.layers["phases"].data, found.best_phase_ids + 1)
    layers.show_overlay("ambiguity", True)
    layers.show_overlay("boundaries", True)
    assert viewer.layers["ambiguity"].visible
    assert "high-angle boundaries" in viewer.layers
    names = [layer.name for layer in viewer.layers]
    assert names.index("phases") == names.index("IPF-Z") + 1
    assert names[-1] == "position"
    desk.session.set_map(None)
    layers.show_base("phases")
    assert "phases" not in viewer.layers


def test_a_run_that_starts_while_a_map_is_being_shown_ends_the_showing(
    desk: Desk, layers: MapLayers, viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Any] = []
    monkeypatch.setattr(layers.runner, "one_by_one", left.extend)
    desk.session.set_map(two_grains())
    left.pop(0)()
    assert "IPF-Z" in viewer.layers
    layers.begin()
    for step in left:
        step()
    assert [layer.name for layer in viewer.layers] == ["BF", "IPF-Z", "position"]
    assert not np.asarray(viewer.layers["IPF-Z"].data).any()


def test_no_map_no_layers(desk: Desk, found: OrientationMap, viewer: ViewerModel) -> None:
    desk.session.set_map(None)
    assert [layer.name for layer in viewer.layers] == ["BF", "position"]


def test_layers_on_their_way_out_leave_their_names(
    desk: Desk, found: OrientationMap, layers: MapLayers, viewer: ViewerModel
) -> None:
    """Removal takes turns; the next map does not wait for them."""
    names = sorted(layer.name for layer in viewer.layers)
    held: list[Any] = []
    layers.runner = HeldTurns(held)
    layers.clear()
    assert held
    layers.runner = desk.runner
    desk.session.set_map(two_grains())
    for step in held:
        step()
    assert sorted(layer.name for layer in viewer.layers) == names


class HeldTurns(ImmediateRunner):
    """Keeps steps for later."""

    def __init__(self, held: list[Any]) -> None:
        self.held = held

    def one_by_one(self, steps: Any) -> None:
        self.held += steps


def test_a_map_that_starts_anew_leaves_nothing_of_the_last(
    desk: Desk, found: OrientationMap, layers: MapLayers, viewer: ViewerModel
) -> None:
    before = {name: viewer.layers[name] for name in ("score", "phases", "high-angle boundaries")}
    assert before["score"].data.any()
    layers.begin()
    assert not viewer.layers["score"].data.any()
    assert not viewer.layers["phases"].data.any()
    assert len(viewer.layers["phase boundary"].data) == 0
    desk.session.set_map(two_grains())
    assert all(viewer.layers[name] == layer for name, layer in before.items())
    assert viewer.layers["score"].data.any()
    assert len(viewer.layers["phase boundary"].data) > 0
