"""What every map of phases holds: ranked answers, how sure they are, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import NO_DATA, NO_DOUBT, AmbiguityCause
from napari_diffmap.maps.phases import NamedPhase
from napari_diffmap.maps.provenance import Provenance


@dataclass(frozen=True, eq=False, kw_only=True)
class PhaseMap:
    """The `n_best` best answers of every scan position, each with a phase.

    Attributes
    ----------
    scores
        ``(Y, X, n_best)`` float32, best first; NaN where there is no answer.
    phase_ids
        ``(Y, X, n_best)`` int16, index into `phases`; -1 where there is no answer.
    reliability
        ``(Y, X)`` float32: probability 0–1 that the first answer is right; NaN
        where none was estimated.
    ambiguity
        ``(Y, X)`` uint8 codes, see `causes`.
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
        If shapes or codes cannot be right.
    """

    #: Arrays of a value a position that a correction copies and changes.
    arrays: ClassVar[tuple[str, ...]] = ("scores", "phase_ids", "reliability", "ambiguity")
    #: Arrays of a value a position that no correction changes.
    measured: ClassVar[tuple[str, ...]] = ()
    #: What makes up one answer, and what stands there where there is none.
    no_answer: ClassVar[Mapping[str, Any]] = {"scores": np.nan, "phase_ids": -1}
    #: Why an answer may be in doubt: the codes of `ambiguity`.
    causes: ClassVar[tuple[AmbiguityCause, ...]]
    #: Whether answers are orientations, too: grains, boundaries and turns need them.
    has_orientations: ClassVar[bool] = False
    #: Whether a user may add to `phases` by name.
    grows: ClassVar[bool] = False
    #: Whether positions are numbers that another run gives anew, not places on the sample.
    numbered: ClassVar[bool] = False
    #: The array that the shapes of the others are told by.
    _lead: ClassVar[str] = "scores"
    _phase_members: ClassVar[tuple[str, ...]] = ("name", "color")

    scores: NDArray[np.float32]
    phase_ids: NDArray[np.int16]
    reliability: NDArray[np.float32]
    ambiguity: NDArray[np.uint8]
    phases: tuple[NamedPhase, ...]
    step: tuple[float, float] = (1.0, 1.0)
    step_unit: str = "pixel"
    provenance: Provenance = field(default_factory=Provenance)
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, dtype in (
            ("scores", np.float32),
            ("phase_ids", np.int16),
            ("reliability", np.float32),
            ("ambiguity", np.uint8),
        ):
            self._convert(name, dtype)
        object.__setattr__(self, "phases", tuple(self.phases))
        object.__setattr__(self, "step", (float(self.step[0]), float(self.step[1])))
        extra = {key: _extra(key, value) for key, value in self.extra.items()}
        object.__setattr__(self, "extra", extra)
        self._check_shapes()
        self._check_values()

    def _convert(self, name: str, dtype: type[Any]) -> None:
        object.__setattr__(self, name, as_dtype(name, getattr(self, name), dtype))

    # ------------------------------------------------------------- reading

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.reliability.shape
        return int(rows), int(columns)

    @property
    def n_best(self) -> int:
        """Number of answers kept for each position."""
        return int(self.phase_ids.shape[2])

    @property
    def indexed(self) -> NDArray[np.bool_]:
        """``(Y, X)``: True where there is an answer."""
        indexed: NDArray[np.bool_] = self.phase_ids[..., 0] >= 0
        return indexed

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
        doubtful: NDArray[np.bool_] = ~np.isin(self.ambiguity, (NO_DOUBT, NO_DATA))
        return doubtful

    def ambiguous_fraction(self) -> float:
        """Doubtful share of the positions that hold data; NaN when none does."""
        data = int(np.count_nonzero(self.ambiguity != NO_DATA))
        return float(np.count_nonzero(self.ambiguous)) / data if data else float("nan")

    def phase_mask(self, phase: int) -> NDArray[np.bool_]:
        """``(Y, X)``: True where the first answer is that phase."""
        mask: NDArray[np.bool_] = self.best_phase_ids == phase
        return mask

    # --------------------------------------------------------------- doubt

    @property
    def cause_names(self) -> dict[int, str]:
        """Code → name of a cause of doubt, *none* and *no data* too."""
        return {int(cause.code): cause.name for cause in self.causes}

    @property
    def cause_colors(self) -> dict[int, str]:
        """Code → ``#RRGGBB``."""
        return {int(cause.code): cause.color for cause in self.causes}

    @property
    def doubts(self) -> tuple[AmbiguityCause, ...]:
        """The causes that a user can settle by looking: not *none*, not *no data*."""
        return tuple(c for c in self.causes if int(c.code) not in (NO_DOUBT, NO_DATA))

    # ------------------------------------------------------------- answers

    def is_kept(
        self, pixels: NDArray[np.int64], values: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.bool_]:
        """Which of the kept answers are the given ones, to the bit.

        Parameters
        ----------
        pixels
            ``(n,)`` flat numbers.
        values
            One answer each, as `maps.edits.edit.Edit.values`.

        Returns
        -------
        ndarray
            ``(n, n_best)`` bool.
        """
        kept = self.phase_ids.reshape(-1, self.n_best)[pixels]
        same: NDArray[np.bool_] = kept == values["phase_ids"][:, None]
        return same

    def gaps(
        self, pixels: NDArray[np.int64], rotation: NDArray[np.floating[Any]] | None, phase: int
    ) -> NDArray[np.float64]:
        """How far each kept answer is from a given one, ``(n, n_best)``; inf for another phase.

        Parameters
        ----------
        pixels
            ``(n,)`` flat numbers.
        rotation, phase
            The answer; a map without orientations has no rotation.
        """
        kept = self.phase_ids.reshape(-1, self.n_best)[pixels]
        return np.where(kept == phase, 0.0, np.inf)

    def steps(
        self, ours: NDArray[np.int64], theirs: NDArray[np.int64], phase: int
    ) -> NDArray[np.floating[Any]]:
        """How far the first answers of pairs of pixels of one phase are apart, ``(n,)``."""
        return np.zeros(len(ours))

    def rotation_at(self, y: int, x: int, rank: int) -> NDArray[np.float32] | None:
        """Orientation of a kept answer, ``(4,)``; None of a map without orientations."""
        return None

    def crossed(self, y: int, x: int) -> bool:
        """Whether two crystals lie in the beam at a position, each right on its own side."""
        return False

    def words_of(self, pixel: int) -> str:
        """The first answer of one pixel, by its flat number, in words."""
        phase = int(self.best_phase_ids.flat[pixel])
        return self.phases[phase].name if phase >= 0 else "no answer"

    # ------------------------------------------------------------ changing

    def new_phase(self, name: str, color: str, note: str = "") -> NamedPhase:
        """A phase that a user adds to a map that `grows`.

        Parameters
        ----------
        name, color
            As in legends; ``#RRGGBB``.
        note
            What it stands for.

        Raises
        ------
        BadInputError
            If phases of this kind of map come from its method alone.
        """
        raise BadInputError("phases cannot be added to this map: make it anew with them")

    def replaced(self, **changes: Any) -> Self:
        """The same map with some fields exchanged, checked again."""
        return replace(self, **changes)

    # -------------------------------------------------------------- checks

    def _check_shapes(self) -> None:
        rows, columns, n_best = self._size()
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
                    f"{name} must have shape {wanted} to fit {self._lead}, not {found}"
                )
        for name, values in self.extra.items():
            if values.shape != (rows, columns):
                raise BadInputError(
                    f"map {name!r} must have shape {(rows, columns)}, not {values.shape}"
                )

    def _size(self) -> tuple[int, int, int]:
        """Rows, columns and answers, by the array that the others must fit."""
        if self.scores.ndim != 3:
            raise BadInputError(
                f"scores must have shape (rows, columns, n_best), not {self.scores.shape}"
            )
        rows, columns, n_best = self.scores.shape
        return rows, columns, n_best

    def _check_values(self) -> None:
        for phase in self.phases:
            lacking = [name for name in self._phase_members if not hasattr(phase, name)]
            if lacking:
                raise BadInputError(f"{phase!r} is no phase: it lacks {', '.join(lacking)}")
        low, high = int(self.phase_ids.min()), int(self.phase_ids.max())
        if low < -1 or high >= len(self.phases):
            raise BadInputError(
                f"phase ids run from {low} to {high}, but with {len(self.phases)} phases they must"
                f" lie between -1 and {len(self.phases) - 1}"
            )
        codes = {int(cause.code) for cause in self.causes}
        if int(self.ambiguity.max()) not in codes:
            raise BadInputError(
                f"ambiguity code {int(self.ambiguity.max())} is unknown:"
                f" codes run from 0 to {max(codes)}"
            )
        with np.errstate(invalid="ignore"):
            outside = (self.reliability < 0) | (self.reliability > 1)
        if outside.any():
            raise BadInputError("reliability must be a probability from 0 to 1 (or NaN)")
        if not all(np.isfinite(size) and size > 0 for size in self.step):
            raise BadInputError(f"a step of {self.step} {self.step_unit} is impossible")
        if self.step_unit not in ("nm", "pixel"):
            raise BadInputError(f"the step must be in nm or pixel, not {self.step_unit!r}")


def cause_code(found: PhaseMap, code: int) -> IntEnum:
    """A code of a map's `ambiguity` as its own enumeration."""
    return next(cause.code for cause in found.causes if int(cause.code) == code)


def _extra(name: str, values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    small = array.dtype in (np.dtype(np.uint8), np.dtype(bool))
    return array.astype(np.uint8) if small else as_dtype(name, array, np.float32)


def as_dtype(name: str, values: Any, dtype: type[Any]) -> NDArray[Any]:
    """An array of a type that holds its values.

    Raises
    ------
    BadInputError
        If they are no numbers, or do not fit.
    """
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
