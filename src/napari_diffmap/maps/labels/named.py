"""Whole numbers with names and colours, as label files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.colors import rgba

#: Units of a step and their names in OME-NGFF.
UNITS = {"nm": "nanometer", "µm": "micrometer"}
_DTYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32")


@dataclass(frozen=True, eq=False)
class NamedLabels:
    """A label map and what its numbers mean.

    Attributes
    ----------
    labels
        ``(Y, X)`` whole numbers of 8, 16 or 32 bits; wider ones are narrowed
        where that loses nothing, booleans become uint8.
    names
        Number → name.
    colors
        Number → colour, kept as ``#RRGGBB``.
    step
        Distance of neighbouring pixels ``(dy, dx)`` in `step_unit`.
    step_unit
        ``nm``, ``µm``, or ``pixel`` without a calibration.

    Raises
    ------
    BadInputError
        If any of these cannot be.
    """

    labels: NDArray[Any]
    names: Mapping[int, str] = field(default_factory=dict)
    colors: Mapping[int, str] = field(default_factory=dict)
    step: tuple[float, float] = (1.0, 1.0)
    step_unit: str = "pixel"

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", _narrowed(np.asarray(self.labels)))
        names = {int(number): str(name) for number, name in self.names.items()}
        object.__setattr__(self, "names", names)
        colors = {int(number): _hex(color) for number, color in self.colors.items()}
        object.__setattr__(self, "colors", colors)
        dy, dx = (float(size) for size in self.step)
        if not all(np.isfinite(size) and size > 0 for size in (dy, dx)):
            raise BadInputError(f"a step of {dy:g} × {dx:g} {self.step_unit} is impossible")
        object.__setattr__(self, "step", (dy, dx))
        unit = {"um": "µm", "μm": "µm", "px": "pixel"}.get(self.step_unit, self.step_unit)
        if unit not in (*UNITS, "pixel"):
            raise BadInputError(f"the step must be in nm, µm or pixel, not {self.step_unit!r}")
        object.__setattr__(self, "step_unit", unit)


def _narrowed(labels: NDArray[Any]) -> NDArray[Any]:
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "biu":
        raise BadInputError(
            f"a label map must be whole numbers (Y, X), not {labels.shape} {labels.dtype}"
        )
    if labels.dtype == bool:
        return labels.astype(np.uint8)
    if labels.dtype.name in _DTYPES:
        return labels
    low, high = int(labels.min()), int(labels.max())
    for dtype in (np.int32, np.uint32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return labels.astype(dtype)
    raise BadInputError(f"labels run from {low} to {high}, beyond 32 bits: number them anew from 1")


def _hex(color: str) -> str:
    return "#{:02X}{:02X}{:02X}".format(*rgba(color)[:3])


def plane(values: NDArray[Any]) -> NDArray[Any]:
    """Rows and columns, without leading axes of one place (time, channel, slice)."""
    return values.reshape([n for n in values.shape[:-2] if n > 1] + [*values.shape[-2:]])
