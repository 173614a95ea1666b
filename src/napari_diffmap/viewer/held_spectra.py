"""Spectra that were kept to be compared: of positions, regions and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_diffmap.viewer.spectral_curves import HELD_COLORS, HELD_MARKERS

if TYPE_CHECKING:
    from napari_diffmap.viewer.spectral_curves import Measured


@dataclass(frozen=True, eq=False)
class Held:
    """A spectrum that was kept.

    Attributes
    ----------
    key
        Its number on the sample and in the legend.
    spectrum
        What it is.
    name, color, marker
        For the legend.
    """

    key: int
    spectrum: Measured
    name: str
    color: str
    marker: str


class HeldSpectra:
    """The spectra that are kept beside the one under the mouse.

    Signals
    -------
    changed()
        One came, went, was named or measured anew.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.items: tuple[Held, ...] = ()
        self._keys = count(1)

    def hold(self, spectrum: Measured) -> Held:
        """Keep a spectrum; it gets the first colour that is free."""
        taken = {item.color for item in self.items}
        free = [i for i, color in enumerate(HELD_COLORS) if color not in taken]
        # More than there are colours: they come again, their numbers differ.
        i = free[0] if free else len(self.items) % len(HELD_COLORS)
        held = Held(next(self._keys), spectrum, spectrum.name, HELD_COLORS[i], HELD_MARKERS[i])
        self.items = (*self.items, held)
        self.changed.emit()
        return held

    def remove(self, key: int) -> None:
        """Drop one."""
        self.items = tuple(item for item in self.items if item.key != key)
        self.changed.emit()

    def rename(self, key: int, name: str) -> None:
        """Call one otherwise; an empty name is its place again."""
        self.items = tuple(
            replace(item, name=name.strip() or item.spectrum.name) if item.key == key else item
            for item in self.items
        )
        self.changed.emit()

    def clear(self) -> None:
        """Drop all; numbers begin anew."""
        self._keys = count(1)
        if self.items:
            self.items = ()
            self.changed.emit()

    def measure(self, again: Callable[[Measured], Measured]) -> Callable[[], tuple[Held, ...]]:
        """What measures all of them anew, to be called beside the window."""
        items = self.items
        return lambda: tuple(replace(item, spectrum=again(item.spectrum)) for item in items)

    def take(self, measured: Sequence[Held]) -> None:
        """Use spectra that were measured anew; those that went meanwhile stay away."""
        new = {item.key: item.spectrum for item in measured}
        self.items = tuple(
            replace(item, spectrum=new.get(item.key, item.spectrum)) for item in self.items
        )
        self.changed.emit()
