"""How well every zone axis fits one pattern: what the best answer won against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import CrystalPhase

if TYPE_CHECKING:
    from napari_diffmap.methods.orientation.method import OrientationMethod
    from napari_diffmap.methods.registration.spots import PeakBatch


@dataclass(frozen=True, eq=False)
class Landscape:
    """Coarse scores of one phase for one pattern.

    Attributes
    ----------
    phase
        The crystal.
    zones
        ``(n, 3)`` unit zone axes along the beam, crystal Cartesian; one of each
        orbit of the Laue group.
    score
        ``(n,)`` best correlation over the in-plane angle and the mirror copy, before
        refinement.  Its wide kernel counts near spots twice, so that it may exceed 1.
    """

    phase: CrystalPhase
    zones: NDArray[np.float64]
    score: NDArray[np.float32]


def score_landscape(method: OrientationMethod, peaks: PeakBatch) -> tuple[Landscape, ...]:
    """Score every zone axis of every phase against the spots of one pattern.

    Parameters
    ----------
    method
        A prepared matcher.
    peaks
        Spots of a batch; the first pattern is taken.

    Returns
    -------
    tuple of Landscape
        One a phase.

    Raises
    ------
    BadInputError
        Before the matcher is prepared.
    """
    search = method.search
    scores = search.zone_scores(peaks)
    return tuple(
        Landscape(phase, zones, np.asarray(score[0].cpu().numpy(), dtype=np.float32))
        for phase, (zones, score) in zip(method.phases, scores, strict=True)
    )
