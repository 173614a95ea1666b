"""What may propose orientations of the scan: the templates, and the networks there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_diffmap.errors import DiffmapError
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.models.registry import ModelEntry

#: The engine that is no network, as `methods.orientation.parameters` calls it; to import that
#: would load torch while the window waits.
TEMPLATES = "templates"
TEMPLATES_TITLE = "Templates"


@dataclass(frozen=True)
class EngineChoice:
    """An engine that may be chosen.

    Attributes
    ----------
    name, title
        For recipes, and for people.
    tip
        What it is.
    problem
        Why it does not fit the phases or the scan; empty where it does.
    """

    name: str
    title: str
    tip: str
    problem: str = ""


class Engines:
    """The models there are, and which engine the next map is made with.

    Signals
    -------
    changed()
        Other models, or what they are asked about has changed.
    chosen_changed(name)
        Another engine was chosen.
    added(name), removed(name)
        A model file came or went.
    failed(error)
        A file could not be added or removed.
    """

    changed = Signal()
    chosen_changed = Signal(str)
    added = Signal(str)
    removed = Signal(str)
    failed = Signal(object)

    def __init__(self, session: Session, runner: Runner) -> None:
        self.session = session
        self.runner = runner
        self.entries: tuple[ModelEntry, ...] = ()
        #: Whether the models were looked for.
        self.known = False
        self.chosen = TEMPLATES
        #: Precession of the next map, degrees.
        self.precession_deg = 0.0
        self._count = count()
        for signal in (session.phases_changed, session.calibration_changed, session.scan_changed):
            signal.connect(self._tell)

    def _tell(self, *_: object) -> None:
        self.changed.emit()

    # ------------------------------------------------------------- the list
    def refresh(self) -> None:
        """Look for models beside the window; of each file only the header is read."""

        def work(_token: object) -> tuple[ModelEntry, ...]:
            from napari_diffmap.models.registry import models

            return models()

        def done(entries: tuple[ModelEntry, ...]) -> None:
            self.entries, self.known = entries, True
            self.changed.emit()

        self.runner.latest("models", work, done)

    def entry(self, name: str) -> ModelEntry | None:
        """A model that can be used, by its name."""
        return next((e for e in self.entries if e.name == name and not e.problem), None)

    def add(self, paths: Iterable[str | Path]) -> None:
        """Keep copies of model files; every byte is checked, beside the window."""
        files = [Path(path) for path in paths]

        def work(_token: object) -> tuple[list[str], list[DiffmapError]]:
            from napari_diffmap.models import registry

            names, errors = [], []
            for file in files:
                try:
                    names.append(registry.add(file).name)
                except DiffmapError as error:
                    errors.append(error)
            return names, errors

        def done(result: tuple[list[str], list[DiffmapError]]) -> None:
            names, errors = result
            for error in errors:
                self.failed.emit(error)
            self.refresh()
            for name in names:
                self.added.emit(name)

        self.runner.latest(self._slot(), work, done, failed=self._on_failed)

    def remove(self, name: str) -> None:
        """Delete an added model."""

        def work(_token: object) -> str:
            from napari_diffmap.models.registry import remove

            return remove(name).name

        def done(gone: str) -> None:
            self.refresh()
            self.removed.emit(gone)

        self.runner.latest(self._slot(), work, done, failed=self._on_failed)

    def _slot(self) -> str:
        """A slot of its own: no file that is added is dropped for the next one."""
        return f"model files {next(self._count)}"

    def _on_failed(self, error: Exception) -> None:
        self.failed.emit(error)
        self.refresh()

    # ----------------------------------------------------------- the engine
    def set_precession(self, degrees: float) -> None:
        """The next map is of a scan with this precession."""
        if degrees != self.precession_deg:
            self.precession_deg = degrees
            self.changed.emit()

    def choose(self, name: str) -> None:
        """Make the next map with another engine."""
        if name != self.chosen:
            self.chosen = name
            self.chosen_changed.emit(name)
            self.changed.emit()

    def problem(self, name: str) -> str:
        """Why an engine cannot map the scan, in one line; empty where it can."""
        if name == TEMPLATES:
            return ""
        entry = self.entry(name)
        if entry is None:
            return f"there is no model {name!r}" if self.known else ""
        assert entry.card is not None
        if entry.card.task != "orientation":
            return f"it answers {entry.card.task}, not orientations"
        reasons = entry.card.covers(
            voltage_kv=self.session.calibration.voltage_kv,
            precession_deg=self.precession_deg,
            phases=[phase.name for phase in self.session.phases],
        )
        return "; ".join(reasons)

    def missing(self) -> str:
        """Why the chosen engine cannot map the scan, as a sentence; empty where it can."""
        problem = self.problem(self.chosen)
        if not problem:
            return ""
        if self.entry(self.chosen) is None:
            return f"There is no model {self.chosen!r} any more: choose another engine."
        return f"Choose another engine than {self.chosen}: {problem}."

    def choices(self) -> tuple[EngineChoice, ...]:
        """Engines of orientation maps: the templates, every usable network, and the chosen one."""
        found = [EngineChoice(TEMPLATES, TEMPLATES_TITLE, _TEMPLATES_TIP)]
        for entry in self.entries:
            card = entry.card
            if card is None or entry.problem or card.task != "orientation":
                continue
            tip = (
                f"{card.title} ({entry.name}): a network for"
                f" {', '.join(phase.name for phase in card.phases)}, {card.voltage_text} kV"
            )
            found.append(EngineChoice(entry.name, card.title, tip, self.problem(entry.name)))
        if self.chosen not in [choice.name for choice in found]:
            problem = self.problem(self.chosen)
            found.append(EngineChoice(self.chosen, self.chosen, "A model that was here", problem))
        return tuple(found)


_TEMPLATES_TIP = "Patterns of all zone axes of any phases, no training"
