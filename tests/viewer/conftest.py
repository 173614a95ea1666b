"""A small scan whose every count is known."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray
from wrapt import ObjectProxy

from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.desk import Desk, desk_of

ROWS, COLUMNS, KY, KX = 12, 10, 40, 44
BEAM = (18.4, 21.7)
PIXEL = 0.025
STEP = (5.0, 4.0)


def known_counts(seed: int = 3) -> NDArray[np.uint16]:
    """A direct beam at `BEAM` and a spot whose place and strength tell the position."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:KY, :KX]
    beam = 900 * np.exp(-((y - BEAM[0]) ** 2 + (x - BEAM[1]) ** 2) / (2 * 1.6**2))
    counts = np.empty((ROWS, COLUMNS, KY, KX))
    for i in range(ROWS):
        for j in range(COLUMNS):
            spot = (200 + 40 * j) * np.exp(-((y - 6 - i) ** 2 + (x - 34) ** 2) / 2)
            counts[i, j] = beam + spot + 2
    return rng.poisson(counts).astype(np.uint16)


def make_scan(
    data: NDArray[Any] | None = None,
    missing: NDArray[np.bool_] | None = None,
    calibration: Calibration | None = None,
) -> Scan:
    """A 4D-STEM scan in nm and 1/Å over several chunks."""
    counts = known_counts() if data is None else data
    return Scan(
        da.from_array(counts, chunks=(4, 5, *counts.shape[2:])),
        (
            Axis("y", ROWS, STEP[0], 0.0, "nm"),
            Axis("x", COLUMNS, STEP[1], 0.0, "nm"),
            Axis("ky", KY, PIXEL, 0.0, "1/Å"),
            Axis("kx", KX, PIXEL, 0.0, "1/Å"),
        ),
        "4D-STEM",
        "known",
        calibration=calibration or Calibration(pixel_size=PIXEL, pixel_size_origin="file"),
        missing=missing,
    )


@pytest.fixture(name="make_scan")
def _make_scan() -> Callable[..., Scan]:
    return make_scan


@pytest.fixture
def counts() -> NDArray[np.uint16]:
    return known_counts()


@pytest.fixture
def scan() -> Scan:
    return make_scan()


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def desk(viewer: ViewerModel, scan: Scan) -> Desk:
    """A desk that shows the known scan; all work runs at once."""
    desk = desk_of(viewer)
    desk.show_scan(scan)
    return desk


class FakeMouse:
    """Mouse events on a viewer model, as napari's canvas makes them."""

    def __init__(self, model: ViewerModel) -> None:
        self.model = model

    def _event(self, kind: str, position: tuple[float, ...], modifiers: tuple[str, ...]) -> Any:
        full = [*self.model.dims.point[: self.model.dims.ndim - 2], *position[-2:]]
        return SimpleNamespace(
            type=kind,
            position=tuple(full),
            pos=np.zeros(2),
            button=1,
            buttons=[1],
            modifiers=modifiers,
            is_dragging=kind == "mouse_move",
            dims_displayed=[len(full) - 2, len(full) - 1],
            dims_point=full,
            view_direction=None,
            up_direction=None,
            camera_zoom=self.model.scene.camera.zoom,
            handled=False,
        )

    def drag(
        self, *positions: tuple[float, float], modifiers: tuple[str, ...] = ()
    ) -> Generator[None, None, None]:
        """Press at the first position, move through the others, release; yields after each."""
        from napari.utils.interactions import (
            mouse_move_callbacks,
            mouse_press_callbacks,
            mouse_release_callbacks,
        )

        def send(call: Callable[[Any, Any], None], kind: str, at: tuple[float, float]) -> None:
            # napari exchanges the event inside the proxy that a running callback holds.
            event = ObjectProxy(self._event(kind, at, modifiers))
            call(self.model, event)
            active = self.model.layers.selection.active
            if active is not None:
                call(active, event)

        send(mouse_press_callbacks, "mouse_press", positions[0])
        yield
        for at in positions[1:]:
            send(mouse_move_callbacks, "mouse_move", at)
            yield
        send(mouse_release_callbacks, "mouse_release", positions[-1])

    def click(self, position: tuple[float, float], modifiers: tuple[str, ...] = ()) -> None:
        """Press and release."""
        for _ in self.drag(position, modifiers=modifiers):
            pass


@pytest.fixture
def mouse() -> type[FakeMouse]:
    return FakeMouse
