"""Which engine the next map is made with; the models are real files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.errors import ModelError
from napari_diffmap.models import registry
from napari_diffmap.models.weights import read_card, write_model
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.engines import TEMPLATES, Engines
from napari_diffmap.viewer.runner import ImmediateRunner
from napari_diffmap.viewer.session import Session


@pytest.fixture(autouse=True)
def unshipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model comes with the package."""
    monkeypatch.setattr(registry, "shipped_folder", lambda: tmp_path / "shipped")


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def engines(session: Session) -> Engines:
    engines = Engines(session, ImmediateRunner())
    engines.refresh()
    return engines


@pytest.fixture
def stocked(engines: Engines, tiny_model: Path) -> Engines:
    """With the tiny model added."""
    engines.add([tiny_model])
    return engines


def test_without_models_there_are_the_templates(engines: Engines) -> None:
    (choice,) = engines.choices()
    assert (choice.name, choice.problem) == (TEMPLATES, "")
    assert engines.chosen == TEMPLATES
    assert engines.missing() == ""


def test_the_templates_are_called_as_the_parameters_call_them() -> None:
    from napari_diffmap.methods.orientation.parameters import TEMPLATES as THEIRS

    assert TEMPLATES == THEIRS


def test_looking_for_models_loads_no_torch(tiny_model: Path, models_folder: Path) -> None:
    (models_folder / "tiny.safetensors").write_bytes(tiny_model.read_bytes())
    code = (
        "import sys\n"
        "from napari_diffmap.viewer.engines import Engines\n"
        "from napari_diffmap.viewer.runner import ImmediateRunner\n"
        "from napari_diffmap.viewer.session import Session\n"
        "engines = Engines(Session(), ImmediateRunner())\n"
        "engines.refresh()\n"
        "print([c.name for c in engines.choices()], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, loaded = done.stdout.strip().rsplit(" ", 1)
    assert "'tiny'" in names
    assert loaded == "False"


def test_a_model_of_the_phases_is_offered_by_its_title(stocked: Engines, session: Session) -> None:
    session.set_phases(load_phases(["NiO"]))
    templates, tiny = stocked.choices()
    assert (tiny.name, tiny.title, tiny.problem) == ("tiny", "Tiny network", "")
    assert "LiNiO2, NiO, 200 kV" in tiny.tip
    assert templates.problem == ""


@pytest.mark.parametrize(
    ("voltage", "precession", "phases", "said"),
    [
        (200, 0.0, ["Au"], "Au is unknown to it"),
        (300, 0.0, ["NiO"], "voltage 300 kV is outside the 200 kV"),
        (200, 4.0, ["NiO"], "precession 4° is outside"),
    ],
)
def test_what_does_not_fit_says_why(
    stocked: Engines,
    session: Session,
    make_scan: Callable[..., Scan],
    voltage: float,
    precession: float,
    phases: list[str],
    said: str,
) -> None:
    scan = make_scan()
    session.set_scan(scan.with_calibration(scan.calibration.with_voltage(voltage, "entered")))
    session.set_phases(load_phases(phases))
    stocked.set_precession(precession)
    assert said in stocked.choices()[1].problem


def test_a_choice_that_no_longer_fits_is_kept_and_told(stocked: Engines, session: Session) -> None:
    changes: list[bool] = []
    session.set_phases(load_phases(["NiO"]))
    stocked.choose("tiny")
    assert stocked.missing() == ""
    stocked.changed.connect(lambda: changes.append(True))
    session.set_phases(load_phases(["NiO", "Au"]))
    assert changes
    assert stocked.chosen == "tiny"
    assert stocked.missing().startswith("Choose another engine than tiny: Au is unknown")
    session.set_phases(load_phases(["LiNiO2"]))
    assert stocked.missing() == ""


def test_a_choice_whose_model_was_removed_is_told(stocked: Engines, models_folder: Path) -> None:
    gone: list[str] = []
    stocked.removed.connect(gone.append)
    stocked.choose("tiny")
    stocked.remove("tiny")
    assert gone == ["tiny"]
    assert not list(models_folder.glob("*.safetensors"))
    assert stocked.missing() == "There is no model 'tiny' any more: choose another engine."
    assert [choice.name for choice in stocked.choices()] == [TEMPLATES, "tiny"]
    assert stocked.choices()[1].problem


def test_a_damaged_file_is_one_error_and_the_others_are_added(
    engines: Engines, tiny_model: Path, tmp_path: Path
) -> None:
    errors: list[Exception] = []
    added: list[str] = []
    engines.failed.connect(errors.append)
    engines.added.connect(added.append)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_model.read_bytes()[:-40])
    engines.add([cut, tiny_model])
    (error,) = errors
    assert isinstance(error, ModelError)
    assert "cut.safetensors is damaged" in str(error)
    assert "\n" not in str(error)
    assert added == ["tiny"]
    assert [entry.name for entry in engines.entries] == ["tiny"]


def test_a_damaged_file_in_the_folder_is_listed_but_not_offered(
    stocked: Engines, models_folder: Path
) -> None:
    (models_folder / "bad.safetensors").write_bytes(b"nothing")
    stocked.refresh()
    assert {entry.name: bool(entry.problem) for entry in stocked.entries} == {
        "bad": True,
        "tiny": False,
    }
    assert [choice.name for choice in stocked.choices()] == [TEMPLATES, "tiny"]
    stocked.remove("bad")
    assert [entry.name for entry in stocked.entries] == ["tiny"]


def test_a_shipped_model_cannot_be_removed(
    engines: Engines, tiny_model: Path, tmp_path: Path
) -> None:
    errors: list[Exception] = []
    engines.failed.connect(errors.append)
    (tmp_path / "shipped").mkdir()
    shipped = tmp_path / "shipped" / "tiny.safetensors"
    shipped.write_bytes(tiny_model.read_bytes())
    engines.refresh()
    engines.remove("tiny")
    assert "comes with napari-diffmap" in str(errors[0])
    assert shipped.exists()


def test_a_model_that_answers_phases_maps_no_orientations(
    stocked: Engines, tiny_model: Path, tmp_path: Path
) -> None:
    card = read_card(tiny_model).model_copy(update={"name": "which", "task": "phase"})
    path = tmp_path / "which.safetensors"
    write_model(path, {"w": torch.zeros(3)}, card)
    stocked.add([path])
    assert {entry.name for entry in stocked.entries} == {"tiny", "which"}
    assert [choice.name for choice in stocked.choices()] == [TEMPLATES, "tiny"]
    assert stocked.problem("which") == "it answers phase, not orientations"
