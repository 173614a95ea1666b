"""The mouse on the sample: click or drag to another position."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.views import sample_grid

if TYPE_CHECKING:
    from napari.components import ViewerModel


def position_at(session: Session, world: tuple[float, ...]) -> tuple[int, int] | None:
    """Scan position under a world coordinate; None beside the scan."""
    if session.scan is None:
        return None
    grid = sample_grid(session.scan)
    y, x = (round((w - axis.offset) / axis.scale) for w, axis in zip(world[-2:], grid, strict=True))
    rows, columns = session.grid
    return (y, x) if 0 <= y < rows and 0 <= x < columns else None


def clipped_position(session: Session, world: tuple[float, ...]) -> tuple[int, int]:
    """Nearest scan position to a world coordinate (a drag may leave the scan)."""
    assert session.scan is not None
    grid = sample_grid(session.scan)
    y, x = (round((w - axis.offset) / axis.scale) for w, axis in zip(world[-2:], grid, strict=True))
    rows, columns = session.grid
    return min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)


def follow_mouse(session: Session, viewer: ViewerModel) -> Callable[..., Any]:
    """Let a plain click or drag on the sample choose the position.

    Shift-drag pans, the wheel zooms; while a layer is being drawn on, the mouse
    belongs to that layer.
    """

    def on_drag(viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or event.modifiers or viewer.dims.ndisplay != 2:
            return
        active = viewer.layers.selection.active
        if active is not None and active.mode != "pan_zoom":
            return
        here = position_at(session, event.position)
        if here is None:
            return
        camera = viewer.scene.camera
        pan, camera.mouse_pan = camera.mouse_pan, False
        try:
            session.set_position(*here)
            yield
            while event.type == "mouse_move":
                session.set_position(*clipped_position(session, event.position))
                yield
            # A fast mouse may not have told its last place before it was released.
            session.set_position(*clipped_position(session, event.position))
        finally:
            camera.mouse_pan = pan

    viewer.mouse_drag_callbacks.append(on_drag)
    return on_drag
