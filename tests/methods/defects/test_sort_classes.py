"""Classes by site, and complexes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.methods.defects.finds import OFF, Finds
from napari_diffmap.methods.defects.sort.classes import sort_by_sites
from napari_diffmap.methods.defects.sort.complexes import complex_sizes, complexes


def finds_of(sublattice: list[int], ratio: list[float]) -> Finds:
    n = len(ratio)
    return Finds(np.zeros(n), np.zeros((n, 2)), np.ones(n), sublattice, ratio, np.zeros(n))


@pytest.mark.parametrize(
    ("material", "sublattice", "ratio", "name"),
    [
        ("WS2", 1, 0.5, "S vacancy"),
        ("WS2", 1, 0.05, "S2 vacancy"),
        ("WS2", 1, 1.6, "brighter S"),
        ("WS2", 0, 0.38, "darker W"),
        ("WS2", 0, 0.0, "W vacancy"),
        ("WS2", 0, 1.3, "brighter W"),
        ("MoS2", 0, 2.6, "brighter Mo"),
        # two Se outshine Mo: the brighter sublattice is theirs
        ("MoSe2", 0, 0.5, "Se vacancy"),
        ("MoSe2", 1, 0.05, "Mo vacancy"),
        ("graphene", 0, 4.2, "Si"),
        ("graphene", 1, 4.2, "Si"),
        ("graphene", 1, 0.1, "C vacancy"),
        ("WS2", OFF, 0.9, "adatom"),
        ("WS2", OFF, float("nan"), "other"),
        ("other", 1, 0.1, "vacancy of a weak site"),
    ],
)
def test_sites_have_the_names_of_their_material(
    material: str, sublattice: int, ratio: float, name: str
) -> None:
    told = sort_by_sites(finds_of([sublattice], [ratio]), material)
    assert told.names == (name,)
    assert told.class_id.tolist() == [0]


def test_probabilities_follow_the_error_of_ratios() -> None:
    ratios = [0.5, 0.27, 0.05, 0.38, 4.0]
    finds = finds_of([1, 1, 1, 0, OFF], ratios)
    told = sort_by_sites(finds, "WS2", ratio_error=0.1)
    assert told.probability.sum(axis=1) == pytest.approx(1)
    single = told.probability[:, told.names.index("S vacancy")]
    assert single[0] > 0.98
    assert 0.5 < single[1] < 0.65
    assert single[2] < 0.05
    sharper = sort_by_sites(finds, "WS2", ratio_error=0.01)
    assert sharper.probability[1].max() > 0.97


def test_stated_probabilities_are_right_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(-0.2, 0.75, 4000)
    measured = truth + rng.normal(0, 0.1, 4000)
    told = sort_by_sites(finds_of([1] * 4000, list(measured)), "WS2", ratio_error=0.1)
    single = told.probability[:, told.names.index("S vacancy")]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        some = (single >= low) & (single < low + 0.2)
        assert (truth[some] > 0.25).mean() == pytest.approx(single[some].mean(), abs=0.06)


def test_averages_and_warnings() -> None:
    crops = np.stack([np.full((3, 3), v, dtype=np.float32) for v in (1, 3, 10)])
    crops[0, 0, 0] = np.nan
    told = sort_by_sites(finds_of([1, 1, OFF], [0.5, 0.5, 0.0]), "WS2", crops=crops)
    assert told.names == ("S vacancy", "other")
    assert told.averages[0, 0, 0] == 3
    assert told.averages[0, 1, 1] == 2
    assert "neither on a site" in told.warnings[0]
    none = sort_by_sites(Finds.empty(), "WS2")
    assert none.names == ()
    assert none.probability.shape == (0, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_complexes_are_what_is_connected(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 25))
    frame = np.sort(rng.integers(0, 3, n))
    places = rng.uniform(0, 40, (n, 2))
    finds = Finds(frame, places, np.ones(n), np.zeros(n), np.ones(n), np.zeros(n))
    number = complexes(finds, 6.0)
    near = (np.linalg.norm(places[:, None] - places[None], axis=2) <= 6) & (
        frame[:, None] == frame[None]
    )
    reached = np.linalg.matrix_power(near.astype(float), n) > 0
    same = (number[:, None] == number[None]) & (frame[:, None] == frame[None])
    assert np.array_equal(reached, same)
    assert np.array_equal(complex_sizes(finds, number), reached.sum(axis=1))
    for f in np.unique(frame):
        assert set(number[frame == f]) == set(range(number[frame == f].max() + 1))
    order = rng.permutation(n)
    again = complexes(finds.take(order), 6.0)
    together = (again[:, None] == again) & (frame[order][:, None] == frame[order])
    assert np.array_equal(together, reached[np.ix_(order, order)])


def test_no_finds_make_no_complexes() -> None:
    assert complexes(Finds.empty(), 3).shape == (0,)
    assert complex_sizes(Finds.empty(), np.zeros(0, dtype=np.int64)).shape == (0,)
