"""What a map promises of its own errors, against the errors that simulation knows."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.methods.spectra.method import PhaseAnswer, SpectralMethod
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.reliability import Twin, twin
from napari_diffmap.methods.spectra.telling import tell


@cache
def answered(bench_simulated: Any, energies: int, counts: int, seed: int) -> PhaseAnswer:
    one = bench_simulated(energies, counts, seed)
    method = SpectralMethod(SpectralParameters(compare=False), one.references)
    return method.answer(one.density)


def wrong(one: Any, answer: PhaseAnswer) -> np.ndarray:
    return np.asarray(answer.phase_ids[one.mask, 0] != one.labels)


@pytest.mark.parametrize("counts", [200, 2000])
@pytest.mark.parametrize("energies", [6, 12, 40])
def test_the_expected_error_is_near_the_true_one(bench: Any, energies: int, counts: int) -> None:
    one = bench.simulated(energies, counts)
    answer = answered(bench.simulated, energies, counts, 0)
    assert 0.5 < answer.error / wrong(one, answer).mean() < 2


def test_reliability_is_a_probability_that_holds(bench: Any) -> None:
    """Pixels of all settings together: as many are right as it says, in every fifth."""
    said, right = [], []
    for energies in (6, 12, 40):
        for counts in (200, 2000):
            one = bench.simulated(energies, counts)
            answer = answered(bench.simulated, energies, counts, 0)
            said.append(answer.reliability[one.mask])
            right.append(~wrong(one, answer))
    r, ok = np.concatenate(said), np.concatenate(right)
    assert (r >= 0).all()
    assert (r <= 1).all()
    for low, high in ((0.4, 0.8), (0.8, 0.95), (0.95, 1.01)):
        some = (r >= low) & (r < high)
        assert some.sum() > 30
        assert ok[some].mean() == pytest.approx(r[some].mean(), abs=0.12)
    assert ok[r > 0.95].mean() > 0.98


@given(seed=st.integers(0, 1000), size=st.integers(1, 400), bias=st.floats(0.4, 2.5))
@settings(max_examples=40, deadline=None)
def test_reliability_rises_with_certainty_within_bounds(seed: int, size: int, bias: float) -> None:
    rng = np.random.default_rng(seed)
    certainty = rng.random(size)
    one = Twin(certainty, rng.random(size) < certainty, bias)
    found = one.reliability(np.linspace(0, 1, 50))
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= -1e-12).all()
    assert 0 <= one.error <= 1
    if bias <= 1:
        assert found.max() < 1, "no number of pixels makes certain"


def test_a_calibrated_certainty_comes_back() -> None:
    rng = np.random.default_rng(0)
    certainty = rng.uniform(0.3, 1, 40000)
    one = Twin(certainty, rng.random(40000) < certainty)
    asked = np.linspace(0.35, 0.97, 10)
    np.testing.assert_allclose(one.reliability(asked), asked, atol=0.03)
    assert one.error == pytest.approx(0.35, abs=0.01)


def test_a_boast_is_seen_through() -> None:
    rng = np.random.default_rng(0)
    certainty = rng.uniform(0.9, 1, 20000)
    one = Twin(certainty, rng.random(20000) < 0.6)
    np.testing.assert_allclose(one.reliability(np.array([0.92, 0.99])), 0.6, atol=0.05)


def test_without_pixels_nothing_is_said() -> None:
    empty = Twin(np.zeros(0), np.zeros(0, dtype=bool))
    assert np.isnan(empty.error)
    assert np.isnan(empty.reliability(np.array([0.5]))).all()


@pytest.mark.parametrize("method", ["pearson", "pca-gmm", "posterior"])
def test_a_twin_is_the_same_again_and_stops(bench: Any, method: Any) -> None:
    one = bench.simulated(6, 200, 0, (40, 40))
    p = SpectralParameters(method=method)
    told, first = (tell(name, one.spectra, p) for name in (method, "posterior"))
    twins = [twin(method, one.spectra, told, first, p, counting=True) for _ in range(2)]
    np.testing.assert_array_equal(twins[0].right, twins[1].right)
    assert len(twins[0].right) == len(one.spectra)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        twin(method, one.spectra, told, first, p, counting=True, check=stop)


def test_noise_that_is_no_photons_is_simulated_by_its_scale(bench: Any) -> None:
    """Densities with normal noise of which only the scatter is known."""
    one = bench.simulated(12, 2000)
    rng = np.random.default_rng(0)
    curves = np.stack([r.at(one.energies) for r in one.references])
    clean = np.einsum("yxk,ke->eyx", one.truth.fractions.astype(float), curves)
    od = clean * one.truth.thickness + 0.05 * rng.standard_normal(one.stack.shape)
    from napari_diffmap.methods.spectra.density import optical_density

    density = optical_density(od, one.energies, None)
    assert not density.counting
    answer = SpectralMethod(SpectralParameters(compare=False), one.references).answer(density)
    mask = density.particle
    errors = (answer.phase_ids[mask, 0] != one.truth.labels[mask]).mean()
    assert 0.5 < answer.error / errors < 2
