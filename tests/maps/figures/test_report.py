"""The report: complete, escaped, self-contained."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import MapPhase, Provenance, find_grains, load_map
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.maps.edits.edited import EDITED_NAMES
from napari_diffmap.maps.figures.report import PICTURES, write_report

EVIL = '<script>alert("1")</script>&amp;\'"'
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Tags in order, checked to be closed in order; attributes and words."""

    def __init__(self, source):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and "style" not in self.open:
            self.words.append(data.strip())

    @property
    def images(self):
        return [values for tag, values in self.attributes if tag == "img"]

    def rows(self, first):
        """Words of the table row that starts with `first`."""
        i = self.words.index(first)
        return self.words[i : i + 8]


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def corrected(found):
    codes = np.zeros(found.shape, dtype=np.uint8)
    codes[:2] = EditKind.INVALID
    codes[2, :7] = EditKind.ACCEPTED
    return found.replaced(extra={**found.extra, "edited": codes})


@pytest.fixture(scope="module")
def found(make_map):
    made = corrected(make_map((20, 25), groups=("m-3m", "6/mmm")).map)
    record = Provenance.collect(
        inputs=made.provenance.inputs,
        method="orientation/templates",
        parameters={
            "n_best": 3,
            "phases": ["a", "b"],
            "calibration": "200 kV (file)",
            "used": {"voltage_kv": 200, "beam_plane": [0.5] * 400},
        },
        device="cuda:0 H100",
        notes=["the centre was measured"],
    )
    return made.replaced(provenance=record, warnings=("the header lies",))


def test_everything_is_in_one_file(found, tmp_path):
    edits = [
        {
            "number": 1,
            "when": "2026-11-22T10:00:00+00:00",
            "who": "ada",
            "kind": EditKind.PHASE,
            "pixels": np.arange(12),
            "note": "seen in the dark field",
        },
        {"number": 2, "when": "later", "who": "bob", "kind": "invalid", "pixels": 7, "note": ""},
    ]
    path = write_report(found, tmp_path / "r.html", edits=edits)
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    page = read(path)
    assert page.tags.count("img") == len(PICTURES)
    assert page.tags.count("h1") == 1
    text = " ".join(page.words)
    for words in (
        "Orientation map of scan é.h5",
        "the header lies",
        "the centre was measured",
        "40 × 50 × 64 × 64",
        "voltage_kv 200",
        "200 kV (file)",
        "n_best 3",
        "phases a, b",
        "computed on cuda:0 H100",
        "3.6000 3.6000 3.6000",
        "seen in the dark field",
        "Figure 5. Where answers were corrected",
        *found.provenance.versions,
    ):
        assert words in text, words
    answered = int(found.indexed.sum())
    assert page.rows("with an answer")[1].startswith(f"{answered} (")
    doubtful = int((found.ambiguity == 1).sum())
    assert page.rows("twin or coincidence")[1].startswith(f"{doubtful} (")
    assert page.rows(EDITED_NAMES[EditKind.ACCEPTED])[1].startswith("7 (1.4 %")
    assert page.rows("1")[:6] == [
        *("1", "2026-11-22T10:00:00+00:00", "ada", EDITED_NAMES[EditKind.PHASE], "12"),
        "seen in the dark field",
    ]
    grains = find_grains(found, threshold=5, min_size=4)
    assert page.words[page.words.index("Largest diameter") + 2] == str(
        int((grains.phase_ids == 0).sum())
    )
    assert "] …" not in text
    assert re.search(r"beam_plane \[0\.5, .{300,500} …", text)


def test_nothing_is_fetched_and_nothing_runs(found, tmp_path):
    page = read(write_report(found, tmp_path / "r.html"))
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    for tag, values in page.attributes:
        assert not any(name.startswith("on") for name in values), tag
        for name in ("src", "href", "srcset", "data"):
            assert values.get(name, "data:").startswith("data:")
    source = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "@import" not in source
    assert "url(" not in source
    for image in page.images:
        kind, data = re.fullmatch(r"data:image/(svg\+xml|png);base64,(.*)", image["src"]).groups()
        assert image["alt"]
        assert kind == "svg+xml"
        ElementTree.fromstring(base64.b64decode(data))


def test_every_word_of_others_is_escaped(found, tmp_path):
    phase = found.phases[0]
    record = Provenance(
        inputs=tuple(
            f.model_copy(update={"path": EVIL, "format": EVIL}) for f in found.provenance.inputs
        ),
        method=EVIL,
        parameters={EVIL: EVIL, "used": {EVIL: [EVIL]}},
        versions={EVIL: EVIL},
        device=EVIL,
        project_version=EVIL,
        created=EVIL,
        notes=(EVIL,),
    )
    nasty = found.replaced(
        phases=(MapPhase(EVIL, phase.color, phase.orix), found.phases[1]),
        provenance=record,
        warnings=(EVIL + "!",),
    )
    edit = dict.fromkeys(("number", "when", "who", "kind", "pixels", "note", "before"), EVIL)
    captions = dict.fromkeys(PICTURES, EVIL)
    path = write_report(nasty, tmp_path / "r.html", edits=[edit], captions=captions, title=EVIL)
    page = read(path)
    assert "script" not in page.tags
    assert set(page.tags) == set(read(write_report(found, tmp_path / "p.html", edits=[{}])).tags)
    assert sum(EVIL in words for words in page.words) >= 20
    for image in page.images:  # names go into the pictures, too
        ElementTree.fromstring(base64.b64decode(image["src"].split(",", 1)[1]))


def test_before_and_after_corrections(found, tmp_path):
    ambiguity = found.ambiguity.copy()
    ambiguity[found.ambiguity == 1] = 0
    after = found.replaced(ambiguity=ambiguity)
    page = read(write_report(after, tmp_path / "r.html", answer=found, pictures=()))
    twins = int((found.ambiguity == 1).sum())
    row = page.rows("twin or coincidence")
    assert row[1].startswith(f"{twins} (")
    assert row[2] == "0 (0.0 %)"
    assert page.images == []
    with pytest.raises(BadInputError, match="does not belong"):
        write_report(found.replaced(), tmp_path / "r.html", answer=_smaller(found))


def _smaller(found):
    return found.replaced(
        rotations=found.rotations[:3],
        scores=found.scores[:3],
        phase_ids=found.phase_ids[:3],
        reliability=found.reliability[:3],
        ambiguity=found.ambiguity[:3],
        extra={},
    )


def test_pictures_that_a_map_does_not_have_are_left_out(make_map, tmp_path):
    plain = make_map((6, 7), 2).map
    page = read(write_report(plain, tmp_path / "r.html", pictures=("edited", "crystals", "score")))
    assert len(page.images) == 1
    empty = make_map((6, 7), 2, lost=1.0).map
    page = read(write_report(empty, tmp_path / "r.html"))
    assert len(page.images) == 1
    assert "Grains" not in page.words
    bare = plain.replaced(provenance=Provenance(), step_unit="pixel", step=(1, 1))
    page = read(write_report(bare, tmp_path / "r.html", pictures=()))
    assert "Orientation map" in page.words
    assert any("no scale" in words for words in page.words)


def test_a_huge_drawing_becomes_pixels(found, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_diffmap.maps.figures.report._LARGEST_SVG", 1000)
    page = read(write_report(found, tmp_path / "r.html", pictures=("phases",)))
    assert page.images[0]["src"].startswith("data:image/png;base64,iVBOR")


def test_a_long_list_of_corrections_is_cut(found, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_diffmap.maps.figures.report_parts._MOST_EDITS", 3)
    edits = [{"number": i, "kind": "painted", "pixels": 1} for i in range(10)]
    page = read(write_report(found, tmp_path / "r.html", edits=edits, pictures=()))
    assert "… and 7 more" in page.words
    assert "When" not in page.words  # nobody said


def test_what_is_wrong_is_said(found, tmp_path):
    with pytest.raises(BadInputError, match="must end in"):
        write_report(found, tmp_path / "r.txt")
    with pytest.raises(BadInputError, match="no picture 'ipf'"):
        write_report(found, tmp_path / "r.html", pictures=("ipf",))
    with pytest.raises(BadInputError, match="no folder"):
        write_report(found, tmp_path / "absent" / "r.html", pictures=())


def test_measured_map(shared_data, tmp_path):
    found = load_map(shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang")
    page = read(write_report(found, tmp_path / "r.html"))
    assert len(page.images) == 4
    assert "sdss_ferrite_austenite.ang" in " ".join(page.words)
