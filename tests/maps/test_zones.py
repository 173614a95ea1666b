"""Ambiguity zones against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import Ambiguity, find_zones


def test_zones_are_connected_regions_of_one_cause(make_map):
    found = make_map().map
    zones = find_zones(found)
    total = 0
    for code in (1, 2, 3, 4, 5):
        pieces, n = ndimage.label(found.ambiguity == code, np.ones((3, 3)))
        total += n
        mine = [zone for zone in zones.zones if zone.cause == code]
        assert sorted(zone.size for zone in mine) == sorted(np.bincount(pieces.ravel())[1:])
    assert len(zones) == total
    np.testing.assert_array_equal(zones.labels > 0, found.ambiguous)


def test_zone_numbers(make_map):
    found = make_map().map
    zones = find_zones(found)
    weights = [zone.weight for zone in zones.zones]
    assert weights == sorted(weights, reverse=True)
    for i, zone in enumerate(zones.zones):
        mask = zones.labels == i + 1
        assert zone.label == i + 1
        assert (found.ambiguity[mask] == zone.cause).all()
        assert zone.area == pytest.approx(mask.sum() * 2.5 * 1.5)
        assert zone.doubt == pytest.approx((1 - found.reliability[mask]).mean(), abs=1e-6)
        assert zone.weight == pytest.approx(zone.area * zone.doubt, rel=1e-5)
        rows, columns = np.nonzero(mask)
        assert zone.bbox == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        assert mask[zone.center]
        np.testing.assert_array_equal(
            zones.outline(zone), mask[zone.bbox[0] : zone.bbox[2], zone.bbox[1] : zone.bbox[3]]
        )
        assert zone.name


def test_zone_fractions_and_choices(make_map):
    found = make_map().map
    zones = find_zones(found)
    data = (found.ambiguity != 6).sum()
    assert sum(zones.fractions.values()) == pytest.approx(1.0)
    assert zones.fractions[Ambiguity.TWIN] == pytest.approx((found.ambiguity == 1).sum() / data)
    twins = find_zones(found, causes=(Ambiguity.TWIN,), min_size=2)
    assert {zone.cause for zone in twins.zones} == {Ambiguity.TWIN}
    assert min(zone.size for zone in twins.zones) >= 2
    with pytest.raises(BadInputError, match="codes"):
        find_zones(found, causes=(0,))


def test_unknown_reliability_counts_as_full_doubt(make_map):
    found = make_map().map
    unknown = found.replaced(reliability=np.full(found.shape, np.nan))
    assert {zone.doubt for zone in find_zones(unknown).zones} == {1.0}
