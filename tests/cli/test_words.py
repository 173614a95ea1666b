"""Complaints and warnings name options, whatever room they come from."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest

import napari_diffmap
from napari_diffmap.cli import run
from napari_diffmap.cli.main import cli
from napari_diffmap.cli.options import KINDS
from napari_diffmap.scan.open import list_datasets
from napari_diffmap.scan.scan import Kind

PYTHON = re.compile(r"\b(dtype|shape|scan_shape|dataset|kind|axes|offset)=|\bscan_shape\b")


def complaint(capsys, *arguments: object) -> str:
    """The last line on standard error of a refused command."""
    assert run([str(argument) for argument in arguments], lambda *_, **__: None) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert not PYTHON.search(line), line
    return line


@pytest.fixture
def files(tmp_path):
    """Files that each need an answer of the user."""
    (tmp_path / "plain.raw").write_bytes(bytes(range(256)) * 7)
    np.save(tmp_path / "line.npy", np.ones(40, np.uint8))
    np.save(tmp_path / "stack.npy", np.ones((12, 8, 8), np.uint8))
    np.save(tmp_path / "scan.npy", np.ones((3, 4, 8, 8), np.uint8))
    np.save(tmp_path / "five.npy", np.ones((2, 3, 4, 8, 8), np.uint8))
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for number in range(9):
            file[f"a set/{number}"] = np.ones((3, 4, 8, 8), np.uint8)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["info", "plain.raw"], "--raw-shape Y,X,KY,KX"),
        (["info", "plain.raw"], "--dtype and --raw-offset"),
        (["info", "plain.raw", "--raw-shape", "1,7,16,16"], "--dtype uint16"),
        (["info", "line.npy"], "--raw-shape Y,X,KY,KX"),
        (["info", "many.h5"], "--dataset 'a set/0'"),
        (["info", "stack.npy", "--scan-shape", "5,5"], "--scan-shape ROWS,COLUMNS"),
        (["info", "stack.npy", "--kind", "4D-STEM"], "--scan-shape ROWS,COLUMNS"),
        (["info", "five.npy"], "--kind 'nanodiffraction'"),
        (["info", "many.h5", "--raw-shape", "1,1,8,8"], "leave --raw-shape away"),
        (["virtual", "stack.npy", "--disk", "4,4,2", "--out", "v.tif"], "--scan-shape ROWS,COL"),
        (["orient", "stack.npy", "--phase", "Si", "--out", "o"], "--scan-shape ROWS,COLUMNS"),
        (["orient", "scan.npy", "--phase", "Si", "--out", "o"], "--voltage"),
        (["orient", "scan.npy", "--phase", "Si", "--voltage", "2e5", "--out", "o"], "--voltage"),
        (["orient", "scan.npy", "--phase", "Si", "--voltage", "200", "--out", "o"], "--pixel-size"),
    ],
)
def test_what_is_missing_is_named_as_an_option(arguments, says, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert says in complaint(capsys, *arguments)


def test_every_option_that_a_complaint_names_exists():
    from napari_diffmap.cli.words import _OPTIONS

    run(["--version"], lambda *_, **__: None)
    known = {o for command in cli.commands.values() for p in command.params for o in p.opts}
    texts = " ".join(str(option) for _, option in _OPTIONS if isinstance(option, str))
    named = set(re.findall(r"--[a-z-]+", texts))
    assert len(named) >= 7
    assert named <= known


def test_info_lists_every_dataset(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    line = complaint(capsys, "info", "many.h5")
    assert all(candidate.path in line for candidate in list_datasets("many.h5"))
    assert "more" not in line


@pytest.mark.parametrize("command", ["orient", "virtual"])
def test_a_stack_of_images_is_not_told_to_be_laid_out(command, files, monkeypatch, capsys):
    """An STXM stack has no patterns, however it is laid out."""
    monkeypatch.chdir(files)
    options = {"orient": ["--phase", "Si"], "virtual": ["--disk", "4,4,2", "--pixels"]}[command]
    line = complaint(capsys, command, "stack.npy", "--kind", "STXM", "--out", "out.tif", *options)
    assert "stack is an STXM scan" in line
    assert "scan-shape" not in line


def test_a_wrong_guess_is_corrected_by_an_option(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert run(["info", "stack.npy"], lambda *_, **__: None) == 0
    said = capsys.readouterr()
    assert "pattern stack" in said.out
    assert "--kind 'STXM'" in said.err
    assert run(["info", "stack.npy", "--kind", "STXM"], lambda *_, **__: None) == 0
    assert ", STXM, " in capsys.readouterr().out


def test_the_kinds_are_those_of_a_scan():
    assert get_args(Kind) == KINDS


def test_no_message_of_a_scan_speaks_python():
    """Every text below the docstrings, also those that no test provokes."""
    rooms = Path(napari_diffmap.__file__).parent
    seen = 0
    for path in [*(rooms / "scan").rglob("*.py"), rooms / "jobs" / "orient.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) or (
                isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "append"
            ):
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        seen += 1
                        assert not PYTHON.search(part.value), f"{path.name}: {part.value}"
    assert seen > 100


@pytest.mark.parametrize(
    ("shape", "kind", "says"),
    [
        ((4, 8, 8), "STXM", "is an STXM scan"),
        ((4, 8, 8), "image series", "is an image series"),
        ((4, 8, 8), "pattern stack", "is a pattern stack"),
        ((8, 8), "image", "is an image,"),
        ((2, 3, 4, 8, 8), "nanodiffraction", "is a nanodiffraction scan"),
    ],
)
def test_every_kind_has_its_article(shape, kind, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.ones(shape, np.uint8))
    options = ("--disk", "4,4,2", "--pixels", "--out", "v.tif", "--kind", kind)
    assert says in complaint(capsys, "virtual", "a.npy", *options)
