"""Fits of references through normal equations, against plain least squares pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from scipy.stats import chi2

from napari_diffmap.methods.spectra.normal import (
    Background,
    noise_scale,
    normal_equations,
    unmix,
)


def background(kind: Background, energies: np.ndarray) -> np.ndarray:
    columns = {"none": [], "offset": [energies**0], "line": [energies**0, energies - 715]}[kind]
    return np.array(columns).reshape(len(columns), len(energies))


@pytest.fixture(scope="module")
def measured(bench: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noisy mixtures of three references, unevenly weighed, a tenth of the values missing."""
    rng = np.random.default_rng(1)
    curves = bench.peaks(709, 711, 716)
    od, weights = bench.counted(
        rng.dirichlet((1, 1, 1), 60), curves, thickness=rng.uniform(0.3, 2, 60), offset=0.1
    )
    weights = weights * (rng.random(weights.shape) > 0.1)
    return od, weights, curves


def by_hand(
    od: np.ndarray, weights: np.ndarray, curves: np.ndarray, ground: np.ndarray
) -> tuple[np.ndarray, float]:
    """Amounts and chi² of one pixel; the background may be negative, so it is there twice."""
    root = np.sqrt(weights.astype(float))
    columns = np.concatenate((curves, ground, -ground)) * root
    amounts, left = nnls(columns.T, od * root, maxiter=1000)
    return amounts[: len(curves)], left**2


@pytest.mark.parametrize("kind", ["none", "offset", "line"])
def test_unmixing_is_non_negative_least_squares(
    measured: Any, bench: Any, kind: Background
) -> None:
    od, weights, curves = measured
    found = unmix(normal_equations(od, weights, curves, bench.energies, kind))
    bound = 0
    for p in range(len(od)):
        amounts, left = by_hand(od[p], weights[p], curves, background(kind, bench.energies))
        np.testing.assert_allclose(found.weights[p], amounts, atol=1e-5)
        assert found.chi2[p] == pytest.approx(left, rel=1e-5, abs=1e-6)
        bound += (amounts == 0).any()
    assert bound > 5, "some amounts are at the bound, or nothing was tested"


def alike(bench: Any) -> Iterator[tuple[float, np.ndarray, float, np.ndarray]]:
    """chi² and fractions found, and by hand, of references that correlate at 0.98 and more."""
    one = bench.simulated(12, 200)
    spectra, ground = one.spectra, background("line", one.energies)
    for p in range(0, len(spectra), 40):
        amounts, left = by_hand(spectra.od[p], spectra.weights[p], spectra.curves, ground)
        found = spectra.unmixed
        yield found.chi2[p], found.fractions()[p], left, amounts / amounts.sum()


def test_the_misfit_of_references_as_alike_as_measured_ones(bench: Any) -> None:
    for found, _, left, _ in alike(bench):
        assert found == pytest.approx(left, rel=1e-4, abs=1e-4)


def test_the_fractions_of_references_as_alike_as_measured_ones(bench: Any) -> None:
    for _, found, _, fractions in alike(bench):
        np.testing.assert_allclose(found, fractions, atol=5e-3)


@pytest.mark.parametrize("kind", ["none", "offset", "line"])
def test_one_reference_and_two_against_least_squares(
    measured: Any, bench: Any, kind: Background
) -> None:
    od, weights, curves = measured
    normal = normal_equations(od, weights, curves, bench.energies, kind)
    amplitude, alone = normal.pure()
    shares = np.array([0.1, 0.5, 0.8])
    pair = normal.pair(0, 2, shares)
    ground = background(kind, bench.energies)
    for p in range(0, len(od), 3):
        root = np.sqrt(weights[p].astype(float))
        for j in range(3):
            columns = (np.concatenate((curves[j : j + 1], ground)) * root).T
            solution, *_ = np.linalg.lstsq(columns, od[p] * root, rcond=None)
            left = float(((od[p] * root - columns @ solution) ** 2).sum())
            assert solution[0] > 0
            assert amplitude[p, j] == pytest.approx(solution[0], rel=1e-5)
            assert alone[p, j] == pytest.approx(left, rel=1e-5, abs=1e-5)
        for f, share in enumerate(shares):
            mixture = (1 - share) * curves[0] + share * curves[2]
            columns = (np.concatenate((mixture[None], ground)) * root).T
            solution, *_ = np.linalg.lstsq(columns, od[p] * root, rcond=None)
            left = float(((od[p] * root - columns @ solution) ** 2).sum())
            assert pair[p, f] == pytest.approx(left, rel=1e-5, abs=1e-5)


def test_a_reference_upside_down_has_no_amplitude(bench: Any) -> None:
    curves = bench.peaks(710, 716)
    od = -curves[:1]
    normal = normal_equations(od, np.ones_like(od), curves, bench.energies)
    amplitude, left = normal.pure()
    assert (amplitude == 0).all()
    np.testing.assert_allclose(left, ((od - od.mean()) ** 2).sum(), rtol=1e-6)


def test_correlation_is_pearsons_of_the_known_energies(measured: Any, bench: Any) -> None:
    od, weights, curves = measured
    known = weights > 0
    normal = normal_equations(od, known.astype(float), curves, bench.energies)
    found, between = normal.correlation(), normal.between()
    for p in range(len(od)):
        here = known[p]
        wanted = np.corrcoef(np.vstack((od[p, here], curves[:, here])))
        np.testing.assert_allclose(found[p], wanted[0, 1:], atol=1e-6)
        np.testing.assert_allclose(between[p], wanted[1:, 1:], atol=1e-6)
    np.testing.assert_array_equal(normal.known, known.sum(axis=1) - 1)


def test_errors_of_fractions_are_those_of_repeated_measurements(bench: Any) -> None:
    curves = bench.peaks(706, 712, 720)
    fractions = np.tile([0.5, 0.3, 0.2], (4000, 1))
    od, weights = bench.counted(fractions, curves, incident=20000, offset=0.1)
    found = unmix(normal_equations(od, weights, curves, bench.energies))
    values = np.array([3.0, 2.0, 0.5])
    stated = np.median(found.errors(), axis=0)
    np.testing.assert_allclose(stated, found.fractions().std(axis=0), rtol=0.05)
    mean, error = found.mean(values)
    assert np.median(error) == pytest.approx(mean.std(), rel=0.05)
    assert mean.mean() == pytest.approx(0.5 * 3 + 0.3 * 2 + 0.2 * 0.5, abs=0.01)
    np.testing.assert_allclose(found.errors(4.0), 2 * found.errors())


def test_where_nothing_absorbs_there_are_no_fractions(bench: Any) -> None:
    curves = bench.peaks(710, 716)
    od = np.zeros((1, curves.shape[1]))
    found = unmix(normal_equations(od, np.ones_like(od), curves, bench.energies))
    assert np.isnan(found.fractions()).all()
    assert np.isfinite(found.errors()).all()


def test_amounts_at_their_bound_have_an_error_too(bench: Any) -> None:
    curves = bench.peaks(706, 712, 720)
    od, weights = bench.counted(np.eye(3)[[0] * 2000], curves, incident=2000)
    found = unmix(normal_equations(od, weights, curves, bench.energies))
    assert (found.weights == 0).any()
    errors, away = found.errors(), np.abs(found.fractions() - [1, 0, 0])
    assert errors.min() > 0
    assert (away <= 2 * errors).mean() > 0.9


def test_a_line_is_fitted_by_itself_from_eight_energies_on(bench: Any) -> None:
    curves = bench.peaks(706, 712)
    od, weights = bench.counted(np.eye(2)[[0, 1]], curves)
    for n, kind in ((7, "offset"), (8, "line"), (24, "line")):
        some = slice(n)
        given = (od[:, some], weights[:, some], curves[:, some], bench.energies[some])
        chosen = normal_equations(*given, "auto")
        np.testing.assert_array_equal(chosen.gram, normal_equations(*given, kind).gram)


def test_a_line_over_energy_changes_nothing_that_is_fitted_with_one(
    measured: Any, bench: Any
) -> None:
    od, weights, curves = measured
    tilted = od + 0.3 + 0.02 * (bench.energies - 715)
    plain = unmix(normal_equations(od, weights, curves, bench.energies, "line"))
    moved = unmix(normal_equations(tilted, weights, curves, bench.energies, "line"))
    np.testing.assert_allclose(moved.weights, plain.weights, atol=1e-4)
    wrong = unmix(normal_equations(tilted, weights, curves, bench.energies, "offset"))
    assert np.abs(wrong.weights - plain.weights).max() > 0.1


@given(size=st.floats(0.05, 20), shift=st.floats(-3, 3), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_size_and_offset_of_a_spectrum_do_not_change_pearson(
    bench: Any, size: float, shift: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    curves = bench.peaks(709, 712, 718)
    od = rng.dirichlet((1, 1, 1), 5) @ curves + 0.05 * rng.standard_normal((5, curves.shape[1]))
    known = (rng.random(od.shape) > 0.2).astype(float)
    one = normal_equations(od, known, curves, bench.energies).correlation()
    other = normal_equations(size * od + shift, known, curves, bench.energies).correlation()
    np.testing.assert_allclose(other, one, atol=1e-6)


@given(order=st.permutations(range(4)), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_references_in_another_order_give_the_answers_in_that_order(
    bench: Any, order: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    curves = bench.peaks(706, 711, 716, 722)
    od, weights = bench.counted(rng.dirichlet(np.ones(4), 8), curves, seed=seed)
    one = unmix(normal_equations(od, weights, curves, bench.energies))
    other = unmix(normal_equations(od, weights, curves[order], bench.energies))
    np.testing.assert_allclose(other.weights, one.weights[:, order], atol=1e-4)
    np.testing.assert_allclose(other.chi2, one.chi2, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other.errors(), one.errors()[:, order], rtol=1e-2, atol=1e-4)


@given(dropped=st.sets(st.integers(0, 23), max_size=12), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_an_energy_left_out_is_one_without_weight(bench: Any, dropped: set[int], seed: int) -> None:
    curves = bench.peaks(706, 712, 720)
    fractions = np.random.default_rng(seed).dirichlet(np.ones(3), 6)
    od, weights = bench.counted(fractions, curves, seed=seed)
    kept = np.array([e not in dropped for e in range(len(bench.energies))])
    masked = normal_equations(od, weights * kept, curves, bench.energies)
    fewer = normal_equations(od[:, kept], weights[:, kept], curves[:, kept], bench.energies[kept])
    for name in ("gram", "cross", "square", "known"):
        np.testing.assert_allclose(
            getattr(masked, name), getattr(fewer, name), rtol=1e-6, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("freedom", [3, 10, 50])
@pytest.mark.parametrize("scale", [0.13, 1.0, 4.0])
def test_noise_is_measured_on_chi_square_draws(freedom: int, scale: float) -> None:
    draws = np.random.default_rng(0).chisquare(freedom, 20000)
    found = noise_scale(scale * draws, np.full(20000, float(freedom)))
    assert found == pytest.approx(scale, rel=0.02)


def test_a_fifth_of_bad_pixels_changes_the_noise_little() -> None:
    draws = np.random.default_rng(0).chisquare(10, 5000)
    draws[:1000] *= 50
    # The median of all is then what 5/8 of the good ones lie below.
    wanted = chi2.ppf(0.625, 10) / chi2.ppf(0.5, 10)
    assert noise_scale(draws, np.full(5000, 10.0)) == pytest.approx(wanted, rel=0.03)
    assert noise_scale(draws, np.zeros(5000)) == 1.0


def test_pieces_and_a_stop_between_them(measured: Any, bench: Any) -> None:
    od, weights, curves = measured
    many = np.tile(od, (300, 1)), np.tile(weights, (300, 1))
    calls: list[int] = []
    found = normal_equations(*many, curves, bench.energies, check=lambda: calls.append(1))
    assert len(calls) == 2
    once = normal_equations(od, weights, curves, bench.energies)
    np.testing.assert_allclose(found.gram[-60:], once.gram, rtol=1e-12)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        normal_equations(*many, curves, bench.energies, check=stop)
