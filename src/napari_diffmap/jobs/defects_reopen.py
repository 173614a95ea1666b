"""A map of defects from its file, with the images that it was made from, as a run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from pydantic import ValidationError

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.defects import DefectsRun, Found, follow_in_force
from napari_diffmap.jobs.defects_frames import Movie, calibrated
from napari_diffmap.jobs.defects_map import finds_of
from napari_diffmap.jobs.defects_results import DEFECTS_FILE
from napari_diffmap.jobs.defects_summary import summary_of
from napari_diffmap.jobs.session_file import ANSWER
from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.edits.corrections import Corrections
from napari_diffmap.maps.edits.edit import snapshot
from napari_diffmap.maps.edits.log import FILE_NAME as EDITS
from napari_diffmap.maps.edits.log import load_log
from napari_diffmap.maps.files.load_defects import load_defects_h5
from napari_diffmap.methods.defects.parameters import DefectParameters
from napari_diffmap.scan.scan import Scan

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.lattice import Lattice


class Lattices(Mapping[int, "Lattice | None"]):
    """Lattices of a movie's frames, each found when it is first asked for.

    Parameters
    ----------
    movie
        The frames.
    spacing_px
        Lattice constant, pixels.
    """

    def __init__(self, movie: Movie, spacing_px: float) -> None:
        self._movie, self._spacing = movie, spacing_px
        self._known: dict[int, Lattice | None] = {}

    def __getitem__(self, number: int) -> Lattice | None:
        """The lattice of a frame; None where it shows none."""
        if not 0 <= number < len(self._movie):
            raise KeyError(number)
        if number not in self._known:
            from napari_diffmap.methods.defects.lattice import NoLatticeError, find_lattice

            try:
                self._known[number] = find_lattice(self._movie[number], self._spacing)
            except NoLatticeError:
                self._known[number] = None
        return self._known[number]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._movie)))

    def __len__(self) -> int:
        return len(self._movie)

    @property
    def known(self) -> int:
        """How many were found so far."""
        return sum(one is not None for one in self._known.values())


def load_run(
    folder: str | Path, scan: Scan, *, control: JobControl | None = None
) -> tuple[DefectsRun, Corrections, tuple[str, ...]]:
    """A run and its corrections from a folder of results.

    Parameters
    ----------
    folder
        With ``defects.h5``; where ``answer.h5`` and ``edits.jsonl`` lie beside it every correction
        can be undone.  Or the file itself.
    scan
        The images that it was made from.
    control
        Stops it.

    Returns
    -------
    run, corrections, warnings
        The run, its tracks those of the finds that are in force; its corrections; and lines for
        the user.

    Raises
    ------
    BadInputError
        If there is no such map, it is damaged, or the images are others.
    """
    place = Path(folder)
    file = place / DEFECTS_FILE if place.is_dir() else place
    record = place / EDITS
    recorded = (place / ANSWER).is_file() and record.is_file()
    if not (recorded or file.is_file()):
        raise BadInputError(f"{place}: there is no map of defects; give the folder of a run")

    def corrected(answer: DefectMap) -> tuple[Corrections, tuple[str, ...]]:
        return load_log(record, answer) if recorded else (Corrections(answer), ())

    answer = load_defects_h5(place / ANSWER if recorded else file)
    corrections, warnings = corrected(answer)
    run = run_of(cast("DefectMap", snapshot(corrections.map)), scan, control=control)
    # Corrections hold a copy of their answer: they begin again from the one that is followed.
    followed = answer.replaced(extra={**answer.extra, "track": run.map.extra["track"]})
    return replace(run, map=followed), corrected(followed)[0], warnings


def run_of(found: DefectMap, scan: Scan, *, control: JobControl | None = None) -> DefectsRun:
    """The run of a map that was saved: its finds followed again, with its images.

    Parameters
    ----------
    found
        The map, with its corrections where it has some.
    scan
        The images that it was made from.
    control
        Stops it.

    Raises
    ------
    BadInputError
        If the images are others, or the map does not say how it was made.
    """
    movie = Movie(calibrated(scan, found.pixel_size_nm, found.frame_time_s))
    if movie.shape != found.image_shape:
        frames, rows, columns = found.image_shape
        raise BadInputError(
            f"{scan.name} is not what these defects were found in: {frames} frames of"
            f" {rows} × {columns} pixels"
        )
    told = dict(found.provenance.parameters)
    used = told.pop("used", {})
    try:
        parameters = DefectParameters(**told)
        neighbour, threshold = float(used["neighbour_px"]), float(used["threshold"])
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            "this map of defects does not say how it was made: find them again"
        ) from error
    lattices = Lattices(movie, neighbour)
    now = finds_of(found, lattices)
    search = Found(
        movie=movie,
        candidates=now.finds,
        threshold=min(threshold, *now.finds.probability.tolist(), 1.0),
        lattices=lattices,
        drift=found.drift,
        neighbour_px=neighbour,
        material=str(used.get("material", parameters.find.material)),
        seconds=0.0,
        device=found.provenance.device,
        warnings=found.warnings,
    )
    followed = follow_in_force(search, parameters, found, now, control or JobControl())
    track = np.full(found.shape, np.nan, dtype=np.float32)
    track[0, now.slots] = followed.tracks.track
    again = found.replaced(extra={**found.extra, "track": track})
    run = DefectsRun(again, parameters, search, now.finds, now.slots, None, followed, {})
    return replace(run, summary=summary_of(run, 0.0))
