"""The calibration a file carries: pixel size, centre and voltage, each with its origin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration, electron_wavelength
from napari_diffmap.scan.open.found import Found


def plausible_voltage(value: Any) -> float | None:
    """A beam energy in kV, whether the file gives V or kV; None when it gives none.

    Parameters
    ----------
    value
        Number from the file.  20 to 3000 is kV, 20,000 to 3,000,000 is V.
    """
    try:
        number = float(np.asarray(value).ravel()[0])
    except (TypeError, ValueError, IndexError):
        return None
    if not math.isfinite(number):
        return None
    if 20e3 <= number <= 3e6:
        return number / 1e3
    return number if 20 <= number <= 3000 else None


def voltage_from_wavelength(angstrom: float) -> float | None:
    """Accelerating voltage in kV of a relativistic wavelength in Å.

    The positive root of ``λ² V (1 + 0.978459e-6 V) = 12.2643²`` (De Graef 2003,
    eq. 2.20, as in `electron_wavelength`).
    """
    if not 0.003 <= angstrom <= 0.1:
        return None
    b = 0.978459e-6
    product = (12.2643 / angstrom) ** 2
    return (math.sqrt(1 + 4 * b * product) - 1) / (2 * b) / 1e3


def pixel_from_camera(
    pixel_m: float, camera_length_m: float, voltage_kv: float | None
) -> float | None:
    """Detector pixel in 1/Å from its size and the camera length (both m).

    None unless all three are given and plausible: nothing is invented.
    """
    if voltage_kv is None or not (1e-6 <= pixel_m <= 2e-3 and 0.005 <= camera_length_m <= 20):
        return None
    size = pixel_m / camera_length_m / electron_wavelength(voltage_kv)
    return size if 1e-4 <= size <= 0.5 else None


def calibrate(found: Found, axes: tuple[Axis, ...]) -> tuple[Calibration, tuple[Axis, ...]]:
    """Calibration of a scan with patterns, and its k-axes in 1/Å where possible.

    Parameters
    ----------
    found
        What the reader learnt; its notes grow.
    axes
        Tidy axes, k-axes last.
    """
    calibration = Calibration()
    voltage = plausible_voltage(found.voltage_kv) if found.voltage_kv else None
    if voltage is not None:
        calibration = calibration.with_voltage(voltage, "file")
    ky, kx = axes[-2:]
    if ky.unit == kx.unit == "mrad" and voltage is not None:
        to_k = 1e-3 / electron_wavelength(voltage)
        ky, kx = (
            replace(a, scale=a.scale * to_k, offset=a.offset * to_k, unit="1/Å") for a in (ky, kx)
        )
    center = found.center or _center_of(ky, kx)
    if center is not None:
        calibration = calibration.with_center(center, "file")
    if ky.unit == kx.unit == "1/Å":
        if abs(ky.scale - kx.scale) > 0.05 * abs(kx.scale):
            found.notes.append(
                f"k-axes differ ({ky.scale:.4g} and {kx.scale:.4g} 1/Å per pixel):"
                " set the pixel size before mapping"
            )
        else:
            size = math.sqrt(ky.scale * kx.scale)
            calibration = calibration.with_pixel_size(size, "file")
    elif found.pixel_size is not None:
        try:
            calibration = calibration.with_pixel_size(float(found.pixel_size), "file")
        except CalibrationError as error:
            found.notes.append(str(error))
        else:
            step = float(found.pixel_size)
            middle = center or ((ky.size - 1) / 2, (kx.size - 1) / 2)
            ky = Axis(ky.name, ky.size, step, -middle[0] * step, "1/Å")
            kx = Axis(kx.name, kx.size, step, -middle[1] * step, "1/Å")
    return calibration, (*axes[:-2], ky, kx)


def _center_of(ky: Axis, kx: Axis) -> tuple[float, float] | None:
    """Where both k-axes pass through zero, when the file says so on the detector."""
    if not (ky.calibrated and kx.calibrated and ky.offset and kx.offset):
        return None
    center = (-ky.offset / ky.scale, -kx.offset / kx.scale)
    inside = all(0 <= c <= a.size - 1 for c, a in zip(center, (ky, kx), strict=True))
    return center if inside else None


def flatten(tree: Mapping[str, Any], prefix: str = "", limit: int = 400) -> dict[str, Any]:
    """Nested metadata as flat, printable key/value pairs.

    Values longer than 200 characters and large arrays are left out.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if len(flat) >= limit:
            break
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}.", limit - len(flat)))
            continue
        printable = _printable(value)
        if printable is not None:
            flat[name] = printable
    return flat


def _printable(value: object) -> Any:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace").strip("\x00")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.size > 16 or value.dtype.kind not in "biufUS":
            return None
        value = value.tolist()
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= 200 else None
    if isinstance(value, list | tuple) and len(value) <= 16:
        parts = [_printable(v) for v in value]
        return None if any(p is None for p in parts) else parts
    return None


def lookup(tree: Mapping[str, Any], dotted: str) -> Any:
    """A value of nested metadata, None where the path ends early."""
    node: Any = tree
    for key in dotted.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node


def first(values: Iterable[Any]) -> Any:
    """The first value that is not None."""
    return next((v for v in values if v is not None), None)
