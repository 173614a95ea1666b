"""Everything one window needs, wired together: session, sample and pattern layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_diffmap.errors import (
    BadInputError,
    CalibrationError,
    CancelledError,
    DiffmapError,
)
from napari_diffmap.scan.center import find_direct_beam, mean_pattern
from napari_diffmap.scan.detectors import (
    Annulus,
    Detector,
    Disk,
    Point,
    Rectangle,
    preset_detectors,
)
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.defects_frames import FrameSlider
from napari_diffmap.viewer.detector_layer import DetectorLayer
from napari_diffmap.viewer.keys import CANCEL_KEY, NUDGE_KEYS, bind_position_keys
from napari_diffmap.viewer.pattern_layers import PatternLayers
from napari_diffmap.viewer.runner import ImmediateRunner, Runner, Token
from napari_diffmap.viewer.sample_layers import SampleLayers
from napari_diffmap.viewer.sample_mouse import follow_mouse
from napari_diffmap.viewer.session import Session, per_viewer
from napari_diffmap.viewer.spectral import Spectral
from napari_diffmap.viewer.stack_layers import StackLayers
from napari_diffmap.viewer.views import sure_center
from napari_diffmap.viewer.virtual import VirtualImages

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


class Desk:
    """Session, virtual images and the layers of both canvases of one viewer.

    Parameters
    ----------
    viewer
        The main viewer (the sample).
    runner
        Runs slow work beside the window; at once when absent.

    Signals
    -------
    beam_found()
        The direct beam was measured and the first detector placed.
    """

    beam_found = Signal()

    def __init__(self, viewer: ViewerModel, runner: Runner | None = None) -> None:
        self.runner: Runner = runner if runner is not None else ImmediateRunner()
        self.session = Session()
        # Before the layers: they show what it says of a new stack.
        self.spectral = Spectral(self.session, self.runner)
        self.virtual = VirtualImages(self.session, self.runner)
        self.sample = SampleLayers(self.session, viewer, self.virtual, self.runner)
        self.sample.picture = self.spectral.picture
        self.spectral.picture_changed.connect(self._on_picture)
        self.stack_layers = StackLayers(self.spectral, viewer)
        self.frames = FrameSlider(self.session, viewer)
        self.sample.image_shown.connect(self.frames.show)
        self.pattern = PatternLayers(self.session, self.runner)
        self.detectors = DetectorLayer(self.session, self.pattern.model)
        follow_mouse(self.session, viewer)
        bind_position_keys(self.session, viewer)
        bind_position_keys(self.session, self.pattern.model)
        self._bind_detector_keys()

    def _on_picture(self, rescaled: bool) -> None:
        self.sample.reload_stack(rescaled=rescaled)

    def _bind_detector_keys(self) -> None:
        for key, step in NUDGE_KEYS.items():
            self.pattern.model.bind_key(key, self._nudge(*step), overwrite=True)
        self.pattern.model.bind_key(CANCEL_KEY, self._stop_drawing, overwrite=True)
        self.pattern.others.append(self.detectors.make)
        # A new scan empties the canvas; the detectors come back with its pattern.
        self.pattern.emptied.connect(self.detectors.end)
        self.pattern.loaded.connect(self.detectors.begin)

    def _nudge(self, dy: int, dx: int) -> Any:
        def nudge(_viewer: Any) -> None:
            self.detectors.nudge(dy, dx)

        nudge.__doc__ = f"Move the selected detector by {dy} rows and {dx} columns"
        return nudge

    def _stop_drawing(self, _viewer: Any) -> None:
        """Drop a detector that is being drawn"""
        self.detectors.stop_drawing()

    # ------------------------------------------------------------- opening
    def prepare(self) -> None:
        """Make the layers of the pattern canvas before the user waits for them."""
        self.runner.one_by_one(self.pattern.prepare())

    def show_scan(self, scan: Scan, adopt: Image | None = None) -> None:
        """Look at a scan: pattern, direct beam, bright-field image.

        Parameters
        ----------
        scan
            Any scan.
        adopt
            A layer that a reader put into the main viewer for this scan.
        """
        self.sample.adopt(adopt)
        self.session.set_scan(scan)
        for line in scan.warnings:
            self.session.message.emit(line)
        if self.session.patterns is not None:
            self.find_beam(first=True)

    def find_beam(self, *, first: bool = False) -> None:
        """Measure the direct beam on the mean pattern, beside the window.

        Parameters
        ----------
        first
            The scan was just opened: place the first detector, and keep a
            centre that the file gave.
        """
        patterns = self.session.patterns
        if patterns is None:
            return

        def work(token: Token) -> tuple[float, float, float] | str:
            del token
            try:
                return find_direct_beam(mean_pattern(patterns))
            except CalibrationError as error:
                return str(error)

        def done(found: tuple[float, float, float] | str) -> None:
            if self.session.patterns is patterns or not first:
                self._use_beam(found, first=first)

        self.runner.latest("beam", work, done, failed=self._failed)

    def _use_beam(self, found: tuple[float, float, float] | str, *, first: bool) -> None:
        session = self.session
        if isinstance(found, str):
            session.message.emit(found)
        else:
            session.beam_radius = found[2]
            self._compare(found, first)
            if session.calibration.center is None or not first:
                session.set_calibration(session.calibration.with_center(found[:2], "measured"))
        if first and not session.detectors:
            self._add_first()
        self.beam_found.emit()

    def _compare(self, found: tuple[float, float, float], first: bool) -> None:
        """Tell when a file's centre is not where the beam is."""
        center = self.session.calibration.center
        if not first or center is None:
            return
        off = math.hypot(found[0] - center[0], found[1] - center[1])
        if off > max(2.0, found[2]):
            self.session.message.emit(
                f"the direct beam is measured {off:.1f} pixels from the file's centre:"
                " press Find beam in the Calibrate dock to use it"
            )

    def _failed(self, error: Exception) -> None:
        if isinstance(error, CancelledError):
            return
        if not isinstance(error, DiffmapError | MemoryError | OSError | ValueError | KeyError):
            raise error
        self.session.message.emit(f"direct beam: {error}")

    # ----------------------------------------------------------- detectors
    def presets(self) -> dict[str, Detector]:
        """BF, ADF and HAADF around the direct beam; around the middle while it is unknown.

        Empty for a detector of a few pixels, which has no room for rings.
        """
        patterns = self.session.patterns
        if patterns is None:
            return {}
        ky, kx = patterns.shape[2:]
        center = sure_center(self.session.calibration, (ky, kx))
        radius = self.session.beam_radius or min(ky, kx) / 16
        try:
            return {d.name: d for d in preset_detectors((ky, kx), center, radius)}
        except BadInputError:
            return {}

    def add_preset(self, name: str) -> None:
        """Add one of `presets`."""
        detector = self.presets().get(name)
        if detector is not None:
            self.session.add_detectors([detector])
        elif self.session.patterns is not None:
            self.session.message.emit(
                f"the beam leaves no room for {name} on this detector: add a shape by hand"
            )

    def _add_first(self) -> None:
        """Bright field, or the sum of all counts where there is no room for it."""
        patterns = self.session.patterns
        first = self.presets().get("BF")
        if first is None and patterns is not None:
            ky, kx = patterns.shape[2:]
            first = Detector("sum", Rectangle(0, 0, ky - 1, kx - 1))
        if first is not None:
            self.session.add_detectors([first])

    def add_shape(self, tool: str) -> None:
        """Add a detector to drag: ``disk``, ``annulus``, ``rectangle``, ``point``;
        ``polygon`` is drawn by its corners.
        """
        from napari_diffmap.viewer.detector_layer import next_color

        patterns = self.session.patterns
        if patterns is None:
            return
        if tool == "polygon":
            self.detectors.start_drawing("polygon")
            return
        ky, kx = patterns.shape[2:]
        cy, cx = sure_center(self.session.calibration, (ky, kx))
        r = min(ky, kx) / 8
        shapes = {
            "disk": Disk(cy, cx, r),
            "annulus": Annulus(cy, cx, r, 2 * r),
            "rectangle": Rectangle(cy - r, cx - r, cy + r, cx + r),
            "point": Point(round(cy), round(cx)),
        }
        self.session.add_detectors([Detector(tool, shapes[tool], color=next_color(self.session))])


def desk_of(viewer: Any, runner: Runner | None = None) -> Desk:
    """The desk of a viewer, made at first asking.

    Parameters
    ----------
    viewer
        A napari viewer, its plugin proxy or a `ViewerModel`.
    runner
        Used when the desk is made.
    """
    desk: Desk = per_viewer(viewer, lambda real: Desk(real, runner))
    return desk
