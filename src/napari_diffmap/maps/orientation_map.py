"""Orientation and phase map: the answers, how sure they are, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import (
    AMBIGUITY,
    AMBIGUITY_COLORS,
    AMBIGUITY_TABLE,
    Ambiguity,
    AmbiguityCause,
)
from napari_diffmap.maps.phases import PhaseLike
from napari_diffmap.maps.provenance import Provenance

if TYPE_CHECKING:
    from orix.crystal_map import CrystalMap
    from orix.quaternion import Orientation

__all__ = [
    "AMBIGUITY",
    "AMBIGUITY_COLORS",
    "AMBIGUITY_TABLE",
    "Ambiguity",
    "AmbiguityCause",
    "OrientationMap",
]

#: Largest departure of a quaternion's norm from 1 that is rounding, not a mistake.
_NORM_TOLERANCE = 1e-3
#: Of `PhaseLike`; the point group may be unknown, and asking for it raises then.
_PHASE_MEMBERS = ("name", "color", "orix")


@dataclass(frozen=True, eq=False)
class OrientationMap:
    """The `n_best` best orientations of every scan position.

    Attributes
    ----------
    rotations
        ``(Y, X, n_best, 4)`` float32 unit quaternions (a, b, c, d) as in
        `orix.quaternion.Orientation`: laboratory → crystal, with the laboratory
        frame x right along columns, y down along rows, z along the beam into
        the page.  A reflection g (crystal Cartesian, 1/Å) appears on the
        detector at ``(kx, ky) = (Oᵀ g)_{x,y}``.
    scores
        ``(Y, X, n_best)`` float32, best first; NaN where there is no answer.
    phase_ids
        ``(Y, X, n_best)`` int16, index into `phases`; -1 where there is no answer.
    reliability
        ``(Y, X)`` float32: probability 0–1 that the first answer is right; NaN
        where none was estimated.
    ambiguity
        ``(Y, X)`` uint8 codes, see `AMBIGUITY`.
    phases
        What `phase_ids` counts.
    step
        Distance of neighbouring positions ``(dy, dx)`` in `step_unit`.
    step_unit
        ``nm``, or ``pixel`` when the scan carries no calibration.
    provenance
        Where the map came from.
    extra
        Further scalar maps ``(Y, X)`` by name, e.g. columns of an imported file:
        float32, or uint8 for counts and flags.
    warnings
        Lines the user must see: what was caught and corrected on reading.

    Raises
    ------
    BadInputError
        If shapes, codes or quaternions cannot be right.
    """

    rotations: NDArray[np.float32]
    scores: NDArray[np.float32]
    phase_ids: NDArray[np.int16]
    reliability: NDArray[np.float32]
    ambiguity: NDArray[np.uint8]
    phases: tuple[PhaseLike, ...]
    step: tuple[float, float] = (1.0, 1.0)
    step_unit: str = "pixel"
    provenance: Provenance = field(default_factory=Provenance)
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, dtype in (
            ("rotations", np.float32),
            ("scores", np.float32),
            ("phase_ids", np.int16),
            ("reliability", np.float32),
            ("ambiguity", np.uint8),
        ):
            object.__setattr__(self, name, _as_dtype(name, getattr(self, name), dtype))
        object.__setattr__(self, "phases", tuple(self.phases))
        object.__setattr__(self, "step", (float(self.step[0]), float(self.step[1])))
        extra = {key: _extra(key, value) for key, value in self.extra.items()}
        object.__setattr__(self, "extra", extra)
        self._check_shapes()
        self._check_values()
        object.__setattr__(self, "rotations", _checked_rotations(self.rotations, self.phase_ids))

    # ------------------------------------------------------------- reading

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.reliability.shape
        return int(rows), int(columns)

    @property
    def n_best(self) -> int:
        """Number of answers kept for each position."""
        return int(self.rotations.shape[2])

    @property
    def indexed(self) -> NDArray[np.bool_]:
        """``(Y, X)``: True where there is an answer."""
        indexed: NDArray[np.bool_] = self.phase_ids[..., 0] >= 0
        return indexed

    @property
    def best_rotations(self) -> NDArray[np.float32]:
        """``(Y, X, 4)`` quaternions of the first answer (a view)."""
        return self.rotations[..., 0, :]

    @property
    def best_scores(self) -> NDArray[np.float32]:
        """``(Y, X)`` scores of the first answer (a view)."""
        return self.scores[..., 0]

    @property
    def best_phase_ids(self) -> NDArray[np.int16]:
        """``(Y, X)`` phases of the first answer (a view); -1 where there is none."""
        return self.phase_ids[..., 0]

    @property
    def ambiguous(self) -> NDArray[np.bool_]:
        """``(Y, X)``: True where the answer is in doubt; *no data* does not count."""
        settled = (int(Ambiguity.NONE), int(Ambiguity.NO_DATA))
        doubtful: NDArray[np.bool_] = ~np.isin(self.ambiguity, settled)
        return doubtful

    def ambiguous_fraction(self) -> float:
        """Doubtful share of the positions that hold data; NaN when none does."""
        data = int(np.count_nonzero(self.ambiguity != Ambiguity.NO_DATA))
        return float(np.count_nonzero(self.ambiguous)) / data if data else float("nan")

    def phase_mask(self, phase: int) -> NDArray[np.bool_]:
        """``(Y, X)``: True where the first answer is that phase."""
        mask: NDArray[np.bool_] = self.best_phase_ids == phase
        return mask

    def orientations(self, phase: int, mask: NDArray[np.bool_] | None = None) -> Orientation:
        """First answers of one phase with its symmetry, in row order.

        Parameters
        ----------
        phase
            Index into `phases`.
        mask
            ``(Y, X)``; only these positions (and only where the phase is the answer).
        """
        from orix.quaternion import Orientation

        chosen = self.phase_mask(phase)
        if mask is not None:
            chosen = chosen & mask
        data = self.best_rotations[chosen].astype(np.float64)
        return Orientation(data, symmetry=self.phases[phase].point_group)

    # ------------------------------------------------------------ changing

    def replaced(self, **changes: Any) -> OrientationMap:
        """The same map with some fields exchanged, checked again."""
        return replace(self, **changes)

    def in_frame(self, new_from_lab: NDArray[np.float64]) -> OrientationMap:
        """The same crystals described in another laboratory frame.

        The sample frame of an .ang or .ctf file is a convention of whoever
        wrote it; this turns the orientations (not the picture) once it is known.

        Parameters
        ----------
        new_from_lab
            ``(3, 3)`` rotation matrix R: a direction with laboratory components
            v has components R v in the new frame.  The new orientation is O Rᵀ.

        Raises
        ------
        BadInputError
            If the matrix is not a proper rotation.
        """
        from orix.quaternion import Rotation

        matrix = np.asarray(new_from_lab, dtype=np.float64)
        if (
            matrix.shape != (3, 3)
            or not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
            or np.linalg.det(matrix) < 0
        ):
            raise BadInputError(
                "a change of frame needs a 3 x 3 rotation matrix with determinant +1:"
                " check the axes, they must be right-handed"
            )
        turn = Rotation.from_matrix(matrix.T[np.newaxis])
        flat = Rotation(self.rotations.reshape(-1, 4).astype(np.float64)) * turn
        return replace(self, rotations=flat.data.reshape(self.rotations.shape))

    # ---------------------------------------------------------------- orix

    def to_crystal_map(self) -> CrystalMap:
        """First answers as `orix.crystal_map.CrystalMap`.

        Phase ids are indices into `phases`, -1 (*not_indexed*) where there is
        no answer; phases that no position has are absent, as orix wants it.
        Properties are ``score``, ``reliability``, ``ambiguity`` and `extra`;
        coordinates are in nm, or pixels (``px``) without a calibration.
        """
        from napari_diffmap.maps.orix_bridge import to_crystal_map

        return to_crystal_map(self)

    @classmethod
    def from_crystal_map(
        cls,
        crystal_map: CrystalMap,
        *,
        phases: tuple[PhaseLike, ...] | None = None,
        provenance: Provenance | None = None,
    ) -> OrientationMap:
        """The reverse of `to_crystal_map`; see `orix_bridge.from_crystal_map`."""
        from napari_diffmap.maps.orix_bridge import from_crystal_map

        return from_crystal_map(crystal_map, phases=phases, provenance=provenance)

    # -------------------------------------------------------------- checks

    def _check_shapes(self) -> None:
        if self.rotations.ndim != 4 or self.rotations.shape[-1] != 4:
            raise BadInputError(
                f"rotations must have shape (rows, columns, n_best, 4), not {self.rotations.shape}"
            )
        rows, columns, n_best = self.rotations.shape[:3]
        if min(rows, columns, n_best) < 1:
            raise BadInputError(
                f"a map of {rows} x {columns} positions and {n_best} answers is empty"
            )
        for name, wanted in (
            ("scores", (rows, columns, n_best)),
            ("phase_ids", (rows, columns, n_best)),
            ("reliability", (rows, columns)),
            ("ambiguity", (rows, columns)),
        ):
            found = getattr(self, name).shape
            if found != wanted:
                raise BadInputError(
                    f"{name} must have shape {wanted} to fit rotations, not {found}"
                )
        for name, values in self.extra.items():
            if values.shape != (rows, columns):
                raise BadInputError(
                    f"map {name!r} must have shape {(rows, columns)}, not {values.shape}"
                )

    def _check_values(self) -> None:
        for phase in self.phases:
            lacking = [name for name in _PHASE_MEMBERS if not hasattr(phase, name)]
            if lacking:
                raise BadInputError(f"{phase!r} is no phase: it lacks {', '.join(lacking)}")
        low, high = int(self.phase_ids.min()), int(self.phase_ids.max())
        if low < -1 or high >= len(self.phases):
            raise BadInputError(
                f"phase ids run from {low} to {high}, but with {len(self.phases)} phases they must"
                f" lie between -1 and {len(self.phases) - 1}"
            )
        if int(self.ambiguity.max()) not in AMBIGUITY:
            raise BadInputError(
                f"ambiguity code {int(self.ambiguity.max())} is unknown:"
                f" codes run from 0 to {max(AMBIGUITY)}"
            )
        with np.errstate(invalid="ignore"):
            outside = (self.reliability < 0) | (self.reliability > 1)
        if outside.any():
            raise BadInputError("reliability must be a probability from 0 to 1 (or NaN)")
        if not all(np.isfinite(size) and size > 0 for size in self.step):
            raise BadInputError(f"a step of {self.step} {self.step_unit} is impossible")
        if self.step_unit not in ("nm", "pixel"):
            raise BadInputError(f"the step must be in nm or pixel, not {self.step_unit!r}")


def _extra(name: str, values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    small = array.dtype in (np.dtype(np.uint8), np.dtype(bool))
    return array.astype(np.uint8) if small else _as_dtype(name, array, np.float32)


def _as_dtype(name: str, values: Any, dtype: type[Any]) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biuf":
        raise BadInputError(f"{name} must be numbers, not {array.dtype}")
    if np.dtype(dtype).kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
            raise BadInputError(f"{name} must be whole numbers")
        if array.min() < limits.min or array.max() > limits.max:
            raise BadInputError(f"{name} must lie between {limits.min} and {limits.max}")
    return array.astype(dtype)


def _checked_rotations(
    rotations: NDArray[np.float32], phase_ids: NDArray[np.int16]
) -> NDArray[np.float32]:
    """Unit quaternions where there is an answer, the identity where there is none."""
    norm = np.linalg.norm(rotations, axis=-1)
    answered = phase_ids >= 0
    with np.errstate(invalid="ignore"):
        off = ~(np.abs(norm - 1) < _NORM_TOLERANCE)
    if (off & answered).any():
        where = tuple(int(i) for i in np.argwhere(off & answered)[0])
        raise BadInputError(
            f"the rotation at row {where[0]}, column {where[1]}, answer {where[2]} is no unit"
            f" quaternion (norm {norm[where]:g})"
        )
    if not off.any():
        return rotations
    fixed = rotations.copy()
    fixed[off] = (1, 0, 0, 0)
    return fixed
