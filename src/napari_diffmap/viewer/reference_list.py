"""The spectra of phases that the stack on the desk is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.viewer.incidence import Incidence
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.spectral_curves import is_color
from napari_diffmap.viewer.stack_data import mean_inside

if TYPE_CHECKING:
    from napari_diffmap.methods.spectra.references import Reference


class ReferenceList:
    """References of the stack: from files, from regions, named, coloured, hidden.

    Signals
    -------
    changed()
        References came, went, or were renamed, recoloured or hidden.
    """

    changed = Signal()

    def __init__(self, session: Session, runner: Runner, incidence: Incidence) -> None:
        self.session = session
        self.runner = runner
        self.incidence = incidence
        self.items: tuple[Reference, ...] = ()
        #: Names of those that are not drawn over the spectrum.
        self.hidden: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.items)

    def reset(self) -> None:
        """Another scan."""
        self.runner.cancel("references")
        self.items, self.hidden = (), frozenset()
        self.changed.emit()

    def set(self, references: Iterable[Reference]) -> None:
        """Compare with these; names are made unique."""
        self.items = unique_names(tuple(references))
        self.hidden &= {reference.name for reference in self.items}
        if self.items:
            self.incidence.ensure()
        self.changed.emit()

    def add(self, new: Sequence[Reference]) -> None:
        """Add some; each gets a colour that is free."""
        from napari_diffmap.maps.phases import PHASE_COLORS

        found = list(self.items)
        for reference in new:
            taken = {other.color for other in found}
            free = [color for color in PHASE_COLORS if color not in taken]
            color = free[0] if free else PHASE_COLORS[len(found) % len(PHASE_COLORS)]
            found.append(replace(reference, color=color))
        self.set(found)

    def read(self, paths: Iterable[str | Path], failed: Callable[[Exception], None]) -> None:
        """Add the spectra of files, read beside the window; `failed` hears of each that is none."""
        files = [Path(path) for path in paths]

        def work(_token: Token) -> tuple[list[Reference], list[Exception]]:
            from napari_diffmap.methods.spectra.references import read_reference

            found: list[Reference] = []
            errors: list[Exception] = []
            for file in files:
                try:
                    found.append(read_reference(file))
                except (DiffmapError, OSError) as error:
                    errors.append(error)
            return found, errors

        def done(result: tuple[list[Reference], list[Exception]]) -> None:
            self.add(result[0])
            for error in result[1]:
                failed(error)

        self.runner.latest("references", work, done, failed=failed)

    def add_region(self, failed: Callable[[Exception], None]) -> None:
        """The mean optical density of the drawn region becomes a reference.

        Raises
        ------
        BadInputError
            If no region is drawn.
        """
        mask, stack = self.session.region, self.session.stack
        if mask is None or stack is None:
            raise BadInputError("Draw a region on a known phase first: its mean is the reference.")
        energies = stack.axes[0].canonical().coordinates

        def take() -> None:
            from napari_diffmap.methods.spectra.references import Reference

            density = self.incidence.density
            if density is None:
                return
            good = mask & ~density.saturated & ~density.dark
            values = mean_inside(density.od, good if good.any() else mask)
            source = f"{int(mask.sum())} pixels of this scan"
            try:
                self.add([Reference("region", energies, values, source=source)])
            except BadInputError as error:
                failed(error)

        self.incidence.ensure(take)

    def change(self, row: int, **fields: Any) -> None:
        """Rename one, or give it another colour or composition.

        Raises
        ------
        BadInputError
            If the name is empty or taken, or the colour is none.
        """
        old = self.items[row]
        fields = {"name": old.name, "color": old.color, **fields}
        fields["name"] = fields["name"].strip()
        if not fields["name"]:
            raise BadInputError("a reference needs a name")
        if fields["name"] in [r.name for i, r in enumerate(self.items) if i != row]:
            raise BadInputError(f"there is a reference {fields['name']!r} already")
        if not is_color(fields["color"]):
            raise BadInputError(f"{fields['color']!r} is no colour: write #RRGGBB")
        new = replace(old, **fields)
        if old.name in self.hidden:
            self.hidden = self.hidden - {old.name} | {new.name}
        self.set(new if i == row else r for i, r in enumerate(self.items))

    def remove(self, row: int) -> None:
        """Take one out."""
        self.set(r for i, r in enumerate(self.items) if i != row)

    def show(self, name: str, on: bool) -> None:
        """Draw one over the spectrum, or not."""
        self.hidden = self.hidden - {name} if on else self.hidden | {name}
        self.changed.emit()


def unique_names(references: Sequence[Reference]) -> tuple[Reference, ...]:
    """The same references; of two with one name the later gets a number."""
    found: list[Reference] = []
    for reference in references:
        taken = {other.name for other in found}
        name, i = reference.name, 2
        while name in taken:
            name, i = f"{reference.name} {i}", i + 1
        found.append(reference if name == reference.name else replace(reference, name=name))
    return tuple(found)
