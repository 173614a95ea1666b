"""Training of a network: steps, schedule, averaged weights, checkpoints, a log; stop and resume.

What is learnt, and from what, is a `Task`; nothing here knows of crystals.  Checkpoints are
safetensors like everything else: nothing is pickled.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from napari_diffmap.errors import BadInputError
from napari_diffmap.models.one_llvm import one_llvm

CHECKPOINT, LOG = "training.safetensors", "training.jsonl"


class Plan(BaseModel):
    """How long and how fast a network learns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=4000, ge=1, description="Batches.")
    batch: int = Field(default=128, ge=2, le=65536, description="Patterns of a batch.")
    rate: float = Field(default=2e-3, gt=0, le=1, description="Largest learning rate.")
    decay: float = Field(default=0.02, ge=0, description="Weight decay.")
    warm: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the steps in which the rate rises."
    )
    average: float = Field(
        default=0.998, ge=0, lt=1, description="Decay of the running average of the weights."
    )
    validate_every: int = Field(default=250, ge=1, description="Steps between validations.")
    seed: int = Field(default=0, ge=0, description="Of everything random.")


class Task(Protocol):
    """What is learnt."""

    def loss(self, network: nn.Module, batch: int) -> Tensor:
        """Loss of a fresh batch, a number that gradients flow from."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on patterns that are never trained on; ``loss`` among them."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Random state of the batches, for a checkpoint."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        ...


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Attributes
    ----------
    step, steps
        Batches done and wanted.
    seconds
        Since it was begun, pauses left out.
    loss
        Running mean of the training loss.
    figures
        The last validation.
    """

    step: int
    steps: int
    seconds: float
    loss: float
    figures: dict[str, float]


#: Told how a training goes; may raise to stop it (what is done is kept).
OnStep = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """A training that ended or was stopped.

    Attributes
    ----------
    weights
        Averaged weights.
    progress
        Where it ended.
    history
        Every validation.
    """

    weights: dict[str, Tensor]
    progress: Progress
    history: tuple[Progress, ...]

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return self.progress.step >= self.progress.steps


def rate_at(plan: Plan, step: int) -> float:
    """Learning rate of a step: a linear rise, then half a cosine down to a hundredth."""
    warm = max(1.0, plan.warm * plan.steps)
    if step < warm:
        return plan.rate * (step + 1) / warm
    along = (step - warm) / max(1.0, plan.steps - warm)
    return plan.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, along))))


def train(
    network: nn.Module,
    task: Task,
    plan: Plan,
    *,
    folder: Path | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a network.

    Parameters
    ----------
    network
        On the device it shall learn on; left with the averaged weights.
    task, plan
        What, and how long.
    folder
        Where checkpoint and log are kept; nothing is kept without one.
    resume
        Go on with the training in `folder`.
    on_step
        Told after every step.
    stopped
        Asked after every step; True ends the training, which can be resumed.

    Raises
    ------
    BadInputError
        If there is nothing to resume, or what is there is of another network or plan.
    """
    run = _Run(network, task, plan, folder)
    if resume:
        run.restore()
    else:
        run.begin()
    while run.step < plan.steps and not stopped():
        run.one_step()
        if on_step is not None:
            on_step(run.progress())
    run.keep()
    network.load_state_dict(run.averaged)
    return Trained(run.averaged, run.progress(), tuple(run.history))


class _Run:
    """State of one training."""

    def __init__(self, network: nn.Module, task: Task, plan: Plan, folder: Path | None) -> None:
        self.network, self.task, self.plan, self.folder = network, task, plan, folder
        with one_llvm():
            self.optimizer = torch.optim.AdamW(
                network.parameters(), lr=plan.rate, weight_decay=plan.decay
            )
        self.averaged = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step, self.loss, self.before = 0, math.nan, 0.0
        self.figures: dict[str, float] = {}
        self.history: list[Progress] = []
        self.start = time.perf_counter()

    def begin(self) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / LOG).unlink(missing_ok=True)

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.start

    def progress(self) -> Progress:
        return Progress(self.step, self.plan.steps, self.seconds, self.loss, dict(self.figures))

    def one_step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.plan, self.step)
        self.network.train()
        loss = self.task.loss(self.network, self.plan.batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        value = float(loss.detach())
        self.loss = value if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * value
        self._average()
        if self.step % self.plan.validate_every == 0 or self.step == self.plan.steps:
            self._validate()
            self.keep()

    @torch.no_grad()
    def _average(self) -> None:
        # Young averages forget their start faster.
        decay = min(self.plan.average, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - decay)
            else:
                self.averaged[name].copy_(value)

    def _validate(self) -> None:
        own = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged)
        self.network.eval()
        with torch.inference_mode():
            self.figures = self.task.validate(self.network)
        self.network.load_state_dict(own)
        self.history.append(self.progress())
        if self.folder is not None:
            with (self.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(self.history[-1])) + "\n")

    # -------------------------------------------------------- checkpoints

    def keep(self) -> None:
        """Write the checkpoint, at once or not at all."""
        if self.folder is None:
            return
        from safetensors.torch import save_file

        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"averaged.{k}": v for k, v in self.averaged.items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors |= {f"task.{k}": v for k, v in self.task.state().items()}
        note = {
            "plan": self.plan.model_dump_json(),
            "step": str(self.step),
            "seconds": repr(self.seconds),
            "loss": repr(self.loss),
        }
        path = self.folder / CHECKPOINT
        half = path.with_suffix(".half")
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, half, note)
        os.replace(half, path)

    def restore(self) -> None:
        from safetensors import SafetensorError, safe_open

        path = None if self.folder is None else self.folder / CHECKPOINT
        if path is None or not path.is_file():
            where = "without a folder" if path is None else f"in {path.parent}"
            raise BadInputError(f"no training to resume {where}: train from the start")
        try:
            with safe_open(path, framework="pt") as file:
                note = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise BadInputError(f"{path} is damaged: train from the start") from error
        if note.get("plan") != self.plan.model_dump_json():
            raise BadInputError(
                f"the training in {path.parent} has another plan: resume with its own recipe"
            )

        def part(name: str) -> dict[str, Tensor]:
            begins = name + "."
            return {k.removeprefix(begins): v for k, v in tensors.items() if k.startswith(begins)}

        device = next(self.network.parameters()).device
        try:
            self.network.load_state_dict(part("network"))
        except RuntimeError as error:
            raise BadInputError(
                f"the training in {path.parent} is of another network: resume its own recipe"
            ) from error
        self.averaged = {k: v.to(device) for k, v in part("averaged").items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimizer").items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = value
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**whole, "state": state})
        self.task.restore(part("task"))
        self.step, self.loss = int(note["step"]), float(note["loss"])
        self.before, self.start = float(note["seconds"]), time.perf_counter()
        self.history = read_log(path.parent / LOG, self.step)
        self.figures = self.history[-1].figures if self.history else {}


def read_log(path: Path, most: int | None = None) -> list[Progress]:
    """The validations of a training, those up to a step."""
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [Progress(**line) for line in lines if most is None or line["step"] <= most]
