"""The planner against every choice there is, and its promise against simulated pixels."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.planner import plan_energies
from napari_diffmap.methods.spectra.simulated import simulated_references


def separation(curves: np.ndarray, counts: float) -> float:
    """Least distance of two references in standard deviations, by plain least squares."""
    found = []
    for a, b in combinations(range(len(curves)), 2):
        root = np.sqrt(counts * np.exp(-(curves[a] + curves[b]) / 2))
        for one, other in ((a, b), (b, a)):
            columns = np.stack((curves[one], np.ones(curves.shape[1])), axis=1) * root[:, None]
            left = curves[other] * root
            left = left - columns @ np.linalg.lstsq(columns, left, rcond=None)[0]
            found.append(np.linalg.norm(left))
    return float(min(found))


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize("places", [(708, 712), (708, 712, 715), (706, 710, 714, 720)])
def test_no_choice_of_few_energies_is_much_better(
    bench: Any, places: tuple[float, ...], n: int
) -> None:
    references = bench.references(*places)
    candidates = np.linspace(702, 726, 13)
    plan = plan_energies(references, n, 1000, candidates)
    curves = np.stack([r.at(candidates) for r in references])
    curves = curves / curves.max()
    chosen = np.searchsorted(candidates, plan.energies)
    assert plan.least == pytest.approx(separation(curves[:, chosen], 1000), rel=1e-4)
    best = max(separation(curves[:, list(c)], 1000) for c in combinations(range(13), n))
    assert plan.least <= best * (1 + 1e-6)
    assert plan.least >= 0.95 * best


def test_more_energies_part_better() -> None:
    references = simulated_references()
    least = [plan_energies(references, n, 500).least for n in (3, 6, 12, 24)]
    assert least == sorted(least)
    even = np.linspace(510, 546, 6)
    curves = np.stack([r.at(even) for r in references])
    peak = max(float(r.values.max()) for r in references)
    assert least[1] > 1.2 * separation(curves / peak, 500)


def test_four_times_the_photons_part_twice_as_far() -> None:
    one = plan_energies(simulated_references(), 6, 500)
    four = plan_energies(simulated_references(), 6, 2000)
    assert four.least == pytest.approx(2 * one.least, rel=1e-6)
    assert four.error < one.error
    assert one.worst in one.separations
    assert one.separations[one.worst] == min(one.separations.values())


def test_as_many_pixels_are_mistaken_as_it_says(bench: Any) -> None:
    references = bench.references(712.0, 712.6)
    plan = plan_energies(references, 5, 800)
    curves = np.stack([r.at(plan.energies) for r in references])
    fine = np.linspace(695, 735, 400)
    curves = curves / max(float(r.at(fine).max()) for r in references)
    assert 0.01 < plan.error < 0.4
    labels = np.arange(4000) % 2
    counts = np.random.default_rng(0).poisson(800 * np.exp(-curves[labels]))
    od = -np.log(counts / 800)
    chi2 = np.empty((4000, 2))
    for j in range(2):
        # One weight for all: the photons expected.
        root = np.sqrt(800 * np.exp(-curves.mean(axis=0)))
        columns = np.stack((curves[j], np.ones(5)), axis=1) * root[:, None]
        hat = columns @ np.linalg.pinv(columns)
        chi2[:, j] = (((od * root) @ (np.eye(5) - hat)) ** 2).sum(axis=1)
    wrong = (chi2.argmin(axis=1) != labels).mean()
    assert wrong == pytest.approx(plan.error, rel=0.15)


@pytest.mark.parametrize(
    ("n", "counts", "count", "told"),
    [
        (2, 100, 2, "three energies at least"),
        (4, 0, 2, "photons"),
        (4, 100, 1, "two references at least"),
        (20, 100, 2, "13 energies are to choose from, not 20"),
    ],
)
def test_what_cannot_be_planned(bench: Any, n: int, counts: float, count: int, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        plan_energies(bench.references(708, 712)[:count], n, counts, np.linspace(702, 726, 13))


def test_references_without_common_energies(bench: Any) -> None:
    from napari_diffmap.methods.spectra.references import Reference

    e = np.linspace(500, 520, 30)
    other = Reference("other", e, np.sin(e / 5))
    with pytest.raises(BadInputError, match="share no energies"):
        plan_energies((*bench.references(708), other), 4, 100)
