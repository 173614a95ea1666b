"""Defects from scan to result: find, sort, follow; the same in window, terminal and notebook."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.defects_configurations import NEAR
from napari_diffmap.jobs.defects_follow import Followed, confusion_of, follow_finds
from napari_diffmap.jobs.defects_frames import Movie, filled, in_order, is_empty
from napari_diffmap.jobs.defects_map import InForce, class_chances, doubts, finds_of, map_of
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
#: Name of the model that stands for no network.
SITES: Final = "sites"
#: Class of finds that could not be sorted.
UNSORTED: Final = "not sorted"
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
    candidates
        In the order of frames, improbable ones too: the threshold may be moved afterwards.
    threshold
        Probability from which they count.
    lattices
        Of each frame; None where it shows none.
    drift
        ``(T, 2)`` shift of each frame in pixels; None where it was not measured.
    neighbour_px
        Distance of neighbouring sites of one sublattice, pixels.
    material
        Told or guessed; ``other`` where it is none that is known.
    seconds
        That it took: reading, preparing, finding.
    device
        On which.
    warnings
        Lines for the user.
    """

    movie: Movie
    candidates: Finds
    threshold: float
    lattices: Mapping[int, Lattice | None]
    drift: Floats | None
    neighbour_px: float
    material: str
    seconds: float
    device: str
    warnings: tuple[str, ...] = ()

    @cached_property
    def finds(self) -> Finds:
        """Those of the candidates that count."""
        return self.candidates.take(self.candidates.probability >= self.threshold)


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
    # The site model alone needs no network, and does not wait for torch to load.
    plain = parameters.find.model == SITES and parameters.find.train == "no"
    device = "cpu" if plain else resolve_device(device)
    frames = len(movie)
    report(0, frames, "preparing")
    if finder is None:
        finder = _finder(movie, parameters, device, report)
    finder.prepare(movie, movie.pixel_size_nm, report.control)
    parts: list[Finds] = []
    lattices: dict[int, Lattice | None] = {}
    notes: dict[str, int] = {}
    chosen = finder

    def work(number: int) -> Any:
        values = movie[number]
        return None if is_empty(values) else chosen.frame(values, number)

    # A network on a GPU is asked by one thread.
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
    candidates = _as_kept(Finds.joined(parts))
    drift, moved = _drift(movie, parameters, report)
    neighbour, more = _neighbour(lattices, parameters, movie)
    told = [
        note if frames == 1 else f"{note} ({count} of {frames} frames)"
        for note, count in notes.items()
    ]
    first = getattr(finder, "note", "")
    warnings = (*scan.warnings, *movie.warnings, *([first] if first else []), *told, *moved, *more)
    return Found(
        movie=movie,
        candidates=candidates,
        threshold=_threshold(candidates, parameters),
        lattices=lattices,
        drift=drift,
        neighbour_px=neighbour,
        material=str(getattr(finder, "material", parameters.find.material)),
        seconds=time.perf_counter() - report.start,
        device="cpu" if plain else device_label(device),
        warnings=warnings,
    )


def _finder(
    movie: Movie, parameters: DefectParameters, device: str, report: _Report
) -> FrameFinder:
    """The finder of the parameters, its network trained on the first frame where that is wanted."""
    from napari_diffmap.methods.defects.find import Finder

    if parameters.find.train == "no":
        return Finder(parameters.find, device)
    from napari_diffmap.methods.defects.lattice import NoLatticeError, find_lattice
    from napari_diffmap.methods.defects.network.training import train_on_image

    known = parameters.find.spacing_nm or SPACING_NM.get(parameters.find.material)
    size = movie.pixel_size_nm
    spacing = None if known is None or size is None else known / size
    frame = movie[0]
    try:
        lattice = find_lattice(frame, spacing)
    except NoLatticeError:
        lattice = None

    def on_step(step: Any) -> None:
        report(step.step, step.steps, "training")

    learnt = train_on_image(
        frame, lattice, parameters.find.train, spacing=spacing, device=device, on_step=on_step,
        material=parameters.find.material,
    )  # fmt: skip
    return Finder(parameters.find, device, learnt.network(device))


def _threshold(candidates: Finds, parameters: DefectParameters) -> float:
    """The one that is wanted, or the best for what was found."""
    if parameters.find.threshold is not None:
        return parameters.find.threshold
    from napari_diffmap.methods.defects.find import best_threshold

    return best_threshold(candidates.probability)


def _as_kept(finds: Finds) -> Finds:
    """Finds as precise as a map keeps them: followed again they give the same to the last bit."""
    return replace(finds, places=finds.places.astype(np.float32).astype(np.float64))


def _drift(
    movie: Movie, parameters: DefectParameters, report: _Report
) -> tuple[Floats | None, tuple[str, ...]]:
    """Shift of each frame, and what to say of it; None of an image, or where it is not wanted."""
    if not parameters.find.drift or len(movie) < 2:
        return None, ()
    from napari_diffmap.methods.defects.drift import measure_drift

    def recorded(number: int) -> NDArray[np.float32]:
        return filled(movie[number])

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
    from napari_diffmap.methods.defects.sort.complexes import complex_sizes, complexes

    report = _Report(control or JobControl(), on_progress)
    report(0, 3, "sorting defects")
    classes = _sorted(found, parameters, report)
    report(1, 3, "following defects")
    ids = np.asarray(classes.class_id, dtype=np.int64)
    confusion = confusion_of(ids, np.asarray(classes.probability))
    followed = _followed(
        found, parameters, found.finds, ids, classes.names, confusion, report.control
    )
    report(2, 3, "making the map")
    movie = found.movie
    warnings = (*found.warnings, *classes.warnings, *followed.warnings)
    result = map_of(
        found.finds,
        classes,
        followed.tracks.track,
        movie.shape,
        found.neighbour_px,
        shortest=parameters.follow.shortest,
        complexes=complex_sizes(found.finds, complexes(found.finds, NEAR * found.neighbour_px)),
        pixel_size_nm=movie.pixel_size_nm,
        frame_time_s=movie.frame_time_s,
        drift=found.drift,
        provenance=_provenance(found, parameters, warnings),
        warnings=warnings,
    )
    seconds = found.seconds + time.perf_counter() - report.start
    slots = np.arange(len(found.finds))
    run = DefectsRun(result, parameters, found, found.finds, slots, classes, followed, {})
    report(3, 3, "making the map")
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
    report(0, 1, "following defects")
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
    report(1, 1, "following defects")
    return replace(again, summary=summary_of(again, float(run.summary["seconds"])))


def follow_in_force(
    found: Found, parameters: DefectParameters, result: DefectMap, now: InForce, control: JobControl
) -> Followed:
    """Follow the finds that are in force in a map."""
    names = tuple(phase.name for phase in result.phases)
    # What a user decided tells nothing of what the classifier mistakes.
    theirs = ~now.by_hand
    chances = class_chances(result, now.slots[theirs])
    confusion = confusion_of(now.class_id[theirs], chances)
    return _followed(found, parameters, now.finds, now.class_id, names, confusion, control)


def _followed(
    found: Found,
    parameters: DefectParameters,
    finds: Finds,
    ids: NDArray[np.int64],
    names: Sequence[str],
    confusion: Floats | None,
    control: JobControl,
) -> Followed:
    return follow_finds(
        finds, ids, names, parameters.follow, found.movie, neighbour_px=found.neighbour_px,
        drift=found.drift, graphene=found.material == "graphene", confusion=confusion,
        check=control.check,
    )  # fmt: skip


def _sorted(found: Found, parameters: DefectParameters, report: _Report) -> DefectClasses:
    from napari_diffmap.methods.defects.sort.classes import sort_by_mixture, sort_by_sites
    from napari_diffmap.methods.defects.sort.crops import cut_crops

    finds, movie = found.finds, found.movie
    size = max(8, round(parameters.sort.crop * found.neighbour_px))
    crops = cut_crops(movie, finds, found.lattices, size, found.neighbour_px)
    report.control.check()
    if parameters.sort.by == "mixture":
        return _whole(sort_by_mixture(crops, finds, parameters.sort))
    return _whole(sort_by_sites(finds, found.material, found.lattices, crops=crops))


def _whole(classes: DefectClasses) -> DefectClasses:
    """The classes with one more for the finds that could not be sorted, where there are such."""
    lost = np.asarray(classes.class_id) < 0
    if not lost.any():
        return classes
    k = len(classes.names)
    probability = np.zeros((len(lost), k + 1), dtype=np.float32)
    probability[:, :k] = np.where(lost[:, None], 0, classes.probability)
    probability[lost, k] = 1
    averages = np.asarray(classes.averages)
    if len(averages) == k:
        nothing = np.full((1, *averages.shape[1:]), np.nan, dtype=averages.dtype)
        averages = np.concatenate((averages, nothing))
    return replace(
        classes,
        names=(*classes.names, UNSORTED),
        class_id=np.where(lost, k, classes.class_id),
        probability=probability,
        averages=averages,
    )


def _provenance(found: Found, parameters: DefectParameters, notes: Sequence[str]) -> Provenance:
    scan, movie = found.movie.scan, found.movie
    inputs = []
    if scan.source is not None:
        inputs.append(InputFile.from_path(scan.source, format=scan.format, shape=scan.shape))
    used = {
        "pixel_size_nm": movie.pixel_size_nm,
        "frame_time_s": movie.frame_time_s,
        "neighbour_px": found.neighbour_px,
        "threshold": found.threshold,
        "material": found.material,
    }
    return Provenance.collect(
        inputs=inputs,
        method=f"defects/{parameters.find.model}",
        parameters={**parameters.model_dump(mode="json"), "used": used},
        device=found.device,
        notes=notes,
        packages=PACKAGES,
    )
