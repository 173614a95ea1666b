"""A running phase map of a stack: start, stop, progress, the plan of energies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.viewer.spectral import Spectral
from napari_diffmap.widgets.bridge import JobWorker, report, report_error, spare_the_collector
from napari_diffmap.widgets.job_run import JobRun, on_device, write_files

if TYPE_CHECKING:
    from napari_diffmap.jobs.phases import PhasesRun
    from napari_diffmap.jobs.phases_recipe import PhasesRecipe
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.methods.spectra.parameters import SpectralParameters

#: Least distance of planned energies, eV.
_SPACING = 0.25
#: Scan, references, parameters and I0 of a run.
Asked = tuple[Any, Any, Any, Any]


class SpectralRun(JobRun):
    """Maps the phases of the stack on the desk, beside the window.

    Signals
    -------
    planned(plan)
        Energies were planned.
    saved(files)
        The files of a save are written.
    """

    planned = Signal(object)
    saved = Signal(object)

    def __init__(self, spectral: Spectral, options: Callable[[], Mapping[str, Any]] = dict) -> None:
        super().__init__()
        self.spectral = spectral
        #: Says how the scan on the desk was opened.
        self.options = options
        self.session = spectral.session
        self.plan: Any = None
        self._scan: object = None
        self._ready: Corrections | None = None
        #: What the run was asked for, and what the map that there is was made of.
        self._asked: Asked | None = None
        self._made: Asked | None = None
        self.session.scan_changed.connect(self._on_scan)

    def recipe(self, options: Mapping[str, Any]) -> PhasesRecipe | None:
        """What repeats the map; None without one, or where a part of it comes from no file.

        Parameters
        ----------
        options
            Keywords that the scan was opened with.
        """
        from napari_diffmap.jobs.phases_recipe import recipe_of_phases

        if self._made is None:
            return None
        scan, references, parameters, incident = self._made
        return recipe_of_phases(scan, references, parameters, incident, options=options)

    # -------------------------------------------------------------- running
    def start(self, parameters: SpectralParameters) -> None:
        """Map the phases of the stack.

        Parameters
        ----------
        parameters
            Settings of the method.

        Raises
        ------
        BadInputError
            If something is missing or a map runs already.
        """
        if self.state != "idle":
            raise BadInputError("a map is running: stop it first")
        lacking = self.spectral.missing()
        if lacking:
            raise BadInputError(lacking)
        scan, control = self.session.scan, JobControl()
        assert scan is not None
        references = self.spectral.references.items
        incident = self.spectral.incidence.incident
        self.spectral.parameters = parameters
        self._scan = scan
        self._asked = (scan, references, parameters, incident)

        def work(worker: JobWorker) -> PhasesRun:
            from napari_diffmap.jobs.phases import map_phases
            from napari_diffmap.maps.edits.corrections import Corrections

            run = on_device(
                lambda device: map_phases(
                    scan,
                    references,
                    parameters,
                    incident=incident,
                    device=device,
                    control=control,
                    on_progress=worker.progressed.emit,
                )
            )
            # The copy that is corrected is made here: a large map takes a moment.
            self._ready = Corrections(run.map)
            return run

        self._begin(work, control, returned=self._on_returned, errored=self._on_errored)

    def _on_scan(self, *_: object) -> None:
        self._scan = self._made = None
        self.plan = None
        self.stop()

    def _on_returned(self, run: PhasesRun) -> None:
        if self._scan is None:  # another scan is on the desk
            return
        spare_the_collector()
        ready, self._ready = self._ready, None
        self._made = self._asked
        self.session.set_map(ready if ready is not None else run.map)
        self.spectral.set_run(run)

    def _on_errored(self, error: Exception) -> None:
        if isinstance(error, CancelledError):
            kept = "" if self.session.map is None else "; the earlier map is kept"
            report(f"stopped before the map was done{kept}")
            return
        report_error(error)

    def _on_finished(self) -> None:
        self._ready = None
        super()._on_finished()

    # ------------------------------------------------------------- planning
    def plan_energies(self, n: int, counts: float, scanned: bool) -> None:
        """Which energies tell the references best, beside the window.

        Parameters
        ----------
        n
            How many.
        counts
            Photons a pixel and energy beside the sample.
        scanned
            Choose among the energies of this stack; else among all that the references have.
        """
        references = self.spectral.references.items
        if len(references) < 2:
            raise BadInputError(self.spectral.missing())
        candidates = self.spectral.energies if scanned else None

        def work(_token: object) -> Any:
            from napari_diffmap.methods.spectra.planner import plan_energies

            return plan_energies(references, n, counts, candidates=candidates, spacing=_SPACING)

        def done(plan: Any) -> None:
            self.plan = plan
            self.planned.emit(plan)

        self.spectral.runner.latest("plan", work, done, failed=report_error)

    # --------------------------------------------------------------- saving
    def save(self, folder: str | Path) -> None:
        """Write map, fractions, spectra and summary to a folder, beside the window.

        Raises
        ------
        BadInputError
            If there is no map.
        """
        run, corrections = self.spectral.last, self.session.corrections
        if run is None or corrections is None:
            raise BadInputError("map the stack first: there is no map to save")
        target = Path(folder)
        options = self.options()

        def write() -> list[Path]:
            from napari_diffmap.jobs.orient import output_folder
            from napari_diffmap.jobs.phases_results import save_run

            return save_run(run, corrections, output_folder(target), self.recipe(options))

        write_files(write, target, self.saved.emit, "saving the map")
