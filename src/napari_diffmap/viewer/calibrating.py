"""Fitting the calibration beside the window: a proposal, its preview, apply, remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, CancelledError, DiffmapError
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.methods.calibration import CalibrationParameters, FittedCalibration

#: What each row of the form can fit, and the parts of a calibration it sets.
FITTED: dict[str, tuple[str, ...]] = {
    "center": ("center", "descan"),
    "pixel-size": ("pixel_size",),
    "ellipse": ("ellipse",),
    "rotation": ("rotation",),
}
#: Those that need a known phase.
NEED_PHASE = frozenset({"pixel-size", "ellipse"})
#: Rings drawn at most, and points on each.
_RINGS, _POINTS = 8, 97


@dataclass(frozen=True, eq=False)
class RingPreview:
    """Rings of the known phase on the detector.

    Attributes
    ----------
    picture
        ``(ky, kx)`` brightest value of every pixel over the sampled patterns.
    before, after
        Rings ``(n, 2)`` in detector pixels with the calibration as it is, and as
        proposed; none where the pixel size is unknown.
    """

    picture: NDArray[np.float32] | None
    before: tuple[NDArray[np.float64], ...]
    after: tuple[NDArray[np.float64], ...]


class Calibrating:
    """Fits parts of the calibration of a session's scan and holds the proposal.

    Parameters
    ----------
    session
        Whose calibration it is.
    runner
        Runs the fits beside the window.

    Signals
    -------
    changed()
        A fit started, went on, ended, was applied or dismissed.
    """

    changed = Signal()

    def __init__(self, session: Session, runner: Runner) -> None:
        self.session = session
        self.runner = runner
        self.running: tuple[str, ...] = ()
        self.doing = ""
        self.proposal: FittedCalibration | None = None
        self.phase: CrystalPhase | None = None
        self.opened = Calibration()
        self._round = 0
        self._scan: object = None
        session.scan_changed.connect(self._on_scan)
        self._on_scan()

    def _on_scan(self, *_: object) -> None:
        self._scan = self.session.patterns
        self.opened = self.session.calibration
        self.stop()
        self.dismiss()

    # -------------------------------------------------------------- fitting
    def fit(
        self,
        parts: Sequence[str],
        parameters: CalibrationParameters | None = None,
        phase: CrystalPhase | None = None,
    ) -> None:
        """Fit some of `FITTED` beside the window; the result becomes the proposal.

        Parameters
        ----------
        parts
            Keys of `FITTED`.
        parameters
            How.
        phase
            The known phase, for pixel size and ellipse.

        Raises
        ------
        BadInputError
            If there are no patterns, or a phase is needed.
        """
        scan = self.session.patterns
        if scan is None:
            raise BadInputError("open a scan with patterns first")
        if phase is None and NEED_PHASE & set(parts):
            raise BadInputError("add the known phase in the Map dock first, then choose it here")
        self.stop()
        self._round += 1
        turn = self._round
        self.running, self.doing = tuple(parts), "reading patterns"
        self.proposal, self.phase = None, phase

        def work(token: Token) -> FittedCalibration:
            from napari_diffmap.jobs.calibrate import calibrate_scan
            from napari_diffmap.jobs.control import JobControl, Progress

            control = JobControl()

            def tell(progress: Progress) -> None:
                token.report(progress.message)
                if token.cancelled():
                    control.stop()
                    control.check()

            return calibrate_scan(
                scan, parameters, parts, phase=phase, control=control, on_progress=tell
            )

        def done(found: FittedCalibration) -> None:
            if turn == self._round:
                self.running, self.doing, self.proposal = (), "", found
                self.changed.emit()

        def failed(error: Exception) -> None:
            if turn != self._round:
                return
            self.running, self.doing = (), ""
            self.changed.emit()
            self._failed(error)

        def partial(words: Any) -> None:
            if turn == self._round and words != self.doing:
                self.doing = str(words)
                self.changed.emit()

        self.changed.emit()
        self.runner.latest("calibrate", work, done, failed=failed, partial=partial)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, CancelledError):
            return
        if not isinstance(error, DiffmapError | MemoryError | OSError | ValueError | RuntimeError):
            raise error
        self.session.message.emit(f"calibration: {error}")

    def stop(self) -> None:
        """End a running fit; nothing is proposed."""
        if self.running:
            self._round += 1
            self.runner.cancel("calibrate")
            self.running, self.doing = (), ""
            self.changed.emit()

    # ------------------------------------------------------------- proposal
    @property
    def can_apply(self) -> bool:
        """Whether the proposal holds anything that may be used."""
        return self.proposal is not None and bool(self.proposal.usable)

    def lines(self) -> tuple[str, ...]:
        """The proposal in words: what was found, what it was, what is left or in the way."""
        if self.proposal is None:
            return ()
        return tuple(part.line for part in self.proposal.parts)

    def apply(self) -> None:
        """Give the scan what was proposed, each part with its residual."""
        found = self.proposal
        if found is None or self.session.patterns is None:
            return
        calibration = self.session.calibration
        for name in found.usable:
            for part in FITTED[name]:
                calibration = calibration.with_part(part, found.calibration)
        self.proposal = None
        self.session.set_calibration(calibration)
        self.changed.emit()

    def dismiss(self) -> None:
        """Forget the proposal."""
        if self.proposal is not None:
            self.proposal = None
            self.changed.emit()

    def remove(self, name: str) -> None:
        """Take a value out: back to what the file said, or to nothing where it is that.

        Parameters
        ----------
        name
            A key of `FITTED`, or ``voltage``.
        """
        calibration = self.session.calibration
        for part in FITTED.get(name, (name,)):
            filed = calibration.with_part(part, self.opened)
            theirs = self.opened.origin(part) == "file" and filed != calibration
            calibration = filed if theirs else calibration.without(part)
        self.session.set_calibration(calibration)

    # -------------------------------------------------------------- preview
    def preview(self) -> RingPreview | None:
        """Rings of the known phase before and after; None without a fit to it."""
        found, phase = self.proposal, self.phase
        fit = None if found is None else found.known_phase
        patterns = self.session.patterns
        if found is None or fit is None or phase is None or patterns is None:
            return None
        shape = patterns.shape[-2:]
        return RingPreview(
            found.picture,
            rings(phase, found.before.with_part("center", found.calibration), shape),
            rings(phase, fit.shown_in(found.calibration), shape),
        )


def rings(
    phase: CrystalPhase, calibration: Calibration, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], ...]:
    """The strongest rings of a phase on a detector, ``(n, 2)`` pixels each, innermost first.

    Parameters
    ----------
    phase
        The crystal.
    calibration
        Centre, pixel size and ellipse.
    shape
        Of the detector.
    """
    from napari_diffmap.methods.calibration.measure import shells_of

    if calibration.center is None or calibration.pixel_size is None:
        return ()
    y, x = calibration.center
    room = min(y, shape[-2] - 1 - y, x, shape[-1] - 1 - x)
    reach = max(room, 4.0) * calibration.pixel_size
    try:
        shells = shells_of(phase, reach).merged()
    except DiffmapError:
        return ()
    strongest = np.sort(np.argsort(-shells.weight)[:_RINGS])
    angle = np.linspace(0, 2 * np.pi, _POINTS)
    circle = np.stack((np.sin(angle), np.cos(angle)), axis=1)
    back = np.linalg.inv(calibration.undistortion).T
    return tuple(
        circle * (length / calibration.pixel_size) @ back + calibration.center
        for length in shells.lengths[strongest]
    )
