"""Grains of a map without a window: measured, selected, drawn as layers, linked to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray
from orix.crystal_map import Phase

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import OrientationMap
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.maps.phases import MapPhase
from napari_diffmap.maps.quaternions import multiply
from napari_diffmap.maps.texture.poles import Circle
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.grain_layers import (
    GRAINS_LAYER,
    INSIDE,
    LAWS_LAYER,
    OUTLINE,
    REST,
    SELECTED_LAYER,
    GrainLayers,
)
from napari_diffmap.viewer.grain_study import GrainStudy
from napari_diffmap.viewer.map_layers import MapLayers
from napari_diffmap.viewer.pole_study import PolePicture, PoleStudy
from napari_diffmap.viewer.runner import ImmediateRunner
from napari_diffmap.viewer.session import Session

ROWS, COLUMNS = 12, 20
#: Σ3: 60° about ⟨111⟩.
TWIN = np.array([3, 1, 1, 1]) / np.sqrt(12)


def phases() -> tuple[MapPhase, MapPhase]:
    from diffpy.structure import Lattice, Structure

    made = []
    for name, group, cell, color in (
        ("Ni", 225, (3.5, 3.5, 3.5, 90, 90, 90), "#0072B2"),
        ("Mg", 194, (3.2, 3.2, 5.2, 90, 90, 120), "#D55E00"),
    ):
        structure = Structure(lattice=Lattice(*cell))
        made.append(MapPhase(name, color, Phase(name, space_group=group, structure=structure)))
    return made[0], made[1]


def grain_map() -> OrientationMap:
    """Nickel, its twin, a third grain; below all of them magnesium with its c axis along Z."""
    cube = np.array([1.0, 0, 0, 0])
    turned = np.array([np.cos(0.2), np.sin(0.2), 0, 0])
    rotations = np.zeros((ROWS, COLUMNS, 1, 4), dtype=np.float32)
    rotations[:8, :6], rotations[:8, 6:12] = cube, multiply(TWIN, cube)
    rotations[:8, 12:] = turned
    rotations[8:] = cube
    ids = np.zeros((ROWS, COLUMNS, 1), dtype=np.int16)
    ids[8:] = 1
    ids[0, 0] = -1
    return OrientationMap(
        rotations=rotations,
        scores=np.ones((ROWS, COLUMNS, 1), dtype=np.float32),
        phase_ids=ids,
        reliability=np.ones((ROWS, COLUMNS), dtype=np.float32),
        ambiguity=np.zeros((ROWS, COLUMNS), dtype=np.uint8),
        phases=phases(),
        step=(5.0, 5.0),
        step_unit="nm",
    )


def grain_scan() -> Scan:
    axes = (
        Axis("y", ROWS, 5.0, 0.0, "nm"),
        Axis("x", COLUMNS, 5.0, 0.0, "nm"),
        Axis("ky", 8),
        Axis("kx", 8),
    )
    return Scan(da.zeros((ROWS, COLUMNS, 8, 8), dtype=np.uint8), axes, "4D-STEM", "grains")


class Bench:
    """A session with a map and what studies its grains; with layers where they are asked for."""

    viewer: ViewerModel
    maps: MapLayers
    layers: GrainLayers

    def __init__(self, *, measured: bool = True, drawn: bool = False) -> None:
        self.session, self.runner = Session(), ImmediateRunner()
        if drawn:
            self.viewer = ViewerModel()
            self.maps = MapLayers(self.session, self.viewer, self.runner)
        self.study = GrainStudy(self.session, self.runner)
        if drawn:
            self.layers = GrainLayers(self.study, self.viewer, self.runner, self.maps)
        self.session.set_scan(grain_scan())
        self.session.set_map(grain_map())
        self.heard: list[tuple[int, ...]] = []
        self.study.selected.connect(self.heard.append)
        if measured:
            self.study.measure()

    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def drawn() -> Bench:
    return Bench(drawn=True)


def edit(session: Session, kind: EditKind, mask: NDArray[np.bool_], **values: Any) -> None:
    assert session.corrections is not None
    session.edited.emit(session.corrections.edit(kind, np.flatnonzero(mask), values))


# ------------------------------------------------------------------ measuring
def test_without_a_map_it_says_what_is_missing() -> None:
    study = GrainStudy(Session(), ImmediateRunner())
    assert study.line().startswith("Map the scan first")
    with pytest.raises(BadInputError, match="Map the scan first"):
        study.measure()
    study.select([1])
    assert study.labels == ()


def test_grains_are_measured_when_asked() -> None:
    bench = Bench(measured=False)
    assert bench.study.run is None
    assert bench.study.line().startswith("Measure")
    bench.study.measure()
    assert len(bench.study.run.grains) == 4
    assert "Ni 3 grains" in bench.study.line()
    assert "Mg 1 grains" in bench.study.line()


def test_corrections_are_measured_again_or_reported(bench: Bench) -> None:
    first = bench.study.run
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[:8, 12:] = True
    bench.study.select([3])
    edit(bench.session, EditKind.INVALID, mask)
    assert bench.study.run is not first
    assert len(bench.study.run.grains) == 3
    assert bench.study.labels == ()  # its pixels are in no grain now
    bench.study.set_auto(False)
    mask[:], mask[:8, 6:12] = False, True
    edit(bench.session, EditKind.INVALID, mask)
    assert len(bench.study.run.grains) == 3
    assert bench.study.stale
    assert "measure again" in bench.study.line()
    bench.study.set_auto(True)
    assert len(bench.study.run.grains) == 2


def test_what_was_measured_is_a_copy(bench: Bench) -> None:
    bench.study.set_auto(False)
    before = bench.study.run.found.best_phase_ids.copy()
    edit(bench.session, EditKind.INVALID, np.ones((ROWS, COLUMNS), dtype=bool))
    assert (bench.study.run.found.best_phase_ids == before).all()


def test_a_selection_follows_its_pixels(bench: Bench) -> None:
    """The first grain vanishes, so that the others get other numbers."""
    bench.study.select([3])
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[:8, :6] = True
    edit(bench.session, EditKind.INVALID, mask)
    assert bench.study.labels == (2,)
    assert bench.study.mask()[3, 15]


def test_another_map_takes_the_grains_away(drawn: Bench) -> None:
    drawn.study.select([1])
    drawn.layers.show_base("KAM")
    drawn.session.set_map(grain_map())
    assert drawn.study.run is None
    assert drawn.study.labels == ()
    assert not {"KAM", SELECTED_LAYER} & set(drawn.names())
    assert drawn.layers.base is None
    assert drawn.viewer.layers["IPF-Z"].visible


def test_settings_that_cannot_be_are_refused(bench: Bench) -> None:
    with pytest.raises(BadInputError):
        bench.study.change(min_size=0)
    bench.study.change(min_size=40, merge_twins=True)
    assert "Settings changed" in bench.study.line()
    bench.study.measure()
    assert len(bench.study.run.merged.grains) == 3


# ------------------------------------------------------------------ selecting
def test_a_position_selects_its_grain(bench: Bench) -> None:
    bench.session.set_position(2, 8)
    assert bench.study.labels == (2,)
    bench.session.set_position(2, 9)
    assert bench.heard[1:] == [(2,)]
    assert bench.study.box() == (0, 6, 8, 12)
    bench.session.set_position(0, 0)  # no answer there
    assert bench.study.labels == ()


def test_pixels_select_the_grains_that_lie_mostly_in_them(bench: Bench) -> None:
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[:8, :6] = True
    mask[:3, 6:12] = True
    bench.study.select_pixels(mask)
    assert bench.study.labels == (1,)
    bench.study.select(range(1, 100))
    assert bench.study.labels == (1, 2, 3, 4)
    assert bench.study.pixels is None


def test_grains_become_a_label_map(bench: Bench) -> None:
    names: list[str] = []
    bench.session.labels_changed.connect(names.append)
    assert bench.study.add_labels() == "grains"
    assert bench.study.add_labels() == "grains"
    corrections = bench.session.corrections
    assert corrections is not None
    corrections.edit(
        EditKind.PAINTED, np.array([3]), {"labels": np.array([9])}, target="labels/grains"
    )
    assert bench.study.add_labels() == "grains 2"
    assert names == ["grains", "grains", "grains 2"]
    assert (corrections.labels["grains 2"].values == bench.study.run.grains.labels).all()


def test_tables_are_saved(bench: Bench, tmp_path: Path) -> None:
    said: list[str] = []
    bench.session.message.connect(said.append)
    bench.study.save(tmp_path)
    assert (tmp_path / "grains.csv").exists()
    assert "wrote 7 files" in said[-1]
    bench.study.save(tmp_path / "none")
    assert "not saved" in said[-1]


# --------------------------------------------------------------------- layers
def test_pictures_take_the_place_of_the_maps(drawn: Bench) -> None:
    drawn.viewer.layers.selection.active = drawn.viewer.layers["IPF-Z"]
    assert not {GRAINS_LAYER, "KAM", "GROD", LAWS_LAYER} & set(drawn.names())
    drawn.layers.show_base("GROD")
    assert drawn.viewer.layers["GROD"].visible
    assert not drawn.viewer.layers["IPF-Z"].visible
    assert drawn.viewer.layers.selection.active.name == "IPF-Z"
    names = drawn.names()
    assert names.index("IPF-Z") < names.index("GROD") < names.index("high-angle boundaries")
    drawn.layers.show_base("grains")
    assert not drawn.viewer.layers["GROD"].visible
    assert not drawn.viewer.layers[GRAINS_LAYER].editable
    drawn.layers.show_base(None)
    assert drawn.viewer.layers["IPF-Z"].visible
    assert not drawn.viewer.layers[GRAINS_LAYER].visible


def test_the_map_dock_takes_the_picture_back(drawn: Bench) -> None:
    heard: list[Any] = []
    drawn.layers.base_changed.connect(heard.append)
    drawn.layers.show_base("KAM")
    drawn.maps.show_base("phases")
    assert heard == ["KAM", None]
    assert not drawn.viewer.layers["KAM"].visible
    assert drawn.viewer.layers["phases"].visible


def test_laws_are_drawn_in_their_colours(drawn: Bench) -> None:
    (sigma3,) = drawn.layers.strongest()
    legend = drawn.study.run.laws.legend
    assert legend[sigma3 - 1].name == "Σ3"
    drawn.layers.show_laws([sigma3])
    layer = drawn.viewer.layers[LAWS_LAYER]
    assert len(layer.data) == 1  # one straight line, eight pixels long
    assert np.allclose(np.abs(layer.data[0, 1]), (8, 0))
    assert layer.edge_color[0, 3] == 1
    drawn.layers.show_laws([])
    assert not layer.visible
    drawn.layers.show_laws([sigma3])
    edit(drawn.session, EditKind.INVALID, np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) < 80)
    (again,) = drawn.viewer.layers[LAWS_LAYER].data
    assert np.allclose(np.abs(again[1]), (4, 0))
    assert drawn.viewer.layers[LAWS_LAYER].visible


def test_layers_follow_a_new_measurement_when_they_are_seen(drawn: Bench) -> None:
    drawn.layers.show_base("grains")
    drawn.layers.show_base("KAM")
    edit(drawn.session, EditKind.INVALID, np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) < 80)
    assert np.isnan(drawn.viewer.layers["KAM"].data[:4]).all()
    drawn.layers.show_base("grains")
    assert not drawn.viewer.layers[GRAINS_LAYER].data[:4].any()


def test_the_selection_is_outlined_in_place(drawn: Bench) -> None:
    drawn.study.select([3])
    layer = drawn.viewer.layers[SELECTED_LAYER]
    assert layer.data[0, 12] == OUTLINE
    assert layer.data[3, 15] == 0
    drawn.layers.set_dims(True)
    assert layer.data[3, 2] == REST
    assert layer.data[3, 15] == 0
    drawn.study.select([1])
    assert drawn.viewer.layers[SELECTED_LAYER] is layer
    assert layer.data[3, 15] == REST
    drawn.study.select([])
    assert not layer.visible
    part = np.zeros((ROWS, COLUMNS), dtype=bool)
    part[:2, 12:] = True
    drawn.study.select_pixels(part)
    assert layer.visible
    assert (layer.data == INSIDE).sum() == part.sum()


def test_a_deleted_layer_is_made_again(drawn: Bench) -> None:
    drawn.study.select([1])
    drawn.viewer.layers.remove(SELECTED_LAYER)
    drawn.study.select([2])
    assert SELECTED_LAYER in drawn.names()


# -------------------------------------------------------------------- figures
def test_a_figure_is_drawn_when_somebody_looks(bench: Bench) -> None:
    figure = PoleStudy(bench.study, bench.runner, "pole figure")
    seen: list[PolePicture | None] = []
    figure.drawn.connect(seen.append)
    figure.change(phase=1)
    assert seen == []
    figure.look(True)
    assert seen[-1] is not None
    assert seen[-1].title.startswith("{0001} Mg")
    assert seen[-1].density.highest > 20  # one crystal
    figure.change(points=True)
    assert seen[-1].density is None
    assert np.allclose(seen[-1].points, 0, atol=1e-6)
    bench.session.set_map(None)
    assert seen[-1] is None


def test_a_region_of_a_pole_figure_selects_grains(bench: Bench) -> None:
    figure = PoleStudy(bench.study, bench.runner, "pole figure")
    figure.look(True)
    figure.change(phase=0, poles="001")
    figure.select(Circle((0.0, 0.0, 1.0), 5))
    assert bench.study.labels == (1,)  # the cube; the phase that is not drawn has no part in it
    figure.select(Circle((0.0, 0.0, 1.0), 25))
    assert bench.study.labels == (1, 3)  # the third is tilted by 23°
    figure.select(None)
    assert bench.study.labels == ()


def test_a_region_of_an_inverse_pole_figure_selects_grains(bench: Bench) -> None:
    figure = PoleStudy(bench.study, bench.runner, "IPF")
    figure.look(True)
    figure.change(phase=0, direction="x")
    figure.select(Circle((0.0, 0.0, 1.0), 5))
    assert bench.study.labels == (1, 3)  # tilted about X
    assert figure.picture.marks[0][1].startswith("[")


def test_a_figure_of_the_selection_follows_it(bench: Bench) -> None:
    figure = PoleStudy(bench.study, bench.runner, "pole figure")
    figure.look(True)
    said: list[str] = []
    figure.failed.connect(said.append)
    figure.change(selection=True, phase=0)
    assert said == ["no selected grain is Ni"]
    bench.study.select([1])
    assert "47 pixels of the selected grains" in figure.picture.told
    figure.change(phase=None)
    bench.study.select([4])
    assert figure.picture.title.startswith("{0001} Mg")
    figure.change(poles="12")
    assert "no indices" in said[-1]
