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
