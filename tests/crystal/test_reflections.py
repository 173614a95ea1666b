"""Reflections against extinction rules, hand-made structure factors and diffsims."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import Reflections, reflections, scattering_factors
from napari_diffmap.errors import PhaseError


def as_set(found: Reflections) -> set[tuple[int, ...]]:
    return {tuple(int(i) for i in row) for row in found.hkl}


def all_indices(a: float, g_max: float) -> set[tuple[int, int, int]]:
    n = int(a * g_max) + 1
    r = range(-n, n + 1)
    return {
        (h, k, m)
        for h in r
        for k in r
        for m in r
        if (h, k, m) != (0, 0, 0) and np.sqrt(h * h + k * k + m * m) / a <= g_max
    }


def unmixed(h: int, k: int, m: int) -> bool:
    return len({h % 2, k % 2, m % 2}) == 1


def test_fcc_bcc_and_diamond_extinctions() -> None:
    for name, a in (("Al", 4.0496), ("Au", 4.0786)):
        assert as_set(reflections(load_phase(name), 1.2)) == {
            i for i in all_indices(a, 1.2) if unmixed(*i)
        }
    assert as_set(reflections(load_phase("Fe-bcc"), 1.4)) == {
        i for i in all_indices(2.8665, 1.4) if sum(i) % 2 == 0
    }
    diamond = {
        i for i in all_indices(5.43102, 1.2) if unmixed(*i) and (i[0] % 2 or sum(i) % 4 == 0)
    }
    assert as_set(reflections(load_phase("Si"), 1.2)) == diamond


def test_layered_oxide_obeys_obverse_setting() -> None:
    hkl = reflections(load_phase("LiNiO2"), 1.2).hkl
    assert ((-hkl[:, 0] + hkl[:, 1] + hkl[:, 2]) % 3 == 0).all()
    assert [0, 0, 3] in hkl.tolist()


def test_rock_salt_amplitudes_by_hand() -> None:
    """F = 4 (f_Ni D_Ni ± f_O D_O) for even and odd indices."""
    phase = load_phase("NiO")
    found = reflections(phase, 1.3)
    b_ni, b_o = phase.b_iso[0], phase.b_iso[-1]
    g = found.lengths
    even = (found.hkl % 2 == 0).all(axis=1)
    f_ni = scattering_factors("Ni", g) * np.exp(-b_ni * g**2 / 4)
    f_o = scattering_factors("O", g) * np.exp(-b_o * g**2 / 4)
    by_hand = (4 * (f_ni + np.where(even, 1, -1) * f_o)) ** 2
    np.testing.assert_allclose(found.amplitude2, by_hand, rtol=1e-9)


def test_scattering_factors_against_published_values() -> None:
    """f(0) of Lobato & Van Dyck (2014); Mott-Bethe tail 2 a0 Z / (4π² a0² g²) for large g."""
    assert scattering_factors("Si", np.array([0.0]))[0] == pytest.approx(5.8, abs=0.1)
    for element, number in (("O", 8), ("Ni", 28), ("Au", 79)):
        g = np.array([40.0])
        tail = number / (2 * np.pi**2 * 0.529177 * g**2)
        assert scattering_factors(element, g) == pytest.approx(tail, rel=0.03)


def test_unknown_element_is_refused() -> None:
    with pytest.raises(PhaseError, match="no electron scattering factor"):
        scattering_factors("Xx", np.array([0.1]))


def test_same_as_diffsims() -> None:
    from diffsims.utils.sim_utils import get_kinematical_intensities

    for name in ("LiNiO2", "WS2", "Si"):
        phase = load_phase(name)
        found = reflections(phase, 1.0)
        # diffsims takes one displacement factor an element, exp(-B g²/4) as here.
        factors = dict(zip(phase.elements, phase.b_iso, strict=True))
        theirs = get_kinematical_intensities(
            phase.orix.structure,
            g_indices=found.hkl,
            g_hkls_array=found.lengths,
            debye_waller_factors=factors,
            scattering_params="lobato",
        )
        np.testing.assert_allclose(found.amplitude2, np.real(theirs), rtol=2e-3, atol=1e-6)


def test_order_lengths_and_friedel_pairs() -> None:
    found = reflections(load_phase("LiNiO2"), 1.4)
    assert (np.diff(np.round(found.lengths, 7)) >= 0).all()
    assert as_set(found) == {tuple(-i for i in hkl) for hkl in as_set(found)}
    np.testing.assert_allclose(found.g, found.hkl @ load_phase("LiNiO2").reciprocal, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.42, 1.5))
def test_larger_limit_only_adds(limit: float) -> None:
    phase = load_phase("NiO")
    small, large = reflections(phase, limit), reflections(phase, limit + 0.2)
    assert as_set(small) <= as_set(large)
    assert small.lengths.max() <= limit


def test_impossible_limits_are_refused() -> None:
    phase = load_phase("Al")
    with pytest.raises(PhaseError, match="positive"):
        reflections(phase, 0.0)
    with pytest.raises(PhaseError, match="check the pixel size"):
        reflections(phase, 30.0)
    with pytest.raises(PhaseError, match="no reflection below"):
        reflections(phase, 0.01)
