"""``models``: what is listed, shown, added and removed, and the complaints."""

from __future__ import annotations

import json

import pytest
import torch

from napari_diffmap.cli import run
from napari_diffmap.models import registry
from napari_diffmap.models.card import ModelCard, NetworkSpec, PhaseNote
from napari_diffmap.models.weights import write_model

CELL = (4.177, 4.177, 4.177, 90, 90, 90)
RECORD = {
    "name": "nickel",
    "title": "Nickel and its oxide",
    "version": "2",
    "task": "phase",
    "network": NetworkSpec(family="resnet"),
    "phases": tuple(PhaseNote(name=name, space_group=225, cell=CELL) for name in ("Ni", "NiO")),
    "voltage_kv": (200, 300),
    "thickness_nm": (5, 60),
    "precession_deg": (0, 1),
    "dose": (300, 1e5),
    "q_min": 0.1,
    "q_max": 1.2,
    "pixel_size": (0.008, 0.02),
    "trained_on": "simulated",
    "recipe": "steps: 100",
    "seed": 3,
    "patterns_seen": 1000,
    "trained_seconds": 60.0,
    "trained_device": "cpu",
    "date": "2026-11-22",
    "project_version": "0.1.0",
    "licence": "CC-BY-4.0",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """No model is shipped, and none is added yet."""
    monkeypatch.setattr(registry, "shipped_folder", lambda: tmp_path / "shipped")
    monkeypatch.setenv(registry.FOLDER_VARIABLE, str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture
def file(tmp_path):
    """A model file of 1.2 MB."""
    path = tmp_path / "download.safetensors"
    write_model(path, {"w": torch.zeros(300_000)}, ModelCard(**RECORD))
    return path


def command(*arguments: object) -> int:
    return run(["models", *map(str, arguments)], lambda *_, **__: None)


def printed(capsys, *arguments: object) -> str:
    """Standard output of a command that goes well and does not complain."""
    assert command(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_none_yet(folder, capsys):
    line = printed(capsys)
    assert line.count("\n") == 1
    assert "--add FILE" in line
    assert str(folder) in line
    assert json.loads(printed(capsys, "--json")) == {"models": [], "folder": str(folder)}


def test_added_listed_shown_removed(file, folder, capsys):
    kept = folder / "nickel.safetensors"
    line = f"nickel: phase, Ni + NiO, 200–300 kV, 1.2 MB; {kept}\n"
    assert printed(capsys, "--add", file) == f"added {line}"
    assert printed(capsys) == line
    shown = printed(capsys, "nickel").splitlines()
    assert shown[0] == "Nickel and its oxide (nickel 2)"
    assert shown[-1].split() == ["file", str(kept)]
    assert printed(capsys, "--remove", "nickel") == f"removed nickel; {kept}\n"
    assert not kept.exists()
    assert "no models yet" in printed(capsys)


def test_a_shipped_model_says_so(file, tmp_path, capsys):
    (tmp_path / "shipped").mkdir()
    file.rename(tmp_path / "shipped" / "nickel.safetensors")
    assert printed(capsys).endswith("1.2 MB; shipped\n")


def test_json(file, folder, capsys):
    added = json.loads(printed(capsys, "--add", file, "--json"))
    assert added["file"] == str(folder / "nickel.safetensors")
    listed = json.loads(printed(capsys, "--json"))
    assert listed["models"] == [added]
    assert (added["name"], added["task"], added["shipped"]) == ("nickel", "phase", False)
    assert (added["phases"], added["voltage_kv"]) == (["Ni", "NiO"], [200, 300])
    shown = json.loads(printed(capsys, "nickel", "--json"))
    card = ModelCard.model_validate(shown.pop("card"))
    assert card == ModelCard(**RECORD, checksum=card.checksum)
    assert shown == added
    assert json.loads(printed(capsys, "--remove", "nickel", "--json"))["name"] == "nickel"


def test_a_file_is_shown_before_it_is_added(file, capsys):
    assert "Nickel and its oxide" in printed(capsys, file)
    assert "no models yet" in printed(capsys)


def test_a_damaged_model_is_a_warning(file, folder, capsys):
    command("--add", file)
    (folder / "bad.safetensors").write_bytes(b"nothing")
    capsys.readouterr()
    assert command() == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.err.startswith("warning: bad.safetensors ")
    assert command("--json") == 0
    bad, _ = json.loads(capsys.readouterr().out)["models"]
    assert bad["problem"] in captured.err
    assert "task" not in bad


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["silicon"], "there is no model 'silicon': give one of nickel"),
        (["{folder}/none.safetensors"], "there is no file"),
        (["--add", "{folder}/old.pt"], "is a pickle"),
        (["--add", "{folder}/text.safetensors"], "copy or download it again"),
        (["--remove", "silicon"], "there is no model 'silicon'"),
        (["nickel", "--remove", "nickel"], "give one of NAME, --add FILE and --remove NAME"),
    ],
)
def test_bad_input_is_one_line_and_status_two(arguments, says, file, tmp_path, capsys):
    command("--add", file)
    capsys.readouterr()
    for name in ("old.pt", "text.safetensors"):
        (tmp_path / name).write_text("hello, this is no model")
    assert command(*[argument.format(folder=tmp_path) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("napari-diffmap: ")
    assert says in captured.err
    assert printed(capsys).startswith("nickel: ")
