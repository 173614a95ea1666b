"""Label maps as layers: strokes become edits, edits are shown, changes are previewed."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import OrientationMap
from napari_diffmap.maps.edits.corrections import Corrections, LabelMap
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.maps.labels.label_maps import MOST_COLORS, color_of, grain_labels
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.label_changes import SCOPES
from napari_diffmap.viewer.label_layers import PREVIEW_LAYER, LabelLayers
from napari_diffmap.viewer.labelling import Labelling
from napari_diffmap.viewer.runner import ImmediateRunner
from napari_diffmap.viewer.session import Session

SHAPE = (12, 10)


@cache
def phases() -> Any:
    return load_phases(["LiNiO2", "NiO"])


def flat_map(shape: tuple[int, int] = SHAPE) -> OrientationMap:
    """Left half phase 0, its top turned by 8°, right half phase 1, one corner unanswered."""
    turn = np.deg2rad(8) / 2
    rotations = np.zeros((*shape, 1, 4), dtype=np.float32)
    rotations[..., 0] = 1
    rotations[: shape[0] // 3, : shape[1] // 2, 0] = (np.cos(turn), np.sin(turn), 0, 0)
    ids = np.zeros((*shape, 1), dtype=np.int16)
    ids[:, shape[1] // 2 :] = 1
    ids[-1, -1] = -1
    n = shape[0] * shape[1]
    return OrientationMap(
        rotations=rotations,
        scores=np.linspace(0, 1, n, dtype=np.float32).reshape(*shape, 1),
        phase_ids=ids,
        reliability=np.full(shape, 0.7, dtype=np.float32),
        ambiguity=np.zeros(shape, dtype=np.uint8),
        step=(5.0, 4.0),
        step_unit="nm",
        phases=phases(),
    )


@pytest.fixture
def opened(scan: Scan) -> Session:
    """A session that looks at the known scan, without a map."""
    session = Session()
    session.set_scan(scan)
    return session


@pytest.fixture
def layers(opened: Session, viewer: ViewerModel) -> LabelLayers:
    viewer.add_points(name="position", metadata={"diffmap": {"schema": 1, "role": "position"}})
    return LabelLayers(opened, viewer)


@pytest.fixture
def session(opened: Session, layers: LabelLayers) -> Session:
    opened.set_map(flat_map())
    return opened


@pytest.fixture
def grains(session: Session) -> LabelMap:
    assert session.corrections is not None
    made = session.corrections.add_labels(grain_labels(session.corrections.map))
    session.labels_changed.emit(made.name)
    return made


@pytest.fixture
def labelling(session: Session, layers: LabelLayers) -> Labelling:
    return Labelling(session, layers, ImmediateRunner())


def edits(session: Session) -> list[Any]:
    assert session.corrections is not None
    return session.corrections.done


def agree(layers: LabelLayers, labels: LabelMap) -> bool:
    layer = layers.layer(labels.name)
    return layer is not None and np.array_equal(layer.data, labels.values)


# ----------------------------------------------------------------- showing
def test_a_label_map_is_an_ordinary_layer(
    viewer: ViewerModel, layers: LabelLayers, grains: LabelMap
) -> None:
    layer = viewer.layers["grains"]
    assert layer == layers.layer("grains")
    assert layer.editable
    assert layer.data.dtype == np.int32
    assert layer.data is not grains.values
    assert agree(layers, grains)
    assert tuple(layer.scale) == (5.0, 4.0)
    assert {str(unit) for unit in layer.units} == {"nanometer"}
    assert layer.metadata["diffmap"] == {"schema": 1, "role": "labels: grains"}
    assert viewer.layers.index(layer) == viewer.layers.index("position") - 1
    for number in (1, 2, 3):
        shown = layer.colormap.map(np.array([number], np.int32))[0]
        wanted = [int(color_of(grains, number)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert np.allclose(shown[:3], wanted, atol=1e-6)


def test_names_and_colours_reach_the_layer(
    session: Session, layers: LabelLayers, grains: LabelMap
) -> None:
    assert session.corrections is not None
    session.corrections.name_label("grains", 2, text="twin", color="#102030")
    session.labels_changed.emit("grains")
    layer = layers.layer("grains")
    assert layer is not None
    assert dict(zip(layer.features["index"], layer.features["name"], strict=True))[2] == "twin"
    shown = layer.colormap.map(np.array([2], np.int32))[0]
    assert np.allclose(shown[:3], np.array([0x10, 0x20, 0x30]) / 255)
    assert not edits(session)


def test_a_deleted_layer_comes_back_on_demand_only(
    session: Session, viewer: ViewerModel, layers: LabelLayers, grains: LabelMap
) -> None:
    viewer.layers.remove("grains")
    session.labels_changed.emit("grains")
    assert "grains" not in viewer.layers
    assert layers.show("grains") == viewer.layers["grains"]
    assert agree(layers, grains)
    viewer.layers["grains"].paint((3, 3), 9)
    assert grains.values[3, 3] == 9


def test_another_map_or_scan_takes_the_layers_along(
    session: Session, viewer: ViewerModel, layers: LabelLayers, grains: LabelMap,
    make_scan: Any,
) -> None:  # fmt: skip
    old = viewer.layers["grains"]
    again = Corrections(flat_map())
    again.add_labels(LabelMap("grains", np.full(SHAPE, 7)))
    again.add_labels(LabelMap("more", np.ones(SHAPE)))
    session.set_map(again)
    assert viewer.layers["grains"] == old
    assert (old.data == 7).all()
    assert "more" in viewer.layers
    assert not again.done
    session.set_map(flat_map())
    assert "grains" not in viewer.layers
    session.set_map(again)
    session.set_scan(make_scan())
    assert not {"grains", "more"} & {layer.name for layer in viewer.layers}


def test_layers_made_late_show_what_is_there(
    session: Session, viewer: ViewerModel, grains: LabelMap
) -> None:
    late = LabelLayers(session, ViewerModel())
    assert agree(late, grains)


# --------------------------------------------------------------- recording
def test_each_tool_makes_one_edit(session: Session, layers: LabelLayers, grains: LabelMap) -> None:
    layer = layers.layer("grains")
    assert layer is not None
    told: list[Any] = []
    session.edited.connect(told.append)
    layer.paint((2, 2), 5)
    layer.fill((8, 8), 6)
    layer.paint_polygon(np.array([(6, 1), (6, 3), (8, 1)]), 7)
    layer.data_setitem((np.array([0, 1]), np.array([0, 0])), 8)
    layer.data[11, 0] = 9
    layer.refresh()
    assert len(edits(session)) == len(told) == 5
    assert all(edit.kind == EditKind.PAINTED for edit in edits(session))
    assert all(edit.target == "labels/grains" for edit in edits(session))
    assert agree(layers, grains)
    assert grains.base.max() == 3


def test_a_drag_is_one_edit(
    session: Session, viewer: ViewerModel, layers: LabelLayers, grains: LabelMap, mouse: Any
) -> None:
    layer = layers.show("grains")
    assert layer is not None
    layer.mode, layer.selected_label, layer.brush_size = "paint", 4, 1
    stroke = mouse(viewer).drag((5.0, 4.0), (25.0, 4.0), (25.0, 20.0))
    next(stroke)
    next(stroke)
    assert (layer.data == 4).any()
    layer.refresh()  # something else has the layer drawn meanwhile
    assert not edits(session)
    for _ in stroke:
        pass
    assert len(edits(session)) == 1
    assert agree(layers, grains)
    # 5 × 4 nm pixels: rows 1 to 5 of column 1, then columns 1 to 5 of row 5.
    assert set(np.flatnonzero(grains.values == 4)) == {*range(11, 52, 10), *range(51, 56)}


def test_undo_and_redo_are_ours(
    session: Session, viewer: ViewerModel, layers: LabelLayers, grains: LabelMap
) -> None:
    layer = layers.show("grains")
    assert layer is not None
    before = grains.values.copy()
    layer.paint((2, 2), 5)
    layer.paint((8, 8), 6)
    after = grains.values.copy()
    keys = {str(key): act for key, act in type(layer).class_keymap.items()}
    keys["Ctrl+Z"](layer)
    keys["Ctrl+Z"](layer)
    assert np.array_equal(grains.values, before)
    assert agree(layers, grains)
    keys["Ctrl+Z"](layer)
    keys["Ctrl+Shift+Z"](layer)
    keys["Ctrl+Shift+Z"](layer)
    assert np.array_equal(grains.values, after)
    assert agree(layers, grains)
    assert len(edits(session)) == 2


def test_undo_can_be_given(session: Session, grains: LabelMap) -> None:
    called: list[str] = []
    viewer = ViewerModel()
    layers = LabelLayers(
        session, viewer, undo=lambda: called.append("undo"), redo=lambda: called.append("redo")
    )
    layer = layers.show("grains")
    assert layer is not None
    layer.undo()
    layer.redo()
    assert called == ["undo", "redo"]


def test_edits_from_elsewhere_are_shown(
    session: Session, layers: LabelLayers, grains: LabelMap
) -> None:
    assert session.corrections is not None
    layer = layers.layer("grains")
    assert layer is not None
    data, drawn = layer.data, []
    layer.events.set_data.connect(lambda event: drawn.append(event))
    change = session.corrections.edit(
        EditKind.PAINTED,
        np.array([3, 40]),
        {"labels": np.array([300, 2], np.int32)},
        target="labels/grains",
    )
    session.edited.emit(change)
    assert layer.data is data
    assert drawn
    assert agree(layers, grains)
    assert len(edits(session)) == 1
    assert len(layer.colormap.colors) > 300
    session.edited.emit(session.corrections.switch(1, False))
    assert agree(layers, grains)
    assert data[0, 3] == grains.base[0, 3]


def test_what_does_not_fit_is_put_right(
    session: Session, layers: LabelLayers, grains: LabelMap
) -> None:
    layer = layers.layer("grains")
    assert layer is not None
    layer.data = np.ones((3, 3), np.int32)
    assert agree(layers, grains)
    assert not edits(session)
    assert "another shape" in session.notes[-1]
    layer.data = np.where(layer.data == 2, -4, layer.data)
    assert grains.values.min() == 0
    assert agree(layers, grains)
    layer.selected_label = MOST_COLORS + 5
    layer.paint((1, 1), MOST_COLORS + 5)
    assert grains.values[1, 1] == MOST_COLORS + 5


def test_selecting_in_the_layer_is_told(layers: LabelLayers, grains: LabelMap) -> None:
    told: list[Any] = []
    layers.picked.connect(lambda *what: told.append(what))
    layer = layers.layer("grains")
    assert layer is not None
    layer.selected_label = 3
    assert told[-1] == ("grains", 3)


def test_a_stroke_on_a_large_map_is_shown_at_once(
    slowness: Callable[[], float], too_slow: Callable[[str], Exception]
) -> None:
    """1024 × 1024 pixels, 5000 labels; the median of our own part stays below 50 ms."""
    session, viewer = Session(), ViewerModel()
    layers = LabelLayers(session, viewer)
    shape = (1024, 1024)
    rotations = np.zeros((*shape, 1, 4), np.float32)
    rotations[..., 0] = 1
    session.set_map(
        OrientationMap(
            rotations=rotations,
            scores=np.ones((*shape, 1)),
            phase_ids=np.zeros((*shape, 1)),
            reliability=np.ones(shape),
            ambiguity=np.zeros(shape),
            phases=phases(),
        )
    )
    assert session.corrections is not None
    blocks = np.arange(4096, dtype=np.int32).reshape(64, 64).repeat(16, 0).repeat(16, 1)
    labels = session.corrections.add_labels(LabelMap("blocks", blocks))
    session.labels_changed.emit("blocks")
    layer = layers.show("blocks")
    assert layer is not None
    layer.brush_size = 60
    stroke, undo = [], []
    for row in range(100, 900, 160):
        with layer.block_history():
            for column in range(100, 900, 30):
                layer.paint((row, column), 7, refresh=False)
            layer._partial_labels_refresh()
            start = time.perf_counter()
        stroke.append(time.perf_counter() - start)
    assert agree(layers, labels)
    for _ in stroke:
        start = time.perf_counter()
        layers.undo()
        undo.append(time.perf_counter() - start)
    assert np.array_equal(labels.values, blocks)
    assert agree(layers, labels)
    medians = np.median([stroke, undo], axis=1)
    if medians.max() >= 0.05 * slowness():
        raise too_slow(f"a stroke and its undoing take {medians} s")


# -------------------------------------------------------------- controller
def test_says_what_is_missing(opened: Session, layers: LabelLayers) -> None:
    labelling = Labelling(opened, layers, ImmediateRunner())
    assert labelling.missing() == "Map the scan first, or open a map."
    with pytest.raises(BadInputError, match="Map the scan"):
        labelling.add_empty("mine")
    opened.set_map(flat_map())
    assert labelling.missing().startswith("Add a label map first")
    with pytest.raises(BadInputError, match="Add a label map"):
        labelling.propose("merge")


def test_label_maps_of_all_kinds(
    session: Session, labelling: Labelling, viewer: ViewerModel
) -> None:
    labelling.add_empty("")
    labelling.add_phases()
    labelling.add_grains(threshold=5.0)
    labelling.add_grains(threshold=20.0)
    labelling.add_threshold(quantity="score", value=0.5)
    with pytest.raises(BadInputError, match="draw a region"):
        labelling.add_region()
    region = np.zeros(SHAPE, dtype=bool)
    region[2:5, 2:4] = True
    session.set_region(region)
    labelling.add_region("a/b")
    assert labelling.names == ("labels", "phase labels", "grains", "grains 2", "score ≥ 0.5", "a-b")
    assert labelling.name == "a-b"
    assert viewer.layers.selection.active == viewer.layers["a-b"]
    assert labelling.table is not None
    assert labelling.table.pixels.tolist() == [6]
    assert labelling.table.areas.tolist() == [120.0]
    assert labelling.table.unit == "nm²"
    labelling.select("grains")
    assert labelling.table.numbers.tolist() == [1, 2, 3]
    labelling.select("grains 2")
    assert labelling.table.numbers.tolist() == [1, 2]
    session.set_map(None)
    assert labelling.name is None
    assert labelling.table is None


def test_a_change_is_previewed_then_made(
    session: Session, labelling: Labelling, layers: LabelLayers, grains: LabelMap,
    viewer: ViewerModel,
) -> None:  # fmt: skip
    labelling.select("grains")
    before = grains.values.copy()
    with pytest.raises(BadInputError, match="two labels"):
        labelling.propose("merge")
    labelling.choose([1, 3])
    labelling.propose("merge")
    assert np.array_equal(grains.values, before)
    shown = viewer.layers[PREVIEW_LAYER]
    assert viewer.layers.selection.active == viewer.layers["grains"]
    assert not shown.editable
    assert np.array_equal(shown.data > 0, before == 1)  # grain 3 is the larger one
    wanted = viewer.layers["grains"].colormap.map(np.array([3], np.int32))
    assert np.allclose(shown.colormap.map(shown.data[0, :1]), wanted)
    assert labelling.proposal is not None
    assert labelling.proposal.text() == "merge 3, 1: 20 pixels would change"
    labelling.cancel()
    assert not shown.visible
    assert labelling.proposal is None
    labelling.propose("merge")
    assert viewer.layers[PREVIEW_LAYER] == shown
    assert shown.visible
    labelling.apply()
    assert not shown.visible
    assert (grains.values[before == 1] == 3).all()
    assert agree(layers, grains)
    assert edits(session)[-1].note == "merge 3, 1"
    assert labelling.table is not None
    assert labelling.table.numbers.tolist() == [2, 3]
    labelling.undo()
    assert np.array_equal(grains.values, before)
    labelling.redo()
    assert (grains.values[before == 1] == 3).all()


def test_painting_drops_a_preview_that_is_out_of_date(
    labelling: Labelling, layers: LabelLayers, grains: LabelMap
) -> None:
    labelling.select("grains")
    labelling.choose([2])
    labelling.propose("delete")
    assert labelling.proposal is not None
    assert "to no label" in labelling.proposal.text()
    layer = layers.layer("grains")
    assert layer is not None
    layer.paint((0, 0), 9)
    assert labelling.proposal is None
    labelling.apply()
    assert (grains.values == 2).any()


def test_every_operation(session: Session, labelling: Labelling, layers: LabelLayers) -> None:
    labelling.add_phases()
    labels = labelling.labels
    assert labels is not None
    labelling.choose([1])
    labelling.propose("split", 5.0)
    labelling.apply()
    assert sorted(np.unique(labels.values)) == [0, 1, 2, 3]
    layer = layers.layer("phase labels")
    assert layer is not None
    layer.data_setitem((np.array([6, 6, 8]), np.array([1, 2, 8])), [0, 0, 3])
    for operation, value in (("fill holes", 0), ("clean small", 2), ("majority", 3)):
        changed = labels.values.copy()
        labelling.propose(operation, value)  # type: ignore[arg-type]
        labelling.apply()
        assert not np.array_equal(labels.values, changed) or operation == "majority"
    assert labels.values[6, 1] == labels.values[6, 2] == 1
    assert labels.values[8, 8] == 2
    layer.data_setitem((np.array([11]), np.array([9])), 0)
    region = np.zeros(SHAPE, dtype=bool)
    session.set_region(region)
    labelling.propose("grow", 5, "drawn region")
    assert labelling.proposal is not None
    assert "nothing would change" in labelling.proposal.text()
    labelling.choose([1])
    labelling.propose("grow", 5, "chosen labels")
    assert not len(labelling.proposal.pixels)
    labelling.choose([2])
    labelling.propose("grow", 5, SCOPES[1])
    labelling.apply()
    assert labels.values[-1, -1] == 2
    notes = [edit.note for edit in edits(session)]
    assert notes[0] == "split 1 at 5°"
    assert notes[-1] == "grow by 5 pixels, labels 2"


def test_names_colours_and_new_numbers(
    session: Session, labelling: Labelling, viewer: ViewerModel, grains: LabelMap
) -> None:
    labelling.select("grains")
    labelling.rename(2, " twin ")
    labelling.recolor(2, "#112233")
    assert grains.names == {2: "twin"}
    assert grains.colors == {2: "#112233"}
    assert labelling.table is not None
    assert labelling.table.names == ("", "twin", "")
    assert labelling.new_label() == 4
    layer = viewer.layers["grains"]
    assert layer.mode == "paint"
    assert layer.selected_label == 4
    labelling.choose([3])
    assert layer.selected_label == 3
    told: list[int] = []
    labelling.picked.connect(told.append)
    layer.selected_label = 1
    assert told == [1]


def test_zoom_goes_to_the_label(
    session: Session, labelling: Labelling, viewer: ViewerModel, grains: LabelMap
) -> None:
    labelling.select("grains")
    labelling.zoom_to(1)
    assert session.position == (1, 2)
    assert viewer.scene.camera.center[-2:] == pytest.approx((7.5, 8.0))
    # The label fills a part of the canvas, yet so much of the map is always seen around it.
    assert viewer.scene.camera.zoom == pytest.approx(0.6 * min(viewer.canvas.size) / (24 * 4.0))
    labelling.zoom_to(99)
    assert session.position == (1, 2)


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr"])
def test_saving(
    session: Session, labelling: Labelling, grains: LabelMap, tmp_path: Path, ending: str
) -> None:
    from napari_diffmap.maps.labels.save import load_labels

    labelling.select("grains")
    labelling.rename(2, "twin")
    labelling.save(tmp_path / f"grains{ending}")
    read = load_labels(tmp_path / f"grains{ending}")
    assert np.array_equal(read.labels, grains.values)
    assert read.names == {2: "twin"}
    assert read.colors[3] == color_of(grains, 3)
    assert read.step == (5.0, 4.0)
    assert not labelling.working
    labelling.save(tmp_path / "no such folder" / "grains.png")
    assert "must end in" in session.notes[-1]
