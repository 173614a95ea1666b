"""A column of a table: name, unit, one value a row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError


class Column(NamedTuple):
    """One column.

    Attributes
    ----------
    name
        Words joined by underscores: the key in files.
    unit
        As drawn, e.g. ``nm²`` or ``°``; empty for numbers without one.
    values
        ``(n,)``: numbers, truth values or texts; NaN where there is no number.
    description
        One line for a tooltip.
    """

    name: str
    unit: str
    values: NDArray[Any]
    description: str


def names_of(names: tuple[str, ...], codes: NDArray[Any]) -> NDArray[np.object_]:
    """The name of each code; an empty text where the code is negative."""
    table = np.array([*names, ""], dtype=object)  # the last one is that of -1
    out: NDArray[np.object_] = table[np.maximum(np.asarray(codes, dtype=np.int64), -1)]
    return out


def check_fits(shape: tuple[int, int], expected: tuple[int, int], what: str) -> None:
    """Complain about parts of different maps.

    Raises
    ------
    BadInputError
        If the shapes differ.
    """
    if shape != expected:
        raise BadInputError(f"{what} of a {shape} map do not fit a {expected} map: find them again")
