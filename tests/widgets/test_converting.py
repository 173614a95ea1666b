"""*Convert for speed* from the Scan dock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.scan_dock import ScanDock
from napari_diffmap.widgets.workbench import Workbench

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(qtbot: Any, shown: Workbench, model: Any) -> ScanDock:
    dock = ScanDock(model)
    qtbot.addWidget(dock)
    dock.show()
    return dock


def test_the_scan_is_written_and_opened(
    qtbot: Any, shown: Workbench, dock: ScanDock, tmp_path: Path, settle: Callable[..., None]
) -> None:
    assert not dock.converting.isVisible()
    counts = np.asarray(shown.session.scan.data)
    dock.converting.start(tmp_path / "fast.zspy")
    assert dock.converting.isVisible()
    assert not dock.convert_button.isEnabled()
    qtbot.waitUntil(lambda: not shown.converting.running, timeout=60_000)
    assert "fast.zspy" in dock.converting.line.full_text()
    assert dock.convert_button.isEnabled()
    qtbot.mouseClick(dock.converting.open_button, LEFT)
    qtbot.waitUntil(lambda: shown.session.scan.source == tmp_path / "fast.zspy", timeout=60_000)
    settle(shown)
    assert np.array_equal(np.asarray(shown.session.scan.data), counts)
    assert not dock.converting.isVisible()


def test_a_stopped_conversion_goes_on(
    qtbot: Any,
    shown: Workbench,
    dock: ScanDock,
    make_scan: Callable[..., Scan],
    tmp_path: Path,
    settle: Callable[..., None],
    notes: list[tuple[str, str]],
) -> None:
    """Reading waits in the middle until it is let go, so that Stop comes in between."""
    gate, begun = Event(), Event()
    read: list[int] = []

    def slow(rows: Any, block_info: Any = None) -> Any:
        read.append(block_info[0]["array-location"][0][0] if block_info else 0)
        # Three single patterns are looked at before: they tell the scan from others.
        if len(read) > 3 and read[-1]:
            begun.set()
            gate.wait(20)
        return rows

    counts = np.random.default_rng(1).poisson(3, (300, 4, 64, 64)).astype(np.uint16)
    lazy = da.from_array(counts, chunks=(100, 4, 64, 64))
    shown.opening.show(make_scan(counts))
    settle(shown)
    slow_data = lazy.map_blocks(slow, dtype=counts.dtype, meta=counts[:0])
    object.__setattr__(shown.session.scan, "data", slow_data)
    dock.converting.start(tmp_path / "fast.zspy")
    qtbot.waitUntil(begun.is_set, timeout=60_000)
    qtbot.mouseClick(dock.converting.stop_button, LEFT)
    assert dock.converting.line.full_text() == "Stopping …"
    gate.set()
    qtbot.waitUntil(lambda: not shown.converting.running, timeout=60_000)
    assert any("stopped" in line for _, line in notes)
    assert not (tmp_path / "fast.zspy").exists()
    dock.converting.start(tmp_path / "fast.zspy")
    qtbot.waitUntil(lambda: not shown.converting.running, timeout=60_000)
    assert shown.converting.last is not None
    assert 0 < shown.converting.last.patterns < 1200


def test_what_cannot_be_written_is_one_line(
    qtbot: Any, shown: Workbench, dock: ScanDock, tmp_path: Path, notes: list[tuple[str, str]]
) -> None:
    dock.converting.start(tmp_path / "no" / "fast.zspy")
    qtbot.waitUntil(lambda: not shown.converting.running, timeout=60_000)
    assert notes[-1] == ("error", f"fast.zspy: there is no folder {tmp_path / 'no'}")
    assert not dock.converting.isVisible()


def test_a_stack_is_not_converted(shown: Workbench, dock: ScanDock) -> None:
    shown.session.set_scan(None)
    assert not dock.convert_button.isEnabled()
    assert "Open a scan" in shown.converting.missing()
