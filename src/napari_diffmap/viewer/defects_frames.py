"""The frame of an image series that is looked at: napari's slider and the session agree on it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from napari_diffmap.viewer import keys
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari.components import ViewerModel


class FrameSlider:
    """Keeps the first axis of the main canvas and the plane of the session the same.

    Parameters
    ----------
    session, viewer
        What is looked at, and where.
    """

    def __init__(self, session: Session, viewer: ViewerModel) -> None:
        self.session = session
        self._viewer = ref(viewer)
        viewer.dims.events.current_step.connect(self._on_step)
        session.plane_changed.connect(self.show)
        viewer.bind_key(keys.NEXT_FRAME_KEY, self._stepper(1), overwrite=True)
        viewer.bind_key(keys.LAST_FRAME_KEY, self._stepper(-1), overwrite=True)

    @property
    def _frames(self) -> int:
        """How many frames there are; 0 for what is no image series."""
        scan = self.session.scan
        return scan.axes[0].size if scan is not None and scan.kind == "image series" else 0

    def show(self, *_: object) -> None:
        """Bring the slider to the frame of the session."""
        viewer, plane = self._viewer(), self.session.plane
        if viewer is None or plane is None or not self._frames or viewer.dims.ndim != 3:
            return
        if viewer.dims.current_step[0] != plane:
            viewer.dims.set_current_step(0, plane)

    def _on_step(self, *_: object) -> None:
        viewer = self._viewer()
        if viewer is None or viewer.dims.ndim != 3 or viewer.dims.nsteps[0] != self._frames:
            return
        self.session.set_plane(int(viewer.dims.current_step[0]))

    def _stepper(self, by: int) -> object:
        def step(_viewer: object) -> None:
            if self._frames:
                self.session.set_plane((self.session.plane or 0) + by)

        step.__doc__ = "Go to the next frame" if by > 0 else "Go to the frame before"
        return step
