"""TIFF maps: values, scale and unit as ImageJ reads them, provenance."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import Provenance, save_maps_tiff, save_tiff


def test_values_scale_unit_and_provenance(make_map, tmp_path):
    record = Provenance.collect(method="virtual detector")
    image = np.random.default_rng(0).normal(size=(5, 7))
    image[2, 3] = np.nan
    path = save_tiff(image, tmp_path / "v.tif", step=(2.5, 1.25), unit="nm", provenance=record)
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        assert file.imagej_metadata["unit"] == "nm"
        page = file.pages[0]
        x, y = (page.tags[name].value for name in ("XResolution", "YResolution"))
        assert x[0] / x[1] == pytest.approx(1 / 1.25)
        assert y[0] / y[1] == pytest.approx(1 / 2.5)
        assert page.dtype == np.float32
        assert Provenance.from_json(file.imagej_metadata["Info"]) == record
        line = next(t for t in page.description.splitlines() if t.startswith("provenance="))
        assert Provenance.from_json(line.removeprefix("provenance=")) == record
    np.testing.assert_array_equal(tifffile.imread(path), image.astype(np.float32))
    np.testing.assert_array_equal(np.array(Image.open(path)), image.astype(np.float32))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "bool", "float64"])
def test_dtypes(tmp_path, dtype):
    image = np.arange(12).reshape(3, 4).astype(dtype)
    again = tifffile.imread(save_tiff(image, tmp_path / "v.tif"))
    assert again.dtype == (dtype if dtype in ("uint8", "uint16") else "float32")
    np.testing.assert_array_equal(again, image)


def test_every_map_is_written_with_holes(make_map, tmp_path):
    found = make_map().map
    paths = save_maps_tiff(found, tmp_path, prefix="run-")
    assert [p.name for p in paths] == [
        "run-score.tif",
        "run-reliability.tif",
        "run-phase.tif",
        "run-ambiguity.tif",
        "run-spots-found.tif",
    ]
    score, reliability, phase, ambiguity, spots = (tifffile.imread(p) for p in paths)
    for image in (score, reliability, phase):
        np.testing.assert_array_equal(np.isnan(image), ~found.indexed)
    np.testing.assert_array_equal(phase[found.indexed], found.best_phase_ids[found.indexed])
    np.testing.assert_array_equal(ambiguity, found.ambiguity)
    np.testing.assert_array_equal(spots, found.extra["spots found"])


def test_maps_without_a_value_are_left_out(make_map, tmp_path):
    found = make_map((4, 5), 2).map
    found = found.replaced(reliability=np.full(found.shape, np.nan))
    assert "reliability.tif" not in [p.name for p in save_maps_tiff(found, tmp_path)]


@pytest.mark.parametrize(
    "image", [np.zeros((2, 3, 4)), np.zeros((0, 3)), np.zeros((2, 2), complex)]
)
def test_what_is_no_grey_image_is_refused(tmp_path, image):
    with pytest.raises(BadInputError, match="grey image"):
        save_tiff(image, tmp_path / "v.tif")


def test_suffix_must_fit(tmp_path):
    with pytest.raises(BadInputError, match="must end in"):
        save_tiff(np.zeros((2, 2)), tmp_path / "v.png")
