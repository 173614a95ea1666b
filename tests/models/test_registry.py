"""Shipped and added models: listing, finding, adding, removing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from napari_diffmap.errors import ModelError
from napari_diffmap.models import registry
from napari_diffmap.models.registry import add, find, models, remove
from napari_diffmap.models.weights import read_model, write_model


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Both folders are empty and the test's own; the user's is not even there."""
    shipped, user = tmp_path / "shipped", tmp_path / "data" / "models"
    shipped.mkdir()
    monkeypatch.setattr(registry, "shipped_folder", lambda: shipped)
    monkeypatch.setenv(registry.FOLDER_VARIABLE, str(user))
    return shipped, user


@pytest.fixture
def write(make_card, tmp_path):
    """Writes a model somewhere; its weights are all one number."""

    def make(name, folder=tmp_path, value=1.0, **changed):
        path = folder / f"{name}.safetensors"
        write_model(path, {"w": torch.full((3,), value)}, make_card(**({"name": name} | changed)))
        return path

    return make


def test_no_models_yet():
    assert models() == ()
    with pytest.raises(ModelError, match=r"there is no model 'any': .*add a file"):
        find("any")


def test_the_package_need_not_have_models(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "shipped_folder", lambda: tmp_path / "none")
    assert models() == ()


def test_listed_by_name_wherever_they_lie(write, folders):
    shipped, user = folders
    write("m", shipped)
    user.mkdir(parents=True)
    write("z", user)
    write("a", user)
    assert [(e.name, e.shipped, e.problem) for e in models()] == [
        ("a", False, ""), ("m", True, ""), ("z", False, ""),
    ]  # fmt: skip
    assert all(e.card.name == e.name and e.nbytes > 500 for e in models())


def test_a_damaged_file_is_listed_with_its_problem(write, folders):
    shipped, _ = folders
    write("good", shipped)
    (shipped / "bad.safetensors").write_bytes(b"nothing")
    bad, good = models()
    assert (bad.name, bad.card) == ("bad", None)
    assert "copy or download it again" in bad.problem
    assert good.card is not None
    with pytest.raises(ModelError, match=r"bad\.safetensors"):
        find("bad")
    assert find("good") == good


def test_add_copies_and_find_finds(write, folders):
    _, user = folders
    path = write("mine")
    entry = add(path)
    assert entry.path == user / "mine.safetensors"
    path.unlink()
    assert find("mine") == entry
    assert read_model(entry.path)[1]["w"].tolist() == [1, 1, 1]
    assert [p.name for p in user.iterdir()] == ["mine.safetensors"]


def test_the_file_goes_by_the_name_on_its_card(write, folders):
    path = write("mine")
    assert add(path.rename(path.with_name("download (1).safetensors"))).path.stem == "mine"


def test_a_damaged_file_is_not_added(write, folders):
    path = write("mine")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # a weight: the header does not tell
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        add(path)
    assert models() == ()
    assert not folders[1].exists()


def test_the_same_twice_is_one(write):
    path = write("mine")
    assert add(path) == add(path)
    assert len(models()) == 1


def test_another_of_the_name_is_refused(write, tmp_path):
    add(write("mine"))
    with pytest.raises(ModelError, match="remove that one first"):
        add(write("mine", value=2.0))
    assert read_model(find("mine").path)[1]["w"][0] == 1
    remove("mine")
    add(write("mine", value=2.0))
    assert read_model(find("mine").path)[1]["w"][0] == 2


def test_the_same_weights_with_a_better_card_take_their_place(write):
    add(write("mine"))
    add(write("mine", title="better"))
    assert [entry.card.title for entry in models()] == ["better"]


def test_a_damaged_copy_is_replaced(write, folders):
    path = write("mine")
    add(path).path.write_bytes(b"nothing")
    assert models()[0].problem
    add(path)
    assert not models()[0].problem


@pytest.mark.parametrize("value", [1.0, 2.0])
def test_no_added_model_takes_the_place_of_a_shipped_one(write, folders, value):
    shipped, user = folders
    write("ours", shipped)
    with pytest.raises(ModelError, match="it needs another name"):
        add(write("ours", value=value, title="theirs"))
    # Not even when it was put there by hand.
    user.mkdir(parents=True)
    write("ours", user, value=value, title="theirs")
    found = find("ours")
    assert found.shipped
    assert found.card.title != "theirs"
    assert sum(bool(entry.problem) for entry in models()) == 1
    assert not remove("ours").shipped
    assert [entry.shipped for entry in models()] == [True]


def test_a_shipped_model_added_is_the_shipped_one(write, folders):
    assert add(write("ours", folders[0])).shipped
    assert len(models()) == 1


def test_two_files_of_one_name_by_hand(write, folders):
    _, user = folders
    add(write("mine"))
    write("mine", title="the second").rename(user / "zz.safetensors")
    assert [(e.name, bool(e.problem)) for e in models()] == [("mine", False), ("zz", True)]
    assert "mine" in models()[1].problem
    remove("zz")
    assert [e.name for e in models()] == ["mine"]


def test_shipped_and_unknown_models_are_not_removed(write, folders):
    write("ours", folders[0])
    with pytest.raises(ModelError, match="comes with napari-diffmap"):
        remove("ours")
    with pytest.raises(ModelError, match="give one of ours"):
        remove("../shipped/ours")
    assert len(models()) == 1


def test_find_by_path_and_task(write, folders, tmp_path):
    path = write("mine", task="phase")
    assert find(path).path == find(str(path)).path == path
    assert find(path, "phase").card.name == "mine"
    add(path)
    add(write("other"))
    with pytest.raises(ModelError, match=r"'mine' is for phase: give one of other$"):
        find("mine", "orientation")
    with pytest.raises(ModelError, match=r"no model 'min': give one of mine, other$"):
        find("min")
    with pytest.raises(ModelError, match="there is no file"):
        find("nowhere.safetensors")
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(ModelError, match="is a pickle"):
        find(str(tmp_path / "x.pt"))


def test_a_folder_that_cannot_be_made(write, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(registry.FOLDER_VARIABLE, str(tmp_path / "file" / "models"))
    with pytest.raises(ModelError, match="cannot make the folder"):
        add(write("mine"))


def test_the_users_own_place(monkeypatch):
    monkeypatch.delenv(registry.FOLDER_VARIABLE)
    assert registry.user_folder().parts[-2:] == ("napari-diffmap", "models")


def test_listing_needs_no_torch(write, folders):
    write("ours", folders[0])
    code = (
        "import sys, pathlib\n"
        "from napari_diffmap.models import registry\n"
        "assert registry.shipped_folder().parent == pathlib.Path(registry.__file__).parent\n"
        f"registry.shipped_folder = lambda: pathlib.Path({str(folders[0])!r})\n"
        "print(*[e.name for e in registry.models()], *{'torch', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ours"]
