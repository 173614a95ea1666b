"""``train``: a model from a recipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_diffmap.cli.options import json_option
from napari_diffmap.cli.terminal import StopOnInterrupt, finish
from napari_diffmap.jobs.control import JobControl

if TYPE_CHECKING:
    from napari_diffmap.jobs.training_run import TrainingRun
    from napari_diffmap.models.training import Progress


@click.command()
@click.argument("recipe")
@click.option("--out", required=True, help="Folder for the model, its curves and checkpoints.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, mps, cuda or cuda:N.")
@click.option("--steps", type=click.IntRange(min=1), help="Batches, instead of the recipe's.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed, instead of the recipe's.")
@click.option("--resume", is_flag=True, help="Go on with the stopped training in --out.")
@click.option("--add", is_flag=True, help="Add the finished model to the list of models.")
@json_option
def train(
    recipe: str,
    out: str,
    device: str,
    steps: int | None,
    seed: int | None,
    resume: bool,
    add: bool,
    as_json: bool,
) -> None:
    """Train a network as RECIPE says: a YAML file, or the name of a shipped recipe.

    A stopped training keeps its checkpoint; --resume goes on with it.
    """
    from napari_diffmap.jobs.train import find_recipe, task_of

    path = find_recipe(recipe)
    changes = {k: v for k, v in (("steps", steps), ("seed", seed)) if v is not None}
    control = JobControl()
    line = _Line()
    how: dict[str, Any] = {"device": device, "resume": resume, "control": control}
    how |= {"on_step": line, "on_stage": line.say}
    run: TrainingRun
    with StopOnInterrupt(control):
        if task_of(path) == "defects":
            from napari_diffmap.jobs.train_defects import train_defects
            from napari_diffmap.methods.defects.network.recipe import load_defect_recipe

            marks = load_defect_recipe(path)
            plan = marks.plan.model_copy(update=changes)
            run = train_defects(marks.model_copy(update={"plan": plan}), Path(out), **how)
        else:
            from napari_diffmap.jobs.train import train_model
            from napari_diffmap.methods.networks.recipe import load_training_recipe

            wanted = load_training_recipe(path)
            plan = wanted.plan.model_copy(update=changes)
            run = train_model(wanted.model_copy(update={"plan": plan}), Path(out), **how)
    line.end()
    record = dict(run.summary)
    if run.model is not None and add:
        from napari_diffmap.models.registry import add as add_model

        record["added"] = str(add_model(run.model).path)
    if run.model is None:
        text = f"stopped after {record['steps']} of {plan.steps} steps; go on with --resume"
    else:
        text = (
            f"{record['model']}: {record['patterns']} patterns in {record['seconds']:.0f} s"
            f" ({record['device']}), {_figures(record)}; {run.model}"
        )
    finish(text, record, as_json)


def _figures(record: Mapping[str, Any]) -> str:
    """How good the model is."""
    if record.get("task") == "defects":
        return (
            f"{100 * record['precision']:.0f} % of the finds are defects,"
            f" {100 * record['recall']:.0f} % of the defects are found (held out)"
        )
    right = f"{100 * record['right']:.0f} % right, " if "right" in record else ""
    among = f"{100 * record['among_proposals']:.0f} % among the proposals"
    return f"{right}{among} (within 5°, held out)"


class _Line:
    """One line that says how the training goes."""

    def __init__(self) -> None:
        self._shown = False
        self._live = sys.stderr.isatty()

    def say(self, stage: str) -> None:
        """A stage in words."""
        self.end()
        click.echo(stage, err=True)

    def __call__(self, progress: Progress) -> None:
        done, total = progress.step, progress.steps
        validated = bool(progress.figures) and done % 50 == 0
        if not self._live and not (validated or done == total):
            return
        left = progress.seconds / done * (total - done)
        parts = [f"step {done} of {total}", f"loss {progress.loss:.2f}"]
        if progress.figures:
            parts.append(f"held out {progress.figures['loss']:.2f}")
            word = "right" if "right" in progress.figures else "f1"
            parts.append(f"{100 * progress.figures[word]:.0f} % {word.replace('f1', 'F1')}")
        parts.append(f"{left / 60:.0f} min left")
        text = ", ".join(parts)
        if self._live:
            click.echo(f"\r{text:<78}", err=True, nl=False)
            self._shown = True
        else:
            click.echo(text, err=True)

    def end(self) -> None:
        """Leave the line as it is."""
        if self._shown:
            click.echo(err=True)
            self._shown = False
