"""Phase maps of spectra as files: HDF5 that restores them, TIFF for Fiji, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import Provenance, SpectralMap, load_map
from napari_diffmap.maps.edits.corrections import Corrections
from napari_diffmap.maps.edits.edit import EditKind, snapshot
from napari_diffmap.maps.files.own_h5 import load_map_h5, save_map_h5
from napari_diffmap.maps.files.save_spectral import write_spectral
from napari_diffmap.maps.files.save_spectral_h5 import load_spectral_h5, save_spectral_h5
from napari_diffmap.maps.labels.layers import label_layers


def assert_same(a: SpectralMap, b: SpectralMap) -> None:
    for name in (*SpectralMap.arrays, *SpectralMap.measured):
        first, second = getattr(a, name), getattr(b, name)
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second, err_msg=name)
    assert set(a.extra) == set(b.extra)
    for name, values in a.extra.items():
        np.testing.assert_array_equal(values, b.extra[name], err_msg=name)
    for one, other in zip(a.phases, b.phases, strict=True):
        assert (one.name, one.color) == (other.name, other.color)
        assert one.composition == other.composition
        np.testing.assert_array_equal(one.energies, other.energies)
        np.testing.assert_array_equal(one.values, other.values)
    assert (a.step, a.step_unit, a.warnings) == (b.step, b.step_unit, b.warnings)
    assert a.provenance == b.provenance


@pytest.mark.parametrize("compositions", [True, False])
def test_hdf5_restores_a_map(make_spectral: Any, tmp_path: Path, compositions: bool) -> None:
    found = make_spectral(
        compositions=compositions,
        extra={"entropy": np.linspace(0, 1, 180).reshape(12, 15)},
        warnings=("energies 5 and 6 are equal",),
        provenance=Provenance.collect(method="spectra/pearson"),
    )
    path = save_map_h5(found, tmp_path / "phases.h5")
    again = load_map_h5(path)
    assert isinstance(again, SpectralMap)
    assert_same(found, again)


def test_a_corrected_map_is_restored_with_what_was_edited(
    make_spectral: Any, tmp_path: Path
) -> None:
    mine = Corrections(make_spectral())
    mine.edit(EditKind.INVALID, np.arange(40, 50))
    again = load_spectral_h5(save_spectral_h5(snapshot(mine.map), tmp_path / "phases.h5"))
    assert_same(mine.map, again)


def test_the_file_tells_what_it_holds(make_spectral: Any, tmp_path: Path) -> None:
    path = save_spectral_h5(make_spectral(), tmp_path / "phases.h5")
    with h5py.File(path) as file:
        arrays = file["spectral_map/arrays"]
        assert arrays["fractions"].attrs["axes"] == "y, x, reference"
        assert json.loads(arrays["ambiguity"].attrs["codes"])["3"] == "transition"
        assert file["spectral_map/phases/1/energies"].attrs["unit"] == "eV"
        assert all("meaning" in data.attrs for data in arrays.values())


def test_what_is_no_phase_map_is_refused(make_spectral: Any, flat_map: Any, tmp_path: Path) -> None:
    crystals = save_map_h5(flat_map((3, 3)), tmp_path / "orientation.h5")
    with pytest.raises(BadInputError, match="no phase map of spectra"):
        load_spectral_h5(crystals)
    assert not isinstance(load_map_h5(crystals), SpectralMap)
    phases = save_map_h5(make_spectral(), tmp_path / "phases.h5")
    with pytest.raises(BadInputError, match="no orientations"):
        load_map(phases)
    broken = tmp_path / "broken.h5"
    broken.write_bytes(phases.read_bytes()[:1000])
    for load in (load_spectral_h5, load_map_h5):
        with pytest.raises(BadInputError, match="damaged"):
            load(broken)
    with pytest.raises(BadInputError, match=r"must end in \.h5"):
        save_spectral_h5(make_spectral(), tmp_path / "phases.txt")
    with h5py.File(phases, "r+") as file:
        file["spectral_map"].attrs["layout"] = 99
    with pytest.raises(BadInputError, match="newer"):
        load_spectral_h5(phases)


def test_maps_and_pictures_are_written_with_corrections(make_spectral: Any, tmp_path: Path) -> None:
    mine = Corrections(make_spectral())
    values = {"phase_ids": np.array([2], np.int16), "scores": np.array([0.5], np.float32)}
    doubtful = 2 * 15 + 2
    mine.edit(EditKind.PHASE, np.array([doubtful]), values)
    found = snapshot(mine.map)
    written = write_spectral(found, tmp_path)
    names = {path.name for path in written}
    assert names == {
        *("phases.tif", "fractions.tif", "doubt.tif", "composition.tif"),
        *("phases.png", "fractions.png", "doubt.png", "composition.png"),
    }
    phases = tifffile.imread(tmp_path / "phases.tif")
    assert phases.dtype == np.uint8
    np.testing.assert_array_equal(phases, found.best_phase_ids + 1)
    assert phases.flat[doubtful] == 3
    assert not phases[0].any()
    doubt = tifffile.imread(tmp_path / "doubt.tif")
    assert doubt.flat[doubtful] == 0
    assert np.unique(doubt).tolist() == [0, 1, 2, 3]
    assert (doubt[np.isin(found.ambiguity, (4, 5))] == 1).all()
    assert (doubt[found.ambiguity == 6] == 0).all()
    fractions = tifffile.imread(tmp_path / "fractions.tif")
    assert fractions.dtype == np.float32
    np.testing.assert_array_equal(fractions, np.moveaxis(found.fractions, -1, 0))


def test_fiji_finds_scale_and_page_names(make_spectral: Any, tmp_path: Path) -> None:
    write_spectral(make_spectral(step=(20.0, 40.0)), tmp_path, pictures=())
    for name in ("phases.tif", "fractions.tif", "doubt.tif"):
        with tifffile.TiffFile(tmp_path / name) as file:
            tags, told = file.pages[0].tags, file.imagej_metadata
            assert told is not None
            assert told["unit"] == "nm"
            for tag, step in (("XResolution", 40), ("YResolution", 20)):
                above, below = tags[tag].value
                assert below / above == pytest.approx(step, rel=1e-6)
            if name == "fractions.tif":
                assert told["Labels"] == ["Na1", "Na2", "Na3"]


def test_pictures_carry_their_provenance(make_spectral: Any, tmp_path: Path) -> None:
    found = make_spectral(provenance=Provenance.collect(method="spectra/pearson"))
    for path in write_spectral(found, tmp_path, maps=False, caption="one particle"):
        with Image.open(path) as picture:
            assert "spectra/pearson" in picture.info["Provenance"]
            assert min(picture.size) > 200


def test_without_compositions_there_is_no_such_map(make_spectral: Any, tmp_path: Path) -> None:
    written = write_spectral(make_spectral(compositions=False), tmp_path, pictures=("svg",))
    assert not any(path.stem == "composition" for path in written)
    with pytest.raises(BadInputError, match="no folder"):
        write_spectral(make_spectral(), tmp_path / "nowhere")


def test_label_maps_are_phases_doubt_and_corrections(make_spectral: Any) -> None:
    mine = Corrections(make_spectral())
    assert set(label_layers(snapshot(mine.map))) == {"phases", "doubt"}
    mine.edit(EditKind.UNKNOWN, np.array([33]))
    layers = label_layers(snapshot(mine.map))
    assert set(layers) == {"phases", "doubt", "edited"}
    assert layers["phases"].names == {1: "Na1", 2: "Na2", 3: "Na3"}
    assert layers["doubt"].names[3] == "transition"
