"""What a network proposes is refined, ranked and doubted as the matcher does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import spots
from napari_diffmap.methods.networks.model import load_proposer
from napari_diffmap.methods.networks.proposals import (
    Density,
    NoDensity,
    Proposals,
    with_half_turns,
)
from napari_diffmap.methods.networks.search import NetworkSearch
from napari_diffmap.methods.orientation.candidates import SearchSettings
from napari_diffmap.methods.orientation.rotations import disorientation
from napari_diffmap.methods.orientation.search import OrientationSearch
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.models.weights import read_model

N = 32
SETTINGS = SearchSettings(
    voltage_kv=200.0,
    pixel_size=0.0225,
    q_min=0.1,
    q_max=1.4,
    rings=32,
    angles=90,
    zone_step_deg=3.0,
    sigma=0.03,
    precession_deg=0.0,
    intensity_power=0.1,
    refine=True,
    distinct_deg=8.0,
    memory=256 << 20,
)


class Told:
    """Proposes what it is told to."""

    def __init__(self, matrices: Tensor, phase: int, density: Density) -> None:
        b, k = matrices.shape[:2]
        share = torch.linspace(0.6, 0.2, k).expand(b, k)
        self.said = Proposals(
            matrices, torch.full((b, k), phase), share, torch.ones(b, 1), torch.full((b,), 0.9)
        )
        self.density = density

    def propose(
        self, peaks: PeakBatch, only: Sequence[int] | None = None
    ) -> tuple[Proposals, Density]:
        return self.said, self.density


@pytest.fixture(scope="module")
def truth() -> Tensor:
    matrices = Rotation.random(N, random_state=5).as_matrix()
    return torch.as_tensor(matrices, dtype=torch.float32)


@pytest.fixture(scope="module")
def peaks(cathode, truth) -> PeakBatch:
    """Spots of LiNiO2, strong ones clear."""
    q = np.roll(Rotation.from_matrix(truth.transpose(-1, -2).numpy()).as_quat(), 1, axis=1)
    found = spots(reflections(cathode[0], 1.4), q, 200.0, 0.015)
    radius = torch.hypot(found.kx, found.ky)
    height = torch.where((radius > 0.1) & (radius < 1.4), found.intensity, 0.0)
    top, index = height.topk(40, dim=1)
    top = torch.where(top > 0.003 * top[:, :1], top / top[:, :1] * 1e4, 0.0)
    return PeakBatch(
        found.kx.gather(1, index),
        found.ky.gather(1, index),
        top,
        (top > 0).float(),
        noise=torch.full_like(top, 5.0),
    )


def turned_by(matrices: Tensor, degrees: float, seed: int) -> Tensor:
    axis = np.random.default_rng(seed).normal(size=(len(matrices), 3))
    axis *= np.deg2rad(degrees) / np.linalg.norm(axis, axis=1, keepdims=True)
    turn = torch.as_tensor(Rotation.from_rotvec(axis).as_matrix(), dtype=torch.float32)
    return turn @ matrices


def search(cathode, proposer) -> NetworkSearch:
    return NetworkSearch(proposer, cathode, SETTINGS)


def test_a_rough_proposal_is_polished(cathode, truth, peaks) -> None:
    decoy = torch.as_tensor(Rotation.random(N, random_state=9).as_matrix(), dtype=torch.float32)
    told = torch.stack((decoy, turned_by(truth, 2.5, 1)), 1)
    made = search(cathode, Told(told, 0, NoDensity()))
    answers = made.match(peaks, 2)
    off = torch.rad2deg(disorientation(answers.matrices[:, :1], truth[:, None], made.operators[0]))[
        :, 0
    ]
    # Kinematic spots ranked as dynamical ones: tilts are off by a degree or two.
    assert (off < 3.0).float().mean() > 0.95
    assert (answers.phase[:, 0] == 0).all()
    assert torch.allclose(answers.known, torch.full((N,), 0.9))


def test_the_half_turn_is_told_by_the_matcher(cathode, truth, peaks) -> None:
    half = torch.tensor([-1.0, -1.0, 1.0])[:, None]
    wrong = (half * truth)[:, None]
    said = with_half_turns(Told(wrong, 0, NoDensity()).said, 1)
    assert said.matrices.shape[1] == 2
    proposer = Told(wrong, 0, NoDensity())
    proposer.said = said
    answers = search(cathode, proposer).match(peaks, 2)
    made = search(cathode, proposer)
    off = torch.rad2deg(disorientation(answers.matrices[:, :1], truth[:, None], made.operators[0]))[
        :, 0
    ]
    assert (off < 3.0).float().mean() > 0.85  # the rest look alike turned


def test_the_network_may_decide_between_equals(cathode, truth, peaks) -> None:
    """Of an orientation and its half turn, the one that is said wins when it weighs enough."""
    half = torch.tensor([-1.0, -1.0, 1.0])[:, None]

    class Sure:
        def log_probability(self, matrices: Tensor, phase: Tensor) -> Tensor:
            operators = made.operators[0]
            off = disorientation(matrices, (half * truth)[:, None], operators)
            return torch.where(off < 0.1, 0.0, -12.0)

    proposer = Told(torch.stack((truth, half * truth), 1), 0, Sure())
    made = search(cathode, proposer)
    made.prior, made.least = 1e3, 0.0
    answers = made.match(peaks, 1)
    off = torch.rad2deg(
        disorientation(answers.matrices[:, :1], (half * truth)[:, None], made.operators[0])
    )[:, 0]
    answered = answers.phase[:, 0] >= 0
    assert answered.float().mean() > 0.5
    assert (off[answered] < 3).float().mean() > 0.8


def test_the_phases_wanted_in_the_order_wanted(cathode, peaks, tiny_model) -> None:
    card, state = read_model(tiny_model)
    both = {phase.name: phase for phase in cathode}
    wanted = [both["NiO"], both["LiNiO2"]]
    whole, one = (load_proposer(card, state, some) for some in (wanted, wanted[:1]))
    said, density = whole.propose(peaks, only=[0])
    alone, other = one.propose(peaks)
    assert (said.phase[:, :2] == 0).all()
    assert torch.allclose(said.matrices[:, :2], alone.matrices[:, :2], atol=1e-5)
    assert torch.allclose(said.probability[:, :2], alone.probability[:, :2], atol=1e-5)
    asked = alone.matrices[:, :2], alone.phase[:, :2]
    assert torch.allclose(density.log_probability(*asked), other.log_probability(*asked), atol=1e-3)
    swapped, _ = load_proposer(card, state, wanted[::-1]).propose(peaks)
    first, _ = whole.propose(peaks)
    assert torch.equal(swapped.phase[:, 0], 1 - first.phase[:, 0])
    assert torch.allclose(swapped.phases, first.phases.flip(1), atol=1e-5)


def test_where_the_network_is_lost_the_templates_find_it(cathode, truth, peaks) -> None:
    """Proposals that are all wrong cost no answer."""
    decoys = torch.as_tensor(
        Rotation.random(3 * N, random_state=9).as_matrix(), dtype=torch.float32
    )
    made = search(cathode, Told(decoys.reshape(N, 3, 3, 3), 1, NoDensity()))
    templates = OrientationSearch(cathode, SETTINGS).match(peaks, 2)
    answers = made.match(peaks, 2)
    assert torch.equal(answers.phase[:, 0], templates.phase[:, 0])
    off = [
        disorientation(one.matrices[:, :1], truth[:, None], made.operators[0])[:, 0]
        for one in (answers, templates)
    ]
    right = [float((torch.rad2deg(angles) < 3).float().mean()) for angles in off]
    assert right[0] >= right[1] > 0.9


def test_where_the_network_is_sure_no_template_is_tried(
    cathode, truth, peaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    coarse = OrientationSearch.candidates

    def counted(self, some, only=None):
        tried.append(len(some))
        return coarse(self, some, only)

    monkeypatch.setattr(OrientationSearch, "candidates", counted)
    made = search(cathode, Told(turned_by(truth, 1.0, 1)[:, None], 0, NoDensity()))
    made.match(peaks, 2)
    assert sum(tried) < 0.3 * N


def test_a_phase_temperature_sharpens_the_phases_alone(cathode, peaks, tiny_model) -> None:
    card, state = read_model(tiny_model)
    plain, sharp = (
        load_proposer(card.model_copy(update={"calibration": one}), state, cathode).propose(peaks)
        for one in ({"phase_temperature": 1.0}, {"phase_temperature": 0.5})
    )
    squared = plain[0].phases ** 2
    expected = squared / squared.sum(1, keepdim=True)
    assert torch.allclose(sharp[0].phases, expected, atol=1e-5)
    assert torch.equal(sharp[0].probability, plain[0].probability)
