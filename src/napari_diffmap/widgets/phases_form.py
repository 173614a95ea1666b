"""The Map dock of an STXM stack: references, I0, method, run, table of methods, plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.viewer.spectral import Spectral
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.dialogs import folder_dialog
from napari_diffmap.widgets.incident_row import IncidentRow
from napari_diffmap.widgets.parameter_form import ParameterForm
from napari_diffmap.widgets.parts import Links, ShareBar, one_line_label, scrolling
from napari_diffmap.widgets.plan_form import PlanForm
from napari_diffmap.widgets.reference_table import ReferenceTable
from napari_diffmap.widgets.workbench import Workbench

if TYPE_CHECKING:
    from napari_diffmap.jobs.control import Progress
    from napari_diffmap.jobs.phases import PhasesRun

#: Least height of the tabs, pixels.
_TABS = 96
_HEADS = ("Method", "Agrees with the map", "In doubt", "Time")
_HEAD_TIPS = (
    "What tells the phases; the map's own method is marked",
    "Share of the mapped pixels where this method says the same phase, %",
    "Share of the pixels in which this method cannot tell its two best apart by its own test, %",
    "How long it took, seconds",
)


class PhasesForm(QWidget):
    """Say what the stack may hold, map it, compare methods.

    Parameters
    ----------
    bench
        Of the window.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self.bench = bench
        self.spectral: Spectral = bench.spectral
        self.run = bench.spectral_run
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self.references = ReferenceTable(self.spectral)
        layout.addWidget(self.references)
        self.incident = IncidentRow(bench.desk)
        layout.addWidget(self.incident)
        self.tabs = QTabWidget()
        self.tabs.addTab(self._make_form(), "Settings")
        self.tabs.addTab(self._make_table(), "Methods")
        self.plan = PlanForm(self.run)
        self.tabs.addTab(scrolling(self.plan), "Plan energies…")
        # Its pages scroll: they do not make the window higher.
        self.tabs.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        self.tabs.setMinimumHeight(_TABS)
        for i, tip in enumerate(
            (
                "How phases are told",
                "Methods side by side, after a map",
                "Which energies to measure at the next beamtime",
            )
        ):
            self.tabs.setTabToolTip(i, tip)
        layout.addWidget(self.tabs, 1)
        self.line = one_line_label("What is missing, or how far the map is")
        layout.addWidget(self.line)
        layout.addLayout(self._make_run())
        self._connect()
        self._on_form()
        self.refresh()

    # ------------------------------------------------------------ building
    def _make_form(self) -> QScrollArea:
        self.form = ParameterForm(SpectralParameters)
        self.form.changed.connect(self._on_form)
        return scrolling(self.form)

    def _make_table(self) -> QTableWidget:
        table = self.table = QTableWidget(0, len(_HEADS))
        table.setHorizontalHeaderLabels(_HEADS)
        table.setToolTip("Methods side by side; the map is made by the one that is marked")
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        rows, header = table.verticalHeader(), table.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.setVisible(False)
        rows.setDefaultSectionSize(20)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for i, tip in enumerate(_HEAD_TIPS):
            head = table.horizontalHeaderItem(i)
            assert head is not None
            head.setToolTip(tip)
        return table

    def _make_run(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.map_button = QPushButton("Map")
        self.map_button.setToolTip("Map the phases of the whole stack")
        self.map_button.clicked.connect(self.start)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End the run; the map that was there before is kept")
        self.stop_button.clicked.connect(lambda: self.run.stop())
        self.progress = ShareBar("How much of the present step is done, %")
        self.save_button = QPushButton("Save…")
        self.save_button.setToolTip("Save map, fractions, spectra and summary to a folder")
        self.save_button.clicked.connect(self.ask_folder)
        for button in (self.map_button, self.stop_button):
            row.addWidget(button)
        row.addWidget(self.progress, 1)
        row.addWidget(self.save_button)
        return row

    def _connect(self) -> None:
        spectral, run, session = self.spectral, self.run, self.bench.session
        self._links = Links(
            self,
            [
                (spectral.incidence.changed, self.refresh),
                (spectral.references.changed, self.refresh),
                (spectral.run_changed, self._on_run),
                (spectral.aligning.applied_changed, self._on_aligned),
                (session.map_changed, self.refresh),
                (run.state_changed, self._on_state),
                (run.progressed, self._on_progress),
            ],
        )
        self.plan.use.clicked.connect(self.use_plan)

    # ------------------------------------------------------------- running
    def start(self, *_: object) -> None:
        """Start the map with the form's settings."""
        try_to(lambda: self.run.start(self.form.parameters()))  # type: ignore[arg-type]

    def use_plan(self) -> None:
        """Map with the planned energies."""
        if self.run.plan is not None:
            energies = [round(float(energy), 3) for energy in self.run.plan.energies]
            self.form.set_values({"energies": energies})
            self.tabs.setCurrentIndex(0)

    def _on_form(self) -> None:
        values = self.form.values()
        self.spectral.incidence.set_limits(values["saturation"], values["threshold"])

    def _on_aligned(self) -> None:
        """A map is made of the frames that are looked at."""
        self.form.set_values({"align": self.spectral.aligning.applied})

    def _on_state(self, state: str) -> None:
        if state == "running":
            self.line.setText("Preparing …")
            self.progress.show_share(0.0)
        elif state == "stopping":
            self.line.setText("Stopping …")
        self.refresh()

    def _on_progress(self, progress: Progress) -> None:
        if self.run.state == "running":
            self.line.setText(progress.text())
        self.progress.show_share(progress.fraction)

    def _on_run(self, run: PhasesRun | None) -> None:
        rows = [] if run is None else list(run.table)
        self.table.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for j, text in enumerate(_cells(row, run)):
                cell = QTableWidgetItem(text)
                cell.setToolTip(row.words)
                if j:
                    cell.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.table.setItem(i, j, cell)
        self.tabs.setCurrentIndex(1 if len(rows) > 1 else 0)
        self.refresh()

    # -------------------------------------------------------------- saving
    def ask_folder(self) -> None:
        """Choose a folder to save to."""
        self.folder_dialog = folder_dialog(self, "Save the map to a folder", self.save)

    def save(self, folder: str | Path) -> None:
        """Save the map to a folder."""
        try_to(lambda: self.run.save(folder))

    # --------------------------------------------------------------- state
    def refresh(self, *_: object) -> None:
        """Enable what can be done and say what cannot."""
        idle = self.run.state == "idle"
        missing = self.spectral.missing()
        run = self.spectral.last
        if idle:
            self.line.setText(missing or _outcome(run) or "Ready: press Map.")
            self.progress.show_share(0.0 if run is None else 1.0)
        self.map_button.setEnabled(idle and not missing)
        self.stop_button.setEnabled(self.run.state == "running")
        self.save_button.setEnabled(idle and run is not None)
        for widget in (self.references, self.incident, self.form):
            widget.setEnabled(idle)

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
        for part in (self.references, self.incident, self.plan):
            part.end()


def _cells(row: Any, run: Any) -> tuple[str, str, str, str]:
    """A method's row in words."""
    made = run.map.provenance.method.removeprefix("phases/") == row.name
    return (
        f"▶ {row.name} (the map)" if made else str(row.name),
        "–" if made else _percent(row.agreement),
        _percent(row.unsure),
        f"{row.seconds:.2g} s",
    )


def _percent(share: float | None) -> str:
    return "–" if share is None or share != share else f"{100 * share:.1f} %"


def _outcome(run: PhasesRun | None) -> str:
    """What the last run did, in one line."""
    if run is None:
        return ""
    found = run.map
    names = [phase.name for phase in found.phases]
    mapped = int(found.indexed.sum())
    parts = [
        f"{name} {100 * (found.best_phase_ids == i).sum() / max(mapped, 1):.0f} %"
        for i, name in enumerate(names)
    ]
    seconds = run.summary.get("seconds")
    took = "" if seconds is None else f" in {float(seconds):.1f} s"
    doubt = f"{100 * found.ambiguous_fraction():.1f} % in doubt"
    return f"{mapped} px{took}, {doubt}: {', '.join(parts)}"
