"""The Defects dock: find, sort, follow, doubt, for images and movies with atomic columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.defects_doubt import DoubtPage
from napari_diffmap.widgets.defects_find import FindPage
from napari_diffmap.widgets.defects_stages import FollowPage, SortPage
from napari_diffmap.widgets.dialogs import folder_dialog
from napari_diffmap.widgets.parts import Links, ShareBar, one_line_label, tool_button
from napari_diffmap.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari_diffmap.jobs.control import Progress
    from napari_diffmap.methods.defects.parameters import DefectParameters

#: Least height of a page, pixels.
_LEAST = 180
_TIPS = (
    "Model, scale and settings of the search; training on the image; drift",
    "Classes of the finds: mean pictures, names, merging",
    "Tracks of a movie, diffusion, transitions between classes",
    "Finds in doubt one after the other, corrections, undo",
)


class DefectsDock(QWidget):
    """Find, sort and follow defects; correct them; save.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.defects, self.run = self.bench.defects, self.bench.defects_run
        self.find = FindPage(self.bench, self.run)
        self.sort = SortPage(self.defects, self.bench.defects_gallery)
        self.follow = FollowPage(self.defects)
        self.doubt = DoubtPage(self.defects)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(3)
        self.tabs = QTabWidget()
        pages = (("Find", self.find), ("Sort", self.sort), ("Follow", self.follow))
        for (name, page), tip in zip((*pages, ("Doubt", self.doubt)), _TIPS, strict=True):
            self.tabs.addTab(page, name)
            self.tabs.setTabToolTip(self.tabs.count() - 1, tip)
        # A page asks for more than the window gives at its least: it does not make it higher.
        self.tabs.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        self.tabs.setMinimumHeight(_LEAST)
        layout.addWidget(self.tabs, 1)
        self.line = one_line_label("What is missing, how far the search is, or what was found")
        layout.addWidget(self.line)
        layout.addLayout(self._make_buttons())
        self.sort.again.clicked.connect(lambda: self._try(self.run.sort))
        self.follow.again.clicked.connect(lambda: self._try(self.run.follow))
        self._links = Links(
            self,
            [
                (self.bench.session.scan_changed, self.refresh),
                (self.defects.run_changed, self._on_run),
                (self.defects.followed, self.refresh),
                (self.defects.changed, self.refresh),
                (self.run.state_changed, self._on_state),
                (self.run.progressed, self._on_progress),
                (self.run.asked, self._on_asked),
            ],
        )
        self.refresh()

    def _make_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.start = QPushButton("Find defects")
        self.start.setToolTip("Find the defects of all frames, sort them into classes, follow them")
        self.start.clicked.connect(self.search)
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("End what runs; what was found before is kept")
        self.stop.clicked.connect(lambda: self.run.stop())
        self.progress = ShareBar("How much of the present step is done, %")
        self.sites = QCheckBox("sites")
        self.sites.setToolTip(
            "Show the sites of the lattice on the sample: crosses of the brighter sublattice, ×"
            " of the other"
        )
        self.sites.toggled.connect(self.bench.defect_layers.show_sites)
        self.chance = QCheckBox("probability")
        self.chance.setToolTip("Show the map of probability of the frame that is looked at, 0–1")
        self.chance.toggled.connect(self.run.probability.show)
        self.open_button = tool_button("Open…", "Open a folder of results again")
        self.open_button.clicked.connect(self.ask_results)
        self.save_button = tool_button(
            "Save…", "Write finds, tracks, numbers, pictures, corrections and a recipe to a folder"
        )
        self.save_button.clicked.connect(self.ask_folder)
        for button in (self.start, self.stop):
            row.addWidget(button)
        row.addWidget(self.progress, 1)
        for widget in (self.sites, self.chance, self.open_button, self.save_button):
            row.addWidget(widget)
        return row

    def showEvent(self, event: Any) -> None:
        """Look for models when somebody looks."""
        super().showEvent(event)
        if not self.bench.engines.known:
            self.bench.engines.refresh()

    # ------------------------------------------------------------- running
    def parameters(self, **more: Any) -> DefectParameters:
        """Settings of all stages.

        Parameters
        ----------
        **more
            Of finding.

        Raises
        ------
        BadInputError
            If one of them cannot be.
        """
        from napari_diffmap.methods.defects.parameters import DefectParameters

        find: Any = self.find.parameters(**more)
        sort: Any = self.sort.form.parameters()
        follow: Any = self.follow.form.parameters()
        return DefectParameters(find=find, sort=sort, follow=follow)

    def search(self, *_: object) -> None:
        """Find, sort and follow."""
        self._try(self.run.find)

    def _try(self, act: Any, **more: Any) -> None:
        try_to(lambda: act(self.parameters(**more)))

    def _on_asked(self, labels: str) -> None:
        if labels == "adapt":
            self._try(self.run.adapt)
        else:
            self._try(self.run.find, train=labels)

    def _on_state(self, state: str) -> None:
        if state == "running":
            self.line.setText("Preparing …")
            self.progress.show_share(0.0)
        elif state == "stopping":
            self.line.setText("Stopping …")
        self.refresh()

    def _on_progress(self, progress: Progress) -> None:
        if self.run.state == "running":
            text = progress.text()
            self.line.setText(text[:1].upper() + text[1:])
        self.progress.show_share(progress.fraction)

    def _on_run(self, run: object) -> None:
        if run is not None and self.tabs.currentIndex() == 0:
            self.tabs.setCurrentIndex(1)
        if run is None:
            self.chance.setChecked(False)
        self.refresh()

    # -------------------------------------------------------------- saving
    def ask_folder(self) -> None:
        """Choose a folder to save to."""
        self.folder_dialog = folder_dialog(self, "Save the defects to a folder", self.save)

    def ask_results(self) -> None:
        """Choose a folder of results."""
        self.folder_dialog = folder_dialog(self, "Open a folder of results", self.open)

    def save(self, folder: str | Path) -> None:
        """Save to a folder."""
        try_to(lambda: self.run.save(folder))

    def open(self, folder: str | Path) -> None:
        """Open results again."""
        try_to(lambda: self.run.open(folder))

    # --------------------------------------------------------------- state
    def refresh(self, *_: object) -> None:
        """Enable what can be done and say what cannot."""
        idle = self.run.state == "idle"
        missing, some = self.defects.missing(), self.defects.run is not None
        if idle:
            self.line.setText(missing or self._outcome() or "Ready: press Find defects.")
            self.progress.show_share(1.0 if some else 0.0)
        self.start.setEnabled(idle and not missing)
        self.stop.setEnabled(self.run.state == "running")
        self.sort.again.setEnabled(idle and self.run.found is not None)
        self.follow.again.setEnabled(idle and some and self.defects.frames > 1)
        self.sites.setEnabled(some)
        self.chance.setEnabled(some and self.run.probability.known)
        self.save_button.setEnabled(some and idle)
        self.open_button.setEnabled(idle)

    def _outcome(self) -> str:
        """What there is, in one line."""
        found, run = self.defects.map, self.defects.run
        if found is None or run is None:
            return ""
        counts = self.defects.counts()
        parts = [f"{found.phases[k].name} {counts[k]}" for k in self.defects.shown_classes()]
        frames = self.defects.frames
        many = f"{len(found.filled)} finds in {frames} frames" if frames > 1 else ""
        took = run.summary.get("seconds")
        words = (
            many or f"{len(found.filled)} finds",
            ", ".join(parts),
            f"{len(run.tracks)} tracks" if frames > 1 else "",
            f"{float(took):.1f} s" if took else "",
        )
        return " · ".join(word for word in words if word)

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self._links.end()
        for page in (self.find, self.sort, self.follow, self.doubt):
            page.end()
        super().closeEvent(event)
