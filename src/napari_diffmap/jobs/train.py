"""Training of a model, from its recipe to the file: the same call in window and terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.training_run import (
    TrainingRun,
    device_to_train_on,
    ended,
    learnt,
    origin_of,
    summary_of,
)

if TYPE_CHECKING:
    from torch import nn

    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.methods.networks.recipe import TrainingRecipe
    from napari_diffmap.methods.networks.tasks import OrientationTask
    from napari_diffmap.models.card import ModelCard, Task
    from napari_diffmap.models.training import OnStep, Trained


def train_model(
    recipe: TrainingRecipe,
    folder: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    control: JobControl | None = None,
    on_step: OnStep | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> TrainingRun:
    """Train a model and write it.

    Parameters
    ----------
    recipe
        What is learnt, and how.
    folder
        Gets the checkpoint, the log, the recipe, the curves and, at the end,
        ``NAME.safetensors``.
    device
        ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.
    resume
        Go on with the training in `folder`.
    control
        To pause and stop.
    on_step, on_stage
        Told how it goes, in numbers and in words.

    Raises
    ------
    BadInputError
        If recipe or folder do not do.
    """
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.methods.networks.model import new_network

    device = device_to_train_on(device, folder, resume=resume)
    say = on_stage or (lambda _: None)
    phases = load_phases(recipe.phases)
    say("simulating patterns to judge by")
    network, task, options = new_network(recipe, phases, device)
    for session in recipe.labelled:
        say(f"finding the spots of {Path(session).name}")
        add_session(task, Path(session).expanduser(), recipe, phases)
    trained = learnt(
        network,
        task,
        recipe,
        folder,
        begin=lambda: say("simulating the first patterns to learn from"),
        resume=resume,
        control=control,
        on_step=on_step,
    )
    own = {"family": recipe.family, "phases": [phase.name for phase in phases]}
    summary = summary_of(recipe, trained, device, own)
    if not trained.complete:
        return TrainingRun(None, None, summary)
    say("calibrating its confidence")
    card = finished(recipe, phases, task, network, trained, options, summary["device"])
    return ended(folder, card, trained, summary)


def add_session(
    task: OrientationTask,
    folder: Path,
    recipe: TrainingRecipe,
    phases: Sequence[CrystalPhase],
) -> None:
    """Let a task learn from the map of a saved session.

    Raises
    ------
    BadInputError
        If the session holds no map, or one of other crystals.
    """
    import numpy as np
    import torch

    from napari_diffmap.jobs.orient import calibrated
    from napari_diffmap.jobs.session_file import is_session, load_session, options_of
    from napari_diffmap.maps.edits.edit import EDITED
    from napari_diffmap.maps.orientation_map import oriented
    from napari_diffmap.methods.networks.labelled import labelled, split_by_grain
    from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
    from napari_diffmap.scan.open import open_scan

    if not is_session(folder):
        raise BadInputError(f"{folder} is no saved session: save one in the Doubt dock")
    saved = load_session(folder)
    if saved.corrections is None:
        raise BadInputError(f"{folder.name} holds no map: map its scan first")
    found = oriented(saved.corrections.map)
    names = [phase.name for phase in phases]
    strange = [phase.name for phase in found.phases if phase.name not in names]
    if strange:
        raise BadInputError(
            f"{folder.name} has {', '.join(strange)}, which the recipe does not learn: add"
            " the phase to the recipe"
        )
    scan = open_scan(saved.file, **options_of(saved.record))
    scan = calibrated(scan.with_calibration(saved.calibration))
    own = [phases[names.index(phase.name)] for phase in found.phases]
    method = OrientationMethod(OrientationParameters(), own)
    method.prepare(scan)
    codes = found.extra.get(EDITED)
    corrected = None if codes is None else np.asarray(codes) > 0
    some = labelled(scan, method, found, corrected=corrected, seed=recipe.plan.seed)
    number = torch.as_tensor([names.index(phase.name) for phase in found.phases])
    some = replace(some, phase=number[some.phase])
    task.add_labelled(
        some, split_by_grain(some.grain, seed=recipe.plan.seed), recipe.labelled_share
    )


def finished(
    recipe: TrainingRecipe,
    phases: tuple[CrystalPhase, ...],
    task: OrientationTask,
    network: nn.Module,
    trained: Trained,
    options: Mapping[str, Any],
    device: str,
) -> ModelCard:
    """The card of a trained network."""
    import torch

    from napari_diffmap.methods.networks.model import phase_notes
    from napari_diffmap.models.card import Accuracy, ModelCard, NetworkSpec

    network.eval()
    with torch.inference_mode():
        calibration = task.calibrated(network)
        held_out = task.figures(network)
    d = recipe.domain
    return ModelCard(
        **origin_of(recipe, trained, device),
        task="orientation",
        network=NetworkSpec(family=recipe.family, options=dict(options)),
        phases=phase_notes(phases),
        voltage_kv=(d.voltage_kv, d.voltage_kv),
        thickness_nm=d.thickness_nm,
        precession_deg=(0.0, 1.0 if d.kinematic else 0.0),
        dose=d.dose,
        q_min=d.q_min[0],
        q_max=d.q_max[1],
        pixel_size=(0.0, 0.1),
        trained_on="Bloch-wave and kinematic spot lists simulated by this project",
        accuracy=(
            Accuracy(
                dataset="held out of the training, first proposal",
                patterns=int(held_out["judged_on"]),
                within_3deg=held_out["within_3deg"],
                within_3deg_up_to_twin=held_out["within_3deg_up_to_half_turn"],
                phase_balanced_accuracy=held_out["phase_balanced"] if len(phases) > 1 else None,
                expected_calibration_error=held_out["calibration_error"],
            ),
        ),
        calibration=calibration,
    )


def shipped_recipes(task: Task | None = "orientation") -> dict[str, Path]:
    """Recipes of the package by name, those for one task or (None) all."""
    from importlib.resources import files

    folder = Path(str(files("napari_diffmap.models"))) / "recipes"
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {k: path for k, path in found.items() if task in (None, task_of(path))}


def task_of(path: Path) -> Task:
    """What a recipe's model will answer; of a file that says nothing, orientations."""
    import yaml

    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return "orientation"  # who reads it will tell what is wrong
    said = record.get("task") if isinstance(record, dict) else None
    return "defects" if said == "defects" else "orientation"


def find_recipe(name: str) -> Path:
    """A recipe by its path, or the name of a shipped one.

    Raises
    ------
    BadInputError
        If there is none.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = shipped_recipes(None)
    if name in known:
        return known[name]
    raise BadInputError(f"no recipe {name!r}: give a YAML file or one of {', '.join(known)}")
