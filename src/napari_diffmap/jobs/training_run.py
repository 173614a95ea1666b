"""What trainings share, whatever a model is to answer: folder, curves, summary, card, file."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.models.device import device_label, resolve_device
from napari_diffmap.models.recipe_file import recipe_yaml

if TYPE_CHECKING:
    from torch import nn

    from napari_diffmap.methods.defects.network.recipe import DefectRecipe
    from napari_diffmap.methods.networks.recipe import TrainingRecipe
    from napari_diffmap.models.card import ModelCard
    from napari_diffmap.models.training import OnStep, Progress, Task, Trained

#: What a training leaves in its folder.
RECIPE, PICTURE = "training.yaml", "training.png"
LICENCE = "BSD-3-Clause"
#: Figures of a validation that are drawn, and what they are called.
_CURVES = {
    "right": "first proposal",
    "right_up_to_half_turn": "… or its half turn",
    "among_proposals": "any proposal",
    "phase": "phase",
}


@dataclass(frozen=True)
class TrainingRun:
    """A training that ended or was stopped.

    Attributes
    ----------
    model
        The file; None when stopped before the end.
    card
        What it says of itself.
    summary
        What ``summary.json`` holds.
    """

    model: Path | None
    card: ModelCard | None
    summary: dict[str, Any]


def device_to_train_on(device: str, folder: Path, *, resume: bool) -> str:
    """The device of a training, once it is sure that its folder is free.

    Raises
    ------
    BadInputError
        If there is no such device, or `folder` holds a training that is not to be resumed.
    """
    from napari_diffmap.models.training import CHECKPOINT

    device = resolve_device(device, network=True)
    if not resume and (folder / CHECKPOINT).exists():
        raise BadInputError(
            f"{folder} holds a training already: resume it, or choose another folder"
        )
    return device


def learnt(
    network: nn.Module,
    task: Task,
    recipe: TrainingRecipe | DefectRecipe,
    folder: Path,
    *,
    begin: Callable[[], None],
    curves: Mapping[str, str] | None = None,
    resume: bool,
    control: JobControl | None,
    on_step: OnStep | None,
) -> Trained:
    """Train a network in a folder that keeps the recipe and gets the curves.

    Parameters
    ----------
    network, task
        On the device it shall learn on; what is learnt.
    recipe
        How.
    folder
        Made where there is none.
    begin
        Called when the recipe is written and the first step comes.
    curves
        See `draw_curves`.
    resume, control, on_step
        As for `train_model`.
    """
    from napari_diffmap.maps.atomic import atomic_path
    from napari_diffmap.models.training import train

    held = control or JobControl()

    def stopped() -> bool:
        try:
            held.check()
        except CancelledError:
            return True
        return False

    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / RECIPE) as path:
        path.write_text(recipe_yaml(recipe), encoding="utf-8")
    begin()
    trained = train(
        network, task, recipe.plan, folder=folder, resume=resume, on_step=on_step, stopped=stopped
    )
    draw_curves(trained.history, folder / PICTURE, curves)
    return trained


def summary_of(
    recipe: TrainingRecipe | DefectRecipe, trained: Trained, device: str, own: Mapping[str, Any]
) -> dict[str, Any]:
    """What a training did on a device; `own` is what its kind of model adds."""
    return {
        "model": recipe.name,
        **own,
        "steps": trained.progress.step,
        "patterns": trained.progress.step * recipe.plan.batch,
        "seconds": round(trained.progress.seconds, 1),
        "device": device_label(device),
        "complete": trained.complete,
        **trained.progress.figures,
    }


def origin_of(
    recipe: TrainingRecipe | DefectRecipe, trained: Trained, device: str
) -> dict[str, Any]:
    """What a card of any kind says of where its model comes from; `device` is in words."""
    from napari_diffmap import __version__

    return {
        "name": recipe.name,
        "title": recipe.title or recipe.name,
        "version": "1",
        "recipe": recipe_yaml(recipe),
        "seed": recipe.plan.seed,
        "patterns_seen": trained.progress.step * recipe.plan.batch,
        "trained_seconds": round(trained.progress.seconds, 1),
        "trained_device": device,
        "date": datetime.date.today().isoformat(),
        "project_version": __version__,
        "limits": recipe.limits,
        "licence": LICENCE,
    }


def ended(
    folder: Path, card: ModelCard, trained: Trained, summary: Mapping[str, Any]
) -> TrainingRun:
    """Write the model of a finished training, and say in its summary where it is."""
    from napari_diffmap.models.weights import SUFFIX, write_model

    path = folder / f"{card.name}{SUFFIX}"
    card = write_model(path, {k: v.cpu() for k, v in trained.weights.items()}, card)
    return TrainingRun(path, card, {**summary, "file": str(path), "checksum": card.checksum})


def draw_curves(
    history: tuple[Progress, ...], path: Path, names: Mapping[str, str] | None = None
) -> None:
    """Loss and shares right over the patterns seen, as a PNG.

    Parameters
    ----------
    history
        Validations.
    path
        Of the picture.
    names
        Figures to draw, at most four, and what they are called; those of orientations by default.
    """
    if not history:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [one.step for one in history]
    left.plot(steps, [one.loss for one in history], label="trained on", color="#0072B2")
    left.plot(steps, [one.figures["loss"] for one in history], label="held out", color="#D55E00")
    left.set(xlabel="step", ylabel="loss")
    colors = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7")
    for (key, label), color in zip((names or _CURVES).items(), colors, strict=False):
        if key in history[-1].figures:
            right.plot(steps, [100 * h.figures[key] for h in history], label=label, color=color)
    share = "right within 5° (%)" if names is None else "%"
    right.set(xlabel="step", ylabel=share, ylim=(0, 100))
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
