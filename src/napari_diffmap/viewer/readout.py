"""What is under the mouse, in words."""

from __future__ import annotations

import math

from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.views import detector_grid, sample_grid


def number(value: float) -> str:
    """A short number: four digits that count."""
    return f"{value:.4g}"


def position_line(session: Session) -> str:
    """Which position or region is shown."""
    scan = session.scan
    if scan is None:
        return "No scan: open one in the Scan dock, or drop a file on the window"
    if session.region is not None:
        return f"mean of {int(session.region.sum())} positions (region)"
    y, x = session.position
    grid = sample_grid(scan)
    place = ""
    if grid[0].unit != "pixel":
        where = (axis.offset + i * axis.scale for axis, i in zip(grid, (y, x), strict=True))
        place = "  (" + ", ".join(f"{v:.7g}" for v in where) + f" {grid[0].unit})"
    missing = session.patterns.missing if session.patterns is not None else None
    if scan.kind == "nanodiffraction" and session.plane is not None:
        axis = scan.axes[0]
        unit = "" if axis.unit == "pixel" else f" {axis.unit}"
        place = f"{place}  angle {axis.coordinates[session.plane]:.5g}{unit}"
    gap = "  no frame was recorded here" if missing is not None and missing[y, x] else ""
    return f"y {y}, x {x}{place}{gap}"


def pattern_line(session: Session, y: float, x: float, counts: float | None) -> str:
    """Reciprocal position, d-spacing and counts under the mouse.

    Parameters
    ----------
    session
        What is looked at.
    y, x
        Mouse position in detector pixels.
    counts
        Value of that pixel; None beside the pattern.
    """
    patterns = session.patterns
    if patterns is None:
        return ""
    ky, kx = detector_grid(patterns)
    at = f"pixel {y:.0f}, {x:.0f}"
    value = "" if counts is None else f" · {number(counts)} counts"
    if kx.unit == "pixel":
        center = session.calibration.center
        if center is None:
            return at + value
        return f"{at} · {math.hypot(y - center[0], x - center[1]):.1f} px from the beam{value}"
    k = (ky.offset + y * ky.scale, kx.offset + x * kx.scale)
    size = math.hypot(*k)
    line = f"{at} · |k| {size:.3f} {kx.unit}"
    if kx.unit == "1/Å" and size > 1e-6 and session.calibration.center is not None:
        line += f" · d {1 / size:.2f} Å"
    return line + value


def calibration_line(session: Session) -> str:
    """State of the calibration in one line; what is missing carries a warning sign."""
    if session.scan is None or session.patterns is None:
        return ""
    c = session.calibration
    parts = [
        "⚠ centre missing"
        if c.center is None
        else f"centre {c.center[0]:.1f}, {c.center[1]:.1f} px ({c.center_origin})",
        "⚠ pixel size missing"
        if c.pixel_size is None
        else f"{c.pixel_size:.4g} 1/Å per px ({c.pixel_size_origin})",
        "⚠ voltage missing"
        if c.voltage_kv is None
        else f"{c.voltage_kv:g} kV ({c.voltage_origin})",
    ]
    return " · ".join(parts)
