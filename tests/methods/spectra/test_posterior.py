"""Probabilities against Bayes' rule by hand, and against the truth of simulated stacks."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from napari_diffmap.methods.spectra.normal import Normal, normal_equations
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.posterior import SHARES, Neighbours, posterior
from napari_diffmap.methods.spectra.telling import tell

ONE = np.ones((1, 1), dtype=bool)


def misfit(od: np.ndarray, weights: np.ndarray, curve: np.ndarray) -> float:
    """chi² of a curve of any positive size on an offset, by plain least squares."""
    root = np.sqrt(weights.astype(float))
    columns = np.stack((curve, np.ones_like(curve)), axis=1) * root[:, None]
    solution, *_ = np.linalg.lstsq(columns, od * root, rcond=None)
    if solution[0] < 0:
        columns, solution = columns[:, 1:], np.array([(weights * od).sum() / weights.sum()])
    return float(((od * root - columns @ solution) ** 2).sum())


@pytest.mark.parametrize(("shares", "n"), [((1, 0), 2), ((0.6, 0.4, 0), 3), ((0, 0.2, 0.8), 3)])
@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("neighbours", [False, True])
def test_a_pixel_by_itself_obeys_bayes_rule(
    bench: Any, shares: tuple[float, ...], n: int, scale: float, neighbours: bool
) -> None:
    curves = bench.peaks(712, 712.5, 713.2)[:n]
    od, weights = bench.counted(np.array([shares]), curves, incident=300)
    normal = normal_equations(od, weights, curves, bench.energies)
    found = posterior(normal, scale, ONE, neighbours=neighbours)

    # Mixtures of any two are as probable beforehand, and improbable where the pixel knows that no
    # other phase is near; their shares are spread evenly.
    before = 0.02 if neighbours else min(0.02 + 4 * 0.7 / n**2, 0.7)
    weight = np.array([np.exp(-0.5 * misfit(od[0], weights[0], c) / scale) for c in curves])
    total, mixed = weight.copy(), 0.0
    for a, b in combinations(range(n), 2):
        for share in SHARES:
            mixture = (1 - share) * curves[a] + share * curves[b]
            here = np.exp(-0.5 * misfit(od[0], weights[0], mixture) / scale)
            total[a if share < 0.5 else b] += before * here / len(SHARES)
            if 0.1 < share < 0.9:
                mixed += before * here / len(SHARES)
    np.testing.assert_allclose(found.labels[0], total / total.sum(), rtol=1e-4)
    assert found.mixed[0] == pytest.approx(mixed / total.sum(), rel=1e-4)


@pytest.mark.parametrize("energies", [6, 12, 40])
@pytest.mark.parametrize("counts", [200, 2000])
def test_neighbours_beat_correlation(bench: Any, energies: int, counts: int) -> None:
    one = bench.simulated(energies, counts)
    parameters = SpectralParameters()
    right = {
        name: (tell(name, one.spectra, parameters).labels == one.labels)[one.pure].mean()
        for name in ("posterior", "pearson")
    }
    assert right["posterior"] > right["pearson"] or right["posterior"] == 1
    assert right["posterior"] >= 0.98


@pytest.mark.parametrize("energies", [12, 40])
def test_mixed_pixels_are_found(bench: Any, energies: int) -> None:
    one = bench.simulated(energies, 2000)
    told = tell("posterior", one.spectra, SpectralParameters())
    some = one.mixed | one.pure
    assert roc_auc_score(one.mixed[some], told.extra["mixed"][some]) >= 0.9


def test_probabilities_are_probabilities_and_mean_what_they_say(bench: Any) -> None:
    one = bench.simulated(12, 200)
    found = posterior(one.spectra.weighted, one.spectra.scale, one.mask)
    np.testing.assert_allclose(found.labels.sum(axis=1), 1)
    assert found.labels.min() >= 0
    assert ((found.mixed >= 0) & (found.mixed <= 1)).all()
    main = found.labels.argmax(axis=1)
    assert (found.partner != main).all()
    assert found.partner.min() >= -1
    assert found.beta > 0
    alone = posterior(one.spectra.weighted, one.spectra.scale, one.mask, neighbours=False)
    assert alone.beta == 0
    assert (main == one.labels).mean() > (alone.labels.argmax(axis=1) == one.labels).mean()


def test_references_in_another_order_give_the_answers_in_that_order(bench: Any) -> None:
    one = bench.simulated(12, 200)
    order = [3, 0, 4, 2, 1]
    s = one.spectra
    turned = normal_equations(s.od, s.weights, s.curves[order], s.energies, "auto")
    found = posterior(s.weighted, s.scale, one.mask)
    other = posterior(turned, s.scale, one.mask)
    np.testing.assert_allclose(other.labels, found.labels[:, order], atol=1e-4)
    np.testing.assert_allclose(other.mixed, found.mixed, atol=1e-4)


def test_noise_alone_says_nothing(bench: Any) -> None:
    """Two references that are the same: half and half."""
    curves = bench.peaks(712, 712)
    od, weights = bench.counted(np.eye(2)[[0, 1, 0, 1]], curves)
    normal = normal_equations(od, weights, curves, bench.energies)
    found = posterior(normal, 1.0, np.ones((2, 2), dtype=bool), neighbours=False)
    np.testing.assert_allclose(found.labels, 0.5, atol=1e-6)


def test_one_reference_is_certain(bench: Any) -> None:
    curves = bench.peaks(712)
    od, weights = bench.counted(np.ones((4, 1)), curves)
    normal = normal_equations(od, weights, curves, bench.energies)
    found = posterior(normal, 1.0, np.ones((2, 2), dtype=bool))
    np.testing.assert_allclose(found.labels, 1)
    assert (found.mixed == 0).all()
    assert (found.partner == -1).all()


def test_a_temperature_makes_less_sure(bench: Any) -> None:
    one = bench.simulated(12, 2000)
    n: Normal = one.spectra.weighted
    cold = posterior(n, 1.0, one.mask, neighbours=False).labels.max(axis=1)
    hot = posterior(n, 1.0, one.mask, neighbours=False, temperature=10).labels.max(axis=1)
    assert hot.mean() < cold.mean()
    same = posterior(n, 10.0, one.mask, neighbours=False).labels.max(axis=1)
    np.testing.assert_allclose(hot, same)


def test_sums_over_neighbours_by_hand() -> None:
    mask = np.ones((5, 6), dtype=bool)
    mask[0, 0] = mask[2, 3] = False
    rng = np.random.default_rng(0)
    values = rng.random((int(mask.sum()), 2))
    plane = np.zeros((5, 6, 2))
    plane[mask] = values
    grid = Neighbours(mask)
    found, near = grid.sum(values), grid.near(values)
    for p, (y, x) in enumerate(np.argwhere(mask)):
        total, mean, count = np.zeros(2), np.zeros(2), 0
        for v in range(max(0, y - 2), min(5, y + 3)):
            for u in range(max(0, x - 2), min(6, x + 3)):
                if not mask[v, u]:
                    continue
                mean, count = mean + plane[v, u], count + 1
                away = (v - y) ** 2 + (u - x) ** 2
                if 0 < away <= 2:
                    total += plane[v, u] / np.sqrt(away)
        np.testing.assert_allclose(found[p], total)
        np.testing.assert_allclose(near[p], mean / count)


def test_a_stop_between_rounds(bench: Any) -> None:
    one = bench.simulated(12, 200)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        posterior(one.spectra.weighted, 1.0, one.mask, check=stop)
