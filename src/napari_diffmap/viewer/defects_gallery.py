"""Pictures of classes: finds cut out along the lattice, and their means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.runner import Runner

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects import DefectsRun

#: Side of a picture in distances of neighbouring sites of one kind, and least in pixels.
_SIDE, _LEAST = 2.5, 12
#: At most so many finds of a class make its mean.
_MOST = 400


class Gallery:
    """Cuts the finds of a run out of its frames, beside the window, and knows their means.

    Parameters
    ----------
    defects, runner
        What is cut, and where.

    Signals
    -------
    changed()
        Other pictures.
    """

    changed = Signal()

    def __init__(self, defects: Defects, runner: Runner) -> None:
        self.defects, self.runner = defects, runner
        #: Slot → row of `crops`.
        self.rows: dict[int, int] = {}
        #: ``(n, c, c)`` float32, NaN beyond the border.
        self.crops: NDArray[np.float32] = np.zeros((0, 1, 1), dtype=np.float32)
        defects.run_changed.connect(self._on_run)
        defects.followed.connect(lambda: self._on_run(defects.run))

    def _on_run(self, run: DefectsRun | None) -> None:
        if run is None or self.defects.corrections is None:
            self.rows, self.crops = {}, np.zeros((0, 1, 1), dtype=np.float32)
            self.changed.emit()
            return
        found = self.defects.map
        assert found is not None
        slots = _some(found.best_phase_ids[0], found.filled)

        def work(_token: object) -> tuple[Any, NDArray[np.float32]]:
            return slots, cut(run, found, slots)

        def done(result: tuple[Any, NDArray[np.float32]]) -> None:
            if self.defects.run is run:
                self.rows = {int(slot): i for i, slot in enumerate(result[0])}
                self.crops = result[1]
                self.changed.emit()

        self.runner.latest("defect pictures", work, done)

    def mean(self, class_id: int) -> NDArray[np.float32] | None:
        """Mean picture ``(c, c)`` of a class; None where there is none yet."""
        found = self.defects.map
        if found is None or not len(self.crops):
            return None
        mine = np.flatnonzero(found.best_phase_ids[0] == class_id)
        rows = [self.rows[slot] for slot in mine.tolist() if slot in self.rows]
        if not rows:
            return None
        crops = self.crops[rows]
        known = np.isfinite(crops)
        count = known.sum(axis=0)
        total = np.where(known, crops, 0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)

    def limits(self) -> tuple[float, float]:
        """Black and white of all means alike, so that classes can be compared."""
        means = [self.mean(k) for k in self.defects.shown_classes()]
        values = [mean[np.isfinite(mean)] for mean in means if mean is not None]
        every = np.concatenate(values) if values else np.zeros(0)
        if not len(every):
            return 0.0, 1.0
        return float(every.min()), float(max(every.max(), every.min() + 1e-9))

    def of_class(self, class_id: int, most: int) -> list[tuple[int, NDArray[np.float32]]]:
        """Slots and pictures of single finds of a class, those in doubt first."""
        found = self.defects.map
        if found is None:
            return []
        mine = np.flatnonzero(found.best_phase_ids[0] == class_id)
        mine = mine[[int(slot) in self.rows for slot in mine]]
        order = np.lexsort((np.nan_to_num(found.reliability[0, mine]), ~found.ambiguous[0, mine]))
        return [(int(slot), self.crops[self.rows[int(slot)]]) for slot in mine[order][:most]]


def _some(ids: NDArray[np.int16], slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slots of finds, of a class no more than are needed, spread over the frames."""
    chosen = []
    for class_id in np.unique(ids[slots]):
        mine = slots[ids[slots] == class_id]
        chosen.append(mine[np.unique(np.linspace(0, len(mine) - 1, _MOST).astype(int))])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)


def cut(run: DefectsRun, found: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pictures ``(n, c, c)`` of some finds, turned along the lattice and to one scale."""
    from napari_diffmap.jobs.defects_map import finds_of
    from napari_diffmap.methods.defects.sort.crops import cut_crops

    force = finds_of(found)
    place = {int(slot): i for i, slot in enumerate(force.slots)}
    order = [place[int(slot)] for slot in slots]
    spacing = run.found.neighbour_px
    size = max(_LEAST, round(_SIDE * spacing))
    by_frame = np.argsort(force.finds.frame[order], kind="stable")
    finds = force.finds.take(np.asarray(order, dtype=np.int64)[by_frame])
    crops = cut_crops(run.found.movie, finds, run.lattices, size, spacing)
    out = np.empty_like(crops)
    out[by_frame] = crops
    return out
