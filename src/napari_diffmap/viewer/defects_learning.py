"""What a network may learn of a movie: corrected finds, or those that are sure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.edits.edit import EDITED, EditKind

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects import DefectsRun
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.methods.defects.network.training import Corrected

#: Finds that nobody corrected are learnt from this probability on.
_SURE = 0.95
#: Frames that are learnt at most.
_MOST = 6


def corrected_frames(run: DefectsRun, corrections: Corrections) -> list[Corrected]:
    """Frames with what is known of them: those that were corrected most, else spread evenly.

    Parameters
    ----------
    run
        Whose movie.
    corrections
        Of its map.

    Raises
    ------
    BadInputError
        If there is nothing to learn from.
    """
    from napari_diffmap.methods.defects.network.training import Corrected

    found, answer = corrections.map, corrections.answer
    kinds = found.extra[EDITED][0]
    wrong = np.flatnonzero((kinds == EditKind.INVALID) & answer.indexed[0])
    by_hand = np.flatnonzero((kinds > 0) & found.indexed[0])
    sure = np.flatnonzero(found.indexed[0] & (np.nan_to_num(found.reliability[0]) >= _SURE))
    right = np.union1d(by_hand, sure)
    places: Any = found.best_places[0]  # type: ignore[attr-defined]
    before: Any = answer.best_places[0]  # type: ignore[attr-defined]
    told = [*places[by_hand, 0], *before[wrong, 0]]
    frames, counts = np.unique(np.array(told, dtype=np.int64), return_counts=True)
    if len(frames):
        frames = np.sort(frames[np.argsort(-counts, kind="stable")][:_MOST])
    else:
        every = np.unique(places[right, 0]).astype(np.int64)
        frames = every[np.unique(np.linspace(0, len(every) - 1, _MOST).astype(int))]
    if not len(frames):
        raise BadInputError("there is nothing to learn from: find defects first")
    ratio: Any = found.extra["ratio"][0]
    typical = _typical(found.best_phase_ids[0], ratio, len(found.phases))
    out = []
    for frame in frames.tolist():
        mine = right[places[right, 0] == frame]
        none = wrong[before[wrong, 0] == frame]
        own = np.where(
            np.isfinite(ratio[mine]), ratio[mine], typical[found.best_phase_ids[0, mine]]
        )
        lattice = run.lattices[frame]
        spacing = run.found.neighbour_px if lattice is None else lattice.spacing
        out.append(
            Corrected(
                image=run.found.movie[frame],
                lattice=lattice,
                spacing=float(spacing),
                places=places[mine, 1:].astype(np.float64),
                excess=np.asarray(own > 1),
                no_defects=before[none, 1:].astype(np.float64),
            )
        )
    return out


def _typical(ids: Any, ratio: Any, classes: int) -> Any:
    """Median ratio of each class; 1 where none is known."""
    out = np.ones(classes)
    for k in range(classes):
        values = ratio[(ids == k) & np.isfinite(ratio)]
        if len(values):
            out[k] = float(np.median(values))
    return out
