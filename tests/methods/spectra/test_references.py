"""References of every kind of text file, in eV, and files that are none in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.references import (
    Reference,
    colored,
    matrix,
    parse_references,
    read_reference,
)


def written(folder: Path, text: str, name: str = "ref.txt") -> Path:
    (folder / name).write_text(text, encoding="latin-1")
    return folder / name


@pytest.mark.parametrize(
    "text",
    [
        "700 0.1\n701 0.5\n702 0.3\n",
        "energy\tmu\n700\t0.1\n701\t0.5\n702\t0.3\n",
        "# a comment\n%another\n700,0.1\n701,0.5\n702,0.3\n",
        "Energie;Absorption\n700,0;0,1\n701,0;0,5\n702,0;0,3\n",
        "0.700 0.1\n0.701 0.5\n0.702 0.3\n",
        "7.00E+02 1.0E-1\r\n7.01D+02 5.0D-1\r\n7.02e2 .3\r\n",
        "702 0.3\n700 0.1\n701 0.5\n",
        "700 0.1\n701 0.4\n701 0.6\n702 0.3\n",
        "700 0.1\nnan 3\n701 0.5\n701.5 nan\n702 0.3\n",
        "\n\n 700.0 , 0.1 ,\n 701.0 , 0.5 ,\n 702.0 , 0.3 ,\n",
    ],
)
def test_the_same_spectrum_in_many_hands(tmp_path: Path, text: str) -> None:
    found = read_reference(written(tmp_path, text))
    np.testing.assert_allclose(found.energies, [700, 701, 702])
    np.testing.assert_allclose(found.values, [0.1, 0.5, 0.3])
    assert found.name == "ref"
    assert found.source.endswith("ref.txt")


def test_kev_are_told_from_ev(tmp_path: Path) -> None:
    hard = read_reference(written(tmp_path, "8.333 0.1\n8.350 0.9\n", "ni.txt"))
    np.testing.assert_allclose(hard.energies, [8333, 8350])
    soft = read_reference(written(tmp_path, "55.0 0.1\n60.0 0.9\n", "li.txt"))
    np.testing.assert_allclose(soft.energies, [55, 60])


def test_a_column_of_many_is_taken_by_its_name(tmp_path: Path) -> None:
    text = "# Library\n#  energy  LFP  Pyrite\n 7100 0.1 0.4\n 7110 0.2 0.9\n"
    path = written(tmp_path, text, "lib.nor")
    np.testing.assert_allclose(read_reference(path, "pyrite").values, [0.4, 0.9])
    np.testing.assert_allclose(read_reference(path, "LFP").values, [0.1, 0.2])
    with pytest.raises(BadInputError, match="name the phase as one of LFP, Pyrite"):
        read_reference(path, "Hematite")
    with pytest.raises(BadInputError, match="has 3 columns"):
        read_reference(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no table of numbers"),
        ("nothing\nhere\n", "no table of numbers"),
        ("700\n701\n702\n", "two columns"),
        ("700 0.1\n", "two at least"),
        ("700 0.5\n701 0.5\n", "flat"),
        ("-3 0.5\n701 0.6\n", "positive"),
        ("700 nan\n701 nan\n", "two at least"),
    ],
)
def test_what_is_no_spectrum_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadInputError, match=told) as caught:
        read_reference(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["ref.hspy", "ref.msa", "ref.t"])
@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\nrubbish", b"\x00\xff" * 50])
def test_a_broken_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        read_reference(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(BadInputError, match="does not exist"):
        read_reference(tmp_path / "not there.t")


def opened(path: Path) -> Reference | str:
    """What a file holds, or why it cannot be read."""
    try:
        return read_reference(path)
    except BadInputError as error:
        return str(error)


@given(st.integers(0, 10_000))
def test_any_bytes_are_a_spectrum_or_one_line(tmp_path_factory: Any, seed: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    rng = np.random.default_rng(seed)
    letters = np.frombuffer(b"0123456789.,;-+eE \t\n#x\xe9", dtype=np.uint8)
    path.write_bytes(rng.choice(letters, 80).tobytes())
    found = opened(path)
    if isinstance(found, str):
        assert len(found.splitlines()) == 1
    else:
        assert (np.diff(found.energies) > 0).all()


def test_between_energies_it_is_a_line_and_beyond_nothing() -> None:
    one = Reference("A", np.array([700.0, 702, 706]), np.array([0.0, 1.0, 3.0]))
    asked = np.array([690, 697.9, 699, 701, 704, 707.5, 708.1])
    wanted = [np.nan, np.nan, 0, 0.5, 2, 3, np.nan]
    np.testing.assert_allclose(one.at(asked), wanted)
    near = one.at(np.array([698.1, 707.9]))
    np.testing.assert_allclose(near, [0, 3])
    two = matrix([one, Reference("B", one.energies, one.values[::-1])], asked)
    assert two.shape == (2, 7)
    with pytest.raises(BadInputError, match="'A' covers 700 to 706 eV, the scan 1 to 2 eV"):
        matrix([one], np.array([1.0, 2.0]))


def test_references_of_a_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, "700 0.1\n701 0.5\n")
    found = parse_references([f"Na3:3={path}", f"below 1:0.5={path}", f"x=y={path}"][:2])
    assert [r.name for r in found] == ["Na3", "below 1"]
    assert [r.composition for r in found] == [3.0, 0.5]
    assert len({r.color for r in found}) == 2
    assert parse_references([f"A={path}"])[0].composition is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["no file"], "NAME=FILE"),
        (["=x.txt"], "NAME=FILE"),
        (["A:1e-+=REF"], "is no number"),
        (["A=REF", "A=REF"], "names of their own: A"),
        (["A=/not/there.txt"], "does not exist"),
    ],
)
def test_what_a_command_line_cannot_mean(tmp_path: Path, said: list[str], told: str) -> None:
    path = written(tmp_path, "700 0.1\n701 0.5\n")
    with pytest.raises(BadInputError, match=told):
        parse_references([text.replace("REF", str(path)) for text in said])


def test_colours_repeat_only_when_there_are_no_more(bench: Any) -> None:
    found = colored(bench.references(*range(702, 718, 2)))
    assert len({r.color for r in found[:6]}) == 6


def test_every_measured_text_is_a_spectrum_or_one_line(shared_data: Path) -> None:
    root = shared_data / "reference_spectra"
    if not root.is_dir():
        pytest.skip("reference_spectra absent")
    two_columns = [p for p in root.rglob("*") if p.suffix in (".e", ".t", ".msa", ".hspy")]
    two_columns += root.rglob("ref_*.txt")
    two_columns = [p for p in two_columns if p.name != "Cr_L_ll.hspy"]
    with pytest.raises(BadInputError, match="energies must be positive"):  # losses around zero
        read_reference(root / "eels" / "Cr_L_ll.hspy")
    assert len(two_columns) >= 65
    for path in two_columns:
        found = read_reference(path)
        assert len(found.energies) > 20, path.name
        edge = found.energies[-1]
        if path.suffix == ".e":
            assert 6800 < found.energies[0] < 7200 < edge < 8500, path.name
        elif path.name.startswith("ref_"):
            assert found.energies[0] == pytest.approx(8200), path.name
        # The file as another reader has it.
        if path.suffix == ".e":
            rows = [
                line.split()
                for line in path.read_text("latin-1").splitlines()
                if line.strip() and not line.lstrip().startswith(("#", "%"))
            ]
            numbers = [row for row in rows if row[0][0].isdigit()]
            assert len(found.energies) <= len(numbers), path.name
            first = min(numbers, key=lambda row: float(row[0]))
            assert found.energies[0] == pytest.approx(float(first[0])), path.name
    others = [p for p in root.rglob("*") if p.suffix in (".txt", ".nor", ".csv", ".md")]
    for path in others:
        found = opened(path)
        assert not isinstance(found, str) or len(found.splitlines()) == 1


def test_the_library_of_columns(shared_data: Path) -> None:
    path = shared_data / "reference_spectra" / "k_edges" / "HXN_XANES" / "FeLibNov2021.nor"
    if not path.is_file():
        pytest.skip("FeLibNov2021.nor absent")
    lines = path.read_text("latin-1").splitlines()
    heads = [line for line in lines if line.startswith("#")][-1].lstrip("# ").split()
    rows = np.array(
        [[float(w) for w in line.split()] for line in lines if not line.startswith("#")]
    )
    assert len(heads) > 2
    for column, name in enumerate(heads[1:], 1):
        found = read_reference(path, name)
        np.testing.assert_allclose(found.at(rows[:, 0]), rows[:, column], atol=1e-6)
