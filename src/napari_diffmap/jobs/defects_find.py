"""The first step of a run of defects: finding them, frame by frame."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.defects_frames import (
    Movie,
    filled,
    in_order,
    is_empty,
    one_thread_of_algebra,
)
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.parameters import SPACING_NM, DefectParameters, FindParameters
from napari_diffmap.models.device import device_label, resolve_device
from napari_diffmap.scan.scan import Scan

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.lattice import Lattice
    from napari_diffmap.methods.defects.network.model import DefectNetwork

#: Name of the model that stands for no network.
SITES: Final = "sites"
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


class Report:
    """Says how far a run is, and stops it."""

    def __init__(self, control: JobControl, on_progress: OnProgress | None) -> None:
        self.control, self.on_progress = control, on_progress
        self.start = time.perf_counter()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Say so, unless the run was stopped.

        Raises
        ------
        CancelledError
            When stopped.
        """
        self.control.check()
        if self.on_progress is not None:
            self.on_progress(Progress(done, total, time.perf_counter() - self.start, what))


@one_thread_of_algebra
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
    report = Report(control or JobControl(), on_progress)
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

    if device != "cpu" and getattr(finder, "network", None) is not None:
        chosen.network = OneAtATime(chosen.network)  # type: ignore[attr-defined]
    workers = min(os.cpu_count() or 1, 8)
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


class OneAtATime:
    """A network on a GPU that several threads ask: one after the other.

    Parameters
    ----------
    network
        Whose ``predict`` must not be called twice at once.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._free = Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def predict(self, *given: Any, **options: Any) -> Any:
        """What the network says, when it is free."""
        with self._free:
            return self._network.predict(*given, **options)


def _finder(movie: Movie, parameters: DefectParameters, device: str, report: Report) -> FrameFinder:
    """The finder of the parameters, its network trained on the first frame where that is wanted."""
    from napari_diffmap.methods.defects.find import Finder

    if parameters.find.train == "no":
        return Finder(parameters.find, device)

    def on_step(step: Any) -> None:
        report(step.step, step.steps, "training")

    return Finder(parameters.find, device, trained_first(movie, parameters.find, device, on_step))


def trained_first(
    movie: Movie,
    find: FindParameters,
    device: str,
    on_step: Callable[[Any], None],
    stopped: Callable[[], bool] = lambda: False,
) -> DefectNetwork:
    """A network that learnt from the first frame of a movie.

    Parameters
    ----------
    movie
        Frames; `find` says how the first is labelled.
    find
        What is sought, and how.
    device
        Torch device.
    on_step
        Told of each step of the training; may raise to end it.
    stopped
        Whether to end it with what was learnt so far.
    """
    from napari_diffmap.methods.defects.lattice import NoLatticeError, find_lattice
    from napari_diffmap.methods.defects.network.training import train_on_image

    assert find.train != "no"
    known = find.spacing_nm or SPACING_NM.get(find.material)
    size = movie.pixel_size_nm
    spacing = None if known is None or size is None else known / size
    frame = movie[0]
    try:
        lattice = find_lattice(frame, spacing)
    except NoLatticeError:
        lattice = None
    learnt = train_on_image(
        frame, lattice, find.train, spacing=spacing, material=find.material, device=device,
        on_step=on_step, stopped=stopped,
    )  # fmt: skip
    return learnt.network(device)


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
    movie: Movie, parameters: DefectParameters, report: Report
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
