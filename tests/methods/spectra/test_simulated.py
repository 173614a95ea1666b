"""The simulated stack is what the tests and figures take it for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.simulated import (
    CONTENTS,
    simulated_counts,
    simulated_energies,
    simulated_references,
    simulated_scan,
    simulated_truth,
)


def test_neighbours_in_sodium_are_as_alike_as_measured_ones() -> None:
    references = simulated_references()
    assert [r.composition for r in references] == list(CONTENTS)
    energies = simulated_energies(40)
    rows = np.stack([r.at(energies) for r in references])
    alike = [np.corrcoef(a, b)[0, 1] for a, b in pairwise(rows)]
    assert min(alike) > 0.9
    assert max(alike) < 0.999


def test_the_truth_adds_up() -> None:
    truth = simulated_truth((64, 48), 3)
    inside = truth.labels >= 0
    assert 0.1 < inside.mean() < 0.7
    np.testing.assert_allclose(truth.fractions[inside].sum(axis=-1), 1, atol=1e-5)
    assert (truth.fractions[~inside] == 0).all()
    assert (truth.thickness[inside] > 0).all()
    np.testing.assert_array_equal(truth.labels[inside], truth.fractions[inside].argmax(axis=-1))
    assert truth.pure.sum() > truth.mixed.sum() > 0
    assert not (truth.pure & truth.mixed).any()
    x = truth.composition
    assert np.isnan(x[~inside]).all()
    assert x[inside].min() >= CONTENTS[-1] - 1e-5
    assert x[inside].max() <= CONTENTS[0] + 1e-5
    again = simulated_truth((64, 48), 3)
    np.testing.assert_array_equal(again.labels, truth.labels)


def test_counts_are_poisson_and_repeat() -> None:
    truth = simulated_truth((48, 48))
    energies = simulated_energies(6)
    one, other = (simulated_counts(truth, energies, 500, seed) for seed in (0, 1))
    np.testing.assert_array_equal(one, simulated_counts(truth, energies, 500, 0))
    beside = truth.labels < 0
    noise = (one.astype(float) - other)[:, beside]
    mean = one[:, beside].mean(axis=1)
    np.testing.assert_allclose(noise.var(axis=1) / 2, mean, rtol=0.15)
    assert mean.mean() == pytest.approx(500, rel=0.05)


def test_the_scan_says_its_energies() -> None:
    scan, truth = simulated_scan(8, shape=(32, 40))
    assert scan.kind == "STXM"
    assert scan.shape == (8, 32, 40)
    assert truth.labels.shape == (32, 40)
    axis = scan.axes[0]
    assert axis.unit == "eV"
    np.testing.assert_allclose(axis.coordinates, simulated_energies(8))
    assert scan.axes[1].scale == 30
    assert (np.diff(simulated_energies(60)) > 0).all()
    with pytest.raises(BadInputError, match="two energies"):
        simulated_energies(1)
