"""What a JSON file beside an image or a movie says: pixel size and frame time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from napari_diffmap.scan.open.classify import axis_class
from napari_diffmap.scan.open.found import Found, RawAxis

#: No description of an image is longer.
_MAX_BYTES = 1 << 20


def describe(path: Path, found: Found) -> None:
    """Pixel size and frame time of an image or a stack from ``NAME.json`` beside it.

    Two layouts are read: ``{"pixel_size_nm": 0.03, "frame_time_s": 2.25}``, and a field of view
    below ``experimental_details.spatial_info`` (``field_of_view_x``, ``field_of_view_y``,
    ``field_of_view_units``).  What the file itself says about its pixels counts more.

    Parameters
    ----------
    path
        The file or folder; the JSON bears its name without the ending.
    found
        Its axes, notes and metadata are filled.
    """
    file = path.with_suffix(".json")
    if len(found.shape) not in (2, 3) or not file.is_file() or file.stat().st_size > _MAX_BYTES:
        return
    try:
        told = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return
    if not isinstance(told, dict) or any(
        axis_class(axis, strict=True) != "?" for axis in found.axes[-2:]
    ):
        return
    steps = _steps(told, found.shape[-2:])
    if steps is not None:
        found.axes[-2:] = [
            RawAxis(name, step, 0.0, unit) for name, (step, unit) in zip("yx", steps, strict=True)
        ]
        source = "pixel size" if "pixel_size_nm" in told else "pixel size from the field of view"
        found.notes.append(f"{source} in {file.name}")
    time = _positive(told.get("frame_time_s"))
    if time is not None and len(found.shape) == 3:
        found.axes[0] = RawAxis("time", time, 0.0, "s")
        found.notes.append(f"frame time from {file.name}")
    voltage = _at(told, "experimental_details", "voltage")
    if steps is not None:
        found.metadata = {**found.metadata, "sidecar": file.name, "voltage": str(voltage or "")}


def _steps(told: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[float, str]] | None:
    """Step and unit of rows and columns."""
    given = told.get("pixel_size_nm")
    sizes = [_positive(v) for v in (given if isinstance(given, list) else [given, given])]
    if len(sizes) == 2 and None not in sizes:
        return [(float(size or 1.0), "nm") for size in sizes]
    space = _at(told, "experimental_details", "spatial_info") or told
    if not isinstance(space, dict):
        return None
    views = [_positive(space.get(f"field_of_view_{name}")) for name in "yx"]
    unit = space.get("field_of_view_units")
    if None in views or not isinstance(unit, str):
        return None
    return [(float(view or 1.0) / n, unit) for view, n in zip(views, shape, strict=True)]


def _at(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _positive(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None
