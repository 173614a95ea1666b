"""Working with label maps: add, choose, change with a preview first, name, save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError, DiffmapError
from napari_diffmap.maps.edits.edit import LABELS, EditKind
from napari_diffmap.maps.labels import label_maps
from napari_diffmap.maps.labels import ops as label_ops
from napari_diffmap.maps.labels.label_maps import LabelTable, Quantity
from napari_diffmap.viewer.label_changes import (
    NEEDS,
    SCOPES,
    LabelChange,
    Operation,
    Proposal,
    Scope,
    by_size,
)
from napari_diffmap.viewer.label_layers import LabelLayers
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.maps import PhaseMap
    from napari_diffmap.maps.edits.corrections import Change, Corrections, LabelMap


class Labelling:
    """One label map of the session in hand.

    Parameters
    ----------
    session, layers, runner
        What is looked at, the layers of its label maps, and who runs slow work.

    Signals
    -------
    changed()
        Other label maps, another one in hand, another state.
    counted(table)
        The labels of the map in hand, a `LabelTable`.
    proposed(proposal)
        A change is previewed; None: no more.
    picked(number)
        A label was selected in the layer in hand.
    """

    changed = Signal()
    counted = Signal(object)
    proposed = Signal(object)
    picked = Signal(int)

    def __init__(self, session: Session, layers: LabelLayers, runner: Runner) -> None:
        self.session = session
        self.layers = layers
        self.runner = runner
        self.name: str | None = None
        self.chosen: tuple[int, ...] = ()
        self.table: LabelTable | None = None
        self.proposal: Proposal | None = None
        #: What is being computed, in words; empty while nothing is.
        self.working = ""
        session.map_changed.connect(self._on_map)
        session.region_changed.connect(self._on_region)
        session.edited.connect(self._on_edited)
        session.labels_changed.connect(self._on_labels)
        layers.picked.connect(self._on_picked)
        self._on_map()

    # -------------------------------------------------------------- asking
    @property
    def names(self) -> tuple[str, ...]:
        """Names of the label maps there are."""
        corrections = self.session.corrections
        return () if corrections is None else tuple(corrections.labels)

    @property
    def labels(self) -> LabelMap | None:
        """The label map in hand."""
        corrections = self.session.corrections
        if corrections is None or self.name is None:
            return None
        return corrections.labels.get(self.name)

    def missing(self) -> str:
        """Why there is nothing to do, in one line; empty when there is."""
        if self.session.corrections is None:
            return "Map the scan first, or open a map."
        return "" if self.names else "Add a label map first: empty, of phases, of grains …"

    def _corrections(self) -> Corrections:
        if self.session.corrections is None:
            raise BadInputError(self.missing())
        return self.session.corrections

    def _labels(self) -> LabelMap:
        labels = self.labels
        if labels is None:
            raise BadInputError(self.missing() or "choose a label map first")
        return labels

    # -------------------------------------------------------------- events
    def _on_map(self, *_: object) -> None:
        names = self.names
        self.cancel()
        self._take(self.name if self.name in names else next(iter(names), None))

    def _on_region(self, _mask: object) -> None:
        self.changed.emit()

    def _on_edited(self, change: Change) -> None:
        if change.target == LABELS + (self.name or ""):
            self.cancel()
            self._count()
        # Undo and redo go through all edits, those of the map as well.
        if self.session.corrections is not None:
            self.changed.emit()

    def _on_labels(self, name: str) -> None:
        if self.name is None:
            self._take(name)
            return
        if name == self.name:
            self._count()
        self.changed.emit()

    def _on_picked(self, name: str, number: int) -> None:
        if name == self.name:
            self.picked.emit(number)

    def _count(self) -> None:
        labels = self.labels
        if labels is None:
            self.table = None
            self.counted.emit(None)
            return
        corrections = self._corrections()
        values, names = labels.values.copy(), dict(labels.names)
        step, unit = corrections.answer.step, corrections.answer.step_unit

        def done(table: LabelTable) -> None:
            if self.labels is labels:
                self.table = table
                self.counted.emit(table)

        self.runner.latest(
            "label table", lambda _token: label_maps.counts(values, names, step, unit), done
        )

    # ----------------------------------------------------------- choosing
    def select(self, name: str) -> None:
        """Take another label map in hand, and see it."""
        if name in self.names:
            self._take(name)
            self.layers.show(name)

    def _take(self, name: str | None) -> None:
        if name != self.name:
            self.cancel()
            self.chosen = ()
        self.name = name
        self._count()
        self.changed.emit()

    def choose(self, numbers: Sequence[int]) -> None:
        """Choose labels; the last is the one that the layer paints with."""
        numbers = tuple(numbers)
        if numbers == self.chosen:
            return
        self.chosen = numbers
        layer = None
        if self.name is not None and numbers:
            layer = self.layers.layer(self.name) or self.layers.show(self.name)
        if layer is not None and layer.selected_label != numbers[-1]:
            layer.selected_label = numbers[-1]
        self.changed.emit()

    def zoom_to(self, number: int) -> None:
        """See a label in the middle of the sample, and the pattern of its centre."""
        table = self.table
        row = None if table is None else table.row_of(number)
        if table is None or row is None:
            return
        self.layers.look_at(tuple(table.boxes[row].tolist()))
        self.session.set_position(*table.centers[row].tolist())

    def new_label(self) -> int:
        """Paint with a number that no pixel has yet; returns it."""
        labels = self._labels()
        number = int(label_ops.free_numbers(labels.values, 1)[0])
        layer = self.layers.show(labels.name)
        if layer is not None:
            layer.selected_label = number
            layer.mode = "paint"
        return number

    # ------------------------------------------------------------- adding
    def add_empty(self, name: str) -> None:
        """A label map to paint on."""
        self._add(name or "labels", lambda found, name: label_maps.empty(name, found.shape))

    def add_phases(self, name: str = "") -> None:
        """A label for each phase."""
        self._add(name or "phase labels", label_maps.phase_labels)

    def add_grains(self, name: str = "", threshold: float = 5.0, min_size: int = 1) -> None:
        """A label for each grain.

        Parameters
        ----------
        name
            Of the label map.
        threshold
            Largest disorientation inside a grain, degrees.
        min_size
            Pixels that a grain needs.
        """
        self._add(
            name or "grains",
            lambda found, name: label_maps.grain_labels(found, threshold, min_size, name),
        )

    def add_region(self, name: str = "") -> None:
        """A label where the region is drawn.

        Raises
        ------
        BadInputError
            If none is drawn.
        """
        region = self._region()
        self._add(
            name or "region", lambda _found, name: label_maps.mask_labels(region, name, "region")
        )

    def add_threshold(
        self, name: str = "", *, quantity: Quantity = "score", value: float, above: bool = True
    ) -> None:
        """A label for each part where a quantity reaches a value, or stays below it."""
        source = f"{quantity} {'≥' if above else '<'} {value:g}"

        def make(found: PhaseMap, name: str) -> LabelMap:
            mask = label_maps.threshold_mask(found, quantity, value, above=above)
            return label_maps.mask_labels(mask, name, source)

        self._add(name or source, make)

    def _add(self, name: str, make: Callable[[PhaseMap, str], LabelMap]) -> None:
        corrections = self._corrections()
        free = self._free_name(name)
        found = corrections.map
        self._work(f"making {free} …")

        def done(made: LabelMap) -> None:
            self._work("")
            if self.session.corrections is corrections:
                corrections.add_labels(made)
                self.session.labels_changed.emit(made.name)
                self.select(made.name)

        self.runner.latest("add labels", lambda _t: make(found, free), done, failed=self._failed)

    def _free_name(self, name: str) -> str:
        name = name.strip().replace("/", "-")
        numbers = range(2, len(self.names) + 3)
        return next(n for n in (name, *(f"{name} {i}" for i in numbers)) if n not in self.names)

    def _region(self) -> NDArray[np.bool_]:
        if self.session.region is None:
            raise BadInputError("draw a region first (Scan dock)")
        return self.session.region

    # ---------------------------------------------------------- changing
    def propose(self, operation: Operation, value: float = 0, scope: Scope = SCOPES[0]) -> None:
        """Compute a change beside the window and preview it; see `LabelChange`.

        Raises
        ------
        BadInputError
            If labels or a region have to be chosen first.
        """
        labels, corrections = self._labels(), self._corrections()
        self.layers.record(labels.name)
        needs = NEEDS.get(operation, int(scope == "chosen labels"))
        if len(self.chosen) < needs:
            several = "a label" if needs == 1 else "two labels or more"
            raise BadInputError(f"{operation}: choose {several} in the table first")
        in_region = operation not in NEEDS and scope == "drawn region"
        before = labels.values.copy()
        change = LabelChange(
            labels.name,
            before,
            operation,
            value,
            by_size(self.chosen, self.table),
            scope,
            self._region() if in_region else None,
            corrections.map,
        )

        def done(proposal: Proposal) -> None:
            self._work("")
            if self.labels is not labels or not np.array_equal(labels.values, before):
                return  # painted on meanwhile
            self.proposal = proposal
            self.layers.preview(labels.name, proposal.pixels, proposal.values)
            self.proposed.emit(proposal)
            self.changed.emit()

        self.cancel()
        self._work(f"{operation} …")
        self.runner.latest(
            "labels", lambda _token: change.compute(), done, failed=self._failed, at_once=True
        )

    def apply(self) -> None:
        """Make the previewed change: one edit that can be undone."""
        proposal, corrections = self.proposal, self.session.corrections
        if proposal is None or corrections is None:
            return
        self.cancel()
        if len(proposal.pixels):
            change = corrections.edit(
                EditKind.PAINTED,
                proposal.pixels,
                {"labels": proposal.values},
                target=LABELS + proposal.name,
                note=proposal.note,
            )
            self.session.edited.emit(change)

    def cancel(self) -> None:
        """Drop the previewed change, or what computes one."""
        if self.working:
            self.runner.cancel("labels")
            self._work("")
        self.layers.hide_preview()
        if self.proposal is not None:
            self.proposal = None
            self.proposed.emit(None)
            self.changed.emit()

    def undo(self) -> None:
        """Take the last edit back, of this or another map."""
        self.layers.undo()

    def redo(self) -> None:
        """Make the edit again that was undone last."""
        self.layers.redo()

    # ------------------------------------------------------- names, files
    def rename(self, number: int, text: str) -> None:
        """Give a label a name."""
        labels = self._labels()
        if text.strip() != labels.names.get(number, ""):
            self._corrections().name_label(labels.name, number, text=text.strip())
            self.session.labels_changed.emit(labels.name)

    def recolor(self, number: int, color: str) -> None:
        """Give a label a colour, ``#rrggbb``."""
        labels = self._labels()
        self._corrections().name_label(labels.name, number, color=color)
        self.session.labels_changed.emit(labels.name)

    def save(self, path: str | Path) -> None:
        """Write the label map in hand as ``.ome.tif`` or ``.ome.zarr``, beside the window."""
        from napari_diffmap.maps.labels.save import save_labels

        labels, answer = self._labels(), self._corrections().answer
        self.layers.record(labels.name)
        values, names = labels.values.copy(), dict(labels.names)
        colors = {
            number: label_maps.color_of(labels, number)
            for number in (self.table.numbers.tolist() if self.table is not None else ())
        }

        def work(_token: object) -> Path:
            return save_labels(
                values,
                path,
                names=names,
                colors=colors,
                step=answer.step,
                step_unit=answer.step_unit,
                provenance=answer.provenance,
            )

        def done(written: Path) -> None:
            self._work("")
            self.session.message.emit(f"labels saved: {written}")

        self._work("saving …")
        self.runner.latest("save labels", work, done, failed=self._failed)

    # -------------------------------------------------------------- inside
    def _work(self, words: str) -> None:
        if words != self.working:
            self.working = words
            self.changed.emit()

    def _failed(self, error: Exception) -> None:
        self._work("")
        if not isinstance(error, DiffmapError | MemoryError | OSError):
            raise error
        if not isinstance(error, CancelledError):
            self.session.message.emit(str(error) or "out of memory")
