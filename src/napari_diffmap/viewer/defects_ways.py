"""Tracks through space and time, as lines of a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.viewer.defects import Defects

#: What is plotted over time.
Along = Literal["x", "y", "distance from the first place"]
ALONG: tuple[Along, ...] = get_args(Along)


@dataclass(frozen=True, eq=False)
class Way:
    """One track.

    Attributes
    ----------
    track
        Its number.
    frames
        ``(n,)`` rising.
    values
        ``(n,)`` in pixels, or nm where calibrated.
    class_ids
        ``(n,)`` class in each frame.
    """

    track: int
    frames: NDArray[np.float64]
    values: NDArray[np.float64]
    class_ids: NDArray[np.int64]


def ways(defects: Defects, along: Along) -> tuple[Way, ...]:
    """All tracks of the map, as they are corrected, the drift of the movie taken off."""
    found = defects.map
    if found is None:
        return ()
    size = found.pixel_size_nm or 1.0
    track = found.tracks
    slots = np.flatnonzero((track >= 0) & found.indexed[0])
    if not len(slots):
        return ()
    place = found.best_places[0, slots].astype(np.float64)
    drift = None if defects.run is None else getattr(defects.run, "drift", None)
    if drift is not None:
        place[:, 1:] -= drift[place[:, 0].astype(np.int64)]
    order = np.lexsort((place[:, 0], track[slots]))
    slots, place = slots[order], place[order]
    out = []
    starts = np.flatnonzero(np.diff(track[slots], prepend=-1))
    for begin, end in zip(starts, [*starts[1:], len(slots)], strict=True):
        part = place[begin:end]
        if along == "distance from the first place":
            values = np.hypot(*(part[:, 1:] - part[0, 1:]).T)
        else:
            values = part[:, 1 if along == "y" else 2]
        ids = found.best_phase_ids[0, slots[begin:end]].astype(np.int64)
        out.append(Way(int(track[slots[begin]]), part[:, 0], size * values, ids))
    return tuple(out)


def unit_of(defects: Defects) -> str:
    """Unit of `Way.values`."""
    found = defects.map
    return "nm" if found is not None and found.pixel_size_nm is not None else "px"
