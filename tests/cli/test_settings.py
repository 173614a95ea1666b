"""``--set`` and its table: no silent override of another option, no wrong value."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_diffmap.cli import run
from napari_diffmap.cli.settings import OWN_OPTIONS, parameter_table, parse_settings, settable
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import AMBIGUITY
from napari_diffmap.methods.orientation.parameters import GIVEN_ELSEWHERE, OrientationParameters

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("voltage_kv=60", "--set voltage_kv=60: give it with --voltage"),
        ("pixel_size=0.01", "--pixel-size"),
        ("center=[3,3]", "--center"),
        ("phases=Si", "--phase"),
        ("n_best=0", "--set n_best: give a whole number from 1 to 10, not 0"),
        ("n_best=2.5", "a whole number from 1 to 10, not 2.5"),
        ("zone_step_deg=fine", "give a number from 0.5 to 10 degree, not fine"),
        ("zone_step_deg=NaN", "a number from 0.5 to 10 degree"),
        ("q_max=0", "a number above 0, at most 10 1/Å, or null for automatic, not 0"),
        ("descan=often", "one of plane, pattern, none, not often"),
        ("refine=perhaps", "true or false, not perhaps"),
        ("q_max=0.05", "the outer limit 0.05 1/Å must lie beyond the inner 0.1 1/Å"),
        ("q_max", "NAME=VALUE"),
    ],
)
def test_what_cannot_be_set_is_said_in_plain_words(setting, says):
    with pytest.raises(BadInputError) as caught:
        parse_settings((setting,))
    line = str(caught.value)
    assert says in line
    assert "Input should" not in line
    assert "Value error" not in line


def test_what_can_be_set_is_set():
    found = parse_settings(("zone_step_deg=2", "q_max=null", "background=none", "refine=false"))
    assert found == OrientationParameters(
        zone_step_deg=2, q_max=None, background="none", refine=False
    )


def test_an_unknown_name_lists_what_can_be_set():
    with pytest.raises(BadInputError) as caught:
        parse_settings(("nonsense=1",))
    listed = str(caught.value).partition("NAME of ")[2].split(", ")
    assert set(listed) == OrientationParameters.model_fields.keys() - GIVEN_ELSEWHERE
    assert OWN_OPTIONS.keys() == GIVEN_ELSEWHERE


def test_the_documentation_has_the_table_of_the_model():
    table = parameter_table()
    assert table.count("\n") == 2 + len(dict(settable()))
    documented = DOCS.read_text("utf-8")
    assert table in documented, "put this into docs/cli.md:\n" + table
    for code, name in AMBIGUITY.items():
        assert f"\n| {int(code)} | {name} |\n" in documented


@pytest.fixture
def sample_file(tmp_path):
    """A corner of the bundled scan, calibrated by its own header."""
    from dataclasses import replace

    from napari_diffmap.crystal.sample import sample_scan
    from napari_diffmap.scan.open import save_scan

    scan, _ = sample_scan()
    axes = (replace(scan.axes[0], size=6), replace(scan.axes[1], size=6), *scan.axes[2:])
    save_scan(replace(scan, data=scan.data[46:52, 12:18], axes=axes), tmp_path / "corner.hspy")
    return tmp_path / "corner.hspy"


def test_the_summary_holds_what_was_used(sample_file, tmp_path, capsys):
    out = tmp_path / "out"
    status = run(
        ["orient", str(sample_file), "--phase", "NiO", "--voltage", "300", "--pixel-size", "0.02",
         "--center", "63,64", "--set", "zone_step_deg=6", "--set", "descan=none",
         "--device", "cpu", "--out", str(out), "--json"],
        lambda *_, **__: None,
    )  # fmt: skip
    assert status == 0
    printed = json.loads(capsys.readouterr().out)
    record = json.loads((out / "summary.json").read_text("utf-8"))
    for used in (printed["used"], record["used"]):
        assert used["voltage_kv"] == 300
        assert used["pixel_size"] == 0.02
        assert used["beam_plane"][0] == pytest.approx([63, 64])
    assert "300 kV (entered)" in record["calibration"]
    documented = DOCS.read_text("utf-8")
    assert [path.name for path in out.iterdir() if f"`{path.name}`" not in documented] == []
    numbers = np.unique(tifffile.imread(out / "phase.tif"))
    assert numbers[np.isfinite(numbers)].tolist() == [0], "one phase, counted from 0"
    rows = (out / "orientation.ang").read_text("utf-8").splitlines()
    assert {row.split()[7] for row in rows if row and row[0] != "#"} <= {"0", "1"}


@pytest.mark.parametrize(
    "extra",
    [
        ["--phase", "Unobtainium"],
        ["--phase", "Si", "--set", "n_best=0"],
        ["--phase", "Si", "--voltage", "1e9"],
        ["--phase", "Si", "--device", "abacus"],
        ["--phase", "Si", "--set", "q_min=4.9"],
    ],
)
def test_a_refused_run_leaves_no_folder(extra, sample_file, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    arguments = ["orient", str(sample_file), "--out", str(out), *extra]
    assert run(arguments, lambda *_, **__: None) == 2
    assert not (tmp_path / "deep").exists()
    out.mkdir(parents=True)
    assert run(arguments, lambda *_, **__: None) == 2
    assert out.is_dir(), "a folder that was there stays"
    assert not list(out.iterdir())


def test_a_stopped_run_with_json_says_what_it_wrote(sample_file, tmp_path, monkeypatch, capsys):
    """Ctrl-C after the first positions."""
    import signal

    from napari_diffmap.cli.terminal import ProgressLine

    def press(_self, progress):
        if progress.message == "mapping" and progress.done:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ProgressLine, "__call__", press)
    out = tmp_path / "out"
    arguments = ["orient", str(sample_file), "--phase", "NiO", "--device", "cpu"]
    arguments += ["--set", "zone_step_deg=6", "--out", str(out), "--json"]
    assert run(arguments, lambda *_, **__: None) == 1
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert not record["complete"]
    assert 0 < record["patterns"] < 36
    # What --resume goes on from stays beside the results.
    assert {path.name for path in out.iterdir()} == {*record["files"], "unfinished"}
    assert captured.err.strip().splitlines()[-1].startswith("napari-diffmap: stopped")
