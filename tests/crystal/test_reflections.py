"""Extinction rules, Friedel pairs and electron scattering factors."""

from __future__ import annotations

import numpy as np
import pytest

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections, scattering_factors
from napari_diffmap.errors import PhaseError

h, k, l = 0, 1, 2  # noqa: E741

RULES = {
    "Al": lambda m: (m % 2 == 0).all(1) | (m % 2 == 1).all(1),
    "Fe-bcc": lambda m: m.sum(1) % 2 == 0,
    "Si": lambda m: (m % 2 == 1).all(1) | ((m % 2 == 0).all(1) & (m.sum(1) % 4 == 0)),
    "LiNiO2": lambda m: (-m[:, h] + m[:, k] + m[:, l]) % 3 == 0,
}


@pytest.mark.parametrize("name", RULES)
def test_exactly_the_allowed_reflections_are_there(name):
    phase = load_phase(name)
    found = reflections(phase, 1.5)
    assert RULES[name](found.hkl).all()
    reach = 12 if name != "LiNiO2" else 24
    every = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1)
    every = every.reshape(-1, 3)
    every = every[np.any(every != 0, axis=1)]
    every = every[np.linalg.norm(every @ phase.reciprocal, axis=1) <= 1.5]
    allowed = {tuple(m) for m in every[RULES[name](every)]}
    got = {tuple(m) for m in found.hkl}
    # An allowed reflection may still vanish by chance in a crystal with free parameters.
    assert got <= allowed
    assert len(allowed - got) <= (0 if name != "LiNiO2" else 0.02 * len(allowed))


def test_friedel_pairs_and_order():
    found = reflections(load_phase("LiNiO2"), 1.2)
    amplitude = {tuple(m): a for m, a in zip(found.hkl, found.amplitude2, strict=True)}
    for m, a in amplitude.items():
        assert amplitude[tuple(-v for v in m)] == pytest.approx(a, rel=1e-9)
    assert (np.diff(found.lengths) > -1e-6).all()


def test_al_structure_factor_is_four_times_the_atom():
    phase = load_phase("Al")
    found = reflections(phase, 0.6)
    f = scattering_factors("Al", found.lengths)
    damping = np.exp(-phase.b_iso[0] * found.lengths**2 / 4)
    np.testing.assert_allclose(np.sqrt(found.amplitude2), 4 * f * damping, rtol=1e-9)


def test_scattering_factors_against_the_mott_bethe_limit():
    """At large g the electron factor tends to Z / (2 π² a0 g²) (Lobato & Van Dyck 2014)."""
    bohr = 0.529177
    for element, z in (("O", 8), ("Ni", 28), ("Au", 79)):
        g = np.array([12.0])
        limit = z / (2 * np.pi**2 * bohr * g**2)
        assert scattering_factors(element, g)[0] == pytest.approx(limit[0], rel=0.08)


def test_against_the_intensities_of_diffsims():
    """Cubic gold: the same |F|² up to one factor."""
    from diffsims.crystallography import ReciprocalLatticeVector

    phase = load_phase("Au")
    found = reflections(phase, 1.0)
    vectors = ReciprocalLatticeVector(phase.orix, hkl=found.hkl)
    vectors.calculate_structure_factor("lobato")
    theirs = np.abs(vectors.structure_factor) ** 2
    damping = np.exp(-phase.b_iso[0] * found.lengths**2 / 2)
    ratio = found.amplitude2 / damping / theirs
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_impossible_limits_are_refused():
    with pytest.raises(PhaseError, match="positive"):
        reflections(load_phase("Al"), 0)
    with pytest.raises(PhaseError, match="pixel size"):
        reflections(load_phase("LiNiO2"), 200)
