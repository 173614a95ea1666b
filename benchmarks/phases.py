"""Phase maps of simulated stacks: how right each method is, its doubt, its stated error, its time.

``python -m benchmarks.phases [--seeds 3] [--without gmvae]`` prints the tables of docs/phases.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_diffmap.methods.spectra.density import Density, optical_density
from napari_diffmap.methods.spectra.incident import incident_of_histogram
from napari_diffmap.methods.spectra.method import SpectralMethod
from napari_diffmap.methods.spectra.parameters import METHODS, MethodName, SpectralParameters
from napari_diffmap.methods.spectra.references import matrix
from napari_diffmap.methods.spectra.simulated import (
    Truth,
    simulated_counts,
    simulated_energies,
    simulated_references,
    simulated_truth,
)
from napari_diffmap.methods.spectra.telling import Spectra, spectra_of, tell

ENERGIES = (6, 12, 40)
COUNTS = (200, 2000)


@dataclass(frozen=True, eq=False)
class Case:
    truth: Truth
    density: Density
    spectra: Spectra


def case(energies: int, counts: float, seed: int, shape: tuple[int, int] = (128, 128)) -> Case:
    references = simulated_references()
    truth = simulated_truth(shape, seed)
    listed = simulated_energies(energies)
    stack = simulated_counts(truth, listed, counts, seed)
    incident, _ = incident_of_histogram(stack)
    density = optical_density(stack, listed, incident)
    mask = density.particle & ~density.dark
    od, weights = density.pixels(mask)
    spectra = spectra_of(
        od,
        weights,
        mask,
        matrix(references, listed),
        listed,
        SpectralParameters(),
        counting=density.counting,
    )
    return Case(truth, density, spectra)


def right(labels: np.ndarray, one: Case) -> float:
    """Share of the pure pixels of the particles with the right label."""
    mask = one.spectra.mask
    pure = one.truth.pure
    said = np.full(mask.shape, -1)
    said[mask] = labels
    return float((said[pure] == one.truth.labels[pure]).mean())


def mixed_auc(score: np.ndarray, one: Case) -> float:
    """Area under the curve of a score that should be larger in mixed pixels than in pure ones."""
    from sklearn.metrics import roc_auc_score

    mask = one.spectra.mask
    mixed, pure = one.truth.mixed[mask], one.truth.pure[mask]
    some = mixed | pure
    return float(roc_auc_score(mixed[some], score[some]))


def accuracy(methods: Sequence[MethodName], seeds: int) -> None:
    print("| energies, photons | " + " | ".join(methods) + " |")
    print("| --- |" + " --- |" * len(methods))
    for n in ENERGIES:
        for counts in COUNTS:
            cases = [case(n, counts, seed) for seed in range(seeds)]
            cells = []
            for name in methods:
                p = SpectralParameters(method=name)
                shares = [right(tell(name, c.spectra, p).labels, c) for c in cases]
                cells.append(f"{100 * np.mean(shares):.1f}")
            best = max(cells, key=float)
            shown = [f"**{cell}**" if cell == best else cell for cell in cells]
            print(f"| {n}, {counts} | " + " | ".join(shown) + " |", flush=True)


def doubt(seeds: int) -> None:
    heads = ("energies, photons", "AUC of mixed pixels", "by largest fraction (NNLS)")
    print("| " + " | ".join((*heads, "error", "stated", "stated / error")) + " |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n in ENERGIES:
        for counts in COUNTS:
            aucs, plain, errors, stated = [], [], [], []
            for seed in range(seeds):
                one = case(n, counts, seed)
                answer = SpectralMethod(SpectralParameters(), simulated_references()).answer(
                    one.density
                )
                mask = one.spectra.mask
                aucs.append(mixed_auc(answer.extra["mixed"][mask], one))
                fractions = np.nan_to_num(one.spectra.unmixed.fractions())
                plain.append(mixed_auc(-fractions.max(axis=1), one))
                wrong = answer.phase_ids[..., 0][mask] != one.truth.labels[mask]
                errors.append(float(wrong.mean()))
                stated.append(answer.error)
            error, said = float(np.mean(errors)), float(np.mean(stated))
            print(
                f"| {n}, {counts} | {np.mean(aucs):.3f} | {np.mean(plain):.3f} |"
                f" {100 * error:.2f} % | {100 * said:.2f} % | {said / max(error, 1e-9):.2f} |",
                flush=True,
            )


def speed(methods: Sequence[MethodName]) -> None:
    one = case(60, 2000, 0, (256, 256))
    print(f"256 × 256 × 60, {len(one.spectra)} pixels on the sample")
    print("| step | seconds |\n| --- | --- |")
    start = time.perf_counter()
    truth = simulated_truth((256, 256), 0)
    listed = simulated_energies(60)
    stack = simulated_counts(truth, listed, 2000, 0)
    start = time.perf_counter()
    incident, _ = incident_of_histogram(stack)
    density = optical_density(stack, listed, incident)
    print(f"| I0 and optical density | {time.perf_counter() - start:.2f} |")
    mask = np.ones(density.shape, dtype=bool)
    start = time.perf_counter()
    od, weights = density.pixels(mask)
    curves = matrix(simulated_references(), listed)
    p = SpectralParameters()
    spectra = spectra_of(od, weights, mask, curves, listed, p, counting=True)
    print(f"| normal equations and NNLS, all 65,536 pixels | {time.perf_counter() - start:.2f} |")
    few = case(6, 2000, 0, (48, 48)).spectra
    for name in methods:
        tell(name, few, SpectralParameters(method=name, epochs=1, seeds=1))  # what it imports
        start = time.perf_counter()
        tell(name, spectra, SpectralParameters(method=name))
        print(f"| {name}, all 65,536 pixels | {time.perf_counter() - start:.2f} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--only", choices=["accuracy", "doubt", "speed"])
    given = parser.parse_args(arguments)
    methods = [name for name in METHODS if name not in given.without]
    if given.only in (None, "accuracy"):
        accuracy(methods, given.seeds)
    if given.only in (None, "doubt"):
        doubt(given.seeds)
    if given.only in (None, "speed"):
        speed(methods)


if __name__ == "__main__":
    main()
