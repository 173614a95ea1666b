"""Map of defects: numbered finds with their class, how sure it is, and why not.

A find is to this map what a scan position is to others, so that corrections, their record and
their history are the same.  Behind the finds lie empty slots: a defect that a user adds by hand
fills the next of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import AmbiguityCause
from napari_diffmap.maps.defect_doubt import DEFECT_TABLE, DefectDoubt
from napari_diffmap.maps.phase_map import PhaseMap
from napari_diffmap.maps.provenance import Provenance

#: Empty slots behind the finds, for those that are added by hand.
SPARE: Final = 1024
#: Answers kept of each find.
N_BEST: Final = 3
#: Okabe–Ito without black and grey, for classes in order; yellow last, it is faint on white.
CLASS_COLORS: Final = (
    "#E69F00", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#0072B2", "#F0E442",
)  # fmt: skip
#: Symbols of classes in order, as matplotlib calls them: told apart without colour, too.
CLASS_SYMBOLS: Final = ("o", "s", "^", "D", "v", "p", "h", "P", "X", "*")


@dataclass(frozen=True)
class DefectClass:
    """A named kind of finds.

    Attributes
    ----------
    name
        Shown in legends.
    color
        ``#RRGGBB``.
    note
        What it stands for, in words.

    Raises
    ------
    BadInputError
        If it has no name.
    """

    name: str
    color: str
    note: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise BadInputError("a class of defects needs a name")


def class_color(index: int) -> str:
    """Colour of a class by its number."""
    return CLASS_COLORS[index % len(CLASS_COLORS)]


def class_symbol(index: int) -> str:
    """Symbol of a class by its number, as matplotlib calls it.

    With the colours they repeat after 70 classes.
    """
    return CLASS_SYMBOLS[index % len(CLASS_SYMBOLS)]


def defect_classes(
    names: Sequence[str], notes: Mapping[str, str] | None = None
) -> tuple[DefectClass, ...]:
    """Classes of some names, in the colours of their order."""
    told = notes or {}
    return tuple(DefectClass(n, class_color(i), told.get(n, "")) for i, n in enumerate(names))


@dataclass(frozen=True, eq=False, kw_only=True)
class DefectMap(PhaseMap):
    """The classes of numbered finds, best first; shape ``(1, slots)``.

    Attributes
    ----------
    scores
        ``(1, slots, n_best)`` float32: probability of the class, given that there is a defect.
    phase_ids
        ``(1, slots, n_best)`` int16, index into `phases`; -1 in an empty slot.
    reliability
        ``(1, slots)`` float32: probability that there is a defect; NaN of what a user decided.
    places
        ``(1, slots, n_best, 3)`` float32: frame (from 0), y and x in pixels of the image as it
        lies in the file; NaN in an empty slot.  The place belongs to the answer, so that moving
        a find is an edit as any other.
    image_shape
        Frames, rows and columns ``(T, Y, X)``.
    pixel_size_nm, frame_time_s
        Calibration; None where there is none.
    drift
        ``(T, 2)`` shift of each frame in pixels, y and x; None where it was not measured.
    phases
        The classes.

    See `PhaseMap` for the others.  `extra` may hold ``ratio``, ``sublattice``, ``error`` (px),
    ``excess`` (1 where it is brighter than what belongs there), ``track`` (-1 for none) and
    ``complex`` (how many finds its complex has), all float32 with NaN in empty slots.
    """

    arrays: ClassVar[tuple[str, ...]] = (*PhaseMap.arrays, "places")
    no_answer: ClassVar[Mapping[str, Any]] = {
        "scores": np.nan, "phase_ids": -1, "places": np.nan,
    }  # fmt: skip
    causes: ClassVar[tuple[AmbiguityCause, ...]] = DEFECT_TABLE
    grows: ClassVar[bool] = True
    numbered: ClassVar[bool] = True
    _phase_members: ClassVar[tuple[str, ...]] = ("name", "color", "note")

    places: NDArray[np.float32]
    image_shape: tuple[int, int, int]
    phases: tuple[DefectClass, ...]
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None
    drift: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self._convert("places", np.float32)
        if self.drift is not None:
            self._convert("drift", np.float64)
        frames, rows, columns = (int(n) for n in self.image_shape)
        object.__setattr__(self, "image_shape", (frames, rows, columns))
        super().__post_init__()

    # ------------------------------------------------------------- reading
    @property
    def filled(self) -> NDArray[np.int64]:
        """Slots that hold a find, rising."""
        return np.flatnonzero(self.indexed[0])

    @property
    def empty_slots(self) -> NDArray[np.int64]:
        """Slots that can take a find, rising; a find declared invalid leaves none."""
        return np.flatnonzero(~self.indexed[0] & (self.ambiguity[0] == DefectDoubt.NO_DATA))

    @property
    def best_places(self) -> NDArray[np.float32]:
        """``(1, slots, 3)`` frame, y, x of the first answers (a view)."""
        return self.places[:, :, 0]

    def in_frame(self, frame: int) -> NDArray[np.int64]:
        """Slots of the finds of one frame, rising."""
        return np.flatnonzero(self.indexed[0] & (self.best_places[0, :, 0] == frame))

    def extra_of(self, name: str, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """Values of an extra map at some slots; NaN where the map has none."""
        values = self.extra.get(name)
        if values is None:
            return np.full(len(slots), np.nan, dtype=np.float32)
        return np.asarray(values[0, slots], dtype=np.float32)

    @property
    def tracks(self) -> NDArray[np.int64]:
        """``(slots,)`` number of the track of each find, -1 for none."""
        track = self.extra_of("track", np.arange(self.shape[1]))
        return np.where(np.isfinite(track), track, -1).astype(np.int64)

    def words_of(self, pixel: int) -> str:
        """The first answer of one slot in words."""
        name = super().words_of(pixel)
        frame, y, x = self.best_places[0, pixel]
        if not np.isfinite(frame):
            return name
        return f"{name} in frame {int(frame)} at y {y:.2f}, x {x:.2f}"

    def new_phase(self, name: str, color: str, note: str = "") -> DefectClass:
        """A class that a user adds; without a colour it gets that of its number."""
        return DefectClass(name.strip(), color or class_color(len(self.phases)), note)

    # -------------------------------------------------------------- checks
    def _check_shapes(self) -> None:
        super()._check_shapes()
        if self.shape[0] != 1:
            raise BadInputError(f"finds lie in one row, not in {self.shape[0]}")
        wanted = (*self.shape, self.n_best, 3)
        if self.places.shape != wanted:
            raise BadInputError(
                f"places must have shape {wanted} to fit scores, not {self.places.shape}"
            )
        if min(self.image_shape) < 1:
            raise BadInputError(f"an image of {self.image_shape} is empty")

    def _check_values(self) -> None:
        super()._check_values()
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise BadInputError("classes of defects need names of their own")
        frame = self.best_places[self.indexed][:, 0]
        if not np.isfinite(self.best_places[self.indexed]).all():
            raise BadInputError("a find needs a place")
        if len(frame) and (frame.min() < 0 or frame.max() >= self.image_shape[0]):
            raise BadInputError(
                f"finds lie in frames {frame.min():g} to {frame.max():g} of {self.image_shape[0]}"
            )
        if self.drift is not None and self.drift.shape != (self.image_shape[0], 2):
            raise BadInputError(
                f"a drift of {self.drift.shape} does not fit {self.image_shape[0]} frames"
            )
        for name, size in (("pixel", self.pixel_size_nm), ("frame time", self.frame_time_s)):
            if size is not None and not (np.isfinite(size) and size > 0):
                raise BadInputError(f"a {name} of {size} is impossible")


def make_defect_map(
    frame: NDArray[np.integer[Any]],
    places: NDArray[np.floating[Any]],
    class_probability: NDArray[np.floating[Any]],
    reliability: NDArray[np.floating[Any]],
    phases: Sequence[DefectClass],
    image_shape: tuple[int, int, int],
    *,
    doubt: NDArray[np.uint8] | None = None,
    extra: Mapping[str, NDArray[Any]] | None = None,
    spare: int = SPARE,
    pixel_size_nm: float | None = None,
    frame_time_s: float | None = None,
    drift: NDArray[np.float64] | None = None,
    provenance: Provenance | None = None,
    warnings: tuple[str, ...] = (),
) -> DefectMap:
    """A map of finds, with empty slots behind them.

    Parameters
    ----------
    frame, places
        ``(n,)`` and ``(n, 2)``: frame, and y, x in pixels.
    class_probability
        ``(n, k)`` of each class of each find.
    reliability
        ``(n,)`` probability that there is a defect.
    phases
        The k classes; without finds there may be none.
    image_shape, pixel_size_nm, frame_time_s, drift
        See `DefectMap`.
    doubt
        ``(n,)`` codes; none without.
    extra
        Values ``(n,)`` by name.
    spare
        Empty slots.
    """
    n = len(frame)
    slots = n + max(1, spare)
    ids = np.full((1, slots, N_BEST), -1, dtype=np.int16)
    scores = np.full((1, slots, N_BEST), np.nan, dtype=np.float32)
    where = np.full((1, slots, N_BEST, 3), np.nan, dtype=np.float32)
    if n:
        known = np.nan_to_num(np.asarray(class_probability, dtype=np.float32), nan=-1.0)
        order = np.argsort(-known, axis=1, kind="stable")[:, :N_BEST]
        kept = order.shape[1]
        ids[0, :n, :kept] = order
        ranked = np.take_along_axis(known, order, axis=1)
        scores[0, :n, :kept] = np.where(ranked < 0, np.nan, ranked)
        where[0, :n, :kept, 0] = np.asarray(frame)[:, None]
        where[0, :n, :kept, 1:] = np.asarray(places)[:, None]
    ambiguity = np.full((1, slots), DefectDoubt.NO_DATA, dtype=np.uint8)
    ambiguity[0, :n] = 0 if doubt is None else doubt
    return DefectMap(
        scores=scores,
        phase_ids=ids,
        reliability=_padded(reliability, slots),
        ambiguity=ambiguity,
        places=where,
        image_shape=image_shape,
        phases=tuple(phases),
        pixel_size_nm=pixel_size_nm,
        frame_time_s=frame_time_s,
        drift=drift,
        provenance=provenance or Provenance(),
        extra={name: _padded(values, slots) for name, values in (extra or {}).items()},
        warnings=warnings,
    )


def _padded(values: NDArray[Any], slots: int) -> NDArray[np.float32]:
    out = np.full((1, slots), np.nan, dtype=np.float32)
    out[0, : len(values)] = values
    return out
