"""Defects from scan to result: find, sort, follow; the same in window, terminal and notebook."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.defects_follow import Followed, follow_finds
from napari_diffmap.jobs.defects_frames import Movie, as_frame, in_order
from napari_diffmap.jobs.defects_map import InForce, doubts, finds_of, map_of
from napari_diffmap.jobs.defects_summary import summary_of
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.provenance import InputFile, Provenance
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.parameters import SPACING_NM, DefectParameters
from napari_diffmap.models.device import device_label, resolve_device
from napari_diffmap.scan.scan import Scan

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.follow.tracks import Tracks
    from napari_diffmap.methods.defects.lattice import Lattice
    from napari_diffmap.methods.defects.sort.classes import DefectClasses

#: Packages whose version can change what is found.
PACKAGES: Final = (
    "numpy", "scipy", "dask", "rosettasciio", "scikit-learn", "laptrack", "torch",
)  # fmt: skip
#: Reach of links in pixels where no frame shows a lattice and no pixel size is known.
_NEIGHBOUR_PX: Final = 10.0

Floats = NDArray[np.float64]


class FrameFinder(Protocol):
    """What finds the defects of frames; `methods.defects.find.Finder`."""

    def prepare(self, movie: Any, pixel_size_nm: float | None, control: Any) -> None:
        """Look at the movie before its first frame; a network may be trained here."""

    def frame(self, image: NDArray[np.float32], number: int) -> Any:
        """Finds, lattice and note of one frame; called from several threads."""


#: Told of each frame as it is done: its number, and the finder's own answer.
OnFrame = Callable[[int, Any], None]


@dataclass(frozen=True, eq=False)
class Found:
    """What was found, before it is sorted.

    Attributes
    ----------
    movie
        In which.
    finds
        In the order of frames.
    lattices
        Of each frame; None where it shows none.
    drift
        ``(T, 2)`` shift of each frame in pixels; None where it was not measured.
    neighbour_px
        Distance of neighbouring sites of one sublattice, pixels.
    seconds
        That it took: reading, preparing, finding.
    device
        On which.
    warnings
        Lines for the user.
    """

    movie: Movie
    finds: Finds
    lattices: Mapping[int, Lattice | None]
    drift: Floats | None
    neighbour_px: float
    seconds: float
    device: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DefectsRun:
    """Defects that were found, sorted and followed.

    Attributes
    ----------
    map
        The answers with their doubts and provenance.
    parameters
        Of the run.
    found
        The search itself: movie, lattices, drift.
    finds
        In force; those of `map` in the order of frames.
    slots
        ``(n,)`` number of each of `finds` in the map.
    classes
        As sorted; None where the run was read back from a file.
    followed
        Tracks, diffusion and transitions.
    summary
        What ``summary.json`` holds.
    """

    map: DefectMap
    parameters: DefectParameters
    found: Found
    finds: Finds
    slots: NDArray[np.int64]
    classes: DefectClasses | None
    followed: Followed
    summary: dict[str, Any]

    @property
    def lattices(self) -> Mapping[int, Lattice | None]:
        """Of each frame; None where it shows none."""
        return self.found.lattices

    @property
    def drift(self) -> Floats | None:
        """``(T, 2)`` shift of each frame in pixels."""
        return self.found.drift

    @property
    def tracks(self) -> Tracks:
        """Of `finds`."""
        return self.followed.tracks


class _Report:
    """Says how far a run is, and stops it."""

    def __init__(self, control: JobControl, on_progress: OnProgress | None) -> None:
        self.control, self.on_progress = control, on_progress
        self.start = time.perf_counter()

    def __call__(self, done: int, total: int, what: str) -> None:
        self.control.check()
        if self.on_progress is not None:
            self.on_progress(Progress(done, total, time.perf_counter() - self.start, what))


def map_defects(
    scan: Scan,
    parameters: DefectParameters | None = None,
    *,
    device: str = "auto",
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
    on_frame: OnFrame | None = None,
    finder: FrameFinder | None = None,
) -> DefectsRun:
    """Find, sort and follow the defects of an image or a movie.

    Parameters
    ----------
    scan
        An image or an image series; see `defects_frames.calibrated` for a pixel size and a frame
        time that its file does not give.
    parameters
        Defaults without.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    control, on_progress
        Stops the run; told how far it is.
    on_frame
        Told of each frame as it is done, in order.
    finder
        Finds the defects of a frame; made from the parameters without one.

    Raises
    ------
    BadInputError
        If the scan holds no images, or no network of that name is known.
    CancelledError
        When stopped.
    """
    parameters = parameters or DefectParameters()
    control = control or JobControl()
    given = {"control": control, "on_progress": on_progress}
    found = find_defects(scan, parameters, device=device, on_frame=on_frame, finder=finder, **given)  # type: ignore[arg-type]
    return sort_and_follow(found, parameters, **given)  # type: ignore[arg-type]


def find_defects(
    scan: Scan,
    parameters: DefectParameters,
    *,
    device: str = "auto",
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
    on_frame: OnFrame | None = None,
    finder: FrameFinder | None = None,
) -> Found:
    """The first step of `map_defects`."""
    report = _Report(control or JobControl(), on_progress)
    movie = Movie(scan)
    device = resolve_device(device)
    if finder is None:
        from napari_diffmap.methods.defects.find import Finder

        finder = Finder(parameters.find, device)
    frames = len(movie)
    report(0, frames, "preparing")
    finder.prepare(movie, movie.pixel_size_nm, report.control)
    parts: list[Finds] = []
    lattices: dict[int, Lattice | None] = {}
    notes: dict[str, int] = {}
    chosen = finder

    def work(number: int) -> Any:
        values = movie[number]
        # A frame that was not recorded holds nothing.
        return chosen.frame(as_frame(values), number) if np.isfinite(values).any() else None

    workers = 1 if device != "cpu" else min(os.cpu_count() or 1, 8)
    for number, answer in enumerate(in_order(work, frames, workers, report.control)):
        lattices[number] = None if answer is None else answer.lattice
        note = "not recorded" if answer is None else answer.note
        if note:
            notes[note] = notes.get(note, 0) + 1
        if answer is not None:
            parts.append(answer.finds)
            if on_frame is not None:
                on_frame(number, answer)
        report(number + 1, frames, "finding defects")
    finds = Finds.joined(parts)
    drift, moved = _drift(movie, parameters, report)
    neighbour, more = _neighbour(lattices, parameters, movie)
    told = tuple(
        note if frames == 1 else f"{note} ({count} of {frames} frames)"
        for note, count in notes.items()
    )
    warnings = (*scan.warnings, *movie.warnings, *told, *moved, *more)
    seconds = time.perf_counter() - report.start
    return Found(movie, finds, lattices, drift, neighbour, seconds, device_label(device), warnings)


def _drift(
    movie: Movie, parameters: DefectParameters, report: _Report
) -> tuple[Floats | None, tuple[str, ...]]:
    """Shift of each frame, and what to say of it; None of an image, or where it is not wanted."""
    if not parameters.find.drift or len(movie) < 2:
        return None, ()
    from napari_diffmap.methods.defects.drift import measure_drift

    def recorded(number: int) -> NDArray[np.float32]:
        return as_frame(movie[number])

    drift = measure_drift(recorded, len(movie), progress=report, check=report.control.check)
    return np.asarray(drift.shifts, dtype=np.float64), drift.warnings


def _neighbour(
    lattices: Mapping[int, Lattice | None], parameters: DefectParameters, movie: Movie
) -> tuple[float, tuple[str, ...]]:
    """Distance of neighbouring sites of one sublattice, and what to say of it."""
    known = [lattice.neighbour for lattice in lattices.values() if lattice is not None]
    if known:
        return float(np.median(known)), ()
    wanted = parameters.find.spacing_nm or SPACING_NM.get(parameters.find.material)
    if wanted is not None and movie.pixel_size_nm is not None:
        return wanted / movie.pixel_size_nm, ()
    line = f"no frame shows a lattice: finds are linked as if sites were {_NEIGHBOUR_PX:g} px apart"
    return _NEIGHBOUR_PX, (line,)


def sort_and_follow(
    found: Found,
    parameters: DefectParameters,
    *,
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
) -> DefectsRun:
    """The second and third step of `map_defects`: name the finds, link them, make the map."""
    from napari_diffmap.methods.defects.sort.complexes import complexes

    report = _Report(control or JobControl(), on_progress)
    report(0, 3, "sorting")
    classes = _sorted(found, parameters, report)
    report(1, 3, "following")
    ids = np.asarray(classes.class_id, dtype=np.int64)
    followed = follow_finds(
        found.finds, ids, classes.names, parameters.follow, found.movie,
        neighbour_px=found.neighbour_px, drift=found.drift,
        graphene=_is_graphene(found, parameters), check=report.control.check,
    )  # fmt: skip
    report(2, 3, "following")
    movie = found.movie
    warnings = (*found.warnings, *classes.warnings, *followed.warnings)
    result = map_of(
        found.finds,
        classes,
        followed.tracks.track,
        movie.shape,
        found.neighbour_px,
        shortest=parameters.follow.shortest,
        complexes=complexes(found.finds, found.neighbour_px),
        pixel_size_nm=movie.pixel_size_nm,
        frame_time_s=movie.frame_time_s,
        drift=found.drift,
        provenance=_provenance(found, parameters, warnings),
        warnings=warnings,
    )
    seconds = found.seconds + time.perf_counter() - report.start
    slots = np.arange(len(found.finds))
    run = DefectsRun(result, parameters, found, found.finds, slots, classes, followed, {})
    report(3, 3, "following")
    return replace(run, summary=summary_of(run, seconds))


def follow_again(
    run: DefectsRun,
    corrected: DefectMap,
    *,
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
) -> DefectsRun:
    """Follow the finds that are in force after corrections.

    Parameters
    ----------
    run
        As mapped, or followed again before.
    corrected
        Its map with corrections.
    control, on_progress
        As of `map_defects`.

    Returns
    -------
    DefectsRun
        With the corrected map and new tracks, diffusion, transitions and summary.  What was
        decided by hand is in no doubt; whether others flicker is judged anew.
    """
    report = _Report(control or JobControl(), on_progress)
    report(0, 1, "following")
    now = finds_of(corrected, run.lattices)
    followed = follow_in_force(run.found, run.parameters, corrected, now, report.control)
    track = np.full(corrected.shape, np.nan, dtype=np.float32)
    track[0, now.slots] = followed.tracks.track
    codes = doubts(
        now.finds, corrected.scores[0, now.slots, :1], followed.tracks.track,
        corrected.image_shape, run.found.neighbour_px, run.parameters.follow.shortest,
    )  # fmt: skip
    ambiguity = corrected.ambiguity.copy()
    by_machine = ~now.by_hand
    ambiguity[0, now.slots[by_machine]] = codes[by_machine]
    extra = {**corrected.extra, "track": track}
    if EDITED in extra:
        extra[EDITED] = extra[EDITED].copy()
    result = corrected.replaced(extra=extra, ambiguity=ambiguity)
    again = replace(run, map=result, finds=now.finds, slots=now.slots, followed=followed)
    report(1, 1, "following")
    return replace(again, summary=summary_of(again, float(run.summary["seconds"])))


def follow_in_force(
    found: Found, parameters: DefectParameters, result: DefectMap, now: InForce, control: JobControl
) -> Followed:
    """Follow the finds that are in force in a map."""
    names = tuple(phase.name for phase in result.phases)
    return follow_finds(
        now.finds, now.class_id, names, parameters.follow, found.movie,
        neighbour_px=found.neighbour_px, drift=found.drift,
        graphene=_is_graphene(found, parameters), check=control.check,
    )  # fmt: skip


def _sorted(found: Found, parameters: DefectParameters, report: _Report) -> DefectClasses:
    from napari_diffmap.methods.defects.sort.classes import sort_by_mixture, sort_by_sites
    from napari_diffmap.methods.defects.sort.crops import cut_crops

    finds, movie = found.finds, found.movie
    material = parameters.find.material
    size = max(8, round(parameters.sort.crop * found.neighbour_px))
    crops = cut_crops(movie, finds, found.lattices, size, found.neighbour_px)
    report.control.check()
    if parameters.sort.by == "mixture":
        return sort_by_mixture(crops, finds, parameters.sort)
    return sort_by_sites(finds, material, found.lattices)


def _is_graphene(found: Found, parameters: DefectParameters) -> bool:
    """Whether a defect may move from one sublattice to the other, which are of one kind."""
    if parameters.find.material != "auto":
        return parameters.find.material == "graphene"
    size = found.movie.pixel_size_nm
    if size is None:
        return False
    return abs(found.neighbour_px * size / SPACING_NM["graphene"] - 1) < 0.08


def _provenance(found: Found, parameters: DefectParameters, notes: Sequence[str]) -> Provenance:
    scan, movie = found.movie.scan, found.movie
    inputs = []
    if scan.source is not None:
        inputs.append(InputFile.from_path(scan.source, format=scan.format, shape=scan.shape))
    used = {
        "pixel_size_nm": movie.pixel_size_nm,
        "frame_time_s": movie.frame_time_s,
        "neighbour_px": found.neighbour_px,
    }
    return Provenance.collect(
        inputs=inputs,
        method=f"defects/{parameters.find.model}",
        parameters={**parameters.model_dump(mode="json"), "used": used},
        device=found.device,
        notes=notes,
        packages=PACKAGES,
    )
