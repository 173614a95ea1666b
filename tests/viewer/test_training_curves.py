"""Curves of a training: every validation once, not more points than can be drawn."""

from __future__ import annotations

import math

from napari_diffmap.models.training import Progress
from napari_diffmap.viewer.training_curves import TrainingCurves


def step(n: int, trained: float, /, **figures: float) -> Progress:
    return Progress(n, 100, float(n), trained, figures)


def test_a_validation_is_drawn_once_however_often_it_is_told() -> None:
    curves = TrainingCurves()
    assert curves.empty
    curves.add(step(1, 5.0))
    for n in (10, 11, 12):
        curves.add(step(n, 4.0, loss=4.5, right=0.25, phase=math.nan))
    curves.add(step(20, 3.0, loss=3.5, right=0.5, phase=1.0))
    trained, held = curves.losses()
    assert trained.x == (1, 10, 11, 12, 20)
    assert (held.x, held.y) == ((10, 20), (4.5, 3.5))
    right, phase = curves.shares()
    assert (right.x, right.y) == ((10, 20), (25, 50))
    assert phase.y[1] == 100
    assert trained.dashes != held.dashes
    assert right.dashes != phase.dashes


def test_a_history_is_the_begin_of_a_curve() -> None:
    curves = TrainingCurves([step(10, 4.0, loss=4.5), step(20, 3.0, loss=3.5)])
    curves.add(step(21, 2.9, loss=3.5))
    assert curves.losses()[1].x == (10, 20)
    assert curves.losses()[0].x == (10, 20, 21)


def test_a_long_training_is_thinned_out() -> None:
    curves = TrainingCurves(step(n, 1 / n) for n in range(1, 9000))
    (line,) = curves.losses()
    assert len(line.x) <= 2001
    assert line.x[0] == 1
    assert line.x[-1] == 8999
    assert list(line.x) == sorted(line.x)
