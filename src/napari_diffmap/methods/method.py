"""What every method is: parameters, the maps it yields, a function from tile to tile.

Window, command line, notebook and cluster drive a method through this protocol
alone.  The form, the options and the recipe are made from its parameter model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

if TYPE_CHECKING:
    from napari_diffmap.scan.scan import Scan

#: Told how far a preparation is, ``(done, total, what)``; may raise `CancelledError`.
Report = Callable[[int, int, str], None]


class TileLike(Protocol):
    """A block of scan positions with all their patterns (see `scan.tiles.Tile`)."""

    @property
    def rows(self) -> slice: ...  # noqa: D102
    @property
    def columns(self) -> slice: ...  # noqa: D102
    @property
    def patterns(self) -> NDArray[Any]: ...  # noqa: D102
    @property
    def missing(self) -> NDArray[np.bool_]: ...  # noqa: D102


@dataclass(frozen=True)
class MapSpec:
    """One map a method yields.

    Attributes
    ----------
    name
        Key of the map in what `Method.run` returns.
    dtype
        Numpy dtype name, e.g. ``"float32"``.
    unit
        Unit of its values; ``""`` for a pure number.
    fill
        Value at positions that were not mapped (missing frame, run stopped).
    shape
        Shape per scan position; ``()`` for a scalar map.
    """

    name: str
    dtype: str
    unit: str
    fill: float
    shape: tuple[int, ...] = ()

    def empty(self, scan_shape: tuple[int, int]) -> NDArray[Any]:
        """A whole map full of `fill`, ``(y, x, *shape)``."""
        return np.full((*scan_shape, *self.shape), self.fill, dtype=self.dtype)


@runtime_checkable
class Method(Protocol):
    """A way to find maps in a scan.

    ``name`` is what it is called in the window, the recipe and the command line;
    ``Parameters`` is the pydantic model of its parameters.
    """

    name: str
    Parameters: type[BaseModel]

    def maps(self) -> tuple[MapSpec, ...]:
        """The maps that `run` yields, in a fixed order."""
        ...

    def prepare(self, scan: Scan, device: str = "cpu", progress: Report | None = None) -> None:
        """Make ready for `scan`; called once per run, before the first tile.

        Parameters
        ----------
        scan
            The scan to be mapped.
        device
            Torch device, ``"cpu"`` or ``"cuda"`` (``"cuda:1"`` …).
        progress
            Told how far the preparation is.

        Raises
        ------
        BadInputError
            If this scan cannot be mapped with these parameters.
        """
        ...

    def run(self, tile: TileLike) -> dict[str, NDArray[Any]]:
        """Map one tile.

        Returns
        -------
        dict
            One array ``(ny, nx, *spec.shape)`` for every map of `maps`.
        """
        ...
