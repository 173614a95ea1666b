"""The queue of doubtful zones: by area times doubt, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.maps.edits.edit import MAP, snapshot
from napari_diffmap.maps.zones import AmbiguityZones, Zone, find_zones
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.maps import PhaseMap
    from napari_diffmap.maps.edits.corrections import Change

SLOT = "doubtful zones"


class DoubtQueue:
    """Zones in which the session's map is in doubt, the weightiest first.

    Signals
    -------
    changed()
        Other zones, or another one is visited.
    visited(zone)
        The user goes to a zone.
    """

    changed = Signal()
    visited = Signal(object)

    def __init__(self, session: Session, runner: Runner) -> None:
        self.session = session
        self.runner = runner
        #: Codes of the causes that are visited; None: all that can be settled.
        self.causes: tuple[int, ...] | None = None
        self.phase: int | None = None
        self.min_size = 1
        self.zones: tuple[Zone, ...] = ()
        self.current: Zone | None = None
        #: Pixels in doubt now and when the map came.
        self.left = self.first = 0
        self._labels: NDArray[np.int32] | None = None
        self._seen: NDArray[np.bool_] | None = None
        self._table: object = None
        self._path: list[tuple[int, int]] = []
        session.map_changed.connect(self._on_map)
        session.edited.connect(self._on_edited)

    def _on_map(self, found: PhaseMap | None) -> None:
        if found is not None and found.causes is not self._table:
            # A code of one kind of map means something else in another.
            self._table, self.causes = found.causes, None
        self.zones, self.current, self._labels, self._seen = (), None, None, None
        self._path.clear()
        self.first = self.left = 0
        self.changed.emit()
        self.update()

    def _on_edited(self, change: Change) -> None:
        if change.target == MAP:
            self.update()

    def filter(
        self,
        *,
        causes: tuple[int, ...] | None = None,
        phase: int | None = None,
        min_size: int = 1,
    ) -> None:
        """Visit some zones only.

        Parameters
        ----------
        causes
            Why they are in doubt: codes of the map's own table; None: any cause.
        phase
            Whose first answer is of this phase where the zone's middle is; None: any.
        min_size
            Pixels at least.
        """
        self.causes, self.phase, self.min_size = causes, phase, max(1, min_size)
        self._seen = None
        self.update()

    def update(self) -> None:
        """Find the zones again, beside the window."""
        found, answer = self.session.map, self.session.answer
        if found is None or answer is None:
            return
        causes, size, phase = self.causes, self.min_size, self.phase

        def work(_token: object) -> tuple[AmbiguityZones, int, int]:
            # The map may be corrected meanwhile; zones need one state of it.
            now = snapshot(found)
            zones = find_zones(now, causes=causes, min_size=size)
            return zones, int(now.ambiguous.sum()), int(answer.ambiguous.sum())

        def done(result: tuple[AmbiguityZones, int, int]) -> None:
            if self.session.map is not found:
                return
            zones, self.left, self.first = result
            self._labels = zones.labels
            ids = found.best_phase_ids
            self.zones = tuple(
                zone for zone in zones.zones if phase is None or ids[zone.center] == phase
            )
            self.changed.emit()

        self.runner.latest(SLOT, work, done)

    # -------------------------------------------------------------- visiting
    def next(self) -> Zone | None:
        """Go to the weightiest zone that was not visited; all are visited again after the last.

        What is left of a zone in which something was corrected counts as visited.
        """
        if not self.zones:
            return None
        seen = self._seen
        number = None
        if seen is not None:
            number = next((i for i, zone in enumerate(self.zones) if not seen[zone.center]), None)
        if number is None:
            self._seen, number = None, 0
        return self.go(number)

    def back(self) -> None:
        """Go to where the user was before."""
        if len(self._path) > 1:
            self._path.pop()
            y, x = self._path[-1]
            self.session.set_position(y, x)
            zone = self._at((y, x))
            if zone is not None:
                self.current = zone
                self.visited.emit(zone)
            self.changed.emit()

    def go(self, number: int) -> Zone | None:
        """Go to a zone by its place in `zones`."""
        if not 0 <= number < len(self.zones) or self._labels is None:
            return None
        zone = self.zones[number]
        mask = self._labels == zone.label
        self._seen = mask if self._seen is None else self._seen | mask
        self._path.append(zone.center)
        self.current = zone
        self.session.set_position(*zone.center)
        self.visited.emit(zone)
        self.changed.emit()
        return zone

    def _at(self, place: tuple[int, int]) -> Zone | None:
        number = 0 if self._labels is None else int(self._labels[place])
        return next((zone for zone in self.zones if zone.label == number), None) if number else None

    @property
    def place(self) -> int | None:
        """Place of the zone that is visited, from 0; None when it is settled or none is."""
        if not self._path:
            return None
        zone = self._at(self._path[-1])
        return None if zone is None else self.zones.index(zone)

    def line(self) -> str:
        """What is left, in words."""
        found = self.session.map
        if found is None and self.session.pictured:
            return "Finds in an image are doubted and corrected in the Defects dock."
        if found is None:
            return "Map the scan first, or open a map."
        share = 100 * self.left / max(found.reliability.size, 1)
        settled = max(self.first - self.left, 0)
        place = self.place
        here = "" if place is None else f"zone {place + 1} of "
        if not self.zones:
            return f"no zone left · {settled} pixels settled"
        plural = "" if len(self.zones) == 1 else "s"
        return (
            f"{here}{len(self.zones)} zone{plural} left · {self.left} pixels in doubt"
            f" ({share:.1f} %) · {settled} settled"
        )
