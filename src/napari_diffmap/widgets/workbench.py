"""What the docks of one window share: the desk, its threads, the running map."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

from napari_diffmap.viewer import keys
from napari_diffmap.viewer.beside import BesideLayers
from napari_diffmap.viewer.calibrating import Calibrating
from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.defects_gallery import Gallery
from napari_diffmap.viewer.defects_keys import own_bindings, take_keys
from napari_diffmap.viewer.defects_layers import DefectLayers
from napari_diffmap.viewer.defects_mouse import take_defects
from napari_diffmap.viewer.desk import Desk, desk_of
from napari_diffmap.viewer.doubting import Doubting
from napari_diffmap.viewer.engines import Engines
from napari_diffmap.viewer.following import Following
from napari_diffmap.viewer.grain_layers import GrainLayers
from napari_diffmap.viewer.grain_study import GrainStudy
from napari_diffmap.viewer.label_layers import LabelLayers
from napari_diffmap.viewer.labelling import Labelling
from napari_diffmap.viewer.map_layers import MapLayers
from napari_diffmap.viewer.peak_layers import PeakLayers
from napari_diffmap.viewer.session import unwrap
from napari_diffmap.viewer.shown_map import ShownMap
from napari_diffmap.viewer.spectral_layers import SpectralLayers
from napari_diffmap.widgets.bridge import LatestRunner, report, report_error
from napari_diffmap.widgets.convert_run import ConvertRun
from napari_diffmap.widgets.defects_run import DefectsRunner
from napari_diffmap.widgets.keeping import SessionKeeper
from napari_diffmap.widgets.map_run import MapRun
from napari_diffmap.widgets.opening import Opening
from napari_diffmap.widgets.peak_run import PeakRun
from napari_diffmap.widgets.spectral_run import SpectralRun
from napari_diffmap.widgets.spots import SpotOverlay
from napari_diffmap.widgets.train_run import TrainRun

if TYPE_CHECKING:
    from qtpy.QtWidgets import QMainWindow

_BENCHES: dict[int, Workbench] = {}
#: Python hands over between threads so often (s): while a job calculates, the window waits
#: so long for each of its turns, and 5 ms otherwise.
_SWITCH = 0.001


class Workbench:
    """Controllers behind the docks of one viewer; knows no widget.

    Parameters
    ----------
    viewer
        The real viewer, not its proxy.
    """

    def __init__(self, viewer: Any) -> None:
        self.runner = LatestRunner()
        self.desk: Desk = desk_of(viewer, self.runner)
        self.session = self.desk.session
        self.spectral = self.desk.spectral
        self.spectral_run = SpectralRun(self.spectral, self._opened_with)
        self.maps = MapLayers(self.session, viewer, self.runner)
        self.spectral_layers = SpectralLayers(self.session, viewer, self.runner)
        self.shown_map = ShownMap(self.session, self.maps, self.spectral_layers)
        self.beside = BesideLayers(self.session, viewer)
        self.run = MapRun(self.session, self.maps)
        self.engines = Engines(self.session, self.runner)
        self.training = TrainRun(self.engines)
        self.calibrating = Calibrating(self.session, self.runner)
        self.opening = Opening(self.desk)
        self.following = Following(self.session, self.runner)
        self.converting = ConvertRun(self.session)
        self.spots = SpotOverlay(
            self.session, self.desk.pattern, self.runner, lambda: self.run.method
        )
        self.peaks = PeakRun(self.session, PeakLayers(self.session, viewer), self.spots)
        self.doubting = Doubting(
            self.desk, self.shown_map, self.runner, viewer, lambda: self.run.method
        )
        self.defects = Defects(self.session)
        self.defect_layers = DefectLayers(self.defects, viewer)
        self.defects_gallery = Gallery(self.defects, self.runner)
        self.defects_run = DefectsRunner(self.defects, self.runner, self._opened_with)
        self.defects_run.probability.drawn.connect(self.defect_layers.show_probability)
        take_defects(self.defects, self.defect_layers, viewer)
        self.doubting.elsewhere = take_keys(self.defects)
        keys.bind_on_active(viewer, own_bindings(self.defects))
        correcting = self.doubting.correcting
        self.label_layers = LabelLayers(
            self.session, viewer, undo=correcting.undo, redo=correcting.redo
        )
        self.labelling = Labelling(self.session, self.label_layers, self.runner)
        self.grain_study = GrainStudy(self.session, self.runner)
        self.grain_layers = GrainLayers(self.grain_study, viewer, self.runner, self.maps)
        self.keeper = SessionKeeper(
            self.session,
            self.shown_map,
            self.opening,
            self.runner,
            viewer,
            lambda: self.run.method,
            lambda options: self.spectral_run.recipe(options),
        )
        self.docks: dict[str, Any] = {}
        self._key = id(viewer)
        sys.setswitchinterval(_SWITCH)
        self.session.message.connect(report)
        self.engines.failed.connect(report_error)
        self.session.phases_changed.connect(self._warm_up)
        self._watch_close(viewer)

    def _opened_with(self) -> dict[str, Any]:
        """Options that the scan on the desk was opened with."""
        last = self.opening.last
        return {} if last is None else dict(last.options)

    def _warm_up(self, *_: object) -> None:
        """Who has chosen phases will map: import what takes seconds before that."""

        def work(_token: object) -> None:
            import napari_diffmap.jobs.orient
            import napari_diffmap.methods.orientation  # noqa: F401

        self.runner.latest("matcher", work, lambda _: None)

    def _watch_close(self, viewer: Any) -> None:
        """End threads with the window."""
        native = main_window(viewer)
        if native is not None:
            native.destroyed.connect(self.close)

    def close(self, *_: Any) -> None:
        """Stop everything that runs and forget the viewer."""
        if _BENCHES.pop(self._key, None) is None:
            return
        gc.unfreeze()  # what the window held may go now
        self.run.stop()
        self.spectral_run.stop()
        self.defects_run.stop()
        self.defects_run.end_log()
        self.peaks.stop()
        self.calibrating.stop()
        self.following.stop()
        self.converting.stop()
        self.training.stop()
        self.keeper.close()
        self.runner.close()
        self.session.message.disconnect(report)
        self.docks.clear()


def main_window(viewer: Any) -> QMainWindow | None:
    """The Qt main window of a viewer; None for a bare model."""
    from qtpy.QtWidgets import QApplication, QMainWindow

    window = getattr(unwrap(viewer), "window", None)
    if window is None:
        return None
    menu: Any = getattr(window, "file_menu", None)
    owner = menu.parent() if menu is not None else None
    while owner is not None and not isinstance(owner, QMainWindow):
        owner = owner.parent()
    if owner is None:
        tops = [w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow)]
        owner = tops[0] if len(tops) == 1 else None
    return owner


def workbench_of(viewer: Any) -> Workbench:
    """The workbench of a viewer or its plugin proxy, made at first asking."""
    real = unwrap(viewer)
    bench = _BENCHES.get(id(real))
    if bench is None:
        bench = Workbench(real)
        _BENCHES[id(real)] = bench
    return bench
