"""The Key dock: IPF colour key of every phase, legends of phases, boundaries and doubt."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_diffmap.maps.ambiguity import NO_DATA
from napari_diffmap.maps.boundaries.find import BOUNDARY_TABLE
from napari_diffmap.maps.counts import (
    CRYSTAL_COLORS,
    RESOLVED_COLOR,
    VERDICTS,
    crystal_count,
    judged,
    resolved,
)
from napari_diffmap.widgets.parts import Links, one_line_label, plain_label, scrolling
from napari_diffmap.widgets.workbench import workbench_of

if TYPE_CHECKING:
    from napari_diffmap.maps import OrientationMap, PhaseMap

#: Side of a colour key on the screen: of one or two phases, and of more.
_KEY_PIXELS, _SMALL_PIXELS = 176, 120
#: Keys side by side.
_COLUMNS = 3
#: Room for the longest line of the legend and a scroll bar.
_LEGEND_WIDTH = 222
_EMPTY = "Map orientations first (Map dock): the colour key of each phase is drawn here."
_NO_KEY = "Phases of spectra have no orientations: the legend on the right holds all colours."


class KeyView(QWidget):
    """Colour keys and legends of the map that is shown.

    Parameters
    ----------
    napari_viewer
        The main viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.bench = workbench_of(napari_viewer)
        self.session = self.bench.session
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        self.message = plain_label(_EMPTY)
        layout.addWidget(self.message)
        body = QWidget()
        self.grid = QGridLayout(body)
        self.grid.setContentsMargins(0, 0, 0, 0)
        self.grid.setHorizontalSpacing(2)
        self.grid.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.keys: dict[str, QLabel] = {}
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.legend.setToolTip("Legend of the phase, ambiguity and boundary layers")
        # Each scrolls by itself: many phases do not push the legend out of sight.
        row = QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(scrolling(body, sideways=True), 1)
        legend = scrolling(self.legend)
        legend.setFixedWidth(_LEGEND_WIDTH)
        row.addWidget(legend)
        layout.addLayout(row, 1)
        self._links = Links(
            self,
            [
                (self.session.map_changed, self._on_map),
                (self.bench.shown_map.shown, self._on_shown),
                (self.bench.maps.thresholds_changed, self._on_thresholds),
            ],
        )
        self._on_map(self.session.map)

    def _on_shown(self) -> None:
        self._on_map(self.session.map)

    def _on_thresholds(self, low: float, high: float) -> None:
        if self.session.map is not None:
            self.legend.setText(_legend(self.session.map, low, high))

    def _on_map(self, found: PhaseMap | None) -> None:
        while self.grid.count():
            item = self.grid.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.deleteLater()
        self.keys.clear()
        self.legend.setVisible(found is not None)
        self.message.setText(_EMPTY if found is None else _NO_KEY)
        self.message.setVisible(found is None or not found.has_orientations)
        if found is None:
            return
        if not found.has_orientations:
            self.legend.setText(_legend(found, self.bench.maps.low, self.bench.maps.high))
            return
        phases = found.phases
        size = _KEY_PIXELS if len(phases) <= 2 else _SMALL_PIXELS

        def work(_token: object) -> list[NDArray[np.uint8]]:
            from napari_diffmap.maps.figures.ipf_key import ipf_key

            return [ipf_key(phase, size, background="white") for phase in phases]

        def done(pictures: list[NDArray[np.uint8]]) -> None:
            if self.session.map is found:
                self._show(found, pictures)

        self.bench.runner.latest("key", work, done)

    def _show(self, found: OrientationMap, pictures: list[NDArray[np.uint8]]) -> None:
        for i, (phase, picture) in enumerate(zip(found.phases, pictures, strict=True)):
            frame = QWidget()
            column = QVBoxLayout(frame)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(2)
            title = one_line_label("Phase and its Laue group")
            title.setText(f"{phase.name} {phase.point_group.name}")
            image = QLabel()
            image.setPixmap(QPixmap.fromImage(_qimage(picture)))
            image.setToolTip(
                f"TSL key of {phase.name}: which crystal direction is parallel to the chosen"
                " sample direction (X right, Y down, Z along the beam)"
            )
            column.addWidget(title)
            column.addWidget(image)
            self.keys[phase.name] = image
            self.grid.addWidget(frame, *divmod(i, _COLUMNS))
        self.legend.setText(_legend(found, self.bench.maps.low, self.bench.maps.high))

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self._links.end()
        super().closeEvent(event)


def _qimage(rgba: NDArray[np.uint8]) -> QImage:
    rgba = np.ascontiguousarray(rgba)
    height, width = rgba.shape[:2]
    return QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()


def _line(color: str, text: str, mark: str = "■") -> str:
    return f'<span style="color:{color}">{mark}</span> {escape(text)}<br>'


def _counts_legend(found: PhaseMap) -> str:
    """Crystals per pattern, and what the neighbourhood chose; empty for an imported map."""
    text, count, chosen = "", crystal_count(found), resolved(found)
    if count is not None and count.any():
        answered = count[count > 0]
        text += "<b>Crystals in a pattern</b><br>"
        for n in np.unique(answered):
            share = 100 * float((answered == n).mean())
            text += _line(CRYSTAL_COLORS[min(int(n), max(CRYSTAL_COLORS))], f"{n}: {share:.1f} %")
    if chosen is not None and chosen.any():
        share = 100 * float(chosen.sum()) / max(1, int(found.indexed.sum()))
        text += _line(RESOLVED_COLOR, f"resolved by neighbours {share:.1f} %")
    return text + _judged_legend(found)


def _judged_legend(found: PhaseMap) -> str:
    """What the templates say of a sample of answers; empty where they were not asked."""
    codes = judged(found)
    if codes is None or not codes.any():
        return ""
    n = int((codes > 0).sum())
    text = f"<b>Sample of {n} judged</b><br>"
    for verdict in VERDICTS:
        share = 100 * float((codes == verdict.code).sum()) / n
        text += _line(verdict.color, f"{verdict.name} {share:.0f} %", verdict.mark)
    return text


def _legend(found: PhaseMap, low: float, high: float) -> str:
    mapped = max(int(found.indexed.sum()), 1)
    text = "<b>Phases</b><br>"
    for i, phase in enumerate(found.phases):
        share = 100 * float(found.phase_mask(i).sum()) / mapped
        text += _line(phase.color, f"{phase.name} {share:.1f} %")
    limits = found.composition_limits() if hasattr(found, "composition_limits") else None
    if limits is not None:
        text += f"composition {limits[0]:g}–{limits[1]:g}, dark to yellow<br>"
    # Of the positions that hold data, as the Map dock's line counts.
    data = max(int((found.ambiguity != NO_DATA).sum()), 1)
    text += f"<b>{'Ambiguity' if found.has_orientations else 'Doubt'}</b><br>"
    for cause in found.doubts:
        share = 100 * float((found.ambiguity == cause.code).sum()) / data
        text += _line(cause.color, f"{cause.name} {share:.1f} %")
    text += _counts_legend(found)
    if not found.has_orientations:
        return text
    text += "<b>Boundaries</b><br>"
    words = {"low-angle": f"{low:g}–{high:g}°, thin", "high-angle": f"> {high:g}°, black"}
    for style in BOUNDARY_TABLE:
        extra = words.get(style.name)
        color = "#888888" if style.color == "#000000" else style.color
        text += _line(color, style.name + (f" ({extra})" if extra else ""))
    return text
