"""``defects`` on the command line: what it writes, repeats and refuses."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from napari_diffmap.cli import run
from napari_diffmap.maps import DefectMap
from napari_diffmap.maps.edits import defect_edits as by_hand
from napari_diffmap.maps.edits.corrections import Corrections
from napari_diffmap.maps.edits.edit import EDITED
from napari_diffmap.maps.edits.log import save_log
from napari_diffmap.maps.files.own_h5 import load_map_h5, save_map_h5

FRAMES = 5


def no_window(*_files: object, **_options: object) -> None:
    raise AssertionError("no window is asked for")


def command(*words: object) -> int:
    return run([str(word) for word in words], no_window)


def told(capsys: Any) -> str:
    """The one line of the error, below what is said of the file."""
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if not line.startswith("warning: ")]
    assert len(errors) == 1, errors
    return str(errors[0])


@pytest.fixture(scope="module")
def place(defect_movie: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A movie of WS2, its first frame, and a file that holds no images."""
    folder = tmp_path_factory.mktemp("defects")
    frames = defect_movie.make_movie().frames.astype(np.uint16)
    np.save(folder / "movie.npy", frames[:FRAMES])
    np.save(folder / "image.npy", frames[0])
    np.save(folder / "patterns.npy", np.ones((4, 4, 16, 16), dtype=np.uint16))
    return folder


def defects(place: Path, out: Path, *more: object, file: str = "movie.npy") -> int:
    kind = "image" if file == "image.npy" else "image series"
    return command(
        "defects", place / file, "--kind", kind, "--model", "sites", "--material", "WS2",
        "--device", "cpu", "--out", out, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def mapped(place: Path) -> Path:
    assert defects(place, place / "map", "--pixel-size", "0.035", "--frame-time", "2") == 0
    return place / "map"


def loaded(folder: Path) -> DefectMap:
    found = load_map_h5(folder / "defects.h5")
    assert isinstance(found, DefectMap)
    return found


def test_the_folder_holds_what_was_planted(mapped: Path, defect_movie: Any) -> None:
    names = {path.name for path in mapped.iterdir()}
    assert {"defects.csv", "tracks.csv", "diffusion.json", "transitions.csv", "summary.json",
            "defects.h5", "recipe.yaml", "marked-0000.png", "classes.png"} <= names  # fmt: skip
    truth = defect_movie.make_movie()
    with (mapped / "defects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for frame in range(FRAMES):
        mine = [row for row in rows if int(row["frame"]) == frame]
        places = np.array([(float(row["y"]), float(row["x"])) for row in mine])
        for place in truth.places[frame]:
            gaps = np.hypot(*(places - place).T)
            assert gaps.min() < 1.5, "each planted defect is found"
        # On sites there is next to nothing else; a field of 20 cells leaves some beside them.
        assert sum(row["sublattice"] != "" for row in mine) <= len(truth.names) + 1
    assert json.loads((mapped / "diffusion.json").read_text("utf-8"))["unit"] == "nm²/s"


def test_one_line_or_json(place: Path, tmp_path: Path, capsys: Any) -> None:
    assert defects(place, tmp_path / "a", file="image.npy") == 0
    line = capsys.readouterr().out.strip()
    assert len(line.splitlines()) == 1
    assert "defects in 1 image" in line
    more = ("--json", "--threshold", "0.6", "--set", "gap=1", "--set", "crop=3")
    assert defects(place, tmp_path / "b", *more, file="image.npy") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["out"] == str(tmp_path / "b")
    assert record["threshold"] == 0.6
    assert record["per_nm2"] is None, "no number where there is no calibration"
    assert "defects.csv" in record["files"]
    recipe = yaml.safe_load((tmp_path / "b" / "recipe.yaml").read_text("utf-8"))
    assert recipe["parameters"]["follow"]["gap"] == 1
    assert recipe["parameters"]["sort"]["crop"] == 3


def test_a_recipe_repeats_it_bit_for_bit(mapped: Path, tmp_path: Path) -> None:
    assert command("run", mapped / "recipe.yaml", "--out", tmp_path, "--device", "cpu") == 0
    one, two = loaded(mapped), loaded(tmp_path)
    for name in one.arrays:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    for name in ("defects.csv", "tracks.csv", "diffusion.json", "transitions.csv"):
        assert (mapped / name).read_bytes() == (tmp_path / name).read_bytes(), name
    recipes = [yaml.safe_load((p / "recipe.yaml").read_text("utf-8")) for p in (mapped, tmp_path)]
    assert recipes[0] == recipes[1]


def test_corrections_come_on_top_and_are_repeated(
    place: Path, mapped: Path, tmp_path: Path
) -> None:
    found = loaded(mapped)
    mine = Corrections(found)
    by_hand.discard(mine, np.flatnonzero(found.tracks == 0))
    by_hand.set_class(mine, np.flatnonzero(found.tracks == 1), mine.add_phase("Se on S", ""))
    save_map_h5(found, tmp_path / "answer.h5")
    edits = save_log(mine, tmp_path / "edits.jsonl")
    options = ("--pixel-size", "0.035", "--frame-time", "2", "--edits", edits)
    assert defects(place, tmp_path / "out", *options) == 0
    again = loaded(tmp_path / "out")
    assert again.extra[EDITED].any()
    assert {phase.name for phase in again.phases} >= {"Se on S"}
    assert len(again.filled) < len(found.filled)
    assert command("run", tmp_path / "out" / "recipe.yaml", "--out", tmp_path / "third") == 0
    third = loaded(tmp_path / "third")
    for name in again.arrays:
        np.testing.assert_array_equal(getattr(again, name), getattr(third, name), err_msg=name)
    record = json.loads((tmp_path / "third" / "summary.json").read_text("utf-8"))
    assert record["corrected"]["edits"] == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--by", "guess"], "guess"),
        (["--pixel-size", "0"], "a pixel size of 0 nm is impossible"),
        (["--pixel-size", "small"], "small"),
        (["--frame-time", "-2"], "a frame time of -2 s"),
        (["--threshold", "2"], "--threshold"),
        (["--set", "reach=0"], "--set reach"),
        (["--set", "model=sites"], "give it with --model"),
        (["--set", "by=sites"], "give it with --by"),
        (["--set", "nonsense=1"], "give NAME=VALUE with a NAME of classes, crop, drift"),
        (["--set", "gap"], "give NAME=VALUE"),
        (["--edits", "/not/there.jsonl"], "no such record of corrections"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_bad_input_is_one_line(
    place: Path, tmp_path: Path, capsys: Any, more: list[str], said: str
) -> None:
    out = tmp_path / "out"
    assert defects(place, out, *more) == 2
    assert said in told(capsys)
    assert not out.exists()


def test_what_holds_no_images_is_refused(place: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    trials = [
        (["defects", place / "patterns.npy", "--out", out], "defects are found in images"),
        (["defects", place / "gone.npy", "--out", out], "gone.npy"),
        (["run", place / "map" / "recipe.yaml", "--out", out, "--resume"], "leave --scheduler"),
    ]
    for words, said in trials:
        assert command(*words) == 2
        assert said in told(capsys)
        assert not out.exists()


def test_ctrl_c_leaves_no_half_files(
    place: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_diffmap.methods.defects.find import Finder

    prepare = Finder.prepare

    def interrupted(*given: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return prepare(*given, **options)

    monkeypatch.setattr(Finder, "prepare", interrupted)
    out = tmp_path / "out"
    assert defects(place, out) in (1, 130)
    text = capsys.readouterr().err.strip()
    assert "stopped" in text
    assert "Traceback" not in text
    assert not out.exists() or not any(out.iterdir())
