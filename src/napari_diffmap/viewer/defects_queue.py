"""The queue of doubtful finds: the weightiest first, the finds of a track together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.maps.ambiguity import NO_DATA, NO_DOUBT

if TYPE_CHECKING:
    from napari_diffmap.maps import DefectMap
    from napari_diffmap.viewer.defects import Defects

#: The least that a doubtful find weighs.
_LEAST = 0.2


@dataclass(frozen=True, eq=False)
class Doubtful:
    """Doubtful finds that are looked at together.

    Attributes
    ----------
    slots
        The most doubtful first.
    cause
        Code of its doubt.
    weight
        Sum of the doubts.
    """

    slots: NDArray[np.int64]
    cause: int
    weight: float


class DoubtfulFinds:
    """Finds in doubt, those of a track as one, by weight.

    Parameters
    ----------
    defects
        Whose finds they are.

    Signals
    -------
    changed()
        Other finds are left, or others are visited.
    """

    changed = Signal()

    def __init__(self, defects: Defects) -> None:
        self.defects = defects
        #: Code of the cause that is visited; None: any.
        self.cause: int | None = None
        self.items: tuple[Doubtful, ...] = ()
        #: Doubtful finds when the run came, and now.
        self.first = self.left = 0
        self._seen: set[int] = set()
        self._path: list[int] = []
        defects.run_changed.connect(self._on_run)
        defects.followed.connect(self.update)
        defects.edited.connect(lambda _change: self.update())

    def _on_run(self, run: object) -> None:
        self._seen.clear()
        self._path.clear()
        self.cause = None
        self.first = 0
        self.update()
        self.first = self.left if run is not None else 0
        self.changed.emit()

    def filter(self, cause: int | None) -> None:
        """Visit finds that are in doubt for one cause only; None: for any."""
        self.cause = cause
        self._seen.clear()
        self.update()

    def update(self, *_: object) -> None:
        """Look again which finds are in doubt."""
        found = self.defects.map
        self.items = () if found is None else doubtful(found, self.cause)
        self.left = 0 if found is None else int(found.ambiguous.sum())
        self.changed.emit()

    # -------------------------------------------------------------- visiting
    def next(self) -> Doubtful | None:
        """Go to the weightiest that was not visited; after the last all are visited again."""
        if not self.items:
            return None
        fresh = [item for item in self.items if not self._seen & set(item.slots.tolist())]
        if not fresh:
            self._seen.clear()
            fresh = list(self.items)
        return self._go(fresh[0])

    def back(self) -> None:
        """Go to where the user was before."""
        if len(self._path) > 1:
            self._path.pop()
            self.defects.select([self._path[-1]], go=True)
            self.changed.emit()

    def _go(self, item: Doubtful) -> Doubtful:
        self._seen |= set(item.slots.tolist())
        self._path.append(int(item.slots[0]))
        self.defects.select(item.slots, go=True)
        self.changed.emit()
        return item

    @property
    def place(self) -> int | None:
        """Place of what is visited, from 0; None when it is settled or nothing is."""
        if not self._path:
            return None
        here = self._path[-1]
        return next((i for i, item in enumerate(self.items) if here in item.slots), None)

    def line(self) -> str:
        """What is left, in words."""
        found = self.defects.map
        if found is None:
            return "Find defects first, or open a folder of results."
        settled = max(self.first - self.left, 0)
        if not self.items:
            return f"nothing in doubt is left · {settled} finds settled"
        place = self.place
        here = "" if place is None else f"{place + 1} of "
        share = 100 * self.left / max(len(found.filled), 1)
        return (
            f"{here}{len(self.items)} left · {self.left} finds in doubt ({share:.1f} %)"
            f" · {settled} settled"
        )


def doubtful(found: DefectMap, cause: int | None = None) -> tuple[Doubtful, ...]:
    """Finds in doubt, those of one track and one cause together, the weightiest first.

    A find weighs how unsure it is that there is a defect, or which, whichever is more.
    """
    codes = found.ambiguity[0]
    slots = np.flatnonzero(found.indexed[0] & ~np.isin(codes, (NO_DOUBT, NO_DATA)))
    if cause is not None:
        slots = slots[codes[slots] == cause]
    if not len(slots):
        return ()
    there = np.nan_to_num(1 - 2 * np.abs(found.reliability[0, slots] - 0.5))
    which = np.nan_to_num(1 - found.best_scores[0, slots])
    weight = np.maximum(np.maximum(there, which), _LEAST)
    track = found.tracks[slots]
    # What is in no track stands for itself.
    key = np.where(track >= 0, track, -1 - slots) * 16 + codes[slots]
    items = []
    for one in np.unique(key):
        mine = np.flatnonzero(key == one)
        order = mine[np.argsort(-weight[mine], kind="stable")]
        items.append(Doubtful(slots[order], int(codes[slots[order[0]]]), float(weight[mine].sum())))
    return tuple(sorted(items, key=lambda item: -item.weight))
