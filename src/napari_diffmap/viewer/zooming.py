"""Bringing a part of the sample into view."""

from __future__ import annotations

from typing import Any

from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.views import sample_grid

#: Pixels of a map that are shown at least, so that a small zone is seen where it lies; and the
#: share of the canvas that a large one fills.
_LEAST, _FILL = 24, 0.6


def look_at(
    session: Session,
    viewer: Any,
    bbox: tuple[int, int, int, int],
    *,
    always: bool = False,
    fill: float = _FILL,
) -> None:
    """Move and zoom the sample so that rows and columns ``(y0, x0, y1, x1)`` fill the view.

    What is in view and large enough stays where it is, unless `always`: jumping makes blind.
    The box takes a share `fill` of the canvas.
    """
    if session.scan is None:
        return
    axes = sample_grid(session.scan)
    begin = [axes[i].offset + (bbox[i] - 0.5) * axes[i].scale for i in (0, 1)]
    end = [axes[i].offset + (bbox[i + 2] - 0.5) * axes[i].scale for i in (0, 1)]
    size = [max(end[i] - begin[i], _LEAST * axes[i].scale) for i in (0, 1)]
    camera, canvas = viewer.scene.camera, viewer.canvas.size
    zoom = fill * min(canvas[i] / size[i] for i in (0, 1))
    half = [canvas[i] / camera.zoom / 2 for i in (0, 1)]
    center = camera.center[-2:]
    seen = all(center[i] - half[i] < begin[i] and end[i] < center[i] + half[i] for i in (0, 1))
    if not always and seen and zoom / 4 < camera.zoom < 2 * zoom:
        return
    camera.center = (0.0, *((begin[i] + end[i]) / 2 for i in (0, 1)))
    camera.zoom = zoom
