"""Alignment of the frames of a stack: shifts, a look at them, apply and remove."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.viewer.incidence import Incidence
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session

Preview = Literal["off", "before", "after", "flicker", "difference"]
#: What the sample shows while shifts are looked at.
PREVIEWS: dict[Preview, str] = {
    "off": "as it is",
    "before": "before",
    "after": "after",
    "flicker": "before and after in turn",
    "difference": "after − before",
}
SLOT = "align"


@dataclass(frozen=True, eq=False)
class Shifts:
    """Shifts of the frames and the frames shifted by them.

    Attributes
    ----------
    shifts
        ``(E, 2)`` rows and columns, pixels.
    stack
        ``(E, Y, X)`` float32; NaN where nothing was measured.
    """

    shifts: NDArray[np.float64]
    stack: NDArray[np.float32]


class Aligning:
    """Finds how the frames of the stack on the desk lie, and lays them on each other.

    Signals
    -------
    changed()
        Shifts are sought, found, refused, applied or removed.
    applied_changed()
        Other frames than before stand for the stack.
    preview_changed()
        The sample shows another picture of it.
    """

    changed = Signal()
    applied_changed = Signal()
    preview_changed = Signal()

    def __init__(self, session: Session, runner: Runner, incidence: Incidence) -> None:
        self.session = session
        self.runner = runner
        self.incidence = incidence
        self._forget()

    def _forget(self) -> None:
        self.found: Shifts | None = None
        self.applied = False
        self.preview: Preview = "off"
        self.problem = ""
        self.busy = False
        self._second = False

    def reset(self) -> None:
        """Another scan."""
        self.runner.cancel(SLOT)
        self._forget()
        self.changed.emit()

    def find(self) -> None:
        """Find the shifts of the measured frames, beside the window."""
        data = self.session.stack_data
        if data is None or self.busy:
            return
        density = self.incidence.incident.already_density
        self.busy, self.problem = True, ""
        self.changed.emit()

        def work(token: Token) -> Shifts:
            del token
            from napari_diffmap.methods.spectra.align import aligned, find_shifts

            stack = data.measured()
            shifts = np.asarray(find_shifts(stack, density=density), dtype=np.float64)
            return Shifts(shifts, np.asarray(aligned(stack, shifts), dtype=np.float32))

        def done(found: Shifts) -> None:
            self.busy, self.found = False, found
            self.changed.emit()
            self.show("difference")

        def failed(error: Exception) -> None:
            if not isinstance(error, DiffmapError | MemoryError | OSError | ValueError):
                raise error
            self.busy, self.problem = False, " ".join(str(error).split())
            self.changed.emit()

        self.runner.latest(SLOT, work, done, failed=failed)

    def apply(self) -> None:
        """Let the shifted frames stand for the stack.

        Raises
        ------
        BadInputError
            If no shifts were found.
        """
        if self.found is None:
            raise BadInputError("find the shifts first")
        self._use(self.found.stack, True)

    def remove(self) -> None:
        """Go back to the frames as they were measured."""
        self._use(None, False)

    def _use(self, stack: NDArray[np.float32] | None, on: bool) -> None:
        data = self.session.stack_data
        if data is None:
            return
        data.show_shifted(stack)
        self.applied, self.preview = on, "off"
        self.changed.emit()
        self.applied_changed.emit()

    # --------------------------------------------------------------- looking
    def show(self, preview: Preview) -> None:
        """Let the sample show the frames before, after, in turn, or their difference."""
        if self.found is None:
            preview = "off"
        if preview != self.preview:
            self.preview, self._second = preview, False
            self.changed.emit()
            self.preview_changed.emit()

    def flick(self) -> None:
        """The other picture of the two that are shown in turn."""
        if self.preview == "flicker":
            self._second = not self._second
            self.preview_changed.emit()

    @property
    def _shows(self) -> Preview:
        if self.preview == "flicker":
            return "after" if self._second else "before"
        return self.preview

    def words(self, plane: int | None) -> str:
        """What the sample shows of the alignment at an energy, in words."""
        if self.found is None:
            return ""
        y, x = self.found.shifts[self._looked_at(plane)]
        what = {
            "before": "counts before alignment",
            "after": "counts after alignment",
            "difference": "counts after − before alignment",
        }.get(self._shows, "")
        return f"{what}; this frame moves by {y:.2f} px in y, {x:.2f} px in x"

    def _looked_at(self, plane: int | None) -> int:
        """The frame of an energy; at the mean of all the one that moves most."""
        assert self.found is not None
        away = np.hypot(*self.found.shifts.T)
        return int(np.argmax(away)) if plane is None else plane

    def picture(self, plane: int | None) -> Callable[[], NDArray[np.float32]] | None:
        """What makes the picture ``(Y, X)`` of an energy; None while nothing is looked at.

        Parameters
        ----------
        plane
            Which energy; None: the one that is shifted most.
        """
        found, data, shows = self.found, self.session.stack_data, self._shows
        if found is None or data is None or shows == "off":
            return None
        plane = self._looked_at(plane)

        def make() -> NDArray[np.float32]:
            after = found.stack[plane]
            if shows == "after":
                return np.array(after)
            before = data.measured()[plane].astype(np.float32)
            return before if shows == "before" else np.asarray(after - before)

        return make

    def line(self) -> str:
        """State in one line."""
        if self.problem:
            return f"⚠ {self.problem}"
        if self.busy:
            return "Looking for the shifts …"
        if self.found is None:
            return "Press Find: frames are laid on each other to fractions of a pixel"
        state = "applied" if self.applied else "not applied"
        rows, columns = np.ptp(self.found.shifts, axis=0)
        return f"{rows:.2f} px in y, {columns:.2f} px in x, {state}"
