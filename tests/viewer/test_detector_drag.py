from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from napari_diffmap.scan.detectors import Annulus, Detector, Disk, Point, Polygon, Rectangle, Shape
from napari_diffmap.viewer.detector_drag import MIN_SIZE, Grip, dragged, grip_at
from napari_diffmap.viewer.session import ListedDetector

RING = Annulus(50, 60, 10, 30)
BOX = Rectangle(10, 10, 40, 60)
TRIANGLE = Polygon(((80, 80), (80, 110), (110, 110)))


def listed(*shapes: Shape) -> list[ListedDetector]:
    return [ListedDetector(i, Detector(str(i), shape)) for i, shape in enumerate(shapes, start=1)]


@pytest.mark.parametrize(
    ("shape", "at", "part"),
    [
        (RING, (50, 89), "outer"),
        (RING, (50, 71), "inner"),
        (RING, (50, 80), "move"),
        (BOX, (10, 30), "t"),
        (BOX, (39, 59), "br"),
        (BOX, (25, 30), "move"),
        (TRIANGLE, (81, 81), "vertex"),
        (TRIANGLE, (90, 105), "move"),
        (Point(7, 7), (8, 8), "move"),
    ],
)
def test_what_is_taken_hold_of(shape: Shape, at: tuple[float, float], part: str) -> None:
    grip = grip_at(listed(shape), *at, 3.0)
    assert grip is not None
    assert grip.part == part


@pytest.mark.parametrize("at", [(50, 60), (50, 99), (0, 0)])
def test_beside_every_detector(at: tuple[float, float]) -> None:
    assert grip_at(listed(RING), *at, 3.0) is None


def test_the_smaller_one_is_meant() -> None:
    grip = grip_at(listed(Disk(50, 60, 40), Disk(50, 60, 8)), 51, 61, 1.0)
    assert grip is not None
    assert grip.key == 2


def test_the_selected_one_wins() -> None:
    grip = grip_at(listed(Disk(50, 60, 40), Disk(50, 60, 8)), 51, 61, 1.0, selected=1)
    assert grip is not None
    assert grip.key == 1


def test_a_tiny_disk_can_still_be_moved() -> None:
    grip = grip_at(listed(Disk(50, 60, 3)), 50, 60.5, 7.0)
    assert grip is not None
    assert grip.part == "move"


@given(dy=st.floats(-40, 40), dx=st.floats(-40, 40), shape=st.sampled_from([RING, BOX, TRIANGLE]))
def test_moving_keeps_the_form(dy: float, dx: float, shape: Shape) -> None:
    moved = dragged(shape, Grip(1, "move"), (5, 5), (5 + dy, 5 + dx))
    assert np.allclose(moved.center, np.add(shape.center, (dy, dx)))


@given(angle=st.floats(0, 2 * math.pi), radius=st.floats(31, 90))
def test_the_edge_follows_the_mouse(angle: float, radius: float) -> None:
    now = (50 + radius * math.sin(angle), 60 + radius * math.cos(angle))
    shape = dragged(RING, Grip(1, "outer"), (50, 90), now)
    assert isinstance(shape, Annulus)
    assert shape.r1 == pytest.approx(radius)
    assert shape.r0 == RING.r0


@given(y=st.floats(-200, 200), x=st.floats(-200, 200), part=st.sampled_from(["outer", "inner"]))
def test_a_ring_never_turns_inside_out(y: float, x: float, part: str) -> None:
    shape = dragged(RING, Grip(1, part), (50, 70), (y, x))
    assert isinstance(shape, Annulus)
    assert 0 < shape.r0 < shape.r1


@given(
    y=st.floats(-200, 200),
    x=st.floats(-200, 200),
    part=st.sampled_from(["t", "b", "l", "r", "tl", "br"]),
)
def test_a_box_never_turns_inside_out(y: float, x: float, part: str) -> None:
    shape = dragged(BOX, Grip(1, part), (25, 30), (y, x))
    assert isinstance(shape, Rectangle)
    assert shape.y1 - shape.y0 >= MIN_SIZE - 1e-9
    assert shape.x1 - shape.x0 >= MIN_SIZE - 1e-9


@given(dy=st.floats(-30, 30), dx=st.floats(-30, 30))
def test_one_corner_moves_alone(dy: float, dx: float) -> None:
    assume(abs(dy) + abs(dx) > 0)
    shape = dragged(TRIANGLE, Grip(1, "vertex", 1), (80, 110), (80 + dy, 110 + dx))
    assert isinstance(shape, Polygon)
    assert shape.vertices[0] == TRIANGLE.vertices[0]
    assert shape.vertices[1] == pytest.approx((80 + dy, 110 + dx))
