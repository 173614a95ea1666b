"""Pixel size and ellipse from spots of a phase whose lattice is known.

The logarithm of a spot's radius is the logarithm of its reciprocal length less that
of the pixel size, so a wrong scale only shifts the spots against the phase's shells.
Every scale in reach is tried; the best few are refined with the ellipse and the
remaining offset of the centre; the winner must beat the others clearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.shell_model import NARROWEST, ShellModel, Shells, SpotList, State

#: Steps of the search over the logarithm of the scale.
_STEP = 0.004
#: Relative width of a shell in that search: an ellipse of 3 % blurs by 1.5 %.
_COARSE = 0.015
#: How many scales are refined, and how far apart they are.
_CANDIDATES, _APART = 10, 0.012
#: Refinement narrows the shells step by step (relative width).
_NARROWING = (0.015, 0.010, 0.006, 0.004, NARROWEST)
#: Scatters of the spots (pixels) that a refinement starts with.
_SCATTERS = (0.4, 1.5)
#: The winner's log-likelihood must exceed that of no lattice, and of any other scale, by:
_EVIDENCE, _LEAD = 20.0, 10.0
#: A value less certain than this is refused: pixel size, ellipse.
_UNSURE = (0.01, 0.01)
_RESAMPLED = 24
#: Less than this share of the spots explained is no known phase.
_EXPLAINED = 0.5
#: A phase is doubted when shells that should hold so large a share of the spots are empty.
_UNSEEN = 0.12
#: And when so large a share of the spots lies on rings that it does not have.
_FOREIGN = 0.1
#: Scales nearer than this are one, found twice: they tell the uncertainty.
_ONE_SCALE = 0.02


@dataclass(frozen=True)
class ScaleCandidate:
    """One scale that was refined.

    Attributes
    ----------
    pixel_size
        1/Å per pixel.
    residual_percent
        Median |Δq|/q of the spots it explains, in percent.
    explained
        Share of the spots it explains.
    evidence
        Log-likelihood above that of no lattice at all.
    """

    pixel_size: float
    residual_percent: float
    explained: float
    evidence: float


@dataclass(frozen=True, eq=False)
class KnownPhaseFit:
    """Pixel size and ellipse with what they leave.

    Attributes
    ----------
    pixel_size, pixel_size_error
        1/Å per pixel, and its standard error (bootstrap over patterns).
    ellipse
        Ratio of axes and direction in degrees (see `Calibration.ellipse`).
    ellipse_error
        Standard error of the ratio.
    shift
        Offset (ky, kx) in pixels of the true centre from the one the spots were
        measured about.
    shift_error
        Its standard error.
    residual_percent
        Median |Δq|/q of the spots used, percent.
    before_percent
        The same with the ellipse and the shift left away.
    explained, used
        Share and number of the spots on a shell.
    scatter
        Scatter of the spots about their shells, pixels.
    foreign
        Share of the spots on rings that the phase does not have.
    unseen
        Share of the expected spots that lie on shells which stay empty.
    candidates
        All scales that were refined, best first; the first is the winner.
    problem, ellipse_problem
        Why the pixel size, or the ellipse, must not be used; empty when they may.
    """

    pixel_size: float
    pixel_size_error: float
    ellipse: tuple[float, float]
    ellipse_error: float
    shift: tuple[float, float]
    shift_error: float
    residual_percent: float
    before_percent: float
    explained: float
    used: int
    scatter: float
    unseen: float
    foreign: float
    candidates: tuple[ScaleCandidate, ...]
    problem: str = ""
    ellipse_problem: str = ""

    def in_words(self) -> str:
        """The residual in one line."""
        return (
            f"median |Δq|/q {self.residual_percent:.2f} % over {self.used} spots"
            f" ({100 * self.explained:.0f} % explained),"
            f" ±{100 * self.pixel_size_error / self.pixel_size:.2f} %"
        )

    def ellipse_in_words(self) -> str:
        """The ellipse's residual in one line."""
        return (
            f"median |Δq|/q {self.before_percent:.2f} % without it,"
            f" {self.residual_percent:.2f} % with it; ±{100 * self.ellipse_error:.2f} %"
        )

    def check(self) -> None:
        """Refuse a pixel size that the data do not decide.

        Raises
        ------
        CalibrationError
            With the reason and the alternatives.
        """
        if self.problem:
            raise CalibrationError(self.problem)

    def shown_in(self, calibration: Calibration) -> Calibration:
        """The calibration with these values to look at, whether they may be used or not."""
        seen = calibration.with_pixel_size(self.pixel_size, "measured")
        return seen.with_ellipse(self.ellipse, "measured")

    def applied_to(
        self, calibration: Calibration, *, pixel_size: bool = True, ellipse: bool = True
    ) -> Calibration:
        """The calibration with the fitted values.

        Raises
        ------
        CalibrationError
            If a value asked for must not be used.
        """
        if pixel_size:
            self.check()
            calibration = calibration.with_pixel_size(self.pixel_size, "measured", self.in_words())
        if ellipse:
            if self.problem or self.ellipse_problem:
                raise CalibrationError(self.problem or self.ellipse_problem)
            calibration = calibration.with_ellipse(
                self.ellipse, "measured", self.ellipse_in_words()
            )
        return calibration


def fit_known_phase(
    spots: SpotList,
    shells: Shells,
    start: float | None = None,
    factor: float = 2.0,
    check: Callable[[], object] = lambda: None,
) -> KnownPhaseFit:
    """Fit pixel size and ellipse to the spots of a known phase.

    Parameters
    ----------
    spots
        Spots of as many patterns as there are, as offsets from the beam in pixels.
    shells
        Lengths of the phase's reflections, 1/Å; they must reach `factor` times beyond the
        outermost spot at the stated pixel size.
    start
        Stated pixel size in 1/Å; any scale that the shells allow without one.
    factor
        The stated pixel size may be wrong by this factor either way.
    check
        Called now and then; raises to stop the fit.

    Raises
    ------
    CalibrationError
        If there are too few spots or shells.

    Notes
    -----
    Each spot belongs to a shell or to a smooth background of the same radial
    distribution, so spurious spots cost nothing (a mixture model, fitted by
    expectation maximisation).  The shells share what the background leaves, drawn
    towards the multiplicity of a powder: a scale that crowds the plane with shells
    explains everything by a little, which is worth nothing, and one whose strong
    shells are empty pays for it.
    """
    if len(spots) < 8:
        raise CalibrationError(
            f"{len(spots)} spots are too few to fit a pixel size: use more patterns or lower the"
            " spot threshold"
        )
    if len(shells) < 2:
        raise CalibrationError("the phase has too few reflections in reach: check the pixel size")
    model = ShellModel(spots, shells)
    scales = _scales(model, start, factor)
    likelihood = np.empty(len(scales))
    for i, scale in enumerate(scales):
        likelihood[i] = model.coarse(scale, _COARSE)
        if not i % 20:
            check()
    found: list[tuple[float, State]] = []
    for scale in _maxima(scales, likelihood):
        check()
        state = max((_refined(model, scale, p) for p in _SCATTERS), key=model.evidence)
        if all(abs(state.log_scale - other.log_scale) > _APART / 2 for _, other in found):
            found.append((model.evidence(state), state))
    found.sort(key=lambda pair: -pair[0])
    candidates = tuple(_candidate(model, evidence, state) for evidence, state in found)
    best = found[0][1]
    spread = _bootstrap(model, best, check)
    return _judged(model, best, candidates, spread)


def _scales(model: ShellModel, start: float | None, factor: float) -> NDArray[np.float64]:
    """Logarithms of the pixel sizes to try."""
    if not factor > 1:
        raise CalibrationError(f"a search factor of {factor:g} searches nothing: give above 1")
    if start is None:
        # The middle of the spots lies between the innermost and the outermost shell.
        middle = float(np.median(model.log_radius))
        low, high = model.log_shells[0] - middle, model.log_shells[-1] - model.log_radius.max()
        low, high = low - 0.2, max(high, low + 0.5)
    else:
        low, high = math.log(start / factor) - 0.02, math.log(start * factor) + 0.02
    return np.arange(low, high + _STEP, _STEP)


def _maxima(scales: NDArray[np.float64], likelihood: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best local maxima, best first."""
    chosen: list[float] = []
    for i in np.argsort(-likelihood):
        if all(abs(scales[i] - other) > _APART for other in chosen):
            chosen.append(float(scales[i]))
        if len(chosen) == _CANDIDATES:
            break
    return np.array(chosen)


def _refined(model: ShellModel, scale: float, place: float) -> State:
    state = model.start(scale, place)
    for width in _NARROWING:
        for _ in range(4):
            state = model.improve(state, width, within=(scale, 0.02))
    for _ in range(12):
        state = model.improve(state, NARROWEST, within=(scale, 0.02), scatter=True)
    return state


def _candidate(model: ShellModel, evidence: float, state: State) -> ScaleCandidate:
    residual, on_shell = model.residuals(state)
    share = float((model.weight * on_shell).sum() / model.weight.sum())
    left = 100 * float(np.median(residual[on_shell])) if on_shell.any() else math.nan
    return ScaleCandidate(math.exp(state.log_scale), left, share, evidence)


def _bootstrap(model: ShellModel, best: State, check: Callable[[], object]) -> NDArray[np.float64]:
    """Standard errors of log scale, the ellipse's two components and the shift, ``(5,)``.

    Patterns of one crystal repeat its spots, so places on the detector are drawn as
    well as patterns, and the larger spread counts.
    """
    rng = np.random.default_rng(0)
    errors = []
    for groups in model.groups():
        tried = []
        for _ in range(_RESAMPLED):
            check()
            drawn, state = model.resampled(groups, rng), best
            for _ in range(3):
                state = model.improve(state, NARROWEST, weight=drawn)
            tried.append((state.log_scale, *state.shear, *state.shift))
        errors.append(np.std(tried, axis=0))
    return np.asarray(np.max(errors, axis=0))


def _judged(
    model: ShellModel,
    best: State,
    candidates: tuple[ScaleCandidate, ...],
    spread: NDArray[np.float64],
) -> KnownPhaseFit:
    winner = candidates[0]
    _, on_shell = model.residuals(best)
    size = winner.pixel_size
    curvature = model.uncertainty(best)
    near = [c.pixel_size for c in _contenders(candidates) if _one(c, winner)]
    error = size * max(float(spread[0]), float(curvature[0]))
    error = max(error, (max(near) - min(near)) / 2)
    shear_error = max(float(np.hypot(*spread[1:3])), float(np.hypot(*curvature[1:])))
    size_of_shear = math.hypot(*best.shear)
    plain = replace(best, shear=(0.0, 0.0), shift=(0.0, 0.0))
    before, _ = model.residuals(plain)
    return KnownPhaseFit(
        pixel_size=size,
        pixel_size_error=error,
        ellipse=(
            math.exp(2 * size_of_shear),
            math.degrees(math.atan2(best.shear[1], best.shear[0])) / 2 % 180,
        ),
        ellipse_error=2 * shear_error,
        shift=(float(best.shift[0]), float(best.shift[1])),
        shift_error=float(np.hypot(*spread[3:])),
        residual_percent=winner.residual_percent,
        before_percent=100 * float(np.median(before[on_shell])) if on_shell.any() else math.nan,
        explained=winner.explained,
        used=int(on_shell.sum()),
        candidates=candidates,
        scatter=best.place,
        unseen=model.unseen(best),
        foreign=model.foreign(best),
        problem=_problem(candidates, error / size, model.unseen(best), model.foreign(best)),
        ellipse_problem=_ellipse_problem(2 * shear_error),
    )


def _problem(
    candidates: tuple[ScaleCandidate, ...], error: float, unseen: float, foreign: float
) -> str:
    """Why the winner must not be trusted; empty when it may."""
    best = candidates[0]
    if best.evidence < _EVIDENCE or not best.explained > _EXPLAINED:
        return (
            f"the spots do not show this phase at any pixel size in reach (at best"
            f" {100 * best.explained:.0f} % of them at {best.pixel_size:.5g} 1/Å): check the phase,"
            " or use more patterns"
        )
    rivals = [c for c in _contenders(candidates) if not _one(c, best)]
    if rivals:
        words = " or ".join(
            f"{c.pixel_size:.5g} ({c.residual_percent:.2f} %)" for c in (best, *rivals[:2])
        )
        return (
            f"the spots cannot tell which pixel size is right: {words} 1/Å; enter the nearest"
            " one you believe and search closer to it, or use patterns of more orientations"
        )
    if unseen > _UNSEEN:
        return (
            f"at {best.pixel_size:.5g} 1/Å, where the spots fit best, shells with"
            f" {100 * unseen:.0f} % of the expected spots stay empty: check the phase"
        )
    if foreign > _FOREIGN:
        return (
            f"at {best.pixel_size:.5g} 1/Å, where the spots fit best, {100 * foreign:.0f} % of them"
            " lie on rings that this phase does not have: check the phase, or use patterns of it"
            " alone"
        )
    if error > _UNSURE[0]:
        return (
            f"the pixel size is uncertain by {100 * error:.1f} %: use more patterns, or a phase"
            " with fewer reflections"
        )
    return ""


def _contenders(candidates: tuple[ScaleCandidate, ...]) -> list[ScaleCandidate]:
    """Those that the winner does not beat clearly, itself among them."""
    lead = max(_LEAD, 0.02 * candidates[0].evidence)
    return [c for c in candidates if c.evidence > candidates[0].evidence - lead]


def _one(first: ScaleCandidate, second: ScaleCandidate) -> bool:
    return abs(math.log(first.pixel_size / second.pixel_size)) < _ONE_SCALE


def _ellipse_problem(error: float) -> str:
    if error > _UNSURE[1]:
        return (
            f"the ellipse is uncertain by {100 * error:.1f} %: the spots lie in too few directions;"
            " use patterns of more orientations"
        )
    return ""
