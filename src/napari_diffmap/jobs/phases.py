"""The phase map of a stack from scan to result: the same call in window, terminal and notebook."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.jobs.record import json_text
from napari_diffmap.maps.provenance import InputFile, Provenance
from napari_diffmap.maps.spectral_doubt import SpectralDoubt
from napari_diffmap.maps.spectral_map import SpectralMap, SpectralPhase
from napari_diffmap.methods.spectra.align import aligned, find_shifts
from napari_diffmap.methods.spectra.clusters import Clusters
from napari_diffmap.methods.spectra.density import Density, optical_density
from napari_diffmap.methods.spectra.incident import Incident
from napari_diffmap.methods.spectra.method import MethodRow, PhaseAnswer, SpectralMethod
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.references import Reference
from napari_diffmap.models.device import device_label, resolve_device
from napari_diffmap.scan.scan import Scan

if TYPE_CHECKING:
    from napari_diffmap.jobs.phases_recipe import PhasesRecipe
    from napari_diffmap.maps.edits.corrections import Corrections

#: Largest stack that is mapped, decoded: every pixel's whole spectrum is needed at once.
LARGEST_BYTES = 6 << 30


@dataclass(frozen=True, eq=False)
class Stack:
    """A scan of images over energy, decoded.

    Attributes
    ----------
    values
        ``(E, Y, X)`` float32 counts or densities, NaN where nothing was recorded.
    energies
        ``(E,)`` eV.
    whole
        Whether the file holds whole numbers: photons.
    """

    values: NDArray[np.float32]
    energies: NDArray[np.float64]
    whole: bool


@dataclass(frozen=True, eq=False)
class PhasesRun:
    """A finished phase map.

    Attributes
    ----------
    map
        The answers with their doubts and provenance.
    density
        Optical densities and masks that it was made from.
    answer
        The method's own answer.
    table
        A row a method: how far it agrees with the map.
    spectra
        Name → ``(E,)`` mean optical density of the pixels of each phase that are not in doubt,
        ``energy`` first.
    summary
        What ``summary.json`` holds.
    """

    map: SpectralMap
    density: Density
    answer: PhaseAnswer
    table: tuple[MethodRow, ...]
    spectra: dict[str, NDArray[np.float64]]
    summary: dict[str, Any]


def read_stack(scan: Scan, control: JobControl | None = None) -> Stack:
    """Decode a stack.

    Raises
    ------
    BadInputError
        If the scan is no stack over energy, or too large.
    """
    if scan.kind != "STXM":
        raise BadInputError(f"{scan.name} is {scan.in_words}: phases need images over energy")
    axis = scan.axes[0].canonical()
    if axis.unit != "eV":
        raise BadInputError(
            f"{scan.name} does not say its energies: put a list of them (eV) beside the file"
        )
    if scan.nbytes // scan.dtype.itemsize * 4 > LARGEST_BYTES:
        raise BadInputError(
            f"{scan.name} takes {scan.nbytes / 2**30:.1f} GiB decoded: crop it, or bin it first"
        )
    values = np.empty(scan.shape, dtype=np.float32)
    for i in range(scan.shape[0]):
        if control is not None:
            control.check()
        frame = np.asarray(scan.data[i].compute(scheduler="synchronous"))
        values[i] = np.abs(frame) ** 2 if np.iscomplexobj(frame) else frame
    if scan.missing is not None:
        values[np.asarray(scan.missing)] = np.nan
    return Stack(values, axis.coordinates, scan.dtype.kind in "iu")


def density_of(
    stack: Stack,
    incident: Incident,
    parameters: SpectralParameters,
    masked: NDArray[np.bool_] | None = None,
) -> Density:
    """Optical densities of a stack, as a map is made from them.

    Parameters
    ----------
    stack
        Aligned, where it is to be.
    incident
        Where I0 comes from.
    parameters
        Of the map.
    masked
        ``(Y, X)`` pixels that the user takes out, such as thick parts.
    """
    spectrum = None
    if not incident.already_density:
        spectrum = incident.spectrum(stack.values, stack.energies)
    return optical_density(
        stack.values,
        stack.energies,
        spectrum,
        saturation=parameters.saturation,
        threshold=parameters.threshold,
        masked=masked,
        counting=True if stack.whole and spectrum is not None else None,
    )


def map_phases(
    scan: Scan,
    references: Sequence[Reference],
    parameters: SpectralParameters | None = None,
    *,
    incident: Incident | None = None,
    masked: NDArray[np.bool_] | None = None,
    device: str = "auto",
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
) -> PhasesRun:
    """Map the phases of a stack.

    Parameters
    ----------
    scan
        Images over energy.
    references
        Two at least.
    parameters
        Of the map; defaults without.
    incident
        Where I0 comes from; the brightest pixels without.
    masked
        ``(Y, X)`` pixels that are not to be read, such as thick parts: doubted as saturated.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, for the autoencoders.
    control, on_progress
        Stops the run; told how far it is.

    Raises
    ------
    BadInputError
        If the scan, the references or I0 do not fit.
    CancelledError
        When stopped.
    """
    control = control or JobControl()
    parameters = parameters or SpectralParameters()
    incident = incident or Incident()
    method = SpectralMethod(parameters, references)
    device = resolve_device(device)
    start = time.perf_counter()

    def report(done: int, total: int, what: str) -> None:
        control.check()
        if on_progress is not None:
            on_progress(Progress(done, total, time.perf_counter() - start, what))

    report(0, 4, "reading the stack")
    stack = read_stack(scan, control)
    method.chosen_energies(stack.energies)  # what does not fit is said before the work
    notes = list(scan.warnings)
    if parameters.align:
        shifts = find_shifts(
            stack.values,
            density=incident.already_density,
            progress=report,
            check=control.check,
        )
        stack = Stack(aligned(stack.values, shifts), stack.energies, False)
        notes.append(f"frames aligned by up to {np.abs(shifts).max():.2f} pixels")
    read = time.perf_counter() - start
    density = density_of(stack, incident, parameters, masked)
    answer = method.answer(density, device=device, progress=report, check=control.check)
    seconds = time.perf_counter() - start
    found = _map(scan, method, incident, answer, device_label(device), notes)
    spectra = _spectra(found, density)
    summary = _summary(scan, found, answer, incident, density, seconds, read)
    return PhasesRun(found, density, answer, answer.table, spectra, summary)


def _map(
    scan: Scan,
    method: SpectralMethod,
    incident: Incident,
    answer: PhaseAnswer,
    device: str,
    notes: Sequence[str],
) -> SpectralMap:
    y, x = (axis.canonical() for axis in scan.sample_axes)
    known = y.unit == x.unit == "nm"
    inputs = [InputFile.from_path(r.source) for r in method.references if Path(r.source).is_file()]
    if scan.source is not None:
        first = InputFile.from_path(scan.source, format=scan.format, shape=scan.shape)
        inputs.insert(0, first)
    used = {
        "incident": incident.describe(),
        "energies": answer.energies,
        "noise_scale": answer.scale,
        "references": {r.name: r.composition for r in method.references},
    }
    provenance = Provenance.collect(
        inputs=inputs,
        method=f"phases/{method.parameters.method}",
        parameters={**method.parameters.model_dump(mode="json"), "used": used},
        device=device,
        notes=[*notes, *answer.warnings],
    )
    return SpectralMap(
        scores=answer.scores,
        phase_ids=answer.phase_ids,
        reliability=answer.reliability,
        ambiguity=answer.doubt,
        phases=tuple(
            SpectralPhase(r.name, r.color, r.energies, r.values, r.composition)
            for r in method.references
        ),
        step=(abs(y.scale), abs(x.scale)) if known else (1.0, 1.0),
        step_unit="nm" if known else "pixel",
        provenance=provenance,
        fractions=answer.fractions,
        fraction_errors=answer.errors,
        extra=answer.extra,
        warnings=(*notes, *answer.warnings),
    )


def _spectra(found: SpectralMap, density: Density) -> dict[str, NDArray[np.float64]]:
    """Mean optical density of each phase where nothing is doubted; NaN for one without a pixel."""
    spectra = {"energy": density.energies}
    sure = found.ambiguity == SpectralDoubt.NONE
    for i, phase in enumerate(found.phases):
        inside = density.od[:, found.phase_mask(i) & sure].astype(np.float64)
        known = np.isfinite(inside)
        total = np.where(known, inside, 0).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            spectra[phase.name] = total / known.sum(axis=1)
    return spectra


def _summary(
    scan: Scan,
    found: SpectralMap,
    answer: PhaseAnswer,
    incident: Incident,
    density: Density,
    seconds: float,
    read: float,
) -> dict[str, Any]:
    mapped = max(int(found.indexed.sum()), 1)
    codes = found.ambiguity[found.indexed]
    composition = found.composition
    chosen = found.provenance.method.removeprefix("phases/")
    took = next(row.seconds for row in answer.table if row.name == chosen)
    with np.errstate(invalid="ignore"):
        fractions = np.nanmean(found.fractions[found.indexed], axis=0)
    return {
        "scan": str(scan.source or scan.name),
        "shape": list(scan.shape),
        "method": chosen,
        "references": [phase.name for phase in found.phases],
        "energies": answer.energies.tolist(),
        "incident": incident.describe(),
        "pixels": int(np.prod(found.shape)),
        "mapped": int(found.indexed.sum()),
        "phase_fractions": {
            phase.name: float(found.phase_mask(i).sum() / mapped)
            for i, phase in enumerate(found.phases)
        },
        "mean_fractions": {
            phase.name: float(f) for phase, f in zip(found.phases, fractions, strict=True)
        },
        "mean_composition": None
        if composition is None
        else float(np.nanmean(composition[found.indexed])),
        "doubt": {
            cause.name: float((codes == cause.code).sum() / mapped)
            for cause in found.causes
            if cause.code not in (SpectralDoubt.NONE, SpectralDoubt.NO_DATA)
        },
        "ambiguous_fraction": found.ambiguous_fraction(),
        "false_assignment_rate": answer.error,
        "mean_reliability": float(np.nanmean(found.reliability[found.indexed])),
        "noise_scale": answer.scale,
        "counting": density.counting,
        "methods": [
            {
                "name": row.name,
                "agreement": row.agreement,
                "unsure": row.unsure,
                "seconds": round(row.seconds, 3),
                "effective_clusters": row.clusters,
            }
            for row in answer.table
        ],
        "stability": answer.stable,
        "seconds": round(seconds, 3),
        "read_seconds": round(read, 3),
        "method_seconds": round(took, 3),
        "device": found.provenance.device,
        "versions": dict(found.provenance.versions),
        "project_version": found.provenance.project_version,
        "warnings": list(found.warnings),
    }


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
    written.append(_write_text(folder / "summary.json", json_text(run.summary, indent=2)))
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
    from napari_diffmap.maps.atomic import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([f"{value:.7g}" for value in row])
    return path


def _write_text(path: Path, text: str) -> Path:
    from napari_diffmap.maps.atomic import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


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
    return replace(run, map=found, spectra=_spectra(found, run.density), summary=summary)


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
