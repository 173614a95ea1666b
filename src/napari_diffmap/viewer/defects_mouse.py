"""The mouse on the defects: a click selects one, a drag of the selected one moves it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_layers import DefectLayers
from napari_diffmap.viewer.views import sample_grid

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: A find is taken within this share of the width of its mark.
_NEAR = 0.6
#: A drag begins after so many screen pixels: no click moves anything.
_STILL = 4.0


def take_defects(defects: Defects, layers: DefectLayers, viewer: ViewerModel) -> Callable[..., Any]:
    """Let clicks select finds, and a drag of the one that is selected move it."""

    def place(event: Any) -> tuple[float, float]:
        scan = defects.session.scan
        assert scan is not None
        grid = sample_grid(scan)
        y, x = (
            (w - axis.offset) / axis.scale
            for w, axis in zip(event.position[-2:], grid, strict=True)
        )
        return float(y), float(x)

    def on_drag(viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or event.modifiers or viewer.dims.ndisplay != 2:
            return
        active = viewer.layers.selection.active
        if defects.map is None or (active is not None and active.mode != "pan_zoom"):
            return
        start = place(event)
        slot = defects.at(*start, _NEAR * layers.size)
        held = slot is not None and slot in defects.selection[:1]
        defects.select([] if slot is None else [slot])
        if slot is None or not held:
            return
        scan = defects.session.scan
        assert scan is not None
        still = _STILL / max(viewer.scene.camera.zoom * sample_grid(scan)[1].scale, 1e-12)
        begin = tuple(float(value) for value in defects.map.best_places[0, slot, 1:])
        moved = False

        def follow() -> tuple[float, float]:
            """By as much as the mouse moved: it did not take the mark in its very middle."""
            nonlocal moved
            y, x = place(event)
            moved = moved or max(abs(y - start[0]), abs(x - start[1])) > still
            return begin[0] + y - start[0], begin[1] + x - start[1]

        yield
        while event.type == "mouse_move":
            to = follow()
            if moved:
                layers.drag(slot, *to)
            yield
        # A fast mouse may not have told its last place before it was released.
        to = follow()
        if moved:
            defects.try_to(lambda: defects.move(slot, *to))
            layers.redraw()

    # Before what picks positions: that one goes on to the end of the drag.
    viewer.mouse_drag_callbacks.insert(0, on_drag)
    return on_drag
