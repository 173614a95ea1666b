from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.incident import Incident
from napari_diffmap.methods.spectra.references import Reference
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.desk import Desk, desk_of
from napari_diffmap.viewer.spectral import Spectral, middle_of
from napari_diffmap.viewer.spectral_curves import Look, default_edge, inside, scaled_reference
from napari_diffmap.viewer.stack_layers import (
    EMPTY_LAYER,
    HELD_LAYER,
    OUTLINE_LAYER,
    UNREAD_LAYER,
)

ENERGIES = np.array([700.0, 702.0, 704.0, 707.0, 708.0, 709.0, 710.0, 712.0, 716.0, 720.0])
ROWS, COLUMNS = 14, 12
I0 = 4000.0 - 40 * np.arange(10)


def curve(at: float) -> NDArray[np.float64]:
    return 0.1 + 0.9 * np.exp(-(((ENERGIES - at) / 1.2) ** 2))


def known_stack(empty: float = 1.0) -> NDArray[np.float64]:
    """Two phases in the upper half, left and right, over an empty support."""
    od = np.zeros((10, ROWS, COLUMNS))
    od[:, 2:8, 1:6] = curve(708)[:, None, None]
    od[:, 2:8, 6:11] = 1.2 * curve(710)[:, None, None]
    od[4, 2, 1] = 3.5
    return np.rint(empty * I0[:, None, None] * np.exp(-od))


def stack_scan(data: NDArray[Any] | None = None, name: str = "stack") -> Scan:
    values = known_stack() if data is None else data
    axes = (
        Axis("energy", 10, 2.2, 700, "eV", tuple(ENERGIES.tolist())),
        Axis("y", ROWS, 40, 0, "nm"),
        Axis("x", COLUMNS, 40, 0, "nm"),
    )
    return Scan(da.from_array(values), axes, "STXM", name)


@pytest.fixture
def stack_desk(viewer: ViewerModel) -> Desk:
    desk = desk_of(viewer)
    desk.show_scan(stack_scan())
    return desk


@pytest.fixture
def spectral(stack_desk: Desk) -> Spectral:
    return stack_desk.spectral


def two() -> list[Reference]:
    return [
        Reference("left", ENERGIES, curve(708), composition=1.0),
        Reference("right", ENERGIES, curve(710), color="#D55E00"),
    ]


def test_counts_are_shown_first(spectral: Spectral, stack_desk: Desk) -> None:
    spectral.session.set_position(4, 3)
    assert spectral.current is not None
    assert spectral.density is None
    assert np.allclose(spectral.shown(spectral.current), known_stack()[:, 4, 3])
    assert np.allclose(stack_desk.sample.images[0].data, known_stack().mean(axis=0), rtol=1e-5)


def test_optical_density_of_the_brightest_pixels(spectral: Spectral, stack_desk: Desk) -> None:
    spectral.change_look(quantity="OD")
    assert spectral.incidence.absorption is not None
    empty = spectral.incidence.absorption.empty
    assert empty is not None
    assert empty[10:].all()
    assert not empty[3:7, 2:10].any()
    spectral.session.set_position(4, 3)
    assert np.allclose(spectral.shown(spectral.current), curve(708), atol=5e-3)
    spectral.session.set_plane(4)
    assert np.allclose(stack_desk.sample.images[0].data[4, 3], curve(708)[4], atol=5e-3)
    assert "brightest" in spectral.incidence.line()


def test_i0_from_a_region_a_file_or_none(spectral: Spectral, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="region"):
        spectral.incidence.choose_region()
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[10:, :] = True
    spectral.session.set_region(mask)
    spectral.incidence.choose_region()
    assert np.allclose(spectral.density.incident, I0)
    path = tmp_path / "i0.txt"
    np.savetxt(path, np.stack([ENERGIES, 2 * I0], axis=1))
    spectral.incidence.choose(Incident(file=path))
    assert np.allclose(spectral.density.incident, 2 * I0)
    assert "i0.txt" in spectral.incidence.line()
    spectral.incidence.choose(Incident(file=tmp_path / "gone.txt"))
    assert spectral.density is None
    assert "does not exist" in spectral.incidence.line()
    spectral.references.set(two())
    assert "does not exist" in spectral.missing()
    spectral.incidence.choose(Incident(already_density=True))
    assert np.allclose(spectral.density.od, known_stack())


def test_windows_and_their_difference(spectral: Spectral, stack_desk: Desk) -> None:
    counts = known_stack()
    spectral.change_look(image="window", spans=((707.5, 709.5), (699.0, 703.0)))
    image = stack_desk.sample.images[0]
    assert np.allclose(image.data, counts[4:6].mean(axis=0), rtol=1e-5)
    spectral.change_look(image="difference")
    expected = counts[4:6].mean(axis=0) - counts[:2].mean(axis=0)
    assert np.allclose(image.data, expected, rtol=1e-4, atol=1e-2)
    line = spectral.picture_line()
    assert "A 707.5–709.5 eV (2 energies)" in line
    assert "−" in line


def test_a_window_between_energies_takes_the_nearest() -> None:
    chosen = inside(ENERGIES, (708.2, 708.4))
    assert ENERGIES[chosen].tolist() == [708.0]


@pytest.mark.parametrize("how", ["pre-edge", "area", "post-edge"])
def test_normalised_spectra(spectral: Spectral, how: str) -> None:
    spectral.change_look(quantity="OD", normalisation=how, edge=(705.0, 715.0))
    spectral.session.set_position(4, 3)
    values = spectral.shown(spectral.current)
    assert np.allclose(values[:3].mean(), 0, atol=1e-3)
    left = values / values.max()
    spectral.session.set_position(4, 8)
    assert int(np.argmax(left)) == 4
    assert int(np.argmax(spectral.shown(spectral.current))) == 6


def test_an_unknown_spectrum_is_no_error(spectral: Spectral) -> None:
    data = known_stack()
    data[:, 5, 5] = 0
    spectral.session.set_scan(stack_scan(data))
    spectral.change_look(quantity="OD", normalisation="post-edge")
    spectral.session.set_position(5, 5)
    assert np.isnan(spectral.shown(spectral.current)).all()
    assert spectral.density.dark[5, 5]
    assert spectral.spectrum_line() == "nothing was counted here"


def test_no_spectrum_is_turned_upside_down(spectral: Spectral) -> None:
    od = np.linspace(0.5, 0.1, 10)[:, None, None] ** 2 * np.ones((10, ROWS, COLUMNS))
    od[-3:] = -0.4
    spectral.session.set_scan(stack_scan(od))
    spectral.incidence.choose(Incident(already_density=True))
    spectral.change_look(quantity="OD", normalisation="post-edge", edge=(701.0, 711.0))
    assert np.isnan(spectral.shown(spectral.current)).all()
    assert "not normalised" in spectral.spectrum_line()
    spectral.change_look(normalisation="pre-edge")
    assert spectral.spectrum_line() == ""


def test_references_are_scaled_to_the_spectrum(spectral: Spectral) -> None:
    spectral.references.set(two())
    spectral.session.set_position(4, 8)
    for quantity in ("OD", "counts"):
        spectral.change_look(quantity=quantity)
        now, _, known = spectral.curves()
        assert [line.name for line in known] == ["left", "right"]
        assert np.allclose(known[1].values, now[0].values, rtol=6e-3)
    spectral.references.show("right", False)
    assert [line.name for line in spectral.curves()[2]] == ["left"]


def test_no_reference_is_drawn_mirrored() -> None:
    found = scaled_reference(two()[0], ENERGIES, -curve(708), Look(quantity="OD"), I0)
    assert found is not None
    assert np.ptp(found[1]) == 0


def test_held_spectra_follow_i0(spectral: Spectral) -> None:
    spectral.session.set_position(4, 3)
    spectral.hold()
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[3:6, 7:10] = True
    spectral.session.set_region(mask)
    spectral.hold()
    assert [item.key for item in spectral.held.items] == [1, 2]
    assert len({item.color for item in spectral.held.items}) == 2
    spectral.change_look(quantity="OD")
    _, held, _ = spectral.curves()
    assert np.allclose(held[0].values, curve(708), atol=5e-3)
    assert np.allclose(held[1].values, 1.2 * curve(710), atol=5e-3)
    spectral.held.rename(2, "right grain")
    assert spectral.curves()[1][1].name == "2 right grain"
    spectral.held.remove(1)
    assert [item.key for item in spectral.held.items] == [2]


def test_marks_on_the_sample(spectral: Spectral, viewer: ViewerModel) -> None:
    spectral.session.set_position(4, 3)
    spectral.hold()
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[3:6, 7:10] = True
    spectral.session.set_region(mask)
    spectral.hold()
    assert viewer.layers[HELD_LAYER].data.tolist() == [[4, 3], [4, 8]]
    outline = viewer.layers[OUTLINE_LAYER].data[..., 3] > 0
    assert outline.sum() == 8
    assert not outline[4, 8]
    spectral.held.clear()
    assert HELD_LAYER not in viewer.layers
    assert not viewer.layers[OUTLINE_LAYER].visible


def test_masks_on_the_sample(spectral: Spectral, stack_desk: Desk, viewer: ViewerModel) -> None:
    spectral.incidence.ensure()
    assert spectral.density.saturated[2, 1]
    assert viewer.layers[UNREAD_LAYER].visible
    assert viewer.layers[EMPTY_LAYER].data[10:, :, 3].any()
    stack_desk.stack_layers.set_masks(False)
    assert not viewer.layers[UNREAD_LAYER].visible
    spectral.incidence.set_limits(5.0, None)
    assert not spectral.density.saturated.any()


def test_the_spectrum_of_a_label(spectral: Spectral, viewer: ViewerModel) -> None:
    labels = np.zeros((ROWS, COLUMNS), dtype=np.int32)
    labels[2:8, 6:11] = 3
    viewer.add_labels(labels, name="grains", scale=(40, 40), units=("nm", "nm"))
    spectral.session.set_position(4, 8)
    spectral.change_look(whole_labels=True, quantity="OD")
    assert spectral.current.mask.sum() == 30
    assert "grains 3" in spectral.current.name
    spectral.session.set_position(12, 2)
    assert spectral.current.mask is None


def test_a_region_becomes_a_reference(spectral: Spectral) -> None:
    errors: list[Exception] = []
    with pytest.raises(BadInputError, match="region"):
        spectral.references.add_region(errors.append)
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[2:8, 1:6] = True  # holds a saturated pixel, which is left out
    spectral.session.set_region(mask)
    spectral.references.add_region(errors.append)
    spectral.references.add_region(errors.append)
    assert [r.name for r in spectral.references.items] == ["region", "region 2"]
    assert np.allclose(spectral.references.items[0].values, curve(708), atol=5e-3)
    assert not errors


def test_references_are_read_named_and_coloured(spectral: Spectral, tmp_path: Path) -> None:
    for name, at in (("a", 708), ("b", 710)):
        np.savetxt(tmp_path / f"{name}.t", np.stack([ENERGIES, curve(at)], axis=1))
    errors: list[Exception] = []
    spectral.references.read([tmp_path / "a.t", tmp_path / "no.t", tmp_path / "b.t"], errors.append)
    assert [r.name for r in spectral.references.items] == ["a", "b"]
    assert len({r.color for r in spectral.references.items}) == 2
    assert len(errors) == 1
    spectral.references.change(1, name="reduced", composition=0.5)
    with pytest.raises(BadInputError, match="already"):
        spectral.references.change(1, name="a")
    with pytest.raises(BadInputError, match="colour"):
        spectral.references.change(0, color="red")
    assert spectral.references.items[1].composition == 0.5


def test_what_is_missing(spectral: Spectral) -> None:
    assert "two references" in spectral.missing()
    spectral.references.set(two()[:1])
    assert "one more" in spectral.missing()
    spectral.references.set(two())
    assert spectral.missing() == ""


def test_another_scan_begins_with_nothing(spectral: Spectral, viewer: ViewerModel) -> None:
    spectral.references.set(two())
    spectral.incidence.choose(Incident(already_density=True))
    spectral.change_look(quantity="OD", normalisation="area", image="difference")
    spectral.hold()
    spectral.session.set_scan(stack_scan(name="another"))
    assert not spectral.references.items
    assert not spectral.held.items
    assert spectral.density is None
    assert spectral.look == Look(edge=default_edge(ENERGIES), spans=spectral.look.spans)
    assert spectral.incidence.chosen is None
    assert HELD_LAYER not in viewer.layers
    assert np.allclose(spectral.current.counts, known_stack()[:, 7, 6])


def test_a_scan_of_patterns_has_none_of_it(desk: Desk) -> None:
    assert not desk.spectral.active
    assert desk.session.stack_data is None
    assert desk.spectral.current is None
    assert "STXM" in desk.spectral.missing()
    desk.spectral.incidence.ensure()
    assert desk.spectral.density is None


def test_alignment_is_looked_at_applied_and_removed(spectral: Spectral, stack_desk: Desk) -> None:
    aligning, image = spectral.aligning, stack_desk.sample.images[0]
    data = np.repeat(known_stack()[4:5], 10, axis=0)
    data[6] = np.roll(data[6], 1, axis=0)
    spectral.session.set_scan(stack_scan(data))
    spectral.session.set_plane(6)
    with pytest.raises(BadInputError, match="shifts"):
        aligning.apply()
    aligning.find()
    assert aligning.preview == "difference"
    moved = aligning.found.shifts[6] - aligning.found.shifts[0]
    assert np.allclose(moved, (-1, 0), atol=0.3)
    image = stack_desk.sample.images[0]
    assert "moves by" in spectral.picture_line()
    aligning.show("flicker")
    before = image.data.copy()
    aligning.flick()
    assert np.abs(np.nan_to_num(image.data) - before).max() > 100
    aligning.apply()
    assert aligning.preview == "off"
    assert spectral.session.stack_data.shifted
    assert np.allclose(image.data[3:8, 2:5], data[0][3:8, 2:5], rtol=0.25)
    aligning.remove()
    assert np.allclose(image.data, data[6])


def test_the_middle_of_a_region_lies_in_it() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[0], mask[:, 0] = True, True
    y, x = middle_of(mask)
    assert mask[y, x]
