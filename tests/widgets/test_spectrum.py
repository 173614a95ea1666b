from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.spectrum import SpectrumView
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[[Workbench], None]
ENERGIES = (700.0, 705.0, 707.0, 708.0, 709.0, 711.0, 720.0)


@pytest.fixture
def data() -> NDArray[np.float64]:
    return np.random.default_rng(2).normal(100, 10, (7, 6, 5))


@pytest.fixture
def stack(bench: Workbench, settle: Settle, data: NDArray[np.float64]) -> Workbench:
    axes = (
        Axis("energy", 7, 3.3, 700, "eV", ENERGIES),
        Axis("y", 6, 40, 0, "nm"),
        Axis("x", 5, 40, 0, "nm"),
    )
    bench.opening.show(Scan(da.from_array(data), axes, "STXM", "stack"))
    settle(bench)
    return bench


@pytest.fixture
def view(qtbot: Any, stack: Workbench, settle: Settle) -> SpectrumView:
    view = SpectrumView(stack.desk)
    qtbot.addWidget(view)
    view.resize(500, 260)
    view.show()
    settle(stack)
    view.canvas.draw()
    return view


def drawn(view: SpectrumView) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y = view.axes.lines[0].get_data()
    return np.asarray(x), np.asarray(y)


def pixel_of(view: SpectrumView, energy: float) -> QPoint:
    """Where an energy lies on the widget."""
    x, y = view.axes.transData.transform((energy, np.mean(view.axes.get_ylim())))
    ratio = view.canvas.device_pixel_ratio
    return QPoint(round(x / ratio), round(view.canvas.height() - y / ratio))


def test_the_trace_of_the_position(
    view: SpectrumView, stack: Workbench, settle: Settle, data: NDArray[np.float64]
) -> None:
    stack.session.set_position(4, 1)
    settle(stack)
    x, y = drawn(view)
    assert np.allclose(x, ENERGIES)
    assert np.allclose(y, data[:, 4, 1])
    assert "Energy (eV)" in view.axes.get_xlabel()
    left, right = view.axes.get_xlim()
    assert 699 < left < 700
    assert 720 < right < 721


def test_the_trace_of_a_region(
    view: SpectrumView, stack: Workbench, settle: Settle, data: NDArray[np.float64]
) -> None:
    mask = np.zeros((6, 5), dtype=bool)
    mask[1:4, 2:5] = True
    stack.session.set_region(mask)
    settle(stack)
    assert np.allclose(drawn(view)[1], data[:, mask].mean(axis=1))
    assert "region" in view.axes.get_ylabel()


def test_a_click_and_a_drag_choose_the_energy(
    view: SpectrumView, stack: Workbench, settle: Settle, data: NDArray[np.float64]
) -> None:
    QTest.mousePress(
        view.canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, pixel_of(view, 708)
    )
    assert stack.session.plane == 3
    QTest.mouseMove(view.canvas, pixel_of(view, 719))
    QTest.mouseRelease(
        view.canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, pixel_of(view, 719)
    )
    settle(stack)
    assert stack.session.plane == 6
    assert view.slider.value() == 6
    assert "720 eV" in view.label.text()
    assert np.allclose(stack.desk.sample.images[0].data, data[6], rtol=1e-5)


def test_the_slider_and_the_mean(
    view: SpectrumView, stack: Workbench, settle: Settle, data: NDArray[np.float64]
) -> None:
    assert view.sum.isChecked()
    view.slider.setValue(2)
    settle(stack)
    assert not view.sum.isChecked()
    assert np.allclose(stack.desk.sample.images[0].data, data[2], rtol=1e-5)
    view.sum.setChecked(True)
    settle(stack)
    assert stack.session.plane is None
    assert np.allclose(stack.desk.sample.images[0].data, data.mean(axis=0), rtol=1e-5)
