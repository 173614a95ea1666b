"""The probe of what keeps the window from answering."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QTimer

from napari_diffmap.viewer.display import contrast_limits
from napari_diffmap.widgets.stalls import StallProbe

#: Seconds of the processor that each test keeps the window busy: some eighty looks of the probe.
BUSY = 0.3
VALUES = np.random.default_rng(0).random((400, 400))


def burn(act: Callable[[], Any]) -> None:
    """Do something for so many seconds of the processor."""
    end = time.thread_time() + BUSY
    while time.thread_time() < end:
        act()


@pytest.fixture
def probe(qtbot: Any) -> Generator[StallProbe, None, None]:
    probe = StallProbe()
    probe.start()
    yield probe
    probe.stop()


def worst(qtbot: Any, probe: StallProbe, act: Callable[[], Any]) -> Any:
    probe.take()
    done: list[bool] = []

    def turn() -> None:
        burn(act)
        done.append(True)

    QTimer.singleShot(0, turn)
    qtbot.waitUntil(lambda: bool(done), timeout=60_000)
    return max(probe.take(), key=lambda stall: stall.seconds)


def test_work_of_this_package_is_told_with_its_line(qtbot: Any, probe: StallProbe) -> None:
    stall = worst(qtbot, probe, lambda: contrast_limits(VALUES))
    assert stall.seconds > 0.8 * BUSY
    assert 0.8 * BUSY < stall.ours < 1.3 * BUSY
    assert "viewer/display.py" in stall.text()


def test_the_work_of_others_is_not_ours(qtbot: Any, probe: StallProbe) -> None:
    stall = worst(qtbot, probe, lambda: np.percentile(VALUES, 99))
    assert stall.seconds > 0.8 * BUSY
    assert stall.ours < 0.01
    assert stall.busy["other"] > 0.8 * BUSY


def test_layers_of_napari_are_told_apart(qtbot: Any, probe: StallProbe) -> None:
    from napari.components import ViewerModel

    from napari_diffmap.viewer.runner import ImmediateRunner

    model = ViewerModel()
    runner = ImmediateRunner()
    stall = worst(qtbot, probe, lambda: runner.one_by_one([lambda: model.add_image(VALUES)]))
    assert stall.busy["napari layers"] > stall.ours


def test_a_window_that_answers_has_no_stalls(qtbot: Any, probe: StallProbe) -> None:
    probe.take()
    qtbot.wait(100)
    assert sum(stall.ours for stall in probe.take()) < 0.01
