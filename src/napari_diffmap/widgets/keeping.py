"""Keeping a session: saved and opened again, and nothing lost when the program dies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from psygnal import Signal

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.jobs.autosave import Autosave, discard, restored, unsaved
from napari_diffmap.jobs.session_file import (
    SUFFIX,
    SavedSession,
    SessionRecord,
    load_session,
    options_of,
    record_of,
    save_session,
)
from napari_diffmap.maps.edits.log import FILE_NAME as EDITS
from napari_diffmap.viewer.answers import matcher_of
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.session_view import show_map_view, show_scan_view, view_of
from napari_diffmap.viewer.shown_map import ShownMap
from napari_diffmap.widgets.bridge import JobWorker, report, report_error, start_job
from napari_diffmap.widgets.opening import Opening

if TYPE_CHECKING:
    from napari_diffmap.jobs.phases_recipe import PhasesRecipe
    from napari_diffmap.jobs.recipe import Recipe
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.methods.orientation import OrientationMethod


class SessionKeeper:
    """Saves and opens sessions, and records corrections that are not saved yet.

    Parameters
    ----------
    session, maps, opening, runner, viewer
        What is kept.
    matcher
        Asked for the matcher of the last run.

    Signals
    -------
    found(folder)
        There are unsaved corrections of the scan that was opened; None: no more.
    saved(folder)
        The session is saved there.
    """

    found = Signal(object)
    saved = Signal(object)

    def __init__(
        self,
        session: Session,
        maps: ShownMap,
        opening: Opening,
        runner: Runner,
        viewer: Any,
        matcher: Callable[[], OrientationMethod | None],
        phases_recipe: Callable[[Mapping[str, Any]], PhasesRecipe | None],
    ) -> None:
        self.session = session
        self.maps = maps
        self.opening = opening
        self.runner = runner
        self._viewer = ref(viewer)
        self._matcher = matcher
        self._phases_recipe = phases_recipe
        self.autosave: Autosave | None = None
        #: Where the session was saved or opened, and what it held then.
        self.folder: Path | None = None
        self._kept: tuple[int, ...] = ()
        self._unsaved: Path | None = None
        self._coming: SavedSession | None = None
        self._told = False
        #: What is shown once the layers of the map are there.
        self._view: dict[str, Any] | None = None
        session.map_changed.connect(self._on_map)
        session.scan_changed.connect(self._on_scan)
        session.edited.connect(self._on_step)
        session.labels_changed.connect(self._on_step)
        opening.opened.connect(self._on_opened)
        opening.session_asked.connect(self.open)
        maps.shown.connect(self._on_shown)

    # ------------------------------------------------------------- unsaved
    @property
    def dirty(self) -> bool:
        """Whether there are corrections that are not saved."""
        return self._steps() != self._kept

    def _steps(self) -> tuple[int, ...]:
        corrections = self.session.corrections
        return () if corrections is None else _steps_of(corrections)

    def _on_map(self, *_: object) -> None:
        self._end_autosave()
        corrections = self.session.corrections
        self._told = False
        if corrections is not None:
            self._kept = self._steps()
            self.autosave = Autosave(corrections, self._record_or_none)

    def _end_autosave(self) -> None:
        if self.autosave is not None:
            corrections = self.autosave.corrections
            some = bool(corrections.done or corrections.labels)
            self.autosave.end(keep=some and self._kept != _steps_of(corrections))
            self.autosave = None

    def _on_scan(self, *_: object) -> None:
        self.folder = None
        if self._unsaved is not None:
            self._unsaved = None
            self.found.emit(None)

    def _on_step(self, *_: object) -> None:
        autosave = self.autosave
        if autosave is None:
            return
        if autosave.error is not None and not self._told:
            self._told = True
            report_error(autosave.error)
        if autosave.waits_for_answer:
            self.runner.latest("autosave", lambda _token: autosave.keep_answer(), lambda _: None)

    def _record_or_none(self) -> SessionRecord | None:
        try:
            return self.record()
        except DiffmapError:
            return None

    def _on_opened(self, *_: object) -> None:
        """Show what belongs to an opened session, and look for corrections that were not saved."""
        coming, self._coming = self._coming, None
        scan = self.session.scan
        if coming is not None:
            self._show(coming)
        if scan is not None and scan.source is not None:
            waiting = unsaved(Path(scan.source))
            if waiting:
                self._unsaved = waiting[0]
                self.found.emit(waiting[0])

    def restore(self) -> None:
        """Show the unsaved corrections that were found."""
        folder, self._unsaved = self._unsaved, None
        if folder is None:
            return
        self.found.emit(None)

        def done(saved: SavedSession) -> None:
            self._show(saved, keep_view=True)
            corrections = self.session.corrections
            if self.autosave is not None and corrections is saved.corrections:
                self._kept = ()
                autosave = self.autosave
                autosave.begin()
                self.runner.latest(
                    "autosave", lambda _token: autosave.keep_answer(), lambda _: discard(folder)
                )

        self.runner.latest("session", lambda _token: restored(folder), done)

    def drop(self) -> None:
        """Delete the unsaved corrections that were found."""
        if self._unsaved is not None:
            discard(self._unsaved)
            self._unsaved = None
            self.found.emit(None)

    def close(self) -> None:
        """The window goes: what is not saved is left to be found again."""
        self._end_autosave()

    # ------------------------------------------------------------ save, open
    def record(self) -> SessionRecord:
        """The session as it is.

        Raises
        ------
        BadInputError
            If there is no scan, or it comes from no file.
        """
        scan, viewer, last = self.session.scan, self._viewer(), self.opening.last
        if scan is None or viewer is None:
            raise BadInputError("open a scan first: there is nothing to save")
        options = {} if last is None else last.options
        view = view_of(self.session, self.maps, viewer)
        return record_of(
            scan.with_calibration(self.session.calibration), options, self.session.phases, view
        )

    def recipe(self) -> Recipe | PhasesRecipe | None:
        """How the map was made; None where scan or phases come from no file."""
        from napari_diffmap.jobs.recipe import recipe_of

        session, last = self.session, self.opening.last
        scan, answer = session.patterns, session.map
        if answer is not None and not answer.has_orientations:
            return self._phases_recipe({} if last is None else last.options)
        if scan is None or answer is None:
            return None
        method = self._matcher() or matcher_of(answer, tuple(session.phases))
        if method is None:
            return None
        calibrated = scan.with_calibration(session.calibration)
        return recipe_of(calibrated, method, {} if last is None else last.options)

    def recipe_text(self) -> str:
        """The recipe of the map with its corrections, as YAML.

        Raises
        ------
        BadInputError
            If there is none, or corrections are not saved.
        """
        from napari_diffmap.jobs.recipe import recipe_text, with_edits

        recipe, corrections = self.recipe(), self.session.corrections
        if recipe is None or corrections is None:
            raise BadInputError("a recipe needs a map of a scan and of phases that are in files")
        if corrections.done:
            if self.folder is None or self.dirty:
                raise BadInputError("save the session first: the recipe names its corrections")
            recipe = with_edits(recipe, self.folder / EDITS)
        return recipe_text(recipe)

    def save(self, folder: str | Path) -> None:
        """Save the session to ``NAME.diffmap``, beside the window."""
        target = Path(folder)
        if target.suffix != SUFFIX:
            target = target.with_name(target.name + SUFFIX)
        corrections, steps = self.session.corrections, self._steps()
        record, recipe = self.record(), self.recipe()

        def work(_worker: JobWorker) -> list[Path]:
            return save_session(target, record, corrections, recipe)

        def done(_files: list[Path]) -> None:
            if corrections is self.session.corrections:
                self.folder, self._kept = target, steps
                if self.autosave is not None and not self.dirty and corrections is not None:
                    self.autosave.end(keep=False)
                    self.autosave = Autosave(corrections, self._record_or_none)
            report(f"session saved in {target}")
            self.saved.emit(target)

        start_job(work, returned=done, errored=report_error, description="saving the session")

    def open(self, folder: str | Path) -> None:
        """Open a session: its scan, map, corrections and view."""
        path = Path(folder)

        def done(saved: SavedSession) -> None:
            self._coming = saved
            self.opening.open(saved.file, **options_of(saved.record))

        self.runner.latest("session", lambda _token: load_session(path), done)

    def _show(self, saved: SavedSession, *, keep_view: bool = False) -> None:
        session, view = self.session, saved.record.view
        for line in saved.warnings:
            session.message.emit(line)
        session.set_calibration(saved.calibration)
        if saved.phases:
            session.set_phases(saved.phases)
        if not keep_view:
            show_scan_view(session, view)
            if view.get("thresholds"):
                self.maps.low, self.maps.high = map(float, view["thresholds"])
        self._view = None if keep_view else view
        if saved.corrections is not None:
            try:
                session.set_map(saved.corrections)
            except BadInputError as error:
                report_error(error)
                return
        if not keep_view:
            self.folder, self._kept = saved.folder, self._steps()

    def _on_shown(self) -> None:
        view, self._view = self._view, None
        viewer = self._viewer()
        if view is not None and viewer is not None:
            show_map_view(self.maps, viewer, view)


def _steps_of(corrections: Corrections) -> tuple[int, ...]:
    done = [edit.number for edit in corrections.done if edit.number not in corrections.off]
    return (len(corrections.labels), *done)
