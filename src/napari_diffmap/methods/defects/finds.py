"""Finds: defects detected in single frames, as arrays in step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

#: Sublattice of a find that sits on no site of the lattice.
OFF: Final = -1

_TYPES: Final = {
    "frame": np.int32,
    "places": np.float64,
    "probability": np.float32,
    "sublattice": np.int8,
    "ratio": np.float32,
    "error": np.float32,
    "excess": np.bool_,
}


@dataclass(frozen=True, eq=False)
class Finds:
    """Finds of one frame or of a movie, in the order of the frames.

    Attributes
    ----------
    frame
        ``(n,)`` int32, from 0.
    places
        ``(n, 2)`` float64, y and x in pixels of the frame as it lies in the file.
    probability
        ``(n,)`` float32: that there is a defect.
    sublattice
        ``(n,)`` int8: 0 the brighter sublattice, 1 the weaker one, `OFF`.
    ratio
        ``(n,)`` float32: amplitude over that of a pristine site; of a find off the lattice, over
        that of the brighter sublattice; NaN where unknown.
    error
        ``(n,)`` float32, standard deviation of each coordinate in pixels; NaN where unknown.
    excess
        ``(n,)`` bool: brighter than what belongs there, else darker; by `ratio` unless given,
        as it must be where that is not known.

    Raises
    ------
    BadInputError
        If the arrays are of different lengths.
    """

    frame: NDArray[np.int32]
    places: NDArray[np.float64]
    probability: NDArray[np.float32]
    sublattice: NDArray[np.int8]
    ratio: NDArray[np.float32]
    error: NDArray[np.float32]
    excess: NDArray[np.bool_] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.excess is None:
            with np.errstate(invalid="ignore"):
                object.__setattr__(self, "excess", np.asarray(self.ratio) > 1)
        for name, dtype in _TYPES.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        n = len(self.frame)
        if self.places.shape != (n, 2):
            raise BadInputError(f"{n} finds need places (n, 2), not {self.places.shape}")
        for name in _TYPES:
            if len(getattr(self, name)) != n:
                raise BadInputError(f"{name} of {len(getattr(self, name))} finds do not fit {n}")

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, index: Any) -> Finds:
        """Some finds, by number or mask."""
        return Finds(*(getattr(self, field.name)[index] for field in fields(self)))

    @staticmethod
    def joined(parts: Sequence[Finds]) -> Finds:
        """Finds of several frames, one after the other."""
        if not parts:
            return Finds.empty()
        names = [field.name for field in fields(Finds)]
        return Finds(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @staticmethod
    def of_frame(
        number: int,
        places: NDArray[Any],
        probability: NDArray[Any],
        sublattice: NDArray[Any],
        ratio: NDArray[Any],
        error: float | NDArray[Any],
        excess: NDArray[Any] | None = None,
    ) -> Finds:
        """Finds of one frame; an error may be that of all."""
        n = len(places)
        rest: Any = (probability, sublattice, ratio, np.broadcast_to(error, n).copy(), excess)
        return Finds(np.full(n, number, dtype=np.int32), np.asarray(places, np.float64), *rest)

    @staticmethod
    def empty() -> Finds:
        """No finds."""
        none: Any = np.zeros(0)
        return Finds(none, np.zeros((0, 2)), none, none, none, none)
