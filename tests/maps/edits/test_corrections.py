"""Edits on top of an answer: in place, undone, switched off, written and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import Ambiguity, OrientationMap
from napari_diffmap.maps.edits.corrections import Corrections, LabelMap
from napari_diffmap.maps.edits.edit import EDITED, EditKind, snapshot
from napari_diffmap.maps.edits.log import EditLog, load_log, save_log

_FIELDS = ("rotations", "scores", "phase_ids", "reliability", "ambiguity")


def answer_of(make_phase: Any, shape: tuple[int, int] = (6, 7), n_best: int = 3) -> OrientationMap:
    random = np.random.default_rng(7)
    rotations = random.normal(size=(*shape, n_best, 4)).astype(np.float32)
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    return OrientationMap(
        rotations=rotations,
        scores=np.sort(random.random((*shape, n_best)), axis=-1)[..., ::-1].astype(np.float32),
        phase_ids=random.integers(0, 2, (*shape, n_best)).astype(np.int16),
        reliability=random.random(shape).astype(np.float32),
        ambiguity=random.integers(0, 6, shape).astype(np.uint8),
        phases=(make_phase("m-3m", "Cu", 0), make_phase("6/mmm", "Ti", 1)),
    )


@pytest.fixture
def answer(make_phase: Any) -> OrientationMap:
    return answer_of(make_phase)


def turned(count: int, seed: int, phase: int = 0) -> dict[str, NDArray[Any]]:
    rotations = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    return {
        "rotations": rotations,
        "phase_ids": np.full(count, phase, dtype=np.int16),
        "scores": np.full(count, 0.5, dtype=np.float32),
    }


def ranked(answer: OrientationMap, pixels: NDArray[np.int64], rank: int) -> dict[str, Any]:
    return {
        name: getattr(answer, name).reshape(-1, *getattr(answer, name).shape[2:])[pixels, rank]
        for name in ("rotations", "phase_ids", "scores")
    }


def assert_same(a: OrientationMap, b: OrientationMap) -> None:
    for name in _FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    np.testing.assert_array_equal(a.extra[EDITED], b.extra[EDITED])


def test_an_accepted_answer_comes_first_and_the_others_follow(answer: OrientationMap) -> None:
    mine = Corrections(answer)
    pixels = np.array([3, 9, 10])
    mine.edit(EditKind.ACCEPTED, pixels, ranked(answer, pixels, 1))
    at, before = mine.map.rotations.reshape(-1, 3, 4), answer.rotations.reshape(-1, 3, 4)
    np.testing.assert_array_equal(at[pixels], before[pixels][:, [1, 0, 2]])
    others = np.setdiff1d(np.arange(42), pixels)
    np.testing.assert_array_equal(at[others], before[others])
    assert np.isnan(mine.map.reliability.reshape(-1)[pixels]).all()
    assert (mine.map.ambiguity.reshape(-1)[pixels] == Ambiguity.NONE).all()
    assert mine.map.extra[EDITED].reshape(-1)[pixels].tolist() == [1, 1, 1]
    assert mine.done[0].before.startswith(("Cu", "Ti"))
    assert mine.done[0].who
    assert mine.done[0].when.endswith("+00:00")


def test_an_orientation_that_was_not_kept_pushes_out_the_last(answer: OrientationMap) -> None:
    mine = Corrections(answer)
    pixels = np.array([0, 41])
    values = turned(2, seed=1, phase=1)
    mine.edit(EditKind.REFINED, pixels, values)
    at = mine.map.rotations.reshape(-1, 3, 4)[pixels]
    np.testing.assert_array_equal(at[:, 0], values["rotations"])
    np.testing.assert_array_equal(at[:, 1:], answer.rotations.reshape(-1, 3, 4)[pixels][:, :2])
    assert mine.map.phase_ids.reshape(-1, 3)[pixels, 0].tolist() == [1, 1]


def test_the_answer_itself_is_never_changed(answer: OrientationMap) -> None:
    copies = {name: getattr(answer, name).copy() for name in _FIELDS}
    mine = Corrections(answer)
    mine.edit(EditKind.INVALID, np.arange(42))
    for name, values in copies.items():
        np.testing.assert_array_equal(getattr(answer, name), values)
    assert EDITED not in answer.extra
    assert not mine.map.indexed.any()
    mine.undo()
    assert_same(mine.map, Corrections(answer).map)


def test_a_snapshot_stays(answer: OrientationMap) -> None:
    mine = Corrections(answer)
    assert EDITED not in snapshot(mine.map).extra
    mine.edit(EditKind.UNKNOWN, np.array([5]))
    kept = snapshot(mine.map)
    mine.undo()
    assert kept.extra[EDITED].reshape(-1)[5] == EditKind.UNKNOWN
    assert kept.phase_ids[0, 5, 0] == -1


def test_an_edit_switched_off_keeps_its_place(answer: OrientationMap) -> None:
    mine, first, second = Corrections(answer), turned(2, 1), turned(2, 2)
    mine.edit(EditKind.TURNED, np.array([4, 5]), first)
    mine.edit(EditKind.TURNED, np.array([5, 6]), second)
    mine.switch(2, on=False)
    at = mine.map.rotations.reshape(-1, 3, 4)
    np.testing.assert_array_equal(at[[4, 5], 0], first["rotations"])
    np.testing.assert_array_equal(at[6], answer.rotations.reshape(-1, 3, 4)[6])
    assert mine.switch(2, on=False) is None
    mine.switch(2, on=True)
    np.testing.assert_array_equal(at[[5, 6], 0], second["rotations"])


@pytest.mark.parametrize(
    ("kind", "pixels", "values"),
    [
        (EditKind.INVALID, [], None),
        (EditKind.INVALID, [3, 3], None),
        (EditKind.INVALID, [5, 2], None),
        (EditKind.INVALID, [42], None),
        (EditKind.ACCEPTED, [1, 2], turned(3, 1)),
        (EditKind.ACCEPTED, [1, 2], turned(2, 1, phase=7)),
    ],
)
def test_edits_that_cannot_be(
    answer: OrientationMap, kind: EditKind, pixels: list[int], values: Any
) -> None:
    mine = Corrections(answer)
    with pytest.raises(BadInputError):
        mine.edit(kind, np.array(pixels, dtype=np.int64), values)
    assert not mine.done
    assert_same(mine.map, Corrections(answer).map)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("edit"),
            st.sampled_from([EditKind.ACCEPTED, EditKind.TURNED, EditKind.INVALID]),
            st.sets(st.integers(0, 41), min_size=1, max_size=12),
            st.integers(0, 99),
        ),
        st.tuples(st.just("paint"), st.sets(st.integers(0, 41), min_size=1), st.integers(0, 5)),
        st.just(("undo",)),
        st.just(("redo",)),
        st.tuples(st.just("switch"), st.integers(1, 8), st.booleans()),
    ),
    max_size=14,
)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps)
def test_any_way_of_edits_is_what_its_record_tells(
    steps: list[Any], answer: OrientationMap, tmp_path: Path
) -> None:
    """In place, from the log of every step, from one saved in a go, and by a plain replay."""
    path = tmp_path / "edits.jsonl"
    path.unlink(missing_ok=True)
    mine = Corrections(answer)
    log = EditLog(path, mine)
    mine.add_labels(LabelMap("mine", np.zeros(answer.shape, np.int32), {1: "one"}))
    for step in steps:
        if step[0] == "edit":
            pixels = np.array(sorted(step[2]))
            values = None if step[1] == EditKind.INVALID else turned(len(pixels), step[3])
            mine.edit(step[1], pixels, values)
        elif step[0] == "paint":
            pixels = np.array(sorted(step[1]))
            painted = {"labels": np.full(len(pixels), step[2], np.int32)}
            mine.edit(EditKind.PAINTED, pixels, painted, target="labels/mine")
        elif step[0] == "switch":
            mine.switch(step[1], step[2])
        else:
            getattr(mine, step[0])()
    log.close()
    assert log.error is None

    plain = Corrections(answer)
    plain.add_labels(LabelMap("mine", np.zeros(answer.shape, np.int32)))
    for edit in mine.done:
        if edit.number not in mine.off:
            plain.edit(edit.kind, edit.pixels, edit.values, target=edit.target)
    assert_same(mine.map, plain.map)
    np.testing.assert_array_equal(mine.labels["mine"].values, plain.labels["mine"].values)

    for file in (path, save_log(mine, tmp_path / "whole.jsonl")):
        read, warnings = load_log(file, answer)
        assert warnings == ()
        assert_same(read.map, mine.map)
        np.testing.assert_array_equal(read.labels["mine"].values, mine.labels["mine"].values)
        assert [e.number for e in read.done] == [e.number for e in mine.done]
        assert [e.number for e in read.undone] == [e.number for e in mine.undone]
        assert {e.number for e in read.done} & read.off == {e.number for e in mine.done} & mine.off
        for one, other in zip(read.done, mine.done, strict=True):
            assert (one.kind, one.who, one.when, one.before, one.after, one.note) == (
                other.kind, other.who, other.when, other.before, other.after, other.note
            )  # fmt: skip


def test_a_record_goes_on_where_it_was_cut(answer: OrientationMap, tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    mine = Corrections(answer)
    log = EditLog(path, mine)
    mine.edit(EditKind.INVALID, np.array([3]))
    mine.edit(EditKind.INVALID, np.array([4]))
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    read, warnings = load_log(path, answer)
    assert [edit.pixels.tolist() for edit in read.done] == [[3]]
    assert "middle of an edit" in warnings[0]
    log = EditLog(path, read)
    read.edit(EditKind.UNKNOWN, np.array([8]))
    log.close()
    again, warnings = load_log(path, answer)
    assert warnings == ()
    assert [edit.pixels.tolist() for edit in again.done] == [[3], [8]]


def test_a_record_of_another_map_is_refused(
    answer: OrientationMap, make_phase: Any, tmp_path: Path
) -> None:
    path = save_log(Corrections(answer), tmp_path / "edits.jsonl")
    with pytest.raises(BadInputError, match="positions"):
        load_log(path, answer_of(make_phase, (3, 3)))
    other = answer.replaced(phases=(answer.phases[1], answer.phases[0]))
    with pytest.raises(BadInputError, match="Cu, Ti"):
        load_log(path, other)
    again = answer.replaced(rotations=np.roll(answer.rotations, 1, axis=0))
    assert "another run" in load_log(path, again)[1][0]
    path.write_text("nothing of the kind\n")
    with pytest.raises(BadInputError, match="line 1"):
        load_log(path, answer)


def test_a_full_disk_is_told_and_the_edit_kept(
    answer: OrientationMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Corrections(answer)
    log = EditLog(tmp_path / "edits.jsonl", mine)

    def full(_record: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "_write", full)
    mine.edit(EditKind.INVALID, np.array([3]))
    assert "No space left" in str(log.error)
    assert len(mine.done) == 1


def test_an_edited_label_map_is_not_replaced(answer: OrientationMap) -> None:
    mine = Corrections(answer)
    mine.add_labels(LabelMap("classes", np.zeros(answer.shape)))
    mine.add_labels(LabelMap("classes", np.ones(answer.shape)))
    mine.edit(EditKind.PAINTED, np.array([1]), {"labels": np.array([4])}, target="labels/classes")
    with pytest.raises(BadInputError, match="another name"):
        mine.add_labels(LabelMap("classes", np.zeros(answer.shape)))
    with pytest.raises(BadInputError, match="do not fit"):
        mine.add_labels(LabelMap("small", np.zeros((2, 2))))
