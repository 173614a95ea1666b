"""I0 from a region, the brightest pixels or a file, and masks from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.incident import (
    Incident,
    incident_of_histogram,
    incident_of_region,
    read_incident,
    read_mask,
    region_mask,
)


def true_incident(bench: Any, one: Any, counts: float) -> np.ndarray:
    """As the stack was simulated: falling by a tenth, with a dip at the O K edge."""
    e = one.energies
    u, v = (e - e.mean()) / np.ptp(e), (e - 532.0) / 3.0
    dip = 0.5 * np.exp(-4 * np.log(2) * v**2) + 0.5 / (1 + 4 * v**2)
    return np.asarray(counts * (1 - 0.1 * u - 0.05 * dip))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("counts", "off"), [(200, 0.01), (2000, 0.003)])
def test_the_histogram_finds_what_came_in(bench: Any, counts: int, off: float, seed: int) -> None:
    one = bench.simulated(12, counts, seed)
    found, empty = incident_of_histogram(one.stack)
    np.testing.assert_allclose(found, true_incident(bench, one, counts), rtol=off)
    assert not (empty & (one.truth.labels >= 0)).any(), "no sample among the empty pixels"


def test_a_map_almost_full_of_sample_still_has_its_brightest(bench: Any) -> None:
    rng = np.random.default_rng(0)
    clean = np.full((5, 40, 40), 1000 * np.exp(-0.8))
    clean[:, :4] = 1000
    found, empty = incident_of_histogram(rng.poisson(clean))
    np.testing.assert_allclose(found, 1000, rtol=0.01)
    assert not empty[4:].any()


def test_a_region_is_averaged(bench: Any) -> None:
    one = bench.simulated(12, 2000)
    beside = np.argwhere(one.truth.labels >= 0).min(axis=0)
    assert beside.min() >= 2
    found = Incident(region=(0, 0, 2, 64)).spectrum(one.stack, one.energies)
    np.testing.assert_allclose(found, one.stack[:, :2].mean(axis=(1, 2)))
    np.testing.assert_allclose(found, true_incident(bench, one, 2000), rtol=0.01)
    drawn = np.zeros((64, 64), dtype=bool)
    drawn[:2] = True
    same = Incident(mask=drawn).spectrum(one.stack, one.energies)
    np.testing.assert_allclose(same, found)


def test_missing_values_of_a_region_are_left_out() -> None:
    stack = np.full((3, 4, 4), 100.0)
    stack[0, 0, 0] = np.nan
    stack[1, :2] = np.nan
    found = incident_of_region(stack, region_mask((0, 0, 2, 4), (4, 4)))
    assert found[0] == 100
    assert np.isnan(found[1])
    assert found[2] == 100


@pytest.mark.parametrize("region", [(10, 10, 10, 12), (64, 0, 80, 8), (-3, 0, 4, 4), (5, 5, 2, 2)])
def test_a_region_outside_is_refused(region: Any) -> None:
    with pytest.raises(BadInputError, match="holds no pixel of 64 × 64"):
        region_mask(region, (64, 64))


def test_nothing_counted_is_no_incident_spectrum() -> None:
    dark = np.zeros((3, 8, 8))
    with pytest.raises(BadInputError, match="no counts"):
        incident_of_histogram(dark)
    with pytest.raises(BadInputError, match="nothing was counted in the I0 region"):
        incident_of_region(dark, np.ones((8, 8), dtype=bool))
    with pytest.raises(BadInputError, match="draw a region"):
        incident_of_region(dark, np.zeros((8, 8), dtype=bool))


ENERGIES = np.array([700.0, 705.0, 709.0])


@pytest.mark.parametrize(
    "text", ["699 90\n704 95\n711 102\n", "eV counts\n0.699 90\n0.704 95\n0.711 102\n"]
)
def test_a_file_is_read_between_its_energies(tmp_path: Path, text: str) -> None:
    (tmp_path / "i0.txt").write_text(text)
    found = Incident(file=tmp_path / "i0.txt").spectrum(np.ones((3, 2, 2)), ENERGIES)
    np.testing.assert_allclose(found, [91, 96, 100])


def test_a_signal_file_is_read(tmp_path: Path) -> None:
    head = "#FORMAT      : EMSA/MAS Spectral Data File\n#VERSION     : 1.0\n#NPOINTS     : 30\n"
    head += "#NCOLUMNS    : 1\n#XUNITS      : eV\n#YUNITS      : counts\n#DATATYPE    : Y\n"
    head += "#XPERCHAN    : 1.0\n#OFFSET      : 690.0\n#SPECTRUM    : \n"
    counts = "".join(f"{100 + i}\n" for i in range(30))
    (tmp_path / "i0.msa").write_text(head + counts + "#ENDOFDATA   : \n")
    np.testing.assert_allclose(read_incident(tmp_path / "i0.msa", ENERGIES), [110, 115, 119])


@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_a_level_file_is_level(tmp_path: Path, unit: float) -> None:
    (tmp_path / "i0.txt").write_text(f"{690 * unit} 100\n{720 * unit} 100\n")
    np.testing.assert_allclose(read_incident(tmp_path / "i0.txt", ENERGIES), 100)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("600 10\n650 12\n", "must be positive and reach over"),
        ("600 10\n650 10\n", "must be positive and reach over"),
        ("690 10\n705 -3\n", "must be positive and reach over"),
        ("700\n710\n", "needs two columns"),
        ("no numbers here\n", "no table of numbers"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "i0.txt").write_text(text)
    with pytest.raises(BadInputError, match=told) as caught:
        read_incident(tmp_path / "i0.txt", ENERGIES)
    assert len(str(caught.value).splitlines()) == 1


def test_where_it_came_from_in_words(tmp_path: Path) -> None:
    assert Incident().describe() == "brightest pixels (histogram)"
    assert Incident(region=(0, 1, 2, 3)).describe() == "region 0,1,2,3"
    assert Incident(file=tmp_path / "i0.txt").describe().startswith("file ")
    assert Incident(mask=np.ones((2, 3), dtype=bool)).describe() == "drawn region of 6 pixels"
    density = Incident(already_density=True)
    assert "optical density" in density.describe()
    np.testing.assert_array_equal(density.spectrum(np.zeros((3, 2, 2)), ENERGIES), 1)


WANTED = np.array([[False, True, False, False], [True, False, False, False], [False] * 4])


def test_masks_of_every_kind_of_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", WANTED.astype(np.uint8) * 255)
    np.save(tmp_path / "m.npy", WANTED.astype(float))
    (tmp_path / "m.msk").write_text(" O  \nO\n\n")
    (tmp_path / "zeros.txt").write_text("0100\n1000\n0000\n")
    for name in ("m.tif", "m.npy", "m.msk", "zeros.txt"):
        np.testing.assert_array_equal(read_mask(tmp_path / name, (3, 4)), WANTED, err_msg=name)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("m.npy", b"not an array", "cannot be read as a mask"),
        ("m.tif", b"not a picture", "cannot be read as a mask"),
        ("m.msk", b" O\n", "the mask has 1 × 4 pixels, the map 3 × 4"),
        ("m.msk", b" O    O\nO\n\n", "mask"),
        ("m.msk", None, "does not exist"),
    ],
)
def test_a_mask_that_does_not_fit_is_one_line(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=told) as caught:
        read_mask(tmp_path / name, (3, 4))
    assert len(str(caught.value).splitlines()) == 1


def test_the_mask_of_the_iron_stack(shared_data: Path) -> None:
    folder = shared_data / "stxm_iron_2p" / "71214078_FigS4" / "Aligned"
    if not folder.is_dir():
        pytest.skip("stxm_iron_2p absent")
    mask = read_mask(folder / "mask_file.msk", (125, 125))
    letters = (folder / "mask_file.msk").read_text("latin-1").count("O")
    assert mask.sum() == letters
