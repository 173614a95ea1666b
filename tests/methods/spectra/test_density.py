"""Optical density against -ln(I/I0), and which pixels belong to the sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.density import (
    normalised,
    optical_density,
    particle_threshold,
)

E = np.array([700.0, 705.0, 710.0, 715.0])


def slab(od: float = 1.2, incident: float = 1000.0) -> np.ndarray:
    """Four energies of 20 × 20 pixels: a square that absorbs on an empty support."""
    stack = np.full((4, 20, 20), incident)
    stack[:, 5:15, 5:15] *= np.exp(-od)
    return stack


@given(st.lists(st.floats(0.05, 1.9), min_size=4, max_size=4))
@settings(max_examples=20, deadline=None)
def test_density_is_the_logarithm(densities: list[float]) -> None:
    incident = np.array([900.0, 1000.0, 1100.0, 1200.0])
    od = np.array(densities)
    stack = np.broadcast_to(incident[:, None, None], (4, 6, 6)).copy()
    stack[:, 2:4, 2:4] *= np.exp(-od)[:, None, None]
    found = optical_density(stack, E, incident)
    np.testing.assert_allclose(found.od[:, 2, 2], od, atol=1e-5)
    np.testing.assert_allclose(found.od[:, 0, 0], 0, atol=1e-6)
    assert found.particle.sum() == 4
    assert found.thickness[2, 2] - found.thickness[0, 0] == pytest.approx(od.mean(), abs=1e-5)


def test_the_variance_is_that_of_photons() -> None:
    rng = np.random.default_rng(0)
    incident, od = 2000.0, np.array([0.1, 0.5, 1.0, 1.5])
    stack = rng.poisson(incident * np.exp(-od)[:, None, None], (4, 80, 80))
    found = optical_density(stack, E, np.full(4, incident), threshold=0.1)
    values, weights = found.pixels(np.ones((80, 80), dtype=bool))
    assert found.counting
    np.testing.assert_allclose(values.mean(axis=0), od, atol=0.005)
    wanted = values.var(axis=0)
    np.testing.assert_allclose((1 / weights).mean(axis=0), wanted, rtol=0.05)
    np.testing.assert_allclose(weights, stack.reshape(4, -1).T, rtol=1e-4)


def test_whole_numbers_are_photons_and_others_are_not() -> None:
    incident = np.full(4, 1000.0)
    assert optical_density(np.rint(slab()).astype(np.uint16), E, incident).counting
    assert optical_density(np.rint(slab()), E, incident).counting
    assert not optical_density(slab() + 0.25, E, incident).counting
    assert not optical_density(-np.log(slab() / 1000), E, None).counting
    assert optical_density(slab() + 0.25, E, incident, counting=True).counting


def test_a_stack_of_densities_is_taken_as_it_is() -> None:
    od = -np.log(slab() / 1000)
    found = optical_density(od, E, None)
    np.testing.assert_allclose(found.od, od, rtol=1e-6)
    np.testing.assert_array_equal(found.incident, 1)
    assert found.particle.sum() == 100


def test_saturated_masked_and_dark_pixels() -> None:
    stack = slab()
    stack[2, 6, 6] = 1000 * np.exp(-2.5)
    stack[1:, 8, 8] = np.nan
    stack[2:, 9, 9] = np.nan
    stack[0, 10, 10] = 0
    masked = np.zeros((20, 20), dtype=bool)
    masked[12, 12] = True
    found = optical_density(np.round(stack), E, np.full(4, 1000.0), masked=masked)
    assert np.argwhere(found.saturated).tolist() == [[6, 6], [10, 10], [12, 12]]
    assert np.argwhere(found.dark).tolist() == [[8, 8]]
    assert not found.particle[8, 8]
    assert found.particle[9, 9]
    assert found.usable.sum() == 100 - 4
    values, weights = found.pixels(found.particle)
    assert np.isfinite(values).all()
    assert (weights == 0).sum() == 3, "two energies not measured, one without a photon"


@pytest.mark.parametrize(("counts", "least"), [(200, 0.97), (2000, 0.98)])
@pytest.mark.parametrize("seed", [0, 1])
def test_simulated_particles_are_found(bench: Any, counts: int, least: float, seed: int) -> None:
    one = bench.simulated(12, counts, seed)
    true = one.truth.labels >= 0
    found = one.density.particle
    assert (found & true).sum() / (found | true).sum() >= least


def test_a_pixel_that_lacks_energies_is_as_thick_as_its_neighbours() -> None:
    stack = slab()
    stack[3] *= np.exp(-0.5)  # all absorb more at the last energy
    stack[3, 7, 7] = np.nan
    found = optical_density(stack, E, np.full(4, 1000.0))
    assert found.thickness[7, 7] == pytest.approx(found.thickness[8, 8], abs=0.02)


def test_the_user_may_say_where_the_sample_begins() -> None:
    found = optical_density(slab(), E, np.full(4, 1000.0), threshold=2.0)
    assert not found.particle.any()
    assert optical_density(slab(), E, np.full(4, 1000.0), threshold=-0.5).particle.all()


def test_a_level_map_has_a_threshold() -> None:
    assert particle_threshold(np.full((8, 8), 0.3, dtype=np.float32)) == pytest.approx(0.3)


def test_the_threshold_lies_between_support_and_sample() -> None:
    rng = np.random.default_rng(0)
    support, sample = rng.normal(0, 0.02, 6000), rng.uniform(0.3, 1.2, 2000)
    threshold = particle_threshold(np.concatenate((support, sample)).astype(np.float32))
    assert 0.06 < threshold < 0.3


@pytest.mark.parametrize(
    ("stack", "incident", "told"),
    [
        (np.ones((4, 5)), np.ones(4), r"a stack \(energy, y, x\) of 4 energies"),
        (np.ones((3, 5, 5)), np.ones(4), r"a stack \(energy, y, x\) of 4 energies"),
        (np.ones((4, 5, 5)), np.ones(3), "I0 has 3 energies, the stack 4"),
        (np.full((4, 5, 5), np.nan), np.ones(4), "no pixel has two energies"),
        (np.zeros((4, 5, 5)), np.ones(4), "no pixel has two energies"),
    ],
)
def test_what_is_no_stack_is_refused(stack: Any, incident: Any, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        optical_density(stack, E, incident)


def test_some_energies_only() -> None:
    found = optical_density(slab(), E, np.full(4, 1000.0)).at_energies(np.array([0, 2]))
    assert found.energies.tolist() == [700, 710]
    assert found.od.shape == (2, 20, 20)
    assert found.shape == (20, 20)


def edge(energies: np.ndarray, size: float, slope: float, level: float) -> np.ndarray:
    return size * (energies > 712) + slope * (energies - 700) + level


@given(size=st.floats(0.1, 3), slope=st.floats(-0.02, 0.02), level=st.floats(-0.3, 0.3))
@settings(max_examples=20, deadline=None)
def test_normalising_takes_size_and_ground_away(size: float, slope: float, level: float) -> None:
    energies = np.linspace(700, 730, 61)
    limits = (710.0, 720.0)
    found = normalised(edge(energies, size, slope, level), energies, "post-edge", limits)
    np.testing.assert_allclose(found, energies > 712, atol=1e-6)
    before = normalised(edge(energies, size, slope, level), energies, "pre-edge", limits)
    np.testing.assert_allclose(before, size * (energies > 712), atol=1e-6)
    area = normalised(edge(energies, size, slope, level), energies, "area", limits)
    assert area.mean() == pytest.approx(1)
    raw = edge(energies, size, slope, level)
    np.testing.assert_array_equal(normalised(raw, energies, "none"), raw)


def test_normalising_many_spectra_at_once_leaves_unknown_values_out() -> None:
    energies = np.linspace(700, 730, 61)
    one = edge(energies, 2.0, 0.01, 0.2)
    many = np.stack((one, 3 * one + 1), axis=1)[:, :, None]
    many[50, 0, 0] = np.nan
    found = normalised(many, energies, "post-edge", (710.0, 720.0))
    assert np.isnan(found[50, 0, 0])
    np.testing.assert_allclose(found[51:, 0, 0], 1, atol=1e-6)
    np.testing.assert_allclose(found[:, 1, 0], energies > 712, atol=1e-6)
