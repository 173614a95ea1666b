"""Pictures: exact map pixels, honest scale bars, text that can be read."""

from __future__ import annotations

import base64
import io
import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    BOUNDARY_TABLE,
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
)
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.maps.edits.edited import EDITED_COLORS, EDITED_NAMES
from napari_diffmap.maps.figures import sheet
from napari_diffmap.maps.figures.pictures import save_edited_png
from napari_diffmap.maps.figures.sheet_parts import text_width, wrapped

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


# ------------------------------------------------------- SVG, PDF, captions

SVG = "{http://www.w3.org/2000/svg}"
CAPTION = "Figure 1. Grains of a α < β & γ alloy, as mapped at 200 kV; " + "and so on " * 30


def corrected(found):
    codes = np.zeros(found.shape, dtype=np.uint8)
    codes[3:11, 5:20] = np.arange(8)[:, None]
    return found.replaced(extra={**found.extra, "edited": codes})


@pytest.mark.parametrize("name", [*WRITERS, "edited"])
def test_svg_has_words_as_words_and_the_pixels_of_the_map(make_map, tmp_path, name):
    found = corrected(make_map((20, 25)).map)
    write = {**WRITERS, "edited": save_edited_png}[name]
    root = ElementTree.parse(write(found, tmp_path / "p.svg", caption=CAPTION)).getroot()
    words = [" ".join("".join(t.itertext()).split()) for t in root.iter(f"{SVG}text")]
    shown = " ".join(words)
    assert CAPTION.strip() in shown
    assert "5 nm" in words or "10 nm" in words
    assert "x right, y down, z (beam) into the page" in words
    assert {"ipf": "[001]", "phase": "phase 0 m-3m", "score": "Score"}.get(name, "") in shown
    record = root.find(".//{http://purl.org/dc/elements/1.1/}description").text
    assert Provenance.from_json(record) == found.provenance
    # The map is an image in its own right, not smoothed by viewers.
    image = next(e for e in root.iter(f"{SVG}image") if "pixelated" in e.get("style", ""))
    data = image.get("{http://www.w3.org/1999/xlink}href").split(",", 1)[1]
    part = np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    fy, fx = sheet.enlargement(found.shape, found.step)
    assert part.shape == (20 * fy, 25 * fx, 3)
    if name == "ipf":
        np.testing.assert_array_equal(
            part[::fy, ::fx][found.indexed], ipf_colors(found)[found.indexed][:, :3]
        )


def test_svg_draws_boundaries_as_lines_along_the_edges(make_map, tmp_path):
    found = make_map((20, 25), lost=0).map
    edges = find_boundaries(found)
    root = ElementTree.parse(save_boundaries_png(found, tmp_path / "b.svg", edges)).getroot()
    fy, fx = sheet.enlargement(found.shape, found.step)
    for style in BOUNDARY_TABLE:
        lines = edges.polylines(style.code)
        drawn = [
            path.get("d")
            for path in root.iter(f"{SVG}path")
            if f"stroke: {style.color.lower()}" in path.get("style", "")
            and float(path.get("d").split()[1]) < 0.72 * (sheet._PAD + 25 * fx)  # no legend
        ]
        assert len(drawn) == bool(lines), style.name
        if lines:
            numbers = np.array(re.findall(r"-?[\d.]+", drawn[0]), float).reshape(-1, 2) / 0.72
            x, y = numbers[:, 0] - sheet._PAD, numbers[:, 1] - sheet._TITLE
            np.testing.assert_allclose(x / fx, np.rint(x / fx), atol=0.01)
            np.testing.assert_allclose(y / fy, np.rint(y / fy), atol=0.01)
            length = np.hypot(*np.diff(np.stack((x, y)), axis=1))
            assert length.sum() > 0
            assert drawn[0].count("M") == len(lines)


def test_pdf_is_written(make_map, tmp_path):
    found = make_map((12, 15)).map
    data = save_boundaries_png(found, tmp_path / "b.pdf", caption=CAPTION).read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"%%EOF" in data[-20:]


@pytest.mark.parametrize("shape", [(4, 5), (5, 60), (1500, 3)])
def test_a_caption_is_wrapped_and_inside(make_map, tmp_path, monkeypatch, shape):
    found = make_map(shape, 6, n_best=1).map
    long = CAPTION + "\n" + "W" * 300
    figure, texts = drawn_texts(
        monkeypatch, lambda: save_phase_png(found, tmp_path / "p.png", caption=long)
    )
    width, height = figure.get_size_inches() * 100
    words = [text.get_text() for text, _ in texts]
    assert any(line.startswith("WWW") and line.endswith("…") for line in words)
    assert CAPTION.split()[-1] in " ".join(words)
    for text, box in texts:
        assert box.x0 >= 0, text.get_text()
        assert box.y0 >= 0, text.get_text()
        assert box.x1 <= width + 1, text.get_text()
        assert box.y1 <= height + 1, text.get_text()
    for (one, a), (two, b) in combinations(texts, 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        assert apart, (one.get_text(), two.get_text())


@given(st.text(st.sampled_from("ab W\n$é"), max_size=60), st.floats(30, 300))
def test_wrapping_keeps_words_and_width(words, width):
    lines = wrapped(words, width)
    assert all(text_width(line) <= width for line in lines)
    if not any("…" in line for line in lines):
        assert " ".join(lines).split() == words.split()


def test_edited_picture(make_map, tmp_path, monkeypatch):
    found = corrected(make_map((40, 50)).map)
    figure, texts = drawn_texts(monkeypatch, lambda: save_edited_png(found, tmp_path / "e.png"))
    words = [text.get_text() for text, _ in texts]
    assert figure.get_size_inches()[0] * 100 >= max(box.x1 for _, box in texts)
    assert words[0] == "Corrected: 5.2 % of the positions"
    for code, name in EDITED_NAMES.items():
        if code > EditKind.PAINTED:  # of finds alone
            assert name not in words
            continue
        shown = name if code else "untouched"
        assert words[words.index(shown) + 1] == ("0.8 %" if code else "94.8 %")
    shown = map_part(
        pixels(tmp_path / "e.png"), found.shape, sheet.enlargement(found.shape, found.step)
    )
    for code, color in EDITED_COLORS.items():
        rgb = tuple(bytes.fromhex(color[1:]))
        np.testing.assert_array_equal(
            (shown == rgb).all(axis=-1), found.extra["edited"] == int(code)
        )
    with pytest.raises(BadInputError, match="not corrected"):
        save_edited_png(make_map((4, 5), 2).map, tmp_path / "e.png")
