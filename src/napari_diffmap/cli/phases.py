"""``phases``: the phase map of a stack of images over energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_diffmap.cli.options import Numbers, as_keywords, json_option, scan_options
from napari_diffmap.cli.scans import open_from_options, warn
from napari_diffmap.cli.settings import PHASES, parse_model
from napari_diffmap.cli.terminal import NewFolder, ProgressLine, StopOnInterrupt, finish
from napari_diffmap.jobs.control import JobControl

if TYPE_CHECKING:
    from napari_diffmap.jobs.phases_recipe import PhasesRecipe, PreparedPhases


class Energies(click.ParamType):  # type: ignore[type-arg]
    """Energies in eV, between commas."""

    name = "E1,E2,…"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        """Numbers of a text."""
        try:
            return tuple(float(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            self.fail(
                f"{value!r}: give energies in eV between commas, e.g. 708.2,710.2", param, ctx
            )


@click.command()
@click.argument("file")
@click.option(
    "--reference",
    "references",
    multiple=True,
    required=True,
    metavar="NAME[:X]=FILE",
    help="Spectrum of a phase, and what x it stands for; repeatable.",
)
@click.option("--i0", "i0_file", help="File with the incident spectrum (energy, counts).")
@click.option(
    "--i0-region",
    type=Numbers("Y0,X0,Y1,X1"),
    help="Rows and columns beside the sample where the incident spectrum is measured.",
)
@click.option("--optical-density", is_flag=True, help="The stack holds optical density already.")
@click.option(
    "--mask", "mask_file", help="Pixels not to be read, such as thick parts (TIFF, .msk)."
)
@click.option("--energies", type=Energies(), help="Only these energies, eV.")
@click.option(
    "--method",
    type=click.Choice(["posterior", "gmvae", "pearson", "nnls", "pca-gmm", "two-energy"]),
    default="posterior",
    show_default=True,
    help="What tells the phases.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other parameter of the map, e.g. certainty=0.95.",
)
@click.option("--out", required=True, help="Folder to write to.")
@scan_options
@json_option
def phases(
    file: str,
    references: tuple[str, ...],
    i0_file: str | None,
    i0_region: tuple[float, ...] | None,
    optical_density: bool,
    mask_file: str | None,
    energies: tuple[float, ...] | None,
    method: str,
    device: str,
    settings: tuple[str, ...],
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Phase map of FILE, a stack of images over energy (STXM), with what is in doubt."""
    from napari_diffmap.errors import BadInputError
    from napari_diffmap.jobs.phases_recipe import PreparedPhases, recipe_of_phases
    from napari_diffmap.methods.spectra.incident import Incident, read_mask
    from napari_diffmap.methods.spectra.references import parse_references

    given = [i0_file is not None, i0_region is not None, optical_density]
    if sum(given) > 1:
        raise BadInputError("give one of --i0, --i0-region and --optical-density")
    scan = open_from_options(file, options)
    warn(scan)
    known = parse_references(references)
    chosen: dict[str, Any] = {"method": method, "energies": energies}
    parameters = parse_model(settings, PHASES, **chosen)
    region = None if i0_region is None else tuple(int(n) for n in i0_region)
    incident = Incident(
        region=region,  # type: ignore[arg-type]
        file=None if i0_file is None else Path(i0_file).expanduser(),
        already_density=optical_density,
    )
    masked = None if mask_file is None else read_mask(mask_file, scan.shape[1:])
    prepared = PreparedPhases(scan, known, parameters, incident, masked)
    recipe = recipe_of_phases(
        scan, known, parameters, incident, mask_file, options=as_keywords(options)
    )
    carry_out_phases(prepared, recipe, out=out, device=device, as_json=as_json)


def carry_out_phases(
    prepared: PreparedPhases,
    recipe: PhasesRecipe | None,
    *,
    out: str,
    device: str,
    as_json: bool,
    edits: Path | None = None,
) -> None:
    """Map a stack, write the results with the recipe, say so in one line.

    `edits` is the record of corrections that come on top.
    """
    from napari_diffmap.jobs.phases import map_phases
    from napari_diffmap.jobs.phases_results import corrected_run, write_phases
    from napari_diffmap.jobs.recipe import FILE_NAME, save_recipe, with_edits

    control = JobControl()
    with NewFolder(out) as folder, StopOnInterrupt(control):
        run = map_phases(
            prepared.scan,
            prepared.references,
            prepared.parameters,
            incident=prepared.incident,
            masked=prepared.masked,
            device=device,
            control=control,
            on_progress=ProgressLine(),
        )
        written = []
        if edits is not None:
            run, record_file, warnings = corrected_run(run, edits, folder)
            written.append(record_file)
            for line in warnings:
                click.echo(f"warning: {line}", err=True)
            if recipe is not None:
                recipe = with_edits(recipe, record_file)
        written += write_phases(run, folder)
        if recipe is not None:
            written.append(save_recipe(recipe, folder / FILE_NAME))
    record = {**run.summary, "out": str(folder), "files": [path.name for path in written]}
    finish(one_line(run.summary, folder), record, as_json)


def one_line(summary: dict[str, Any], folder: Path) -> str:
    """The line of summary."""
    shares = ", ".join(f"{name} {100 * s:.0f} %" for name, s in summary["phase_fractions"].items())
    rate = summary["false_assignment_rate"]
    wrong = "" if rate != rate else f", {100 * rate:.2g} % expected wrong"
    return (
        f"{summary['mapped']} pixels in {summary['seconds']:.1f} s ({summary['method']},"
        f" {summary['device']}): {shares}; {100 * summary['ambiguous_fraction']:.0f} % in doubt"
        f"{wrong}; {folder}"
    )
