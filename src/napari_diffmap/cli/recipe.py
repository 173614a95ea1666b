"""``run``: a recipe again, here or on a Dask cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from napari_diffmap.cli.defects import carry_out_defects
from napari_diffmap.cli.options import json_option, scheduler_option
from napari_diffmap.cli.orient import carry_out
from napari_diffmap.cli.phases import carry_out_phases
from napari_diffmap.cli.scans import warn
from napari_diffmap.errors import BadInputError


@click.command()
@click.argument("recipe")
@click.option("--out", help="Folder to write to.  [default: that of the recipe]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--resume", is_flag=True, help="Go on with the stopped run in the --out folder.")
@scheduler_option
@json_option
def run(
    recipe: str,
    out: str | None,
    device: str,
    resume: bool,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Repeat the run that RECIPE (a .yaml file) describes, corrections by hand included.

    Files that are no longer where they were are sought beside the recipe.
    """
    from napari_diffmap.jobs.defects_recipe import DefectsRecipe, prepared_defects
    from napari_diffmap.jobs.phases_recipe import PhasesRecipe, prepared_phases
    from napari_diffmap.jobs.recipe import edits_file, load_recipe, prepared

    path = Path(recipe).expanduser()
    loaded = load_recipe(path)
    beside = path.resolve().parent
    edits = edits_file(loaded, beside)  # before the work, not after it
    if isinstance(loaded, PhasesRecipe | DefectsRecipe):
        what = "phase maps are" if isinstance(loaded, PhasesRecipe) else "maps of defects are"
        if scheduler is not None or resume:
            raise BadInputError(f"{what} made here, at once: leave --scheduler and --resume out")
        rest: dict[str, Any] = {
            "out": out or str(beside), "device": device, "as_json": as_json, "edits": edits,
        }  # fmt: skip
        if isinstance(loaded, PhasesRecipe):
            ready = prepared_phases(loaded, beside)
            warn(ready.scan)
            carry_out_phases(ready, loaded, **rest)
        else:
            images, parameters = prepared_defects(loaded, beside)
            warn(images)
            carry_out_defects(images, parameters, loaded, **rest)
        return
    scan, method = prepared(loaded, beside)
    warn(scan)
    carry_out(
        scan,
        method,
        options=loaded.options,
        out=out or str(beside),
        device=device,
        resume=resume,
        scheduler=scheduler,
        as_json=as_json,
        edits=edits,
    )
