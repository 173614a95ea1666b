"""The Map dock: phases, matcher settings, run, overlays, saving."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.jobs.formats import DEFAULT_FORMATS, FORMAT_WORDS
from napari_diffmap.viewer.engines import TEMPLATES
from napari_diffmap.widgets.bridge import report, report_error, try_to
from napari_diffmap.widgets.dialogs import file_dialog, folder_dialog
from napari_diffmap.widgets.engine_box import ENGINE_TIP, EngineBox
from napari_diffmap.widgets.map_run import judged_line
from napari_diffmap.widgets.map_show import MapShow
from napari_diffmap.widgets.parameter_form import ParameterForm
from napari_diffmap.widgets.parts import (
    Links,
    ShareBar,
    one_line_label,
    plain_label,
    scrolling,
    swatch,
    tool_button,
)
from napari_diffmap.widgets.phases_form import PhasesForm
from napari_diffmap.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.jobs.control import Progress
    from napari_diffmap.jobs.orient import OrientationRun


#: Maps are made in this process.
HERE = "this computer"
_WAITS = "Waiting for the training of a network to end: Stop it in the Models dock to map now."
_JUDGING = "Mapped; a sample is matched with templates, to judge the network …"


class MapDock(QWidget):
    """Say what the sample may be, map it, look at the result, save it.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        self.run = self.bench.run
        self.engines = self.bench.engines
        outer = QVBoxLayout(self)
        outer.setSpacing(3)
        outer.setContentsMargins(6, 4, 6, 4)
        self.pages = QStackedWidget()
        outer.addWidget(self.pages)
        #: The form of stacks, made when the first one is opened.
        self.phase_maps: PhasesForm | None = None
        page = QWidget()
        self.pages.addWidget(page)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(self._make_phases())
        layout.addWidget(self._make_form(), 1)
        self.line = one_line_label("What is missing, or how far the map is")
        layout.addWidget(self.line)
        self.judged = plain_label("")
        self.judged.setToolTip(
            "What the templates say of a sample of the network's answers; the layer *judged by"
            " templates* (eye closed) shows where"
        )
        self.judged.hide()
        layout.addWidget(self.judged)
        layout.addLayout(self._make_run())
        self.show_row = MapShow(self.bench.shown_map)
        outer.addWidget(self.show_row)
        self._connect()
        self.refresh()

    # ------------------------------------------------------------ building
    def _make_phases(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.phases = QListWidget()
        self.phases.setToolTip("What the sample may be: every pattern is matched to all of these")
        # Three phases without scrolling; what is cut short is in the tip.
        self.phases.setFixedHeight(58)
        self.phases.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.phases.setTextElideMode(Qt.TextElideMode.ElideRight)
        row.addWidget(self.phases, 1)
        buttons = QGridLayout()
        buttons.setSpacing(2)
        self.add_cif = tool_button("Add CIF…", "Add phases from CIF files")
        self.add_cif.clicked.connect(self.ask_cif)
        self.bundled = tool_button("Bundled", "Add a phase that comes with the plugin")
        menu = QMenu(self.bundled)
        menu.aboutToShow.connect(self._fill_bundled)
        self.bundled.setMenu(menu)
        self.remove = tool_button("Remove", "Remove the chosen phase from the list")
        self.remove.clicked.connect(self.remove_phase)
        for i, button in enumerate((self.add_cif, self.bundled, self.remove)):
            button.setMinimumWidth(76)
            buttons.addWidget(button, 0, i)
        self.engine = EngineBox(self.engines)
        label = QLabel("Engine")
        label.setToolTip(ENGINE_TIP)
        buttons.addWidget(label, 1, 0)
        buttons.addWidget(self.engine, 1, 1, 1, 2)
        row.addLayout(buttons)
        return row

    def _make_form(self) -> QScrollArea:
        from napari_diffmap.methods.orientation.parameters import (
            GIVEN_ELSEWHERE,
            OrientationParameters,
        )

        self.form = ParameterForm(OrientationParameters, skip=GIVEN_ELSEWHERE)
        self.form.changed.connect(self._on_form)
        return scrolling(self.form)

    def _make_run(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.map_button = QPushButton("Map")
        self.map_button.setToolTip("Map orientations and phases of the whole scan")
        self.map_button.clicked.connect(self.start)
        self.pause_button = QPushButton("Pause")
        self.pause_button.setToolTip(
            "Hold the run, or let it go on; acts within a second. After Stop: map what is left"
        )
        self.pause_button.clicked.connect(self.toggle_pause)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End the run within a second; what is mapped stays")
        self.stop_button.clicked.connect(lambda: self.run.stop())
        self.progress = ShareBar("Share of the scan positions that are mapped")
        self.progress.show_share(0.0)
        self.save_button = QPushButton("Save…")
        self.save_button.setToolTip(
            "Save the map to a folder: orix HDF5, .ang, TIFF maps, pictures with scale bar and"
            " colour key, a report; more formats under *as*"
        )
        self.save_button.clicked.connect(self.ask_folder)
        self.formats = tool_button("as", "What is written when the map is saved")
        self.formats.setMinimumWidth(40)
        menu = QMenu(self.formats)
        menu.setToolTipsVisible(True)
        for name, tip in FORMAT_WORDS.items():
            action = menu.addAction(name)
            assert action is not None
            action.setCheckable(True)
            action.setChecked(name in DEFAULT_FORMATS)
            action.setToolTip(tip)
        self.formats.setMenu(menu)
        self.where = QComboBox()
        self.where.setEditable(True)
        self.where.addItems([HERE, "local:2", "local:4"])
        self.where.setFixedWidth(140)
        self.where.setToolTip(
            "Where the map is made: this computer, the workers of a Dask scheduler (type its"
            " address, tcp://host:8786), or local:N for N processes here"
        )
        for widget in (self.map_button, self.pause_button, self.stop_button):
            row.addWidget(widget)
        row.addWidget(self.progress, 1)
        row.addWidget(self.where)
        row.addWidget(self.save_button)
        row.addWidget(self.formats)
        return row

    def _connect(self) -> None:
        session, run = self.session, self.run
        self._links = Links(
            self,
            [
                (session.scan_changed, self._on_scan),
                (session.calibration_changed, self.refresh),
                (session.phases_changed, self._on_phases),
                (session.map_changed, self.refresh),
                (run.state_changed, self._on_state),
                (run.progressed, self._on_progress),
                (run.finished, self._on_finished),
                (self.bench.shown_map.shown, self.refresh),
                (self.engines.changed, self.refresh),
            ],
        )
        self._on_form()
        if not self.engines.known:
            self.engines.refresh()
        self._on_phases()
        self._on_scan()

    def _on_scan(self, *_: object) -> None:
        """Show the form for this kind of scan."""
        stack = self.bench.spectral.active
        if stack and self.phase_maps is None:
            self.phase_maps = PhasesForm(self.bench)
            self.pages.addWidget(self.phase_maps)
        if stack and self.phase_maps is not None:
            self.pages.setCurrentWidget(self.phase_maps)
        else:
            self.pages.setCurrentIndex(0)
        self.refresh()

    # -------------------------------------------------------------- phases
    def _fill_bundled(self) -> None:
        from napari_diffmap.crystal.phases import bundled_phases

        menu = self.bundled.menu()
        assert menu is not None
        menu.clear()
        for name in bundled_phases():
            action = menu.addAction(name)
            assert action is not None
            action.triggered.connect(lambda _on=False, n=name: self.add_phases([n]))

    def ask_cif(self) -> None:
        """Choose CIF files."""
        kinds = "Crystal structures (*.cif)"
        self.cif_dialog = file_dialog(self, "Add phases", self.add_phases, kinds, several=True)

    def add_phases(self, sources: list[str]) -> None:
        """Add phases by CIF path or bundled name, read beside the window."""
        session = self.session
        have = [str(phase.source or phase.name) for phase in session.phases]

        def work(_token: object) -> tuple[CrystalPhase, ...]:
            from napari_diffmap.crystal.phases import load_phases

            return load_phases([*have, *sources])

        def done(phases: tuple[CrystalPhase, ...]) -> None:
            for phase in phases[len(have) :]:
                for warning in phase.warnings:
                    report(warning)
            session.set_phases(phases)

        self.bench.runner.latest("phases", work, done, failed=report_error)

    def remove_phase(self) -> None:
        """Remove the chosen phase."""
        row = self.phases.currentRow()
        left = [phase for i, phase in enumerate(self.session.phases) if i != row]
        self.session.set_phases(left)

    def _on_phases(self) -> None:
        self.phases.clear()
        for phase in self.session.phases:
            a, b, c, alpha, beta, gamma = phase.cell
            item = QListWidgetItem(
                swatch(phase.color),
                f"{phase.name}   {phase.formula}   {phase.space_group}"
                f"   a {a:.4g}  b {b:.4g}  c {c:.4g} Å",
            )
            item.setToolTip(
                f"{phase.source or phase.name}\n{item.text()}"
                f"\nα {alpha:.4g}°, β {beta:.4g}°, γ {gamma:.4g}°"
                + "".join(f"\n{line}" for line in phase.warnings)
            )
            self.phases.addItem(item)
        if self.phases.count():
            self.phases.setCurrentRow(self.phases.count() - 1)
        self.refresh()

    # ------------------------------------------------------------- running
    def start(self, *_: object, resume: bool = False) -> None:
        """Start the map with the form's settings, here or on a cluster."""
        where = self.where.currentText().strip()
        scheduler = None if where in ("", HERE) else where

        def start() -> None:
            parameters: Any = self.form.parameters(engine=self.engines.chosen)
            follow = self.bench.following.for_job()
            self.run.start(parameters, resume=resume, scheduler=scheduler, follow=follow)

        try_to(start)

    def toggle_pause(self) -> None:
        """Hold the run or let it go on, also one that was stopped."""
        if self.run.resumable:
            self.start(resume=True)
        elif self.run.state == "paused":
            self.run.resume()
        else:
            self.run.pause()

    def _on_state(self, state: str) -> None:
        if state == "paused":
            self.line.setText("Paused: " + self.line.full_text())
        elif state == "stopping":
            self.line.setText("Stopping …")
        elif state == "running":
            self.line.setText(_WAITS if self.bench.training.running else "Preparing …")
        self.refresh()

    def _on_form(self) -> None:
        self.engines.set_precession(self.form.values()["precession_deg"])

    def _on_progress(self, progress: Progress) -> None:
        if self.run.state == "running":
            mapped = progress.message == "mapping" and progress.done == progress.total
            judging = mapped and self.engines.chosen != TEMPLATES
            self.line.setText(_JUDGING if judging else progress.text())
        self.progress.show_share(progress.fraction)

    def _on_finished(self, _run: Any) -> None:
        self.refresh()

    # -------------------------------------------------------------- saving
    def ask_folder(self) -> None:
        """Choose a folder to save to."""
        self.folder_dialog = folder_dialog(self, "Save the map to a folder", self.save)

    def save(self, folder: str | Path) -> None:
        """Save the map to a folder, in the formats that are ticked."""
        menu = self.formats.menu()
        assert menu is not None
        chosen = [action.text() for action in menu.actions() if action.isChecked()]
        try_to(lambda: self.run.save(folder, chosen))

    # --------------------------------------------------------------- state
    def refresh(self, *_: object) -> None:
        """Enable what can be done and say what cannot."""
        idle = self.run.state == "idle"
        unfit = self.engines.missing()
        missing = self.run.missing() or unfit
        if idle:
            self.line.setText(unfit or _outcome(self.run.last) or missing or "Ready: press Map.")
            self.progress.show_share(_share(self.run.last))
            self.judged.setText(judged_line(self.run.last))
        self.judged.setVisible(idle and bool(self.judged.text()))
        self.map_button.setEnabled(idle and not missing)
        goes_on = self.run.state == "paused" or self.run.resumable
        self.pause_button.setText("Resume" if goes_on else "Pause")
        self.pause_button.setEnabled(
            self.run.state in ("running", "paused") or (self.run.resumable and not missing)
        )
        self.stop_button.setEnabled(self.run.state in ("running", "paused"))
        for button in (self.add_cif, self.bundled):
            button.setEnabled(idle)
        self.remove.setEnabled(idle and bool(self.session.phases))
        self.form.setEnabled(idle)
        self.engine.setEnabled(idle)
        self.where.setEnabled(idle)
        mapped = self.session.map is not None
        self.save_button.setEnabled(mapped and idle)
        self.formats.setEnabled(mapped and idle)
        self.show_row.setEnabled(mapped)
        # Before its first map a stack would be offered the pictures of orientations.
        self.show_row.setVisible(mapped or not self.bench.spectral.active)

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self._links.end()
        self.engine.end()
        if self.phase_maps is not None:
            self.phase_maps.end()
        self.show_row.end()
        super().closeEvent(event)


def _share(run: OrientationRun | None) -> float:
    return 0.0 if run is None else float(run.result.done.mean())


def _outcome(run: OrientationRun | None) -> str:
    """What the last run did, in one line."""
    if run is None:
        return ""
    done, size = int(run.result.done.sum()), run.result.done.size
    ended = "" if run.result.error is None else "ended early: "
    return (
        f"{ended}{done} of {size} positions in {run.result.seconds:.1f} s"
        f" ({done / max(run.result.seconds, 1e-9):.3g}/s, {run.summary.get('device')}),"
        f" {100 * run.map.ambiguous_fraction():.1f} % ambiguous"
    )
