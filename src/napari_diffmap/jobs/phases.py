"""The phase map of a stack from scan to result: the same call in window, terminal and notebook."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.maps.provenance import InputFile, Provenance
from napari_diffmap.maps.spectral_doubt import SpectralDoubt
from napari_diffmap.maps.spectral_map import SpectralMap, SpectralPhase
from napari_diffmap.methods.spectra.align import aligned, find_shifts
from napari_diffmap.methods.spectra.density import Density, optical_density
from napari_diffmap.methods.spectra.incident import Incident
from napari_diffmap.methods.spectra.method import MethodRow, PhaseAnswer, SpectralMethod
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.references import Reference
from napari_diffmap.models.device import device_label, resolve_device
from napari_diffmap.scan.scan import Scan

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
    spectra = mean_spectra(found, density)
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


def mean_spectra(found: SpectralMap, density: Density) -> dict[str, NDArray[np.float64]]:
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
