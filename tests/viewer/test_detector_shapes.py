from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_diffmap.scan.detectors import Annulus, Detector, Disk, Point, Polygon, Rectangle, Shape
from napari_diffmap.viewer.detector_shapes import area, drawn_shape, edited_shape, outlines
from napari_diffmap.viewer.session import ListedDetector

NUMBER = st.floats(-50, 200)
SIZE = st.floats(1, 60)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    y, x, a, b = draw(NUMBER), draw(NUMBER), draw(SIZE), draw(SIZE)
    kind = draw(st.sampled_from(["disk", "ring", "box", "point", "polygon"]))
    if kind == "disk":
        return Disk(y, x, a)
    if kind == "ring":
        return Annulus(y, x, a, a + b)
    if kind == "box":
        return Rectangle(y, x, y + a, x + b)
    if kind == "point":
        return Point(y, x)
    return Polygon(((y, x), (y, x + a), (y + b, x + a)))


def lines_of(shape: Shape) -> list:
    return outlines([ListedDetector(1, Detector("d", shape))])


def same(a: Shape, b: Shape) -> bool:
    return type(a) is type(b) and np.allclose(
        np.ravel(list(vars(a).values())), np.ravel(list(vars(b).values())), atol=1e-6
    )


@given(shape=shapes(), dy=st.floats(-20, 20), dx=st.floats(-20, 20))
def test_moving_the_napari_shape_moves_the_detector(shape: Shape, dy: float, dx: float) -> None:
    drawn = lines_of(shape)
    edited = edited_shape(shape, drawn, [np.add(line.vertices, (dy, dx)) for line in drawn])
    if abs(dy) + abs(dx) < 1e-3:
        return
    assert np.allclose(edited.center, np.add(shape.center, (dy, dx)), atol=1e-6)
    assert area(edited) == pytest.approx(area(shape), rel=1e-6, abs=1e-6)


@given(shape=shapes())
def test_untouched_shapes_stay(shape: Shape) -> None:
    drawn = lines_of(shape)
    assert edited_shape(shape, drawn, [line.vertices.copy() for line in drawn]) is shape


def test_moving_one_circle_takes_the_other_along() -> None:
    ring = Annulus(20, 30, 5, 12)
    drawn = lines_of(ring)
    now = [drawn[0].vertices, np.add(drawn[1].vertices, (3, -2))]
    assert same(edited_shape(ring, drawn, now), Annulus(23, 28, 5, 12))


def test_resizing_one_circle_leaves_the_other() -> None:
    ring = Annulus(20, 30, 5, 12)
    drawn = lines_of(ring)
    grown = (drawn[0].vertices - (20, 30)) * 1.5 + (20, 30)
    assert same(edited_shape(ring, drawn, [grown, drawn[1].vertices]), Annulus(20, 30, 5, 18))


def test_an_inner_circle_cannot_outgrow_the_outer() -> None:
    ring = Annulus(20, 30, 5, 12)
    drawn = lines_of(ring)
    grown = (drawn[1].vertices - (20, 30)) * 9 + (20, 30)
    edited = edited_shape(ring, drawn, [drawn[0].vertices, grown])
    assert isinstance(edited, Annulus)
    assert edited.r0 <= edited.r1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ellipse", Disk(5, 10, 5)),
        ("rectangle", Rectangle(0, 5, 10, 15)),
        ("polygon", Polygon(((0, 5), (0, 15), (10, 15), (10, 5)))),
    ],
)
def test_drawn_by_hand(kind: str, expected: Shape) -> None:
    vertices = np.array([[0, 5], [0, 15], [10, 15], [10, 5]])
    assert same(drawn_shape(kind, vertices), expected)
