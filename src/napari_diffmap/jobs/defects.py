"""Defects from scan to result: find, sort, follow; the same in window, terminal and notebook."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.defects_configurations import NEAR
from napari_diffmap.jobs.defects_find import (
    Floats,
    Found,
    FrameFinder,
    OnFrame,
    Report,
    find_defects,
)
from napari_diffmap.jobs.defects_follow import Followed, confusion_of, follow_finds
from napari_diffmap.jobs.defects_frames import one_thread_of_algebra
from napari_diffmap.jobs.defects_map import InForce, class_chances, doubts, finds_of, map_of
from napari_diffmap.jobs.defects_summary import summary_of
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.provenance import InputFile, Provenance
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.parameters import DefectParameters
from napari_diffmap.scan.scan import Scan

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.follow.tracks import Tracks
    from napari_diffmap.methods.defects.lattice import Lattice
    from napari_diffmap.methods.defects.sort.classes import DefectClasses

#: Packages whose version can change what is found.
PACKAGES: Final = (
    "numpy", "scipy", "dask", "rosettasciio", "scikit-learn", "laptrack", "torch",
)  # fmt: skip
#: Class of finds that could not be sorted.
UNSORTED: Final = "not sorted"

__all__ = [
    "DefectsRun",
    "Found",
    "find_defects",
    "follow_again",
    "map_defects",
    "sort_and_follow",
]


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


@one_thread_of_algebra
def sort_and_follow(
    found: Found,
    parameters: DefectParameters,
    *,
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
) -> DefectsRun:
    """The second and third step of `map_defects`: name the finds, link them, make the map."""
    from napari_diffmap.methods.defects.sort.complexes import complex_sizes, complexes

    report = Report(control or JobControl(), on_progress)
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


@one_thread_of_algebra
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
    report = Report(control or JobControl(), on_progress)
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


def _sorted(found: Found, parameters: DefectParameters, report: Report) -> DefectClasses:
    from napari_diffmap.methods.defects.sort.classes import sort_by_mixture, sort_by_sites
    from napari_diffmap.methods.defects.sort.crops import cut_crops

    finds, movie = found.finds, found.movie
    size = crop_size(found, parameters)
    crops = cut_crops(movie, finds, found.lattices, size, found.neighbour_px)
    report.control.check()
    if parameters.sort.by == "mixture":
        return _whole(sort_by_mixture(crops, finds, parameters.sort))
    return _whole(sort_by_sites(finds, found.material, found.lattices, crops=crops))


def crop_size(found: Found, parameters: DefectParameters) -> int:
    """Side in pixels of what is looked at around a find."""
    return max(8, round(parameters.sort.crop * found.neighbour_px))


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
