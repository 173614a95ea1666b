"""The ensemble of autoencoders: phases that are apart, seeds, masked energies, a stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_diffmap.errors import CancelledError
from napari_diffmap.methods.spectra.autoencoder import Ensemble, train_ensemble
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.telling import tell

LABELS = np.repeat(np.arange(3), 150)


@pytest.fixture(scope="module")
def apart(bench: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counted pixels of three phases far apart, an energy in ten not measured."""
    curves = bench.peaks(706, 713, 721)
    rng = np.random.default_rng(0)
    od, weights = bench.counted(
        np.eye(3)[LABELS], curves, thickness=rng.uniform(0.5, 1.5, 450), incident=1000
    )
    return od, weights * (rng.random(od.shape) > 0.1), curves


@pytest.fixture(scope="module")
def trained(apart: Any) -> Ensemble:
    return train_ensemble(*apart, 5, seeds=2, epochs=12, seed=4)


def test_phases_that_are_apart_are_recovered(trained: Ensemble) -> None:
    said = trained.clusters.support(3).argmax(axis=1)
    assert (said == LABELS).mean() > 0.97


def test_what_an_ensemble_tells(trained: Ensemble) -> None:
    np.testing.assert_allclose(trained.clusters.membership.sum(axis=1), 1, atol=1e-5)
    assert ((trained.effective >= 1) & (trained.effective <= 5 + 1e-6)).all()
    assert ((trained.stability >= 0) & (trained.stability <= 1 + 1e-6)).all()
    assert trained.stability.mean() > 0.7
    assert np.isfinite(trained.loss).all()
    assert 1 <= trained.clusters.effective <= trained.n_groups + 1e-6


def test_the_same_seed_gives_the_same_result(apart: Any, trained: Ensemble) -> None:
    again = train_ensemble(*apart, 5, seeds=2, epochs=12, seed=4)
    np.testing.assert_array_equal(again.clusters.membership, trained.clusters.membership)
    np.testing.assert_array_equal(again.loss, trained.loss)
    other = train_ensemble(*apart, 5, seeds=2, epochs=12, seed=90)
    assert not np.array_equal(other.loss, trained.loss)


def test_energies_that_were_not_measured_have_no_influence(apart: Any, trained: Ensemble) -> None:
    od, weights, curves = apart
    rubbish = np.where(weights > 0, od, 7.5).astype(np.float32)
    again = train_ensemble(rubbish, weights, curves, 5, seeds=2, epochs=12, seed=4)
    np.testing.assert_allclose(again.clusters.membership, trained.clusters.membership, atol=1e-5)


def test_other_spectra_are_told_with_what_was_learnt(
    bench: Any, apart: Any, trained: Ensemble
) -> None:
    od, weights, curves = apart
    np.testing.assert_allclose(
        trained.membership(od, weights), trained.clusters.membership, atol=1e-5
    )
    fresh, counts = bench.counted(np.eye(3)[LABELS], curves, seed=9)
    found = trained.membership(fresh, counts)
    support = np.zeros((len(fresh), 3))
    for k, reference in enumerate(trained.clusters.references):
        if reference >= 0:
            support[:, reference] += found[:, k]
    assert (support.argmax(axis=1) == LABELS).mean() > 0.97


def test_a_stop_ends_the_training(apart: Any) -> None:
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 4:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        train_ensemble(*apart, 5, seeds=2, epochs=50, check=check)
    assert len(calls) == 4
    said: list[tuple[int, int]] = []
    train_ensemble(
        *apart, 3, seeds=2, epochs=2, progress=lambda done, total, _: said.append((done, total))
    )
    assert said == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_threads_of_torch_are_left_as_they_were(apart: Any) -> None:
    import torch

    before = torch.get_num_threads()
    train_ensemble(*apart, 3, seeds=1, epochs=1)
    assert torch.get_num_threads() == before


def test_the_method_of_a_map(bench: Any) -> None:
    labels = np.repeat(LABELS, 1).reshape(15, 30)
    one = bench.spectra(labels, bench.peaks(706, 713, 721))
    told = tell("gmvae", one, SpectralParameters(method="gmvae", seeds=2, epochs=12))
    np.testing.assert_allclose(told.support.sum(axis=1), 1, atol=1e-5)
    assert (told.labels == LABELS).mean() > 0.97
    assert {"entropy", "stability"} <= set(told.extra)
    assert told.again is not None
    np.testing.assert_allclose(told.again(one), told.support, atol=1e-4)
