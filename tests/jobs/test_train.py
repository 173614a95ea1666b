"""A model from a recipe to a map: trained, written, found, asked, judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.train import find_recipe, shipped_recipes, train_model
from napari_diffmap.jobs.training_run import RECIPE
from napari_diffmap.methods.networks.recipe import TrainingRecipe, load_training_recipe
from napari_diffmap.models.recipe_file import recipe_yaml
from napari_diffmap.models.weights import read_card, read_model
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

#: Small enough for a test, large enough to learn something of gold.
TINY = TrainingRecipe(
    name="tiny-gold",
    phases=("Au",),
    options={"width": 32, "depth": 2, "rings": 40},
    zone_step_deg=6.0,
    angles=24,
    pool=256,
    held_out=256,
    domain={"two_grains": 0.0, "dose": (20_000.0, 100_000.0)},
    plan={"steps": 80, "batch": 64, "rate": 5e-3, "validate_every": 40},
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    run = train_model(TINY, folder, device="cpu")
    assert run.model is not None
    return folder


def test_it_has_learnt(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "training.jsonl").open()]
    assert lines[-1]["figures"]["loss"] < lines[0]["figures"]["loss"]
    # By chance one of about 24 · 2 · 23 bins.
    assert lines[-1]["figures"]["among_proposals"] > 0.1


def test_the_card_says_what_it_is(trained: Path) -> None:
    card = read_card(trained / "tiny-gold.safetensors")
    assert card.task == "orientation"
    assert card.patterns_seen == 80 * 64
    assert [phase.name for phase in card.phases] == ["Au"]
    assert "_cell_length_a" in card.phases[0].cif
    assert card.voltage_kv == (200.0, 200.0)
    assert card.seed == 0
    assert card.calibration["temperature"] > 0
    again = (trained / RECIPE).read_text(encoding="utf-8")
    assert card.recipe == again
    assert load_training_recipe(trained / RECIPE) == TINY
    assert (trained / "training.png").stat().st_size > 5000


def test_the_same_recipe_gives_the_same_weights(trained: Path, tmp_path: Path) -> None:
    short = TINY.model_copy(update={"plan": TINY.plan.model_copy(update={"steps": 6})})
    one, other = (train_model(short, tmp_path / name, device="cpu").card for name in "ab")
    assert one is not None
    assert other is not None
    assert one.checksum == other.checksum
    assert one.checksum != read_card(trained / "tiny-gold.safetensors").checksum


def test_a_stopped_training_leaves_no_model_and_goes_on(tmp_path: Path) -> None:
    control = JobControl()
    short = TINY.model_copy(update={"plan": TINY.plan.model_copy(update={"steps": 8})})
    run = train_model(
        short,
        tmp_path / "t",
        device="cpu",
        control=control,
        on_step=lambda p: control.stop() if p.step == 3 else None,
    )
    assert run.model is None
    assert run.summary["steps"] == 3
    with pytest.raises(BadInputError, match="holds a training already"):
        train_model(short, tmp_path / "t", device="cpu")
    rest = train_model(short, tmp_path / "t", device="cpu", resume=True)
    assert rest.model is not None
    assert rest.summary["steps"] == 8


def test_the_command_trains_and_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_diffmap.cli.main import add_commands, cli
    from napari_diffmap.models.registry import find

    monkeypatch.setenv("DIFFMAP_MODELS", str(tmp_path / "models"))
    add_commands()
    recipe = tmp_path / "gold.yaml"
    recipe.write_text(recipe_yaml(TINY), encoding="utf-8")
    arguments = ["train", str(recipe), "--out", str(tmp_path / "out"), "--device", "cpu"]
    result = CliRunner().invoke(cli, [*arguments, "--steps", "4", "--add", "--json"], obj={})
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["patterns"] == 4 * 64
    assert find("tiny-gold").path == Path(record["added"])


def test_what_is_no_recipe_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="give a YAML file or one of"):
        find_recipe("nothing")
    path = tmp_path / "x.yaml"
    path.write_text("phases: [Au]\nname: gold\nplan: {steps: -1}\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"plan\.steps: .*greater than or equal to 1"):
        load_training_recipe(path)
    path.write_text("colour: red\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="names no phases"):
        load_training_recipe(path)
    path.write_text("phases: [Au\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="is no YAML file"):
        load_training_recipe(path)


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_are_recipes(name: str) -> None:
    assert load_training_recipe(find_recipe(name)).name == name


CALIBRATION = Calibration((63.5, 63.5), 0.0225, 200.0, "file", "file", "file")


def gold_patterns(which: np.ndarray) -> np.ndarray:
    """Counted patterns ``(n, ky, kx)`` of gold in the numbered random orientations."""
    from napari_diffmap.crystal.phases import load_phase
    from napari_diffmap.crystal.reflections import reflections
    from napari_diffmap.crystal.simulate import Spots, render, spots

    rng = np.random.default_rng(2)
    q = rng.normal(size=(which.max() + 1, 4))[which]
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    found = spots(reflections(load_phase("Au"), 1.45), q, 200.0, 0.02)
    level = 20_000 * found.intensity / found.intensity.sum(1, keepdim=True)
    drawn = Spots(found.kx, found.ky, found.excitation, level)
    image = render(drawn, (128, 128), (63.5, 63.5), 0.0225, 1.2).numpy() + 0.5
    y, x = np.indices((128, 128)) - 63.5
    image += 3000 * np.exp(-0.5 * (y**2 + x**2) / 1.7)
    return rng.poisson(image).astype(np.uint16)


@pytest.fixture(scope="module")
def scan() -> Scan:
    import dask.array as da

    counts = gold_patterns(np.arange(24)).reshape(4, 6, 128, 128)
    axes = (
        Axis("y", 4, 1.0, 0.0, "nm"),
        Axis("x", 6, 1.0, 0.0, "nm"),
        Axis("ky", 128),
        Axis("kx", 128),
    )
    data = da.from_array(counts, chunks=(1, 6, 128, 128))
    return Scan(data, axes, "4D-STEM", "gold", calibration=CALIBRATION)


@pytest.fixture(scope="module")
def run(scan, trained: Path):
    from napari_diffmap.jobs.orient import make_method, map_orientations
    from napari_diffmap.methods.orientation import OrientationParameters

    engine = str(trained / "tiny-gold.safetensors")
    method = make_method(["Au"], OrientationParameters(engine=engine))
    return map_orientations(scan, method, device="cpu")


def test_it_is_mapped_and_says_by_what(run, trained: Path) -> None:
    assert run.result.complete
    assert run.summary["engine"] == "tiny-gold"
    checksum = read_card(trained / "tiny-gold.safetensors").checksum
    assert run.map.provenance.parameters["used"]["engine"]["sha256"] == checksum
    assert run.map.indexed.mean() > 0.9


def test_the_templates_judge_it(run) -> None:
    judge = run.summary["judge"]
    assert judge["patterns"] == run.map.indexed.sum()
    assert judge["agree"] + judge["differ"] <= judge["agree_up_to_half_turn"] + judge["differ"]
    verdict = run.map.extra["judged"]
    assert verdict.shape == (4, 6)
    assert np.array_equal(verdict > 0, run.map.indexed)
    assert judge["agree"] == pytest.approx((verdict == 1).sum() / judge["patterns"])
    assert "templates agree in" in judge["line"]


def test_an_answer_does_not_depend_on_its_company(scan, trained: Path) -> None:
    from napari_diffmap.jobs.orient import make_method
    from napari_diffmap.methods.orientation import OrientationParameters
    from napari_diffmap.scan.tiles import iter_tiles

    engine = str(trained / "tiny-gold.safetensors")
    method = make_method(["Au"], OrientationParameters(engine=engine))
    method.prepare(scan)
    whole = [method.run(tile)["rotations"] for tile in iter_tiles(scan)]
    from napari_diffmap.scan.tiles import Tile

    for y, x in ((0, 3), (2, 5)):
        frame = np.asarray(scan.data[y, x].compute())[None, None]
        tile = Tile(slice(y, y + 1), slice(x, x + 1), frame, np.zeros((1, 1), bool))
        alone = method.run(tile)["rotations"][0, 0]
        together = np.concatenate([w.reshape(-1, *w.shape[2:]) for w in whole])[y * 6 + x]
        assert np.array_equal(alone, together)


def test_other_crystals_and_voltages_are_refused(scan, trained: Path) -> None:
    from napari_diffmap.jobs.orient import make_method
    from napari_diffmap.methods.orientation import OrientationParameters

    engine = str(trained / "tiny-gold.safetensors")
    with pytest.raises(BadInputError, match="was trained for Au, not for NiO"):
        make_method(["NiO"], OrientationParameters(engine=engine))
    other = scan.with_calibration(scan.calibration.with_voltage(300.0, "entered"))
    method = make_method(["Au"], OrientationParameters(engine=engine))
    with pytest.raises(BadInputError, match="300 kV is outside the 200 kV"):
        method.prepare(other)
    with pytest.raises(BadInputError, match="there is no model 'nothing'"):
        make_method(["Au"], OrientationParameters(engine="nothing"))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved session: four grains of gold, mapped with templates, one grain marked by hand."""
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.jobs.orient import make_method, map_orientations
    from napari_diffmap.jobs.session_file import record_of, save_session
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.maps.edits.edit import EditKind
    from napari_diffmap.scan.open import open_scan

    folder = tmp_path_factory.mktemp("session")
    np.save(folder / "gold.npy", gold_patterns(np.repeat(np.arange(4), 6)).reshape(4, 6, 128, 128))
    scan = open_scan(folder / "gold.npy", kind="4D-STEM")
    scan = scan.with_calibration(CALIBRATION)
    found = map_orientations(scan, make_method(["Au"]), device="cpu").map
    corrections = Corrections(found)
    corrections.edit(
        EditKind.ACCEPTED,
        np.arange(6),
        {
            name: getattr(found, name).reshape(24, *getattr(found, name).shape[2:])[:6, 0]
            for name in ("rotations", "phase_ids", "scores")
        },
    )
    record = record_of(scan, {"kind": "4D-STEM"}, load_phases(["Au"]), {})
    save_session(folder / "gold.diffmap", record, corrections)
    return folder / "gold.diffmap"


def test_a_model_is_adapted_to_a_corrected_map(
    trained: Path, session: Path, tmp_path: Path
) -> None:
    start = trained / "tiny-gold.safetensors"
    recipe = TINY.model_copy(
        update={
            "name": "tiny-adapted",
            "start": str(start),
            "labelled": (str(session),),
            "plan": TINY.plan.model_copy(update={"steps": 30, "rate": 2e-3, "validate_every": 30}),
        }
    )
    run = train_model(recipe, tmp_path / "adapted", device="cpu")
    assert run.card is not None
    # One whole grain of the four judges.
    assert 1 <= run.summary["labelled_judged_on"] <= 6
    assert run.summary["loss"] < 1.1 * read_losses(trained)[-1]
    _, before = read_model(start)
    _, after = read_model(tmp_path / "adapted" / "tiny-adapted.safetensors")
    assert not np.array_equal(before["head.weight"], after["head.weight"])


def test_what_cannot_be_learnt_from_is_one_line(
    trained: Path, session: Path, tmp_path: Path
) -> None:
    wrong = TINY.model_copy(update={"labelled": (str(tmp_path),)})
    with pytest.raises(BadInputError, match="is no saved session"):
        train_model(wrong, tmp_path / "a", device="cpu")
    nickel = TINY.model_copy(update={"phases": ("NiO",), "labelled": (str(session),)})
    with pytest.raises(BadInputError, match="has Au, which the recipe does not learn"):
        train_model(nickel, tmp_path / "b", device="cpu")
    other = TINY.model_copy(
        update={
            "start": str(trained / "tiny-gold.safetensors"),
            "options": {"width": 16, "depth": 2},
        }
    )
    with pytest.raises(BadInputError, match="is another network than the recipe's"):
        train_model(other, tmp_path / "c", device="cpu")
    assert not any((tmp_path / name).exists() for name in "abc")


def read_losses(folder: Path) -> list[float]:
    lines = (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["figures"]["loss"] for line in lines]


def test_weights_of_another_network_are_refused(trained: Path) -> None:
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.methods.networks.model import load_proposer

    card, state = read_model(trained / "tiny-gold.safetensors")
    del state["head.weight"]
    with pytest.raises(BadInputError, match="not those of its card"):
        load_proposer(card, state, load_phases(["Au"]))
