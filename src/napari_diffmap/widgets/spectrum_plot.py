"""The plot of spectra: lines drawn over a kept background, limits and windows to drag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_diffmap.viewer.spectral_curves import Curve, Span

_INK, _MARK, _EDGE = "#d0d0d0", "#E69F00", "#F0E442"
_BACK = "#262930"
#: Colour and hatching of the energy windows A and B.
_WINDOWS = (("#E69F00", "//", "A"), ("#56B4E9", "\\\\", "B"))
#: Room for numbers and names: left, below, right, above, pixels.
_ROOM = (58, 42, 10, 8)
#: So near to a line the mouse takes it, pixels.
_NEAR = 7
#: Up to so many energies each point of a spectrum is marked, else every n-th of those held.
_MARKED = 45
#: The plot is scaled anew when a spectrum leaves it, or, once the mouse has rested for so many
#: ms, needs less than this share of it.
_FILLS, _REST_MS = 0.6, 300


class SpectrumPlot(QObject):
    """Spectra over energy or time.

    Only what moves is drawn anew while the mouse moves: the background is kept as a picture.

    Signals
    -------
    pointed(energy)
        The mouse points at an energy.
    window_moved(i, low, high)
        Energy window A (0) or B (1) was dragged.
    edge_moved(low, high)
        A limit of the normalisation was dragged.
    """

    pointed = Signal(float)
    window_moved = Signal(int, float, float)
    edge_moved = Signal(float, float)

    def __init__(self) -> None:
        super().__init__()
        self.figure = Figure(facecolor=_BACK)
        self.canvas = FigureCanvasQTAgg(self.figure)
        self.canvas.setMinimumHeight(110)
        self.axes = self.figure.add_subplot()
        (self.trace,) = self.axes.plot([], [], marker="o", markersize=2.6, lw=1.4, animated=True)
        self.marker = self.axes.axvline(0, color=_MARK, lw=1.5, ls="--", animated=True)
        self.marker.set_visible(False)
        self.lines: list[Line2D] = []
        self.windows = [self._window(*style) for style in _WINDOWS]
        self.edges = [
            self._edge(words, side) for words, side in (("pre", "right"), ("post", "left"))
        ]
        self.spans: tuple[Span, ...] = ()
        self.edge: Span | None = None
        self._background: Any = None
        self._waits = False
        self._reach: tuple[float, float] | None = None
        self._anew = True
        #: Closes the plot up around smaller spectra once the mouse rests.
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._close_up)
        self._taken: tuple[str, int, float, Span] | None = None
        self._dress()
        self.canvas.mpl_connect("draw_event", self._on_draw)
        self.canvas.mpl_connect("resize_event", self._on_resize)
        self.canvas.mpl_connect("button_press_event", self._on_press)
        self.canvas.mpl_connect("motion_notify_event", self._on_move)
        self.canvas.mpl_connect("button_release_event", self._on_release)

    def _window(self, color: str, hatch: str, name: str) -> tuple[Rectangle, Any]:
        across = self.axes.get_xaxis_transform()
        patch = Rectangle((0, 0), 1, 1, transform=across, facecolor=color + "30", edgecolor=color)
        patch.set_hatch(hatch)
        text = self.axes.text(0, 0.97, name, transform=across, color=color, va="top", ha="center")
        self.axes.add_patch(patch)
        for artist in (patch, text):
            artist.set_animated(True)
            artist.set_visible(False)
        return patch, text

    def _edge(self, words: str, side: str) -> tuple[Line2D, Any]:
        line = self.axes.axvline(0, color=_EDGE, lw=1.3, ls="-.", animated=True)
        across = self.axes.get_xaxis_transform()
        text = self.axes.text(0, 0.97, f"{words}-edge", transform=across, color=_EDGE, fontsize=8)
        text.set(ha=side, va="top", rotation=90, animated=True)
        for artist in (line, text):
            artist.set_visible(False)
        return line, text

    def _dress(self) -> None:
        self.axes.set_facecolor(_BACK)
        for spine in self.axes.spines.values():
            spine.set_color(_INK)
        self.axes.tick_params(colors=_INK, labelsize=8)
        self.axes.xaxis.label.set_color(_INK)
        self.axes.yaxis.label.set_color(_INK)

    # ---------------------------------------------------------------- state
    def name_axes(self, x: str, y: str) -> None:
        """Name the axes, with their units."""
        if (x, y) != (self.axes.get_xlabel(), self.axes.get_ylabel()):
            self.axes.set_xlabel(x, fontsize=9)
            self.axes.set_ylabel(y, fontsize=9)
            self.redraw()

    def show_range(self, low: float, high: float) -> None:
        """Show these energies; the marker must not widen the plot."""
        room = 0.02 * (high - low) or 1.0
        self.axes.set_xlim(low - room, high + room)
        self.redraw()

    def show_plane(self, at: float | None) -> None:
        """Mark the energy whose image is shown."""
        self.marker.set_visible(at is not None)
        if at is not None:
            self.marker.set_xdata([at, at])
        self.refresh()

    def show_windows(self, spans: Sequence[Span]) -> None:
        """Show energy windows: none, A, or A and B."""
        self.spans = tuple(spans)
        for i, (patch, text) in enumerate(self.windows):
            for artist in (patch, text):
                artist.set_visible(i < len(spans))
            if i < len(spans):
                low, high = sorted(spans[i])
                patch.set_bounds(low, 0, high - low, 1)
                text.set_x((low + high) / 2)
        self.refresh()

    def show_edge(self, edge: Span | None) -> None:
        """Show the limits of the normalisation."""
        self.edge = edge
        for i, (line, text) in enumerate(self.edges):
            for artist in (line, text):
                artist.set_visible(edge is not None)
            if edge is not None:
                line.set_xdata([edge[i], edge[i]])
                text.set_x(edge[i])
        self.refresh()

    def show_curves(self, trace: Curve | None, others: Sequence[Curve]) -> None:
        """Draw the spectrum under the mouse and the others."""
        if trace is not None:
            self.trace.set_data(trace.energies, trace.values)
            self.trace.set_color(trace.color)
            self.trace.set_marker("o" if len(trace.energies) <= _MARKED else "None")
        else:
            self.trace.set_data([], [])
        while len(self.lines) < len(others):
            (line,) = self.axes.plot([], [], animated=True)
            self.lines.append(line)
        for i, line in enumerate(self.lines):
            line.set_visible(i < len(others))
            if i < len(others):
                curve = others[i]
                line.set_data(curve.energies, curve.values)
                line.set_color(curve.color)
                line.set_linestyle((0, curve.dashes) if curve.dashes else "-")
                line.set_linewidth(2.0 if curve.dashes else 1.2)
                line.set_marker(curve.marker or "None")
                line.set_markersize(4.5)
                line.set_markevery(max(1, len(curve.energies) // _MARKED))
        found = [trace, *others] if trace is not None else list(others)
        finite = [curve.values[np.isfinite(curve.values)] for curve in found]
        finite = [values for values in finite if len(values)]
        self._reach = (
            (min(float(v.min()) for v in finite), max(float(v.max()) for v in finite))
            if finite
            else None
        )
        if self._fit():
            self.redraw()
        else:
            self.refresh()

    def scale_anew(self) -> None:
        """What is plotted has another scale: the next spectrum is fitted closely."""
        self._anew = True

    def _fit(self) -> bool:
        """Scale the plot if a spectrum leaves it; whether it was."""
        if self._reach is None:
            return False
        low, high = self._reach
        bottom, top = self.axes.get_ylim()
        if bottom <= low and high <= top and not self._anew:
            if high - low < _FILLS * (top - bottom):
                self._rest.start()
            return False
        # To scale costs ten times what a spectrum costs: while the mouse moves there is room left.
        before = (low, high) if self._anew else (min(low, bottom), max(high, top))
        room = 0.08 * (before[1] - before[0]) or max(0.08 * abs(before[1]), 1e-6)
        self._anew = False
        self.axes.set_ylim(before[0] - room, before[1] + room)
        self._rest.start()
        return True

    def _close_up(self) -> None:
        """The mouse rests: fit the plot to what it shows."""
        if self._reach is None or not isalive(self.canvas):
            return
        low, high = self._reach
        bottom, top = self.axes.get_ylim()
        if high - low < _FILLS * (top - bottom):
            room = 0.08 * (high - low) or max(0.08 * abs(high), 1e-6)
            self.axes.set_ylim(low - room, high + room)
            self.redraw()

    # -------------------------------------------------------------- drawing
    def _moving(self) -> list[Artist]:
        shapes = [artist for pair in (*self.windows, *self.edges) for artist in pair]
        # References come last: they are seen over the spectrum that they are compared with.
        over = [line for line in self.lines if line.is_dashed()]
        below = [line for line in self.lines if not line.is_dashed()]
        return [*shapes, self.marker, *below, self.trace, *over]

    def redraw(self) -> None:
        """Draw everything anew, once the window has time."""
        self._background = None
        self.canvas.draw_idle()

    def refresh(self) -> None:
        """Draw what moves over the background that is kept, once in this turn of the loop."""
        if self._background is None:
            self.canvas.draw_idle()
        elif not self._waits:
            self._waits = True
            QTimer.singleShot(0, self._refresh)

    def _refresh(self) -> None:
        self._waits = False
        if self._background is None or not isalive(self.canvas):
            return
        self.canvas.restore_region(self._background)
        self._draw_moving()
        # Not `blit`: it paints at once, and the whole window with it where it holds a GL canvas.
        self.canvas.update()

    def _draw_moving(self) -> None:
        for artist in self._moving():
            if artist.get_visible():
                self.axes.draw_artist(artist)

    def _on_draw(self, _event: Any) -> None:
        self._background = self.canvas.copy_from_bbox(self.figure.bbox)
        self._draw_moving()

    def _on_resize(self, _event: Any) -> None:
        width, height = self.figure.bbox.width, self.figure.bbox.height
        ratio = self.canvas.device_pixel_ratio
        left, below, right, above = (room * ratio for room in _ROOM)
        if width > left + right + 20 and height > below + above + 20:
            self.figure.subplots_adjust(
                left / width, below / height, 1 - right / width, 1 - above / height
            )
        self._background = None

    # ---------------------------------------------------------------- mouse
    def _pixels(self, energy: float) -> float:
        return float(self.axes.transData.transform((energy, 0))[0])

    def _what(self, event: Any) -> tuple[str, int]:
        """What the mouse would take: a limit, a rim of a window, a window, or an energy."""
        near = _NEAR * self.canvas.device_pixel_ratio
        if self.edge is not None:
            away = [abs(self._pixels(e) - event.x) for e in self.edge]
            if min(away) <= near:
                return "edge", int(np.argmin(away))
        rims = [(abs(self._pixels(e) - event.x), i, side)
                for i, span in enumerate(self.spans) for side, e in enumerate(span)]  # fmt: skip
        if rims and min(rims)[0] <= near:
            _, i, side = min(rims)
            return ("low", "high")[side], i
        for i, span in enumerate(self.spans):
            if min(span) <= event.xdata <= max(span):
                return "window", i
        if self.spans:
            middles = [abs((a + b) / 2 - event.xdata) for a, b in self.spans]
            return "new", int(np.argmin(middles))
        return "energy", 0

    def _on_press(self, event: Any) -> None:
        if event.button != 1 or event.inaxes is not self.axes:
            return
        what, i = self._what(event)
        span = self.spans[i] if what not in ("edge", "energy") else (0.0, 0.0)
        self._taken = (what, i, float(event.xdata), span)
        if what == "energy":
            self.pointed.emit(float(event.xdata))

    def _on_move(self, event: Any) -> None:
        if event.inaxes is not self.axes or event.xdata is None:
            return
        if self._taken is None:
            rims = self._what(event)[0] in ("edge", "low", "high")
            shape = Qt.CursorShape.SplitHCursor if rims else Qt.CursorShape.ArrowCursor
            if self.canvas.cursor().shape() != shape:
                self.canvas.setCursor(shape)
            return
        what, i, start, (low, high) = self._taken
        at = float(event.xdata)
        if what == "energy":
            self.pointed.emit(at)
        elif what == "edge" and self.edge is not None:
            limits = [*self.edge]
            limits[i] = min(at, limits[1]) if i == 0 else max(at, limits[0])
            self.edge_moved.emit(*limits)
        elif what == "new":
            self.window_moved.emit(i, min(start, at), max(start, at))
        elif what == "window":
            self.window_moved.emit(i, low + at - start, high + at - start)
        elif what == "low":
            self.window_moved.emit(i, min(at, high), max(at, high))
        elif what == "high":
            self.window_moved.emit(i, min(low, at), max(low, at))

    def _on_release(self, _event: Any) -> None:
        self._taken = None
