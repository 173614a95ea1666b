"""What a phase map of a stack leaves in a folder, with its corrections and its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.jobs.phases import PhasesRun, mean_spectra
from napari_diffmap.jobs.record import write_json, write_rows
from napari_diffmap.maps.spectral_map import SpectralMap
from napari_diffmap.methods.spectra.clusters import Clusters

if TYPE_CHECKING:
    from napari_diffmap.jobs.phases_recipe import PhasesRecipe
    from napari_diffmap.maps.edits.corrections import Corrections


def write_phases(run: PhasesRun, folder: Path) -> list[Path]:
    """Write what a phase map leaves in a folder.

    Maps and pictures (`maps.files.save_spectral`), ``phases.h5`` with everything, ``spectra.csv``
    with energies, references and the mean spectrum of each phase, ``summary.json``; of methods
    that cluster ``clusters.csv``, too.

    Raises
    ------
    ResourceError
        If it cannot be written.
    """
    from napari_diffmap.jobs.spectral_results import PHASES_FILE
    from napari_diffmap.maps.files.save_spectral import write_spectral
    from napari_diffmap.maps.files.save_spectral_h5 import save_spectral_h5

    written = write_spectral(run.map, folder)
    written.append(save_spectral_h5(run.map, folder / PHASES_FILE))
    written.append(_write_spectra(run, folder / "spectra.csv"))
    if run.answer.clusters is not None:
        written.append(_write_clusters(run, run.answer.clusters, folder / "clusters.csv"))
    written.append(write_json(folder / "summary.json", run.summary, indent=2))
    return written


def _write_spectra(run: PhasesRun, path: Path) -> Path:
    energies = run.density.energies
    columns = {"energy_eV": energies, "I0": run.density.incident}
    for phase in run.map.phases:
        columns[f"reference {phase.name}"] = np.interp(
            energies, phase.energies, phase.values, np.nan, np.nan
        )
        columns[f"mean OD {phase.name}"] = run.spectra[phase.name]
    return _write_columns(columns, path)


def _write_clusters(run: PhasesRun, clusters: Clusters, path: Path) -> Path:
    """Mean spectrum and spread of each cluster, named by the reference it is most like."""
    columns = {"energy_eV": run.answer.energies}
    for k, reference in enumerate(clusters.references):
        if reference < 0:
            continue
        name = run.map.phases[int(reference)].name
        r = float(clusters.correlations[k, reference])
        columns[f"cluster {k + 1}: {name} (r {r:.3f})"] = clusters.means[k]
        columns[f"standard deviation {k + 1}"] = clusters.spreads[k]
    return _write_columns(columns, path)


def _write_columns(columns: Mapping[str, NDArray[np.float64]], path: Path) -> Path:
    rows = ([f"{value:.7g}" for value in row] for row in zip(*columns.values(), strict=True))
    return write_rows(path, columns, rows)


def corrected_run(
    run: PhasesRun, record: Path, folder: Path
) -> tuple[PhasesRun, Path, tuple[str, ...]]:
    """A run with corrections by hand on top.

    Parameters
    ----------
    run
        As mapped.
    record
        The record of edits (``edits.jsonl``).
    folder
        In which the record is kept, too.

    Returns
    -------
    run, path, warnings
        With the corrected map and its summary; the record in `folder`; lines for the user.
    """
    from napari_diffmap.maps.edits.log import FILE_NAME, load_log, save_log

    corrections, warnings = load_log(record, run.map)
    return with_corrections(run, corrections), save_log(corrections, folder / FILE_NAME), warnings


def with_corrections(run: PhasesRun, corrections: Corrections) -> PhasesRun:
    """The run with its corrected map, the spectra of its phases and a summary that says so."""
    from napari_diffmap.jobs.corrected import correction_summary
    from napari_diffmap.maps.edits.edit import snapshot

    found = snapshot(corrections.map)
    assert isinstance(found, SpectralMap)
    mapped = max(int(found.indexed.sum()), 1)
    summary = {
        **run.summary,
        "phase_fractions": {
            phase.name: float(found.phase_mask(i).sum() / mapped)
            for i, phase in enumerate(found.phases)
        },
        "ambiguous_fraction": found.ambiguous_fraction(),
        "corrected": correction_summary(corrections),
    }
    return replace(run, map=found, spectra=mean_spectra(found, run.density), summary=summary)


def save_run(
    run: PhasesRun, corrections: Corrections, folder: Path, recipe: PhasesRecipe | None
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
    from napari_diffmap.maps.edits.log import FILE_NAME as EDITS
    from napari_diffmap.maps.edits.log import save_log

    if not corrections.done:
        written = write_phases(run, folder)
    else:
        written = write_phases(with_corrections(run, corrections), folder)
        written.append(save_log(corrections, folder / EDITS))
        recipe = None if recipe is None else with_edits(recipe, folder / EDITS)
    if recipe is not None:
        written.append(save_recipe(recipe, folder / FILE_NAME))
    return written
