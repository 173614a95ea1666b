"""Where a map came from, carried through JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.provenance import InputFile, Provenance, content_signature

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4), st.lists(st.text(), max_size=3))
def test_json_round_trip(parameters, notes):
    record = Provenance.collect(parameters=parameters, notes=notes, packages=("numpy",))
    text = record.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert Provenance.from_json(text) == record
    assert record.versions["numpy"] == np.__version__


def test_numpy_paths_and_models_become_plain():
    class Model(BaseModel):
        sigma: float = 0.02

    record = Provenance.collect(
        parameters={
            "a": np.float32(0.5),
            "b": np.arange(3),
            "c": Path("x") / "y",
            "d": Model(),
            "e": (1, {2, 3}),
            "f": float("nan"),
        }
    )
    plain = json.loads(record.to_json())["parameters"]
    assert plain == {
        "a": 0.5,
        "b": [0, 1, 2],
        "c": str(Path("x") / "y"),
        "d": {"sigma": 0.02},
        "e": [1, [2, 3]],
        "f": "nan",
    }


def test_signature_tells_files_apart_wherever_they_differ(tmp_path):
    data = bytearray(5 << 20)
    path = tmp_path / "scan.raw"
    signatures = set()
    for place in (None, 0, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        if place is not None:
            changed[place] = 1
        path.write_bytes(changed)
        signatures.add(content_signature(path))
    path.write_bytes(data + b"\0")
    signatures.add(content_signature(path))
    assert len(signatures) == 5


def test_input_file_records_what_it_sees(tmp_path):
    path = tmp_path / "scan.raw"
    path.write_bytes(b"12345")
    seen = InputFile.from_path(path, format="raw", shape=(2, 3))
    assert (seen.size, seen.shape, seen.format) == (5, (2, 3), "raw")
    assert seen.modified.endswith("+00:00")
    gone = InputFile.from_path(tmp_path / "gone.raw")
    assert gone.size is None
    folder = InputFile.from_path(tmp_path)
    assert folder.signature == ""


def test_notes_and_summary(tmp_path):
    record = Provenance.collect(inputs=[InputFile(path="/data/scan.blo")], method="m")
    assert record.with_note("mended").notes == ("mended",)
    assert record.notes == ()
    assert record.summary().startswith("scan.blo · m · napari-diffmap ")


@pytest.mark.parametrize("text", ["", "{", '{"unknown": 1}', '{"inputs": 3}'])
def test_damaged_record(text):
    with pytest.raises(BadInputError, match="damaged"):
        Provenance.from_json(text)
