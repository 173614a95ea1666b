"""Training of a model that finds defects, from its recipe to the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    from napari_diffmap.methods.defects.network.recipe import DefectRecipe
    from napari_diffmap.models.card import ModelCard
    from napari_diffmap.models.training import OnStep, Trained

#: Curves of the picture: figure of a validation, and what it is called.
_CURVES = {
    "f1": "F1",
    "precision": "of the finds are defects",
    "recall": "of the defects are found",
}
#: Images of each kind that a finished model is judged on, at most; none was calibrated on.
_JUDGED = 256


def train_defects(
    recipe: DefectRecipe,
    folder: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    control: JobControl | None = None,
    on_step: OnStep | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> TrainingRun:
    """Train a model on simulated monolayers and write it.

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
    import torch

    from napari_diffmap.methods.defects.network.tasks import SimulatedTask
    from napari_diffmap.methods.defects.network.unet import Ensemble

    device = device_to_train_on(device, folder, resume=resume)
    say = on_stage or (lambda _: None)
    network = Ensemble(**recipe.build(), seed=recipe.plan.seed)
    if recipe.start:
        _start_from(recipe, network)
    network.to(device)
    say("simulating images to judge by")
    task = SimulatedTask(recipe)
    trained = learnt(
        network,
        task,
        recipe,
        folder,
        begin=lambda: say("simulating the first images to learn from"),
        curves=_CURVES,
        resume=resume,
        control=control,
        on_step=on_step,
    )
    own = {"task": "defects", "materials": list(recipe.materials)}
    summary = summary_of(recipe, trained, device, own)
    if not trained.complete:
        return TrainingRun(None, None, summary)
    say("calibrating its probabilities")
    network.eval()
    with torch.inference_mode():
        calibration = task.calibrated(network)
        judged = task.judged_anew(network, calibration, min(_JUDGED, 3 * recipe.held_out))
    card = finished(recipe, trained, calibration, judged, summary["device"])
    run = ended(folder, card, trained, summary)
    return replace(run, summary={**run.summary, "judged": judged})


def finished(
    recipe: DefectRecipe,
    trained: Trained,
    calibration: Mapping[str, float],
    judged: Mapping[str, Mapping[str, float]],
    device: str,
) -> ModelCard:
    """The card of a trained network; `judged` has figures by the names of sets of images."""
    from napari_diffmap.methods.defects.network.inputs import SPACING
    from napari_diffmap.methods.defects.network.recipe import UNET
    from napari_diffmap.models.card import Accuracy, ModelCard, NetworkSpec

    return ModelCard.model_validate(
        {
            **origin_of(recipe, trained, device),
            "task": "defects",
            "network": NetworkSpec(family=UNET, options=dict(recipe.build())),
            "materials": recipe.materials,
            # Coarser ones are resampled as well, but columns are no longer apart.
            "spacing_px": (5.0, 40.0),
            "dose": (12.0, 1500.0),
            "trained_on": "images of monolayers with defects simulated by this project",
            "accuracy": tuple(
                Accuracy(
                    dataset=name,
                    patterns=int(figures["defects"]),
                    precision=_share(figures["precision"]),
                    recall=_share(figures["recall"]),
                    f1=_share(figures["f1"]),
                    expected_calibration_error=_share(figures["calibration_error"]),
                )
                for name, figures in judged.items()
            ),
            "calibration": {"spacing": SPACING, **calibration},
        }
    )


def _share(value: float) -> float | None:
    return round(value, 4) if value == value else None


def _start_from(recipe: DefectRecipe, network: Any) -> None:
    """Take the weights of a model."""
    from napari_diffmap.models.registry import find
    from napari_diffmap.models.weights import read_model

    card, state = read_model(find(recipe.start, "defects").path)
    if dict(card.network.options) != recipe.build():
        raise BadInputError(
            f"{card.name} is another network than the recipe's: give the width, levels and members"
            " of its card"
        )
    network.load_state_dict(dict(state))
