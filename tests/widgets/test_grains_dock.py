"""The Grains dock: measured by its button, table, figures and map linked both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from orix.crystal_map import Phase
from qtpy.QtCore import QPoint, Qt

from napari_diffmap.maps import OrientationMap
from napari_diffmap.maps.columns import Column
from napari_diffmap.maps.phases import MapPhase
from napari_diffmap.maps.texture.poles import Circle, Lasso
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.grain_table import GrainTable, head
from napari_diffmap.widgets.grains_dock import GrainsDock
from napari_diffmap.widgets.pole_plot import plain_indices

ROWS, COLUMNS = 12, 20


def grain_map() -> OrientationMap:
    """Three grains of a cubic phase: as the laboratory, tilted about X, tilted about Y."""
    from diffpy.structure import Lattice, Structure

    structure = Structure(lattice=Lattice(4, 4, 4, 90, 90, 90))
    phase = MapPhase("Au", "#0072B2", Phase("Au", space_group=225, structure=structure))
    rotations = np.zeros((ROWS, COLUMNS, 1, 4), dtype=np.float32)
    rotations[..., 0] = 1
    rotations[:, 5:10] = (np.cos(0.2), np.sin(0.2), 0, 0)
    rotations[:, 10:] = (np.cos(0.3), 0, np.sin(0.3), 0)
    return OrientationMap(
        rotations=rotations,
        scores=np.ones((ROWS, COLUMNS, 1), dtype=np.float32),
        phase_ids=np.zeros((ROWS, COLUMNS, 1), dtype=np.int16),
        reliability=np.ones((ROWS, COLUMNS), dtype=np.float32),
        ambiguity=np.zeros((ROWS, COLUMNS), dtype=np.uint8),
        phases=(phase,),
        step=(5.0, 5.0),
        step_unit="nm",
    )


@pytest.fixture
def dock(qtbot: Any, bench: Any, model: ViewerModel) -> GrainsDock:
    dock = GrainsDock(model)
    qtbot.addWidget(dock)
    dock.resize(640, 400)
    dock.show()
    return dock


@pytest.fixture
def measured(qtbot: Any, dock: GrainsDock, settle: Any) -> GrainsDock:
    axes = (
        Axis("y", ROWS, 5.0, 0.0, "nm"),
        Axis("x", COLUMNS, 5.0, 0.0, "nm"),
        Axis("ky", 8),
        Axis("kx", 8),
    )
    scan = Scan(da.zeros((ROWS, COLUMNS, 8, 8), dtype=np.uint8), axes, "4D-STEM", "grains")
    dock.session.set_scan(scan)
    dock.session.set_map(grain_map())
    settle(dock.bench)
    qtbot.mouseClick(dock.measure, Qt.MouseButton.LeftButton)
    settle(dock.bench)
    return dock


def row_point(dock: GrainsDock, row: int) -> QPoint:
    return dock.table.visualRect(dock.table.grains.index(row, 0)).center()


def test_it_says_what_is_missing(dock: GrainsDock) -> None:
    assert dock.line.full_text().startswith("Map the scan first")
    assert not dock.measure.isEnabled()
    assert not dock.table.isEnabled()


def test_rows_and_the_map_are_linked(qtbot: Any, measured: GrainsDock, settle: Any) -> None:
    dock = measured
    assert "Au 3 grains" in dock.line.full_text()
    assert dock.table.grains.rowCount() == 3
    at = row_point(dock, 1)
    qtbot.mouseClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert dock.study.labels == (2,)
    layer = dock.layers.layer("selected grains")
    assert layer is not None
    assert layer.data[0, 5]
    assert not layer.data[0, 15]
    dock.session.set_position(4, 15)
    assert dock.study.labels == (3,)
    assert dock.table.labels == (3,)
    assert dock.table.selectionModel().isRowSelected(2)
    assert dock.count.full_text() == "1 of 3"
    viewer = dock.bench.desk.sample.viewer
    viewer.scene.camera.zoom = zoom = 0.5
    qtbot.mouseClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=row_point(dock, 0))
    qtbot.mouseDClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=row_point(dock, 0))
    assert viewer.scene.camera.zoom != zoom
    settle(dock.bench)


def test_a_circle_on_the_pole_figure_selects(qtbot: Any, measured: GrainsDock, settle: Any) -> None:
    dock, plot = measured, measured.poles.plot
    assert plot.picture is not None
    centre = plot.place(0, 0).toPoint()
    qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=centre)
    settle(dock.bench)
    assert isinstance(plot.region, Circle)
    assert dock.study.labels == (1,)
    assert dock.table.labels == (1,)
    # Drawn with the mouse out to 28°: the second is tilted by 23°, the third by 34°.
    out = plot.place(np.tan(np.deg2rad(14)), 0).toPoint()
    qtbot.mousePress(plot, Qt.MouseButton.LeftButton, pos=centre)
    qtbot.mouseMove(plot, out)
    qtbot.mouseRelease(plot, Qt.MouseButton.LeftButton, pos=out)
    settle(dock.bench)
    assert dock.study.labels == (1, 2)
    dock.poles.tool.setCurrentText("lasso")
    corners = [plot.place(x, y).toPoint() for x, y in ((-0.1, -0.3), (0.1, -0.3), (0.1, 0.3))]
    corners.append(plot.place(-0.1, 0.3).toPoint())
    qtbot.mousePress(plot, Qt.MouseButton.LeftButton, pos=corners[0])
    for corner in corners[1:]:
        qtbot.mouseMove(plot, corner)
    qtbot.mouseRelease(plot, Qt.MouseButton.LeftButton, pos=corners[-1])
    settle(dock.bench)
    assert isinstance(plot.region, Lasso)
    assert dock.study.labels == (1, 2)
    qtbot.mouseClick(plot, Qt.MouseButton.RightButton, pos=centre)
    assert dock.study.labels == ()
    assert plot.region is None


def test_the_other_tabs(qtbot: Any, measured: GrainsDock, settle: Any) -> None:
    dock = measured
    dock.tabs.setCurrentWidget(dock.inverse)
    settle(dock.bench)
    plot = dock.inverse.plot
    assert plot.picture is not None
    assert not plot.grab().isNull()
    corner = plot.place(0, 0).toPoint()  # [001] along the beam
    qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=corner)
    settle(dock.bench)
    assert dock.study.labels == (1,)
    dock.tabs.setCurrentWidget(dock.laws)
    names = [line.name for line in dock.laws.model.lines]
    assert names[:4] == ["low-angle", "vanishes under 180°", "high-angle", "phase boundary"]
    dock.base.setCurrentText("KAM")
    dock.base.activated.emit(dock.base.currentIndex())
    settle(dock.bench)
    assert dock.layers.base == "KAM"
    dock.bench.maps.show_base("phases")
    settle(dock.bench)
    assert dock.base.currentText() == "map picture"
    qtbot.mouseClick(dock.as_labels, Qt.MouseButton.LeftButton)
    assert "grains" in dock.session.corrections.labels


def test_a_hundred_thousand_grains_sort_at_once(qtbot: Any, within: Callable[..., Any]) -> None:

    n = 100_000
    values = np.random.default_rng(0).normal(size=n)
    values[7] = np.nan
    names = np.array([f"phase {i % 3}" for i in range(n)], dtype=object)
    table = GrainTable()
    qtbot.addWidget(table)
    table.show_columns(
        (
            Column("grain", "", np.arange(1, n + 1), "Number."),
            Column("phase", "", names, "Phase."),
            Column("phase_id", "", (np.arange(n) % 3).astype(np.int16), "Phase."),
            Column("equivalent_diameter", "nm", values, "Diameter."),
        )
    )
    table.choose([5, 6, 70_000])
    with within(0.5):
        table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    model = table.grains
    assert model.order[0] == np.nanargmax(values)
    assert model.order[-1] == 7
    assert model.data(model.index(n - 1, 2)) == "–"
    assert table.labels == (5, 6, 70_000)
    assert len(table.selectionModel().selectedRows()) == 3
    with within(0.5):
        table.choose(range(1, n, 2))
    assert len(table.selectionModel().selection()) == 1  # listed first
    assert table.labels[:2] == (1, 3)
    table.choose([3])
    assert len(table.selectionModel().selectedRows()) == 1
    assert model.order[0] == np.nanargmax(values)
    table.filter_phase(1)
    assert model.rowCount() == 33_333
    with within(0.5):
        table.selectAll()
    assert len(table.labels) == 33_333
    assert head(model.columns[2]) == "equivalent\ndiameter, nm"


def test_bars_over_indices() -> None:
    assert plain_indices(r"[11$\overline{2}$0]") == "[112\u03050]"
