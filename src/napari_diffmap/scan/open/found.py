"""What a reader hands on before it becomes a scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_diffmap.scan.open.regions import Region
from napari_diffmap.scan.peaks import PeakTable
from napari_diffmap.scan.scan import Kind

Role = Literal["scan", "detector"]


@dataclass(frozen=True)
class Candidate:
    """One array of a file that can be opened as a scan.

    Attributes
    ----------
    path
        Name inside the file, as given to ``open_scan(..., dataset=path)``.
    shape
        Shape of the array.
    dtype
        Its dtype as text.
    kind
        What it would open as, as far as can be told without opening it.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass(frozen=True)
class Request:
    """What the user asked for besides the file."""

    dataset: str | None = None
    scan_shape: tuple[int, int] | None = None
    shape: tuple[int, ...] | None = None
    dtype: Any = None
    offset: int = 0
    kind: Kind | None = None
    axes: tuple[str, ...] | None = None
    growing: bool = False


@dataclass
class RawAxis:
    """An axis as the file states it, before anything is believed.

    Attributes
    ----------
    name, unit
        The file's own words.
    role
        On the sample or on the detector, where the file says so.
    values
        All coordinates where the file lists them.
    """

    name: str = ""
    scale: float = 1.0
    offset: float = 0.0
    unit: object = None
    role: Role | None = None
    values: NDArray[np.float64] | None = None


@dataclass
class Found:
    """An array and everything a reader learnt about it.

    Attributes
    ----------
    data
        Region of a file, or a Dask array where a reader made one.
    axes
        One per array axis.
    format
        Reader or container, for the user.
    kind
        What sort of scan it is, where the file states it.
    diffraction
        Whether the file says that these are diffraction patterns.
    voltage_kv, pixel_size, center
        Calibration stated apart from the axes (kV, 1/Å, pixels).
    missing
        True where the file holds no frame (over the sample axes).
    notes
        Lines the user must see.
    sample_axes
        Rows and columns of the scan where they hold for any layout of a stack.
    """

    data: Region | da.Array
    axes: list[RawAxis]
    format: str
    name: str
    source: Path
    kind: Kind | None = None
    diffraction: bool | None = None
    voltage_kv: float | None = None
    pixel_size: float | None = None
    center: tuple[float, float] | None = None
    missing: NDArray[np.bool_] | None = None
    notes: list[str] = field(default_factory=list)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    peaks: PeakTable | None = None
    sample_axes: tuple[RawAxis, RawAxis] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the array."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype


@dataclass(frozen=True)
class Offer:
    """A candidate and how to load it."""

    candidate: Candidate
    load: Callable[[], Found]


def offer_of(found: Found, path: str = "") -> Offer:
    """The only array of a file, already described."""
    kind = found.kind or {4: "4D-STEM", 2: "image"}.get(len(found.shape), "stack")
    candidate = Candidate(path or found.name, found.shape, str(found.dtype), kind)
    return Offer(candidate, lambda: found)
