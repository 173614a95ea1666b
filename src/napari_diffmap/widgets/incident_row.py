"""Where I0 comes from, as a row of a form; the Pattern and the Map dock have one each."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QMenu, QVBoxLayout, QWidget

from napari_diffmap.errors import DiffmapError
from napari_diffmap.methods.spectra.incident import Incident
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.widgets.bridge import report_error
from napari_diffmap.widgets.dialogs import file_dialog
from napari_diffmap.widgets.parts import Links, one_line_label, tool_button

HISTOGRAM, REGION, FILE, DENSITY = range(4)
_WORDS = ("brightest pixels", "drawn region", "file…", "none: stack is OD")
_TIPS = (
    "I0 is the mean of the brightest pixels, found in the histogram of the mean image",
    "I0 is the mean counts of the region that is drawn now: draw it beside the sample",
    "I0 is read from a text file of two columns: energy (eV) and counts",
    "The stack holds optical density already: nothing is divided",
)
TEXT_FILES = "Spectra (*.xsp *.t *.txt *.csv *.dat *.nor *.e *.xas *.msa *.hspy);;All files (*)"


class IncidentRow(QWidget):
    """Chooses I0 and says in one line what follows from it.

    Parameters
    ----------
    desk
        Of the window.
    line
        Whether the row has a line of its own below.
    """

    def __init__(self, desk: Desk, *, line: bool = True) -> None:
        super().__init__()
        self.desk = desk
        self.incidence = desk.spectral.incidence
        label = QLabel("I0")
        self.choice = QComboBox()
        self.choice.addItems(_WORDS)
        for i, tip in enumerate(_TIPS):
            self.choice.setItemData(i, tip, Qt.ItemDataRole.ToolTipRole)
        tip = "Incident spectrum I0 in counts: OD = −ln(counts / I0), no unit"
        self.choice.setToolTip(tip)
        label.setToolTip(tip)
        self.region = tool_button(
            "Region", "Draw a region on the sample: for I0, for a reference, for its mean spectrum"
        )
        menu = QMenu(self.region)
        for tool in ("rectangle", "polygon", "lasso"):
            action = menu.addAction(tool.capitalize())
            assert action is not None
            action.triggered.connect(lambda _on=False, t=tool: desk.sample.start_region(t))
        clear = menu.addAction("Clear")
        assert clear is not None
        clear.triggered.connect(lambda _on=False: desk.sample.clear_region())
        self.region.setMenu(menu)
        self.region.setMinimumWidth(74)
        self.state = one_line_label("Where I0 comes from, share of the image that is sample")
        row = QHBoxLayout()
        row.setSpacing(4)
        for widget in (label, self.choice, self.region):
            row.addWidget(widget)
        if line:
            row.addWidget(self.state, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addLayout(row)
        self.row = row
        self.choice.activated.connect(self._on_choice)
        self._links = Links(self, [(self.incidence.changed, self.refresh)])
        self.refresh()

    def refresh(self) -> None:
        """Show what is chosen."""
        chosen = self.incidence.incident
        index = HISTOGRAM
        if chosen.already_density:
            index = DENSITY
        elif chosen.file is not None:
            index = FILE
        elif chosen.mask is not None or chosen.region is not None:
            index = REGION
        self.choice.setCurrentIndex(index)
        self.choice.setItemText(FILE, "file…" if chosen.file is None else chosen.file.name)
        self.state.setText(self.incidence.line())

    def _on_choice(self, index: int) -> None:
        if index == FILE:
            self.ask_file()
            return
        try:
            if index == REGION:
                self.incidence.choose_region()
            else:
                self.incidence.choose(Incident(already_density=True) if index == DENSITY else None)
        except DiffmapError as error:
            report_error(error)
            self.refresh()

    def ask_file(self) -> None:
        """Choose a file of I0."""
        scan = self.desk.session.scan
        folder = str(scan.source.parent) if scan is not None and scan.source is not None else ""
        dialog = file_dialog(self, "I0 from a file", self.take_file, TEXT_FILES, folder)
        dialog.rejected.connect(self.refresh)
        self.file_dialog = dialog

    def take_file(self, path: str) -> None:
        """Take I0 from a file."""
        self.incidence.choose(Incident(file=Path(path)))

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
