"""A running training of a network: start, stop, resume, how it goes, the model at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError, DiffmapError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.control import Progress as Pace
from napari_diffmap.jobs.training_run import RECIPE
from napari_diffmap.viewer.engines import Engines
from napari_diffmap.viewer.train_draft import DEFAULTS, TrainingDraft
from napari_diffmap.viewer.training_curves import TrainingCurves
from napari_diffmap.widgets.bridge import JobWorker, one_line, report, report_error, start_job

if TYPE_CHECKING:
    from napari_diffmap.jobs.training_run import TrainingRun
    from napari_diffmap.models.registry import ModelEntry
    from napari_diffmap.models.training import Progress

State = Literal["idle", "running", "stopping"]
#: As `models.training` calls it; to import that would load torch while the window waits.
CHECKPOINT = "training.safetensors"
#: The window is told of a step at most this often, s.
_STEP_SECONDS = 0.3


@dataclass(frozen=True)
class Recipes:
    """What a training may begin with.

    Attributes
    ----------
    families
        Names of networks.
    records
        Fields of recipes by name, the defaults first.
    """

    families: tuple[str, ...]
    records: dict[str, dict[str, Any]]


class TrainRun:
    """Trains on the device queue; opening another scan does not end it.

    Signals
    -------
    changed()
        A training began, is ending or ended, or its line is another.
    stepped()
        There is more to draw.
    recipes_known(recipes)
        `recipes` were read.
    finished(name)
        A model was trained and added to the list.
    """

    changed = Signal()
    stepped = Signal()
    recipes_known = Signal(object)
    finished = Signal(str)

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.state: State = "idle"
        #: How it goes, or how the last one ended.
        self.line = ""
        self.share = 0.0
        self.curves = TrainingCurves()
        self.last: TrainingRun | None = None
        self.recipes: Recipes | None = None
        self._control: JobControl | None = None

    @property
    def running(self) -> bool:
        """Whether a network is being trained."""
        return self.state != "idle"

    # --------------------------------------------------------------- asking
    def load_recipes(self) -> None:
        """Read what a training may begin with, beside the window: it loads torch."""
        if self.recipes is not None:
            return

        def done(recipes: Recipes) -> None:
            self.recipes = recipes
            self.recipes_known.emit(recipes)

        self.engines.runner.latest("recipes", lambda _token: _recipes(), done)

    def missing(self, draft: TrainingDraft, folder: Path | None) -> str:
        """What must be there before a training can begin, in one line; empty when nothing."""
        if not self.engines.session.phases:
            return "Add a phase in the Map dock first: a network learns crystals."
        lacking = draft.missing()
        if lacking:
            return lacking
        if any(entry.name == draft.name for entry in self.engines.entries):
            return f"There is a model named {draft.name} already: take another name."
        if folder is None:
            return "Choose a folder for the training."
        state = folder_state(folder)
        if state == "stopped":
            return "The folder holds a training that was stopped: Resume, or take another folder."
        if state == "finished":
            return "The folder holds a finished training: take another folder."
        return ""

    # -------------------------------------------------------------- running
    def start(self, draft: TrainingDraft, folder: str | Path) -> None:
        """Train a model.

        Parameters
        ----------
        draft
            What, and how.
        folder
            Gets checkpoint, curves and model.

        Raises
        ------
        BadInputError
            If something is missing or a training runs already.
        """
        target = Path(folder).expanduser()
        lacking = self.missing(draft, target)
        if lacking:
            raise BadInputError(lacking)
        self.start_record(draft.record(), target)

    def start_record(self, record: dict[str, Any], folder: Path) -> None:
        """Train what the fields of a recipe say."""

        def recipe() -> Any:
            from napari_diffmap.methods.networks.recipe import training_recipe

            return training_recipe(record)

        self._start(recipe, folder, resume=False)

    def resume(self, folder: str | Path) -> None:
        """Go on with the training that was stopped in a folder, by its own recipe.

        Raises
        ------
        BadInputError
            If there is none, or a training runs already.
        """
        target = Path(folder).expanduser()
        if folder_state(target) != "stopped":
            raise BadInputError(f"{target} holds no training that was stopped")

        def recipe() -> Any:
            from napari_diffmap.methods.networks.recipe import load_training_recipe

            return load_training_recipe(target / RECIPE)

        self._start(recipe, target, resume=True)

    def stop(self) -> None:
        """End the training after its step; it can be resumed from its folder."""
        if self._control is not None and self.state == "running":
            self._control.stop()
            self._set("stopping", "Stopping …")

    def _start(self, recipe: Callable[[], Any], folder: Path, *, resume: bool) -> None:
        if self.running:
            raise BadInputError("a network is being trained: stop it first")
        control = JobControl()
        self._control, self.last = control, None
        self.curves, self.share = TrainingCurves(), 0.0

        def work(worker: JobWorker) -> tuple[TrainingRun, ModelEntry | None, str]:
            from napari_diffmap.jobs.queue import submit
            from napari_diffmap.jobs.train import train_model
            from napari_diffmap.models.device import resolve_device
            from napari_diffmap.models.training import LOG, read_log

            wanted = recipe()
            device = resolve_device("auto", network=True)
            mail = _StepMail(worker, wanted.plan.validate_every)
            if resume:
                worker.progressed.emit(tuple(read_log(folder / LOG)))

            def stage(words: str) -> None:
                # Until the first step there is nothing to keep.
                if not mail.begun:
                    control.check()
                worker.progressed.emit(words)

            def train() -> TrainingRun:
                control.check()
                return train_model(
                    wanted,
                    folder,
                    device=device,
                    resume=resume,
                    control=control,
                    on_step=mail,
                    on_stage=stage,
                )

            run: TrainingRun = submit(device, train).result()
            entry, problem = _added(run)
            return run, entry, problem

        self._set("running", "Waiting for the device …")
        start_job(
            work,
            stop=control.stop,
            returned=self._on_returned,
            errored=self._on_errored,
            finished=self._on_finished,
            progressed=self._on_progress,
        )

    def _set(self, state: State, line: str) -> None:
        self.state, self.line = state, line
        self.changed.emit()

    # ---------------------------------------------------------------- slots
    def _on_progress(self, message: str | tuple[Progress, ...] | Progress) -> None:
        if isinstance(message, str):
            if self.state == "running":
                self._set("running", message[:1].upper() + message[1:] + " …")
            return
        if isinstance(message, tuple):
            self.curves = TrainingCurves(message)
        else:
            self.curves.add(message)
            self.share = message.step / message.steps
            if self.state == "running":
                self._set("running", step_line(message))
        self.stepped.emit()

    def _on_returned(self, result: tuple[TrainingRun, ModelEntry | None, str]) -> None:
        run, entry, problem = result
        self.last = run
        self.line = outcome(run)
        if problem:
            self.line = f"{self.line} It is not in the list: {problem}"
            report_error(problem)
        if entry is not None:
            self.engines.refresh()
            self.engines.added.emit(entry.name)
            self.finished.emit(entry.name)
        report(self.line)

    def _on_errored(self, error: Exception) -> None:
        if isinstance(error, CancelledError):
            self.line = "Stopped before the first step: nothing was learnt."
            report(self.line)
        else:
            self.line = one_line(error)
            report_error(error)

    def _on_finished(self) -> None:
        self._control = None
        self._set("idle", self.line)


class _StepMail:
    """Hands steps on a few times a second, and every validation."""

    def __init__(self, worker: JobWorker, every: int) -> None:
        self._worker = worker
        self._every = every
        self._sent = 0.0
        self.begun = False

    def __call__(self, progress: Progress) -> None:
        self.begun = True
        validated = progress.step % self._every == 0 or progress.step == progress.steps
        if validated or time.perf_counter() - self._sent > _STEP_SECONDS:
            self._sent = time.perf_counter()
            self._worker.progressed.emit(progress)


def _recipes() -> Recipes:
    from napari_diffmap.jobs.train import shipped_recipes
    from napari_diffmap.methods.networks.recipe import TrainingRecipe, load_training_recipe
    from napari_diffmap.models.families import FAMILIES

    defaults = TrainingRecipe(name=DEFAULTS, phases=(DEFAULTS,))
    shipped = {name: load_training_recipe(path) for name, path in shipped_recipes().items()}
    named = {DEFAULTS: defaults, **shipped}
    return Recipes(FAMILIES, {k: recipe.model_dump(mode="json") for k, recipe in named.items()})


def _added(run: TrainingRun) -> tuple[ModelEntry | None, str]:
    """The finished model in the list of models, or why it is not there."""
    from napari_diffmap.models.registry import add

    if run.model is None:
        return None, ""
    try:
        return add(run.model), ""
    except DiffmapError as error:
        return None, f"{one_line(error)}; it is kept as {run.model}"


def folder_state(folder: Path) -> Literal["free", "stopped", "finished"]:
    """Whether a folder holds a training."""
    if not (folder / CHECKPOINT).is_file() or not (folder / RECIPE).is_file():
        return "free"
    models = [path for path in folder.glob("*.safetensors") if path.name != CHECKPOINT]
    return "finished" if models else "stopped"


def step_line(progress: Progress) -> str:
    """Where a training stands, in one line."""
    pace = Pace(progress.step, progress.steps, progress.seconds, "Step").text()
    parts = [pace, f"loss {progress.loss:.2f}"]
    if progress.figures:
        parts.append(f"held out {progress.figures['loss']:.2f}")
        parts.append(f"{100 * progress.figures.get('right', float('nan')):.0f} % right")
    return ", ".join(parts)


def outcome(run: TrainingRun) -> str:
    """What a training came to, as a sentence."""
    found = run.summary
    if run.model is None:
        return f"{found['model']}: stopped after {found['steps']} steps, Resume goes on from there."
    right = f", {100 * found['right']:.0f} % right within 5° (held out)" if "right" in found else ""
    return f"{found['model']}: trained in {found['seconds'] / 60:.1f} min{right}."
