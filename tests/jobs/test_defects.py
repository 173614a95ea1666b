"""From a movie to a folder of defects: found, sorted, followed, corrected, repeated."""

from __future__ import annotations

import csv
import dataclasses
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.jobs.control import JobControl, Progress
from napari_diffmap.jobs.corrected import export_corrected
from napari_diffmap.jobs.defects import DefectsRun, follow_again, map_defects
from napari_diffmap.jobs.defects_find import OneAtATime
from napari_diffmap.jobs.defects_frames import Movie, calibrated, in_order
from napari_diffmap.jobs.defects_map import finds_of
from napari_diffmap.jobs.defects_recipe import (
    DefectsRecipe,
    prepared_defects,
    recipe_of_defects,
)
from napari_diffmap.jobs.defects_reopen import load_run, run_of
from napari_diffmap.jobs.defects_results import (
    corrected_run,
    keep_edits,
    save_run,
    with_corrections,
    write_defects,
)
from napari_diffmap.jobs.defects_summary import density
from napari_diffmap.jobs.recipe import load_recipe
from napari_diffmap.jobs.session_file import load_session, record_of, save_session
from napari_diffmap.maps import DefectDoubt, DefectMap
from napari_diffmap.maps.edits import defect_edits as by_hand
from napari_diffmap.maps.edits.corrections import Corrections
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.files.own_h5 import load_map_h5
from napari_diffmap.methods.defects.finds import OFF, Finds
from napari_diffmap.methods.defects.parameters import DefectParameters
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.open import open_scan

if TYPE_CHECKING:
    from tests.defect_movie import Made, Told

FRAMES, SIZE, PIXEL_NM, FRAME_S = 10, 192, 0.035, 2.0

PARAMETERS = DefectParameters.model_validate({"find": {"material": "WS2", "model": "sites"}})
STILL = DefectParameters.model_validate(
    {"find": {"material": "WS2", "model": "sites", "drift": False}}
)


@pytest.fixture(scope="module")
def made(defect_movie: Any) -> Made:
    return defect_movie.make_movie()  # type: ignore[no-any-return]


def told(made: Made, seed: int = 1) -> Told:
    """A finder that knows the truth."""
    return made.finder(seed)


@pytest.fixture(scope="module")
def run(made: Made) -> DefectsRun:
    return map_defects(made.scan(), PARAMETERS, device="cpu", finder=told(made))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------------- run


def test_defects_get_their_class_and_stay_one_track(run: DefectsRun, made: Made) -> None:
    found = run.map
    n = len(made.names)
    assert len(found.filled) == len(run.finds)
    names = np.array([phase.name for phase in found.phases])
    # Each find is nearest to one true defect; a track is one of them and all of it.
    owner = np.empty(len(run.finds), dtype=int)
    for i, (frame, place) in enumerate(zip(run.finds.frame, run.finds.places, strict=True)):
        owner[i] = np.argmin(np.hypot(*(made.places[frame] - place).T))
    tracks = found.tracks[run.slots]
    assert (tracks >= 0).all()
    assert len({(int(o), int(t)) for o, t in zip(owner, tracks, strict=True)}) == n
    given = names[found.best_phase_ids[0, run.slots]]
    vacancies = np.array([made.names[o] == "V_S" for o in owner])
    assert len(set(given[vacancies])) == 1
    assert len(set(given[~vacancies])) == 1
    assert not set(given[vacancies]) & set(given[~vacancies])
    assert run.drift is not None
    assert np.abs(run.drift).max() < 0.5, "nothing drifts"


def test_diffusion_is_in_nm_and_s_where_they_are_known(run: DefectsRun, made: Made) -> None:
    assert run.followed.units.diffusion == "nm²/s"
    plain = map_defects(made.scan(calibrated=False), STILL, device="cpu", finder=told(made))
    assert plain.followed.units.diffusion == "pixel²/frame"
    assert plain.summary["calibrated"] is False
    assert plain.summary["per_nm2"] is None
    for name, mine in run.followed.diffusion.items():
        other = plain.followed.diffusion[name]
        # Without the drift the places differ a little.
        scale = PIXEL_NM**2 / FRAME_S
        assert mine.hops is not None
        assert other.hops is not None
        assert mine.hops.hops == other.hops.hops
        assert mine.D_nm2_s == pytest.approx(other.D_nm2_s * scale, abs=0.3 * scale)
    hopping = [t.hops.hops for t in run.followed.diffusion.values() if t.hops is not None]
    assert sorted(hopping) == [0, 2], "two vacancies hop once each, dopants stay"


def test_frames_are_taken_in_order_whatever_the_threads(made: Made, run: DefectsRun) -> None:
    order: list[int] = []
    finder = told(made)
    again = map_defects(
        made.scan(), PARAMETERS, device="cpu", finder=finder,
        on_frame=lambda number, answer: order.append(number),
    )  # fmt: skip
    assert order == list(range(FRAMES))
    assert sorted(finder.seen) == order
    for name in run.map.arrays:
        np.testing.assert_array_equal(getattr(again.map, name), getattr(run.map, name))


def test_few_frames_are_under_way_at_once() -> None:
    begun: list[int] = []
    results = in_order(lambda i: begun.append(i) or i, 100, 2, JobControl())
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(begun) <= 3 + 2 * 2
    assert list(results) == list(range(3, 100))


def test_a_movie_may_be_stopped_at_any_step(made: Made) -> None:
    heard: list[str] = []
    given: dict[str, Any] = {"device": "cpu", "finder": told(made)}
    map_defects(made.scan(), PARAMETERS, on_progress=lambda p: heard.append(p.message), **given)
    messages = list(dict.fromkeys(heard))
    assert len(messages) >= 6
    for message in messages:
        control = JobControl()

        def stop(progress: Progress, c: JobControl = control, at: str = message) -> None:
            if progress.message == at:
                c.stop()

        with pytest.raises(CancelledError):
            map_defects(made.scan(), PARAMETERS, control=control, on_progress=stop, **given)


def test_an_image_is_a_movie_of_one_frame(made: Made, tmp_path: Path) -> None:
    scan = made.scan()
    one = replace(scan, data=scan.data[0], axes=scan.axes[1:], kind="image")
    run = map_defects(one, PARAMETERS, device="cpu", finder=told(made))
    assert run.map.image_shape == (1, SIZE, SIZE)
    assert run.drift is None
    assert run.followed.transitions is None
    names = {path.name for path in write_defects(run, tmp_path)}
    assert {"defects.csv", "marked.png", "classes.png", "defects.h5", "summary.json"} <= names
    assert not {"tracks.csv", "space-time.png", "transitions.csv"} & names
    assert run.summary["frame_time_s"] is None


def test_frames_without_defects_or_without_data(made: Made, tmp_path: Path) -> None:
    class Nothing:
        def prepare(self, *_: Any) -> None:
            pass

        def frame(self, image: Any, number: int) -> Any:
            answer = told(made).frame(image, number)
            answer.finds = answer.finds.take(slice(0, 0))
            return answer

    run = map_defects(made.scan(), STILL, device="cpu", finder=Nothing())
    assert run.summary["defects"] == 0
    assert run.summary["per_nm2"][0] == 0
    assert run.summary["per_nm2"][2] > 0
    names = {path.name for path in write_defects(run, tmp_path)}
    assert {"defects.csv", "tracks.csv", "diffusion.json", "summary.json"} <= names
    assert (tmp_path / "defects.csv").read_text().count("\n") == 1
    frames = made.frames.copy()
    frames[3] = np.nan
    finder = told(made)
    gone = map_defects(replace(made, frames=frames).scan(), STILL, device="cpu", finder=finder)
    assert 3 not in finder.seen
    assert not len(gone.map.in_frame(3))
    assert any("not recorded (1 of 10 frames)" in line for line in gone.map.warnings)


def test_what_holds_no_images_is_refused(made: Made) -> None:
    from napari_diffmap.crystal.sample import sample_scan

    with pytest.raises(BadInputError, match="defects are found in images"):
        map_defects(sample_scan()[0])
    with pytest.raises(BadInputError, match="a pixel size of -1 nm is impossible"):
        calibrated(made.scan(), -1)
    with pytest.raises(BadInputError, match="a frame time of 0 s"):
        calibrated(made.scan(), None, 0)


def test_calibration_of_the_file_and_of_the_user(made: Made) -> None:
    scan = made.scan()
    movie = Movie(scan)
    assert (movie.pixel_size_nm, movie.frame_time_s) == (pytest.approx(PIXEL_NM), FRAME_S)
    assert Movie(calibrated(scan, 0.05, 7)).pixel_size_nm == pytest.approx(0.05)
    assert Movie(calibrated(scan, 0.05, 7)).frame_time_s == 7
    ms = replace(scan, axes=(Axis("time", FRAMES, 40.0, unit="ms"), *scan.axes[1:]))
    assert Movie(ms).frame_time_s == pytest.approx(0.04)
    wide = replace(scan, axes=(*scan.axes[:2], Axis("x", SIZE, 0.04, unit="nm")))
    assert "0.035 nm high and 0.04 nm wide" in Movie(wide).warnings[0]


# -------------------------------------------------------------- corrections


@pytest.fixture
def corrections(run: DefectsRun, made: Made) -> Corrections:
    """One track is none, one is renamed, a defect that flickers is filled in, one is moved."""
    mine = Corrections(run.map)
    tracks = run.map.tracks
    by_hand.discard(mine, np.flatnonzero(tracks == tracks[0]))
    by_hand.set_class(mine, np.flatnonzero(tracks == tracks[1]), mine.add_phase("V_S2", ""))
    last = made.places[:, -1]
    missing = [k for k in range(FRAMES) if k % 3]
    by_hand.add(mine, [(k, *last[k]) for k in missing], int(run.map.best_phase_ids[0, 6]))
    by_hand.move(mine, 2, made.places[0, 2] + 1.0)
    return mine


def test_corrected_finds_are_followed_again(
    run: DefectsRun, made: Made, corrections: Corrections
) -> None:
    before = run.map.ambiguity[0] == DefectDoubt.FLICKERS
    assert before.any(), "the last defect is seen in less than half of the frames"
    again = with_corrections(run, corrections)
    assert len(again.finds) == len(run.finds) - FRAMES + 6
    assert len(again.tracks) == len(run.tracks) - 1
    names = [again.map.phases[i].name for i in again.followed.track_class]
    assert names.count("V_S2") == 1
    assert again.summary["corrected"]["edits"] == 4
    assert again.summary["classes"]["V_S2"]["defects"] == FRAMES
    assert not (again.map.ambiguity[0] == DefectDoubt.FLICKERS).any(), "the gaps are filled"
    filled = again.map.tracks[run.map.filled[-1] + 1 :][:6]
    assert len(set(filled.tolist())) == 1
    assert filled[0] >= 0
    # Nothing of the run or of the corrections was changed by it.
    assert (run.map.ambiguity[0] == DefectDoubt.FLICKERS).sum() == before.sum()
    assert corrections.map.extra[EDITED].any()


def test_what_is_in_force_knows_its_site(run: DefectsRun, corrections: Corrections) -> None:
    found = corrections.map
    assert isinstance(found, DefectMap)
    now = finds_of(found, run.lattices)
    assert (np.diff(now.finds.frame) >= 0).all()
    assert now.by_hand.sum() == FRAMES + 6 + 1
    assert (now.finds.probability[now.by_hand] == 1).all()
    assert (now.finds.sublattice != OFF).all()
    added = now.slots > run.map.filled[-1]
    assert (now.finds.sublattice[added] == 0).all(), "dopants sit on the brighter sublattice"
    assert np.isnan(now.finds.ratio[added]).all()
    blind = finds_of(found)
    assert (blind.finds.sublattice[added] == OFF).all()


def test_following_again_without_corrections_changes_nothing(run: DefectsRun) -> None:
    again = follow_again(run, run.map)
    np.testing.assert_array_equal(again.map.tracks, run.map.tracks)
    np.testing.assert_array_equal(again.map.ambiguity, run.map.ambiguity)
    for field in dataclasses.fields(Finds):
        np.testing.assert_array_equal(
            getattr(again.finds, field.name), getattr(run.finds, field.name)
        )
    assert again.summary == run.summary


def test_corrections_are_repeated_on_another_run(
    run: DefectsRun, made: Made, corrections: Corrections, tmp_path: Path
) -> None:
    first, again = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    again.mkdir()
    files = keep_edits(corrections, first)
    same, _, warnings = corrected_run(run, files[0], again)
    assert not warnings
    wanted = with_corrections(run, corrections)
    np.testing.assert_array_equal(same.map.phase_ids, wanted.map.phase_ids)
    other = map_defects(made.scan(), PARAMETERS, device="cpu", finder=told(made, 9))
    carried, kept, warnings = corrected_run(other, files[0], again)
    assert not warnings
    assert {path.name for path in kept} == {"edits.jsonl", "answer.h5"}
    one, two = carried.summary["classes"], wanted.summary["classes"]
    assert {k: v["defects"] for k, v in one.items()} == {k: v["defects"] for k, v in two.items()}


# ------------------------------------------------------------------ results


@pytest.fixture(scope="module")
def folder(run: DefectsRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("results")
    written = write_defects(run, place)
    assert {path.name for path in written} == {path.name for path in place.iterdir()}
    return place


def test_the_folder_holds_everything(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    wanted = {"defects.csv", "tracks.csv", "diffusion.json", "transitions.csv", "summary.json",
              "defects.h5", "marked-0000.png", "marked-0004.png", "marked-0009.png",
              "classes.png", "space-time.png", "transitions.png", "displacement.png"}  # fmt: skip
    assert names == wanted
    for name in names:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert min(picture.size) > 200
                assert "Provenance" in picture.info  # type: ignore[operator]


def test_the_table_is_the_map(run: DefectsRun, folder: Path) -> None:
    rows = rows_of(folder / "defects.csv")
    assert list(rows[0])[:5] == ["frame", "y", "x", "class", "probability"]
    assert len(rows) == len(run.finds)
    for row in rows[::9]:
        slot = int(row["number"])
        frame, y, x = run.map.best_places[0, slot]
        assert int(row["frame"]) == frame
        assert float(row["y"]) == pytest.approx(y, abs=6e-4)
        assert float(row["x_nm"]) == pytest.approx(x * PIXEL_NM, abs=6e-5)
        assert row["class"] == run.map.phases[run.map.best_phase_ids[0, slot]].name
        assert int(row["track"]) == run.map.tracks[slot]
        assert float(row["probability"]) == pytest.approx(run.map.reliability[0, slot], rel=1e-3)
        assert row["edited"] == ""
    assert [int(row["frame"]) for row in rows] == sorted(int(row["frame"]) for row in rows)


def test_tracks_and_transitions_are_tables(run: DefectsRun, folder: Path) -> None:
    rows = rows_of(folder / "tracks.csv")
    assert len(rows) == len(run.tracks)
    assert sum(int(row["seen"]) for row in rows) == (run.map.tracks >= 0).sum()
    assert {row["D_unit"] for row in rows} <= {"nm²/s", ""}
    hopped = [row for row in rows if float(row["displacement_nm"]) > 0.2]
    assert len(hopped) == 2
    table = rows_of(folder / "transitions.csv")
    assert {row["of"] for row in table} == {
        "class", "class behind its confusion", "configuration",
    }  # fmt: skip
    used = {run.map.phases[i].name for i in run.map.best_phase_ids[0, run.slots]}
    seen = [row for row in table if row["of"] == "class"]
    assert len(seen) == len(used) ** 2 == 4
    assert sum(float(row["count"]) for row in seen) == len(run.finds) - len(run.tracks) - 3


def test_json_is_honest(run: DefectsRun, made: Made, folder: Path, tmp_path: Path) -> None:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    record = json.loads((folder / "summary.json").read_text("utf-8"), parse_constant=refuse)
    assert record["defects"] == len(run.finds)
    assert sum(one["defects"] for one in record["classes"].values()) == len(run.finds)
    low, high = record["per_nm2"][1:]
    assert low < record["per_nm2"][0] < high
    assert record["per_nm2"][0] == pytest.approx(
        len(run.finds) / FRAMES / (SIZE * PIXEL_NM) ** 2, rel=1e-6
    )
    assert sum(record["doubt"].values()) == pytest.approx(record["doubtful_fraction"])
    assert record["frames_per_second"] > 0
    assert record["versions"]["numpy"]
    moves = json.loads((folder / "diffusion.json").read_text("utf-8"), parse_constant=refuse)
    assert moves["calibrated"] is True
    assert moves["unit"] == "nm²/s"
    for name, mine in run.followed.diffusion.items():
        assert moves["classes"][name]["D"] == pytest.approx(mine.D_nm2_s)
    plain = map_defects(made.scan(calibrated=False), STILL, device="cpu", finder=told(made))
    write_defects(plain, tmp_path)
    moves = json.loads((tmp_path / "diffusion.json").read_text("utf-8"))
    assert moves["calibrated"] is False
    assert moves["unit"] == "pixel²/frame"
    assert "give the pixel size" in moves["note"]
    assert "nm" not in str(list(next(iter(moves["classes"].values()))))
    assert {row["y_nm"] for row in rows_of(tmp_path / "defects.csv")} == {""}
    assert {row["displacement_nm"] for row in rows_of(tmp_path / "tracks.csv")} == {""}


def test_the_file_opens_again_as_a_run(
    run: DefectsRun, made: Made, corrections: Corrections, tmp_path: Path
) -> None:
    save_run(run, corrections, tmp_path, None)
    found = load_map_h5(tmp_path / "defects.h5")
    assert isinstance(found, DefectMap)
    assert found.extra[EDITED].any()
    again = run_of(found, made.scan())
    wanted = with_corrections(run, corrections)
    np.testing.assert_array_equal(again.map.tracks, wanted.map.tracks)
    assert again.parameters == PARAMETERS
    assert again.followed.diffusion.keys() == wanted.followed.diffusion.keys()
    np.testing.assert_array_equal(again.drift, run.drift)  # type: ignore[arg-type]
    marked = {row["edited"] for row in rows_of(tmp_path / "defects.csv")}
    assert marked == {"", "phase set", "added", "moved"}
    assert (tmp_path / "edits.jsonl").is_file()
    assert (tmp_path / "answer.h5").is_file()
    whole, mine, warnings = load_run(tmp_path, made.scan())
    assert not warnings
    assert [edit.kind for edit in mine.done] == [edit.kind for edit in corrections.done]
    np.testing.assert_array_equal(mine.map.phase_ids, corrections.map.phase_ids)
    np.testing.assert_array_equal(whole.map.phase_ids, run.map.phase_ids)
    np.testing.assert_array_equal(whole.map.tracks, wanted.map.tracks)
    np.testing.assert_array_equal(mine.map.extra["track"], wanted.map.extra["track"])
    (tmp_path / "edits.jsonl").unlink()
    assert not load_run(tmp_path, made.scan())[1].done
    with pytest.raises(BadInputError, match="there is no map of defects"):
        load_run(tmp_path / "elsewhere", made.scan())
    with pytest.raises(BadInputError, match="is not what these defects were found in"):
        run_of(found, made.scan_of(made.frames[:, :100]))
    with pytest.raises(BadInputError, match="find them again"):
        run_of(found.replaced(provenance=type(found.provenance)()), made.scan())


def test_a_session_keeps_defects_and_their_corrections(
    made: Made, run: DefectsRun, corrections: Corrections, tmp_path: Path
) -> None:
    np.save(tmp_path / "movie.npy", made.frames)
    scan = open_scan(tmp_path / "movie.npy", kind="image series")
    folder = tmp_path / "movie.diffmap"
    recipe = recipe_of_defects(scan, PARAMETERS, options={"kind": "image series"}, frame_time_s=2)
    assert recipe is not None
    record = record_of(scan, {"kind": "image series"}, (), {})
    save_session(folder, record, corrections, recipe)
    saved = load_session(folder)
    assert saved.warnings == ()
    assert saved.corrections is not None
    for name in DefectMap.arrays:
        np.testing.assert_array_equal(
            getattr(saved.corrections.map, name), getattr(corrections.map, name), err_msg=name
        )
    assert [p.name for p in saved.corrections.map.phases][-1] == "V_S2"
    again = load_recipe(folder / "recipe.yaml")
    assert isinstance(again, DefectsRecipe)
    assert again.edits is not None
    images, parameters = prepared_defects(again, folder)
    assert parameters == PARAMETERS
    assert Movie(images).frame_time_s == 2
    with pytest.raises(BadInputError, match="the recipe's parameters: find"):
        prepared_defects(again.model_copy(update={"parameters": {"find": {"threshold": 7}}}))


def test_a_network_on_a_gpu_is_asked_one_at_a_time() -> None:
    inside, most = [0], [0]

    class Network:
        spacing = 8.0

        def predict(self, number: int) -> int:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            inside[0] -= 1
            return number

    network = OneAtATime(Network())
    assert network.spacing == 8.0
    assert list(in_order(network.predict, 20, 4, JobControl())) == list(range(20))
    assert most[0] == 1


def test_corrected_maps_are_exported(corrections: Corrections, tmp_path: Path) -> None:
    written = export_corrected(corrections, tmp_path, formats=("h5", "png", "tiff"))
    assert {path.name for path in written} == {"defects.h5", "defects.csv", "space-time.png"}
    with pytest.raises(BadInputError, match="no map of pixels"):
        export_corrected(corrections, tmp_path, formats=("ang",))


def test_density_has_the_interval_of_a_count() -> None:
    # Garwood's interval of a count of 10: 4.795 to 18.390.
    assert density(10, 2.0) == pytest.approx([5.0, 4.795389 / 2, 18.390356 / 2], rel=1e-5)
    assert density(0, 1.0)[:2] == [0.0, 0.0]
