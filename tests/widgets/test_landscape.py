"""The scores of the zone axes as a column of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_diffmap.widgets.landscape_view import LandscapeView

SIDE = 40


def picture(seed: int) -> NDArray[np.uint8]:
    rgba = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    return rgba


def drawn(label: QLabel) -> NDArray[np.uint8]:
    image = label.pixmap().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
    bits = image.constBits()
    assert bits is not None
    bits.setsize(image.sizeInBytes())
    # A copy: the memory is the image's, which ends here.
    return np.frombuffer(bits, np.uint8).reshape(SIDE, SIDE, 4).copy()


@pytest.fixture
def beside(qtbot: Any) -> tuple[QWidget, LandscapeView]:
    """A view beside something that takes the room that is left, as in the Pattern dock."""
    window = QWidget()
    row = QHBoxLayout(window)
    view = LandscapeView()
    row.addWidget(QWidget(), 1)
    row.addWidget(view)
    window.resize(500, 400)
    qtbot.addWidget(window)
    window.show()
    return window, view


def test_hidden_until_there_is_something(beside: tuple[QWidget, LandscapeView]) -> None:
    view = beside[1]
    assert not view.isVisible()
    view.show_pictures([("NiO: 0.10–0.90", picture(1))])
    assert view.isVisible()
    view.show_pictures(())
    assert not view.isVisible()
    assert view.pictures == []


def test_pictures_are_shown_as_they_are(beside: tuple[QWidget, LandscapeView]) -> None:
    view = beside[1]
    # A slice of a larger array is not contiguous in memory.
    wide = np.concatenate((picture(2), picture(3)), axis=1)
    view.show_pictures([("A", picture(1)), ("B", wide[:, :SIDE])])
    first, second = view.pictures
    np.testing.assert_array_equal(drawn(first), picture(1))
    np.testing.assert_array_equal(drawn(second), picture(2))
    assert (
        first.mapTo(view, first.rect().topLeft()).y()
        < second.mapTo(view, second.rect().topLeft()).y()
    )
    view.show_pictures([("B", picture(3))])
    assert len(view.pictures) == 1
    np.testing.assert_array_equal(drawn(view.pictures[0]), picture(3))


def test_titles_say_phase_and_scores(qtbot: Any, beside: tuple[QWidget, LandscapeView]) -> None:
    view = beside[1]
    view.show_pictures([("a phase of a long name: 0.10–0.90", picture(1))])
    (title,) = view.titles
    assert title.full_text() == "a phase of a long name: 0.10–0.90"
    # A long name makes the column no wider.
    qtbot.waitUntil(lambda: view.width() == SIDE)


def test_many_phases_scroll_and_no_picture_is_cut(
    qtbot: Any, beside: tuple[QWidget, LandscapeView]
) -> None:
    window, view = beside
    shown = [(f"phase {i}", picture(i)) for i in range(12)]
    view.show_pictures(shown)
    bar = view.verticalScrollBar()
    assert bar is not None
    qtbot.waitUntil(bar.isVisible)
    viewport = view.viewport()
    assert viewport is not None
    assert viewport.width() >= SIDE
    bar.setValue(bar.maximum())
    at = bar.value()
    assert at > 0
    view.show_pictures(shown)
    assert bar.value() == at, "another position shows the same phase"
    window.resize(500, 1200)
    qtbot.waitUntil(lambda: not bar.isVisible())
    assert view.horizontalScrollBarPolicy() == Qt.ScrollBarPolicy.ScrollBarAlwaysOff
