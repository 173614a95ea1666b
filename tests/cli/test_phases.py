"""``phases`` on the command line: what it writes, repeats and refuses."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from napari_diffmap.cli import run
from napari_diffmap.maps.files.own_h5 import load_map_h5
from napari_diffmap.methods.spectra.simulated import simulated_references, simulated_scan

ARRAYS = ("phase_ids", "scores", "reliability", "ambiguity", "fractions", "fraction_errors")


def no_window(*_files: object, **_options: object) -> None:
    raise AssertionError("no window is asked for")


def command(*words: object) -> int:
    return run([str(word) for word in words], no_window)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack with its list of energies, and the five references."""
    folder = tmp_path_factory.mktemp("phases")
    scan, _ = simulated_scan(12, 2000, (40, 40), 1)
    np.save(folder / "stack.npy", scan.data.compute().astype(np.uint16))
    np.savetxt(folder / "stack_energies.txt", scan.axes[0].coordinates)
    for i, r in enumerate(simulated_references()):
        np.savetxt(folder / f"ref{i}.txt", np.stack((r.energies, r.values), 1))
    np.savetxt(folder / "i0.txt", [[500.0, 2000.0], [560.0, 1900.0]])
    (folder / "iron.txt").write_text("700 0.1\n710 0.9\n720 0.5\n")
    np.save(folder / "patterns.npy", np.ones((4, 4, 16, 16), dtype=np.uint16))
    return folder


def told(capsys: Any) -> str:
    """The one line of the error, below what is said of the file."""
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if not line.startswith("warning: ")]
    assert len(errors) == 1, errors
    return str(errors[0])


def references(place: Path, n: int = 5) -> list[str]:
    words: list[str] = []
    for i, r in enumerate(simulated_references()[:n]):
        words += ["--reference", f"{r.name}:{r.composition}={place / f'ref{i}.txt'}"]
    return words


def phases(place: Path, out: Path, *more: object, n: int = 5, file: str = "stack.npy") -> int:
    return command(
        "phases", place / file, "--kind", "STXM", *references(place, n), "--device", "cpu",
        "--out", out, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def mapped(place: Path) -> Path:
    assert phases(place, place / "map") == 0
    return place / "map"


def test_the_folder_holds_everything(mapped: Path) -> None:
    names = {path.name for path in mapped.iterdir()}
    assert {"phases.tif", "fractions.tif", "doubt.tif", "composition.tif", "phases.png",
            "fractions.png", "doubt.png", "spectra.csv", "summary.json", "phases.h5",
            "recipe.yaml"} <= names  # fmt: skip
    found = load_map_h5(mapped / "phases.h5")
    said = tifffile.imread(mapped / "phases.tif")
    np.testing.assert_array_equal(said, found.best_phase_ids + 1)
    assert said.min() == 0
    assert [phase.name for phase in found.phases] == [r.name for r in simulated_references()]
    assert tifffile.imread(mapped / "fractions.tif").shape == (5, 40, 40)
    assert set(np.unique(tifffile.imread(mapped / "doubt.tif"))) <= {0, 1, 2, 3}


def test_one_line_or_json(place: Path, tmp_path: Path, capsys: Any) -> None:
    quick = ("--set", "compare=false", "--set", "calibrate=false")
    assert phases(place, tmp_path / "a", *quick) == 0
    line = capsys.readouterr().out.strip()
    assert len(line.splitlines()) == 1
    assert "pixels in" in line
    assert "in doubt" in line
    assert phases(place, tmp_path / "b", *quick, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["method"] == "posterior"
    assert record["out"] == str(tmp_path / "b")
    assert "phases.tif" in record["files"]


def test_a_recipe_repeats_it_bit_for_bit(mapped: Path, tmp_path: Path) -> None:
    assert command("run", mapped / "recipe.yaml", "--out", tmp_path, "--device", "cpu") == 0
    one, two = (load_map_h5(folder / "phases.h5") for folder in (mapped, tmp_path))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    for name in ("phases.tif", "fractions.tif", "doubt.tif", "composition.tif"):
        np.testing.assert_array_equal(
            tifffile.imread(mapped / name), tifffile.imread(tmp_path / name), err_msg=name
        )
    assert (mapped / "spectra.csv").read_bytes() == (tmp_path / "spectra.csv").read_bytes()
    recipes = [yaml.safe_load((p / "recipe.yaml").read_text("utf-8")) for p in (mapped, tmp_path)]
    assert recipes[0] == recipes[1]


def test_a_recipe_of_phases_needs_no_cluster(mapped: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert command("run", mapped / "recipe.yaml", "--out", out, "--scheduler", "local:1") == 2
    assert "leave --scheduler" in capsys.readouterr().err
    assert not out.exists()


def test_some_energies_and_a_region_for_i0(place: Path, tmp_path: Path) -> None:
    more = ("--energies", "508,517.3,519.6,524", "--i0-region", "0,0,2,40", "--method", "pearson")
    assert phases(place, tmp_path / "out", *more, "--set", "compare=false") == 0
    record = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert len(record["energies"]) == 4
    assert record["incident"] == "region 0,0,2,40"
    assert record["method"] == "pearson"
    table = np.genfromtxt(tmp_path / "out" / "spectra.csv", delimiter=",", names=True)
    counts = np.load(place / "stack.npy")[:, :2].mean(axis=(1, 2))
    np.testing.assert_allclose(table["I0"], counts, rtol=1e-5)
    recipe = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text("utf-8"))
    assert recipe["incident"]["region"] == [0, 0, 2, 40]
    assert recipe["parameters"]["energies"] == [508.0, 517.3, 519.6, 524.0]
    assert command("run", tmp_path / "out" / "recipe.yaml", "--out", tmp_path / "again") == 0
    one, two = (load_map_h5(tmp_path / name / "phases.h5") for name in ("out", "again"))
    np.testing.assert_array_equal(one.phase_ids, two.phase_ids)


def test_i0_from_a_file_and_a_mask(place: Path, tmp_path: Path) -> None:
    mask = np.zeros((40, 40), dtype=np.uint8)
    mask[15:25] = 1
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    more = ("--i0", place / "i0.txt", "--mask", tmp_path / "mask.tif", "--set", "compare=false")
    assert phases(place, tmp_path / "out", *more) == 0
    found = load_map_h5(tmp_path / "out" / "phases.h5")
    inside = found.indexed & (mask > 0)
    assert inside.any()
    assert (found.ambiguity[inside] == 5).all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--method", "guess"], "guess"),
        (["--energies", "517,900"], "energies 900 eV were not measured"),
        (["--energies", "517,abc"], "give energies in eV between commas"),
        (["--energies", "517"], "--energies: two different energies"),
        (["--i0-region", "60,0,80,9"], "holds no pixel of 40 × 40"),
        (["--i0-region", "1,2,3"], "Y0,X0,Y1,X1"),
        (["--i0", "/not/there.txt"], "does not exist"),
        (["--i0", "PLACE/i0.txt", "--optical-density"], "give one of"),
        (["--mask", "/not/there.tif"], "does not exist"),
        (["--reference", "other=/not/there.txt"], "does not exist"),
        (["--reference", "nonsense"], "NAME=FILE"),
        (["--reference", "iron=PLACE/iron.txt"], "covers 700 to 720 eV, the scan"),
        (["--reference", "Na3=PLACE/ref0.txt"], "names of their own"),
        (["--set", "certainty=2"], "--set certainty"),
        (["--set", "method=nnls"], "give it with --method"),
        (["--set", "threshold=9"], "no pixel belongs to the sample"),
    ],
)
def test_bad_input_is_one_line(
    place: Path, tmp_path: Path, capsys: Any, more: list[str], said: str
) -> None:
    out = tmp_path / "out"
    words = [word.replace("PLACE", str(place)) for word in more]
    assert phases(place, out, *words) == 2
    assert said in told(capsys)
    assert not out.exists()


def test_one_reference_and_files_that_are_no_stack(
    place: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    one = references(place, 1)
    trials = [
        (["phases", place / "stack.npy", "--kind", "STXM", *one, "--out", out], "two references"),
        (["phases", place / "gone.npy", *references(place), "--out", out], "gone.npy"),
        (
            ["phases", place / "patterns.npy", *references(place), "--out", out],
            "images over energy",
        ),
        (["phases", place / "stack.npy", "--kind", "STXM", "--out", out], "reference"),
    ]
    for words, said in trials:
        assert command(*words) == 2
        assert said in told(capsys)
        assert not out.exists()


def test_ctrl_c_leaves_no_half_files(
    place: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_diffmap.methods.spectra import telling

    told = telling._TELLERS["pearson"]

    def interrupted(*given: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return told(*given, **options)

    monkeypatch.setitem(telling._TELLERS, "pearson", interrupted)
    out = tmp_path / "out"
    assert phases(place, out) in (1, 130)
    text = capsys.readouterr().err.strip()
    assert "stopped" in text
    assert "Traceback" not in text
    assert not out.exists() or not any(out.iterdir())
