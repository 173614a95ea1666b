"""Defects found, sorted and followed beside the window: start, stop, live finds, saving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError, DiffmapError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_work import (
    FindsMail,
    Steps,
    adapted_model,
    carried_on,
)
from napari_diffmap.viewer.training_curves import TrainingCurves
from napari_diffmap.widgets.bridge import JobWorker, report, report_error, spare_the_collector
from napari_diffmap.widgets.defects_probability import Probability
from napari_diffmap.widgets.job_run import JobRun, on_device, write_files

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects import DefectsRun, Found
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.maps.edits.log import EditLog
    from napari_diffmap.methods.defects.find import Finder
    from napari_diffmap.methods.defects.finds import Finds
    from napari_diffmap.methods.defects.parameters import DefectParameters
    from napari_diffmap.scan.scan import Scan
    from napari_diffmap.viewer.runner import Runner


class DefectsRunner(JobRun):
    """Runs the stages on the device queue; what there was before is kept until one is done.

    Parameters
    ----------
    defects
        Whose scan it is.
    runner
        Where single frames are looked at.
    options
        Says how the scan on the desk was opened.

    Signals
    -------
    saved(files)
        The files of a save are written.
    learnt()
        There is more of the loss to draw.
    added(name)
        A model was adapted and added to the list.
    asked(train)
        The user asked to train on the image first: on which labels; or to adapt: ``adapt``.
    """

    saved = Signal(object)
    learnt = Signal()
    added = Signal(str)
    asked = Signal(str)

    def __init__(
        self,
        defects: Defects,
        runner: Runner,
        options: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        super().__init__()
        self.defects, self.runner = defects, runner
        self.session = defects.session
        self.options = options
        #: What was found last, to be sorted again.
        self.found: Found | None = None
        #: Loss of the network that is trained.
        self.curves = TrainingCurves()
        #: What found it.
        self.finder: Any = None
        #: Where corrections are recorded once the run was saved.
        self.log: EditLog | None = None
        self._scan: object = None
        self.session.scan_changed.connect(self._on_scan)
        #: Probability of the frame that is looked at.
        self.probability = Probability(self)

    # -------------------------------------------------------------- running
    def find(self, parameters: DefectParameters) -> None:
        """Find, sort and follow the defects of the scan.

        Raises
        ------
        BadInputError
            If something is missing or a run is under way.
        """
        lacking = self.defects.missing()
        if lacking:
            raise BadInputError(lacking)
        scan, before = self.session.scan, self.defects.corrections
        assert scan is not None

        def work(worker: JobWorker, control: JobControl, device: str) -> Any:
            from napari_diffmap.jobs.defects_find import trained_first
            from napari_diffmap.jobs.defects_frames import Movie
            from napari_diffmap.methods.defects.find import Finder

            network = None
            if parameters.find.train != "no":
                steps = Steps(worker.progressed.emit, control)
                network = trained_first(Movie(scan), parameters.find, device, steps, steps.stopped)
                control.check()
            finder = Finder(parameters.find, device, network)
            return _searched(scan, parameters, finder, before, worker, control)

        self._start(work, self._on_search)

    def sort(self, parameters: DefectParameters) -> None:
        """Sort and follow again what was found.

        Raises
        ------
        BadInputError
            If nothing was found yet or a run is under way.
        """
        found, before = self.found, self.defects.corrections
        if found is None:
            raise BadInputError("find defects first")

        def work(worker: JobWorker, control: JobControl, _device: str) -> Any:
            from napari_diffmap.jobs.defects import sort_and_follow

            run = sort_and_follow(
                found, parameters, control=control, on_progress=worker.progressed.emit
            )
            return run, *carried_on(run, before)

        self._start(work, self._on_run)

    def follow(self, parameters: DefectParameters) -> None:
        """Follow again the finds as they are corrected.

        Raises
        ------
        BadInputError
            If nothing was found yet or a run is under way.
        """
        from dataclasses import replace

        from napari_diffmap.maps.edits.edit import snapshot

        run, corrections = self.defects.run, self.defects.corrections
        if run is None or corrections is None:
            raise BadInputError("find defects first")
        now: Any = snapshot(corrections.map)
        whole = run.parameters.model_copy(update={"follow": parameters.follow})

        def work(worker: JobWorker, control: JobControl, _device: str) -> Any:
            from napari_diffmap.jobs.defects import follow_again

            again = follow_again(
                replace(run, parameters=whole), now,
                control=control, on_progress=worker.progressed.emit,
            )  # fmt: skip
            return again, corrections

        self._start(work, lambda result: self.defects.set_followed(*result))

    def ask_training(self, labels: str) -> None:
        """The user wants a network trained on the image first."""
        self.asked.emit(labels)

    def ask_adapting(self) -> None:
        """The user wants the chosen network to learn from the image."""
        self.asked.emit("adapt")

    def _start(
        self,
        work: Callable[[JobWorker, JobControl, str], Any],
        returned: Callable[[Any], None],
    ) -> None:
        if self.state != "idle":
            raise BadInputError("defects are searched already: stop that first")
        control, scan = JobControl(), self.session.scan
        self._scan = scan

        def job(worker: JobWorker) -> Any:
            return on_device(lambda device: work(worker, control, device))

        def done(result: Any) -> None:
            if self.session.scan is scan:
                spare_the_collector()
                returned(result)

        self._begin(job, control, returned=done, errored=self._on_errored, tile=self._on_finds)

    def _on_scan(self, *_: object) -> None:
        self.end_log()
        self.found = self.finder = None
        self.stop()

    def _on_progress(self, progress: Any) -> None:
        if not isinstance(progress, Progress):  # a step of a training
            if progress.step <= 1:
                self.curves = TrainingCurves()
            self.curves.add(progress)
            self.learnt.emit()
            progress = Progress(progress.step, progress.steps, progress.seconds, "training, step")
        super()._on_progress(progress)

    def _on_finds(self, finds: Finds) -> None:
        if self.session.scan is self._scan and self.state == "running":
            self.defects.show_found(finds)

    def _on_search(self, result: tuple[Any, Any]) -> None:
        self.finder = result[0]
        self._on_run(result[1])
        self.probability.draw()

    def _on_run(self, result: tuple[DefectsRun, Corrections | None, tuple[str, ...]]) -> None:
        run, corrections, told = result
        self.end_log()
        self.found = run.found
        self.defects.set_run(run, corrections)
        # Those of the classes and of the tracks stand beside their numbers.
        for line in (*run.found.warnings, *told):
            if line not in self.session.notes:
                self.session.message.emit(line)

    def _on_errored(self, error: Exception) -> None:
        # What was shown while it was searched goes; what there was before comes back.
        if self.session.scan is self._scan:
            self.defects.show_again()
        if isinstance(error, CancelledError):
            kept = "" if self.defects.run is None else "; what was found before is kept"
            report(f"stopped before the defects were found{kept}")
            return
        report_error(error)

    # --------------------------------------------------------------- saving
    def save(self, folder: str | Path) -> None:
        """Write finds, tracks, numbers, pictures, corrections and recipe to a folder.

        Raises
        ------
        BadInputError
            If nothing was found.
        """
        run, corrections = self.defects.run, self.defects.corrections
        if run is None or corrections is None:
            raise BadInputError("find defects first: there is nothing to save")
        target, options = Path(folder), dict(self.options())

        def write() -> list[Path]:
            from napari_diffmap.jobs.defects_recipe import recipe_of_defects
            from napari_diffmap.jobs.defects_results import keep_edits, save_run
            from napari_diffmap.jobs.orient import output_folder

            movie = run.found.movie
            recipe = recipe_of_defects(
                movie.scan, run.parameters, options=options,
                pixel_size_nm=movie.pixel_size_nm, frame_time_s=movie.frame_time_s,
            )  # fmt: skip
            folder = output_folder(target)
            files = save_run(run, corrections, folder, recipe)
            if not corrections.done:
                keep_edits(corrections, folder)
            return files

        def written(files: list[Path]) -> None:
            if corrections is self.defects.corrections:
                self._keep_log(target, corrections)
            self.saved.emit(files)

        write_files(write, target, written, "saving the defects")

    def _keep_log(self, folder: Path, corrections: Corrections) -> None:
        """Record every further correction in the folder, as it is made."""
        from napari_diffmap.maps.edits.log import FILE_NAME, EditLog

        self.end_log()
        try:
            self.log = EditLog(folder / FILE_NAME, corrections)
        except DiffmapError as error:
            report_error(error)

    def end_log(self) -> None:
        """Record no more."""
        if self.log is not None:
            self.log.close()
            self.log = None

    # -------------------------------------------------------------- opening
    def open(self, folder: str | Path) -> None:
        """Show the results in a folder again, with their corrections.

        Raises
        ------
        BadInputError
            If the images on the desk cannot be theirs, or something runs.
        """
        scan, source = self.session.scan, Path(folder)
        if not self.defects.active or scan is None:
            raise BadInputError("open the images first in which these defects were found")

        def work(_worker: JobWorker, control: JobControl, _device: str) -> Any:
            from napari_diffmap.jobs.defects_reopen import load_run

            return load_run(source, scan, control=control)

        def done(result: tuple[DefectsRun, Corrections, tuple[str, ...]]) -> None:
            self._on_run(result)
            if self.defects.corrections is not None:
                self._keep_log(source, self.defects.corrections)

        self._start(work, done)

    # ------------------------------------------------------------- learning
    def adapt(self, parameters: DefectParameters) -> None:
        """Let the chosen network learn from this image, then find with it.

        Raises
        ------
        BadInputError
            If nothing was found yet, or no network is chosen.
        """
        run, corrections = self.defects.run, self.defects.corrections
        if run is None or corrections is None:
            raise BadInputError("find defects first: the network learns from these and from yours")
        scan, before = self.session.scan, corrections
        assert scan is not None
        base = parameters.find.model

        def work(worker: JobWorker, control: JobControl, device: str) -> Any:
            from napari_diffmap.methods.defects.find import Finder

            name = adapted_model(base, run, before, device, Steps(worker.progressed.emit, control))
            find = parameters.find.model_copy(update={"model": name})
            mine = parameters.model_copy(update={"find": find})
            return _searched(scan, mine, Finder(find, device), before, worker, control)

        def done(result: tuple[Any, Any]) -> None:
            self.added.emit(result[0].parameters.model)
            self._on_search(result)

        self._start(work, done)


def _searched(
    scan: Scan,
    parameters: DefectParameters,
    finder: Finder,
    before: Corrections | None,
    worker: JobWorker,
    control: JobControl,
) -> tuple[Finder, tuple[DefectsRun, Corrections | None, tuple[str, ...]]]:
    """The finder, and what it found, sorted and followed, with the corrections of before."""
    from napari_diffmap.jobs.defects import find_defects, sort_and_follow

    told = worker.progressed.emit
    found = find_defects(
        scan, parameters, device=finder.device, control=control, finder=finder,
        on_progress=told, on_frame=FindsMail(worker.tile.emit),
    )  # fmt: skip
    run = sort_and_follow(found, parameters, control=control, on_progress=told)
    return finder, (run, *carried_on(run, before))
