"""Fixtures shared by every room."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_CRASHED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several test processes a display of its own: they would move one pointer."""
    if not hasattr(config, "workerinput") or not shutil.which("Xvfb"):
        return
    read, write = os.pipe()
    screen = ("-screen", "0", "1600x1000x24", "+extension", "GLX", "-nolisten", "tcp")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), *screen],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    if not number:  # it could not start: the display there is serves as well as it can
        return
    os.environ["DISPLAY"] = f":{number}"

    def end() -> None:
        server.terminate()
        server.wait()

    config.add_cleanup(end)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Note that a process of the run died."""
    if error:
        node.config.stash[_CRASHED] = True


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run whose processes all died has passed nothing, whatever its status says."""
    if session.config.stash.get(_CRASHED, False) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


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
