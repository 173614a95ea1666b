"""The neighbourhood's choice: what it changes, what it must leave, and that it says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.jobs.orient import calibrated, map_orientations
from napari_diffmap.maps.counts import RESOLVED, resolved
from napari_diffmap.maps.quaternions import disorientation, multiply
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters, resolve
from napari_diffmap.methods.orientation.spatial import RESOLVED_RELIABILITY

PHASES = load_phases(["LiNiO2", "NiO"])
GRAIN = np.array([0.8, 0.1, -0.3, 0.5]) / np.linalg.norm([0.8, 0.1, -0.3, 0.5])
TWIN = multiply(GRAIN[None], np.array([[0.0, 0, 0, 1]]))[0]
OTHER = np.array([0.1, 0.9, 0.4, 0.0]) / np.linalg.norm([0.1, 0.9, 0.4, 0.0])


def arrays(shape: tuple[int, int] = (9, 9), reliability: float = 0.9) -> dict[str, np.ndarray]:
    """A grain whose second answer is the twin."""
    rotations = np.empty((*shape, 3, 4), dtype=np.float32)
    rotations[...] = np.stack((GRAIN, TWIN, OTHER))
    return {
        "rotations": rotations,
        "scores": np.broadcast_to(np.float32([0.9, 0.89, 0.5]), (*shape, 3)).copy(),
        "phase_ids": np.zeros((*shape, 3), dtype=np.int16),
        "reliability": np.full(shape, reliability, dtype=np.float32),
        "ambiguity": np.zeros(shape, dtype=np.uint8),
        "crystals": np.ones(shape, dtype=np.uint8),
    }


def doubt(found: dict[str, np.ndarray], where: Any, first: tuple[int, ...] = (1, 0, 2)) -> None:
    """Put the answers of some positions in another order, in doubt."""
    found["rotations"][where] = np.stack((GRAIN, TWIN, OTHER))[list(first)]
    found["reliability"][where] = 0.3
    found["ambiguity"][where] = 1


def off(found: dict[str, np.ndarray], truth: np.ndarray) -> np.ndarray:
    best = found["rotations"][:, :, 0].reshape(-1, 4)
    angle = disorientation(best, np.repeat(truth[None], len(best), 0), PHASES[0].symmetry)
    return angle.reshape(found["reliability"].shape)


def test_a_twin_in_doubt_follows_its_grain() -> None:
    found = arrays()
    doubt(found, (4, 4))
    before = {name: values.copy() for name, values in found.items()}
    out = resolve(found, PHASES, 0.5)
    assert off(out, GRAIN).max() < 0.1
    assert np.argwhere(out[RESOLVED]).tolist() == [[4, 4]]
    assert out["reliability"][4, 4] == pytest.approx(RESOLVED_RELIABILITY)
    assert out["ambiguity"][4, 4] == 0
    # The matcher's own best is kept in the place of the chosen one, with its score.
    assert out["scores"][4, 4] == pytest.approx([0.89, 0.9, 0.5])
    np.testing.assert_array_equal(out["rotations"][4, 4, 1], before["rotations"][4, 4, 0])
    for name, values in before.items():
        np.testing.assert_array_equal(found[name], values, err_msg="the input is left alone")


def test_what_is_not_in_doubt_is_never_touched() -> None:
    """A lamella one position wide stays where its own patterns tell it."""
    found = arrays()
    found["rotations"][:, 4] = np.stack((TWIN, GRAIN, OTHER))
    out = resolve(found, PHASES, 0.5)
    assert not out[RESOLVED].any()
    for name, values in found.items():
        np.testing.assert_array_equal(out[name], values)


def test_a_boundary_is_not_smeared() -> None:
    """In doubt beside a twin boundary, with as much to be said for either side."""
    found = arrays()
    found["rotations"][:, 5:] = np.stack((TWIN, GRAIN, OTHER))
    doubt(found, (slice(None), 4))
    out = resolve(found, PHASES, 0.5)
    assert not out[RESOLVED].any()


def test_doubt_without_reliable_neighbours_stays() -> None:
    found = arrays(reliability=0.3)
    found["ambiguity"][:] = 1
    doubt(found, (slice(0, 9, 2), slice(0, 9, 2)))
    out = resolve(found, PHASES, 0.5)
    assert not out[RESOLVED].any()
    np.testing.assert_array_equal(out["ambiguity"], found["ambiguity"])


def test_a_choice_travels_through_doubt() -> None:
    """The middle of a doubtful patch has no reliable neighbour at first."""
    found = arrays((15, 15))
    doubt(found, (slice(2, 13), slice(2, 13)))
    assert resolve(found, PHASES, 0.5)[RESOLVED][2:13, 2:13].all()


def test_other_crystals_of_a_pattern_are_no_choice() -> None:
    """What the grain is may be here too, but as the second crystal: the first is another."""
    found = arrays()
    doubt(found, (4, 4))
    found["crystals"][4, 4] = 2
    found["ambiguity"][4, 4] = 3
    assert not resolve(found, PHASES, 0.5)[RESOLVED].any()
    # Behind the second crystal it competes with the first.
    doubt(found, (4, 4), (1, 2, 0))
    found["ambiguity"][4, 4] = 3
    out = resolve(found, PHASES, 0.5)
    assert out[RESOLVED][4, 4] == 1
    assert off(out, GRAIN)[4, 4] < 0.1
    np.testing.assert_allclose(out["rotations"][4, 4, 1], OTHER, atol=1e-6)
    assert out["ambiguity"][4, 4] == 3, "two crystals stay two"


def test_another_phase_can_be_chosen() -> None:
    found = arrays()
    found["phase_ids"][...] = (0, 1, 0)
    found["phase_ids"][4, 4] = (1, 0, 0)
    doubt(found, (4, 4))
    found["phase_ids"][:4] = (0, 1, 0)
    out = resolve(found, PHASES, 0.5)
    assert out["phase_ids"][4, 4].tolist() == [0, 1, 0]


def test_no_answer_stays_none() -> None:
    found = arrays()
    doubt(found, (4, 4))
    found["phase_ids"][4, 4] = -1
    found["reliability"][4, 4] = np.nan
    out = resolve(found, PHASES, 0.5)
    assert not out[RESOLVED].any()
    assert (out["phase_ids"][4, 4] == -1).all()


def test_one_answer_leaves_no_choice() -> None:
    found = arrays()
    for name in ("rotations", "scores", "phase_ids"):
        found[name] = found[name][:, :, :1]
    found["reliability"][4, 4] = 0.2
    assert not resolve(found, PHASES, 0.5)[RESOLVED].any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), axis=st.sampled_from([0, 1]))
def test_the_choice_does_not_depend_on_an_order(seed: int, axis: int) -> None:
    """The mirrored map has the mirrored choices; answers are only put in another order."""
    rng = np.random.default_rng(seed)
    found = arrays((7, 8))
    found["reliability"][:] = rng.uniform(0, 1, (7, 8))
    for where in zip(*np.nonzero(rng.random((7, 8)) < 0.4), strict=True):
        found["rotations"][where] = found["rotations"][where][rng.permutation(3)]
    out = resolve(found, PHASES, 0.5)
    mirrored = {name: np.flip(values, axis) for name, values in found.items()}
    again = resolve(mirrored, PHASES, 0.5)
    for name, values in out.items():
        np.testing.assert_array_equal(np.flip(values, axis), again[name])
    sort = lambda r: np.sort(r.sum(axis=-1), axis=-1)  # noqa: E731
    np.testing.assert_allclose(sort(out["rotations"]), sort(found["rotations"]), rtol=1e-6)
    sure = found["reliability"] >= 0.5
    np.testing.assert_array_equal(out["rotations"][sure], found["rotations"][sure])


def test_a_twin_lamella_that_patterns_tell_stays(bench: Any) -> None:
    """Silicon with a true Σ3 lamella three positions wide, mapped with and without the step."""
    (phase,) = load_phases(["Si"])
    q = bench.along(phase, (1, 2, 4), [0.4])[0]
    axis = np.array([1.0, 1, 1]) / np.sqrt(3)
    twin = multiply(np.array([[0.0, *axis]]), q[None])[0]
    truth = np.repeat(q[None, None], 8, 0).repeat(10, 1)
    truth[:, 4:7] = twin
    rng = np.random.default_rng(2)
    small = np.concatenate((np.ones((80, 1)), rng.normal(0, 0.004, (80, 3))), axis=1)
    bent = multiply(truth.reshape(-1, 4), small / np.linalg.norm(small, axis=1, keepdims=True))
    images = bench.counted(bench.draw(phase, bent)).reshape(8, 10, *bench.shape)
    scan = calibrated(bench.as_scan(images))
    rights = []
    for spatial in (False, True):
        method = OrientationMethod(OrientationParameters(spatial=spatial), [phase])
        run = map_orientations(scan, method, device="cpu")
        assert ((resolved(run.map) is None) and (run.summary["resolved_fraction"] is None)) is (
            not spatial
        )
        angle = disorientation(run.map.best_rotations.reshape(-1, 4), bent, phase.symmetry)
        rights.append((angle < 3).reshape(8, 10))
    assert rights[1][:, 4:7].sum() >= rights[0][:, 4:7].sum()
    assert rights[1].sum() >= rights[0].sum()
    assert rights[1].mean() > 0.9
