"""``compare``: two maps of one scan."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_diffmap.cli import run
from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.maps import OrientationMap, save_orientation_h5


def command(*arguments: object) -> int:
    return run([str(argument) for argument in arguments], lambda *_, **__: None)


@pytest.fixture
def maps(tmp_path):
    """A map in a folder of results, and a file of the same with one answer turned by 90°."""
    rotations = np.zeros((4, 5, 1, 4))
    rotations[..., 0] = 1
    found = OrientationMap(
        rotations=rotations,
        scores=np.ones((4, 5, 1)),
        phase_ids=np.zeros((4, 5, 1)),
        reliability=np.ones((4, 5)),
        ambiguity=np.zeros((4, 5)),
        phases=load_phases(["LiNiO2"]),
    )
    folder = tmp_path / "templates"
    folder.mkdir()
    save_orientation_h5(found, folder / "orientation.h5")
    rotations = rotations.copy()
    rotations[1, 2, 0] = np.sqrt(0.5), np.sqrt(0.5), 0, 0
    save_orientation_h5(replace(found, rotations=rotations), tmp_path / "network.h5")
    return folder, tmp_path / "network.h5"


def test_one_line_a_picture_and_a_record(maps, tmp_path, capsys):
    out = tmp_path / "new" / "compared"
    assert command("compare", *maps, "--out", out) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "95.0 % of 20 positions agree" in said
    record = json.loads((out / "comparison.json").read_text())
    assert (record["first"], record["second"]) == ("templates", "network")
    assert record["orientations_differ"] == pytest.approx(0.05)
    assert (out / "side-by-side.png").stat().st_size > 5000


def test_names_and_json(maps, tmp_path, capsys):
    names = ("--names", "one", "two")
    assert command("compare", *maps, "--out", tmp_path / "c", *names, "--json") == 0
    assert json.loads(capsys.readouterr().out)["second"] == "two"


def test_what_is_no_map_is_one_line(maps, tmp_path, capsys):
    assert command("compare", maps[0], tmp_path / "gone.h5", "--out", tmp_path / "c") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "c").exists()
