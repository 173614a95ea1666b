"""Phase maps of spectra: what they hold, what they refuse, their doubts and zones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    AMBIGUITY_TABLE,
    SPECTRAL_TABLE,
    OrientationMap,
    PhaseMap,
    SpectralDoubt,
    SpectralMap,
    SpectralPhase,
    find_zones,
)
from napari_diffmap.maps.orientation_map import oriented
from napari_diffmap.maps.spectral_map import ranked_answers


def test_a_spectral_map_is_a_phase_map_with_answers_ranked(make_spectral: Any) -> None:
    found = make_spectral()
    assert isinstance(found, PhaseMap)
    assert not isinstance(found, OrientationMap)
    assert found.shape == (12, 15)
    assert found.n_best == 3
    assert not found.indexed[0].any()
    assert found.indexed[1:-1].all()
    ranked = found.scores[found.indexed]
    assert (np.diff(ranked, axis=-1) <= 0).all()
    assert found.best_phase_ids[5].tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_composition_is_the_sum_of_fractions_times_compositions(make_spectral: Any) -> None:
    found = make_spectral()
    composition = found.composition
    y, x = 4, 7
    wanted = sum(found.fractions[y, x, i] * (i + 1.0) for i in range(3))
    assert composition is not None
    assert composition.dtype == np.float32
    assert composition[y, x] == pytest.approx(wanted, rel=1e-6)
    assert np.isnan(composition[0]).all()
    assert found.composition_limits() == (1.0, 3.0)
    assert make_spectral(compositions=False).composition is None
    assert make_spectral(compositions=False).composition_limits() is None


def test_codes_without_doubt_and_without_data_are_those_of_all_maps() -> None:
    for code in (0, 6):
        one, other = SPECTRAL_TABLE[code], AMBIGUITY_TABLE[code]
        assert (int(one.code), one.name, one.color) == (int(other.code), other.name, other.color)
    assert [int(cause.code) for cause in SPECTRAL_TABLE] == list(range(7))
    assert len({cause.color for cause in SPECTRAL_TABLE}) == 7


def test_the_doubts_of_a_map_are_its_own(make_spectral: Any, flat_map: Any) -> None:
    found = make_spectral()
    assert [cause.code for cause in found.doubts] == list(SpectralDoubt)[1:6]
    assert found.cause_names[2] == "false assignment"
    assert flat_map((2, 2)).cause_names[2] == "competing phase"
    assert found.ambiguous.sum() == np.isin(found.ambiguity, (1, 2, 3, 4, 5)).sum()
    assert found.ambiguous_fraction() == found.ambiguous.sum() / (10 * 15)


def test_zones_bear_the_names_of_the_map(make_spectral: Any) -> None:
    found = make_spectral()
    zones = find_zones(found)
    assert {zone.name for zone in zones.zones} == {cause.name for cause in found.doubts}
    for zone in zones.zones:
        assert isinstance(zone.cause, SpectralDoubt)
        assert found.ambiguity[zone.center] == zone.cause
    assert set(zones.fractions) == set(SpectralDoubt) - {SpectralDoubt.NO_DATA}
    only = find_zones(found, causes=[SpectralDoubt.TRANSITION])
    assert {zone.name for zone in only.zones} == {"transition"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fractions": np.zeros((12, 15, 2))}, "fractions must have shape"),
        ({"fraction_errors": np.zeros((12, 15))}, "fraction_errors must have shape"),
        ({"ambiguity": np.full((12, 15), 7)}, "ambiguity code 7 is unknown"),
        ({"scores": np.zeros((12, 15, 2))}, "phase_ids must have shape"),
        ({"scores": np.zeros((12, 15))}, "scores must have shape"),
        ({"reliability": np.full((12, 15), 2.0)}, "probability"),
        ({"extra": {"entropy": np.zeros((3, 3))}}, "'entropy' must have shape"),
        ({"step_unit": "mm"}, "nm or pixel"),
    ],
)
def test_what_cannot_be_is_refused(make_spectral: Any, changes: Any, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        make_spectral(**changes)


def test_a_crystal_phase_is_no_reference(make_spectral: Any, flat_map: Any) -> None:
    crystal = flat_map((2, 2)).phases[0]
    with pytest.raises(BadInputError, match="it lacks energies, values, composition"):
        make_spectral(phases=(crystal, crystal, crystal))


@pytest.mark.parametrize(
    ("energies", "values"), [([1, 2], [1]), ([2, 1], [1, 1]), ([], []), ([1, np.nan], [1, 1])]
)
def test_a_reference_needs_a_spectrum(energies: Any, values: Any) -> None:
    with pytest.raises(BadInputError, match="'Na1'"):
        SpectralPhase("Na1", "#0072B2", energies, values)


def test_answers_are_ranked_from_correlations() -> None:
    correlations = np.array([[[0.5, 0.9, 0.7, 0.6], [np.nan] * 4]])
    ranked = ranked_answers(correlations)
    np.testing.assert_allclose(ranked["scores"][0, 0], [0.9, 0.7, 0.6], rtol=1e-6)
    assert ranked["phase_ids"].tolist() == [[[1, 2, 3], [-1, -1, -1]]]
    assert np.isnan(ranked["scores"][0, 1]).all()


def test_fields_are_exchanged_and_checked(make_spectral: Any) -> None:
    found = make_spectral()
    other = found.replaced(step=(10, 20))
    assert isinstance(other, SpectralMap)
    assert other.step == (10.0, 20.0)
    with pytest.raises(BadInputError):
        found.replaced(step=(0, 1))


def test_what_needs_orientations_says_so(make_spectral: Any, flat_map: Any) -> None:
    with pytest.raises(BadInputError, match="needs orientations"):
        oriented(make_spectral())
    crystals = flat_map((2, 2))
    assert oriented(crystals) is crystals
