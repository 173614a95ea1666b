"""The nearest-spot lookup against a search over all spots."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.methods.orientation.spotmap import SpotMap, build_spot_map
from napari_diffmap.methods.registration.spots import MOST_PEAKS, PeakBatch

REACH = 0.06


def made(seed: int, spots: int, batch: int = 3) -> tuple[PeakBatch, torch.Tensor, SpotMap]:
    rng = np.random.default_rng(seed)
    k = torch.as_tensor(rng.uniform(-1.2, 1.2, (2, batch, spots)), dtype=torch.float32)
    amplitude = torch.as_tensor(rng.uniform(0.1, 1, (batch, spots)), dtype=torch.float32)
    amplitude[:, ::5] = 0
    peaks = PeakBatch(k[0], k[1], amplitude, torch.ones_like(amplitude))
    return peaks, amplitude, build_spot_map(peaks, amplitude, 1.2, REACH)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, MOST_PEAKS))
def test_lookup_finds_what_a_full_search_finds(seed: int, spots: int) -> None:
    peaks, amplitude, lookup = made(seed, spots)
    places = np.random.default_rng(seed + 1).uniform(-1.3, 1.3, (2, 3, 60))
    kx, ky = (torch.as_tensor(p, dtype=torch.float32) for p in places)
    number, px, py, height = lookup.lookup(kx, ky)
    gaps = torch.hypot(kx[:, :, None] - peaks.kx[:, None], ky[:, :, None] - peaks.ky[:, None])
    gaps = torch.where(amplitude[:, None] > 0, gaps, torch.inf)
    least = gaps.amin(dim=2)
    some = number < spots
    # A place is known to within half a cell's diagonal.
    slack = lookup.cell / np.sqrt(2) + 1e-5
    assert some[least < REACH - slack].all()
    assert not some[least > REACH + slack].any()
    taken = gaps.gather(2, number.clamp_max(spots - 1)[..., None])[..., 0]
    assert (taken <= least + 2 * slack)[some].all()
    # What comes back is the spot itself.
    rows = torch.arange(3)[:, None].expand_as(number)
    for values, own in ((px, peaks.kx), (py, peaks.ky), (height, amplitude)):
        assert torch.equal(values[some], own[rows[some], number[some]])
    assert (height[~some] == 0).all()
    assert (height[some] > 0).all()
    assert (number[~some] == spots).all()


def test_place_on_a_spot_finds_that_spot() -> None:
    peaks, amplitude, lookup = made(3, 12)
    number, px, py, _ = lookup.lookup(peaks.kx, peaks.ky)
    real = amplitude > 0
    gap = torch.hypot(px - peaks.kx, py - peaks.ky)[real]
    assert float(gap.max()) < 2 * lookup.cell
    own = torch.arange(12).expand(3, 12)[real]
    # But for a pair within one cell.
    assert (number[real] == own).float().mean() > 0.9


def test_far_places_are_no_spots() -> None:
    _, _, lookup = made(4, 20)
    far = torch.tensor([[1.9, -5.0, 40.0]]).expand(3, 3)
    number, _, _, height = lookup.lookup(far, torch.zeros_like(far))
    assert (number == 20).all()
    assert (height == 0).all()


def test_patterns_are_taken_with_their_spots() -> None:
    _, amplitude, lookup = made(5, 20)
    part = lookup.take(torch.tensor([2, 0]))
    k = torch.as_tensor(np.random.default_rng(6).uniform(-1, 1, (2, 2, 50)), dtype=torch.float32)
    whole = lookup.lookup(*(torch.stack((v[1], torch.zeros(50), v[0])) for v in k))
    for ours, theirs in zip(part.lookup(k[0], k[1]), whole, strict=True):
        assert torch.equal(ours[0], theirs[2])
        assert torch.equal(ours[1], theirs[0])
    torch.testing.assert_close(part.norm2, (amplitude[[2, 0]] ** 2).sum(dim=1))


def test_nothing_measured_nothing_found() -> None:
    none = torch.zeros(2, 1)
    lookup = build_spot_map(PeakBatch(none, none, none, none), none, 1.2, REACH)
    number, *_, height = lookup.lookup(torch.zeros(2, 4), torch.zeros(2, 4))
    assert (number == 1).all()
    assert (height == 0).all()
    assert (lookup.norm2 == 0).all()
