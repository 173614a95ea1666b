"""``defects``: find, sort and follow the defects of an atomic-resolution image or movie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_diffmap.cli.options import as_keywords, json_option, scan_options
from napari_diffmap.cli.scans import open_from_options, warn
from napari_diffmap.cli.settings import FIND, FOLLOW, SORT, parse_model, settable
from napari_diffmap.cli.terminal import NewFolder, ProgressLine, StopOnInterrupt, finish
from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects_recipe import DefectsRecipe
    from napari_diffmap.methods.defects.parameters import DefectParameters
    from napari_diffmap.scan.scan import Scan

#: As in `methods.defects.parameters`: importing that takes longer than a help text may.
_MATERIALS = ("auto", "graphene", "MoS2", "WS2", "MoSe2", "WSe2", "other")


@click.command()
@click.argument("file", metavar="IMAGE")
@click.option("--pixel-size", type=float, metavar="NM", help="Of a pixel, where the file has none.")
@click.option("--frame-time", type=float, metavar="S", help="From one frame to the next.")
@click.option(
    "--model",
    default="monolayer",
    show_default=True,
    help="A network for defects by name or file; 'sites': lattice and site model alone.",
)
@click.option(
    "--train",
    type=click.Choice(["fourier", "sites"]),
    help="Train a network on IMAGE first, on labels of the Fourier filter or of the site model.",
)
@click.option(
    "--material",
    type=click.Choice(_MATERIALS),
    default="auto",
    show_default=True,
    help="Sets the lattice constant and the names of classes.",
)
@click.option(
    "--threshold", type=float, metavar="P",
    help="Probability from which a find counts.  [default: best for what is found]",
)  # fmt: skip
@click.option(
    "--by",
    type=click.Choice(["sites", "mixture"]),
    default="sites",
    show_default=True,
    help="What classes are told by: site and intensity, or a mixture of what they look like.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other parameter, e.g. gap=3.",
)
@click.option("--edits", help="Record of corrections by hand (edits.jsonl) that come on top.")
@click.option("--out", required=True, help="Folder to write to.")
@scan_options
@json_option
def defects(
    file: str,
    pixel_size: float | None,
    frame_time: float | None,
    model: str,
    train: str | None,
    material: str,
    threshold: float | None,
    by: str,
    device: str,
    settings: tuple[str, ...],
    edits: str | None,
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Find, sort and follow the defects of IMAGE, an image or a movie of a crystal's atoms."""
    from napari_diffmap.jobs.defects_frames import Movie, calibrated
    from napari_diffmap.jobs.defects_recipe import recipe_of_defects

    parameters = parse_parameters(
        settings, model=model, train=train or "no", material=material, threshold=threshold, by=by
    )
    record = None if edits is None else Path(edits).expanduser()
    if record is not None and not record.is_file():
        raise BadInputError(f"{edits}: there is no such record of corrections")
    scan = open_from_options(file, options)
    warn(scan)
    scan = calibrated(scan, pixel_size, frame_time)
    Movie(scan)  # what holds no images is refused before a folder is made
    recipe = recipe_of_defects(
        scan,
        parameters,
        options=as_keywords(options),
        pixel_size_nm=pixel_size,
        frame_time_s=frame_time,
    )
    carry_out_defects(
        scan, parameters, recipe, out=out, device=device, as_json=as_json, edits=record
    )


def parse_parameters(
    settings: tuple[str, ...],
    *,
    model: str,
    train: str,
    material: str,
    threshold: float | None,
    by: str,
) -> DefectParameters:
    """Parameters of all three steps from their options and ``NAME=VALUE`` pairs.

    Raises
    ------
    BadInputError
        If a name is unknown or has an option of its own, or a value cannot be.
    """
    from napari_diffmap.methods.defects.parameters import DefectParameters

    parts = (FIND, SORT, FOLLOW)
    names = [{name for name, _ in settable(part)} | set(part.own) for part in parts]
    given: list[list[str]] = [[], [], []]
    for setting in settings:
        name = setting.partition("=")[0].strip()
        place = next((i for i, known in enumerate(names) if name in known), None)
        if place is None:
            free = sorted(n for part in parts for n, _ in settable(part))
            raise BadInputError(
                f"--set {setting}: give NAME=VALUE with a NAME of {', '.join(free)}"
            )
        given[place].append(setting)
    find = parse_model(
        tuple(given[0]), FIND, model=model, train=train, material=material, threshold=threshold
    )
    sort = parse_model(tuple(given[1]), SORT, by=by)
    return DefectParameters(find=find, sort=sort, follow=parse_model(tuple(given[2]), FOLLOW))


def carry_out_defects(
    scan: Scan,
    parameters: DefectParameters,
    recipe: DefectsRecipe | None,
    *,
    out: str,
    device: str,
    as_json: bool,
    edits: Path | None = None,
) -> None:
    """Find, sort and follow, write the results with the recipe, say so in one line.

    `edits` is the record of corrections that come on top.
    """
    from napari_diffmap.jobs.defects import map_defects
    from napari_diffmap.jobs.defects_results import corrected_run, write_defects
    from napari_diffmap.jobs.recipe import FILE_NAME, save_recipe, with_edits

    control = JobControl()
    with NewFolder(out) as folder, StopOnInterrupt(control):
        run = map_defects(
            scan, parameters, device=device, control=control, on_progress=ProgressLine()
        )
        for line in run.map.warnings[len(scan.warnings) :]:
            click.echo(f"warning: {line}", err=True)
        kept: list[Path] = []
        if edits is not None:
            run, kept, warnings = corrected_run(run, edits, folder)
            for line in warnings:
                click.echo(f"warning: {line}", err=True)
            if recipe is not None:
                recipe = with_edits(recipe, kept[0])
        written = [*write_defects(run, folder), *kept]
        if recipe is not None:
            written.append(save_recipe(recipe, folder / FILE_NAME))
    record = {**run.summary, "out": str(folder), "files": [path.name for path in written]}
    finish(one_line(run.summary, folder), record, as_json)


def one_line(summary: dict[str, Any], folder: Path) -> str:
    """The line of summary."""
    frames = summary["frames"]
    told = ", ".join(f"{name} {one['defects']}" for name, one in summary["classes"].items())
    where = "1 image" if frames == 1 else f"{frames} frames"
    tracks = "" if frames == 1 else f", {summary['tracks']} tracks"
    classes = f": {told}" if told else ""
    doubt = summary["doubtful_fraction"]
    unsure = "" if doubt != doubt else f"; {100 * doubt:.0f} % in doubt"
    return (
        f"{summary['defects']} defects in {where}{classes}{tracks}{unsure}"
        f" ({summary['seconds']:.1f} s, {summary['model']}, {summary['device']}); {folder}"
    )
