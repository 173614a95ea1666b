"""One scan seen as two canvases: a sample image, and what was recorded at each position."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

#: Kinds whose second canvas is a pattern; the others show a spectrum or nothing.
PATTERN_KINDS = frozenset({"4D-STEM", "pattern stack", "pattern", "nanodiffraction", "Bragg CDI"})
STACK_KINDS = frozenset({"STXM", "image series", "image"})


def as_patterns(scan: Scan, frame: int = 0) -> Scan | None:
    """The scan as patterns on a grid of positions ``(y, x, ky, kx)``.

    Parameters
    ----------
    scan
        Any scan.
    frame
        Which angle of a nanodiffraction rocking scan.

    Returns
    -------
    Scan or None
        A 4D-STEM scan over the same lazy array; a flat stack becomes one row.
        None for kinds without patterns.
    """
    if scan.kind == "4D-STEM":
        return scan
    ky, kx = scan.axes[-2:] if scan.kind in PATTERN_KINDS else (None, None)
    if ky is None or kx is None:
        return None
    detector = (replace(ky, name="ky"), replace(kx, name="kx"))
    if scan.kind == "pattern":
        data, sample = scan.data[None, None], (Axis("y", 1), Axis("x", 1))
        missing = None
    elif scan.kind == "nanodiffraction":
        data, sample = scan.data[frame], scan.axes[1:3]
        missing = None if scan.missing is None else _per_position(scan.missing, frame)
    else:
        data = scan.data[None]
        sample = (Axis("y", 1), Axis("x", scan.shape[0]))
        missing = None if scan.missing is None else scan.missing.reshape(1, -1)
    return replace(
        scan, data=data, axes=(*sample, *detector), kind="4D-STEM", missing=missing, peaks=None
    )


def _per_position(missing: NDArray[np.bool_], frame: int) -> NDArray[np.bool_] | None:
    return missing[frame] if missing.ndim == 3 else None


def sample_grid(scan: Scan) -> tuple[Axis, Axis]:
    """Axes ``y, x`` of the sample image, in canonical units (nm, 1/Å, pixel)."""
    patterns = as_patterns(scan)
    axes = patterns.axes[:2] if patterns is not None else scan.axes[-2:]
    return _shown(axes[0]), _shown(axes[1])


def picture_grid(scan: Scan) -> tuple[Axis, ...]:
    """Axes of the picture in the main canvas: ``y, x``; ``time, y, x`` of an image series."""
    grid = sample_grid(scan)
    return (_shown(scan.axes[0]), *grid) if scan.kind == "image series" else grid


def detector_grid(patterns: Scan) -> tuple[Axis, Axis]:
    """Axes ``ky, kx`` with the direct beam at zero wherever its position is known."""
    center = patterns.calibration.center
    shown = []
    for i, axis in enumerate(patterns.axes[2:]):
        axis = _shown(axis)
        offset = axis.offset if center is None else -center[i] * axis.scale
        shown.append(replace(axis, offset=offset))
    return shown[0], shown[1]


def _shown(axis: Axis) -> Axis:
    axis = axis.canonical()
    # A negative step mirrors the picture; the array order is what the user sees and clicks.
    return replace(axis, scale=abs(axis.scale))


def geometry(axes: tuple[Axis, ...]) -> dict[str, tuple[float, ...] | tuple[str, ...]]:
    """``scale``, ``translate``, ``units`` and ``axis_labels`` of a napari layer."""
    return {
        "scale": tuple(axis.scale for axis in axes),
        "translate": tuple(axis.offset for axis in axes),
        "units": tuple(axis.unit for axis in axes),
        "axis_labels": tuple(axis.name for axis in axes),
    }


def place_layer(layer: Any, where: dict[str, Any]) -> None:
    """Put a layer where `geometry` says.

    Only what differs is set: every assignment makes napari lay the whole canvas out again.
    """
    for name, value in where.items():
        there = getattr(layer, name)
        if name in ("scale", "translate"):
            same = len(there) == len(value) and np.allclose(there, value)
        else:
            wanted = _unit_names(value) if name == "units" else value
            same = tuple(map(str, there)) == tuple(wanted)
        if not same:
            setattr(layer, name, value)


def show_layer(layer: Any, visible: bool) -> None:
    """Open or close a layer's eye; saying so again would cost napari a drawing."""
    if layer.visible != visible:
        layer.visible = visible


def _unit_names(units: tuple[str, ...]) -> tuple[str, ...]:
    """Units as napari spells them."""
    import pint

    registry = pint.get_application_registry()
    return tuple(str(registry.Unit(unit)) for unit in units)


def sure_center(calibration: Calibration, shape: tuple[int, int]) -> tuple[float, float]:
    """The direct beam, or the middle of the detector while it is unknown (pixels)."""
    return calibration.center or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
