"""The angle of two energies, as it tells LiFePO4 from FePO4."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.methods.spectra.two_energy import best_pair, two_energy

#: Angles of Li0.93FePO4 and Li0.02FePO4 at 708.2 and 710.2 eV.
ANGLES = np.array([27.48, 65.0])
CURVES = np.stack((np.cos(np.deg2rad(ANGLES)), np.sin(np.deg2rad(ANGLES))), axis=1)


@given(st.floats(0.05, 2.0), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_the_angle_knows_no_thickness(thickness: float, share: float) -> None:
    mixture = (1 - share) * CURVES[0] + share * CURVES[1]
    od = thickness * mixture[None]
    angle, support = two_energy(od, np.full((1, 2), 1e4), CURVES, (0, 1))
    assert np.rad2deg(angle[0]) == pytest.approx(np.rad2deg(np.arctan2(*mixture[::-1])), abs=1e-4)
    assert ANGLES[0] - 1e-3 <= np.rad2deg(angle[0]) <= ANGLES[1] + 1e-3
    assert support.sum() == pytest.approx(1)
    nearest = np.abs(np.rad2deg(angle[0]) - ANGLES).argmin()
    assert support[0, nearest] >= 0.5 - 1e-9


def counted(base: bool, n: int = 20000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half of each phase, 2000 photons, with a level of 0.3 where there is a base."""
    rng = np.random.default_rng(0)
    curves = CURVES if not base else np.concatenate((np.zeros((2, 1)), CURVES), axis=1)
    labels = np.arange(n) % 2
    clean = 0.4 * curves[labels] + (0.3 if base else 0.0)
    counts = rng.poisson(2000 * np.exp(-clean))
    return -np.log(counts / 2000), counts.astype(float), curves


@pytest.mark.parametrize("base", [False, True])
def test_its_scatter_is_what_the_probabilities_assume(base: bool) -> None:
    od, weights, curves = counted(base)
    place = (1, 2) if base else (0, 1)
    angle, support = two_energy(od, weights, curves, place, 0 if base else None)
    for label, wanted in enumerate(ANGLES):
        mine = np.rad2deg(angle[label::2])
        assert mine.mean() == pytest.approx(wanted, abs=0.2)
        # Two references as far apart as the scatter: chi² of the right one is that of a normal.
        chi2 = 2 * np.log(support[label::2, label] / support[label::2, 1 - label])
        away = np.deg2rad(ANGLES[1] - ANGLES[0]) / np.std(np.deg2rad(mine))
        assert chi2.mean() == pytest.approx(away**2, rel=0.1)
    assert (support.argmax(axis=1) == np.arange(len(od)) % 2).mean() > 0.99


def test_the_level_before_the_edge_is_taken_off() -> None:
    od, weights, curves = counted(True)
    without, _ = two_energy(od[:, 1:], weights[:, 1:], curves[:, 1:], (0, 1))
    with_base, _ = two_energy(od, weights, curves, (1, 2), 0)
    assert abs(np.rad2deg(with_base[::2].mean()) - ANGLES[0]) < 0.2
    assert abs(np.rad2deg(without[::2].mean()) - ANGLES[0]) > 5


def test_what_was_not_measured_is_unknown() -> None:
    od = np.array([[0.3, 0.2], [0.3, 0.2]])
    angle, support = two_energy(od, np.array([[0, 100.0], [100, 100]]), CURVES, (0, 1))
    assert np.isnan(angle[0])
    assert support[0].tolist() == [0.5, 0.5]
    assert np.isfinite(angle[1])


def test_the_best_pair_parts_the_angles_most() -> None:
    """Of an edge that moves by 2 eV, the two maxima."""
    energies = np.linspace(704, 714, 41)
    curves = np.stack([np.exp(-0.5 * ((energies - at) / 1.2) ** 2) for at in (708, 710)]) + 0.05
    a, b = (float(energies[i]) for i in best_pair(curves))
    assert a == pytest.approx(708, abs=0.6)
    assert b == pytest.approx(710, abs=0.6)
    offset = curves + 2.0
    assert best_pair(offset, 0) == best_pair(curves, 0)
