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
    "strange": 0.0,
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
            assert torch.cdist(places.double(), predicted.double()).amin(1).max() < 1e-4


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
    mixed = pool(cathode, two_grains=0.5, nothing=0.3, strange=0.2, dose=(5e4, 1e5))
    peaks, truth = mixed.draw(2000)
    known = 0.8 * 0.7
    assert float(truth.crystal.float().mean()) == pytest.approx(known, abs=0.06)
    two = (truth.share[:, 1] > 0).float().mean()
    assert float(two) == pytest.approx(0.5 * known, abs=0.06)
    crystal = truth.share.sum(1)[truth.crystal]
    assert torch.allclose(crystal, torch.ones_like(crystal))
    # What is none shows spots as well.
    assert peaks.count[~truth.crystal].float().mean() > 8


def test_a_strange_crystal_is_not_the_known_one(cathode) -> None:
    """Its spots lie off all reflections of the orientation it is drawn from."""
    known, strange = (
        pool(cathode[1:], **{**EXACT, "dose": (1e5, 1e5), "strange": share}).draw(64)
        for share in (0.0, 1.0)
    )
    assert not strange[1].crystal.any()
    g = torch.as_tensor(reflections(cathode[1], 2.2).g)
    for (peaks, truth), far in ((known, False), (strange, True)):
        gaps = []
        for i in range(64):
            predicted = (g @ truth.matrices[i, 0].T.double())[:, :2]
            clear = peaks.clear[i]
            places = torch.stack((peaks.kx[i], peaks.ky[i]), 1)[clear].double()
            near = predicted.abs() < 2
            gaps.append(torch.cdist(places, predicted[near.all(1)]).amin(1))
        assert (torch.cat(gaps).mean() > 1e-3) == far


def test_intensities_are_those_of_bloch_waves(cathode) -> None:
    from napari_diffmap.crystal.bloch import dynamical_spots, potential

    made = pool(
        cathode[1:], **{**EXACT, "kinematic": 0.0, "thickness_nm": (20.0, 20.0), "dose": (1e6, 1e6)}
    )
    peaks, truth = made.draw(8)
    found = reflections(cathode[1], 1.9)
    from scipy.spatial.transform import Rotation

    q = Rotation.from_matrix(truth.matrices[:, 0].transpose(-1, -2).double().numpy()).as_quat()
    q = torch.as_tensor(np.roll(q, 1, axis=1), dtype=torch.float32)
    drawn = dynamical_spots(
        potential(cathode[1], found, 200.0), found, q, torch.full((8,), 200.0), beams=72
    )
    for i in range(8):
        strong = peaks.intensity[i] > 0.05 * peaks.intensity[i].max()
        places = torch.stack((peaks.kx[i], peaks.ky[i]), 1)[strong]
        theirs = torch.stack((drawn.kx[i], drawn.ky[i]), 1)
        nearest = torch.cdist(places, theirs).argmin(1)
        expected = drawn.intensity[i][nearest]
        got = peaks.intensity[i][strong]
        assert torch.allclose(got / got.sum(), expected / expected.sum(), rtol=0.02, atol=0.005)


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="runs backwards"):
        Domain(thickness_nm=(50.0, 10.0))
