"""Orientation and phase map: the answers, how sure they are, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

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
from napari_diffmap.maps.phase_map import PhaseMap
from napari_diffmap.maps.phases import PhaseLike
from napari_diffmap.maps.provenance import Provenance
from napari_diffmap.maps.quaternions import bunge, disorientation, laue_operators

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
    "oriented",
]

#: Largest departure of a quaternion's norm from 1 that is rounding, not a mistake.
_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class OrientationMap(PhaseMap):
    """The `n_best` best orientations of every scan position.

    Attributes
    ----------
    rotations
        ``(Y, X, n_best, 4)`` float32 unit quaternions (a, b, c, d) as in
        `orix.quaternion.Orientation`: laboratory → crystal, with the laboratory
        frame x right along columns, y down along rows, z along the beam into
        the page.  A reflection g (crystal Cartesian, 1/Å) appears on the
        detector at ``(kx, ky) = (Oᵀ g)_{x,y}``.
    phases
        Crystal phases: what `phase_ids` counts.

    See `PhaseMap` for the others; `scores` are those of the matcher and `ambiguity` holds codes
    of `AMBIGUITY`.

    Raises
    ------
    BadInputError
        If shapes, codes or quaternions cannot be right.
    """

    arrays: ClassVar[tuple[str, ...]] = ("rotations", *PhaseMap.arrays)
    no_answer: ClassVar[Mapping[str, Any]] = {"rotations": (1, 0, 0, 0), **PhaseMap.no_answer}
    causes: ClassVar[tuple[AmbiguityCause, ...]] = AMBIGUITY_TABLE
    has_orientations: ClassVar[bool] = True
    _lead: ClassVar[str] = "rotations"
    #: Of `PhaseLike`; the point group may be unknown, and asking for it raises then.
    _phase_members: ClassVar[tuple[str, ...]] = ("name", "color", "orix")

    rotations: NDArray[np.float32]
    phases: tuple[PhaseLike, ...]

    def __post_init__(self) -> None:
        self._convert("rotations", np.float32)
        super().__post_init__()
        object.__setattr__(self, "rotations", _checked_rotations(self.rotations, self.phase_ids))

    # ------------------------------------------------------------- reading

    @property
    def best_rotations(self) -> NDArray[np.float32]:
        """``(Y, X, 4)`` quaternions of the first answer (a view)."""
        return self.rotations[..., 0, :]

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

    # ------------------------------------------------------------- answers

    def is_kept(
        self, pixels: NDArray[np.int64], values: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.bool_]:
        """Which of the kept answers are the given ones, to rounding; see `PhaseMap.is_kept`."""
        kept = self.rotations.reshape(-1, self.n_best, 4)[pixels]
        near = np.abs((kept * values["rotations"][:, None]).sum(-1)) > 1 - 1e-6
        same: NDArray[np.bool_] = near & super().is_kept(pixels, values)
        return same

    def gaps(
        self, pixels: NDArray[np.int64], rotation: NDArray[np.floating[Any]] | None, phase: int
    ) -> NDArray[np.float64]:
        """Disorientation of each kept answer from a given one, degrees; see `PhaseMap.gaps`."""
        gaps = super().gaps(pixels, rotation, phase)
        of_phase = np.isfinite(gaps)
        kept = self.rotations.reshape(-1, self.n_best, 4)[pixels]
        wanted = np.broadcast_to(np.asarray(rotation), (int(of_phase.sum()), 4))
        gaps[of_phase] = disorientation(kept[of_phase], wanted, laue_operators(self.phases[phase]))
        return gaps

    def steps(
        self, ours: NDArray[np.int64], theirs: NDArray[np.int64], phase: int
    ) -> NDArray[np.floating[Any]]:
        """Disorientation of pairs of pixels of one phase, ``(n,)`` degrees."""
        q = self.best_rotations.reshape(-1, 4)
        return disorientation(q[ours], q[theirs], laue_operators(self.phases[phase]))

    def rotation_at(self, y: int, x: int, rank: int) -> NDArray[np.float32]:
        """Orientation of a kept answer, ``(4,)``, a copy."""
        rotation: NDArray[np.float32] = self.rotations[y, x, rank].copy()
        return rotation

    def crossed(self, y: int, x: int) -> bool:
        """Whether spots of two crystals lie in the pattern of a position."""
        return bool(self.ambiguity[y, x] == Ambiguity.OVERLAP)

    def words_of(self, pixel: int) -> str:
        """The first answer of one pixel with its Euler angles."""
        name = super().words_of(pixel)
        if int(self.best_phase_ids.flat[pixel]) < 0:
            return name
        rotation = self.best_rotations.reshape(-1, 4)[[pixel]]
        angles = np.rad2deg(bunge(rotation.astype(np.float64))[0])
        return f"{name} at Euler {' '.join(f'{angle:.1f}' for angle in angles)}°"

    # ------------------------------------------------------------ changing

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

    def _size(self) -> tuple[int, int, int]:
        if self.rotations.ndim != 4 or self.rotations.shape[-1] != 4:
            raise BadInputError(
                f"rotations must have shape (rows, columns, n_best, 4), not {self.rotations.shape}"
            )
        rows, columns, n_best, _ = self.rotations.shape
        return rows, columns, n_best


def oriented(found: PhaseMap) -> OrientationMap:
    """A map as one of orientations.

    Raises
    ------
    BadInputError
        If it holds phases alone.
    """
    if not isinstance(found, OrientationMap):
        raise BadInputError("this needs orientations, but the map holds phases of spectra alone")
    return found


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
