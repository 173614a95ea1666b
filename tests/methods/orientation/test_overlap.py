"""Several crystals in one pattern: how many, which, and never two where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.methods.orientation.overlap import fade, faded
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.scan.tiles import iter_tiles

#: Shares of the diffracted counts of one, two and three crystals.
SHARES = {1: (1.0,), 2: (0.6, 0.4), 3: (0.4, 0.33, 0.27)}
EACH = 24


def peaks(*places: tuple[float, float]) -> PeakBatch:
    kx, ky = torch.tensor([places]).unbind(-1)
    return PeakBatch(kx, ky, torch.ones_like(kx), torch.ones_like(kx))


@pytest.mark.parametrize(
    ("distance", "left"), [(0, 0), (0.019, 0), (0.02, 0), (0.03, 0.5), (0.04, 1), (0.5, 1)]
)
def test_spots_fade_with_their_distance(distance: float, left: float) -> None:
    """Gone inside half the kernel, untouched outside it, linear between."""
    measured = peaks((0.3 + distance, 0.1))
    far = torch.tensor([[-0.4, 0.3]])
    weight = fade(torch.ones(1, 1), measured, far, torch.tensor([[0.0, 0.1]]), 0.04)
    assert weight.item() == pytest.approx(left, abs=1e-4)
    # What was faded stays faded.
    again = fade(0.5 * weight, measured, far, torch.tensor([[0.0, 0.1]]), 0.04)
    assert again.item() == pytest.approx(0.5 * left * left, abs=1e-4)


def test_faded_spots_weigh_less_and_are_gone_at_zero() -> None:
    measured = peaks((0.1, 0), (0.2, 0), (0.3, 0))
    rest = faded(measured, torch.tensor([[0.0, 0.4, 1.0]]))
    assert rest.intensity.tolist() == [[0, 1, 1]]
    assert rest.clear.tolist() == [[False, False, True]]
    assert rest.trust[0].tolist() == pytest.approx([0, 0.4, 1])


@pytest.fixture(scope="module")
def mixed(bench: Any) -> tuple[CrystalPhase, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Patterns of one, two and three crystals, true counts and rotations, what was found."""
    phase = load_phase("LiNiO2")
    rotations = bench.random_rotations(3 * 3 * EACH, 5).reshape(3 * EACH, 3, 4)
    count = np.repeat((1, 2, 3), EACH)
    expected = np.zeros((3 * EACH, *bench.shape), dtype=np.float32)
    for crystals, shares in SHARES.items():
        rows = count == crystals
        for j, share in enumerate(shares):
            expected[rows] += share * bench.draw(phase, rotations[rows, j], dose=8000)
    _, found = bench.run(bench.as_scan(bench.counted(expected)), [phase], n_best=4)
    return phase, count, rotations, found


def test_counts_of_mixtures(mixed: Any) -> None:
    """Measured: 24 of 24 ones, 24 of 24 twos, 23 of 24 threes."""
    _, count, _, found = mixed
    assert found["crystals"].dtype == np.uint8
    confusion = np.zeros((4, 4), dtype=int)
    np.add.at(confusion, (count, found["crystals"]), 1)
    assert confusion[1, 1] == EACH
    assert confusion[2, 2] >= EACH - 1
    assert confusion[3, 3] >= EACH - 3
    assert np.triu(confusion, 1).sum() == 0, "never more than there are"


def test_each_crystal_has_its_place(mixed: Any) -> None:
    """Place k of the answers is crystal k, one of those that are there; measured: 115 of 119."""
    phase, count, rotations, found = mixed
    right = total = 0
    for i in np.flatnonzero(found["crystals"] > 1):
        for place in range(found["crystals"][i]):
            true = rotations[i, : count[i]]
            answer = np.repeat(found["rotations"][i, place][None], len(true), axis=0)
            right += disorientation(answer, true, phase.symmetry).min() < 3
            total += 1
    assert total > 2 * EACH
    assert right / total > 0.92


def test_no_answer_is_given_twice(mixed: Any) -> None:
    phase, _, _, found = mixed
    for i in np.flatnonzero(found["crystals"] > 1):
        kept = found["rotations"][i][found["phase_ids"][i] >= 0]
        for place in range(len(kept) - 1):
            others = kept[place + 1 :]
            off = disorientation(
                np.repeat(kept[place][None], len(others), 0), others, phase.symmetry
            )
            # Answers are polished after they were told apart.
            assert off.min() > 6


def test_overlap_is_where_there_are_several(mixed: Any) -> None:
    _, _, _, found = mixed
    several = found["crystals"] > 1
    assert (found["ambiguity"][several] == 3).mean() > 0.95
    assert not (found["ambiguity"][~several] == 3).any()


def test_most_crystals_bounds_the_count(bench: Any) -> None:
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(36, 6).reshape(12, 3, 4)
    expected = sum(
        share * bench.draw(phase, q[:, j], dose=8000) for j, share in enumerate(SHARES[3])
    )
    scan = bench.as_scan(bench.counted(expected))
    counts = {
        most: bench.run(scan, [phase], most_crystals=most, n_best=1)[1]["crystals"]
        for most in (1, 2, 3)
    }
    for most, counted in counts.items():
        assert counted.max() == most
    # The first ones do not depend on how many more are sought.
    np.testing.assert_array_equal(np.minimum(counts[3], 2), counts[2])


@pytest.mark.parametrize("dose", [400.0, 2000.0, 20_000.0])
def test_one_crystal_is_rarely_called_two(bench: Any, dose: float) -> None:
    """Faint and strong, also a crystal that the library lacks; measured: none of 96 each."""
    rng = np.random.default_rng(4)
    called = total = 0
    for name, library in (("LiNiO2", ("LiNiO2", "NiO")), ("WS2", ("WS2",)), ("Fe-bcc", ("Si",))):
        drawn = bench.draw(load_phase(name), bench.random_rotations(32, 8), sigma=0.02, dose=dose)
        drawn *= rng.uniform(0.5, 1.6, drawn.shape[:1])[:, None, None]
        scan = bench.as_scan(bench.counted(drawn, seed=3))
        _, found = bench.run(scan, [load_phase(one) for one in library])
        called += (found["crystals"] > 1).sum()
        total += 32
    assert called / total <= 0.03


def test_nothing_is_counted_where_nothing_is_answered(bench: Any) -> None:
    images = bench.counted(np.zeros((4, *bench.shape), dtype=np.float32))
    images[0] = 0
    _, found = bench.run(bench.as_scan(images), [load_phase("Si")])
    assert (found["phase_ids"] == -1).all()
    assert (found["crystals"] == 0).all()


def test_dense_patterns_of_which_little_is_left(bench: Any) -> None:
    """Lists of more than 64 spots: what a crystal leaves is shorter than what it was."""
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(2 * 12, 9).reshape(12, 2, 4)
    lists = [bench.perfect_peaks(phase, q[:, j], sigma=0.03) for j in range(2)]
    both = PeakBatch(
        *(
            torch.cat([getattr(one, name) for one in (*lists, lists[0])], dim=1)
            for name in ("kx", "ky", "intensity", "trust")
        )
    )
    # The patterns of the scan scatter otherwise than the lists: nothing to learn from them.
    method = OrientationMethod(OrientationParameters(intensities="dynamical"), [phase])
    method.prepare(bench.as_scan(bench.counted(bench.draw(phase, q[:, 0]))))
    answers, evidence = method.answer(both, np.zeros(12, dtype=bool))
    assert both.kx.shape[1] > 64
    assert evidence.crystals is not None
    assert (evidence.crystals >= 1).all()
    assert (evidence.crystals == 2).mean() > 0.7
    assert len(answers.phase) == 12


def test_an_answer_does_not_depend_on_its_batch(bench: Any) -> None:
    """To the last bit: a run that goes on must find what an uninterrupted one finds."""
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(40, 12).reshape(20, 2, 4)
    expected = 0.6 * bench.draw(phase, q[:, 0]) + 0.4 * bench.draw(phase, q[:, 1])
    scan = bench.as_scan(bench.counted(expected))
    method = OrientationMethod(OrientationParameters(), [phase])
    method.prepare(scan)
    (tile, *more) = iter_tiles(scan)
    assert not more
    whole = method.run(tile)
    assert (whole["crystals"] > 1).any()
    for size in (1, 3, 7):
        for part in tile.split(size):
            for name, values in method.run(part).items():
                np.testing.assert_array_equal(values, whole[name][part.rows, part.columns])
