"""Training: it learns, stops, goes on where it was, and refuses what is not its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from napari_diffmap.errors import BadInputError
from napari_diffmap.models.training import CHECKPOINT, LOG, Plan, rate_at, read_log, train


class Line:
    """y = 2 x₀ − x₁ from random points."""

    def __init__(self) -> None:
        self.random = torch.Generator().manual_seed(0)

    def loss(self, network: nn.Module, batch: int) -> Tensor:
        x = torch.rand(batch, 2, generator=self.random)
        loss: Tensor = (network(x)[:, 0] - 2 * x[:, 0] + x[:, 1]).square().mean()
        return loss

    def validate(self, network: nn.Module) -> dict[str, float]:
        x = torch.rand(64, 2, generator=torch.Generator().manual_seed(1))
        return {"loss": float((network(x)[:, 0] - 2 * x[:, 0] + x[:, 1]).square().mean())}

    def state(self) -> dict[str, Tensor]:
        return {"random": self.random.get_state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.random.set_state(state["random"])


PLAN = Plan(steps=120, batch=32, rate=0.05, decay=0.0, average=0.9, validate_every=20)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


def test_it_learns(tmp_path: Path) -> None:
    seen: list[int] = []
    made = train(network(), Line(), PLAN, folder=tmp_path, on_step=lambda p: seen.append(p.step))
    assert seen == list(range(1, 121))
    assert made.complete
    losses = [one.figures["loss"] for one in made.history]
    assert len(losses) == 6
    assert losses[-1] < 0.05 * losses[0]
    assert [one.step for one in read_log(tmp_path / LOG)] == [20, 40, 60, 80, 100, 120]


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = train(network(), Line(), PLAN)
    steps: list[int] = []

    def stop() -> bool:
        return len(steps) == 47

    half = train(
        network(),
        Line(),
        PLAN,
        folder=tmp_path,
        on_step=lambda p: steps.append(p.step),
        stopped=stop,
    )
    assert not half.complete
    assert half.progress.step == 47
    rest = train(network(), Line(), PLAN, folder=tmp_path, resume=True)
    assert rest.complete
    for name, value in whole.weights.items():
        assert torch.equal(value, rest.weights[name]), name
    assert [one.figures for one in rest.history] == [one.figures for one in whole.history]


def test_what_is_not_its_own_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no training to resume"):
        train(network(), Line(), PLAN, folder=tmp_path, resume=True)
    train(network(), Line(), PLAN.model_copy(update={"steps": 20}), folder=tmp_path)
    with pytest.raises(BadInputError, match="has another plan"):
        train(network(), Line(), PLAN, folder=tmp_path, resume=True)
    other = nn.Sequential(nn.Linear(2, 9), nn.BatchNorm1d(9), nn.Linear(9, 1))
    with pytest.raises(BadInputError, match="of another network"):
        train(other, Line(), PLAN.model_copy(update={"steps": 20}), folder=tmp_path, resume=True)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    train(network(), Line(), PLAN, folder=tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInputError, match="is damaged"):
        train(network(), Line(), PLAN, folder=tmp_path, resume=True)


def test_the_rate_rises_then_falls() -> None:
    plan = Plan(steps=1000, rate=1e-2, warm=0.1)
    rates = [rate_at(plan, step) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == pytest.approx(1e-2)
    assert rates.index(max(rates)) in (99, 100)
    assert rates[-1] == pytest.approx(1e-4, rel=0.05)
    assert rates[100:] == sorted(rates[100:], reverse=True)
