"""The line of the Scan dock that shows a conversion for speed."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_diffmap.jobs.control import Progress
from napari_diffmap.widgets.bridge import try_to
from napari_diffmap.widgets.convert_run import ConvertRun, outcome
from napari_diffmap.widgets.dialogs import save_dialog
from napari_diffmap.widgets.opening import Opening
from napari_diffmap.widgets.parts import Links, ShareBar, one_line_label, tool_button


class ConvertBar(QWidget):
    """Progress, *Stop* and then *Open it*; hidden while there is nothing to say.

    Parameters
    ----------
    run
        The conversion.
    opening
        Opens the file that was written.
    """

    def __init__(self, run: ConvertRun, opening: Opening) -> None:
        super().__init__()
        self.run = run
        self.opening = opening
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.line = one_line_label("The conversion for speed")
        self.progress = ShareBar("Share of the patterns that are written")
        self.progress.setMaximumWidth(140)
        self.stop_button = tool_button("Stop", "End; what is written stays, Convert goes on")
        self.stop_button.clicked.connect(lambda: run.stop())
        self.open_button = tool_button("Open it", "Open the converted scan in place of this one")
        self.open_button.clicked.connect(self.open)
        row.addWidget(self.line, 1)
        for widget in (self.progress, self.stop_button, self.open_button):
            row.addWidget(widget)
        self._links = Links(
            self, [(run.changed, self.refresh), (run.progressed, self._on_progress)]
        )
        self.refresh()

    def ask(self) -> None:
        """Choose the file to write."""
        name = str(self._suggested())
        self.file_dialog = save_dialog(
            self, "Convert for speed", self.start, "Zarr (*.zspy)", suffix="zspy", name=name
        )

    def _suggested(self) -> Path:
        last = self.opening.last
        path = Path("scan.zspy") if last is None else last.path.with_suffix(".zspy")
        same = last is not None and path == last.path
        return path.with_name(f"{path.stem} fast.zspy") if same else path

    def start(self, path: str | Path) -> None:
        """Convert the scan to a file."""
        try_to(lambda: self.run.start(path))

    def open(self) -> None:
        """Open what was written."""
        if self.run.last is not None:
            self.opening.open(self.run.last.path)
            self.hide()

    def refresh(self) -> None:
        """Show what there is to say."""
        run = self.run
        self.setVisible(run.running or run.last is not None)
        self.progress.setVisible(run.running)
        self.stop_button.setVisible(run.running)
        self.stop_button.setEnabled(not run.stopping)
        self.open_button.setVisible(run.last is not None)
        if run.last is not None:
            self.line.setText(outcome(run.last))
        elif run.stopping:
            self.line.setText("Stopping …")
        else:
            self.progress.show_share(0.0)
            self.line.setText("Converting …")

    def _on_progress(self, progress: Progress) -> None:
        if self.run.running and not self.run.stopping:
            self.line.setText(progress.text())
        self.progress.show_share(progress.fraction)
