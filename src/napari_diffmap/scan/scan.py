"""A measured scan: a lazy array with named, calibrated axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, NeedsShapeError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.peaks import PeakTable

Kind = Literal[
    "4D-STEM",
    "pattern stack",
    "pattern",
    "STXM",
    "image series",
    "image",
    "nanodiffraction",
    "Bragg CDI",
]

#: Axis names of each kind, in array order.
AXIS_NAMES: dict[Kind, tuple[str, ...]] = {
    "4D-STEM": ("y", "x", "ky", "kx"),
    "pattern stack": ("frame", "ky", "kx"),
    "pattern": ("ky", "kx"),
    "STXM": ("energy", "y", "x"),
    "image series": ("time", "y", "x"),
    "image": ("y", "x"),
    "nanodiffraction": ("angle", "y", "x", "qy", "qx"),
    "Bragg CDI": ("angle", "qy", "qx"),
}
#: Each kind in a sentence.
_IN_WORDS: dict[Kind, str] = {
    "4D-STEM": "a 4D-STEM scan",
    "pattern stack": "a pattern stack",
    "pattern": "a single pattern",
    "STXM": "an STXM scan",
    "image series": "an image series",
    "image": "an image",
    "nanodiffraction": "a nanodiffraction scan",
    "Bragg CDI": "a Bragg CDI scan",
}
_SAMPLE = frozenset({"y", "x", "frame"})


class Stored(Protocol):
    """The array as it lies in its file, read without Dask where speed counts."""

    shape: tuple[int, ...]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Values at `index`, read now."""
        ...

    def view(self, index: tuple[Any, ...]) -> NDArray[Any] | None:
        """A map of the file at `index`, any byte order and strides; None if it must be decoded."""
        ...

    def laid_out(self, scan_shape: tuple[int, int]) -> Stored | None:
        """Its frames, row by row, on scan positions."""
        ...


@dataclass(frozen=True, eq=False)
class Scan:
    """What was measured.

    Attributes
    ----------
    data
        Lazy array in the file's own dtype; axes as in `axes`.
    axes
        One `Axis` per array axis, named as in ``AXIS_NAMES[kind]``.
    kind
        What sort of scan it is.
    name, source, format
        A short name, the file, and the reader that opened it.
    calibration
        Geometry of the patterns; empty for kinds without patterns.
    missing
        Boolean array over the sample axes (over the first axis for stacks):
        True where the file holds no frame.  None when every frame is there.
    warnings
        Lines the user must see: what was caught and corrected while opening.
    metadata
        Free key/value pairs of the file, flat, printable.
    peaks
        The measured peak list when the scan was opened from one.
    stored
        The same array as `data` in its file; None where `data` is anything else than that.
    stored_as
        Name of the Dask array that `stored` stands for: with other data it goes.
    """

    data: da.Array
    axes: tuple[Axis, ...]
    kind: Kind
    name: str
    source: Path | None = None
    format: str = ""
    calibration: Calibration = field(default_factory=Calibration)
    missing: NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    peaks: PeakTable | None = None
    stored: Stored | None = None
    stored_as: str = ""

    def __post_init__(self) -> None:
        names = tuple(axis.name for axis in self.axes)
        if names != AXIS_NAMES[self.kind]:
            raise BadInputError(
                f"{self.in_words} has axes {', '.join(AXIS_NAMES[self.kind])},"
                f" not {', '.join(names)}"
            )
        if tuple(axis.size for axis in self.axes) != self.data.shape:
            raise BadInputError(
                f"axes of sizes {tuple(a.size for a in self.axes)} do not fit an array of shape"
                f" {self.data.shape}"
            )
        if self.stored is not None and self.stored_as != self.data.name:
            object.__setattr__(self, "stored", None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The file's own dtype."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the whole scan once decoded."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def sample_axes(self) -> tuple[Axis, ...]:
        """Axes on the sample: ``y, x`` (or ``frame`` of a flat stack)."""
        return tuple(axis for axis in self.axes if axis.name in _SAMPLE)

    @property
    def detector_axes(self) -> tuple[Axis, ...]:
        """All other axes: the pattern, the spectrum or the series."""
        return tuple(axis for axis in self.axes if axis.name not in _SAMPLE)

    @property
    def has_patterns(self) -> bool:
        """Whether this is a 4D-STEM scan, ready for virtual detectors and maps."""
        return self.kind == "4D-STEM"

    @property
    def in_words(self) -> str:
        """The kind in a sentence, e.g. ``an STXM scan``."""
        return _IN_WORDS[self.kind]

    def need_patterns(self, purpose: str) -> None:
        """Refuse a scan without patterns on scan positions.

        Parameters
        ----------
        purpose
            What needs them, with its verb, e.g. ``"orientations need"``.

        Raises
        ------
        BadInputError
            If this is no 4D-STEM scan; a flat stack is told how to become one.
        """
        if self.has_patterns:
            return
        advice = ""
        if self.kind == "pattern stack":
            advice = f": {self.shape[0]} frames; give the scan shape (rows, columns)"
        raise BadInputError(
            f"{self.name} is {self.in_words}, and {purpose} patterns on scan positions{advice}"
        )

    def with_calibration(self, calibration: Calibration) -> Scan:
        """The same scan with another calibration; k-axes follow it."""
        axes = list(self.axes)
        if self.kind in ("4D-STEM", "pattern stack", "pattern"):
            center = calibration.center
            for i, c in ((-2, 0), (-1, 1)):
                axis = axes[i]
                if calibration.pixel_size is not None:
                    size = calibration.pixel_size
                    offset = -(center[c] if center else (axis.size - 1) / 2) * size
                    axes[i] = replace(axis, scale=size, offset=offset, unit="1/Å")
        return replace(self, calibration=calibration, axes=tuple(axes))

    def reshaped(self, scan_shape: tuple[int, int]) -> Scan:
        """A flat stack of patterns laid out on a scan of (rows, columns).

        Raises
        ------
        NeedsShapeError
            If rows × columns is not the number of frames.
        """
        if self.kind == "4D-STEM":
            rows, columns = self.shape[:2]
            frames = rows * columns
        elif self.kind == "pattern stack":
            frames = self.shape[0]
        else:
            raise BadInputError(f"{self.in_words} cannot be laid out on scan positions")
        if min(scan_shape) < 1 or scan_shape[0] * scan_shape[1] != frames:
            raise NeedsShapeError(
                f"{frames} frames cannot be laid out as {scan_shape[0]} x {scan_shape[1]}"
                f" = {scan_shape[0] * scan_shape[1]}: give rows,columns whose product is {frames}"
            )
        detector = self.axes[-2:]
        data = self.data.reshape((*scan_shape, *self.shape[-2:]))
        missing = None if self.missing is None else self.missing.reshape(scan_shape)
        sample = (
            self.axes[:2]
            if self.kind == "4D-STEM" and self.shape[:2] == tuple(scan_shape)
            else (Axis("y", scan_shape[0]), Axis("x", scan_shape[1]))
        )
        peaks = self.peaks.reshaped(scan_shape) if self.peaks is not None else None
        return replace(
            self,
            data=data,
            axes=(*sample, *detector),
            kind="4D-STEM",
            missing=missing,
            peaks=peaks,
            stored=None if self.stored is None else self.stored.laid_out(scan_shape),
            stored_as=data.name,
        )

    def pattern(self, y: int, x: int) -> NDArray[Any]:
        """One pattern ``(ky, kx)`` as numpy, float with NaN where no frame was recorded."""
        if not self.has_patterns:
            raise BadInputError(f"{self.in_words} has no patterns on scan positions")
        if self.stored is not None:
            frame = self.stored[y, x]
        else:
            frame = np.asarray(self.data[y, x].compute(scheduler="synchronous"))
        if self.missing is not None and self.missing[y, x]:
            return np.full(frame.shape, np.nan, dtype=np.float32)
        return frame
