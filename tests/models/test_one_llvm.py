"""Training where a window has loaded another LLVM than triton's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from napari_diffmap.models import one_llvm as module
from napari_diffmap.models.one_llvm import one_llvm


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is loaded, as a file to be written; no triton yet."""
    path = tmp_path / "maps"
    path.write_text("7f00 /usr/lib/libc.so.6\n", encoding="utf-8")
    monkeypatch.setattr(module, "_MAPS", path)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    return path


def test_triton_is_hidden_only_where_there_is_another_llvm(maps: Path) -> None:
    with one_llvm():
        assert "triton" not in sys.modules
    maps.write_text("7f00 /usr/lib/libLLVM-15.so.1\n", encoding="utf-8")
    with one_llvm():
        assert sys.modules["triton"] is None
        with pytest.raises(ImportError):
            __import__("triton")
    assert "triton" not in sys.modules


def test_one_that_is_loaded_stays(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps.write_text("7f00 /usr/lib/libLLVM-15.so.1\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "triton", pytest)
    with one_llvm():
        assert sys.modules["triton"] is pytest
    assert sys.modules["triton"] is pytest


def test_without_a_list_of_what_is_loaded_nothing_is_hidden(
    maps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAPS", maps.with_name("none"))
    with one_llvm():
        assert "triton" not in sys.modules


@pytest.mark.viewer
def test_a_network_can_be_trained_where_a_window_is_drawn() -> None:
    """Without this care the process ends with a segmentation fault (Mesa's llvmpipe)."""
    code = """
import napari, numpy
viewer = napari.Viewer()
viewer.add_image(numpy.zeros((8, 8)))
from qtpy.QtTest import QTest
QTest.qWait(300)
import torch
from napari_diffmap.models.families import build
from napari_diffmap.models.training import Plan, train
class Task:
    def loss(self, network, batch):
        return network(torch.rand(batch, 1, 32, 32))[1].square().sum()
    def validate(self, network):
        return {"loss": 0.0}
    def state(self):
        return {}
done = train(build("cnn", {"channels": 1, "width": 4}), Task(), Plan(steps=2, batch=2))
print("trained", done.progress.step, flush=True)
import os
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trained 2" in done.stdout
