"""Operations on label maps against plain loops."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import OrientationMap
from napari_diffmap.maps.edits.corrections import LabelMap
from napari_diffmap.maps.labels import label_maps
from napari_diffmap.maps.labels.cleaning import clean_small, fill_holes, grow, majority
from napari_diffmap.maps.labels.ops import (
    borders,
    checked,
    difference,
    erase,
    free_numbers,
    merge,
    pieces_of,
    restricted,
    split,
    split_by_orientation,
)

Labels = NDArray[np.int32]
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
label_maps_of = arrays(np.int32, shapes, elements=st.integers(0, 4))


def around(labels: Labels, y: int, x: int) -> list[tuple[int, int]]:
    places = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return [(a, b) for a, b in places if 0 <= a < labels.shape[0] and 0 <= b < labels.shape[1]]


def pieces(labels: Labels) -> list[tuple[int, set[tuple[int, int]]]]:
    """Label and pixels of every connected piece, 0 too, in reading order."""
    seen: set[tuple[int, int]] = set()
    found = []
    for start in np.ndindex(labels.shape):
        if start in seen:
            continue
        mine, queue = {start}, deque([start])
        while queue:
            for near in around(labels, *queue.popleft()):
                if near not in mine and labels[near] == labels[start]:
                    mine.add(near)
                    queue.append(near)
        seen |= mine
        found.append((int(labels[start]), mine))
    return found


@given(label_maps_of)
def test_pieces(labels: Labels) -> None:
    found, numbers = pieces_of(labels)
    wanted = [piece for piece in pieces(labels) if piece[0]]
    assert len(numbers) == len(wanted) + 1
    for i, (number, pixels) in enumerate(wanted, start=1):
        assert numbers[i] == number
        assert {(int(y), int(x)) for y, x in np.argwhere(found == i)} == pixels


@given(label_maps_of)
def test_borders(labels: Labels) -> None:
    wanted: Counter[tuple[int, int]] = Counter()
    for place in np.ndindex(labels.shape):
        for near in around(labels, *place):
            if near > place and labels[near] != labels[place]:
                a, b = sorted((int(labels[place]), int(labels[near])))
                wanted[a, b] += 1
    first, second, lengths = borders(labels)
    assert dict(zip(zip(first, second, strict=True), lengths, strict=True)) == dict(wanted)


@given(label_maps_of, label_maps_of)
def test_a_difference_leads_from_one_to_the_other(before: Labels, after: Labels) -> None:
    after = np.resize(after, before.shape)
    pixels, values = difference(before, after)
    assert pixels.dtype == np.int64
    assert (np.diff(pixels) > 0).all()
    made = before.copy()
    made.reshape(-1)[pixels] = values
    assert np.array_equal(made, after)
    assert (before.reshape(-1)[pixels] != values).all()


@given(label_maps_of)
def test_merge_and_erase(labels: Labels) -> None:
    merged = merge(labels, [3, 1])
    assert np.array_equal(merged == 3, np.isin(labels, [1, 3]))
    assert np.array_equal(merged[~np.isin(labels, [1, 3])], labels[~np.isin(labels, [1, 3])])
    assert np.array_equal(erase(labels, [2]), np.where(labels == 2, 0, labels))
    with pytest.raises(BadInputError, match="two"):
        merge(labels, [1, 1])


@given(label_maps_of)
def test_split_numbers_the_pieces(labels: Labels) -> None:
    done = split(labels, 2)
    assert np.array_equal(done[labels != 2], labels[labels != 2])
    mine = [pixels for number, pixels in pieces(labels) if number == 2]
    numbers = [{int(done[place]) for place in pixels} for pixels in mine]
    assert all(len(number) == 1 for number in numbers)
    assert len(set().union(*numbers)) == len(mine)
    if mine:
        (kept,) = [pixels for pixels in mine if all(done[place] == 2 for place in pixels)]
        assert len(kept) == max(map(len, mine))
        new = [number for group in numbers for number in group if number != 2]
        top = int(labels.max())
        assert new == list(range(top + 1, top + len(mine)))


def test_numbers_do_not_overflow() -> None:
    top = np.iinfo(np.int32).max
    labels = np.array([[top, 2, 0]], dtype=np.int32)
    assert free_numbers(labels, 3).tolist() == [1, 3, 4]
    assert free_numbers(np.zeros((2, 2), np.int32), 2).tolist() == [1, 2]


@given(label_maps_of, st.floats(0.5, 4))
def test_grow_takes_the_nearest(labels: Labels, reach: float) -> None:
    done = grow(labels, reach)
    assert np.array_equal(done[labels > 0], labels[labels > 0])
    there = np.argwhere(labels > 0)
    for y, x in np.argwhere(labels == 0):
        away = np.hypot(*(there - (y, x)).T) if len(there) else np.array([np.inf])
        if away.min() > reach:
            assert done[y, x] == 0
        else:
            near = there[np.isclose(away, away.min())]
            assert done[y, x] in {labels[a, b] for a, b in near}
    within = np.zeros(labels.shape, dtype=bool)
    assert np.array_equal(grow(labels, reach, within), labels)


def clean_by_loops(labels: Labels, min_size: int) -> Labels:
    found = [(number, pixels) for number, pixels in pieces(labels) if number]
    numbers = [number if len(pixels) >= min_size else 0 for number, pixels in found]
    piece_at = {place: i for i, (_, pixels) in enumerate(found) for place in pixels}
    while True:
        taken = {}
        for i, (_, pixels) in enumerate(found):
            if numbers[i]:
                continue
            shared: Counter[int] = Counter()
            for place in pixels:
                for near in around(labels, *place):
                    j = piece_at.get(near)
                    if j is not None and j != i and numbers[j]:
                        shared[numbers[j]] += 1
            if shared:
                taken[i] = min(shared, key=lambda number: (-shared[number], number))
        if not taken:
            break
        for i, number in taken.items():
            numbers[i] = number
    done = np.zeros_like(labels)
    for place, i in piece_at.items():
        done[place] = numbers[i]
    return done


@given(label_maps_of, st.integers(1, 6))
def test_clean_small(labels: Labels, min_size: int) -> None:
    done = clean_small(labels, min_size)
    assert np.array_equal(done, clean_by_loops(labels, min_size))
    assert all(len(pixels) >= min_size for number, pixels in pieces(done) if number)
    assert np.array_equal(clean_small(done, min_size), done)


@given(label_maps_of, st.none() | st.integers(1, 4))
def test_fill_holes(labels: Labels, largest: int | None) -> None:
    wanted = labels.copy()
    rows, columns = labels.shape
    for number, pixels in pieces(labels):
        if number or (largest is not None and len(pixels) > largest):
            continue
        beside = {int(labels[near]) for place in pixels for near in around(labels, *place)} - {0}
        inside = all(0 < y < rows - 1 and 0 < x < columns - 1 for y, x in pixels)
        if inside and len(beside) == 1:
            for place in pixels:
                wanted[place] = next(iter(beside))
    assert np.array_equal(fill_holes(labels, largest), wanted)


@given(label_maps_of, st.sampled_from([3, 5]))
def test_majority(labels: Labels, size: int) -> None:
    wanted = labels.copy()
    half = size // 2
    for y, x in np.ndindex(labels.shape):
        window = labels[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
        (first, n), *others = Counter(window.ravel().tolist()).most_common(2)
        wanted[y, x] = labels[y, x] if others and others[0][1] == n else first
    assert np.array_equal(majority(labels, size), wanted)
    within = np.zeros(labels.shape, dtype=bool)
    within[0] = True
    kept = majority(labels, size, within)
    assert np.array_equal(kept[0], wanted[0])
    assert np.array_equal(kept[1:], labels[1:])


@pytest.mark.parametrize("size", [1, 4])
def test_majority_refuses_other_windows(size: int) -> None:
    with pytest.raises(BadInputError, match="window"):
        majority(np.zeros((3, 3), np.int32), size)


def thousands(noise: float = 0.05) -> Labels:
    """5000 cells on 1024 × 1024 pixels with salt of other labels."""
    from scipy.ndimage import distance_transform_edt

    rng = np.random.default_rng(0)
    seeds = np.zeros((1024, 1024), dtype=np.int32)
    seeds.reshape(-1)[rng.choice(seeds.size, 5000, replace=False)] = np.arange(1, 5001)
    nearest = distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    labels = seeds[tuple(nearest)]
    salt = rng.random(labels.shape) < noise
    labels[salt] = rng.integers(0, 5001, int(salt.sum()))
    return labels


def test_large_maps_take_less_than_a_second(within: Callable[..., Any]) -> None:
    labels = thousands()
    for operation in (
        lambda: majority(labels, 3),
        lambda: majority(labels, 5),
        lambda: clean_small(labels, 10),
        lambda: fill_holes(labels),
        lambda: grow(labels, 3),
        lambda: label_maps.counts(labels),
    ):
        with within(1.0):
            operation()


def test_a_change_can_be_confined() -> None:
    before = np.array([[1, 1, 2], [2, 3, 3]], dtype=np.int32)
    after = np.array([[2, 1, 3], [0, 3, 1]], dtype=np.int32)
    assert restricted(before, after, numbers=[2]).tolist() == [[2, 1, 3], [0, 3, 3]]
    right = np.zeros((2, 3), dtype=bool)
    right[:, 2] = True
    assert restricted(before, after, within=right).tolist() == [[1, 1, 3], [2, 3, 1]]
    assert restricted(before, after, numbers=[2], within=right).tolist() == [[1, 1, 3], [2, 3, 3]]


@pytest.mark.parametrize(
    "labels", [np.zeros(3, np.int32), np.zeros((2, 2)), np.array([[-1]]), np.array([[1 << 40]])]
)
def test_what_is_no_label_map_is_refused(labels: NDArray[Any]) -> None:
    with pytest.raises(BadInputError, match="labels must"):
        checked(labels)


# ------------------------------------------------------------ with a map
def oriented() -> OrientationMap:
    """Phase 0 left, turned by 8° above row 2; phase 1 right; one pixel without an answer."""
    turn = np.deg2rad(8) / 2
    rotations = np.zeros((6, 8, 1, 4), dtype=np.float32)
    rotations[..., 0] = 1
    rotations[:2, :4, 0] = (np.cos(turn), np.sin(turn), 0, 0)
    ids = np.zeros((6, 8, 1), dtype=np.int16)
    ids[:, 4:] = 1
    ids[3, 1] = -1
    scores = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (6, 1))[..., None].copy()
    scores[3, 1] = np.nan
    return OrientationMap(
        rotations=rotations,
        scores=scores,
        phase_ids=ids,
        reliability=np.full((6, 8), np.nan, dtype=np.float32),
        ambiguity=np.zeros((6, 8), dtype=np.uint8),
        phases=load_phases(["LiNiO2", "NiO"]),
    )


def test_split_by_orientation() -> None:
    found = oriented()
    labels = np.zeros(found.shape, dtype=np.int32)
    labels[1:, :6] = 4
    labels[0, 7] = 9
    done = split_by_orientation(labels, 4, found, 5.0)
    assert (done[labels == 0] == 0).all()
    assert done[0, 7] == 9
    assert (done[2:, :4] == 4).all()  # the largest piece, with the pixel that has no answer
    assert (done[1, :4] == 10).all()
    assert (done[1:, 4:6] == 11).all()
    assert np.array_equal(split_by_orientation(labels, 3, found, 5.0), labels)
    coarse = split_by_orientation(labels, 4, found, 20.0)
    assert sorted(np.unique(coarse)) == [0, 4, 9, 10]
    with pytest.raises(BadInputError, match="fit"):
        split_by_orientation(labels[:3], 4, found, 5.0)


def test_labels_from_a_map() -> None:
    found = oriented()
    phases = label_maps.phase_labels(found)
    assert phases.names == {1: "LiNiO2", 2: "NiO"}
    assert phases.base[3, 1] == 0
    assert phases.base[0, 0] == 1
    assert phases.base[0, 7] == 2
    grains = label_maps.grain_labels(found, 5.0, 1)
    assert grains.values.max() == 3
    assert grains.source == "grains of the map, 5°, at least 1 pixels"
    assert not label_maps.empty("mine", found.shape).values.any()
    high = label_maps.threshold_mask(found, "score", 0.5)
    low = label_maps.threshold_mask(found, "score", 0.5, above=False)
    assert not (high & low).any()
    assert not (high | low)[3, 1]
    assert not label_maps.threshold_mask(found, "reliability", 0.0).any()
    parts = label_maps.mask_labels(high | (np.arange(8) == 0), "parts", "test")
    assert parts.values[0, 0] == 1
    assert parts.values[0, 7] == 2


# ------------------------------------------------------------------ table
@settings(deadline=None)
@given(label_maps_of, st.booleans())
def test_the_table_counts(labels: Labels, huge: bool) -> None:
    if huge:
        labels = np.where(labels == 4, np.int32(2_000_000_000), labels)
    table = label_maps.counts(labels, {2: "two"}, (2.0, 3.0), "nm")
    assert table.numbers.tolist() == [n for n in np.unique(labels) if n]
    assert table.unit == "nm²"
    for row, number in enumerate(table.numbers.tolist()):
        y, x = np.nonzero(labels == number)
        assert table.row_of(number) == row
        assert table.names[row] == ("two" if number == 2 else "")
        assert table.pixels[row] == len(y)
        assert table.areas[row] == pytest.approx(6 * len(y))
        assert table.shares[row] == pytest.approx(len(y) / labels.size)
        assert table.boxes[row].tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]
        away = (y - y.mean()) ** 2 + (x - x.mean()) ** 2
        center = table.centers[row]
        mine = (center[0] - y.mean()) ** 2 + (center[1] - x.mean()) ** 2
        assert mine == pytest.approx(away.min())
        assert labels[tuple(center)] == number
    assert table.row_of(77) is None


def test_colours() -> None:
    mine = LabelMap("a", np.zeros((2, 2), np.int32), colors={3: "#102030"})
    table = label_maps.color_table(mine, 200)
    assert table.shape == (201, 4)
    assert table[0].tolist() == [0, 0, 0, 0]
    assert (table[1:, 3] == 1).all()
    shown = ["#" + "".join(f"{round(255 * c):02x}" for c in row[:3]) for row in table[1:]]
    assert shown == [label_maps.color_of(mine, n).lower() for n in range(1, 201)]
    assert shown[2] == "#102030"
    assert label_maps.color_of(mine, label_maps.MOST_COLORS + 1) == label_maps.default_color(1)
