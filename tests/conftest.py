"""Fixtures shared by every room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of measured data; tests that need it skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("DIFFMAP_TEST_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("measured data absent: set DIFFMAP_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unsaved corrections of a test are kept in a folder of its own."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("DIFFMAP_STATE", str(folder))
    return folder
