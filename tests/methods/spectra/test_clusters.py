"""Clusters of spectra: shapes, names, sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_diffmap.methods.spectra.clusters import Clusters, named, pca_gmm, shapes


def test_shapes_have_no_offset_and_no_size(bench: Any) -> None:
    rng = np.random.default_rng(0)
    od, weights = bench.counted(np.eye(2)[[0, 1, 0]], bench.peaks(708, 716))
    weights = weights * (rng.random(weights.shape) > 0.2)
    found, error = shapes(od, weights)
    other, scaled = shapes(3 * od + 1, weights)
    np.testing.assert_allclose(other, found, atol=1e-5)
    np.testing.assert_allclose(scaled, error / 3, rtol=1e-5)
    for p, known in enumerate(weights > 0):
        values = found[p, known]
        assert values.mean() == pytest.approx(0, abs=1e-6)
        assert values.std() == pytest.approx(1, abs=1e-5)
        assert (found[p, ~known] == 0).all()
        assert np.isinf(error[p, ~known]).all()
        size = od[p, known].astype(float).std()
        np.testing.assert_allclose(
            error[p, known], 1 / np.sqrt(weights[p, known]) / size, rtol=1e-4
        )


def test_the_stated_error_of_a_shape_is_its_scatter(bench: Any) -> None:
    od, weights = bench.counted(np.ones((3000, 1)), bench.peaks(712), incident=5000)
    found, error = shapes(od, weights)
    np.testing.assert_allclose(found.std(axis=0), np.median(error, axis=0), rtol=0.25)


def test_clusters_are_named_by_correlation(bench: Any) -> None:
    curves = bench.peaks(706, 712, 718)
    which = np.repeat([2, 0, 1], 40)
    od, weights = bench.counted(np.eye(3)[which], curves)
    membership = np.zeros((120, 4))
    membership[np.arange(120), np.repeat([0, 1, 2], 40)] = 1
    found = named(membership, od, weights, curves)
    assert found.references.tolist() == [2, 0, 1, -1]
    for k in range(3):
        mean = od[membership[:, k] > 0.9].mean(axis=0)
        np.testing.assert_allclose(found.means[k], mean, rtol=1e-5)
        wanted = [np.corrcoef(mean, curve)[0, 1] for curve in curves]
        np.testing.assert_allclose(found.correlations[k], wanted, atol=1e-5)
        spread = od[membership[:, k] > 0.9].std(axis=0)
        np.testing.assert_allclose(found.spreads[k], spread, rtol=1e-3)
    assert np.isnan(found.means[3]).all()
    np.testing.assert_array_equal(found.support(3).argmax(axis=1), which)
    assert found.effective == pytest.approx(3)


def test_unknown_energies_are_left_out_of_means(bench: Any) -> None:
    curves = bench.peaks(708, 716)
    od, weights = bench.counted(np.eye(2)[[0] * 10], curves)
    weights[:, 4] = 0
    weights[3:, 7] = 0
    found = named(np.ones((10, 1)), od, weights, curves)
    assert np.isnan(found.means[0, 4])
    assert found.means[0, 7] == pytest.approx(od[:3, 7].mean())
    assert found.references[0] == 0


def test_entropy_and_effective_number_by_hand() -> None:
    q = np.array([[1.0, 0, 0], [0.5, 0.5, 0]])
    zeros = np.zeros((3, 2))
    found = Clusters(q, zeros, zeros, np.array([0, 1, -1]), zeros)
    np.testing.assert_allclose(found.entropy, [0, np.log(2)], atol=1e-9)
    share = np.array([0.75, 0.25])
    assert found.effective == pytest.approx(np.exp(-(share * np.log(share)).sum()))


def test_components_and_mixture_find_phases_that_are_apart(bench: Any) -> None:
    labels = np.repeat(np.arange(3), 200)
    curves = bench.peaks(706, 712, 718)
    od, weights = bench.counted(np.eye(3)[labels], curves, incident=3000)
    found = pca_gmm(od, weights, curves, 5, seed=3)
    np.testing.assert_allclose(found.membership.sum(axis=1), 1, atol=1e-5)
    assert (found.support(3).argmax(axis=1) == labels).mean() > 0.99
    assert 1 <= found.effective <= 5 + 1e-9
    again = pca_gmm(od, weights, curves, 5, seed=3)
    np.testing.assert_array_equal(again.membership, found.membership)


def test_fewer_pixels_than_clusters(bench: Any) -> None:
    curves = bench.peaks(706, 712)
    od, weights = bench.counted(np.eye(2)[[0, 1, 0]], curves)
    found = pca_gmm(od, weights, curves, 8)
    assert found.membership.shape[1] <= 3
    np.testing.assert_allclose(found.membership.sum(axis=1), 1, atol=1e-5)
