"""Phase maps of spectra on the command line: exported, and refused where crystals are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_diffmap.cli import run
from napari_diffmap.maps.files.own_h5 import save_map_h5


def command(*arguments: object) -> int:
    return run([str(argument) for argument in arguments], lambda *_, **__: None)


@pytest.fixture
def phases(make_spectral: Any, tmp_path: Path) -> Path:
    return save_map_h5(make_spectral(), tmp_path / "phases.h5")


def test_a_phase_map_is_exported(phases: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command("export", phases, "--out", out, "--format", "tiff,ome-tiff") == 0
    names = {item.name for item in out.iterdir()}
    assert {"phases.tif", "fractions.tif", "doubt.tif"} <= names
    assert {"phases.ome.tif", "doubt.ome.tif"} <= names


def test_grains_of_spectra_are_refused_in_one_line(
    phases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("grains", phases, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err.strip()
    assert "no orientations" in told
    assert len(told.splitlines()) == 1
