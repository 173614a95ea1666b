"""Williams' test against its formula, a published example, and what it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from napari_diffmap.methods.spectra.correlation import best_two, ranked, williams


def formula(r1: float, r2: float, r12: float, n: int) -> float:
    """Steiger (1980), equation 7, with the determinant by its matrix."""
    c = np.linalg.det(np.array([[1, r1, r2], [r1, 1, r12], [r2, r12, 1]]))
    mean = (r1 + r2) / 2
    below = 2 * (n - 1) / (n - 3) * c + mean**2 * (1 - r12) ** 3
    return float(2 * stats.t.sf(abs(r1 - r2) * np.sqrt((n - 1) * (1 + r12) / below), n - 3))


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.integers(4, 200))
def test_the_formula(numbers: list[float], n: int) -> None:
    """Any three variables: their correlations are those of a positive matrix."""
    a = np.array(numbers).reshape(3, 3) + 2 * np.eye(3)
    covariance = a @ a.T
    size = np.sqrt(np.diag(covariance))
    r = covariance / size / size[:, None]
    found = williams(np.array(r[0, 1]), np.array(r[0, 2]), np.array(r[1, 2]), n)
    assert float(found) == pytest.approx(formula(r[0, 1], r[0, 2], r[1, 2], n), abs=1e-7)


def test_an_example_of_another_program() -> None:
    """Steiger's case A in the help of R's psych::r.test: t = -0.89, p = 0.37."""
    p = float(williams(np.array(0.4), np.array(0.5), np.array(0.1), 103))
    assert p == pytest.approx(0.375, abs=0.002)


def rate(rng: np.random.Generator, covariance: np.ndarray, n: int, trials: int) -> float:
    draws = rng.multivariate_normal(np.zeros(3), covariance, (trials, n))
    centred = draws - draws.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    r = np.einsum("tni,tnj->tij", centred, centred)
    return float((williams(r[:, 0, 1], r[:, 0, 2], r[:, 1, 2], n) < 0.05).mean())


@pytest.mark.parametrize(("both", "between"), [(0.0, 0.5), (0.6, 0.5), (0.9, 0.95)])
@pytest.mark.parametrize("n", [8, 20, 60])
def test_one_in_twenty_equal_pairs_is_called_unequal(both: float, between: float, n: int) -> None:
    covariance = np.array([[1, both, both], [both, 1, between], [both, between, 1]])
    assert rate(np.random.default_rng(0), covariance, n, 8000) == pytest.approx(0.05, abs=0.015)


def test_unequal_pairs_are_found_unequal() -> None:
    covariance = np.array([[1, 0.9, 0.6], [0.9, 1, 0.5], [0.6, 0.5, 1]])
    assert rate(np.random.default_rng(0), covariance, 40, 2000) > 0.95


def test_halves_of_two_references_are_seldom_called_one_of_them(bench: Any) -> None:
    """The case of a map: the references stand still, only the spectrum has noise."""
    curves = bench.peaks(710, 712)
    curves = (curves - curves.mean(axis=1, keepdims=True)) / curves.std(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    draws = curves.mean(axis=0) + 0.2 * rng.standard_normal((8000, curves.shape[1]))
    draws -= draws.mean(axis=1, keepdims=True)
    r = (draws @ curves.T / np.linalg.norm(draws, axis=1)[:, None]).T / np.sqrt(curves.shape[1])
    between = np.full(8000, np.corrcoef(curves)[0, 1])
    assert (williams(r[0], r[1], between, curves.shape[1]) < 0.05).mean() < 0.065


def test_what_three_energies_cannot_tell() -> None:
    p = williams(np.array([0.99, 0.5]), np.array([0.1, 0.5]), np.array([0.3, 0.2]), 3)
    np.testing.assert_array_equal(p, 1)


def test_equal_correlations_are_equal_and_a_perfect_one_is_not() -> None:
    first, second = np.array([0.8, 1.0]), np.array([0.8, 0.9])
    p = williams(first, second, np.array([0.95, 0.9]), 20)
    assert p[0] == pytest.approx(1)
    assert p[1] < 1e-6


def test_the_best_are_ranked() -> None:
    values = np.array([[0.2, 0.9, 0.5], [0.7, 0.1, 0.7]])
    order, best = ranked(values, 2)
    assert order.tolist() == [[1, 2], [0, 2]]
    np.testing.assert_allclose(best, [[0.9, 0.5], [0.7, 0.7]], rtol=1e-6)
    between = np.full((2, 3, 3), 0.8)
    first, second, p = best_two(values, between, np.array([20.0, 20.0]))
    assert first.tolist() == [1, 0]
    assert second.tolist() == [2, 2]
    assert p[0] == pytest.approx(formula(0.9, 0.5, 0.8, 20), rel=1e-6)
    first, _, p = best_two(values[:, :1], between[:, :1, :1], np.array([20.0, 20.0]))
    assert first.tolist() == [0, 0]
    assert (p == 0).all()
