"""Pictures: exact map pixels, honest scale bars, text that can be read."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    Provenance,
    find_boundaries,
    ipf_colors,
    load_map,
    phase_colors,
    save_ambiguity_png,
    save_boundaries_png,
    save_ipf_png,
    save_phase_png,
    save_scalar_png,
    sheet,
)

WRITERS = {
    "ipf": save_ipf_png,
    "phase": save_phase_png,
    "boundaries": save_boundaries_png,
    "ambiguity": save_ambiguity_png,
    "score": save_scalar_png,
}


def pixels(path):
    return np.array(Image.open(path).convert("RGB"))


def map_part(picture, shape, factors):
    """The map inside the picture, one value for each pixel; checks that blocks are even."""
    top, left = sheet._TITLE, sheet._PAD
    high, wide = shape[0] * factors[0], shape[1] * factors[1]
    part = picture[top : top + high, left : left + wide]
    blocks = part.reshape(shape[0], factors[0], shape[1], factors[1], 3)
    assert (blocks == blocks[:, :1, :, :1]).all()  # crisp: no pixel is blended
    return blocks[:, 0, :, 0]


@pytest.mark.parametrize("direction", ["x", "y", "z"])
def test_ipf_picture_holds_the_colours_of_the_map(make_map, tmp_path, direction):
    found = make_map((40, 50)).map
    picture = pixels(save_ipf_png(found, tmp_path / "i.png", direction))
    factors = sheet.enlargement(found.shape, found.step)
    shown = map_part(picture, found.shape, factors)
    wanted = ipf_colors(found, direction)
    np.testing.assert_array_equal(shown[found.indexed], wanted[found.indexed][:, :3])
    assert (shown[~found.indexed] == 128).all()


def test_phase_and_ambiguity_pictures_hold_their_colours(make_map, tmp_path):
    found = make_map((40, 50)).map
    factors = sheet.enlargement(found.shape, found.step)
    shown = map_part(pixels(save_phase_png(found, tmp_path / "p.png")), found.shape, factors)
    np.testing.assert_array_equal(shown[found.indexed], phase_colors(found)[found.indexed][:, :3])
    doubt = map_part(pixels(save_ambiguity_png(found, tmp_path / "a.png")), found.shape, factors)
    assert (doubt[found.ambiguity == 6] == 0).all()
    assert (doubt[found.ambiguity == 1] == (0xE6, 0x9F, 0x00)).all()


def test_boundary_picture_draws_every_class(make_map, tmp_path):
    found = make_map((40, 50)).map
    edges = find_boundaries(found)
    picture = pixels(save_boundaries_png(found, tmp_path / "b.png", edges))
    factors = sheet.enlargement(found.shape, found.step)
    drawn = edges.raster(factors)
    part = picture[sheet._TITLE :][: drawn.shape[0], sheet._PAD :][:, : drawn.shape[1]]
    assert (part[drawn == 2] == 0).all()
    assert (part[drawn == 3] == (0xD5, 0x5E, 0x00)).all()
    grey = part[drawn == 0]
    assert (grey == grey[:, :1]).all()
    assert grey.min() >= 125  # black lines stay visible


def test_boundary_picture_over_another_image(make_map, tmp_path):
    found = make_map((40, 50)).map
    ramp = np.broadcast_to(np.arange(50.0), (40, 50))
    picture = pixels(save_boundaries_png(found, tmp_path / "b.png", background=ramp))
    row = picture[sheet._TITLE + 3, sheet._PAD :]
    assert row[10, 0] < row[600, 0]
    with pytest.raises(BadInputError, match="background"):
        save_boundaries_png(found, tmp_path / "b.png", background=ramp.T)


def test_scalar_picture(make_map, tmp_path):
    found = make_map((40, 50)).map
    for name in ("score", "reliability", "spots found"):
        save_scalar_png(found, tmp_path / "s.png", name)
    picture = pixels(save_scalar_png(found, tmp_path / "s.png", "reliability", cmap="gray"))
    shown = map_part(picture, found.shape, sheet.enlargement(found.shape, found.step))
    wanted = found.reliability * 256
    off = np.abs(shown[..., 0].astype(float) - wanted)[found.indexed]
    assert off.max() <= 2  # 256 steps of the colour map
    with pytest.raises(BadInputError, match="choose one of"):
        save_scalar_png(found, tmp_path / "s.png", "quality")
    with pytest.raises(BadInputError, match="does not fit"):
        save_scalar_png(found, tmp_path / "s.png", values=np.zeros((3, 3)))


@pytest.mark.parametrize("name", WRITERS)
def test_provenance_is_in_the_file(make_map, tmp_path, name):
    found = make_map((12, 15)).map
    path = WRITERS[name](found, tmp_path / "p.png")
    text = Image.open(path).text
    assert Provenance.from_json(text["Provenance"]) == found.provenance
    assert text["Software"] == "napari-diffmap"


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("lost", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 200), (200, 3)])
def test_any_map_can_be_drawn(make_map, tmp_path, name, lost, shape):
    found = make_map(shape, 3, lost=lost).map
    picture = pixels(WRITERS[name](found, tmp_path / "p.png"))
    assert min(picture.shape[:2]) > 100


def test_suffix_and_constant_maps(make_map, tmp_path):
    found = make_map((4, 5), 2).map
    with pytest.raises(BadInputError, match="must end in"):
        save_ipf_png(found, tmp_path / "p.jpg")
    save_scalar_png(found, tmp_path / "s.png", "flat", values=np.ones((4, 5)))
    save_scalar_png(found, tmp_path / "s.png", "none", values=np.full((4, 5), np.nan))


# ------------------------------------------------------------ legibility


def drawn_texts(monkeypatch, write):
    """Figure of a picture and the pixel boxes of its words."""
    figures = []
    original = sheet.lay_out

    def keep(*args, **kwargs):
        figures.append(original(*args, **kwargs))
        return figures[-1]

    monkeypatch.setattr(sheet, "lay_out", keep)
    write()
    (figure,) = figures
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [t for t in figure.axes[0].texts if t.get_text()]
    return figure, [(t, t.get_window_extent(renderer)) for t in texts]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("shape", [(4, 5), (40, 50), (5, 60), (60, 5), (3, 1500), (1500, 3)])
def test_words_are_large_inside_and_apart(make_map, tmp_path, monkeypatch, name, shape):
    groups = ("m-3m", "6/mmm", "-3m") if name == "ipf" else ("m-3m", "6/mmm")
    found = make_map(shape, 6, groups, n_best=1).map
    figure, texts = drawn_texts(monkeypatch, lambda: WRITERS[name](found, tmp_path / "p.png"))
    width, height = figure.get_size_inches() * 100
    for text, box in texts:
        words = text.get_text()
        assert box.x0 >= 0, words
        assert box.y0 >= 0, words
        assert box.x1 <= width + 1, words
        assert box.y1 <= height + 1, words
        # pixels; bars over digits make a box higher, never lower
        assert text.get_fontsize() / 0.72 >= 11, words
    for (one, a), (two, b) in combinations(texts, 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        assert apart, (one.get_text(), two.get_text())
    assert texts[0][0].get_fontsize() / 0.72 >= width / 90  # the title grows with the picture


@pytest.mark.parametrize("name", ["ipf", "phase"])
def test_a_picture_of_answers_says_how_many_are_in_doubt(make_map, tmp_path, monkeypatch, name):
    found = make_map((20, 30), seed=4).map
    doubted = np.isin(found.ambiguity[found.indexed], range(1, 6)).mean()
    _, texts = drawn_texts(monkeypatch, lambda: WRITERS[name](found, tmp_path / "p.png"))
    words = [text.get_text() for text, _ in texts]
    assert words[words.index("of the answers in doubt") + 1] == f"{100 * doubted:.1f} %"
    assert words[words.index("no answer") + 1] == f"{100 * (~found.indexed).mean():.1f} %"


def test_long_names_are_cut_not_spilled(make_map, tmp_path, monkeypatch):
    found = make_map((40, 50)).map
    phase = found.phases[0]
    long = type(phase)("$W^" * 100, phase.color, phase.orix)
    found = found.replaced(phases=(long, found.phases[1]))
    for write in (save_phase_png, save_ipf_png):
        figure, texts = drawn_texts(monkeypatch, lambda w=write: w(found, tmp_path / "p.png"))
        width = figure.get_size_inches()[0] * 100
        assert max(box.x1 for _, box in texts) <= width
        assert any("…" in text.get_text() for text, _ in texts)


@given(st.floats(1e-3, 1e7))
def test_scale_bar_is_round_and_fits(width):
    length, label = sheet.scale_bar(width, "nm")
    assert width / 10 < length <= width / 3
    value, unit = label.split()
    assert float(value) * {"nm": 1, "µm": 1000}[unit] == pytest.approx(length)
    mantissa = float(f"{length:e}".split("e")[0])
    assert min(abs(mantissa - nice) for nice in (1, 2, 5)) < 1e-9


@given(st.integers(1, 5000))
def test_scale_bar_without_calibration(width):
    length, label = sheet.scale_bar(float(width), "pixel")
    assert 1 <= length <= max(1, width / 3)
    assert "no scale" in label
    assert float(label.split()[0]) == length


@given(
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    st.tuples(st.floats(0.5, 5), st.floats(0.5, 5)),
)
def test_enlargement_keeps_proportions(shape, step):
    fy, fx = sheet.enlargement(shape, step)
    assert fy >= 1
    assert fx >= 1
    if min(fy, fx) >= 4:
        assert fy / fx == pytest.approx(step[0] / step[1], rel=0.15)


def test_scale_bar_length_in_the_picture(make_map, tmp_path):
    """The black bar under a map of 50 × 1.5 nm is as long as it says: 20 nm."""
    found = make_map((40, 50)).map
    picture = pixels(save_phase_png(found, tmp_path / "p.png"))
    fy, fx = sheet.enlargement(found.shape, found.step)
    length, label = sheet.scale_bar(50 * 1.5, "nm")
    assert (length, label) == (20, "20 nm")
    row = picture[sheet._TITLE + 40 * fy + 24]
    black = np.flatnonzero((row == 0).all(axis=1))
    black = black[black < sheet._PAD + length / 1.5 * fx + 2]
    assert len(black) == pytest.approx(length / 1.5 * fx, abs=1)


def test_measured_pictures(shared_data, tmp_path):
    found = load_map(shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang")
    picture = pixels(save_ipf_png(found, tmp_path / "i.png"))
    shown = map_part(picture, found.shape, sheet.enlargement(found.shape, found.step))
    np.testing.assert_array_equal(shown, ipf_colors(found)[..., :3])
