from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from npe2 import PluginManifest

from napari_diffmap.scan.open import supported_extensions
from napari_diffmap.widgets import reader, samples

DOCKS = [
    "Workspace",
    "Scan",
    "Pattern",
    "Calibrate",
    "Peaks",
    "Map",
    "Defects",
    "Doubt",
    "Grains",
    "Labels",
    "Models",
    "Key",
]


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-diffmap")


def test_every_command_can_be_imported(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    assert manifest.display_name == "napari-diffmap"


def test_docks_and_samples(manifest: PluginManifest) -> None:
    assert [w.display_name for w in manifest.contributions.widgets or ()] == DOCKS
    assert [s.key for s in manifest.contributions.sample_data or ()] == [
        "linio2",
        "sped_ag",
        "cuag",
        "stxm",
        "ws2",
    ]


def test_readers_take_every_extension(manifest: PluginManifest) -> None:
    patterns = {
        pattern.lstrip("*")
        for contribution in manifest.contributions.readers or ()
        for pattern in contribution.filename_patterns
    }
    assert patterns == {*supported_extensions(), ".diffmap"}  # and saved sessions
    assert any(c.accepts_directories for c in manifest.contributions.readers or ())


def test_the_manifest_at_the_root_is_the_packages() -> None:
    root = Path(__file__).resolve().parents[2]
    link = root / "napari.yaml"
    if not link.exists():
        pytest.skip("not a source tree")
    assert link.read_text() == (root / "src/napari_diffmap/napari.yaml").read_text()


# ------------------------------------------------------------------ reader
@pytest.mark.parametrize(
    ("shape", "taken"), [((4, 4, 8, 8), True), ((4, 8, 8), True), ((8, 8), False)]
)
def test_plain_pictures_are_left_to_napari(
    tmp_path: Path, shape: tuple[int, ...], taken: bool
) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.zeros(shape, dtype=np.uint8))
    assert (reader.get_reader(str(path)) is not None) is taken


def test_several_files_are_not_one_scan() -> None:
    assert reader.get_reader(["a.h5", "b.h5"]) is None


def test_without_a_window_the_reader_gives_the_image(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(5, (6, 5, 16, 16)).astype(np.uint16)
    path = tmp_path / "data.npy"
    np.save(path, counts)
    read = reader.get_reader(str(path))
    assert read is not None
    ((image, options, kind),) = read(str(path))
    assert kind == "image"
    assert np.array_equal(image, counts.sum(axis=(2, 3)))
    assert options["metadata"]["diffmap"]["schema"] == 1
    assert json.dumps(options["metadata"])


# ----------------------------------------------------------------- samples
def test_offline_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pyxem.data

    from napari_diffmap.errors import ResourceError

    def offline(**_: Any) -> None:
        raise ConnectionError("Max retries exceeded with url: ...\n(Caused by ...)")

    monkeypatch.setenv("PYXEM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(pyxem.data, "sped_ag", offline)
    with pytest.raises(ResourceError, match="connect to the internet") as caught:
        samples.fetch("sped_ag")
    assert "\n" not in str(caught.value)
    assert "zenodo.org" in str(caught.value)


def test_a_fetched_sample_is_opened_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import zarr
    from rsciio.zspy import file_writer

    folder = tmp_path / "main"
    folder.mkdir()
    data = np.random.default_rng(0).poisson(5, (4, 3, 16, 16)).astype(np.uint16)
    names = ("y", "x", "ky", "kx")
    axes = [
        {
            "size": n,
            "name": name,
            "units": "nm" if i < 2 else "1/Å",
            "scale": 1.0,
            "offset": 0.0,
            "navigate": i < 2,
            "_type": "UniformDataAxis",
            "index_in_array": i,
        }
        for i, (n, name) in enumerate(zip(data.shape, names, strict=True))
    ]
    signal = {
        "data": data,
        "axes": axes,
        "metadata": {
            "General": {"title": "SPED"},
            "Signal": {"signal_type": "electron_diffraction"},
        },
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "", "package_version": ""},
        "learning_results": {},
        "tmp_parameters": {},
        "models": {},
    }
    with zarr.ZipStore(str(folder / "SPED-Ag.zspy"), mode="w") as store:
        file_writer(store, signal)
    monkeypatch.setenv("PYXEM_DATA_DIR", str(tmp_path))
    scan = samples.fetch("sped_ag")
    assert scan.kind == "4D-STEM"
    assert np.array_equal(scan.data.compute(), data)
