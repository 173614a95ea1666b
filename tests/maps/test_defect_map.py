"""Maps of defects: what they hold and refuse, corrections by hand, their record and their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import AMBIGUITY_TABLE, DEFECT_TABLE, DefectDoubt, DefectMap
from napari_diffmap.maps.defect_doubt import doubt_of, flickering
from napari_diffmap.maps.defect_map import DefectClass, defect_classes, make_defect_map
from napari_diffmap.maps.edits import defect_edits as by_hand
from napari_diffmap.maps.edits.carried import carried, load_edits
from napari_diffmap.maps.edits.corrections import Corrections
from napari_diffmap.maps.edits.edit import EDITED, EditKind, snapshot
from napari_diffmap.maps.edits.edited import edited_counts
from napari_diffmap.maps.edits.log import EditLog, load_log, save_log
from napari_diffmap.maps.files.own_h5 import load_any_map, load_map_h5, save_map_h5

NAMES = ("V_S", "Mo on W", "V_S2")


def made(n: int = 12, *, frames: int = 3, seed: int = 0, **changes: Any) -> DefectMap:
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet((0.3, 0.3, 0.3), n)
    options: dict[str, Any] = {
        "doubt": np.arange(n) % 6,
        "spare": 8,
        "pixel_size_nm": 0.03,
        "frame_time_s": 2.25,
        "extra": {"track": np.arange(n) % 4, "ratio": rng.uniform(0, 1, n)},
    }
    frame = np.sort(rng.integers(0, frames, n))
    return make_defect_map(
        frame,
        rng.uniform(5, 55, (n, 2)),
        chances,
        rng.uniform(0.5, 1, n),
        defect_classes(NAMES),
        (frames, 60, 60),
        **{**options, **changes},
    )


def assert_same(one: DefectMap, other: DefectMap) -> None:
    for name in one.arrays:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.phases == other.phases
    assert set(one.extra) == set(other.extra)
    for name in one.extra:
        np.testing.assert_array_equal(one.extra[name], other.extra[name], err_msg=name)


# ------------------------------------------------------------------ the map


def test_finds_come_first_and_empty_slots_behind() -> None:
    found = made()
    assert found.shape == (1, 20)
    assert found.filled.tolist() == list(range(12))
    assert found.empty_slots.tolist() == list(range(12, 20))
    assert (found.ambiguity[0, 12:] == DefectDoubt.NO_DATA).all()
    assert (np.diff(found.scores[0, :12], axis=1) <= 0).all()
    assert np.isnan(found.places[0, 12:]).all()
    assert found.tracks.tolist() == [*(np.arange(12) % 4), *([-1] * 8)]
    frames = [found.in_frame(k) for k in range(3)]
    assert sorted(np.concatenate(frames).tolist()) == list(range(12))
    assert found.ambiguous_fraction() == pytest.approx(10 / 12)
    assert found.words_of(0).startswith(found.phases[found.phase_ids[0, 0, 0]].name)
    assert "frame 0" in found.words_of(0)


def test_an_image_without_defects_is_a_map() -> None:
    found = make_defect_map(
        np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 0)), np.zeros(0), (), (1, 9, 9)
    )
    assert not found.indexed.any()
    assert np.isnan(found.ambiguous_fraction())
    mine = Corrections(found)
    by_hand.add(mine, (0, 3, 4), mine.add_phase("V_S", ""))
    assert mine.map.words_of(0) == "V_S in frame 0 at y 3.00, x 4.00"


def test_codes_without_doubt_and_without_data_are_those_of_all_maps() -> None:
    for code in (0, 6):
        one, other = DEFECT_TABLE[code], AMBIGUITY_TABLE[code]
        assert (int(one.code), one.name, one.color) == (int(other.code), other.name, other.color)
    assert [int(cause.code) for cause in DEFECT_TABLE] == list(range(7))
    assert len({cause.color for cause in DEFECT_TABLE}) == 7


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"places": np.zeros((1, 20, 3, 2))}, "places must have shape"),
        ({"places": np.full((1, 20, 3, 3), np.nan)}, "a find needs a place"),
        ({"image_shape": (1, 60, 60)}, "finds lie in frames 0 to 2 of 1"),
        ({"image_shape": (3, 0, 60)}, "is empty"),
        ({"pixel_size_nm": 0.0}, "a pixel of 0.0"),
        ({"frame_time_s": float("nan")}, "frame time"),
        ({"phases": defect_classes(("a", "a", "b"))}, "names of their own"),
        ({"ambiguity": np.full((1, 20), 7)}, "code 7 is unknown"),
    ],
)
def test_what_cannot_be_is_refused(changes: Any, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        made().replaced(**changes)


def test_a_class_needs_a_name() -> None:
    with pytest.raises(BadInputError, match="needs a name"):
        DefectClass(" ", "#000000")


# -------------------------------------------------------------------- doubt


def test_the_first_cause_is_the_one_to_look_at() -> None:
    sure = np.array([1.0, 0.5, 1.0, 0.5, 0.5, 1.0, np.nan])
    clear = np.array([1.0, 1.0, 0.5, 0.5, 0.5, 1.0, np.nan])
    border = np.array([0, 0, 0, 0, 1, 0, 0], dtype=bool)
    off = np.array([0, 0, 0, 0, 0, 1, 0], dtype=bool)
    rare = np.array([0, 1, 1, 1, 1, 1, 0], dtype=bool)
    told = doubt_of(sure, clear, border=border, off_lattice=off, flickers=rare)
    D = DefectDoubt
    assert told.tolist() == [D.NONE, D.UNSURE, D.CLASS, D.UNSURE, D.BORDER, D.NO_LATTICE, D.NONE]


def test_what_comes_and_goes_flickers() -> None:
    # Track 0: all ten frames. 1: three of nine. 2: two in the middle. 3: cut off at the begin.
    frame = np.array([*range(10), 0, 4, 8, 5, 6, 0, 1, 3])
    track = np.array([*([0] * 10), 1, 1, 1, 2, 2, 3, 3, -1])
    told = flickering(frame, track, 10)
    assert told.tolist() == [*([False] * 10), True, True, True, True, True, False, False, True]
    assert not flickering(np.zeros(3, int), np.full(3, -1), 1).any()


# -------------------------------------------------------------- corrections


def test_finds_are_accepted_named_moved_and_added() -> None:
    found = made()
    mine = Corrections(found)
    second = int(found.phase_ids[0, 3, 1])
    by_hand.accept(mine, 3, 1)
    assert mine.map.phase_ids[0, 3, 0] == second
    assert mine.map.phase_ids[0, 3, 1] == found.phase_ids[0, 3, 0]
    by_hand.set_class(mine, [4, 5], 2)
    assert mine.map.phase_ids[0, [4, 5], 0].tolist() == [2, 2]
    by_hand.move(mine, 4, (20.5, 30.25))
    assert mine.map.best_places[0, 4].tolist() == [found.best_places[0, 4, 0], 20.5, 30.25]  # type: ignore[attr-defined]
    by_hand.set_class(mine, 4, 1)
    assert mine.map.best_places[0, 4, 1:].tolist() == [20.5, 30.25], "it stays where it was put"  # type: ignore[attr-defined]
    by_hand.add(mine, [(1, 7.0, 8.0), (2, 9.0, 10.0)], 0)
    assert mine.map.filled.tolist() == list(range(14))  # type: ignore[attr-defined]
    by_hand.discard(mine, [0, 1])
    assert mine.map.filled.tolist() == list(range(2, 14))  # type: ignore[attr-defined]
    assert mine.map.empty_slots.tolist() == list(range(14, 20)), "a discarded find keeps its slot"  # type: ignore[attr-defined]
    assert edited_counts(mine.map) == {
        "answer accepted": 1, "phase set": 2, "invalid": 2, "added": 2,
    }  # fmt: skip
    assert not mine.map.ambiguous[0, [3, 4, 5, 12, 13]].any()
    assert mine.map.reliability[0, 2] == found.reliability[0, 2]
    assert np.isnan(mine.map.reliability[0, 3])


def test_classes_grow_merge_and_get_names() -> None:
    mine = Corrections(made(40))
    before = mine.map.best_phase_ids[0].copy()
    by_hand.merge_classes(mine, 2, 0)
    assert not (mine.map.best_phase_ids[0] == 2).any()
    assert ((mine.map.best_phase_ids[0] == 0) == np.isin(before, (0, 2))).all()
    change = by_hand.rename_class(mine, 1, "Mo dopant")
    assert [phase.name for phase in mine.map.phases] == [*NAMES, "Mo dopant"]
    assert mine.map.phases[3].color == mine.map.phases[1].color
    assert ((mine.map.best_phase_ids[0] == 3) == (before == 1)).all()
    assert "named Mo dopant" in change.edit.note
    number = mine.add_phase("Si", "")
    assert number == 4
    assert mine.add_phase("Si", "") == 4
    mine.undo()
    mine.undo()
    np.testing.assert_array_equal(mine.map.best_phase_ids[0], before)
    assert len(mine.map.phases) == 5, "a class that is known stays known"
    assert len(mine.answer.phases) == 5


def test_phases_of_other_maps_do_not_grow(make_spectral: Any) -> None:
    with pytest.raises(BadInputError, match="cannot be added"):
        Corrections(make_spectral()).add_phase("more", "#000000")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda m: by_hand.add(m, (3, 1, 1), 0), "outside 3 frames of 60 × 60"),
        (lambda m: by_hand.add(m, (0.5, 1, 1), 0), "whole numbers"),
        (lambda m: by_hand.add(m, (0, 1), 0), "at a frame, y and x"),
        (lambda m: by_hand.add(m, (0, 1, 1), 9), "no class 9"),
        (lambda m: by_hand.add(m, np.ones((9, 3)), 0), "room for 8 more"),
        (lambda m: by_hand.move(m, 0, (99, 1)), "outside"),
        (lambda m: by_hand.move(m, [0, 1], (9, 1)), "as many places"),
        (lambda m: by_hand.move(m, 15, (9, 1)), "no find here"),
        (lambda m: by_hand.set_class(m, 99, 0), "20 numbers"),
        (lambda m: by_hand.accept(m, 0, 7), "no answer 8"),
        (lambda m: by_hand.merge_classes(m, 1, 1), "with itself"),
        (lambda m: by_hand.rename_class(m, 1, "Mo on W"), "another name"),
    ],
)
def test_corrections_that_cannot_be_are_refused(act: Any, told: str) -> None:
    mine = Corrections(made())
    with pytest.raises(BadInputError, match=told):
        act(mine)
    assert not mine.done


STEPS = st.lists(
    st.tuples(st.sampled_from(["accept", "class", "move", "add", "discard", "undo", "redo",
                               "switch", "grow"]), st.integers(0, 11), st.integers(0, 2)),
    max_size=14,
)  # fmt: skip


def take(mine: Corrections, step: str, slot: int, number: int) -> None:
    try:
        if step == "accept":
            by_hand.accept(mine, slot, number)
        elif step == "class":
            by_hand.set_class(mine, [slot, 11], number)
        elif step == "move":
            by_hand.move(mine, slot, (slot + 0.5, number))
        elif step == "add":
            by_hand.add(mine, (number, slot, slot), number)
        elif step == "discard":
            by_hand.discard(mine, slot, unknown=bool(number))
        elif step == "undo":
            mine.undo()
        elif step == "redo":
            mine.redo()
        elif step == "switch":
            mine.switch(slot, bool(number))
        else:
            by_hand.set_class(mine, slot, mine.add_phase(f"new {number}", ""))
    except BadInputError:
        pass


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_any_steps_come_back_from_their_record_and_can_all_be_undone(steps: Any) -> None:
    import tempfile

    found = made()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edits.jsonl"
        mine = Corrections(found)
        log = EditLog(path, mine)
        for step in steps:
            take(mine, *step)
        log.close()
        again, warnings = load_log(path, found)
        assert not warnings
        assert_same(again.map, mine.map)  # type: ignore[arg-type]
        assert [e.number for e in again.done] == [e.number for e in mine.done]
        # Saved anew beside an answer that knows the new classes, and beside one that does not.
        save_log(again, path)
        for answer in (again.answer, found):
            assert_same(load_log(path, answer)[0].map, mine.map)  # type: ignore[arg-type]
    while mine.undo() is not None:
        pass
    for name in found.arrays:
        np.testing.assert_array_equal(getattr(mine.map, name), getattr(found, name))
    assert not mine.map.extra[EDITED].any()


def test_a_record_of_another_run_is_refused(tmp_path: Path) -> None:
    mine = Corrections(made())
    by_hand.discard(mine, 3)
    path = save_log(mine, tmp_path / "edits.jsonl")
    with pytest.raises(BadInputError, match="other numbers"):
        load_log(path, made(seed=1))
    with pytest.raises(BadInputError, match="keep its answer"):
        load_edits(path, made(seed=1))


def test_corrections_are_carried_to_another_run(tmp_path: Path) -> None:
    old = made(30, frames=2, seed=3)
    mine = Corrections(old)
    by_hand.discard(mine, [2, 3])
    by_hand.set_class(mine, [5, 6, 7], mine.add_phase("Si", "#112233"))
    by_hand.set_class(mine, 8, 1)
    by_hand.add(mine, [(0, 1.0, 1.0), (1, 58.0, 2.0)], 0)
    by_hand.move(mine, 9, old.best_places[0, 9, 1:] + 2)
    by_hand.discard(mine, 10)
    mine.switch(mine.done[-1].number, False)
    by_hand.discard(mine, 11)
    mine.undo()
    # Another run: turned round, a little moved, without find 3, classes in another order, and
    # with a find of its own where one was added by hand.
    kept = np.setdiff1d(np.arange(30), [3])[::-1]
    rng = np.random.default_rng(0)
    where = old.best_places[0, kept]
    frame = np.append(where[:, 0], 0).astype(int)
    places = np.vstack((where[:, 1:] + rng.normal(0, 0.05, (29, 2)), [(1.3, 0.8)]))
    chances = np.zeros((30, 3))
    turned = [2, 0, 1]  # class 0 of the old run is number 2 of the new one
    chances[np.arange(30), [turned[i] for i in [*old.best_phase_ids[0, kept], 0]]] = 1
    classes = defect_classes([NAMES[1], NAMES[2], NAMES[0]])
    new = make_defect_map(
        frame, places, chances, np.full(30, 0.9), classes, old.image_shape, spare=4
    )
    again, warnings = carried(mine, new)
    assert warnings == ("1 finds that were corrected are not found any more",)
    found = again.map
    assert isinstance(found, DefectMap)
    names = np.array([phase.name for phase in found.phases])
    twin = {int(o): i for i, o in enumerate(kept)}
    assert not found.indexed[0, twin[2]]
    assert found.indexed[0, twin[10]], "an edit that is switched off stays so"
    assert found.indexed[0, twin[11]], "what was undone stays behind"
    assert all(names[found.phase_ids[0, twin[o], 0]] == "Si" for o in (5, 6, 7))
    assert found.phases[-1].color == "#112233"
    assert names[found.phase_ids[0, twin[8], 0]] == "Mo on W"
    np.testing.assert_array_equal(found.best_places[0, twin[8]], new.best_places[0, twin[8]])
    np.testing.assert_allclose(found.best_places[0, twin[9], 1:], old.best_places[0, 9, 1:] + 2)
    assert found.extra[EDITED][0, 29] == EditKind.ADDED, "the find of its own is the added one"
    assert found.extra[EDITED][0, 30] == EditKind.ADDED
    assert len(found.filled) == 30
    untouched = [twin[o] for o in range(12, 30)]
    np.testing.assert_array_equal(found.phase_ids[0, untouched], new.phase_ids[0, untouched])
    assert [edit.who for edit in again.done] == [edit.who for edit in mine.done]
    # By way of files, too.
    save_map_h5(mine.answer, tmp_path / "answer.h5")
    read, told = load_edits(save_log(mine, tmp_path / "edits.jsonl"), new)
    assert told == warnings
    assert_same(snapshot(read.map), snapshot(found))  # type: ignore[arg-type]


# --------------------------------------------------------------------- file


def test_a_map_comes_back_from_its_file(tmp_path: Path) -> None:
    mine = Corrections(made(warnings=("mind this",)))
    by_hand.add(mine, (1, 7.0, 8.0), mine.add_phase("Si", "#009E73", "silicon"))
    found = snapshot(mine.map)
    again = load_map_h5(save_map_h5(found, tmp_path / "defects.h5"))
    assert isinstance(again, DefectMap)
    assert_same(again, found)  # type: ignore[arg-type]
    assert again.image_shape == (3, 60, 60)
    assert (again.pixel_size_nm, again.frame_time_s) == (0.03, 2.25)
    assert again.warnings == ("mind this",)
    plain = made(pixel_size_nm=None, frame_time_s=None)
    again = load_any_map(save_map_h5(plain, tmp_path / "plain.h5"))
    assert isinstance(again, DefectMap)
    assert (again.pixel_size_nm, again.frame_time_s) == (None, None)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = save_map_h5(made(), tmp_path / "defects.h5")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(BadInputError, match="damaged") as caught:
        load_any_map(path)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(BadInputError, match=r"must end in \.h5"):
        save_map_h5(made(), tmp_path / "defects.txt")
