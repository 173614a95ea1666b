"""Windows for tests: plain docks on a viewer model, or a real viewer where marked."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.workbench import Workbench, workbench_of

BEAM = (15.6, 16.3)
PIXEL = 0.04


def known_counts(rows: int = 9, columns: int = 8, size: int = 32) -> NDArray[np.uint16]:
    """A direct beam and a spot that tells the position."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:size, :size]
    beam = 800 * np.exp(-((y - BEAM[0]) ** 2 + (x - BEAM[1]) ** 2) / 5)
    counts = np.empty((rows, columns, size, size))
    for i in range(rows):
        for j in range(columns):
            spot = (200 + 30 * j) * np.exp(-((y - 5 - 2 * i) ** 2 + (x - 27) ** 2) / 2)
            counts[i, j] = beam + spot + 1
    return rng.poisson(counts).astype(np.uint16)


def make_scan(data: NDArray[Any] | None = None, **changes: Any) -> Scan:
    """A small 4D-STEM scan in nm and 1/Å."""
    counts = known_counts() if data is None else data
    y, x, ky, kx = counts.shape
    options: dict[str, Any] = {
        "calibration": Calibration(
            pixel_size=PIXEL, pixel_size_origin="file", voltage_kv=200, voltage_origin="file"
        )
    }
    return Scan(
        da.from_array(counts, chunks=(3, x, ky, kx)),
        (
            Axis("y", y, 5.0, 0.0, "nm"),
            Axis("x", x, 5.0, 0.0, "nm"),
            Axis("ky", ky, PIXEL, 0.0, "1/Å"),
            Axis("kx", kx, PIXEL, 0.0, "1/Å"),
        ),
        "4D-STEM",
        "known",
        **{**options, **changes},
    )


@pytest.fixture(name="make_scan")
def _make_scan() -> Callable[..., Scan]:
    return make_scan


@pytest.fixture
def scan() -> Scan:
    return make_scan()


@pytest.fixture
def model() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def bench(qtbot: Any, model: ViewerModel) -> Generator[Workbench, None, None]:
    """Controllers of a viewer model; work runs in real threads."""
    bench = workbench_of(model)
    yield bench
    bench.close()


@pytest.fixture
def shown(qtbot: Any, bench: Workbench, scan: Scan) -> Workbench:
    """A bench whose scan is shown and settled."""
    bench.opening.show(scan)
    settle(qtbot, bench)
    return bench


def settle(qtbot: Any, bench: Workbench, timeout: int = 20_000) -> None:
    """Wait until no thread works for the window."""
    qtbot.waitUntil(lambda: not bench.runner.busy and bench.run.state == "idle", timeout=timeout)


@pytest.fixture(name="settle")
def _settle(qtbot: Any) -> Callable[[Workbench], None]:
    return lambda bench: settle(qtbot, bench)


@pytest.fixture
def viewer(make_napari_viewer_proxy: Any, qtbot: Any) -> Generator[Any, None, None]:
    """A shown viewer; docks with canvases are shut before napari counts canvases."""
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1400, 900)
    yield viewer
    bench = workbench_of(viewer)
    pattern = bench.docks.get("Pattern")
    if pattern is not None:
        pattern.shut()
    bench.close()
    qtbot.wait(50)


@pytest.fixture
def notes() -> Generator[list[tuple[str, str]], None, None]:
    """Notifications the user would see: (severity, message)."""
    from napari.utils.notifications import notification_manager

    seen: list[tuple[str, str]] = []

    def note(notification: Any) -> None:
        seen.append((str(notification.severity.value), notification.message))

    notification_manager.notification_ready.connect(note)
    yield seen
    notification_manager.notification_ready.disconnect(note)
