"""Which energies a beamtime should measure: the planner's form."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.parts import Links, plain_label, tool_button
from napari_diffmap.widgets.spectral_run import SpectralRun

_ANY, _SCANNED = "all energies", "energies of this stack"


class PlanForm(QWidget):
    """Number of energies and dose in, energies and what they tell apart out.

    Parameters
    ----------
    run
        Plans, beside the window.
    """

    def __init__(self, run: SpectralRun) -> None:
        super().__init__()
        self.run = run
        self.number = QSpinBox()
        self.number.setRange(3, 200)
        self.number.setValue(6)
        self.number.setToolTip("How many energies to measure")
        self.counts = QDoubleSpinBox()
        self.counts.setRange(1, 1e9)
        self.counts.setDecimals(0)
        self.counts.setValue(2000)
        self.counts.setSuffix(" counts")
        self.counts.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.counts.setMinimumWidth(110)
        self.counts.setToolTip(
            "Dose: photons counted a pixel and energy beside the sample (I0), in counts"
        )
        self.among = QComboBox()
        self.among.addItems([_ANY, _SCANNED])
        self.among.setToolTip(
            "Energies to choose from: all that the references cover, or those of this stack"
        )
        self.plan = tool_button(
            "Plan energies", "Choose the energies that part the two most alike references furthest"
        )
        self.plan.clicked.connect(self.start)
        self.use = tool_button("Use", "Put these energies (eV) into the settings of the map")
        self.copy = tool_button("Copy", "Copy the energies (eV), one a line")
        self.copy.clicked.connect(self._on_copy)
        self.answer = plain_label("")
        self.answer.setToolTip("Planned energies, eV, and how well they part the references")
        self.answer.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        grid = QGridLayout()
        grid.setVerticalSpacing(2)
        for i, (words, widget) in enumerate(
            (("Energies", self.number), ("Dose", self.counts), ("Among", self.among))
        ):
            label = QLabel(words)
            label.setToolTip(widget.toolTip())
            grid.addWidget(label, 0, 2 * i)
            grid.addWidget(widget, 0, 2 * i + 1)
        grid.addWidget(self.plan, 1, 0, 1, 2)
        grid.addWidget(self.use, 1, 3)
        grid.addWidget(self.copy, 1, 5)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 2)
        layout.addLayout(grid)
        layout.addWidget(self.answer)
        layout.addStretch()
        self._links = Links(
            self,
            [
                (run.planned, self._on_plan),
                (run.spectral.references.changed, self.refresh),
                (run.session.scan_changed, self.refresh),
            ],
        )
        self.refresh()

    def start(self, *_: object) -> None:
        """Plan."""
        number, counts = self.number.value(), self.counts.value()
        scanned = self.among.currentText() == _SCANNED
        try_to(lambda: self.run.plan_energies(number, counts, scanned))

    def refresh(self, *_: object) -> None:
        """Say what is missing."""
        ready = len(self.run.spectral.references) >= 2
        self.plan.setEnabled(ready)
        if not ready:
            self.answer.setText(self.run.spectral.missing())
        elif self.run.plan is None:
            self.answer.setText("Which energies tell these references apart at this dose?")
        for button in (self.use, self.copy):
            button.setEnabled(self.run.plan is not None)

    def _on_plan(self, plan: Any) -> None:
        self.answer.setText(plan_text(plan))
        self.refresh()

    def _on_copy(self) -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None and self.run.plan is not None:
            clipboard.setText("\n".join(f"{energy:.2f}" for energy in self.run.plan.energies))

    def end(self) -> None:
        """Stop listening."""
        self._links.end()


def plan_text(plan: Any) -> str:
    """A plan in words."""
    energies = ", ".join(f"{energy:.2f}" for energy in plan.energies)
    first, second = plan.worst
    lines = [
        f"Measure at {energies} eV.",
        (
            f"Hardest to tell: {first} and {second}, {plan.separations[plan.worst]:.3g} standard"
            f" deviations apart ({_mistaken(plan.error)} of such pixels mistaken)."
        ),
    ]
    others = sorted((pair for pair in plan.separations if pair != plan.worst),
                    key=lambda pair: plan.separations[pair])  # fmt: skip
    if others:
        words = "; ".join(f"{a}–{b} {plan.separations[a, b]:.3g}" for a, b in others[:4])
        lines.append(f"Next: {words} standard deviations.")
    return "\n".join(lines)


def _mistaken(share: float) -> str:
    return "less than 0.01 %" if share < 1e-4 else f"{100 * share:.2g} %"
