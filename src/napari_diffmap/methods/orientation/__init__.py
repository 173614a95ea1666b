"""Orientation and phase maps by template matching."""

from __future__ import annotations

from napari_diffmap.methods.orientation.describe import (
    AnswerDescription,
    PredictedSpots,
    describe_pixel,
)
from napari_diffmap.methods.orientation.method import OrientationMethod
from napari_diffmap.methods.orientation.parameters import OrientationParameters
from napari_diffmap.methods.orientation.result import assemble
from napari_diffmap.methods.orientation.spatial import resolve

__all__ = [
    "AnswerDescription",
    "OrientationMethod",
    "OrientationParameters",
    "PredictedSpots",
    "assemble",
    "describe_pixel",
    "resolve",
]
