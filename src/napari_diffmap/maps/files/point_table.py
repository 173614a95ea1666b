"""Points of a map file, laid out and checked: common to .ang, .ctf and HDF5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import Ambiguity
from napari_diffmap.maps.grid import Grid, grid_of
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phases import MapPhase
from napari_diffmap.maps.provenance import InputFile, Provenance

#: Said once, in the record of every imported map.
FRAME_NOTE = (
    "orientations are in the sample frame of the file, which its format does not fix;"
    " OrientationMap.in_frame turns them"
)


@dataclass(eq=False)
class PointTable:
    """What a reader found, point by point in the file's order.

    Attributes
    ----------
    path, format
        The file and a name for its format.
    euler
        ``(n, 3)`` Bunge angles in radians.
    x, y
        ``(n,)`` positions in `unit`.
    unit
        ``nm`` or ``pixel``.
    phase_index
        ``(n,)`` index into `phases`, -1 without an answer.
    phases
        As the file lists them.
    score
        ``(n,)`` or None.
    reliability, ambiguity
        Only from files of this package.
    extra
        Further columns by name.
    header_shape, header_step
        Rows and columns, and ``(dy, dx)`` in `unit`, that the header claims.
    warnings
        What was noticed so far.
    provenance
        Only from files of this package.
    """

    path: Path
    format: str
    euler: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    unit: str
    phase_index: NDArray[np.int64]
    phases: tuple[MapPhase, ...]
    score: NDArray[np.float64] | None = None
    reliability: NDArray[np.float64] | None = None
    ambiguity: NDArray[np.uint8] | None = None
    extra: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    header_shape: tuple[int, int] | None = None
    header_step: tuple[float, float] | None = None
    warnings: list[str] = field(default_factory=list)
    provenance: Provenance | None = None

    def to_map(self) -> OrientationMap:
        """Place the points on their grid.

        Raises
        ------
        BadInputError
            If phases or positions are impossible; names the file.
        """
        n = len(self.euler)
        low, high = int(self.phase_index.min()), int(self.phase_index.max())
        if low < -1 or high >= len(self.phases):
            raise BadInputError(
                f"{self.path.name}: a row names phase {high + 1}, but the header lists"
                f" {len(self.phases)}: the header is incomplete"
            )
        try:
            grid = grid_of(self.x, self.y, step=self.header_step)
        except BadInputError as error:
            raise BadInputError(f"{self.path.name}: {error}") from error
        step = self._step(grid)
        self._warn(grid)
        answered = self.phase_index >= 0
        missing = np.full(n, np.nan)
        ambiguity = self.ambiguity
        if ambiguity is None:
            # The file does not say why a point has no answer.
            ambiguity = np.where(answered, Ambiguity.NONE, Ambiguity.NO_DATA).astype(np.uint8)

        def place(values: NDArray[Any], fill: float) -> NDArray[Any]:
            return grid.place(values, fill)

        def floats(values: NDArray[np.float64] | None) -> NDArray[np.float32]:
            return (missing if values is None else values).astype(np.float32)

        return OrientationMap(
            rotations=place(self._quaternions(answered), 0)[:, :, None],
            scores=place(np.where(answered, floats(self.score), np.nan), np.nan)[:, :, None],
            phase_ids=place(self.phase_index.astype(np.int16), -1)[:, :, None],
            reliability=place(floats(self.reliability), np.nan),
            ambiguity=place(ambiguity, Ambiguity.NO_DATA),
            phases=self.phases,
            step=step,
            step_unit=self.unit,
            provenance=self._record(grid),
            extra={name: place(floats(values), np.nan) for name, values in self.extra.items()},
            warnings=tuple(self.warnings),
        )

    def _quaternions(self, answered: NDArray[np.bool_]) -> NDArray[np.float32]:
        from orix.quaternion import Rotation

        out = np.zeros((len(self.euler), 4), dtype=np.float32)
        if answered.any():
            out[answered] = Rotation.from_euler(self.euler[answered]).data
        return out

    def _step(self, grid: Grid) -> tuple[float, float]:
        claimed = self.header_step or (0.0, 0.0)
        # One line has no spacing of its own: the header's, or that of the other axis.
        dy = grid.step[0] or claimed[0] or grid.step[1] or 1.0
        dx = grid.step[1] or claimed[1] or dy
        differ = (
            found and said and abs(found - said) > 0.02 * found
            for found, said in zip(grid.step, claimed, strict=True)
        )
        if any(differ):
            self.warnings.append(
                f"the header gives steps of {claimed[0]:.4g} × {claimed[1]:.4g} {self.unit}, the"
                f" positions are {dy:.4g} × {dx:.4g} {self.unit} apart: the positions are used"
            )
        return dy, dx

    def _warn(self, grid: Grid) -> None:
        rows, columns = grid.shape
        n = len(self.euler)
        if self.header_shape is not None and self.header_shape != (rows, columns):
            self.warnings.append(
                f"the header says {self.header_shape[0]} × {self.header_shape[1]} positions, the"
                f" file holds {rows} × {columns} in {n} rows: it may be cut"
            )
        if grid.n_empty:
            self.warnings.append(
                f"{grid.n_empty} of {rows * columns} positions have no row: shown as no data"
            )
        flat = grid.rows * columns + grid.columns
        if (np.diff(flat) < 0).any():
            self.warnings.append("rows are not in scan order: sorted by their positions")

    def _record(self, grid: Grid) -> Provenance:
        if self.provenance is not None:
            return self.provenance
        file = InputFile.from_path(self.path, format=self.format, shape=grid.shape)
        notes = (FRAME_NOTE, *self.warnings)
        return Provenance.collect(inputs=[file], method=f"imported {self.format}", notes=notes)
