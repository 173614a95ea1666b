"""The stages of the Defects dock that sort and follow: settings, gallery, tracks, numbers."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSplitter, QTabWidget, QVBoxLayout, QWidget

from napari_diffmap.methods.defects.parameters import FollowParameters, SortParameters
from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_gallery import Gallery
from napari_diffmap.widgets.defects_gallery import GalleryView
from napari_diffmap.widgets.defects_plot import SpaceTimeView
from napari_diffmap.widgets.defects_tables import DiffusionTable, TrackTable, TransitionView
from napari_diffmap.widgets.parameter_form import ParameterForm
from napari_diffmap.widgets.parts import Links, one_line_label, tool_button


class SortPage(QWidget):
    """How finds are sorted, and the classes they were sorted into.

    Parameters
    ----------
    defects, gallery
        What is sorted, and its pictures.
    """

    def __init__(self, defects: Defects, gallery: Gallery) -> None:
        super().__init__()
        self.defects = defects
        self.form = ParameterForm(SortParameters, columns=2)
        self.again = tool_button(
            "Sort again", "Sort what was found with these settings, without finding it again;"
            " corrections are made again on the new classes",
        )  # fmt: skip
        self.line = one_line_label(
            "How well the classes are told: BIC and ICL of the mixtures tried (the lower, the"
            " better), and how alike they come out of other finds (adjusted Rand index, 1: always"
            " the same)"
        )
        self.gallery = GalleryView(defects, gallery)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.form)
        layout.addWidget(self.gallery, 1)
        self.gallery.acts.insertWidget(0, self.again)
        layout.addWidget(self.line)
        self._links = Links(self, [(defects.run_changed, self.refresh)])
        self.refresh()

    def end(self) -> None:
        """Stop listening."""
        self._links.end()
        self.gallery.end()

    def refresh(self, *_: object) -> None:
        """Say how sure the classes are."""
        run = self.defects.run
        self.line.setText(sorting_line(None if run is None else run.classes))


def sorting_line(classes: Any) -> str:
    """How many classes there are, by what, and how stable they are."""
    if classes is None:
        return ""
    parts = [f"{len(classes.names)} classes"]
    if classes.bic:
        best = min(classes.bic, key=classes.bic.get)
        parts.append(f"BIC lowest at {best}")
    if classes.icl:
        parts.append(f"ICL at {min(classes.icl, key=classes.icl.get)}")
    if classes.stability == classes.stability:
        parts.append(f"stability {classes.stability:.2f}")
    return " · ".join((*parts, *classes.warnings))


class FollowPage(QWidget):
    """How finds are followed, tracks, and what they tell.

    Parameters
    ----------
    defects
        What is followed.
    """

    def __init__(self, defects: Defects) -> None:
        super().__init__()
        self.defects = defects
        self.form = ParameterForm(FollowParameters, columns=3)
        self.again = tool_button(
            "Follow again", "Link the finds as they are corrected, and measure what moves and what"
            " changes anew",
        )  # fmt: skip
        self.tracks = TrackTable(defects)
        self.ways = SpaceTimeView(defects)
        self.diffusion = DiffusionTable(defects)
        self.transitions = TransitionView(defects)
        self.middle = QSplitter(Qt.Orientation.Horizontal)
        self.middle.addWidget(self.tracks)
        self.middle.addWidget(self.ways)
        self.middle.setSizes([375, 225])
        self.middle.setChildrenCollapsible(False)
        self.tabs = QTabWidget()
        for widget, name, tip in (
            (self.middle, "Tracks", "Every track, and its place over time"),
            (self.diffusion, "Diffusion", "Diffusion coefficients and hop rates of the classes"),
            (self.transitions, "Transitions", "How classes change from frame to frame"),
        ):
            self.tabs.addTab(widget, name)
            self.tabs.setTabToolTip(self.tabs.count() - 1, tip)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.form)
        layout.addWidget(self.tabs, 1)
        self.again.setMaximumHeight(22)
        self.tabs.setCornerWidget(self.again)

    def end(self) -> None:
        """Stop listening."""
        for part in (self.tracks, self.ways, self.diffusion, self.transitions):
            part.end()
