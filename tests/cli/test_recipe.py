"""A recipe repeats a run to the last bit, here and on worker processes; a wrong one is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from napari_diffmap.cli import run
from napari_diffmap.crystal import sample
from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.maps.files.export import load_orientation_h5

ARRAYS = ("rotations", "scores", "phase_ids", "reliability", "ambiguity")


def no_window(*_files: object, **_options: object) -> None:
    raise AssertionError("no window is asked for")


def command(*words: object) -> int:
    return run([str(word) for word in words], no_window)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan, a CIF, and the map that ``orient`` made of them."""
    place = tmp_path_factory.mktemp("recipe")
    counts = sample.simulate_rows(sample.build_truth(), slice(46, 50))[:, 12:22]
    np.save(place / "scan.npy", counts.astype(np.uint16))
    shutil.copy(str(load_phase("LiNiO2").source), place / "mine.cif")
    status = command(
        "orient", place / "scan.npy", "--kind", "4D-STEM", "--phase", place / "mine.cif",
        "--phase", "NiO", "--voltage", sample.VOLTAGE_KV, "--pixel-size", sample.PIXEL_SIZE,
        "--set", "zone_step_deg=6", "--set", "intensities=dynamical", "--out", place / "map",
    )  # fmt: skip
    assert status == 0
    return place


def maps(out: Path) -> dict[str, np.ndarray]:
    found = load_orientation_h5(out / "orientation.h5")
    return {name: getattr(found, name) for name in ARRAYS}


@pytest.mark.parametrize("where", [[], ["--scheduler", "local:2"]])
def test_the_same_map_bit_for_bit(folder: Path, where: list[str], tmp_path: Path) -> None:
    assert command("run", folder / "map" / "recipe.yaml", "--out", tmp_path / "again", *where) == 0
    first, again = maps(folder / "map"), maps(tmp_path / "again")
    for name in ARRAYS:
        np.testing.assert_array_equal(first[name], again[name], err_msg=name)
    one, two = (yaml.safe_load((p / "recipe.yaml").read_text("utf-8")) for p in
                (folder / "map", tmp_path / "again"))  # fmt: skip
    assert one == two
    assert one["phases"][1] == {"source": "NiO", "sha256": None}
    summary = json.loads((tmp_path / "again" / "summary.json").read_text("utf-8"))
    assert ("2 workers at local:2" in summary["device"]) is bool(where)


def test_files_that_moved_along_are_found(folder: Path, tmp_path: Path) -> None:
    for name in ("scan.npy", "mine.cif"):
        shutil.copy(folder / name, tmp_path / name)
    record = yaml.safe_load((folder / "map" / "recipe.yaml").read_text("utf-8"))
    record["file"] = "/another/machine/scan.npy"
    record["phases"][0]["source"] = "/another/machine/mine.cif"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(record), "utf-8")
    assert command("run", tmp_path / "recipe.yaml") == 0
    np.testing.assert_array_equal(maps(tmp_path)["rotations"], maps(folder / "map")["rotations"])


def changed(record: dict[str, Any], change: str) -> Any:
    if change == "version":
        record["napari-diffmap recipe"] = 2
    elif change == "parameter":
        record["parameters"]["zone_step_deg"] = 99
    elif change == "entry":
        record["colour"] = "red"
    elif change == "scan":
        record["file"] = "/nowhere/scan.npy"
    elif change == "cif":
        record["phases"][0]["sha256"] = "0" * 64
    elif change == "list":
        return [1, 2]
    return record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("version", "recipe.yaml: napari-diffmap recipe: input should be 1"),
        ("parameter", "zone_step_deg"),
        ("entry", "colour"),
        ("scan", "no such file in nowhere"),
        ("cif", "is not what it was when the recipe was written"),
        ("list", "is no recipe"),
    ],
)
def test_a_wrong_recipe_is_one_line(
    folder: Path, change: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = yaml.safe_load((folder / "map" / "recipe.yaml").read_text("utf-8"))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(changed(record, change)), "utf-8")
    assert command("run", tmp_path / "recipe.yaml", "--out", tmp_path / "out") == 2
    text = capsys.readouterr().err.strip()
    assert said in text
    assert len(text.splitlines()) == 1
    assert not (tmp_path / "out").exists()
