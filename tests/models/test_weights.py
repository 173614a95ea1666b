"""Model files: weights come back to the bit, and what is no model is refused in a line."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from napari_diffmap.errors import BadInputError, ModelError
from napari_diffmap.models import weights
from napari_diffmap.models.weights import (
    CARD_KEY,
    SEAL_KEY,
    looks_like_file,
    read_card,
    read_model,
    write_model,
)

STATE = {
    "head.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
    "head.bias": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "norm.steps": torch.tensor(41),
    "norm.none": torch.zeros(0, 3),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples of a property."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def content(make_card, folder):
    """All bytes of a small model."""
    write_model(folder / "good.safetensors", STATE, make_card())
    return (folder / "good.safetensors").read_bytes()


def refused(path, *says):
    """The one line with which a file is refused."""
    with pytest.raises(ModelError) as caught:
        read_model(path)
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    assert ": " in line  # what is wrong: what to do
    for part in says:
        assert part in line
    return line


def with_card(content, change, seal=True):
    """The file with another card; `change` gets it as a dict, and may return any text."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    record = json.loads(metadata[CARD_KEY])
    text = change(record) or json.dumps(record)
    metadata[CARD_KEY] = text
    if seal:
        metadata[SEAL_KEY] = weights._sha256(text.encode())
    raw = json.dumps(header, ensure_ascii=False).encode()
    return len(raw).to_bytes(8, "little") + raw + content[8 + length :]


def test_weights_and_card_come_back(make_card, tmp_path):
    path = tmp_path / "m.safetensors"
    written = write_model(path, STATE, make_card())
    card, state = read_model(path)
    assert card == written == read_card(path)
    assert card == make_card(checksum=card.checksum)
    assert len(card.checksum) == 64
    assert state.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor)
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_a_real_network_comes_back(make_card, tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    write_model(tmp_path / "m.safetensors", network.state_dict(), make_card())
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    other.load_state_dict(read_model(tmp_path / "m.safetensors")[1])
    image = torch.rand(2, 1, 9, 9)
    assert torch.equal(network.eval()(image), other.eval()(image))


def test_the_same_model_makes_the_same_file(make_card, tmp_path):
    shared = torch.rand(6, 6)
    state = {"a": shared, "b": shared, "c": shared.T[1:3].requires_grad_()}
    write_model(tmp_path / "1.safetensors", state, make_card())
    write_model(tmp_path / "2.safetensors", dict(reversed(state.items())), make_card())
    one, two = ((tmp_path / f"{n}.safetensors").read_bytes() for n in "12")
    assert one == two


def test_the_checksum_is_of_the_tensors_alone(make_card, tmp_path):
    def checksum(state, **changed):
        return write_model(tmp_path / "m.safetensors", state, make_card(**changed)).checksum

    plain = checksum({"a": torch.zeros(2, 3), "b": torch.ones(1)})
    assert plain == checksum({"b": torch.ones(1), "a": torch.zeros(2, 3)}, title="other")
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "c": torch.ones(1)},
        {"a": -torch.zeros(2, 3), "b": torch.ones(1)},
    ]
    assert len({plain, *map(checksum, others)}) == 5


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_no_byte_changes_unnoticed(content, folder, data):
    broken = bytearray(content)
    where = data.draw(st.integers(0, len(content) - 1))
    broken[where] ^= data.draw(st.integers(1, 255))
    path = folder / "flipped.safetensors"
    path.write_bytes(broken)
    refused(path)


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_no_end_is_missed(content, folder, data):
    path = folder / "cut.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    line = refused(path, "copy or download it again")
    with pytest.raises(ModelError) as caught:
        read_card(path)  # needs no weights to see it
    assert str(caught.value) == line
    path.write_bytes(content + data.draw(st.binary(min_size=1, max_size=9)))
    refused(path)


@settings(deadline=None, max_examples=100)
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode), framed=st.booleans())
def test_anything_else_is_no_model(folder, body, framed):
    path = folder / "any.safetensors"
    path.write_bytes(len(body).to_bytes(8, "little") + body if framed else body)
    refused(path)


@pytest.mark.parametrize(
    "header",
    [
        '{"__metadata__": null}',
        '{"__metadata__": ["napari_diffmap"]}',
        '{"a": {"dtype": "F32", "shape": [1]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}',
        '{"a": 3}',
        '{"a": ' + "[" * 100_000 + "}",
        '{"a": ' + "9" * 10_000 + "}",
        '{"__metadata__": {"napari_diffmap": "\\ud800"}}',
        '{"__metadata__": {"napari_diffmap": "[]"}}',
    ],
)
def test_odd_headers_are_refused(tmp_path, header):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    refused(path)


def test_safetensors_of_others_have_no_card(tmp_path):
    save_file(STATE, tmp_path / "m.safetensors")
    refused(tmp_path / "m.safetensors", "no model card")


def test_a_later_format_asks_for_an_update(content, tmp_path):
    path = tmp_path / "m.safetensors"
    later = with_card(content, lambda record: record.update(format=2, unheard_of="x"))
    path.write_bytes(later)
    refused(path, "format 2", "update napari-diffmap")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record.pop("voltage_kv") and None, "voltage_kv: Field required"),
        (lambda record: record.update(title="\x1b[2J"), "title: "),
        (lambda record: record.update(checksum=""), "no checksum"),
        (lambda record: record.update(checksum="0" * 64), "damaged"),
        (lambda _: "{}", "Field required"),
        (lambda _: "[1]", "damaged"),
        (lambda _: "no JSON", "damaged"),
    ],
)
def test_a_card_that_cannot_be_is_refused(content, tmp_path, change, says):
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_card(content, change))
    refused(path, says)


def test_a_card_that_was_edited_is_refused(content, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_card(content, lambda record: record.update(title="better"), seal=False))
    refused(path, "damaged")


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".pkl", ".PT", ".safetensors"])
def test_nothing_is_unpickled(tmp_path, suffix):
    sprung = tmp_path / "sprung"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    refused(path, "is a pickle" if suffix != ".safetensors" else "is no .safetensors file")
    torch.save(STATE, path)
    refused(path)
    assert not sprung.exists()


def test_no_file_there(tmp_path):
    refused(tmp_path / "none.safetensors", "there is no file")
    (tmp_path / "dir.safetensors").mkdir()
    refused(tmp_path / "dir.safetensors", "there is no file")
    if hasattr(os, "mkfifo"):  # to open one would wait for ever
        os.mkfifo(tmp_path / "pipe.safetensors")
        refused(tmp_path / "pipe.safetensors", "there is no file")


def test_a_huge_header_is_not_read(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write((1 << 32).to_bytes(8, "little") + b"{")
        file.truncate(1 << 33)  # sparse
    refused(path, "is no .safetensors file")


def test_what_cannot_be_read_is_not_written(make_card, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_MOST_HEADER", 500)
    with pytest.raises(ModelError, match=r"its card has [\d,]+ bytes, at most 500"):
        write_model(tmp_path / "m.safetensors", STATE, make_card())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.pt", "model", "nowhere/model.safetensors"])
def test_a_name_that_will_not_do(make_card, tmp_path, name):
    with pytest.raises(BadInputError, match=r"cannot write model"):
        write_model(tmp_path / name, STATE, make_card())
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(make_card, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    write_model(path, STATE, make_card())
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.os, "replace", fail)
    with pytest.raises(weights.ResourceError, match="free some space"):
        write_model(path, {"a": torch.ones(3)}, make_card())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_a_card_is_read_without_torch_and_without_weights(make_card, tmp_path):
    path = tmp_path / "m.safetensors"
    write_model(path, {"a": torch.from_numpy(np.zeros(1 << 20, np.uint8))}, make_card())
    code = (
        "import sys\n"
        "from napari_diffmap.models import registry, weights\n"
        f"print(weights.read_card({str(path)!r}).name, 'torch' in sys.modules)\n"
        f"print(weights.verified({str(path)!r})[0].name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["linio2-small", "False"] * 2


def test_names_and_files_are_told_apart():
    assert not looks_like_file("linio2-1.2")
    for name in ("m.safetensors", "here/m", "old.pt"):
        assert looks_like_file(name)


def test_a_tensor_type_that_torch_lacks(content, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)

    def lacks(_):
        raise KeyError("F4")

    monkeypatch.setattr("safetensors.torch.load", lacks)
    refused(path, "update torch")


def test_save_of_the_library_is_what_we_check():
    assert weights.checksum_of(save(STATE)) == weights.checksum_of(save(STATE, {"any": "thing"}))
