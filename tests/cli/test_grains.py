"""``grains``: tables, maps, summary and complaints."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from orix.quaternion import Rotation

from napari_diffmap.cli import run
from napari_diffmap.maps import OrientationMap, csl_laws, save_orientation_h5
from napari_diffmap.maps.phases import file_phase

FILES = {f"{name}.{kind}" for name in ("grains", "boundaries") for kind in ("csv", "parquet")} | {
    "grains.tif",
    "kam.tif",
    "grod.tif",
}


def command(*arguments: object) -> int:
    return run([str(argument) for argument in arguments], lambda *_, **__: None)


@pytest.fixture
def twinned(tmp_path):
    """A parent with a twin lamella, another grain, and a lone wrong pixel; 2 nm a pixel."""
    base = np.array((0.31, 0.22, -0.57, 0.73))
    base /= np.linalg.norm(base)
    twin = (Rotation(csl_laws(3)[0].rotation) * Rotation(base)).data[0]
    other = (Rotation.from_axes_angles((1, 2, 5), 0.6) * Rotation(base)).data[0]
    q = np.empty((12, 20, 1, 4))
    q[:] = base
    q[:, 5:8, 0] = twin
    q[:, 14:, 0] = other
    q[6, 17, 0] = twin
    ones = np.ones((12, 20))
    found = OrientationMap(
        rotations=q,
        scores=ones[..., None],
        phase_ids=0 * ones[..., None],
        reliability=ones,
        ambiguity=0 * ones,
        phases=(file_phase("copper", (3.61,) * 3 + (90,) * 3, "m-3m", 0),),
        step=(2.0, 2.0),
        step_unit="nm",
    )
    path = tmp_path / "map.h5"
    save_orientation_h5(found, path)
    return path


def test_tables_maps_and_one_line(twinned, tmp_path, capsys):
    out = tmp_path / "new" / "grains"
    assert command("grains", twinned, "--out", out) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.out.startswith("4 grains in ")
    assert "copper: 4 of " in captured.out
    assert {path.name for path in out.iterdir()} == FILES
    grains = pd.read_csv(out / "grains.csv")
    labels = tifffile.imread(out / "grains.tif")
    np.testing.assert_array_equal(grains["size (pixel)"], np.bincount(labels.ravel())[1:])
    assert (labels == 0).sum() == 1  # the lone pixel
    boundaries = pd.read_csv(out / "boundaries.csv")
    assert boundaries["law"].fillna("").tolist() == ["Σ3", "Σ3", ""]
    np.testing.assert_allclose(boundaries["length (nm)"], 24)
    for name in ("kam.tif", "grod.tif"):
        with tifffile.TiffFile(out / name) as file:
            assert file.asarray().dtype == np.float32
            assert file.imagej_metadata["unit"] == "nm"
            assert json.loads(file.imagej_metadata["provenance"])["parameters"]["grains"]
    assert np.isnan(tifffile.imread(out / "grod.tif")[6, 17])


def test_json_and_merged_twins(twinned, tmp_path, capsys):
    out = tmp_path / "out"
    assert command("grains", twinned, "--out", out, "--merge-twins", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["grains"] == 4
    assert record["parents"] == 2
    assert record["twin_fraction"] == pytest.approx(2 / 3)
    assert record["laws"] == [
        {"law": "Σ3", "phase": "copper", "length": 48.0, "share": pytest.approx(2 / 3),
         "vanishing": 0.0},
    ]  # fmt: skip
    assert set(record["files"]) == FILES | {"parents.csv", "parents.parquet"}
    assert pd.read_parquet(out / "grains.parquet")["parent"].tolist() == [1, 1, 1, 2]
    assert len(pd.read_csv(out / "parents.csv")) == 2


def test_settings_reach_the_calculation(twinned, tmp_path, capsys):
    arguments = ("--threshold", 4, "--min-size", 1, "--kam-order", 2, "--json")
    assert command("grains", twinned, "--out", tmp_path / "o", *arguments) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"] == {
        "threshold": 4.0, "min_size": 1, "kam_order": 2, "kam_limit": 5.0, "merge_twins": False,
    }  # fmt: skip
    assert record["grains"] == 5  # the lone pixel is one


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.ang"], "there is no file"),
        (["{map}", "--threshold", "0"], "--threshold"),
        (["{map}", "--threshold", "180"], "--threshold"),
        (["{map}", "--min-size", "0"], "--min-size"),
        (["{map}", "--min-size", "9999"], "lower the smallest size"),
        (["{map}", "--kam-order", "11"], "--kam-order"),
        (["{text}"], "no orientation map"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(arguments, says, twinned, tmp_path, capsys):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    filled = [argument.format(map=twinned, text=text) for argument in arguments]
    assert command("grains", *filled, "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    complaint = captured.err.strip().splitlines()[-1]
    assert complaint.startswith("napari-diffmap: ")
    assert says in complaint
    assert not (tmp_path / "out").exists()


def test_a_map_without_answers(twinned, tmp_path, capsys):
    from napari_diffmap.maps import load_map

    found = load_map(twinned)
    empty = found.replaced(phase_ids=np.full(found.phase_ids.shape, -1))
    save_orientation_h5(empty, tmp_path / "empty.h5")
    assert command("grains", tmp_path / "empty.h5", "--out", tmp_path / "out") == 2
    assert "no position of this map has an answer" in capsys.readouterr().err


def test_an_output_that_is_a_file(twinned, tmp_path, capsys):
    assert command("grains", twinned, "--out", twinned) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_measured_duplex_steel(shared_data, tmp_path, capsys):
    file = shared_data / "maps" / "duplex_steel_ang" / "sdss_ferrite_austenite.ang"
    assert command("grains", file, "--out", tmp_path, "--merge-twins", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    austenite, ferrite = record["phases"]
    assert austenite["twin_fraction"] > 0.55 > 0.15 > ferrite["twin_fraction"]
    assert 100 < record["grains"] < 150
    assert 60 < record["parents"] < 100
    grains = pd.read_csv(tmp_path / "grains.csv")
    assert len(grains) == record["grains"]
    boundaries = pd.read_parquet(tmp_path / "boundaries.parquet")
    twins = boundaries[boundaries["law"] == "Σ3"]
    assert twins["mean_disorientation"].between(58, 60.1).mean() > 0.8
    assert boundaries[boundaries["class"] == "phase boundary"]["mean_disorientation"].isna().all()
