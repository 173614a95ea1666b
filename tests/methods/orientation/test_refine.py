"""The score's slope, the climb, and the small solvers behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import excitation_errors, rotation_matrices, spots
from napari_diffmap.methods.orientation.library import relative_heights
from napari_diffmap.methods.orientation.refine import (
    Model,
    Optics,
    climb,
    evaluate,
    follow,
    gradient,
    solve3,
    turned,
    visible,
)
from napari_diffmap.methods.orientation.rotations import disorientation
from napari_diffmap.methods.orientation.spotmap import build_spot_map
from napari_diffmap.scan.calibration import electron_wavelength

DELTA = 0.02


def setup(bench: Any, rotations: np.ndarray, name: str = "LiNiO2") -> tuple:
    phase = load_phase(name)
    found = reflections(phase, 1.4)
    optics = Optics(electron_wavelength(200), 0.1, 1.4)
    model = Model(
        torch.as_tensor(found.g, dtype=torch.float32),
        torch.as_tensor(relative_heights(found, 0.25), dtype=torch.float32),
        torch.full((len(found),), 0.02),
        optics,
    )
    peaks = bench.perfect_peaks(phase, rotations)
    amplitude = (peaks.intensity / peaks.intensity.amax(1, keepdim=True)) ** 0.25
    lookup = build_spot_map(peaks, amplitude, 1.4, 0.07)
    matrices = rotation_matrices(torch.as_tensor(rotations, dtype=torch.float32))
    return model, lookup, matrices.transpose(-1, -2)[:, None]


def candidates(model: Model, matrices: torch.Tensor) -> Any:
    numbers = visible(model, matrices[:, 0], 0.05)[:, None]
    return follow(model, matrices, numbers)


def test_template_is_the_simulators_pattern(bench: Any) -> None:
    """Places and excitation errors are those of `crystal.simulate`, to the last digit."""
    q = bench.random_rotations(3, 1)
    model, lookup, matrices = setup(bench, q)
    chosen = candidates(model, matrices)
    fit = evaluate(model.optics, chosen, lookup, DELTA)
    simulated = spots(reflections(load_phase("LiNiO2"), 1.4), q, 200.0)
    for ours, theirs in (
        (fit.k[:, 0, :, 0], simulated.kx),
        (fit.k[:, 0, :, 1], simulated.ky),
        (fit.s[:, 0], simulated.excitation),
    ):
        torch.testing.assert_close(ours, theirs.gather(1, chosen.number[:, 0]), atol=2e-6, rtol=0)


def test_slope_is_that_of_finite_differences(bench: Any) -> None:
    q = bench.random_rotations(6, 2)
    model, lookup, matrices = setup(bench, q)
    start = turned(matrices, torch.tensor([0.006, -0.004, 0.005]).expand(6, 1, 3))
    chosen = candidates(model, start)
    fit = evaluate(model.optics, chosen, lookup, DELTA)
    slope, curvature = gradient(model.optics, fit, DELTA)
    step = 2e-3
    for axis in range(3):
        turn = torch.zeros(6, 1, 3)
        turn[..., axis] = step
        plus = evaluate(model.optics, chosen.moved(turned(start, turn), fit.score), lookup, DELTA)
        minus = evaluate(model.optics, chosen.moved(turned(start, -turn), fit.score), lookup, DELTA)
        difference = (torch.log(plus.score) - torch.log(minus.score)) / (2 * step)
        torch.testing.assert_close(slope[..., axis], difference, rtol=0.08, atol=0.6)
    eigenvalues = torch.linalg.eigvalsh(curvature)
    assert float(eigenvalues.min()) > -1e-2 * float(eigenvalues.max())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 1.6))
def test_climb_comes_home_from_a_small_turn(bench: Any, seed: int, degrees: float) -> None:
    q = bench.random_rotations(4, seed)
    model, lookup, matrices = setup(bench, q)
    axis = torch.as_tensor(bench.random_rotations(4, seed + 1)[:, None, 1:], dtype=torch.float32)
    axis = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    start = turned(matrices, axis * float(np.deg2rad(degrees)))
    chosen = candidates(model, start)
    before = evaluate(model.optics, chosen, lookup, 0.03).score
    done = climb(model.optics, chosen, lookup, 0.03, 8)
    assert (done.score >= before - 1e-6).all()
    done = climb(model.optics, done, lookup, DELTA, 8)
    angle = torch.rad2deg(disorientation(done.matrices, matrices, torch.eye(3)[None]))
    assert float(angle.median()) < 0.35


def test_perfect_answer_scores_near_one(bench: Any) -> None:
    q = bench.random_rotations(8, 4)
    model, lookup, matrices = setup(bench, q)
    score = evaluate(model.optics, candidates(model, matrices), lookup, DELTA).score
    assert float(score.max()) <= 1 + 1e-5
    assert float(score.median()) > 0.8
    wrong = torch.as_tensor(rotation_matrices(torch.as_tensor(bench.random_rotations(8, 99))))
    away = wrong.float().transpose(-1, -2)[:, None]
    other = evaluate(model.optics, candidates(model, away), lookup, DELTA).score
    assert float(other.median()) < 0.4 * float(score.median())


def test_excitation_errors_agree_with_the_simulator() -> None:
    k = torch.as_tensor(np.random.default_rng(0).normal(0, 0.4, (50, 3)))
    wavelength = electron_wavelength(200)
    k0 = 1 / wavelength
    by_hand = -(2 * k0 * k[:, 2] + (k**2).sum(1)) / (2 * (k0 + k[:, 2]))
    torch.testing.assert_close(excitation_errors(k, wavelength), by_hand)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_small_systems_are_solved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(5, 3, 3))
    system = torch.as_tensor(a @ a.transpose(0, 2, 1) + 0.1 * np.eye(3))
    right = torch.as_tensor(rng.normal(size=(5, 3)))
    expected = torch.linalg.solve(system, right[..., None])[..., 0]
    torch.testing.assert_close(solve3(system, right), expected, rtol=1e-6, atol=1e-6)


def test_turned_is_a_rotation_by_the_vector() -> None:
    from scipy.spatial.transform import Rotation

    vectors = np.array([[0.2, -0.1, 0.3], [0, 0, 0], [1e-4, 0, 0]])
    ours = turned(torch.eye(3, dtype=torch.float64).expand(3, 3, 3), torch.as_tensor(vectors))
    np.testing.assert_allclose(ours.numpy(), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-6)


def test_visible_keeps_what_can_be_seen(bench: Any) -> None:
    q = bench.random_rotations(5, 8)
    model, _, matrices = setup(bench, q)
    number = visible(model, matrices[:, 0], np.deg2rad(3))
    s = excitation_errors(
        torch.matmul(model.g, matrices[:, 0].transpose(1, 2)), model.optics.wavelength
    )
    for i in range(5):
        strong = torch.nonzero(s[i].abs() < 0.01).reshape(-1)
        q_len = torch.linalg.vector_norm(model.g[strong], dim=1)
        inside = strong[(q_len > 0.12) & (q_len < 1.38)]
        assert set(inside.tolist()) <= set(number[i].tolist())


@pytest.mark.parametrize("reach", [0.05, 0.08])
def test_spot_map_finds_the_nearest_spot(bench: Any, reach: float) -> None:
    peaks = bench.perfect_peaks(load_phase("LiNiO2"), bench.random_rotations(3, 5))
    amplitude = (peaks.intensity > 0).float()
    lookup = build_spot_map(peaks, amplitude, 1.4, reach)
    rng = np.random.default_rng(0)
    kx, ky = (torch.as_tensor(rng.uniform(-1.3, 1.3, (3, 400)), dtype=torch.float32) for _ in "xy")
    number, px, py, height = lookup.lookup(kx, ky)
    for i in range(3):
        real = amplitude[i] > 0
        gaps = torch.hypot(kx[i][:, None] - peaks.kx[i][real], ky[i][:, None] - peaks.ky[i][real])
        nearest = gaps.min(dim=1)
        found = torch.hypot(px[i] - kx[i], py[i] - ky[i])
        # The lookup rounds to cells: it may miss by less than a cell.
        assert (found[nearest.values < 0.6 * reach] < 0.6 * reach + lookup.cell).all()
        assert (height[i][nearest.values > reach + lookup.cell] == 0).all()
        assert (number[i][height[i] == 0] == peaks.kx.shape[1]).all()
