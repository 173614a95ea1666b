"""Opening results again: the map, its phases, and the calibration that it was made with."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.calibration_file import from_record, merged

if TYPE_CHECKING:
    from napari_diffmap.maps import OrientationMap, SpectralMap
    from napari_diffmap.methods.spectra.references import Reference


def calibration_of(found: OrientationMap, calibration: Calibration) -> Calibration:
    """A scan's calibration with what a map of it was made with, where the map says so.

    Parameters
    ----------
    found
        A map whose provenance holds the values used.
    calibration
        Of the scan as it was opened.
    """
    used: dict[str, Any] = (found.provenance.parameters or {}).get("used") or {}
    if isinstance(used.get("calibration"), dict):
        with suppress(CalibrationError):
            calibration = merged(calibration, from_record(used["calibration"], "the map"))
            used = {**used, "beam_plane": None}
    voltage, size, plane = (used.get(name) for name in ("voltage_kv", "pixel_size", "beam_plane"))
    if voltage and voltage != calibration.voltage_kv:
        calibration = calibration.with_voltage(float(voltage), "entered")
    if size and size != calibration.pixel_size:
        calibration = calibration.with_pixel_size(float(size), "entered")
    if plane:
        # The beam in the middle of the scan.
        middle = [(n - 1) / 2 for n in found.shape]
        cy, cx = (a + b * middle[0] + c * middle[1] for a, b, c in zip(*plane, strict=True))
        calibration = calibration.with_center((float(cy), float(cx)), "measured")
    return calibration


def references_of(found: SpectralMap) -> tuple[Reference, ...]:
    """The spectra that a phase map was made with."""
    from napari_diffmap.methods.spectra.references import Reference

    return tuple(
        Reference(p.name, p.energies, p.values, p.color, p.composition, "the map")
        for p in found.phases
    )
