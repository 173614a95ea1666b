"""The answers of a map at one position: numbers, words, simulated and measured spots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import DiffmapError
from napari_diffmap.maps.ambiguity import NO_DATA
from napari_diffmap.maps.counts import crystal_count, place_word, resolved
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.edits.edited import EDITED_NAMES
from napari_diffmap.maps.quaternions import bunge

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.maps import OrientationMap, PhaseMap
    from napari_diffmap.methods.orientation import OrientationMethod
    from napari_diffmap.methods.registration.spots import PeakBatch
    from napari_diffmap.scan.scan import Scan


#: A measured and a predicted spot nearer than this meet (1/Å, but so many pixels at least).
_REACH, _REACH_PIXELS = 0.03, 1.3


@dataclass(frozen=True)
class Answer:
    """One answer at one position, in numbers a user reads.

    Attributes
    ----------
    phase, color
        Name and colour of the phase.
    euler
        Bunge Euler angles (φ1, Φ, φ2) in degrees, laboratory → crystal.
    score
        Score of the matcher.
    zone, zone_off
        Lattice direction nearest to the beam, and how far off it is in degrees;
        empty when the phase's cell is not known.
    role
        Which crystal of the pattern it is, or that it competes; see `maps.counts.place_word`.
    """

    phase: str
    color: str
    euler: tuple[float, float, float]
    score: float
    zone: str = ""
    zone_off: float = 0.0
    role: str = ""


@dataclass(frozen=True, eq=False)
class PixelAnswers:
    """Everything that is shown of one position of a map.

    Attributes
    ----------
    answers
        Best first; empty where nothing was mapped.
    doubt
        Reliability and cause of doubt in words.
    simulated, hkl
        ``(n, 2)`` detector pixels of the spots of the answer that is shown, and their
        Miller indices; None when they cannot be simulated.
    crystals
        ``(m, 2)`` detector pixels of the spots of all crystals believed to be in the
        pattern and of the answer that is shown: a measured spot away from all of
        these is unexplained.
    note
        What is missing to simulate them.
    """

    answers: tuple[Answer, ...]
    doubt: str
    simulated: NDArray[np.float64] | None = None
    hkl: list[str] = field(default_factory=list)
    note: str = ""
    crystals: NDArray[np.float64] | None = None


def describe(
    scan: Scan,
    found: OrientationMap,
    y: int,
    x: int,
    *,
    method: OrientationMethod | None = None,
    phases: Sequence[CrystalPhase] = (),
    shown: int = 0,
) -> PixelAnswers:
    """Word the answers of one position and simulate one of them.

    Parameters
    ----------
    scan
        What was mapped.
    found
        The map.
    y, x
        Scan position.
    method
        The matcher that made the map; None for a map that was loaded.
    phases
        Phases with their atoms, for a loaded map.
    shown
        Which answer is simulated; the last one where there are fewer.
    """
    from napari_diffmap.methods.orientation import describe_pixel

    doubt = doubt_line(found, y, x)
    if int(found.phase_ids[y, x, 0]) < 0:
        return PixelAnswers((), doubt or "no answer here")
    if method is None:
        method = matcher_of(found, tuple(phases))
    if method is None:
        name = found.phases[int(found.phase_ids[y, x, 0])].name
        note = f"add {name} in the Map dock to see its spots"
        return PixelAnswers(_plain_answers(found, y, x), doubt, note=note)
    try:
        described = describe_pixel(
            scan,
            method,
            found.rotations[y, x],
            found.phase_ids[y, x],
            found.scores[y, x],
            position=(y, x),
        )
    except DiffmapError as error:
        return PixelAnswers(_plain_answers(found, y, x), doubt, note=str(error))
    roles = _roles(found, y, x)
    answers = tuple(
        Answer(
            found.phases[one.phase_id].name,
            found.phases[one.phase_id].color,
            one.euler_deg,
            one.score,
            "[" + " ".join(str(i) for i in one.zone_axis) + "]",
            one.zone_offset_deg,
            role,
        )
        for one, role in zip(described, roles, strict=True)
    )
    chosen = min(shown, len(described) - 1)
    spots = described[chosen].spots
    pixels = np.stack((spots.ky, spots.kx), axis=1)
    shape = np.asarray(scan.shape[2:])
    seen = np.all((pixels >= -0.5) & (pixels <= shape - 0.5), axis=1)
    hkl = [" ".join(str(i) for i in row) for row in spots.hkl[seen]]
    # A competing answer stands for the first crystal, beside the further ones.
    further = [i for i, role in enumerate(roles) if i > 0 and role != _COMPETES]
    first = chosen if roles[chosen] == _COMPETES else 0
    there = [described[i].spots for i in {first, chosen, *further}]
    every = np.concatenate([np.stack((one.ky, one.kx), axis=1) for one in there])
    return PixelAnswers(answers, doubt, pixels[seen], hkl, crystals=every)


_COMPETES = place_word(1, 1)


def unmatched(
    points: NDArray[np.floating], others: NDArray[np.floating], pixel_size: float
) -> NDArray[np.bool_]:
    """Which of some spots ``(n, 2)`` have none of others ``(m, 2)`` near, as the matcher counts.

    All in detector pixels; `pixel_size` in 1/Å.
    """
    if not len(points) or not len(others):
        return np.ones(len(points), dtype=bool)
    reach = max(_REACH / pixel_size, _REACH_PIXELS)
    gaps = np.linalg.norm(points[:, None] - others[None], axis=2)
    return np.asarray(gaps.min(axis=1) > reach)


def _plain_answers(found: OrientationMap, y: int, x: int) -> tuple[Answer, ...]:
    """Angles and scores alone."""
    answers: list[Answer] = []
    for rank in np.flatnonzero(found.phase_ids[y, x] >= 0):
        phase = found.phases[int(found.phase_ids[y, x, rank])]
        rotation = found.rotations[y, x, rank].astype(np.float64)
        euler = np.rad2deg(bunge(rotation[np.newaxis])[0])
        angles = (float(euler[0]), float(euler[1]), float(euler[2]))
        score = float(found.scores[y, x, rank])
        role = _roles(found, y, x)[len(answers)]
        answers.append(Answer(phase.name, phase.color, angles, score, role=role))
    return tuple(answers)


def _roles(found: OrientationMap, y: int, x: int) -> list[str]:
    """What each answer of a position is, in words."""
    count = crystal_count(found)
    crystals = 1 if count is None else int(count[y, x])
    ranks = np.flatnonzero(found.phase_ids[y, x] >= 0)
    return [place_word(int(rank), crystals) for rank in ranks]


@lru_cache(maxsize=2)
def matcher_of(found: OrientationMap, phases: tuple[CrystalPhase, ...]) -> OrientationMethod | None:
    """A matcher with the parameters of a loaded map; None when a phase's atoms are not known.

    A network that proposed the answers is not needed to draw, refine or rank them, and may be
    gone; the parameters still name it.
    """
    from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters

    known = [with_structure(phase, phases) for phase in found.phases]
    chosen = [phase for phase in known if phase is not None]
    if not chosen or len(chosen) < len(known):
        return None
    used: dict[str, Any] = dict(found.provenance.parameters or {})
    names = OrientationParameters.model_fields.keys() - {"phases"}
    parameters = OrientationParameters(**{n: used[n] for n in names if n in used})
    return OrientationMethod(parameters, chosen)


def with_structure(phase: Any, known: Sequence[CrystalPhase]) -> CrystalPhase | None:
    """The phase with its atoms: itself, or the one of that name among those loaded."""
    if hasattr(phase, "elements"):
        return phase  # type: ignore[no-any-return]
    return next((other for other in known if other.name == phase.name), None)


def doubt_line(found: PhaseMap, y: int, x: int) -> str:
    """Reliability and cause of doubt at a position, in words."""
    code = int(found.ambiguity[y, x])
    reliability = float(found.reliability[y, x])
    sure = "" if np.isnan(reliability) else f"reliability {100 * reliability:.0f} %"
    chosen = resolved(found)
    told = "chosen by its neighbours" if chosen is not None and chosen[y, x] else ""
    by_hand = int(found.extra[EDITED][y, x]) if EDITED in found.extra else 0
    if by_hand:
        told = f"by hand: {EDITED_NAMES[by_hand]}"
    cause = "" if code == 0 else f"in doubt: {found.cause_names[code]}"
    if code == NO_DATA:
        what = "pattern" if found.has_orientations else "spectrum"
        cause = f"no data: no {what} was recorded here, or the run ended before it"
    return " · ".join(part for part in (sure, told, cause) if part)


def measured_spots(
    scan: Scan, method: OrientationMethod | None, y: int, x: int
) -> NDArray[np.float64] | None:
    """Measured spots of one position, ``(n, 2)`` detector pixels; None when not known.

    Those of the peak list, else those the matcher found.
    """
    size, center = scan.calibration.pixel_size, scan.calibration.center
    if scan.peaks is not None and center is not None:
        unit = size if scan.peaks.calibrated else 1.0
        if unit is None:
            return None
        # Peaks are undistorted and centred: back to where the detector saw them.
        calibration = scan.calibration
        back = np.linalg.inv(calibration.undistortion).T / unit
        here = calibration.centers(y, x, scan.shape[:2])
        return np.asarray(scan.peaks.at(y, x)[:, :2].astype(np.float64) @ back + here)
    if method is None or method.geometry is None or size is None:
        return None
    peaks = _found_spots(scan, method, y, x)
    kept = (peaks.intensity[0] > 0).cpu().numpy()
    k = np.stack((peaks.ky[0].cpu().numpy(), peaks.kx[0].cpu().numpy()), axis=1)[kept]
    center_here = method.geometry.centers(slice(y, y + 1), slice(x, x + 1))[0, 0]
    return method.geometry.to_pixels(k, center_here)


def _found_spots(scan: Scan, method: OrientationMethod, y: int, x: int) -> PeakBatch:
    """What the matcher finds in one pattern."""
    from napari_diffmap.scan.tiles import Tile

    frame = np.asarray(scan.data[y : y + 1, x : x + 1].compute(scheduler="synchronous"))
    gap = np.zeros((1, 1), dtype=bool)
    if scan.missing is not None:
        gap = scan.missing[y : y + 1, x : x + 1]
    peaks, _ = method.find_spots(Tile(slice(y, y + 1), slice(x, x + 1), frame, gap))
    return peaks


def landscapes(
    scan: Scan,
    found: OrientationMap,
    method: OrientationMethod | None,
    y: int,
    x: int,
    *,
    size_px: int = 132,
    color: str = "white",
) -> tuple[list[tuple[str, NDArray[np.uint8]]], str]:
    """Pictures of how well every zone axis fits the pattern of one position.

    Parameters
    ----------
    scan, found, y, x
        What was mapped, the map, and the position.
    method
        The matcher that made the map, prepared; None for a map that was loaded.
    size_px, color
        See `maps.figures.landscape`.

    Returns
    -------
    pictures
        Name of each phase with its scores in words, and RGBA; all phases have the
        same colour scale.
    note
        What is missing, empty when nothing.
    """
    from napari_diffmap.maps.figures.landscape import landscape_picture
    from napari_diffmap.methods.orientation.landscape import score_landscape

    if method is None or method.geometry is None:
        return [], "map the scan here to see the scores of every zone axis"
    scored = score_landscape(method, _found_spots(scan, method, y, x))
    low = min(float(one.score.min()) for one in scored)
    high = max(float(one.score.max()) for one in scored)
    pictures = []
    for number, one in enumerate(scored):
        marks = [
            (str(rank + 1), _beam(found.rotations[y, x, rank]))
            for rank in np.flatnonzero(found.phase_ids[y, x] == number)
        ]
        picture = landscape_picture(
            one.phase, one.zones, one.score, marks,
            size_px=size_px, color=color, limits=(low, high),
        )  # fmt: skip
        pictures.append((f"{one.phase.name}: {one.score.min():.2f}–{one.score.max():.2f}", picture))
    return pictures, ""


def _beam(rotation: NDArray[np.floating]) -> NDArray[np.float64]:
    """The beam's direction in the crystal, O z."""
    a, b, c, d = rotation.astype(np.float64)
    return np.array([2 * (b * d + a * c), 2 * (c * d - a * b), a * a - b * b - c * c + d * d])
