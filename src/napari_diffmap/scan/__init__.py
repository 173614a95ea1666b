"""What was measured: lazy scans with calibrated axes, their files, virtual detectors, tiles."""

from napari_diffmap.scan.axes import Axis, normalise_unit
from napari_diffmap.scan.calibration import Calibration, electron_wavelength
from napari_diffmap.scan.peaks import PeakTable
from napari_diffmap.scan.scan import AXIS_NAMES, Kind, Scan

__all__ = [
    "AXIS_NAMES",
    "Axis",
    "Calibration",
    "Kind",
    "PeakTable",
    "Scan",
    "electron_wavelength",
    "normalise_unit",
]
