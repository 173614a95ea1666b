"""The package as a whole: cheap imports, a valid manifest, rooms that keep their doors."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: What importing a room must not load.
HEAVY = ("napari", "qtpy", "PyQt6", "torch", "pyxem", "hyperspy", "matplotlib", "numba")

#: The same for rooms that need dask, which loads numba by itself where `sparse` is installed.
DASK = tuple(name for name in HEAVY if name != "numba")


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"import sys\n{statement}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_after("import napari_diffmap") & set(HEAVY)


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("napari_diffmap.scan", (*DASK, "orix", "skimage", "diffpy")),
        ("napari_diffmap.scan.open", (*DASK, "orix", "skimage", "diffpy")),
        ("napari_diffmap.cli", (*HEAVY, "orix", "dask")),
        ("napari_diffmap.crystal", ("napari", "qtpy", "PyQt6", "pyxem", "hyperspy")),
        ("napari_diffmap.maps", ("napari", "qtpy", "PyQt6", "torch", "pyxem", "hyperspy")),
        ("napari_diffmap.models", ("napari", "qtpy", "PyQt6", "pyxem", "hyperspy")),
        ("napari_diffmap.methods.orientation", ("napari", "qtpy", "PyQt6", "pyxem", "hyperspy")),
        ("napari_diffmap.jobs", ("napari", "qtpy", "PyQt6", "pyxem", "hyperspy")),
        ("napari_diffmap.viewer", ("qtpy", "PyQt6", "torch", "pyxem", "hyperspy")),
    ],
)
def test_a_room_loads_only_what_it_may(room, forbidden):
    assert not loaded_after(f"import {room}") & set(forbidden)


def test_manifest_is_valid_and_every_command_imports():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-diffmap")
    manifest.validate_imports()
    assert manifest.display_name


def test_manifest_shows_at_the_root():
    assert (ROOT / "napari.yaml").resolve() == ROOT / "src" / "napari_diffmap" / "napari.yaml"


def test_base_dependencies_bring_no_qt_binding():
    requires = distribution("napari-diffmap").requires or []
    base = [line.lower() for line in requires if "extra ==" not in line]
    assert not [r for r in base if "pyqt" in r or "pyside" in r or r.startswith("napari[")]
    assert any("pyqt6" in line.lower() for line in requires if "extra ==" in line)
