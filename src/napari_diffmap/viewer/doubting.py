"""All that corrects the map of one window: controllers, layers and keys, wired together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from napari_diffmap.errors import DiffmapError
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.viewer import keys
from napari_diffmap.viewer.correcting import Correcting, Offer
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.doubt_queue import DoubtQueue
from napari_diffmap.viewer.map_edits import MapEdits
from napari_diffmap.viewer.map_stack import MapStack
from napari_diffmap.viewer.phase_painting import PhasePainting
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.shown_map import ShownMap
from napari_diffmap.viewer.zooming import look_at

if TYPE_CHECKING:
    from napari_diffmap.maps.edits.selection import Pixels
    from napari_diffmap.maps.zones import Zone
    from napari_diffmap.methods.orientation import OrientationMethod


class Doubting:
    """Controllers of corrections, and the keys that play them.

    Parameters
    ----------
    desk, maps, runner
        The window, the layers of its map, and where slow work is done.
    viewer
        The sample.
    matcher
        Asked for the matcher of the last run.
    """

    def __init__(
        self,
        desk: Desk,
        maps: MapStack | ShownMap,
        runner: Runner,
        viewer: Any,
        matcher: Callable[[], OrientationMethod | None],
    ) -> None:
        self.session = desk.session
        self.maps = maps
        self._viewer = ref(viewer)
        self.correcting = Correcting(self.session, runner, matcher)
        self.queue = DoubtQueue(self.session, runner)
        self.edits = MapEdits(self.session, maps)
        self.painting = PhasePainting(self.session, maps, self.correcting)
        #: What takes a key instead, where the scan is of a kind that has its own corrections;
        #: says whether it did.
        self.elsewhere: Callable[[str], bool] = lambda _key: False
        self.queue.visited.connect(self._on_visited)
        self.correcting.offered.connect(self._on_offered)
        bindings = self.bindings()
        for canvas in (viewer, desk.pattern.model):
            keys.bind_on_active(canvas, bindings)

    def _on_visited(self, zone: Zone) -> None:
        viewer = self._viewer()
        if viewer is not None:
            look_at(self.session, viewer, zone.bbox)

    def _on_offered(self, offer: Offer | None) -> None:
        self.mark(None if offer is None else offer.pixels)

    def mark(self, pixels: Pixels | None) -> None:
        """Show which pixels a correction would be for; None: none."""
        mask = None
        if pixels is not None:
            mask = np.zeros(self.session.grid, dtype=bool)
            mask.reshape(-1)[pixels] = True
        self.maps.mark(mask)

    def go_to(self, pixels: Pixels) -> None:
        """Look at some pixels, and pick the one in their middle."""
        y, x = np.divmod(pixels, self.session.grid[1])
        nearest = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2)
        self.session.set_position(int(y[nearest]), int(x[nearest]))
        viewer = self._viewer()
        if viewer is not None:
            box = (int(y.min()), int(x.min()), int(y.max()) + 1, int(x.max()) + 1)
            look_at(self.session, viewer, box)

    def try_to(self, act: Callable[[], object]) -> None:
        """Do it, or say in one line why it cannot be done."""
        try:
            act()
        except DiffmapError as error:
            self.session.message.emit(str(error))

    def bindings(self) -> Mapping[str, Callable[[Any], None]]:
        """Keys and what they do."""
        c, q = self.correcting, self.queue
        acts: dict[str, tuple[Callable[[], object], str]] = {
            keys.NEXT_KEY: (q.next, "Go to the next zone in doubt"),
            keys.BACK_KEY: (q.back, "Go to the zone in doubt before"),
            keys.INVALID_KEY: (partial(c.empty, EditKind.INVALID), "Mark the answer invalid"),
            keys.UNKNOWN_KEY: (partial(c.empty, EditKind.UNKNOWN), "Mark the answer unknown"),
            keys.TURN_KEY: (c.turn, "Turn the crystal by 180° about the beam"),
            keys.REFINE_KEY: (c.refine, "Refine the first answer again"),
            keys.OFFER_KEY: (c.accept_offer, "Accept the same correction elsewhere"),
            keys.REFUSE_KEY: (c.refuse_offer, "Refuse the same correction elsewhere"),
            keys.UNDO_KEY: (c.undo, "Take the last correction back"),
            keys.REDO_KEY: (c.redo, "Make the last correction again"),
        }
        for rank, key in enumerate(keys.ACCEPT_KEYS):
            acts[key] = (partial(c.accept, rank), f"Accept answer {rank + 1} of the map")
        return {key: self._key(key, act, what) for key, (act, what) in acts.items()}

    def _key(self, key: str, act: Callable[[], object], what: str) -> Callable[[Any], None]:
        def pressed(_target: Any) -> None:
            if not self.elsewhere(key) and self.session.corrections is not None:
                self.try_to(act)

        pressed.__doc__ = what
        return pressed
