"""Phase map of a spectrum stack: which reference, how much of each, how sure, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import AmbiguityCause
from napari_diffmap.maps.phase_map import PhaseMap
from napari_diffmap.maps.spectral_doubt import SPECTRAL_TABLE


@dataclass(frozen=True, eq=False)
class SpectralPhase:
    """A phase as its spectrum tells it.

    Attributes
    ----------
    name
        Name shown in legends.
    color
        ``#RRGGBB``.
    energies
        ``(E,)`` float64, eV, rising.
    values
        ``(E,)`` float64 absorption at `energies`.
    composition
        What the phase holds of an element, e.g. sodium a formula unit; None when not known.

    Raises
    ------
    BadInputError
        If the spectrum is none.
    """

    name: str
    color: str
    energies: NDArray[np.float64]
    values: NDArray[np.float64]
    composition: float | None = None

    def __post_init__(self) -> None:
        energies = np.asarray(self.energies, dtype=np.float64)
        values = np.asarray(self.values, dtype=np.float64)
        if energies.ndim != 1 or energies.shape != values.shape or not len(energies):
            raise BadInputError(
                f"the spectrum of {self.name!r} needs one value an energy, not {values.shape}"
                f" values and {energies.shape} energies"
            )
        if not np.isfinite(energies).all() or (np.diff(energies) <= 0).any():
            raise BadInputError(f"the energies of {self.name!r} must rise")
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "values", values)
        if self.composition is not None:
            object.__setattr__(self, "composition", float(self.composition))


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralMap(PhaseMap):
    """The references that explain the spectrum of every position best.

    Attributes
    ----------
    scores
        ``(Y, X, n_best)`` float32: Pearson correlation with the reference of that rank.
    fractions
        ``(Y, X, n_references)`` float32: share of each reference in the spectrum, in the order
        of `phases`, adding up to 1; NaN where nothing was mapped.  A correction does not change
        them: they are measured, the phase is a judgement.
    fraction_errors
        ``(Y, X, n_references)`` float32, standard deviation of `fractions`.
    phases
        The references.

    See `PhaseMap` for the others.  `extra` may hold ``composition_error``, ``thickness`` (mean
    optical density after the edge), ``entropy``, ``residual`` and ``stability``.
    """

    measured: ClassVar[tuple[str, ...]] = ("fractions", "fraction_errors")
    causes: ClassVar[tuple[AmbiguityCause, ...]] = SPECTRAL_TABLE
    _phase_members: ClassVar[tuple[str, ...]] = (
        "name", "color", "energies", "values", "composition",
    )  # fmt: skip

    fractions: NDArray[np.float32]
    fraction_errors: NDArray[np.float32]
    phases: tuple[SpectralPhase, ...]

    def __post_init__(self) -> None:
        self._convert("fractions", np.float32)
        self._convert("fraction_errors", np.float32)
        super().__post_init__()

    @property
    def composition(self) -> NDArray[np.float32] | None:
        """``(Y, X)`` float32, NaN where not mapped; None when that of a phase is not known."""
        known = [phase.composition for phase in self.phases]
        if not known or any(value is None for value in known):
            return None
        return np.asarray(self.fractions @ np.array(known, dtype=np.float32), dtype=np.float32)

    def composition_limits(self) -> tuple[float, float] | None:
        """Least and most that the references allow; None as of `composition`."""
        known = [p.composition for p in self.phases if p.composition is not None]
        if not known or len(known) < len(self.phases):
            return None
        return min(known), max(known)

    def words_of(self, pixel: int) -> str:
        """The first answer of one pixel, by its flat number, in words."""
        name, score = super().words_of(pixel), float(self.best_scores.flat[pixel])
        return name if np.isnan(score) else f"{name} with r {score:.3f}"

    def _check_shapes(self) -> None:
        super()._check_shapes()
        wanted = (*self.shape, len(self.phases))
        for name in self.measured:
            found = getattr(self, name).shape
            if found != wanted:
                raise BadInputError(
                    f"{name} must have shape {wanted} to fit scores and phases, not {found}"
                )


def ranked_answers(
    correlations: NDArray[np.floating[Any]], n_best: int = 3
) -> Mapping[str, NDArray[Any]]:
    """Scores and phase numbers of a map, best first, from the correlation with each reference.

    Parameters
    ----------
    correlations
        ``(Y, X, n_references)``, NaN where not mapped.
    n_best
        So many answers are kept at most.

    Returns
    -------
    mapping
        ``scores (Y, X, n)`` float32 and ``phase_ids (Y, X, n)`` int16.
    """
    filled = np.where(np.isfinite(correlations), correlations, -np.inf)
    order = np.argsort(-filled, axis=-1, kind="stable")[..., :n_best]
    scores = np.take_along_axis(filled, order, axis=-1)
    known = np.isfinite(scores)
    return {
        "scores": np.where(known, scores, np.nan).astype(np.float32),
        "phase_ids": np.where(known, order, -1).astype(np.int16),
    }
