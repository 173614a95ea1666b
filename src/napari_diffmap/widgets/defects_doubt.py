"""Doubtful finds one after the other, corrections, and what was corrected."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.maps.defect_doubt import DEFECT_TABLE
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.maps.edits.edited import EDITED_NAMES
from napari_diffmap.viewer.defects import REACHES, Defects
from napari_diffmap.widgets.defects_looks import class_icon
from napari_diffmap.widgets.doubt_parts import answer_buttons, fill_causes, scope_box, tell_answer
from napari_diffmap.widgets.history import HistoryModel, HistoryTable, undo_buttons
from napari_diffmap.widgets.parts import Links, one_line_label, tool_button

#: What edits of finds are called.
_NAMES = {
    **EDITED_NAMES,
    EditKind.ACCEPTED: "answer accepted",
    EditKind.PHASE: "class set",
    EditKind.INVALID: "no defect",
}
#: Answers that have a button.
_BUTTONS = 3
_REACH_TIPS = {
    "find": "the selected find alone",
    "track": "all finds of its track; the find alone where it has none",
    "selection": "all that is selected, e.g. a class by a click in the gallery",
}


class DoubtPage(QWidget):
    """Visit what is in doubt, correct it, undo it.

    Parameters
    ----------
    defects
        What is corrected.
    """

    def __init__(self, defects: Defects) -> None:
        super().__init__()
        self.defects, self.queue = defects, defects.queue
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(self._make_queue())
        layout.addLayout(self._make_answers())
        layout.addWidget(self._make_history(), 1)
        layout.addLayout(self._make_undo())
        self._links = Links(
            self,
            [
                (defects.changed, self.refresh),
                (defects.selected, self.refresh),
                (self.queue.changed, self.refresh),
                (defects.run_changed, self._on_run),
            ],
        )
        self.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()

    # ------------------------------------------------------------ building
    def _make_queue(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.back = tool_button("Back", "What was looked at before (Shift + N)")
        self.back.clicked.connect(lambda: self.queue.back())
        self.next = tool_button("Next", "The next finds in doubt, by weight (N)")
        self.next.clicked.connect(lambda: self.queue.next())
        self.cause = QComboBox()
        fill_causes(self.cause, DEFECT_TABLE)
        self.cause.setToolTip("Visit only finds that are in doubt for this cause")
        self.cause.activated.connect(lambda _i: self.queue.filter(self.cause.currentData()))
        self.line = one_line_label("Finds in doubt that are left; a track counts as one")
        for widget in (self.back, self.next, self.cause):
            row.addWidget(widget)
        row.addWidget(self.line, 1)
        return row

    def _make_answers(self) -> QHBoxLayout:
        d, row = self.defects, QHBoxLayout()
        row.addWidget(QLabel("for"))
        self.reach = scope_box(REACHES, _REACH_TIPS)
        self.reach.currentTextChanged.connect(self._on_reach)
        row.addWidget(self.reach)
        row.addWidget(QLabel("accept"))
        self.answers = answer_buttons(_BUTTONS, 28, lambda rank: self._act(partial(d.accept, rank)))
        for button in self.answers:
            row.addWidget(button)
        self.by_class = tool_button(
            "Class", "Give a class (C: the next one; Alt + 1 … 9: that of the gallery)"
        )
        self.menu = QMenu(self.by_class)
        self.menu.aboutToShow.connect(self._fill)
        self.by_class.setMenu(self.menu)
        self.invalid = tool_button("No defect", "It is no defect: take it away (X)")
        self.invalid.clicked.connect(self._act(d.discard))
        self.unknown = tool_button("Unknown", "Nobody can tell: take it away (U)")
        self.unknown.clicked.connect(self._act(partial(d.discard, unknown=True)))
        self.add = tool_button(
            "Add", "Add a defect at the position, of the class chosen in the gallery (A)"
        )
        self.add.clicked.connect(self._act(d.add))
        for widget in (self.by_class, self.invalid, self.unknown, self.add):
            row.addWidget(widget)
        row.addStretch(1)
        return row

    def _make_history(self) -> HistoryTable:
        self.model = HistoryModel(self.defects, "finds", _NAMES)
        self.history = HistoryTable(self.model, (120, 48, 100), self._go_to)
        return self.history

    def _make_undo(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.undo, self.redo = undo_buttons(self.defects)
        self.stale = one_line_label(
            "Tracks, diffusion and transitions are those before the last corrections"
        )
        row.addWidget(self.undo)
        row.addWidget(self.redo)
        row.addWidget(self.stale, 1)
        return row

    # --------------------------------------------------------------- slots
    def _act(self, act: Callable[[], object]) -> Callable[..., None]:
        def clicked(*_: object) -> None:
            self.defects.try_to(act)

        return clicked

    def _on_reach(self, name: str) -> None:
        self.defects.reach = name  # type: ignore[assignment]

    def _on_run(self, *_: object) -> None:
        self.cause.setCurrentIndex(0)

    def _fill(self) -> None:
        self.menu.clear()
        found = self.defects.map
        if found is None:
            return
        for place, class_id in enumerate(self.defects.shown_classes()):
            phase = found.phases[class_id]
            action = self.menu.addAction(
                class_icon(class_id, phase.color), f"{phase.name}\tAlt+{place + 1}"
            )
            assert action is not None
            action.triggered.connect(self._act(partial(self.defects.set_class, class_id)))

    def _go_to(self, slots: NDArray[np.int64]) -> None:
        self.defects.select(slots, go=True)

    def refresh(self, *_: object) -> None:
        """Show what is left and what can be done."""
        found, corrections = self.defects.map, self.defects.corrections
        self.line.setText(self.queue.line())
        self.model.refresh()
        some = found is not None
        chosen = some and len(self.defects.selection) > 0
        for widget in (self.back, self.next):
            widget.setEnabled(bool(self.queue.items))
        for widget in (self.by_class, self.invalid, self.unknown):
            widget.setEnabled(chosen)
        for widget in (self.cause, self.reach, self.add, self.history):
            widget.setEnabled(some)
        self.undo.setEnabled(corrections is not None and bool(corrections.done))
        self.redo.setEnabled(corrections is not None and bool(corrections.undone))
        for rank, button in enumerate(self.answers):
            class_id = -1
            if found is not None and chosen and rank < found.n_best:
                class_id = int(found.phase_ids[0, self.defects.selection[0], rank])
            button.setEnabled(class_id >= 0)
            if found is not None and class_id >= 0:
                tell_answer(button, rank, found.phases[class_id].name)
        old = "⚠ tracks and numbers are older: Follow again" if self.defects.stale else ""
        self.stale.setText(old)
