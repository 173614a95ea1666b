"""How a network learns from few images, and what comes of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from napari_diffmap.methods.defects.network.augment import augmented
from napari_diffmap.methods.defects.network.calibrated import TOLERANCE, scores
from napari_diffmap.methods.defects.network.inputs import SPACING
from napari_diffmap.methods.defects.network.labels_sites import disks
from napari_diffmap.methods.defects.network.model import DefectNetwork
from napari_diffmap.methods.defects.network.own_samples import PATCH
from napari_diffmap.methods.defects.network.recipe import UNET
from napari_diffmap.methods.defects.network.samples import Sample
from napari_diffmap.methods.defects.network.tasks import MarksTask
from napari_diffmap.methods.defects.network.unet import Ensemble
from napari_diffmap.models.card import Accuracy, ModelCard, NetworkSpec
from napari_diffmap.models.training import OnStep, Plan, Progress, Trained, train

#: Validations without progress after which a training ends.
PATIENCE: Final = 3


@dataclass(frozen=True, eq=False)
class Learnt:
    """A network that learnt from an image.

    Attributes
    ----------
    card, state
        Of the model, see `models.weights.write_model`.
    history
        Validations.
    complete
        False where it was stopped by hand; it can be used as it is.
    """

    card: ModelCard
    state: dict[str, Tensor]
    history: tuple[Progress, ...]
    complete: bool

    def network(self, device: str = "cpu") -> DefectNetwork:
        """Ready to be asked."""
        return DefectNetwork(self.card, self.state, device)

    def save(self, folder: Path) -> Path:
        """Write ``NAME.safetensors`` into a folder."""
        from napari_diffmap.models.weights import SUFFIX, write_model

        path = folder / f"{self.card.name}{SUFFIX}"
        write_model(path, self.state, self.card)
        return path


class OneImageTask(MarksTask):
    """Patches of few images, varied; the best validation so far is remembered."""

    def __init__(
        self, learnt: Sequence[Sample], judged: Sequence[Sample], patch: int, seed: int
    ) -> None:
        super().__init__(learnt, judged, patch, seed)
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.worse = np.inf, 0

    def batches(self, members: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """``(members, batch, …)`` varied inputs, marks and weights."""
        parts = augmented(*self.pool.draw(members * batch), self.pool.random)
        one, two, three = (part.unflatten(0, (members, batch)) for part in parts)
        return one, two, three

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on the held-out part."""
        figures = super().validate(network)
        if figures["loss"] < self.best_loss:
            self.best = {k: v.detach().clone() for k, v in network.state_dict().items()}
            self.best_loss, self.worse = figures["loss"], 0
        else:
            self.worse += 1
        return figures

    def figures(
        self, network: nn.Module, calibration: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Precision and recall among what is known: other finds are neither right nor wrong."""
        found = []
        for some, sample in zip(self.found(network, calibration), self.held_out, strict=True):
            at = tuple(np.rint(some.places).astype(int).T)
            near = disks(sample.weight.shape, sample.places, TOLERANCE * SPACING + 1)
            found.append(some.take((sample.weight[at] > 0.5) | (near[at] > 0)))
        return scores(found, self.truth)


class Learning:
    """A training on images, until it is done, gets no better, or is stopped.

    Parameters
    ----------
    network
        Learns.
    learnt, judged
        Samples.
    plan, folder, resume, on_step, stopped
        See `models.training.train`.
    patient
        Whether it ends after `PATIENCE` validations that got no better.
    """

    def __init__(
        self,
        network: Ensemble,
        learnt: Sequence[Sample],
        judged: Sequence[Sample],
        plan: Plan,
        folder: Path | None,
        resume: bool,
        on_step: OnStep | None,
        stopped: Callable[[], bool],
        patient: bool = True,
    ) -> None:
        self.network, self.plan = network, plan
        self.task = OneImageTask(learnt, judged, PATCH, plan.seed)
        self.by_hand = False

        def ended() -> bool:
            self.by_hand = stopped()
            return self.by_hand or (patient and self.task.worse >= PATIENCE)

        self.trained: Trained = train(
            network,
            self.task,
            plan,
            folder=folder,
            resume=resume,
            on_step=on_step,
            stopped=ended,
        )
        if self.task.best:
            network.load_state_dict(self.task.best)
        network.eval()

    def finished(
        self,
        *,
        name: str,
        title: str,
        material: str,
        spacing: float,
        brightness: float,
        recipe: dict[str, Any],
        limits: tuple[str, ...],
        judged_on: str,
        materials: tuple[str, ...] = (),
        calibration: Mapping[str, float] | None = None,
    ) -> Learnt:
        """The model with its card."""
        import yaml

        from napari_diffmap import __version__

        steps = self.trained.progress.step
        with torch.inference_mode():
            numbers = dict(calibration or {}) or self.task.calibrated(self.network)
            figures = self.task.figures(self.network, numbers)
        card = ModelCard.model_validate(
            {
                "name": name,
                "title": title,
                "version": "1",
                "task": "defects",
                "network": NetworkSpec(family=UNET, options=dict(self.network.build)),
                "materials": materials or (material,),
                "spacing_px": (0.5 * spacing, 2 * spacing),
                "dose": (max(0.0, 0.5 * brightness), max(0.0, 2 * brightness)),
                "trained_on": title,
                "recipe": str(yaml.safe_dump({"task": "defects", "name": name, **recipe})),
                "seed": self.plan.seed,
                "patterns_seen": steps * self.plan.batch,
                "trained_seconds": round(self.trained.progress.seconds, 1),
                "trained_device": str(next(self.network.parameters()).device),
                "date": datetime.date.today().isoformat(),
                "project_version": __version__,
                "accuracy": (
                    Accuracy(
                        dataset=judged_on,
                        patterns=int(figures["defects"]),
                        precision=_share(figures["precision"]),
                        recall=_share(figures["recall"]),
                        f1=_share(figures["f1"]),
                        expected_calibration_error=_share(figures["calibration_error"]),
                    ),
                ),
                "limits": limits,
                "calibration": {**numbers, "spacing": SPACING},
                "licence": "of the one who trained it",
            }
        )
        state = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}
        return Learnt(card, state, self.trained.history, not self.by_hand)


def _share(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
