"""What found, sorted and followed defects leave in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.jobs.defects import DefectsRun, crop_size, follow_again
from napari_diffmap.jobs.defects_follow import IN_COMPLEX
from napari_diffmap.jobs.defects_frames import Movie, filled
from napari_diffmap.jobs.defects_map import finds_of
from napari_diffmap.jobs.defects_summary import as_record
from napari_diffmap.jobs.record import write_json, write_rows
from napari_diffmap.jobs.results import unwritable
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.edits.edit import EDITED, snapshot
from napari_diffmap.maps.edits.edited import EDITED_NAMES
from napari_diffmap.maps.figures import defects as pictures
from napari_diffmap.maps.files.save_defects import save_defects_h5
from napari_diffmap.methods.defects.finds import OFF

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects_recipe import DefectsRecipe
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.methods.defects.follow.transitions import Transitions

#: The map in a folder of results.
DEFECTS_FILE: Final = "defects.h5"
#: Finds of a class that its mean image is made of, about.
_MOST_CROPS: Final = 200
#: Finds as a table.
TABLE: Final = "defects.csv"


def write_defects(run: DefectsRun, folder: Path) -> list[Path]:
    """Write what a run leaves in a folder.

    ``defects.csv``, ``tracks.csv``, ``transitions.csv``, ``diffusion.json``, ``summary.json``,
    ``defects.h5`` with everything, and pictures: the first, middle and last frame with their
    defects, class averages, space and time, transitions, mean squared displacement.

    Parameters
    ----------
    run
        As mapped, or with corrections (`jobs.defects.follow_again`).
    folder
        Exists and can be written.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ResourceError
        If the folder cannot be written or the disk is full.
    """
    try:
        written = [
            save_defects_h5(run.map, folder / DEFECTS_FILE),
            write_table(run.map, folder / TABLE, run),
        ]
        if len(run.found.movie) > 1:
            written += _write_followed(run, folder)
        written += _write_pictures(run, folder)
        written.append(write_json(folder / "summary.json", run.summary, indent=1))
    except OSError as error:
        raise unwritable(folder, error) from error
    return written


# ---------------------------------------------------------------- tables


def write_table(found: DefectMap, path: Path, run: DefectsRun | None = None) -> Path:
    """Finds of a map as CSV, one a row in the order of frames; cells of unknown numbers are empty.

    Parameters
    ----------
    found
        The map, with its corrections.
    path
        ``.csv``.
    run
        Whose lattices say where finds lie that were added or moved.
    """
    now = finds_of(found, None if run is None else run.lattices)
    finds, size = now.finds, found.pixel_size_nm
    kinds = found.extra[EDITED][0, now.slots] if EDITED in found.extra else None
    doubt, causes = found.ambiguity[0, now.slots], found.cause_names
    clear = found.best_scores[0, now.slots]

    def rows() -> Iterable[list[Any]]:
        for i in range(len(finds)):
            y, x = (float(v) for v in finds.places[i])
            yield [
                int(finds.frame[i]),
                f"{y:.3f}",
                f"{x:.3f}",
                found.phases[int(now.class_id[i])].name,
                _text(finds.probability[i], 4),
                "" if size is None else f"{y * size:.5f}",
                "" if size is None else f"{x * size:.5f}",
                "" if finds.sublattice[i] == OFF else int(finds.sublattice[i]),
                _text(finds.ratio[i], 3),
                "" if now.track[i] < 0 else int(now.track[i]),
                _text(clear[i], 4),
                causes[int(doubt[i])] if doubt[i] else "",
                "" if kinds is None else EDITED_NAMES[int(kinds[i])],
                int(now.slots[i]),
            ]

    header = [
        "frame", "y", "x", "class", "probability", "y_nm", "x_nm", "sublattice", "ratio", "track",
        "class_probability", "doubt", "edited", "number",
    ]  # fmt: skip
    return write_rows(path, header, rows())


def _write_followed(run: DefectsRun, folder: Path) -> list[Path]:
    """Tracks, diffusion and transitions of a movie."""
    followed = run.followed
    written = [_write_tracks(run, folder / "tracks.csv")]
    units = followed.units
    record = {
        "unit": units.diffusion,
        "calibrated": units.calibrated,
        "note": ""
        if units.calibrated
        else "uncalibrated: give the pixel size and the time of a frame for nm²/s",
        "interval": "95 %",
        "classes": {k: as_record(v, units) for k, v in followed.diffusion.items()},
        "displacement": {k: as_record(v, units) for k, v in followed.displacement.items()},
        "tracks": {
            str(k): as_record(v, units)
            for k, v in enumerate(followed.track_diffusion)
            if v is not None
        },
    }
    written.append(write_json(folder / "diffusion.json", record, indent=1))
    told = {
        "class": followed.transitions,
        "class behind its confusion": followed.hidden,
        "configuration": followed.configurations,
    }
    written.append(_write_transitions(told, folder / "transitions.csv"))
    return written


def _write_tracks(run: DefectsRun, path: Path) -> Path:
    followed, tracks = run.followed, run.followed.tracks
    units, drift = followed.units, run.drift
    places = run.finds.places if drift is None else run.finds.places - drift[run.finds.frame]
    size = run.map.pixel_size_nm

    def rows() -> Iterable[list[Any]]:
        for k, mine in enumerate(tracks.members()):
            told = followed.track_diffusion[k]
            span = int(tracks.last[k] - tracks.first[k]) + 1
            (y0, x0), (y1, x1) = places[mine[0]], places[mine[-1]]
            way = float(np.hypot(y1 - y0, x1 - x0))
            yield [
                k,
                run.map.phases[int(followed.track_class[k])].name,
                int(tracks.first[k]),
                int(tracks.last[k]),
                int(tracks.seen[k]),
                span - int(tracks.seen[k]),
                f"{y0:.3f}", f"{x0:.3f}", f"{y1:.3f}", f"{x1:.3f}",
                "" if size is None else f"{way * size:.5f}",
                "" if told is None else _text(told.D_nm2_s, 6),
                "" if told is None else _text(told.low, 6),
                "" if told is None else _text(told.high, 6),
                "" if told is None else units.diffusion,
                "" if told is None or told.confined is None else str(told.confined).lower(),
            ]  # fmt: skip

    header = [
        "track", "class", "first_frame", "last_frame", "seen", "unseen", "first_y", "first_x",
        "last_y", "last_x", "displacement_nm", "D", "D_low", "D_high", "D_unit", "confined",
    ]  # fmt: skip
    return write_rows(path, header, rows())


def _write_transitions(told: dict[str, Transitions | None], path: Path) -> Path:
    """A row a pair of what was seen at least once; ``of`` says what changes into what."""

    def rows() -> Iterable[list[Any]]:
        for kind, one in told.items():
            if one is None:
                continue
            for i, j in product(_seen(one), repeat=2):
                yield [
                    one.names[i], one.names[j], _text(one.counts[i, j], 6),
                    _text(one.probability[i, j], 6), _text(one.low[i, j], 6),
                    _text(one.high[i, j], 6), kind,
                ]  # fmt: skip

    return write_rows(path, ["from", "to", "count", "probability", "low", "high", "of"], rows())


def _seen(told: Transitions) -> list[int]:
    """Classes that a transition was counted of."""
    counts = np.asarray(told.counts)
    return [int(i) for i in np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))]


# -------------------------------------------------------------- pictures


def _write_pictures(run: DefectsRun, folder: Path) -> list[Path]:
    found, movie = run.map, run.found.movie
    written = write_marked(found, movie, folder)
    counts = np.bincount(found.best_phase_ids[0, run.slots], minlength=len(found.phases))
    averages = _averages(run)
    shown = [i for i in np.flatnonzero(counts) if i < len(averages)]
    if shown:
        written.append(
            pictures.save_gallery_png(
                averages[shown],
                [found.phases[i].name for i in shown],
                [int(counts[i]) for i in shown],
                [found.phases[i].color for i in shown],
                folder / "classes.png",
                found.provenance,
            )
        )
    if len(movie) > 1 and len(run.finds):
        written.append(pictures.save_space_time_png(found, folder / "space-time.png"))
        written += _write_curves(run, folder)
    return written


def _averages(run: DefectsRun) -> NDArray[np.float32]:
    """Mean image of each class as it is now; of as many finds as tell it."""
    edited = run.map.extra.get(EDITED)
    if run.classes is not None and (edited is None or not edited.any()):
        return np.asarray(run.classes.averages, dtype=np.float32)
    from napari_diffmap.methods.defects.sort.answer import class_averages
    from napari_diffmap.methods.defects.sort.crops import cut_crops

    ids = run.map.best_phase_ids[0, run.slots].astype(np.int64)
    chosen = [np.flatnonzero(ids == i) for i in range(len(run.map.phases))]
    few = [some[:: -(-len(some) // _MOST_CROPS)] for some in chosen if len(some)]
    if not few:
        return np.zeros((0, 1, 1), dtype=np.float32)
    some = np.sort(np.concatenate(few))
    size = crop_size(run.found, run.parameters)
    crops = cut_crops(
        run.found.movie, run.finds.take(some), run.lattices, size, run.found.neighbour_px
    )
    return class_averages(crops, ids[some], len(run.map.phases))


def write_marked(found: DefectMap, movie: Movie, folder: Path) -> list[Path]:
    """The first, the middle and the last frame with their defects; of an image the one."""
    frames = sorted({0, (len(movie) - 1) // 2, len(movie) - 1})
    names = ["marked.png"] if len(movie) == 1 else [f"marked-{k:04d}.png" for k in frames]
    return [
        pictures.save_marked_png(found, filled(movie[k]), k, folder / name)
        for k, name in zip(frames, names, strict=True)
    ]


def _write_curves(run: DefectsRun, folder: Path) -> list[Path]:
    followed, found = run.followed, run.map
    written = []
    seen = followed.configurations
    kept = [] if seen is None else _seen(seen)
    if seen is not None and kept:
        told = [
            f"|λ₂| {seen.second_eigenvalue:.2f}" if np.isfinite(seen.second_eigenvalue) else "",
            "memoryless" if seen.memoryless else "",
        ]
        both = np.ix_(kept, kept)
        written.append(
            pictures.save_transitions_png(
                [seen.names[i] for i in kept],
                seen.probability[both], seen.low[both], seen.high[both],
                folder / "transitions.png", found.provenance,
                note=", ".join(part for part in told if part),
            )
        )  # fmt: skip
    curves = [
        pictures.DisplacementCurve(
            i, name, phase.color, one.lag_s, one.msd_nm2, one.low, one.high,
            followed.diffusion[name].D_nm2_s, hollow=name != phase.name,
        )
        for i, phase in enumerate(found.phases)
        for name in (phase.name, phase.name + IN_COMPLEX)
        if (one := followed.displacement.get(name)) is not None
    ]  # fmt: skip
    if curves:
        units = (followed.units.length, followed.units.time)
        path = folder / "displacement.png"
        written.append(pictures.save_displacement_png(curves, path, found.provenance, units=units))
    return written


# ------------------------------------------------------------ corrections


def with_corrections(run: DefectsRun, corrections: Corrections) -> DefectsRun:
    """The run with its corrected map, followed again, and a summary that says so."""
    from napari_diffmap.jobs.corrected import correction_summary

    found = snapshot(corrections.map)
    assert isinstance(found, DefectMap)
    again = follow_again(run, found)
    again.summary["corrected"] = correction_summary(corrections)
    return again


def corrected_run(
    run: DefectsRun, record: Path, folder: Path
) -> tuple[DefectsRun, list[Path], tuple[str, ...]]:
    """A run with corrections by hand on top.

    Parameters
    ----------
    run
        As mapped.
    record
        The record of edits (``edits.jsonl``); of another run where the answer that it corrects
        (``answer.h5``) lies beside it.
    folder
        In which record and answer are kept, too.

    Returns
    -------
    run, files, warnings
        With the corrected map; what was written; lines for the user.
    """
    from napari_diffmap.maps.edits.carried import load_edits

    corrections, warnings = load_edits(record, run.map)
    return with_corrections(run, corrections), keep_edits(corrections, folder), warnings


def keep_edits(corrections: Corrections, folder: Path) -> list[Path]:
    """Write the record of corrections and the answer that they are of; the record comes first."""
    from napari_diffmap.jobs.session_file import ANSWER
    from napari_diffmap.maps.edits.log import FILE_NAME, save_log

    answer = corrections.answer
    assert isinstance(answer, DefectMap)
    return [
        save_log(corrections, folder / FILE_NAME),
        save_defects_h5(answer, folder / ANSWER),
    ]


def save_run(
    run: DefectsRun, corrections: Corrections, folder: Path, recipe: DefectsRecipe | None
) -> list[Path]:
    """Write a run as it was corrected, with the record of that and a recipe of both.

    Parameters
    ----------
    run
        As mapped.
    corrections
        Of its map; there may be none.
    folder
        Exists.
    recipe
        Of the run; None where there is none.
    """
    from napari_diffmap.jobs.recipe import FILE_NAME, save_recipe, with_edits

    kept: list[Path] = []
    if corrections.done:
        run = with_corrections(run, corrections)
        kept = keep_edits(corrections, folder)
        recipe = None if recipe is None else with_edits(recipe, kept[0])
    written = [*write_defects(run, folder), *kept]
    if recipe is not None:
        written.append(save_recipe(recipe, folder / FILE_NAME))
    return written


# ---------------------------------------------------------------- numbers


def _text(value: Any, digits: int) -> str:
    number = float(value)
    return f"{number:.{digits}g}" if np.isfinite(number) else ""
