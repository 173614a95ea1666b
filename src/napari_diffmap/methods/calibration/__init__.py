"""Fitting the geometry of a scan's patterns, each value with its residual."""

from __future__ import annotations

from napari_diffmap.methods.calibration.fit import FittedCalibration, PartFit, fit_calibration
from napari_diffmap.methods.calibration.parameters import PARTS, CalibrationParameters

__all__ = [
    "PARTS",
    "CalibrationParameters",
    "FittedCalibration",
    "PartFit",
    "fit_calibration",
]
