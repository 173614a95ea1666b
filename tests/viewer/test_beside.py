"""Another map of the scan is shown below the first, with what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import OrientationMap
from napari_diffmap.maps.colors import ipf_colors
from napari_diffmap.viewer.beside import DIFFERS, ORDER, PICTURE, TITLE, BesideLayers
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.sample_layers import METADATA_KEY


@pytest.fixture
def found(desk: Desk, flat_map: Callable[..., OrientationMap]) -> OrientationMap:
    found = flat_map(desk.session.grid)
    desk.session.set_map(found)
    return found


def test_a_map_beside_the_first(desk: Desk, viewer: ViewerModel, found: OrientationMap) -> None:
    beside = BesideLayers(desk.session, viewer)
    ids = found.phase_ids.copy()
    ids[2, 1, 0] = 1
    other = replace(found, phase_ids=ids)
    told = beside.show(other, "a network")
    rows, columns = found.shape
    picture, differs = beside.layer(PICTURE), beside.layer(DIFFERS)
    assert picture is not None
    assert differs is not None
    assert np.array_equal(picture.data, ipf_colors(other))
    assert np.count_nonzero(differs.data) == 1
    assert differs.data[2, 1] == told.codes[2, 1] == 4
    assert not differs.editable
    first = next(
        layer
        for layer in viewer.layers
        if layer.metadata.get(METADATA_KEY, {}).get("role") not in ("position", "region")
        and layer not in beside.named().values()
    )
    # It begins beyond the lower edge of the scan, right below it.
    corner, edge = picture.translate, first.extent.world[1, -2]
    assert corner[-2] > edge
    assert corner[-1] == pytest.approx(first.translate[-1])
    assert np.allclose(picture.scale, first.scale[-2:])
    words: Any = beside.layer(TITLE)
    share = round(100 * (1 - 1 / (rows * columns)))
    assert list(words.features["words"]) == [f"a network: {share} % agree"]


def test_another_map_takes_it_away(desk: Desk, viewer: ViewerModel, found: OrientationMap) -> None:
    beside = BesideLayers(desk.session, viewer)
    beside.show(found, "one")
    beside.show(found, "again")
    assert set(beside.named()) == set(ORDER)
    assert [layer.name for layer in viewer.layers].count(TITLE) == 1
    desk.session.set_map(replace(found))
    assert not beside.named()
    assert not {layer.name for layer in viewer.layers} & set(ORDER)


def test_without_a_map_it_says_so(
    desk: Desk, viewer: ViewerModel, flat_map: Callable[..., OrientationMap]
) -> None:
    with pytest.raises(BadInputError, match="map the scan first"):
        BesideLayers(desk.session, viewer).show(flat_map((2, 2)), "x")


def test_a_map_of_other_positions_leaves_nothing(
    desk: Desk,
    viewer: ViewerModel,
    found: OrientationMap,
    flat_map: Callable[..., OrientationMap],
) -> None:
    beside = BesideLayers(desk.session, viewer)
    with pytest.raises(BadInputError, match="cannot be compared"):
        beside.show(flat_map((2, 2)), "x")
    assert not beside.named()
