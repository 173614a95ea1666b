"""Rings of a known phase on the pattern canvas, before and after a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.viewer.display import contrast_limits
from napari_diffmap.viewer.views import detector_grid, geometry

if TYPE_CHECKING:
    from napari.layers import Image, Points, Shapes

    from napari_diffmap.viewer.calibrating import RingPreview
    from napari_diffmap.viewer.pattern_layers import PatternLayers

#: Okabe–Ito: dots before, lines after, so that colour is not all that tells them apart.
BEFORE_COLOR, AFTER_COLOR = "#BBBBBB", "#E69F00"


class RingLayers:
    """Draws and removes the preview of a fit to a known phase.

    Parameters
    ----------
    pattern
        The pattern canvas.
    """

    def __init__(self, pattern: PatternLayers) -> None:
        self.pattern = pattern
        self.picture: Image | None = None
        self.before: Points | None = None
        self.after: Shapes | None = None

    def show(self, preview: RingPreview | None) -> None:
        """Draw a preview in place of the last one; None takes it away."""
        model = self.pattern.model
        for layer in (self.picture, self.before, self.after):
            if layer is not None and layer in model.layers:
                model.layers.remove(layer)
        self.picture = self.before = self.after = None
        scan = self.pattern.session.patterns
        if preview is None or scan is None or self.pattern.pattern is None:
            return
        where = geometry(detector_grid(scan))
        active = model.layers.selection.active
        if preview.picture is not None:
            picture = np.log1p(np.clip(preview.picture, 0, None))
            self.picture = model.add_image(
                picture,
                name="brightest of all patterns",
                colormap="gray",
                contrast_limits=contrast_limits(picture, 1.0, 99.9),
                **where,
            )
        if preview.before:
            self.before = model.add_points(
                np.concatenate(preview.before),
                name="rings before the fit",
                size=max(scan.shape[2:]) / 200,
                face_color=BEFORE_COLOR,
                border_width=0,
                canvas_size_limits=(2, 4),
                **where,
            )
        if preview.after:
            self.after = model.add_shapes(
                list(preview.after),
                shape_type="path",
                name="rings after the fit",
                edge_color=AFTER_COLOR,
                edge_width=max(scan.shape[2:]) / 250,
                face_color="transparent",
                **where,
            )
        model.layers.selection.active = active
