"""Training of networks for defects, their files, what they say of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError, ModelError
from napari_diffmap.methods.defects.lattice import find_lattice
from napari_diffmap.methods.defects.network.calibrated import matched
from napari_diffmap.methods.defects.network.inputs import seen, standardised
from napari_diffmap.methods.defects.network.learning import Learnt
from napari_diffmap.methods.defects.network.model import DefectNetwork
from napari_diffmap.methods.defects.network.own_samples import Corrected, halves
from napari_diffmap.methods.defects.network.recipe import (
    DefectRecipe,
    defect_recipe,
    load_defect_recipe,
)
from napari_diffmap.methods.defects.network.residual import pristine_fit
from napari_diffmap.methods.defects.network.samples import Sample, sample_of, simulated_samples
from napari_diffmap.methods.defects.network.training import adapt, train_on_image
from napari_diffmap.methods.defects.scenes import random_scene
from napari_diffmap.methods.defects.simulated import simulate
from napari_diffmap.models.card import ModelCard
from napari_diffmap.models.recipe_file import recipe_yaml
from napari_diffmap.models.registry import find
from napari_diffmap.models.training import Plan
from napari_diffmap.models.weights import read_card, read_model

#: A training of seconds.
TINY = {
    "task": "defects",
    "name": "tiny-defects",
    "materials": ["WS2"],
    "width": 4,
    "levels": 2,
    "members": 2,
    "scene": 64,
    "patch": 32,
    "pool": 4,
    "held_out": 4,
    "plan": {"steps": 6, "batch": 2, "validate_every": 3},
    "limits": ["knows next to nothing"],
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from napari_diffmap.jobs.train_defects import train_defects

    folder = tmp_path_factory.mktemp("defects") / "run"
    run = train_defects(defect_recipe(TINY), folder, device="cpu")
    assert run.model is not None
    assert (folder / "training.png").is_file()
    return run.model


# ------------------------------------------------------------------ samples
def test_the_residual_shows_defects_and_no_lattice() -> None:
    rng = np.random.default_rng(4)
    scene = simulate(rng, size=140, pixel_nm=0.0394, vacancies=8, dopants=8, peak=400)
    fit = pristine_fit(scene.image, scene.sites, scene.sublattice, scene.spacing)
    found = seen(standardised(scene.image), fit.residual, fit.sites)[2]
    y, x = np.rint(scene.truth.places).astype(int).T
    assert (found[y, x] < -1.5).all()  # both kinds lack intensity
    assert found[y, x][scene.truth.sublattice == 1].mean() < -3
    away = np.ones(found.shape, bool)
    for place in scene.truth.places:
        yy, xx = np.ogrid[: found.shape[0], : found.shape[1]]
        away &= np.hypot(yy - place[0], xx - place[1]) > scene.spacing
    assert np.abs(found[away]).mean() < 1.2
    rows, columns = np.rint(scene.sites).astype(int).T
    inside = (rows > 2) & (rows < 137) & (columns > 2) & (columns < 137)
    bright = found[rows[inside], columns[inside]]
    ok = away[rows[inside], columns[inside]]
    assert abs(np.median(bright[ok])) < 0.5


def test_samples_of_a_seed_are_the_same() -> None:
    one, again = (simulated_samples(np.random.default_rng(5), 2, 64) for _ in range(2))
    assert all(np.array_equal(a.seen, b.seen) for a, b in zip(one, again, strict=True))
    assert one[0].seen.shape == (4, 64, 64)
    assert one[0].marks.shape == (2, 64, 64)


def test_marks_lie_on_what_is_off() -> None:
    rng = np.random.default_rng(0)
    scene = random_scene(rng, 128, 8.0, ["MoS2"])
    sample = sample_of(scene, rng)
    y, x = np.clip(np.rint(sample.places).astype(int), 0, 127).T
    assert (sample.marks[sample.excess.astype(int), y, x] > 0.4).all()
    assert sample.marks.sum() < 0.2 * sample.marks.size


def test_halves_share_nothing() -> None:
    places = np.array([[30.0, 20.0], [30.0, 100.0], [30.0, 190.0]])
    seen = np.broadcast_to(np.arange(200, dtype=np.float32), (2, 100, 200))
    weight = np.ones((100, 200), np.float32)
    whole = Sample(seen, np.zeros((2, 100, 200), np.float32), weight, places, np.zeros(3, bool))
    (learnt,), judged = halves(whole)
    assert judged.seen.min() - learnt.seen.max() > 32
    assert len(learnt.places) + len(judged.places) <= 3
    assert judged.places[-1, 1] + judged.seen.min() == 190
    with pytest.raises(BadInputError, match="too few to learn"):
        halves(Sample(seen[..., :90], seen[..., :90], weight[:, :90], places, whole.excess))


# -------------------------------------------------------- recipe, file, list
def test_a_recipe_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"materials: .* cannot be simulated"):
        defect_recipe(TINY | {"materials": ["NaCl"]})
    with pytest.raises(BadInputError, match="patch"):
        defect_recipe(TINY | {"patch": 128})
    path = tmp_path / "one.yaml"
    path.write_text(recipe_yaml(defect_recipe(TINY)), encoding="utf-8")
    assert load_defect_recipe(path) == defect_recipe(TINY)
    path.write_text("phases: [NiO]\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="no recipe for defects"):
        load_defect_recipe(path)


def test_a_trained_model_is_a_file_with_a_card(tiny: Path) -> None:
    card = read_card(tiny)
    assert card.task == "defects"
    assert card.subjects == ("WS2",)
    assert card.accuracy[0].precision is None or 0 <= card.accuracy[0].precision <= 1
    assert card.patterns_seen == 12
    text = card.describe()
    assert "WS2" in text
    assert "kV" not in text
    assert "space" not in text
    network = DefectNetwork.load(tiny)
    assert network.spacing == 8
    with pytest.raises(ModelError, match="is for defects"):
        find(tiny, "orientation")


def test_the_command_line_trains_lists_and_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_diffmap.cli import run

    def printed(*arguments: str) -> str:
        assert run(arguments, lambda *_, **__: None) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(recipe_yaml(defect_recipe(TINY)), encoding="utf-8")
    some = ("train", str(recipe), "--out", str(tmp_path / "out"), "--device", "cpu")
    assert "of the defects are found" in printed(*some, "--steps", "3", "--add")
    assert "tiny-defects: defects, WS2, " in printed("models")
    shown = printed("models", "tiny-defects")
    assert "materials   WS2" in shown
    assert "knows next to nothing" in shown


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    from napari_diffmap.jobs.control import JobControl
    from napari_diffmap.jobs.train_defects import train_defects

    recipe, control = defect_recipe(TINY), JobControl()
    folder = tmp_path / "run"
    half = train_defects(
        recipe,
        folder,
        device="cpu",
        control=control,
        on_step=lambda p: control.stop() if p.step == 3 else None,
    )
    assert half.model is None
    assert half.summary["steps"] == 3
    with pytest.raises(BadInputError, match="holds a training"):
        train_defects(recipe, folder, device="cpu")
    run = train_defects(recipe, folder, device="cpu", resume=True)
    assert run.summary["steps"] == 6
    assert run.model is not None


@pytest.mark.parametrize("wrong", [{"materials": ()}, {"spacing_px": None}, {"spacing_px": (9, 2)}])
def test_a_card_for_defects_says_its_materials(tiny: Path, wrong: dict[str, object]) -> None:
    record = read_card(tiny).model_dump()
    with pytest.raises(ValueError, match=r"materials|backwards"):
        ModelCard.model_validate(record | wrong)
    again = ModelCard.model_validate({k: v for k, v in record.items() if k != "voltage_kv"})
    assert again.voltage_text == ""


def test_another_network_is_no_network_for_defects(tiny: Path) -> None:
    card, state = read_model(tiny)
    with pytest.raises(ModelError, match="not those of its card"):
        DefectNetwork(card, {k: v[..., :1] for k, v in state.items()})
    other = card.network.model_copy(update={"family": "polar"})
    with pytest.raises(ModelError, match="no network for defects"):
        DefectNetwork(card.model_copy(update={"network": other}), state)


# ------------------------------------------------------------------- shipped
@pytest.fixture(scope="module")
def shipped() -> DefectNetwork:
    return DefectNetwork.load("monolayer")


def test_the_shipped_model_is_small_and_of_its_recipe() -> None:
    from napari_diffmap.jobs.train import find_recipe, shipped_recipes

    entry = find("monolayer", "defects")
    assert entry.shipped
    assert entry.nbytes < 2e6
    assert entry.card is not None
    assert "monolayer" in shipped_recipes("defects")
    assert "monolayer" not in shipped_recipes()
    import yaml

    said = defect_recipe(yaml.safe_load(entry.card.recipe))
    assert isinstance(said, DefectRecipe)
    assert said == load_defect_recipe(find_recipe("monolayer"))
    assert entry.card.patterns_seen == said.plan.steps * said.plan.batch


@pytest.mark.parametrize("peak", [100, 400])
def test_the_shipped_model_finds_vacancies_and_dopants(shipped: DefectNetwork, peak: float) -> None:
    rng = np.random.default_rng(17)
    scene = simulate(rng, size=300, peak=peak, vacancies=20, dopants=15)
    look = shipped.look(scene.image, find_lattice(scene.image))
    sure = look.finds.take(look.finds.probability > 0.5)
    partner, _ = matched(
        sure.places, sure.excess, scene.truth.places, scene.truth.excess, 0.38 * scene.spacing
    )
    hits = (partner >= 0).sum()
    f1 = 2 * hits / (len(sure) + len(scene.truth.places))
    assert f1 > (0.85 if peak == 100 else 0.95)
    shown = look.map_of(scene.image.shape)
    y, x = np.rint(sure.places).astype(int).T
    assert shown[y, x].mean() > 0.4


def test_without_a_lattice_it_still_looks(shipped: DefectNetwork) -> None:
    scene = simulate(np.random.default_rng(3), size=200, peak=400, vacancies=0, dopants=12)
    look = shipped.look(scene.image, None, spacing=scene.spacing)
    assert len(look.finds.take(look.finds.probability > 0.5)) >= 6
    with pytest.raises(BadInputError, match="lattice constant"):
        shipped.look(scene.image, None)


# --------------------------------------------------------- from one image
def test_a_network_learns_from_the_image_alone(tmp_path: Path) -> None:
    scene = simulate(np.random.default_rng(1), size=256, peak=400, vacancies=30, dopants=20)
    steps: list[int] = []
    own = train_on_image(
        scene.image,
        find_lattice(scene.image),
        "sites",
        plan=Plan(steps=12, batch=2, validate_every=6, rate=0.004),
        members=2,
        width=4,
        on_step=lambda p: steps.append(p.step),
        stopped=lambda: len(steps) >= 9,
    )
    assert steps == list(range(1, 10))
    assert not own.complete
    path = own.save(tmp_path)
    assert read_card(path).materials == ("other",)
    network = DefectNetwork.load(path)
    assert network.look(scene.image, find_lattice(scene.image)).probability.shape[0] == 2


def test_corrections_teach(shipped: DefectNetwork) -> None:
    """A bright atom that is said to be none is found less surely afterwards, others are not."""
    rng = np.random.default_rng(2)
    scene = simulate(rng, size=200, peak=300, vacancies=10, dopants=8)
    lattice = find_lattice(scene.image)
    truth = scene.truth
    light = truth.sublattice == 1
    before = shipped.look(scene.image, lattice)
    frame = Corrected(
        scene.image,
        lattice,
        scene.spacing,
        truth.places[~light],
        truth.excess[~light],
        truth.places[light],
    )
    learnt: Learnt = adapt(
        shipped, [frame], plan=Plan(steps=14, batch=3, rate=0.003, average=0.5), replay=0
    )
    after = learnt.network().look(scene.image, lattice)

    def said(look: object, places: np.ndarray) -> float:
        y, x = np.rint(places * look.zoom).astype(int).T  # type: ignore[attr-defined]
        return float(look.probability[0, y, x].mean())  # type: ignore[attr-defined]

    assert said(after, truth.places[light]) < said(before, truth.places[light]) - 0.2
    assert said(after, truth.places[~light]) > said(after, truth.places[light]) + 0.2
    assert learnt.card.name == "adapted"
    with pytest.raises(BadInputError, match="nothing to learn"):
        adapt(shipped, [])
