"""Following finds: tracks, how they move, how their classes change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.jobs.defects_configurations import NEAR, configurations
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.parameters import FollowParameters

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects_frames import Movie
    from napari_diffmap.methods.defects.follow.diffusion import Diffusion
    from napari_diffmap.methods.defects.follow.msd import SquaredDisplacement
    from napari_diffmap.methods.defects.follow.tracks import Tracks
    from napari_diffmap.methods.defects.follow.transitions import Transitions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: What is added to the name of a class where its defects are parts of complexes.
IN_COMPLEX: Final = " in a complex"
#: Tracks of fewer places have no diffusion coefficient of their own.
_FEWEST: Final = 8
#: So many tracks, the longest, get one each: an interval takes milliseconds of simulation.
_MOST_TRACKS: Final = 150


@dataclass(frozen=True)
class Units:
    """Units of lengths and times of tracks.

    Attributes
    ----------
    length, time
        ``nm`` or ``pixel``; ``s`` or ``frame``.
    pixel, frame
        Length of a pixel and time of a frame in them.
    """

    length: str
    time: str
    pixel: float
    frame: float

    @property
    def calibrated(self) -> bool:
        """Whether both are known."""
        return self.length == "nm" and self.time == "s"

    @property
    def diffusion(self) -> str:
        """Of a diffusion coefficient."""
        return f"{self.length}²/{self.time}"


def units_of(pixel_size_nm: float | None, frame_time_s: float | None) -> Units:
    """Units by what is known."""
    return Units(
        "pixel" if pixel_size_nm is None else "nm",
        "frame" if frame_time_s is None else "s",
        pixel_size_nm or 1.0,
        frame_time_s or 1.0,
    )


@dataclass(frozen=True, eq=False)
class Followed:
    """Tracks of a movie's finds and what they tell.

    Attributes
    ----------
    tracks
        See `methods.defects.follow.tracks`.
    track_class
        ``(k,)`` the class that a track shows most often.
    units
        Of what follows; where nothing is calibrated these are pixels and frames.
    diffusion
        Of each class with tracks, by name; tracks that are mostly part of a complex apart, under
        the name of the class and `IN_COMPLEX`.
    track_diffusion
        Of each track; None of short ones, and of all but the longest.
    displacement
        Mean squared displacement, by the same names.
    transitions
        Between classes from frame to frame; None of an image, or without tracks.
    hidden
        The same behind what the classes mistake; None where it cannot be told.
    configurations
        Transitions between what finds make with their neighbours, such as a dopant with none, one
        or two vacancies beside it; by the names in it.
    warnings
        Lines for the user.
    """

    tracks: Tracks
    track_class: Ints
    units: Units
    diffusion: dict[str, Diffusion]
    track_diffusion: tuple[Diffusion | None, ...]
    displacement: dict[str, SquaredDisplacement]
    transitions: Transitions | None
    hidden: Transitions | None
    configurations: Transitions | None
    warnings: tuple[str, ...]


def follow_finds(
    finds: Finds,
    class_id: Ints,
    names: Sequence[str],
    parameters: FollowParameters,
    movie: Movie,
    *,
    neighbour_px: float,
    drift: Floats | None = None,
    graphene: bool = False,
    confusion: Floats | None = None,
    check: Callable[[], object] = lambda: None,
) -> Followed:
    """Link finds and measure what moves and what changes.

    Parameters
    ----------
    finds
        In the order of frames.
    class_id, names
        ``(n,)`` class of each, and what classes are called.
    parameters
        Of linking.
    movie
        For its shape and calibration.
    neighbour_px
        Distance of neighbouring sites of one sublattice, pixels.
    drift
        ``(T, 2)`` pixels.
    graphene
        Whether defects may change their sublattice.
    confusion
        ``(k, k)`` chance that a class (row) is taken for another.
    check
        Called between steps; raises to stop.
    """
    from napari_diffmap.methods.defects.follow.tracks import link
    from napari_diffmap.methods.defects.sort.complexes import complex_sizes, complexes

    groups = np.zeros(len(finds), dtype=np.int8) if graphene else None
    frames = len(movie)
    tracks = link(finds, parameters, neighbour_px, drift, groups=groups, frames=frames)
    members = tracks.members()
    units = units_of(movie.pixel_size_nm, movie.frame_time_s)
    moved = finds.places if drift is None else finds.places - drift[finds.frame]
    places = [moved[mine] * units.pixel for mine in members]
    times = [finds.frame[mine].astype(np.int64) for mine in members]
    sequences = [(t, class_id[mine]) for t, mine in zip(times, members, strict=True)]
    main = np.array(
        [np.bincount(seen, minlength=len(names)).argmax() for _, seen in sequences], dtype=np.int64
    )
    check()
    group = complexes(finds, NEAR * neighbour_px)
    kinds = _kinds(main, names, members, complex_sizes(finds, group) > 1)
    diffusion, displacement = _by_kind(
        places, times, kinds, units, neighbour_px * units.pixel, check
    )
    each = _by_track(places, times, units, check)
    transitions, hidden, warnings = _changes(sequences, names, units, confusion, frames)
    check()
    configured = _configured(finds, class_id, names, members, units, group, frames)
    return Followed(
        tracks, main, units, diffusion, each, displacement, transitions, hidden, configured,
        warnings,
    )  # fmt: skip


def _kinds(
    main: Ints, names: Sequence[str], members: Sequence[Ints], beside: NDArray[np.bool_]
) -> dict[str, Ints]:
    """Tracks by class, those mostly part of a complex apart: they are held where they are."""
    held = np.array([beside[mine].mean() > 0.5 for mine in members], dtype=bool)
    found: dict[str, Ints] = {}
    for i, name in enumerate(names):
        for where, ending in ((False, ""), (True, IN_COMPLEX)):
            mine = np.flatnonzero((main == i) & (held == where))
            if len(mine):
                found[name + ending] = mine
    return found


def _by_kind(
    places: list[Floats],
    times: list[Ints],
    kinds: dict[str, Ints],
    units: Units,
    spacing: float,
    check: Callable[[], object],
) -> tuple[dict[str, Diffusion], dict[str, SquaredDisplacement]]:
    """Diffusion and mean squared displacement of each kind, its tracks pooled."""
    from napari_diffmap.methods.defects.follow.diffusion import hops, pooled
    from napari_diffmap.methods.defects.follow.msd import squared_displacement

    found: dict[str, Diffusion] = {}
    curves: dict[str, SquaredDisplacement] = {}
    for name, mine in kinds.items():
        some, when = [places[k] for k in mine], [times[k] for k in mine]
        told = pooled(some, units.frame, when)
        counted = hops(some, when, units.frame, spacing)
        found[name] = told.with_hops(counted)
        if np.isfinite(told.D_nm2_s):
            noise = float(np.nan_to_num(told.localisation_nm))
            curves[name] = squared_displacement(some, when, units.frame, told.D_nm2_s, noise)
        check()
    return found, curves


def _by_track(
    places: list[Floats], times: list[Ints], units: Units, check: Callable[[], object]
) -> tuple[Diffusion | None, ...]:
    from napari_diffmap.methods.defects.follow.diffusion import diffusion

    lengths = np.array([len(one) for one in times], dtype=np.int64)
    longest = np.argsort(-lengths, kind="stable")[:_MOST_TRACKS]
    chosen = {int(k) for k in longest if lengths[k] >= _FEWEST}
    found: list[Diffusion | None] = []
    for k, (some, when) in enumerate(zip(places, times, strict=True)):
        found.append(diffusion(some, units.frame, when) if k in chosen else None)
        check()
    return tuple(found)


def _changes(
    sequences: list[tuple[Ints, Ints]],
    names: Sequence[str],
    units: Units,
    confusion: Floats | None,
    frames: int,
) -> tuple[Transitions | None, Transitions | None, tuple[str, ...]]:
    """Transitions between classes; as seen, and behind what the classes mistake."""
    if frames < 2 or not sequences or not names:
        return None, None, ()
    from napari_diffmap.methods.defects.follow.hidden import hidden_markov
    from napari_diffmap.methods.defects.follow.transitions import transitions

    k, step = len(names), units.frame if units.time == "s" else None
    seen = transitions(sequences, k, step, names=names)
    hidden = None
    if confusion is not None and k > 1:
        hidden = hidden_markov(sequences, confusion, k, step, names=names)
    told = [*seen.warnings, *(() if hidden is None else hidden.warnings)]
    return seen, hidden, tuple(f"transitions: {line}" for line in dict.fromkeys(told))


def _configured(
    finds: Finds,
    class_id: Ints,
    names: Sequence[str],
    members: Sequence[Ints],
    units: Units,
    group: Ints,
    frames: int,
) -> Transitions | None:
    """Transitions between configurations; None of an image, or without tracks."""
    if frames < 2 or not len(members):
        return None
    from napari_diffmap.methods.defects.follow.transitions import transitions

    ids, told = configurations(finds, class_id, names, group)
    # What is part of another's complex has no state of its own there.
    sequences = [(finds.frame[mine], ids[mine]) for mine in members]
    return transitions(sequences, len(told), units.frame if units.time == "s" else None, names=told)


def confusion_of(class_id: Ints, probability: NDArray[np.floating[Any]]) -> Floats | None:
    """How often each class is taken for another, by the classifier's own probabilities.

    Parameters
    ----------
    class_id
        ``(n,)`` class that each find was given.
    probability
        ``(n, k)`` of each class.

    Returns
    -------
    ndarray or None
        ``(k, k)``: rows the true class, columns the given one; None without finds.
    """
    known = np.isfinite(probability).all(axis=1)
    if not known.any():
        return None
    k = probability.shape[1]
    given = np.eye(k)[class_id[known]]
    matrix = probability[known].astype(np.float64).T @ given
    # A class that nobody ever takes for another is still sure within what so few finds can tell.
    matrix += 0.5 * np.eye(k) + 0.5 / k
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))
