"""Setting up a training, and watching it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QHBoxLayout,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.viewer.session import Session
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.curve_plot import CurvePlot
from napari_diffmap.widgets.parts import Links, ShareBar, one_line_label, scrolling
from napari_diffmap.widgets.train_form import TrainForm
from napari_diffmap.widgets.train_run import TrainRun, folder_state

if TYPE_CHECKING:
    from napari_diffmap.viewer.runner import Runner


class TrainView(QWidget):
    """Say what a network shall know, train it, look how it goes.

    Parameters
    ----------
    run
        The training.
    session, runner
        See `TrainForm`.
    """

    def __init__(self, run: TrainRun, session: Session, runner: Runner) -> None:
        super().__init__()
        self.run = run
        self.form = TrainForm(run, session, runner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.form)
        layout.addWidget(self._make_middle(), 1)
        self.line = one_line_label("What is missing, how far the training is, or how it ended")
        layout.addWidget(self.line)
        layout.addLayout(self._make_buttons())
        self.form.changed.connect(self.refresh)
        self.form.more.toggled.connect(self._fold)
        self._links = Links(
            self,
            [
                (run.changed, self.refresh),
                (run.stepped, self._on_stepped),
                (run.recipes_known, self.refresh),
                (run.engines.changed, self.refresh),
            ],
        )
        self._on_stepped()
        self.refresh()

    # ------------------------------------------------------------ building
    def _make_middle(self) -> QStackedWidget:
        self.middle = QStackedWidget()
        plots = QWidget()
        row = QHBoxLayout(plots)
        row.setContentsMargins(0, 0, 0, 0)
        self.loss = CurvePlot("Loss over steps", "The loss is drawn here while it learns.")
        self.loss.setToolTip("Loss of the patterns it learns from, and of those held out; no unit")
        self.shares = CurvePlot(
            "Right within 5° (%) over steps",
            "What it gets right of held-out patterns is drawn here.",
            (0.0, 100.0),
        )
        self.shares.setToolTip(
            "Share of held-out patterns, per cent, whose first answer is within 5° of the truth, or"
            " of it turned by 180° about the beam; any of its answers; the phase"
        )
        row.addWidget(self.loss)
        row.addWidget(self.shares)
        self.middle.addWidget(plots)
        self.middle.addWidget(scrolling(self.form.conditions))
        return self.middle

    def _make_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.train = QPushButton("Train")
        self.train.setToolTip("Simulate patterns and train a network on them, beside the window")
        self.train.clicked.connect(self.start)
        self.resume = QPushButton("Resume")
        self.resume.setToolTip(
            "Go on with the training that was stopped in the folder, by its own recipe"
        )
        self.resume.clicked.connect(self.go_on)
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("End after the next step; the training can be resumed")
        self.stop.clicked.connect(lambda: self.run.stop())
        self.progress = ShareBar("Share of the steps that are done")
        for button in (self.train, self.stop, self.resume):
            row.addWidget(button)
        row.addWidget(self.progress, 1)
        return row

    def showEvent(self, event: Any) -> None:
        """Read the recipes when somebody looks."""
        super().showEvent(event)
        self.run.load_recipes()

    def _fold(self, opened: bool) -> None:
        self.middle.setCurrentIndex(int(opened))
        self.form.more.setText("▾ Conditions" if opened else "▸ Conditions")

    # ----------------------------------------------------------------- running
    def start(self, *_: object) -> None:
        """Begin."""
        self._try(lambda: self.run.start(self.form.draft(), self.form.folder.text().strip()))

    def go_on(self, *_: object) -> None:
        """Resume the training in the folder."""
        self._try(lambda: self.run.resume(self.form.folder.text().strip()))

    def _try(self, act: Callable[[], object]) -> None:
        if try_to(act):
            self.form.more.setChecked(False)

    def _on_stepped(self) -> None:
        curves = self.run.curves
        self.loss.show_lines(() if curves.empty else curves.losses())
        self.shares.show_lines(curves.shares())
        self.progress.show_share(self.run.share)

    def refresh(self, *_: object) -> None:
        """Enable what can be done and say what cannot."""
        run, target = self.run, self.form.target()
        self.stop.setEnabled(run.state == "running")
        self.form.lock(run.running)
        self.progress.show_share(run.share)
        if run.running:
            self.train.setEnabled(False)
            self.resume.setEnabled(False)
            self.line.setText(run.line)
            return
        lacking = run.missing(self.form.draft(), target)
        if run.recipes is None and not lacking:
            lacking = "Loading the networks …"
        stopped = target is not None and folder_state(target) == "stopped"
        self.train.setEnabled(not lacking)
        self.resume.setEnabled(stopped)
        # How the last one ended says what to do with a training that was stopped.
        ended = run.line
        self.line.setText((ended if stopped else "") or lacking or ended or "Ready: press Train.")

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
        self.form.end()
