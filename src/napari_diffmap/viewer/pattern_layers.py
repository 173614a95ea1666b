"""The second canvas: the pattern, its detectors, spots and the direct beam."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import CancelledError, DiffmapError
from napari_diffmap.scan.detectors import mean_pattern_in
from napari_diffmap.viewer.display import Stretch, contrast_limits
from napari_diffmap.viewer.pattern_source import PatternSource
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.spot_layers import SpotLayers, points
from napari_diffmap.viewer.views import (
    detector_grid,
    geometry,
    place_layer,
    sample_grid,
    show_layer,
)

if TYPE_CHECKING:
    from napari.layers import Image, Layer, Points

BEAM_COLOR = "#F0E442"
#: Patterns looked at for black and white levels.
_LEVEL_SAMPLES = 9
#: Screen pixels of a scale bar, and of the longest that is taken to have whole units.
_BAR, _LONG_BAR = 150.0, 320.0


#: The window waits so long for a pattern: most come sooner, and are then drawn at once.
_PATIENCE = 0.02


class PatternLayers:
    """Layers of the pattern canvas, fed by a session.

    Parameters
    ----------
    session
        What is looked at.
    runner
        Loads patterns beside the window.
    model
        The viewer model of the second canvas; one is made when absent.
    """

    #: Another scan came: nothing is shown any more; and its pattern is there.
    emptied = Signal()
    loaded = Signal()

    def __init__(self, session: Session, runner: Runner, model: ViewerModel | None = None) -> None:
        self.session = session
        self.runner = runner
        self.model = model if model is not None else ViewerModel()
        self.source: PatternSource | None = None
        self.stretch = Stretch()
        self.shown: tuple[int, int] | None = None
        self.pattern: Image | None = None
        self.mean: Image | None = None
        self.spots = SpotLayers()
        self.beam: Points | None = None
        #: Makers of the canvas's other layers.
        self.others: list[Callable[[], None]] = []
        self._mean_counts: NDArray[np.float64] | None = None
        self._fitted_zoom = 0.0
        self.model.canvas.overlays.scale_bar.visible = True
        self.model.scene.camera.events.zoom.connect(self._fit_scale_bar)
        session.scan_changed.connect(self._on_scan)
        session.grown.connect(self._on_grown)
        session.position_changed.connect(self._on_position)
        session.region_changed.connect(self._on_region)
        session.plane_changed.connect(self._on_plane)
        session.calibration_changed.connect(self.place)

    # ------------------------------------------------------------- loading
    @property
    def ready(self) -> bool:
        """Whether the pattern layer shows the scan, and not nothing."""
        source = self.source
        return source is not None and self.pattern is not None and self.pattern.data is source

    def prepare(self) -> list[Callable[[], None]]:
        """Steps that make the layers that are not there yet, hidden or empty.

        The layers stay for every scan to come: making one costs napari far more
        than giving it new data.
        """
        pictures = (self._make_pattern, self._make_mean)
        return [*pictures, *self.spots.prepare(self.model), self._make_beam, *self.others]

    def _make_pattern(self) -> None:
        if self.pattern is not None:
            return
        self.pattern = self.model.add_image(
            np.zeros((1, 1, 2, 2), dtype=np.float32),
            name="pattern",
            contrast_limits=(0, 1),
            colormap="gray",
            visible=False,
            cache=False,
            rgb=False,
        )

    def _make_mean(self) -> None:
        if self.mean is not None:
            return
        self.mean = self.model.add_image(
            np.zeros((2, 2), dtype=np.float32),
            name="mean of region",
            contrast_limits=(0, 1),
            colormap="gray",
            visible=False,
        )

    def _make_beam(self) -> None:
        if self.beam is not None:
            return
        self.beam = points(self.model, "direct beam", "cross", BEAM_COLOR, (7, 12))

    def _on_scan(self) -> None:
        self._blank()
        patterns = self.session.patterns
        if patterns is None:
            return
        source = PatternSource(patterns, self.session.message.emit)
        source.stretch = self.stretch
        self.source = source
        y, x = self.session.position

        def work(token: Token) -> NDArray[Any]:
            del token
            source.frame(y, x)
            return _sample(source)

        def done(sample: NDArray[Any]) -> None:
            source.set_levels(sample)
            self._in_turns(source, [*self.prepare(), partial(self._fill, source)])

        self.runner.latest("pattern", work, done, failed=self._failed)

    def _in_turns(self, source: PatternSource, steps: list[Callable[[], None]]) -> None:
        """Take steps one by one, unless another scan comes between them."""

        def unless_gone(step: Callable[[], None]) -> None:
            if self.source is source:
                step()

        self.runner.one_by_one([partial(unless_gone, step) for step in steps])

    def _blank(self) -> None:
        """Show nothing, and let go of the last scan."""
        self.source = self.shown = self._mean_counts = None
        self.spots.set(None, None)
        if self.beam is not None and len(self.beam.data):
            self.beam.data = np.zeros((0, 2))
        for layer in (self.pattern, self.mean):
            if layer is not None:
                show_layer(layer, False)
        if self.pattern is not None and self.session.patterns is None:
            self.pattern.data = np.zeros((1, 1, 2, 2), dtype=np.float32)
        self.emptied.emit()

    def _fill(self, source: PatternSource) -> None:
        """Give the layers the data of a scan."""
        assert self.pattern is not None
        assert self.mean is not None
        self.pattern.data = source
        self.mean.data = np.zeros(source.shape[2:], dtype=np.float32)
        self.set_stretch(self.stretch)
        size = max(source.shape[2:]) / 128
        self.spots.fit(size)
        assert self.beam is not None
        self.beam.current_size = 3 * size
        self._in_turns(source, [*self._placing(), self._all_there])

    def _all_there(self) -> None:
        if self.model.layers.selection.active != self.pattern:
            self.model.layers.selection.active = self.pattern
        self.loaded.emit()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, CancelledError):
            return
        if not isinstance(error, DiffmapError | MemoryError | OSError | ValueError | KeyError):
            raise error
        self.session.message.emit(f"pattern: {error}")

    # ------------------------------------------------------------ geometry
    def place(self) -> None:
        """Put every layer where the calibration says."""
        for step in self._placing():
            step()

    def _placing(self) -> list[Callable[[], None]]:
        """Steps of `place`: units of all at once, at whose disagreement napari warns; the rest."""
        if self.session.patterns is None or not self.ready:
            return []

        def units() -> None:
            for layer in self.model.layers:
                place_layer(layer, {"units": self._where(layer)["units"]})

        def rest(layer: Layer) -> None:
            # Asked for in its own turn: the calibration may have changed since.
            if self.ready:
                place_layer(layer, self._where(layer))

        each = [partial(rest, layer) for layer in self.model.layers]
        return [units, *each, self._placed]

    def _where(self, layer: Layer) -> dict[str, Any]:
        """Where a layer of the canvas lies with the calibration as it is now."""
        scan, patterns = self.session.scan, self.session.patterns
        assert scan is not None
        assert patterns is not None
        detector = detector_grid(patterns)
        return geometry((*sample_grid(scan), *detector) if layer == self.pattern else detector)

    def _placed(self) -> None:
        patterns = self.session.patterns
        if patterns is None or not self.ready:
            return
        center = patterns.calibration.center
        if self.beam is not None:
            self.beam.data = np.zeros((0, 2)) if center is None else np.array([center])
        self._point(*(self.shown or self.session.position))
        self.fit()

    def fit(self) -> None:
        """Show the whole pattern, with room for the names of detectors at its edge."""
        self.model.reset_view(margin=0.1)
        self._fitted_zoom = self.model.scene.camera.zoom
        self._fit_scale_bar()

    def _fit_scale_bar(self, _event: object = None) -> None:
        """A bar of 1, 2, 5 … 1/Å where one fits: napari calls 0.5 1/Å 500 1/kÅ."""
        pixels = self.model.scene.camera.zoom
        scan = self.session.patterns
        length = None
        if scan is not None and scan.axes[-1].unit == "1/Å":
            length = whole_bar(pixels)
        self.model.canvas.overlays.scale_bar.length = length

    def refit(self) -> None:
        """Fit again after the canvas changed its size, unless the user zoomed since."""
        if self.ready and self.model.scene.camera.zoom == self._fitted_zoom:
            self.fit()

    def _on_grown(self, new: NDArray[np.bool_]) -> None:
        """Frames have come: the one looked at may be among them."""
        source, patterns = self.source, self.session.patterns
        if source is None or patterns is None:
            return
        source.grow(patterns, new)
        y, x = self.session.position
        if not new[y, x]:
            return

        def work(token: Token) -> None:
            del token
            source.frame(y, x)

        def done(_: object) -> None:
            if self.source is source and self.ready and self.pattern is not None:
                self.pattern.refresh()

        self.runner.latest("pattern", work, done, failed=self._failed)

    # ------------------------------------------------------------ position
    def _on_position(self, y: int, x: int) -> None:
        source = self.source
        if source is None or not self.ready:
            return
        if source.loaded(y, x):
            self._point(y, x)
            return

        def work(token: Token) -> None:
            del token
            source.frame(y, x)

        def done(_: object) -> None:
            if self.source is source:
                self._point(y, x)

        self.runner.latest("pattern", work, done, failed=self._failed, patience=_PATIENCE)

    def _read_ahead(self, source: PatternSource, before: tuple[int, int]) -> None:
        """Read what comes next while the mouse moves on."""
        places = source.ahead(before, self.shown or before)
        if not places:
            return

        def work(token: Token) -> None:
            for place in places:
                if token.overtaken() or token.cancelled():
                    return
                source.frame(*place)

        # What cannot be read is said when it is asked for.
        self.runner.latest("ahead", work, lambda _: None, failed=lambda _error: None)

    def _point(self, y: int, x: int) -> None:
        """Show one position; its pattern is in memory already."""
        if self.pattern is None or self.mean is None or not self.ready:
            return
        before, self.shown = self.shown, (y, x)
        if before is not None and self.source is not None:
            self._read_ahead(self.source, before)
        if self.session.region is None:
            show_layer(self.mean, False)
            show_layer(self.pattern, True)
        scale, offset = self.pattern.scale, self.pattern.translate
        axes = (0, 1)
        if self.model.dims.ndim >= 4:
            self.model.dims.set_point(axes, [offset[i] + (y, x)[i] * scale[i] for i in axes])

    def _on_plane(self) -> None:
        if self.session.patterns is None or self.source is None:
            return
        self._on_scan()

    def _on_region(self, mask: NDArray[np.bool_] | None) -> None:
        patterns, reader = self.session.patterns, self.session.reader
        if patterns is None or not self.ready:
            return
        if mask is None:
            self.runner.cancel("region")
            self._point(*self.session.position)
            return

        def work(token: Token) -> NDArray[np.float64]:
            return mean_pattern_in(patterns, mask, reader=reader, cancelled=token.cancelled)

        def done(counts: NDArray[np.float64]) -> None:
            if self.session.region is mask:
                self._show_mean(counts)

        self.runner.latest("region", work, done, failed=self._failed)

    def _show_mean(self, counts: NDArray[np.float64]) -> None:
        if self.mean is None or self.pattern is None or not self.ready:
            return
        self._mean_counts = counts
        self._draw_mean()
        show_layer(self.mean, True)
        show_layer(self.pattern, False)

    def _draw_mean(self) -> None:
        source = self.source
        if self.mean is None or source is None or self._mean_counts is None:
            return
        counts = self._mean_counts.astype(np.float32)
        # A mean has its own levels: single patterns are noisier and brighter.
        low, top = _levels(counts)
        self.mean.data = source.stretch.apply(counts, top)
        self.mean.contrast_limits = source.stretch.limits(low, top)
        self.mean.gamma = source.stretch.layer_gamma

    # ------------------------------------------------------------- display
    def set_stretch(self, stretch: Stretch) -> None:
        """Show intensities linear, with a gamma, or logarithmic."""
        self.stretch = stretch
        source = self.source
        if source is None:
            return
        source.stretch = stretch
        if self.pattern is not None and self.ready:
            self.pattern.contrast_limits_range = source.limits
            self.pattern.contrast_limits = source.limits
            self.pattern.gamma = stretch.layer_gamma
            self.pattern.refresh()
        self._draw_mean()

    def counts(self) -> NDArray[Any] | None:
        """What the canvas shows now, in counts: a pattern or the mean of a region."""
        if self.session.region is not None and self._mean_counts is not None:
            return self._mean_counts
        if self.source is None or self.shown is None:
            return None
        return self.source.frame(*self.shown)


@lru_cache(maxsize=32)
def whole_bar(pixels: float) -> float | None:
    """Length of a scale bar in whole units, of `pixels` screen pixels each; None when 1 is long."""
    if pixels > _LONG_BAR:
        return None
    tens = 10.0 ** np.arange(0, 7)
    lengths = np.sort(np.outer((1, 2, 5), tens).ravel())
    fitting = lengths[lengths * pixels <= _BAR]
    return float(fitting[-1]) if fitting.size else 1.0


def _sample(source: PatternSource) -> NDArray[Any]:
    """Some patterns spread over the scan, for black and white levels."""
    rows, columns = source.shape[:2]
    picks = np.unique(np.linspace(0, rows * columns - 1, _LEVEL_SAMPLES).astype(int))
    return np.stack([source.frame(*divmod(int(i), columns)) for i in picks])


def _levels(counts: NDArray[np.float32]) -> tuple[float, float]:
    return contrast_limits(counts, 1.0, 99.9)
