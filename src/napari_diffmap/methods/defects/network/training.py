"""Learning from the image itself: a network of its own, or the shipped one adapted in a minute.

Learnt on one part of the field and judged on another that no patch of the first reaches; shares
of patches that overlap say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.lattice import Lattice
from napari_diffmap.methods.defects.monolayers import MONOLAYERS
from napari_diffmap.methods.defects.network.learning import Learning, Learnt
from napari_diffmap.methods.defects.network.model import DefectNetwork
from napari_diffmap.methods.defects.network.own_samples import (
    Corrected,
    halves,
    labelled_by_hand,
    labelled_fourier,
    labelled_sites,
    sample_of_image,
)
from napari_diffmap.methods.defects.network.samples import simulated_samples
from napari_diffmap.methods.defects.network.unet import Ensemble
from napari_diffmap.models.training import OnStep, Plan

__all__ = ["ADAPT", "OWN", "Corrected", "Learnt", "adapt", "train_on_image"]

#: A network of one image; the shipped one adapted.
OWN: Final = Plan(steps=400, batch=8, rate=0.004, average=0.99, decay=0.02, validate_every=40)
ADAPT: Final = Plan(steps=120, batch=6, rate=0.001, average=0.97, decay=0.01, validate_every=30)
#: Members of an ensemble begin with weights that differ by this share of their spread.
_PERTURBED = 0.02
#: Simulated images that are learnt again, so that they are not forgotten.
_REPLAY = 32
_SOURCES = {"sites": "the site model", "fourier": "its low frequencies"}


def train_on_image(
    image: NDArray[np.floating],
    lattice: Lattice | None,
    labels: str = "sites",
    *,
    spacing: float | None = None,
    name: str = "own",
    material: str = "other",
    plan: Plan = OWN,
    members: int = 3,
    width: int = 12,
    folder: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    on_step: OnStep | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Learnt:
    """Train a network on one image, without any other.

    Parameters
    ----------
    image
        ``(Y, X)``, bright atoms.
    lattice
        Of it; needed for the labels of the site model.
    labels
        ``sites``: of the site model; ``fourier``: of the low frequencies, cut below the first
        Bragg ring.
    spacing
        Lattice constant in pixels where there is no lattice.
    name, material
        For the card.
    plan, members, width
        How long it learns; the build.
    folder, resume
        Where a checkpoint is kept, and whether to go on with it.
    device
        ``cpu``, ``cuda`` or ``mps``.
    on_step, stopped
        Told after every step; asked whether to stop: what is learnt by then is kept.

    Raises
    ------
    BadInputError
        If there is no lattice to label by, no defect in the labels, or too small an image.
    """
    constant = spacing if lattice is None else lattice.spacing
    if constant is None:
        raise BadInputError("no lattice was found: give the lattice constant in nm to train")
    known = np.isfinite(image)
    full = np.where(known, image, np.median(image[known]) if known.any() else 0.0)
    made = labelled_sites(full, lattice) if labels == "sites" else labelled_fourier(full, constant)
    sample = sample_of_image(full, lattice, constant, made)
    if len(sample.places) < 4:
        raise BadInputError(
            f"the labels hold {len(sample.places)} defects, too few to learn from: adapt the"
            " shipped network instead"
        )
    learnt, judged = halves(sample)
    network = Ensemble(members, width, seed=plan.seed).to(device)
    what = {"labels": labels, "plan": plan.model_dump(mode="json")}
    run = Learning(network, learnt, [judged], plan, folder, resume, on_step, stopped)
    return run.finished(
        name=name,
        judged_on="labels of a part of the image that was kept apart",
        title=f"Trained on one image, labels of {_SOURCES[labels]}",
        material=material,
        spacing=constant,
        brightness=float(np.percentile(full, 99)),
        recipe=what,
        limits=("one image: not to be judged on it, of no use for other crystals",),
    )


def adapt(
    base: DefectNetwork,
    frames: Sequence[Corrected],
    *,
    name: str = "adapted",
    plan: Plan = ADAPT,
    replay: int = _REPLAY,
    folder: Path | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Learnt:
    """Let a network go on learning from what a user said of some frames.

    Parameters
    ----------
    base
        Stays as it is.
    frames
        With at least one place confirmed, added or rejected.
    name
        For the card.
    plan
        How long, about a minute by default.
    replay
        Simulated images of its materials that are learnt again with them.
    folder, resume, on_step, stopped
        As of `train_on_image`.

    Raises
    ------
    BadInputError
        If nothing was corrected.
    """
    if not any(len(one.places) + len(one.no_defects) for one in frames):
        raise BadInputError("there is nothing to learn: confirm, add or reject some finds first")
    samples = [
        sample_of_image(one.image, one.lattice, one.spacing, labelled_by_hand(one))
        for one in frames
    ]
    network = Ensemble(**{k: int(v) for k, v in base.card.network.options.items()})  # type: ignore[arg-type]
    network.load_state_dict({k: v.cpu() for k, v in base.network.state_dict().items()})
    _perturb(network, plan.seed)
    network.to(base.device)
    random = np.random.default_rng(plan.seed + 1)
    known = tuple(m for m in base.card.materials if m in MONOLAYERS)
    again = simulated_samples(random, replay, 128, known) if known and replay else []
    judged = simulated_samples(random, max(4, replay // 4), 128, known) if known and replay else []
    # What the user said is learnt as often as all that was learnt before.
    learnt = again + samples * max(1, len(again) // max(1, len(samples)))
    run = Learning(
        network, learnt, [*judged, *samples], plan, folder, resume, on_step, stopped, patient=False
    )
    spacings = [one.spacing for one in frames]
    return run.finished(
        name=name,
        judged_on="simulated images, and the places that it was adapted to",
        title=f"{base.card.title}, adapted",
        material=", ".join(base.card.materials),
        materials=base.card.materials,
        spacing=float(np.mean(spacings)),
        brightness=float(np.percentile(frames[0].image[np.isfinite(frames[0].image)], 99)),
        recipe={"start": base.card.name, "plan": plan.model_dump(mode="json")},
        limits=(*base.card.limits, "adapted by hand: not to be judged on the same frames"),
        calibration=base.card.calibration,
    )


def _perturb(network: nn.Module, seed: int) -> None:
    """Let members differ a little before they learn the same."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.parameters():
            if value.ndim > 1:
                noise = torch.randn(value.shape, generator=random)
                value.add_((_PERTURBED * value.std() * noise).to(value.device))
