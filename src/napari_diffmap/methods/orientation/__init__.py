"""Orientation and phase maps by template matching."""

from __future__ import annotations

from napari_diffmap.methods.orientation.method import OrientationMethod
from napari_diffmap.methods.orientation.parameters import OrientationParameters
from napari_diffmap.methods.orientation.result import assemble

__all__ = ["OrientationMethod", "OrientationParameters", "assemble"]
