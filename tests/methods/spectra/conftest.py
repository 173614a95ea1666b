"""Simulated stacks with truth and small made-up spectra, shared by the tests of phase maps."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_diffmap.methods.spectra.density import optical_density
from napari_diffmap.methods.spectra.incident import incident_of_histogram
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.references import Reference, matrix
from napari_diffmap.methods.spectra.simulated import (
    simulated_counts,
    simulated_energies,
    simulated_references,
    simulated_truth,
)
from napari_diffmap.methods.spectra.telling import Spectra, spectra_of

ENERGIES = np.linspace(700.0, 730.0, 24)


@cache
def simulated(
    energies: int = 12, counts: float = 2000.0, seed: int = 0, shape: tuple[int, int] = (64, 64)
) -> SimpleNamespace:
    """A stack of particles, its densities, its spectra and its truth."""
    references = simulated_references()
    truth = simulated_truth(shape, seed)
    listed = simulated_energies(energies)
    stack = simulated_counts(truth, listed, counts, seed)
    density = optical_density(stack, listed, incident_of_histogram(stack)[0])
    mask = density.particle & ~density.dark
    od, weights = density.pixels(mask)
    spectra = spectra_of(
        od, weights, mask, matrix(references, listed), listed, SpectralParameters(), counting=True
    )
    return SimpleNamespace(
        references=references,
        truth=truth,
        energies=listed,
        stack=stack,
        density=density,
        mask=mask,
        spectra=spectra,
        labels=truth.labels[mask],
        pure=truth.pure[mask],
        mixed=truth.mixed[mask],
    )


def peaks(*places: float, energies: np.ndarray = ENERGIES, width: float = 4.0) -> np.ndarray:
    """Spectra ``(M, E)`` of one peak each on an edge."""
    edge = 0.3 / (1 + np.exp(-(energies - 708)))
    return np.array([edge + np.exp(-0.5 * ((energies - at) / width) ** 2) for at in places])


def references(*places: float, **options: Any) -> tuple[Reference, ...]:
    fine = np.linspace(695, 735, 401)
    curves = peaks(*places, energies=fine, **options)
    return tuple(
        Reference(name, fine, curve, composition=float(i))
        for i, (name, curve) in enumerate(zip("ABCDEFGH", curves, strict=False))
    )


def counted(
    fractions: np.ndarray,
    curves: np.ndarray,
    *,
    thickness: Any = 1.0,
    offset: float = 0.0,
    incident: float = 1000.0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Densities and weights ``(P, E)`` of counted pixels with these shares ``(P, M)``."""
    rng = np.random.default_rng(seed)
    clean = np.asarray(thickness).reshape(-1, 1) * (fractions @ curves) + offset
    counts = np.maximum(rng.poisson(incident * np.exp(-clean)), 0.5)
    return -np.log(counts / incident).astype(np.float32), counts.astype(np.float32)


def spectra(
    labels: np.ndarray,
    curves: np.ndarray,
    *,
    energies: np.ndarray = ENERGIES,
    fractions: np.ndarray | None = None,
    parameters: SpectralParameters | None = None,
    **options: Any,
) -> Spectra:
    """Counted pixels of a label image ``(Y, X)``, -1 beside the sample."""
    mask = labels >= 0
    if fractions is None:
        fractions = np.eye(len(curves))[np.maximum(labels, 0)]
    thickness = np.broadcast_to(options.pop("thickness", 1.0), labels.shape)[mask]
    od, weights = counted(fractions[mask], curves, thickness=thickness, **options)
    used = parameters or SpectralParameters()
    return spectra_of(od, weights, mask, curves, energies, used, counting=True)


@pytest.fixture(scope="session")
def bench() -> SimpleNamespace:
    return SimpleNamespace(
        simulated=simulated,
        peaks=peaks,
        references=references,
        counted=counted,
        spectra=spectra,
        energies=ENERGIES,
    )
