"""Where the direct beam is and how large a detector pixel is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from napari_diffmap.errors import CalibrationError

#: Where a calibrated value came from; shown beside it in every form.
Origin = Literal["missing", "file", "measured", "entered"]


def electron_wavelength(voltage_kv: float) -> float:
    """Relativistic electron wavelength in Å.

    Parameters
    ----------
    voltage_kv
        Accelerating voltage in kV.

    Raises
    ------
    CalibrationError
        If the voltage is not between 1 and 3000 kV.

    Notes
    -----
    De Graef, *Introduction to Conventional Transmission Electron Microscopy*
    (2003), eq. 2.20: ``12.2643 / sqrt(V (1 + 0.978459e-6 V))`` with V in volt.
    """
    if not 1 <= voltage_kv <= 3000:
        raise CalibrationError(
            f"an accelerating voltage of {voltage_kv:g} kV is impossible: give kV, e.g. 200"
        )
    volt = voltage_kv * 1e3
    return 12.2643 / math.sqrt(volt * (1 + 0.978459e-6 * volt))


@dataclass(frozen=True)
class Calibration:
    """Geometry of the patterns of a scan.

    Attributes
    ----------
    center
        Direct-beam position ``(ky, kx)`` in detector pixels; pixel centres are
        at integers.  None when unknown.
    pixel_size
        Detector pixel in 1/Å (without 2π).  None when unknown.
    voltage_kv
        Accelerating voltage in kV.  None when unknown.
    center_origin, pixel_size_origin, voltage_origin
        Where each value came from.
    """

    center: tuple[float, float] | None = None
    pixel_size: float | None = None
    voltage_kv: float | None = None
    center_origin: Origin = "missing"
    pixel_size_origin: Origin = "missing"
    voltage_origin: Origin = "missing"

    def __post_init__(self) -> None:
        if self.pixel_size is not None and not 0 < self.pixel_size < 10:
            raise CalibrationError(
                f"a detector pixel of {self.pixel_size:g} 1/Å is impossible:"
                " give 1/Å per pixel, e.g. 0.01"
            )
        if self.voltage_kv is not None:
            electron_wavelength(self.voltage_kv)

    def with_center(self, center: tuple[float, float], origin: Origin) -> Calibration:
        """The same calibration with another direct-beam position (pixels)."""
        return replace(self, center=center, center_origin=origin)

    def with_pixel_size(self, pixel_size: float, origin: Origin) -> Calibration:
        """The same calibration with another detector pixel (1/Å)."""
        return replace(self, pixel_size=pixel_size, pixel_size_origin=origin)

    def with_voltage(self, voltage_kv: float, origin: Origin) -> Calibration:
        """The same calibration with another accelerating voltage (kV)."""
        return replace(self, voltage_kv=voltage_kv, voltage_origin=origin)

    @property
    def complete(self) -> bool:
        """Whether orientations can be mapped: centre, pixel size and voltage known."""
        return None not in (self.center, self.pixel_size, self.voltage_kv)

    def missing(self) -> tuple[str, ...]:
        """What is missing, in the user's words."""
        return tuple(
            word
            for word, value in (
                ("centre", self.center),
                ("pixel size", self.pixel_size),
                ("voltage", self.voltage_kv),
            )
            if value is None
        )

    def summary(self) -> str:
        """One line for the panel, e.g. ``centre 63.5, 63.5 px (measured) · …``."""
        center = (
            f"centre {self.center[0]:.1f}, {self.center[1]:.1f} px ({self.center_origin})"
            if self.center
            else "centre missing"
        )
        size = (
            f"{self.pixel_size:.5g} 1/Å per px ({self.pixel_size_origin})"
            if self.pixel_size
            else "pixel size missing"
        )
        volt = (
            f"{self.voltage_kv:g} kV ({self.voltage_origin})"
            if self.voltage_kv
            else "voltage missing"
        )
        return " · ".join((center, size, volt))
