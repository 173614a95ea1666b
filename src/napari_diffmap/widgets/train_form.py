"""What a network shall be trained for, filled in from the scan as far as it tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.models.registry import user_folder
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.train_draft import (
    DEFAULTS,
    POLAR,
    TrainingDraft,
    options_text,
    outer_limit,
    suggested_name,
)
from napari_diffmap.widgets.dialogs import folder_dialog
from napari_diffmap.widgets.parts import Links, swatch, tool_button
from napari_diffmap.widgets.train_conditions import TrainConditions
from napari_diffmap.widgets.train_run import Recipes, TrainRun

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.viewer.runner import Runner

#: Folder, in that of the models, where trainings are kept unless another one is chosen.
TRAININGS = "training"


class TrainForm(QWidget):
    """Name, phases, voltage, outer limit, network, steps, folder.

    Parameters
    ----------
    run
        Knows the recipes there are.
    session
        Gives phases, voltage and outer limit.
    runner
        Works out the outer limit beside the window.

    Attributes
    ----------
    conditions
        What rarely needs a change; whoever shows the form shows it somewhere else.
    more
        Opens `conditions`.

    Signals
    -------
    changed()
        Something else is filled in.
    """

    changed = Signal()

    def __init__(self, run: TrainRun, session: Session, runner: Runner) -> None:
        super().__init__()
        self.run, self.session, self.runner = run, session, runner
        #: What the user wrote is not filled in anew: name, voltage, q_max, folder.
        self._own: set[str] = set()
        self._filling = False
        self.conditions = TrainConditions()
        self.conditions.changed.connect(self._on_edited)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(self._make_what())
        layout.addLayout(self._make_where())
        self._links = Links(
            self,
            [
                (session.phases_changed, self._on_phases),
                (session.calibration_changed, self._on_scan),
                (session.scan_changed, self._on_scan),
                (run.recipes_known, self._on_recipes),
                (run.engines.changed, self._on_edited),
            ],
        )
        if run.recipes is not None:
            self._on_recipes(run.recipes)
        self._on_phases()
        self._on_scan()

    # ------------------------------------------------------------ building
    def _make_what(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(4)
        self.phases = QListWidget()
        self.phases.setToolTip("Crystals that the network shall know: tick some of the Map dock's")
        self.phases.setFixedWidth(118)
        self.phases.setFixedHeight(74)
        self.phases.itemChanged.connect(self._on_edited)
        row.addWidget(self.phases)
        grid = QGridLayout()
        grid.setSpacing(3)
        self.name = QLineEdit()
        self.name.setToolTip("What the model will be called: small letters, digits, dots, dashes")
        self.name.textEdited.connect(self._by_hand("name"))
        self.voltage = _real(20, 1500, 1, " kV")
        self.voltage.setToolTip(
            "Accelerating voltage of the patterns, kV; that of the scan unless you say another"
        )
        self.voltage.setSpecialValueText("enter")
        self.voltage.setRange(19, 1500)
        self.voltage.setValue(19)
        self.voltage.valueChanged.connect(self._by_hand("voltage"))
        self.q_max = _real(0.3, 5, 3, " 1/Å")
        self.q_max.setToolTip(
            "Outer limit that the network looks out to, 1/Å; of the scan, the largest circle on its"
            " detector"
        )
        self.q_max.setValue(1.5)
        self.q_max.valueChanged.connect(self._by_hand("q_max"))
        self.family = QComboBox()
        self.family.addItem(POLAR)
        self.family.setToolTip(
            "Network: polar learns several phases and all turns in the plane by its build; the"
            " others learn one phase from square patterns"
        )
        self.family.activated.connect(self._on_family)
        self.steps = _whole(1, 10_000_000, 4000)
        self.steps.setToolTip("Batches of fresh patterns that it learns from")
        self.seed = _whole(0, 2**31 - 1, 0)
        self.seed.setToolTip("Number that all random numbers of the training come from")
        self.like = QComboBox()
        self.like.addItem(DEFAULTS)
        self.like.setToolTip(
            "Recipe that gives network, steps and conditions; name, phases, voltage and outer limit"
            " stay as they are here"
        )
        self.like.activated.connect(self._on_like)
        for box in (self.steps, self.seed):
            box.valueChanged.connect(self._on_edited)
        rows: tuple[tuple[str, QWidget, str, QWidget], ...] = (
            ("Name", self.name, "Like", self.like),
            ("Voltage", self.voltage, "Network", self.family),
            ("Outer limit", self.q_max, "Steps", self.steps),
        )
        for i, (left, one, right, other) in enumerate(rows):
            for column, (words, widget) in enumerate(((left, one), (right, other))):
                label = QLabel(words)
                label.setToolTip(widget.toolTip())
                grid.addWidget(label, i, 2 * column)
                grid.addWidget(widget, i, 2 * column + 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        row.addLayout(grid, 1)
        return row

    def _make_where(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(4)
        self.folder = QLineEdit()
        self.folder.setToolTip("Folder that gets the checkpoint, the curves and the model")
        self.folder.textEdited.connect(self._by_hand("folder"))
        self.choose = tool_button("…", "Choose the folder, also that of a training to resume")
        self.choose.clicked.connect(self.ask_folder)
        self.more = QToolButton()
        self.more.setCheckable(True)
        self.more.setText("▸ Conditions")
        self.more.setToolTip(
            "Size of the network and conditions of the simulated patterns, in place of the curves"
        )
        seed = QLabel("Seed")
        seed.setToolTip(self.seed.toolTip())
        self.seed.setFixedWidth(96)
        for widget in (QLabel("Folder"), self.folder, self.choose, seed, self.seed, self.more):
            row.addWidget(widget, int(widget is self.folder))
        return row

    # -------------------------------------------------------------- filling in
    def _by_hand(self, what: str) -> Callable[..., None]:
        def edited(*_: object) -> None:
            if not self._filling:
                self._own.add(what)
                self._on_edited()

        return edited

    def _fill(self, act: Callable[[], None]) -> None:
        """Fill something in that the user did not write."""
        self._filling = True
        try:
            act()
        finally:
            self._filling = False

    def _on_phases(self) -> None:
        ticked = {phase.name for phase in self._ticked()}
        known = {self.phases.item(i).text() for i in range(self.phases.count())}  # type: ignore[union-attr]

        def act() -> None:
            self.phases.clear()
            for phase in self.session.phases:
                item = QListWidgetItem(swatch(phase.color), phase.name)
                item.setToolTip(f"{phase.formula}, {phase.space_group}")
                on = phase.name in ticked or phase.name not in known
                item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
                self.phases.addItem(item)

        self._fill(act)
        self._on_edited()

    def _ticked(self) -> list[CrystalPhase]:
        names = {
            item.text()
            for i in range(self.phases.count())
            if (item := self.phases.item(i)) is not None
            and item.checkState() == Qt.CheckState.Checked
        }
        return [phase for phase in self.session.phases if phase.name in names]

    def _on_scan(self, *_: object) -> None:
        """Voltage and outer limit of the scan, where the user gave none."""
        voltage = self.session.calibration.voltage_kv
        if "voltage" not in self._own and voltage is not None:
            self._fill(lambda: self.voltage.setValue(voltage))
        if "q_max" not in self._own:

            def done(limit: float | None) -> None:
                if limit is not None and "q_max" not in self._own:
                    self._fill(lambda: self.q_max.setValue(limit))
                    self._on_edited()

            self.runner.latest("outer limit", lambda _token: outer_limit(self.session), done)
        self._on_edited()

    def _on_recipes(self, recipes: Recipes) -> None:
        def act() -> None:
            for box, names in ((self.family, recipes.families), (self.like, recipes.records)):
                chosen = box.currentText()
                box.clear()
                box.addItems(list(names))
                box.setCurrentText(chosen)

        self._fill(act)
        self._on_like()

    def _on_like(self, *_: object) -> None:
        """Take network, steps and conditions from a recipe."""
        record = self._record()
        if not record:
            return

        def act() -> None:
            self.family.setCurrentText(record["family"])
            self.steps.setValue(record["plan"]["steps"])
            self.seed.setValue(record["plan"]["seed"])
            self.conditions.show_record(record)

        self._fill(act)
        self._on_edited()

    def _on_family(self, *_: object) -> None:
        """Options are those of a family."""
        record = self._record()
        same = record.get("family") == self.family.currentText()
        self.conditions.show_options(options_text(record["options"]) if same else "")
        self._on_edited()

    def _record(self) -> dict[str, Any]:
        recipes = self.run.recipes
        return {} if recipes is None else recipes.records.get(self.like.currentText(), {})

    def _on_edited(self, *_: object) -> None:
        if self._filling:
            return
        voltage = self._voltage()
        if "name" not in self._own:
            taken = [entry.name for entry in self.run.engines.entries]
            name = suggested_name(self._ticked(), voltage, self.family.currentText(), taken)
            self._fill(lambda: self.name.setText(name))
        if "folder" not in self._own:
            name = self.name.text().strip()
            folder = str(user_folder() / TRAININGS / name) if name else ""
            self._fill(lambda: self.folder.setText(folder))
        self.changed.emit()

    def _voltage(self) -> float | None:
        return None if self.voltage.value() < 20 else self.voltage.value()

    def draft(self) -> TrainingDraft:
        """What is filled in."""
        return TrainingDraft(
            name=self.name.text().strip(),
            phases=tuple(self._ticked()),
            voltage_kv=self._voltage(),
            q_max=self.q_max.value(),
            family=self.family.currentText(),
            steps=self.steps.value(),
            seed=self.seed.value(),
            like=self._record(),
            **self.conditions.values(),
        )

    def target(self) -> Path | None:
        """The folder that is filled in."""
        text = self.folder.text().strip()
        return Path(text).expanduser() if text else None

    def ask_folder(self) -> None:
        """Choose the folder of a training."""
        self.folder_dialog = folder_dialog(self, "Folder of the training", self.choose_folder)

    def choose_folder(self, folder: str) -> None:
        """Train, or resume, in a folder."""
        self._own.add("folder")
        self.folder.setText(folder)
        self._on_edited()

    def lock(self, locked: bool) -> None:
        """Leave nothing to be changed while a training runs."""
        for widget in (self.name, self.phases, self.voltage, self.q_max, self.family, self.steps):
            widget.setEnabled(not locked)
        for other in (self.seed, self.like, self.folder, self.choose, self.conditions):
            other.setEnabled(not locked)

    def end(self) -> None:
        """Stop listening."""
        self._links.end()


def _real(low: float, high: float, decimals: int, suffix: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(decimals)
    box.setRange(low, high)
    box.setSuffix(suffix)
    box.setKeyboardTracking(False)
    return box


def _whole(low: int, high: int, value: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    box.setKeyboardTracking(False)
    return box
