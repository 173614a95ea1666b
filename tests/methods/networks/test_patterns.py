"""Simulated spot lists: spots lie where their truth puts them, conditions do what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.methods.networks.domain import Domain
from napari_diffmap.methods.networks.patterns import PatternPool

#: No error of any kind, one crystal a pattern.
EXACT = {
    "two_grains": 0.0,
    "nothing": 0.0,
    "scale_error": 0.0,
    "ellipse": 0.0,
    "center_error": 0.0,
    "spot_error": 0.0,
    "jitter": (0.0, 0.0),
    "stray_spots": 0.0,
}


def pool(phases, seed: int = 3, **changes) -> PatternPool:
    made = PatternPool(phases, Domain(**changes), 256, seed)
    made.fill()
    return made


@pytest.fixture(scope="module")
def exact(cathode) -> PatternPool:
    return pool(cathode, **EXACT)


def test_every_spot_is_a_reflection_of_the_true_orientation(exact, cathode) -> None:
    peaks, truth = exact.draw(64)
    for i in range(64):
        phase = cathode[int(truth.phase[i, 0])]
        g = torch.as_tensor(reflections(phase, 1.6).g, dtype=torch.float32)
        predicted = (g @ truth.matrices[i, 0].T)[:, :2]
        there = peaks.intensity[i] > 0
        places = torch.stack((peaks.kx[i], peaks.ky[i]), 1)[there]
        if len(places):
            assert torch.cdist(places, predicted).amin(1).max() < 1e-4


def test_limits_of_the_pattern_hold(exact) -> None:
    d = exact.domain
    peaks, _ = exact.draw(256)
    q = torch.hypot(peaks.kx, peaks.ky)[peaks.intensity > 0]
    assert q.min() >= d.q_min[0]
    assert q.max() <= d.q_max[1]
    assert (peaks.significance[peaks.intensity > 0] > 3.5).all()


def test_the_same_seed_gives_the_same_patterns(cathode) -> None:
    one, other, third = (pool(cathode, seed).draw(16)[0] for seed in (5, 5, 6))
    assert torch.equal(one.kx, other.kx)
    assert torch.equal(one.intensity, other.intensity)
    assert not torch.equal(one.kx, third.kx)


def test_more_electrons_show_more_spots(cathode) -> None:
    few, many = (
        pool(cathode, **{**EXACT, "dose": (dose, dose)}).draw(256)[0].count.float().mean()
        for dose in (300.0, 100_000.0)
    )
    assert many > 1.5 * few


def test_shares_of_conditions(cathode) -> None:
    mixed = pool(cathode, two_grains=0.5, nothing=0.3, dose=(50_000.0, 100_000.0))
    _, truth = mixed.draw(2000)
    assert float((truth.share[:, 1] > 0).float().mean()) == pytest.approx(0.5 * 0.98, abs=0.06)
    crystal = truth.share.sum(1)[truth.crystal]
    assert torch.allclose(crystal, torch.ones_like(crystal))


def test_intensities_are_those_of_bloch_waves(cathode) -> None:
    from napari_diffmap.crystal.bloch import dynamical_spots, potential

    made = pool(
        cathode[1:], **{**EXACT, "kinematic": 0.0, "thickness_nm": (20.0, 20.0), "dose": (1e6, 1e6)}
    )
    peaks, truth = made.draw(8)
    found = reflections(cathode[1], 1.5 * 1.05)
    from scipy.spatial.transform import Rotation

    q = Rotation.from_matrix(truth.matrices[:, 0].transpose(-1, -2).double().numpy()).as_quat()
    q = torch.as_tensor(np.roll(q, 1, axis=1), dtype=torch.float32)
    drawn = dynamical_spots(
        potential(cathode[1], found, 200.0), found, q, torch.full((8,), 200.0), beams=64
    )
    for i in range(8):
        strong = peaks.intensity[i] > 0.05 * peaks.intensity[i].max()
        places = torch.stack((peaks.kx[i], peaks.ky[i]), 1)[strong]
        theirs = torch.stack((drawn.kx[i], drawn.ky[i]), 1)
        nearest = torch.cdist(places, theirs).argmin(1)
        expected = drawn.intensity[i][nearest]
        got = peaks.intensity[i][strong]
        assert torch.allclose(got / got.sum(), expected / expected.sum(), rtol=0.1, atol=0.01)


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="runs backwards"):
        Domain(thickness_nm=(50.0, 10.0))
