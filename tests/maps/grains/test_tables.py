"""Tables written and read back with pandas and pyarrow."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    Column,
    Provenance,
    boundary_properties,
    classify_laws,
    find_boundaries,
    find_grains,
    grain_properties,
    save_table,
)


@pytest.fixture(scope="module")
def tables(make_map):
    found = make_map((40, 50), 12, lost=0.02).map
    edges = find_boundaries(found)
    grains = find_grains(found, boundaries=edges, min_size=2)
    laws = classify_laws(found, edges)
    return {
        "grains": grain_properties(found, grains).columns(),
        "boundaries": boundary_properties(found, grains, edges, laws=laws).columns(),
        "laws": laws.columns(),
    }


NAMES = ("grains", "boundaries", "laws")


def same(theirs, mine, rtol):
    if mine.dtype == object:
        assert ["" if pd.isna(text) else text for text in theirs] == mine.tolist()
    elif mine.dtype.kind == "f":
        np.testing.assert_allclose(theirs.to_numpy(float), mine, rtol=rtol, atol=1e-12)
    else:
        np.testing.assert_array_equal(theirs.to_numpy(), mine)


@pytest.mark.parametrize("name", NAMES)
def test_csv_with_pandas(tables, name, tmp_path):
    path = save_table(tables[name], tmp_path / f"{name}.csv")
    read = pd.read_csv(path)
    plain = {"°": " (deg)", "nm": " (nm)", "nm²": " (nm^2)", "pixel": " (pixel)", "": ""}
    assert list(read.columns) == [column.name + plain[column.unit] for column in tables[name]]
    for i, column in enumerate(tables[name]):
        same(read.iloc[:, i], column.values, 1e-6)
    assert not path.read_bytes().startswith((b"#", b"\xef\xbb\xbf"))


@pytest.mark.parametrize("name", NAMES)
def test_parquet_with_pandas_and_units(tables, name, tmp_path):
    record = Provenance.collect(method="grains", parameters={"threshold": 5.0})
    path = save_table(tables[name], tmp_path / f"{name}.parquet", provenance=record)
    read = pd.read_parquet(path)
    assert list(read.columns) == [column.name for column in tables[name]]
    for column in tables[name]:
        same(read[column.name], column.values, 1e-12)
    schema = pq.read_schema(path)
    units = {field.name: field.metadata[b"unit"].decode() for field in schema}
    assert units == {c.name: c.unit.replace("°", "deg").replace("²", "^2") for c in tables[name]}
    assert all(field.metadata[b"description"] for field in schema)
    assert Provenance.from_json(schema.metadata[b"napari_diffmap"]) == record


def test_what_is_missing_is_left_empty(tmp_path):
    columns = [
        Column("a", "nm", np.array([1.5, np.nan]), "A."),
        Column("flag", "", np.array([True, False]), "Flag."),
        Column("phase, with a comma", "", np.array(['α-Fe, "x"', ""], dtype=object), "Text."),
    ]
    path = save_table(columns, tmp_path / "t.csv")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["a (nm)", "flag", "phase, with a comma"]
    assert rows[1] == ["1.5", "true", 'α-Fe, "x"']
    assert rows[2] == ["", "false", ""]
    assert pd.read_csv(path)["flag"].dtype == bool


def test_an_empty_table_keeps_its_heads(tables, tmp_path):
    none = [column._replace(values=column.values[:0]) for column in tables["grains"]]
    for suffix, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        table = read(save_table(none, tmp_path / f"none{suffix}"))
        assert len(table) == 0
        assert len(table.columns) == len(none)


def test_an_older_file_stays_until_the_new_one_is_there(tables, tmp_path, monkeypatch):
    import pyarrow.csv as pc

    path = save_table(tables["laws"], tmp_path / "t.csv")
    before = path.read_bytes()

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pc, "write_csv", full)
    with pytest.raises(Exception, match="disk is full"):
        save_table(tables["grains"], path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]


def test_what_cannot_be_written(tables, tmp_path):
    with pytest.raises(BadInputError, match=r"must end in \.csv or \.parquet"):
        save_table(tables["laws"], tmp_path / "t.xlsx")
    with pytest.raises(BadInputError, match="there is no folder"):
        save_table(tables["laws"], tmp_path / "nowhere" / "t.csv")
    uneven = [Column("a", "", np.zeros(2), "A."), Column("b", "", np.zeros(3), "B.")]
    with pytest.raises(BadInputError, match="one length"):
        save_table(uneven, tmp_path / "t.csv")
