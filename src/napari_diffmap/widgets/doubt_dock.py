"""The Doubt dock: zones in doubt one after the other, corrections, what was corrected."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.maps.ambiguity import AMBIGUITY_TABLE, AmbiguityCause
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.viewer.correcting import SCOPES
from napari_diffmap.widgets.doubt_bars import OfferBar, SavingButtons, UnsavedBar
from napari_diffmap.widgets.doubt_parts import answer_buttons, fill_causes, scope_box, tell_answer
from napari_diffmap.widgets.history import HistoryModel, HistoryTable, undo_buttons
from napari_diffmap.widgets.parts import Links, one_line_label, spin_width, swatch, tool_button
from napari_diffmap.widgets.workbench import workbench_of

_SCOPE_TIPS = {
    "pixel": "the position alone",
    "disk": "the pixels around the position, up to a radius",
    "region": "the region drawn with Region in the Scan dock",
    "grain": "what is connected to the position with less than 5° from pixel to pixel; of a map"
    " without orientations: with the same phase",
    "zone": "the connected pixels in doubt for the same cause",
    "same confusion": "all pixels whose answers compete in the same way, wherever they are",
}
#: Twin laws of a phase in the menu: Σ3 to Σ11.
_LAWS = 5
#: Answers that have a button.
_BUTTONS = 5


class DoubtDock(QWidget):
    """Visit what is in doubt, correct it, undo it.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        self.doubting = self.bench.doubting
        self.correcting = self.doubting.correcting
        self.queue = self.doubting.queue
        self.painting = self.doubting.painting
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(3)
        layout.addLayout(self._make_queue())
        layout.addLayout(self._make_scope())
        layout.addLayout(self._make_answers())
        self.offer, self.unsaved = OfferBar(self.doubting), UnsavedBar(self.bench)
        layout.addWidget(self.offer)
        layout.addWidget(self.unsaved)
        layout.addWidget(self._make_history(), 1)
        layout.addLayout(self._make_undo())
        self._connect()
        self._on_map()

    # ------------------------------------------------------------ building
    def _make_queue(self) -> QVBoxLayout:
        column = QVBoxLayout()
        self.line = one_line_label("Zones in doubt that are left, by area times doubt")
        column.addWidget(self.line)
        row = QHBoxLayout()
        self.back = tool_button("Back", "The zone before (Shift + N)")
        self.back.clicked.connect(lambda: self.queue.back())
        self.next = tool_button("Next zone", "The next zone in doubt, by area times doubt (N)")
        self.next.clicked.connect(lambda: self.queue.next())
        self.cause = QComboBox()
        self._causes: object = None
        self._fill_causes(AMBIGUITY_TABLE)
        self.cause.setToolTip("Visit only zones that are in doubt for this cause")
        self.phase = QComboBox()
        self.phase.setToolTip("Visit only zones whose first answer is this phase")
        self.least = QSpinBox()
        self.least.setRange(1, 10**6)
        self.least.setPrefix("≥ ")
        self.least.setSuffix(" pixels")
        self.least.setToolTip("Visit only zones of so many pixels at least")
        self.least.setFixedWidth(spin_width(self.least, "≥ 999 pixels"))
        for widget in (self.back, self.next, self.cause, self.phase, self.least):
            row.addWidget(widget)
        row.addStretch()
        for box in (self.cause, self.phase):
            box.currentIndexChanged.connect(self._on_filter)
        self.least.valueChanged.connect(self._on_filter)
        column.addLayout(row)
        return column

    def _fill_causes(self, causes: tuple[AmbiguityCause, ...]) -> None:
        """Offer the causes of a kind of map; another kind has others."""
        if causes is self._causes:
            return
        self._causes = causes
        fill_causes(self.cause, causes)

    def _make_scope(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(QLabel("for"))
        self.scope = scope_box(SCOPES, _SCOPE_TIPS)
        self.scope.currentTextChanged.connect(self._on_scope)
        self.radius = QDoubleSpinBox()
        self.radius.setRange(0.5, 500)
        self.radius.setDecimals(1)
        self.radius.setValue(self.correcting.radius)
        self.radius.setToolTip("Radius of the disk, pixels of the map")
        self.radius.setFixedWidth(spin_width(self.radius, "500.0"))
        self.radius.valueChanged.connect(self._on_scope)
        self.refine = QCheckBox("refine")
        self.refine.setChecked(True)
        self.refine.setToolTip(
            "Refine an orientation on each pattern where the matcher had not kept it itself"
        )
        self.refine.toggled.connect(self._on_refine)
        self.show_pixels = QCheckBox("show pixels")
        self.show_pixels.setToolTip("Mark on the sample which pixels the next correction is for")
        self.show_pixels.toggled.connect(self._mark)
        self.paint = QCheckBox("paint")
        self.paint.setToolTip(
            "Paint phases on the map with napari's own tools: brush, fill, polygon, eraser."
            " Where the phase was not among the answers it is matched anew"
        )
        self.paint.toggled.connect(self._on_paint)
        self.brush = QComboBox()
        self.brush.setToolTip("Phase that is painted")
        self.brush.currentIndexChanged.connect(
            lambda _i: self.painting.choose(self.brush.currentData() or 0)
        )
        for widget in (self.scope, self.radius, self.show_pixels, self.refine, self.paint):
            row.addWidget(widget)
        row.addWidget(self.brush)
        row.addStretch()
        return row

    def _make_answers(self) -> QHBoxLayout:
        c, row = self.correcting, QHBoxLayout()
        row.addWidget(QLabel("accept"))
        self.answers = answer_buttons(_BUTTONS, 30, lambda rank: self._act(partial(c.accept, rank)))
        for button in self.answers:
            row.addWidget(button)
        self.by_phase = tool_button(
            "Phase", "Take each pixel's best answer of a phase; match it anew where none was kept"
        )
        menu = QMenu(self.by_phase)
        menu.aboutToShow.connect(self._fill_phases)
        self.by_phase.setMenu(menu)
        self.turn = tool_button(
            "Turn", "Turn the crystal half about the beam (T), or by a twin law of its phase"
        )
        turns = QMenu(self.turn)
        turns.aboutToShow.connect(self._fill_turns)
        self.turn.setMenu(turns)
        self.again = tool_button("Refine", "Refine the first answer on the pattern again (R)")
        self.invalid = tool_button("Invalid", "The answer is wrong: take it away (X)")
        self.unknown = tool_button("Unknown", "Nobody can tell: take the answer away (U)")
        for button, act in (
            (self.again, c.refine),
            (self.invalid, partial(c.empty, EditKind.INVALID)),
            (self.unknown, partial(c.empty, EditKind.UNKNOWN)),
        ):
            button.clicked.connect(self._act(act))
        for widget in (self.by_phase, self.turn, self.again, self.invalid, self.unknown):
            row.addWidget(widget)
        row.addStretch()
        return row

    def _make_history(self) -> HistoryTable:
        self.model = HistoryModel(self.correcting)
        self.history = HistoryTable(self.model, (150, 60, 110), self._go_to)
        return self.history

    def _make_undo(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.undo, self.redo = undo_buttons(self.correcting)
        self.corrected = QCheckBox("with corrections")
        self.corrected.setChecked(True)
        self.corrected.setToolTip("Without the tick the map is shown as the matcher found it")
        self.corrected.toggled.connect(lambda on: self.bench.shown_map.show_answer(not on))
        self.where = QCheckBox("where")
        self.where.setToolTip("Show on the sample which pixels were corrected, and how")
        self.where.toggled.connect(self.bench.shown_map.show_edited)
        self.stop = tool_button("Stop", "Give up the correction that is being computed")
        self.stop.clicked.connect(lambda: self.correcting.stop())
        self.stop.hide()
        self.state = one_line_label("What is being computed")
        for widget in (self.undo, self.redo, self.corrected, self.where):
            row.addWidget(widget)
        row.addWidget(self.state, 1)
        self.saving = SavingButtons(self.bench)
        row.addWidget(self.stop)
        row.addWidget(self.saving)
        return row

    def _connect(self) -> None:
        session, c = self.session, self.correcting
        self._links = Links(
            self,
            [
                (session.map_changed, self._on_map),
                (session.position_changed, self._on_position),
                (session.region_changed, self._on_position),
                (session.edited, self._on_changed),
                (c.changed, self._on_changed),
                (c.working, self._on_working),
                (self.queue.changed, self._on_queue),
                (self.painting.changed, self._on_painting),
            ],
        )

    def _act(self, act: Callable[[], object]) -> Callable[..., None]:
        def clicked(*_: object) -> None:
            self.doubting.try_to(act)

        return clicked

    # --------------------------------------------------------------- slots
    def _on_map(self, *_: object) -> None:
        found = self.session.map
        for box, first in ((self.phase, "any phase"), (self.brush, "erase")):
            box.blockSignals(True)
            box.clear()
            box.addItem(first, None if box is self.phase else -1)
            for i, phase in enumerate(() if found is None else found.phases):
                box.addItem(swatch(phase.color), phase.name, i)
            box.blockSignals(False)
        if found is not None:
            self._fill_causes(found.causes)
        self.corrected.setChecked(True)
        for widget in (
            *(self.back, self.next, self.cause, self.phase, self.least, self.scope),
            *(self.refine, self.show_pixels, self.paint, self.by_phase, self.turn, self.again),
            *(self.invalid, self.unknown, self.corrected, self.where, self.history, self.saving),
        ):
            widget.setEnabled(found is not None)
        for widget in (self.refine, self.turn, self.again):
            widget.setVisible(found is None or self.correcting.turns)
        self._on_scope()
        self._on_changed()
        self._on_queue()
        self._on_painting(self.painting.on)

    def _on_queue(self) -> None:
        self.line.setText(self.queue.line())
        some = bool(self.queue.zones)
        self.next.setEnabled(some)
        self.back.setEnabled(some)

    def _on_filter(self, *_: object) -> None:
        cause = self.cause.currentData()
        self.queue.filter(
            causes=None if cause is None else (cause,),
            phase=self.phase.currentData(),
            min_size=self.least.value(),
        )

    def _on_scope(self, *_: object) -> None:
        self.correcting.scope = self.scope.currentText()  # type: ignore[assignment]
        self.correcting.radius = self.radius.value()
        self.radius.setVisible(self.correcting.scope == "disk")
        self._mark()

    def _on_refine(self, on: bool) -> None:
        self.correcting.refining = on

    def _on_position(self, *_: object) -> None:
        self._show_answers()
        self._mark()

    def _on_changed(self, *_: object) -> None:
        corrections = self.session.corrections
        self.model.refresh()
        self.undo.setEnabled(corrections is not None and bool(corrections.done))
        self.redo.setEnabled(corrections is not None and bool(corrections.undone))
        self._show_answers()

    def _show_answers(self) -> None:
        """Buttons for the answers that there are, each with its phase as a tip."""
        found = self.session.map
        for rank, button in enumerate(self.answers):
            button.setVisible(found is not None and rank < found.n_best)
            phase = -1
            if found is not None and rank < found.n_best:
                y, x = self.session.position
                phase = int(found.phase_ids[y, x, rank])
            button.setEnabled(phase >= 0)
            if found is not None and phase >= 0:
                score = float(found.scores[y, x, rank])
                answer = f"{found.phases[phase].name}, score {score:.3f}"
                more = "The Pattern dock lists them; click a number there to see its spots"
                tell_answer(button, rank, f"{answer}. {more}")

    def _on_working(self, line: str) -> None:
        self.state.setText(line)
        self.stop.setVisible(bool(line))

    def _mark(self, *_: object) -> None:
        """Mark what the next correction is for, if that is wanted and nothing is offered."""
        if self.correcting.offer is not None:
            return
        if not self.show_pixels.isChecked() or self.session.map is None:
            self.doubting.mark(None)
            return
        self.doubting.try_to(lambda: self.doubting.mark(self.correcting.pixels()))

    def _on_paint(self, on: bool) -> None:
        self.painting.set(on)

    def _on_painting(self, on: bool) -> None:
        self.paint.blockSignals(True)
        self.paint.setChecked(on)
        self.paint.blockSignals(False)
        self.brush.setVisible(on)
        if on:
            self.brush.setCurrentIndex(max(self.painting.phase + 1, 0))

    def _fill_phases(self) -> None:
        menu, found = self.by_phase.menu(), self.session.map
        assert menu is not None
        menu.clear()
        for i, phase in enumerate(() if found is None else found.phases):
            action = menu.addAction(swatch(phase.color), phase.name)
            assert action is not None
            action.triggered.connect(self._act(partial(self.correcting.set_phase, i)))

    def _fill_turns(self) -> None:
        from napari_diffmap.maps.boundaries.twin_laws import standard_laws

        menu, found = self.turn.menu(), self.session.map
        assert menu is not None
        menu.clear()
        half = menu.addAction("180° about the beam (T)")
        assert half is not None
        half.triggered.connect(self._act(self.correcting.turn))
        number = -1 if found is None else int(found.best_phase_ids[self.session.position])
        if found is None or number < 0:
            return
        phase = found.phases[number]
        for law in standard_laws(phase)[:_LAWS]:
            action = menu.addAction(f"{law.name} of {phase.name}, {law.angle(phase):.1f}°")
            assert action is not None
            action.triggered.connect(self._act(partial(self.correcting.twin, law)))

    def _go_to(self, pixels: NDArray[np.int64]) -> None:
        if self.session.map is not None:
            self.doubting.go_to(pixels)

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self.painting.set(False)
        self._links.end()
        super().closeEvent(event)
