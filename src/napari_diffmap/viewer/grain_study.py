"""Grains of the session's map: measured beside the window, selected, measured again after edits."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.jobs.grains import GrainRun, GrainSettings, measure_grains, save_grains
from napari_diffmap.maps.edits.corrections import LabelMap
from napari_diffmap.maps.edits.edit import MAP, snapshot
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.maps.edits.edit import Edit
    from napari_diffmap.maps.orientation_map import OrientationMap

#: Name of the label map that `GrainStudy.add_labels` makes.
LABELS_NAME = "grains"
#: A grain is inside a region when so much of it is.
MOST = 0.5
#: Up to so many grains are looked for in their own boxes only.
_FEW = 64


class GrainStudy:
    """Grains of a map, and which of them are selected.

    Parameters
    ----------
    session, runner
        Whose map is measured, and where.

    Attributes
    ----------
    settings
        What the next measurement is made with.
    run
        What was measured; None before.
    auto
        Measure again after corrections of the map.
    stale
        The map was corrected since.
    labels
        Numbers of the selected grains, rising.
    pixels
        ``(Y, X)``: pixels that a region drawn in a pole figure holds; None without one.

    Signals
    -------
    measured(run)
        Grains were measured; None: they are gone.
    selected(labels)
        Other grains are selected, or another region.
    working(line)
        What is being done; empty: nothing.
    state_changed()
        Settings, or whether the grains are up to date.
    """

    measured = Signal(object)
    selected = Signal(tuple)
    working = Signal(str)
    state_changed = Signal()

    def __init__(self, session: Session, runner: Runner) -> None:
        self.session = session
        self.runner = runner
        self.settings = GrainSettings()
        self.run: GrainRun | None = None
        self.auto = True
        self.stale = False
        self.labels: tuple[int, ...] = ()
        self.pixels: NDArray[np.bool_] | None = None
        self._busy = False
        self._again = False
        session.map_changed.connect(self._on_map)
        session.edited.connect(self._on_edited)
        session.position_changed.connect(self.select_at)

    # ------------------------------------------------------------ measuring
    def change(self, **settings: Any) -> None:
        """Use other settings for the next measurement.

        Raises
        ------
        BadInputError
            If a value cannot be.
        """
        try:
            self.settings = GrainSettings(**{**self.settings.model_dump(), **settings})
        except ValueError as error:
            raise BadInputError(f"grains cannot be made like this: {error}") from error
        self.state_changed.emit()

    def set_auto(self, on: bool) -> None:
        """Measure again after corrections, or only when asked."""
        self.auto = on
        if on and self.stale:
            self.measure()

    @property
    def busy(self) -> bool:
        """Whether grains are being measured."""
        return self._busy

    def measure(self) -> None:
        """Measure the grains of the map as it is now.

        Raises
        ------
        BadInputError
            If there is no map, or one without orientations.
        """
        found = self.session.map
        if found is None or not found.has_orientations:
            raise BadInputError(self.missing())
        if self._busy:
            # The work cannot be stopped on its way: the newest map and settings come after it.
            self._again = True
            return
        copied, settings = snapshot(_first_answers(found)), self.settings
        old, labels = self.run, self.labels
        self._busy, self.stale = True, False
        self.working.emit("Measuring grains …")

        def work(_token: object) -> tuple[GrainRun, tuple[int, ...]]:
            run = measure_grains(copied, settings)
            return run, _followed(old, labels, run)

        def done(result: tuple[GrainRun, tuple[int, ...]]) -> None:
            run, followed = result
            if self.session.map is found:
                self.run = run
                # What was selected meanwhile has old numbers.
                self.labels = followed if self.labels == labels else ()
                self.pixels = None
                self.measured.emit(run)
                self.selected.emit(self.labels)
            self._ended()

        def failed(error: Exception) -> None:
            text = str(error) if isinstance(error, DiffmapError) else f"grains: {error!r}"
            self.session.message.emit(text)
            self._ended()

        self.runner.latest("grains", work, done, failed=failed)

    def _ended(self) -> None:
        self._busy = False
        self.working.emit("")
        again, self._again = self._again, False
        if again and self.session.map is not None:
            self.measure()
        self.state_changed.emit()

    def _on_map(self, _found: OrientationMap | None) -> None:
        # What runs is of the old map; its result is dropped.
        self._again = self.stale = False
        self.run, self.labels, self.pixels = None, (), None
        self.measured.emit(None)
        self.selected.emit(())

    def _on_edited(self, change: Any) -> None:
        edit: Edit = change.edit
        if edit.target != MAP or (self.run is None and not self._busy):
            return
        self.stale = True
        if self.auto:
            self.measure()
        else:
            self.state_changed.emit()

    def missing(self) -> str:
        """What has to be done first; empty when grains can be measured."""
        if self.session.map is None:
            return "Map the scan first (Map dock), or open a map."
        if not self.session.map.has_orientations:
            return "This map holds phases of spectra and no orientations: it has no grains."
        if not self.session.map.indexed.any():
            return "No position of this map has an answer: there are no grains."
        return ""

    def line(self) -> str:
        """What is missing, what is there."""
        missing, run = self.missing(), self.run
        if missing:
            return missing
        if run is None:
            return "Measure the grains of the map."
        rows = run.summary["phases"]
        told = [
            f"{row['name']} {row['grains']} grains, mean ⌀"
            f" {in_words(row['mean_diameter'], run.found.step_unit)}"
            for row in rows
        ]
        if run.merged is not None:
            told.append(f"{len(run.merged.grains)} parents")
        old = ""
        if self.stale:
            old = "Map corrected since: measure again.  "
        elif run.settings != self.settings:
            old = "Settings changed: measure again.  "
        return old + "; ".join(told)

    # ------------------------------------------------------------ selecting
    def select(self, labels: Iterable[int]) -> None:
        """Select grains by number, and no others."""
        self._select(labels, None)

    def _select(self, labels: Iterable[int], pixels: NDArray[np.bool_] | None) -> None:
        n = 0 if self.run is None else len(self.run.grains)
        numbers = np.unique(np.fromiter(labels, dtype=np.int64))
        chosen = tuple(numbers[(numbers >= 1) & (numbers <= n)].tolist())
        if chosen == self.labels and pixels is None and self.pixels is None:
            return
        self.labels, self.pixels = chosen, pixels
        self.selected.emit(chosen)

    def grain_at(self, y: int, x: int) -> int:
        """Number of the grain of a pixel; 0 where there is none."""
        if self.run is None:
            return 0
        labels = self.run.grains.labels
        inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
        return int(labels[y, x]) if inside else 0

    def select_at(self, y: int, x: int) -> None:
        """Select the grain of a pixel; where there is none, nothing."""
        if self.run is not None:
            grain = self.grain_at(y, x)
            self.select((grain,) if grain else ())

    def select_pixels(self, mask: NDArray[np.bool_]) -> None:
        """Select the grains of which at least half of the pixels ``(Y, X)`` are in a mask."""
        run = self.run
        if run is None:
            return
        there = np.bincount(run.grains.labels[mask], minlength=len(run.grains) + 1)[1:]
        self._select(np.flatnonzero(there >= MOST * run.grains.sizes) + 1, mask)

    def mask(self) -> NDArray[np.bool_] | None:
        """``(Y, X)``: pixels of the selected grains; None without grains."""
        run = self.run
        if run is None:
            return None
        labels = run.grains.labels
        if len(self.labels) <= _FEW:
            out = np.zeros(labels.shape, dtype=bool)
            for label in self.labels:
                y0, x0, y1, x1 = run.properties.bbox[label - 1]
                out[y0:y1, x0:x1] |= labels[y0:y1, x0:x1] == label
            return out
        table = np.zeros(len(run.grains) + 1, dtype=bool)
        table[list(self.labels)] = True
        mask: NDArray[np.bool_] = table[labels]
        return mask

    def box(self) -> tuple[int, int, int, int] | None:
        """Rows and columns ``y0, x0, y1, x1`` of the selected grains; None without any."""
        if self.run is None or not self.labels:
            return None
        boxes = self.run.properties.bbox[np.array(self.labels) - 1]
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    # --------------------------------------------------------------- results
    def add_labels(self) -> str:
        """Make the grains a label map of the corrections, to be edited; returns its name.

        Raises
        ------
        BadInputError
            If there are no grains.
        """
        run, corrections = self.run, self.session.corrections
        if run is None or corrections is None:
            raise BadInputError("measure the grains first")
        edits = (*corrections.done, *corrections.undone)
        source = (
            f"grains of the map, {run.settings.threshold:g}°, at least {run.settings.min_size}"
            " pixels"
        )
        name, number = LABELS_NAME, 1
        labels = LabelMap(name, run.grains.labels, source=source)
        while any(edit.target == labels.target for edit in edits):
            number += 1
            labels.name = f"{name} {number}"
        corrections.add_labels(labels)
        self.session.labels_changed.emit(labels.name)
        return labels.name

    def save(self, folder: str | Path) -> None:
        """Write tables and maps to a folder, beside the window.

        Raises
        ------
        BadInputError
            If there are no grains.
        """
        run = self.run
        if run is None:
            raise BadInputError("measure the grains first")

        def done(written: list[Path]) -> None:
            self.working.emit("")
            self.session.message.emit(f"wrote {len(written)} files to {folder}")

        def failed(error: Exception) -> None:
            self.working.emit("")
            self.session.message.emit(f"grains were not saved: {error}")

        self.working.emit(f"Saving grains to {folder} …")
        self.runner.latest("save grains", lambda _t: save_grains(run, folder), done, failed=failed)


def in_words(length: float, unit: str) -> str:
    """A length to three digits, in µm where nm are too many."""
    if unit == "nm" and length >= 1000:
        return f"{length / 1000:.3g} µm"
    return f"{length:.3g} {unit}"


def _first_answers(found: OrientationMap) -> OrientationMap:
    """Views of what grains are made of: the other answers would be copied for nothing."""
    mine = copy(found)
    for name in ("rotations", "scores", "phase_ids"):
        object.__setattr__(mine, name, getattr(found, name)[:, :, :1])
    object.__setattr__(mine, "extra", {})
    return mine


def _followed(old: GrainRun | None, labels: tuple[int, ...], new: GrainRun) -> tuple[int, ...]:
    """Grains of a new measurement that hold most of each selected grain of the old one."""
    if old is None or not labels or old.grains.labels.shape != new.grains.labels.shape:
        return ()
    there = np.isin(old.grains.labels, labels)
    before, after = old.grains.labels[there], new.grains.labels[there]
    pairs, counts = np.unique(np.stack((before, after)), axis=1, return_counts=True)
    # The last of each old number is its most frequent new one.
    order = np.lexsort((counts, pairs[0]))
    last = np.append(np.diff(pairs[0][order]) > 0, True)
    kept = pairs[1][order][last]
    return tuple(np.unique(kept[kept > 0]).tolist())
