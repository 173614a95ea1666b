"""The polar network turns its answer with its pattern; families are built as their cards say."""

from __future__ import annotations

import pytest
import torch

from napari_diffmap.errors import BadInputError
from napari_diffmap.models.families import FAMILIES, build
from napari_diffmap.models.polar import PolarNet


def test_a_turned_pattern_has_a_turned_answer() -> None:
    torch.manual_seed(1)
    network = PolarNet(7, 11, width=16, depth=3).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    pattern = torch.rand(2, 24, 7)
    said, none = network(pattern)
    assert said.shape == (2, 12, 11)
    for turn in (1, 5):
        turned, same = network(pattern.roll(2 * turn, 1))
        assert torch.allclose(turned, said.roll(turn, 1), atol=1e-5)
        assert torch.allclose(same, none, atol=1e-5)
    assert not torch.allclose(network(pattern.roll(1, 1))[0], said, atol=1e-3)


def test_some_columns_alone_say_the_same() -> None:
    network = PolarNet(5, 12, width=16, depth=1).eval()
    seen = torch.randn(3, 24, 5, generator=torch.Generator().manual_seed(4))
    whole, none = network(seen)
    network.keep(torch.tensor([7, 2, 3]))
    some, again = network(seen)
    assert torch.allclose(some, whole[..., [7, 2, 3]])
    assert torch.equal(none, again)


def test_neighbours_on_the_circle_are_seen() -> None:
    network = PolarNet(1, 2, width=8, depth=2).eval()
    first = torch.zeros(1, 16, 1)
    other = first.clone()
    other[0, 15, 0] = 1.0
    difference = (network(first)[0] - network(other)[0]).abs().amax(-1)[0]
    assert difference[0] > 1e-6  # across the seam


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns(family: str) -> None:
    torch.manual_seed(0)
    if family == "polar":
        network = build(family, {"channels": 5, "columns": 9, "width": 8, "depth": 1})
        out = network(torch.rand(3, 16, 5))
    else:
        network = build(family, {"channels": 3})
        out = network(torch.rand(3, 3, 64, 64))
        matrices = out[0]
        eye = matrices @ matrices.transpose(-1, -2)
        assert torch.allclose(eye, torch.eye(3).expand_as(eye), atol=1e-5)
        assert torch.allclose(torch.linalg.det(matrices), torch.ones(3, 4), atol=1e-5)
    sum(part.float().square().sum() for part in out).backward()
    idle = [
        name
        for name, p in network.named_parameters()
        if p.requires_grad and (p.grad is None or not torch.isfinite(p.grad).all())
    ]
    assert not idle


def test_an_unknown_family_is_one_line() -> None:
    with pytest.raises(BadInputError, match="no family of networks 'resnet'"):
        build("resnet", {})
    with pytest.raises(BadInputError, match="cannot be built of"):
        build("polar", {"channels": 3, "columns": 4, "colour": "red"})
