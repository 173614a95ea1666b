"""All fits of a calibration in their order, each with what it found, was, and left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.methods.calibration.measure import (
    SampledPatterns,
    find_spots,
    listed_spots,
    sample,
    shells_of,
)
from napari_diffmap.methods.calibration.parameters import PARTS, CalibrationParameters
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.center import find_direct_beam, mean_pattern
from napari_diffmap.scan.known_phase import KnownPhaseFit, fit_known_phase
from napari_diffmap.scan.rotation import RotationFit, deflection, fit_rotation

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.methods.method import Report
    from napari_diffmap.scan.descan import DescanFit
    from napari_diffmap.scan.scan import Scan

#: A centre is moved onto the spots' own when it is off by more than this and that is sure.
_MOVED, _SURE = 0.15, 0.5
#: A pixel size that was fitted before is looked for within this factor.
_REFIT = 1.1
#: Shells are made to reach so far beyond what the search needs.
_ROOM = 1.03


@dataclass(frozen=True)
class PartFit:
    """One fitted value, in words.

    Attributes
    ----------
    part
        One of `parameters.PARTS`.
    value
        What was found; empty when nothing was.
    stated
        What it was before.
    residual
        What the fit left.
    problem
        Why it must not be used; empty when it may.
    """

    part: str
    value: str = ""
    stated: str = ""
    residual: str = ""
    problem: str = ""

    @property
    def line(self) -> str:
        """Everything in one line."""
        name = self.part.replace("-", " ")
        if self.problem:
            return f"{name}: {self.problem}"
        before = f" (before: {self.stated})" if self.stated else ""
        return f"{name}: {self.value}{before}; {self.residual}"


@dataclass(frozen=True, eq=False)
class FittedCalibration:
    """What a calibration run found.

    Attributes
    ----------
    before
        The scan's calibration as it was.
    calibration
        The same with every part that was fitted and may be used.
    parts
        One entry a part asked for.
    descan, known_phase, rotation
        The fits themselves; None when they were not asked for or failed.
    picture
        ``(ky, kx)`` brightest value of every pixel over the sampled patterns.
    """

    before: Calibration
    calibration: Calibration
    parts: tuple[PartFit, ...]
    descan: DescanFit | None = None
    known_phase: KnownPhaseFit | None = None
    rotation: RotationFit | None = None
    picture: NDArray[np.float32] | None = None

    @property
    def usable(self) -> tuple[str, ...]:
        """Parts that may be applied."""
        return tuple(fit.part for fit in self.parts if not fit.problem)


def fit_calibration(
    scan: Scan,
    parameters: CalibrationParameters,
    parts: Iterable[str] = PARTS,
    phase: CrystalPhase | None = None,
    progress: Report | None = None,
) -> FittedCalibration:
    """Fit the calibration of a scan; nothing is applied to it.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    parameters
        How.
    parts
        Which of `PARTS`.
    phase
        The known phase, for pixel size and ellipse.
    progress
        Called with (done, total, what); may raise to stop.

    Raises
    ------
    BadInputError
        If the scan has no patterns, a part is unknown, or a phase is needed.
    CalibrationError
        If no direct beam is found.
    """
    wanted = [part for part in PARTS if part in set(parts)]
    unknown = sorted(set(parts) - set(PARTS))
    if unknown or not wanted:
        raise BadInputError(
            f"cannot fit {', '.join(unknown) or 'nothing'}: give {', '.join(PARTS)}"
        )
    scan.need_patterns("a calibration needs")
    of_phase = [part for part in wanted if part in ("pixel-size", "ellipse")]
    if of_phase and phase is None:
        raise BadInputError(f"the {of_phase[0].replace('-', ' ')} needs a known phase: give one")
    run = _Run(scan, parameters, progress)
    if "center" in wanted or of_phase:
        run.center("center" in wanted)
    if of_phase and phase is not None:
        run.known_phase(phase, of_phase)
    if "rotation" in wanted:
        run.scan_rotation()
    run.tell("done", 3)
    order = {part: i for i, part in enumerate(PARTS)}
    found = tuple(sorted(run.parts, key=lambda fit: order[fit.part]))
    return FittedCalibration(
        before=scan.calibration,
        calibration=run.calibration,
        parts=found,
        descan=run.descan,
        known_phase=run.phase_fit,
        rotation=run.rotation_fit,
        picture=run.picture,
    )


class _Run:
    """The fits of one scan, one after the other."""

    def __init__(
        self, scan: Scan, parameters: CalibrationParameters, progress: Report | None
    ) -> None:
        self.scan, self.parameters, self._progress = scan, parameters, progress
        self.calibration = scan.calibration
        self.parts: list[PartFit] = []
        self.descan: DescanFit | None = None
        self.phase_fit: KnownPhaseFit | None = None
        self.rotation_fit: RotationFit | None = None
        self._sampled: SampledPatterns | None = None
        self._listed = scan.peaks is not None and scan.peaks.calibrated

    @property
    def picture(self) -> NDArray[np.float32] | None:
        """Brightest value of every pixel."""
        return None if self._sampled is None else self._sampled.frames.max(axis=0)

    def tell(self, what: str, done: int) -> None:
        if self._progress is not None:
            self._progress(done, 3, what)

    def center(self, wanted: bool) -> None:
        """Direct beam and its walk."""
        self.tell("direct beam", 0)
        if self._listed:
            if wanted:
                words = "a calibrated peak list is centred on the beam already"
                self.parts.append(PartFit("center", problem=words))
            return
        try:
            self._sampled = sample(self.scan, self.parameters)
        except CalibrationError as error:
            if not wanted:
                raise
            self.parts.append(PartFit("center", problem=str(error)))
            return
        self.descan = self._sampled.descan
        if wanted:
            self.calibration = self.descan.applied_to(self.calibration)
            self._say_center(self._sampled.method)

    def _say_center(self, method: str) -> None:
        assert self.calibration.center is not None
        y, x = self.calibration.center
        was = self.scan.calibration.center
        self.parts = [fit for fit in self.parts if fit.part != "center"]
        self.parts.append(
            PartFit(
                "center",
                f"{y:.2f}, {x:.2f} px by {method}",
                f"{was[0]:.2f}, {was[1]:.2f} px" if was else "",
                self.calibration.residual("center"),
            )
        )

    def known_phase(self, phase: CrystalPhase, wanted: list[str]) -> None:
        """Pixel size and ellipse."""
        self.tell("spots", 1)
        try:
            fit = self._fit_phase(phase)
        except CalibrationError as error:
            self.parts += [PartFit(part, problem=str(error)) for part in wanted]
            return
        self.phase_fit = fit
        stated = self.scan.calibration
        note = "the peak list is calibrated already: nothing is applied" if self._listed else ""
        size = f"{fit.pixel_size:.5g} 1/Å"
        if note and not fit.problem:
            note = f"{note}; the known phase says {size}, {fit.in_words()}"
        if "pixel-size" in wanted:
            was = "" if stated.pixel_size is None else f"{stated.pixel_size:.5g} 1/Å"
            problem = fit.problem or note
            self.parts.append(PartFit("pixel-size", size, was, fit.in_words(), problem))
            if not problem:
                self.calibration = fit.applied_to(self.calibration, ellipse=False)
        if "ellipse" in wanted:
            words = f"{fit.ellipse[0]:.4f} at {fit.ellipse[1]:.0f}°"
            was = "" if stated.ellipse is None else f"{stated.ellipse[0]:.4f}"
            refused = fit.problem or note
            if refused and "pixel-size" in wanted:
                refused = "not without a pixel size" if fit.problem else "nothing is applied"
            problem = refused or fit.ellipse_problem
            self.parts.append(PartFit("ellipse", words, was, fit.ellipse_in_words(), problem))
            if not problem:
                self.calibration = fit.applied_to(self.calibration, pixel_size=False)
        self._move_center(fit)

    def _fit_phase(self, phase: CrystalPhase) -> KnownPhaseFit:
        if self._listed:
            spots = listed_spots(self.scan, self.parameters.patterns)
        elif self._sampled is None:
            raise CalibrationError("no direct beam: fit or enter the centre first")
        else:
            spots = find_spots(self.scan, self._sampled, self.parameters, self._check)
        self.tell("known phase", 2)
        start, factor = self.scan.calibration.pixel_size, self.parameters.scale_factor
        if self.scan.calibration.pixel_size_origin == "measured":
            factor = min(factor, _REFIT)  # a scale that was fitted is not in doubt again
        outermost = float(np.linalg.norm(spots.offsets, axis=1).max())
        # Without a stated pixel size: no detector reaches further than this.
        reach = 4.0 if start is None else outermost * start * factor * _ROOM
        return fit_known_phase(spots, shells_of(phase, reach), start, factor, self._check)

    def _check(self) -> None:
        self.tell("known phase", 2)

    def _move_center(self, fit: KnownPhaseFit) -> None:
        """Put the centre where the spots are symmetric about, if that is sure."""
        fitted = any(one.part == "center" and not one.problem for one in self.parts)
        off = float(np.hypot(*fit.shift))
        sure = not fit.problem and not fit.ellipse_problem and fit.shift_error < _SURE
        center = self.calibration.center
        if not (fitted and sure and center is not None) or off < max(_MOVED, 3 * fit.shift_error):
            return
        moved = (center[0] + fit.shift[0], center[1] + fit.shift[1])
        words = f", moved {off:.1f} px onto the spots' own"
        residual = self.calibration.residual("center") + words
        self.calibration = self.calibration.with_center(moved, "measured", residual)
        self._say_center(self._sampled.method if self._sampled else "direct")

    def scan_rotation(self) -> None:
        """Rotation between scan and detector."""
        self.tell("rotation", 2)
        try:
            center = self.calibration.center
            if center is None:
                center = find_direct_beam(mean_pattern(self.scan))[:2]
            y, x = (axis.canonical() for axis in self.scan.axes[:2])
            shift = deflection(self.scan, center, lambda: self.tell("rotation", 2))
            fit = fit_rotation(shift, (abs(y.scale) or 1.0, abs(x.scale) or 1.0))
        except CalibrationError as error:
            self.parts.append(PartFit("rotation", problem=str(error)))
            return
        self.rotation_fit = fit
        turned = ", detector transposed" if fit.transposed else ""
        was = self.scan.calibration.rotation_deg
        self.parts.append(
            PartFit(
                "rotation",
                f"{fit.rotation_deg:.1f}°{turned}",
                "" if was is None else f"{was:.1f}°",
                fit.in_words(),
                fit.problem,
            )
        )
        if not fit.problem:
            self.calibration = fit.applied_to(self.calibration)
