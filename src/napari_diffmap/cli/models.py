"""``models``: which models there are, the card of one, and adding one from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from napari_diffmap.cli.options import json_option
from napari_diffmap.errors import BadInputError

if TYPE_CHECKING:
    from napari_diffmap.models.registry import ModelEntry


@click.command()
@click.argument("name", required=False)
@click.option("--add", "file", metavar="FILE", help="Keep a copy of a model file (.safetensors).")
@click.option("--remove", metavar="NAME", help="Delete an added model.")
@json_option
def models(name: str | None, file: str | None, remove: str | None, as_json: bool) -> None:
    """List the models, or show the card of NAME.

    NAME is a model or a .safetensors file.
    """
    from napari_diffmap.cli.terminal import finish
    from napari_diffmap.models import registry

    if sum(each is not None for each in (name, file, remove)) > 1:
        raise BadInputError("give one of NAME, --add FILE and --remove NAME")
    if file is not None:
        added = registry.add(file)
        finish(f"added {one_line(added)}", record(added), as_json)
    elif remove is not None:
        gone = registry.remove(remove)
        finish(f"removed {gone.name}; {gone.path}", record(gone), as_json)
    elif name is not None:
        entry = registry.find(name)
        assert entry.card is not None  # else `find` raises
        finish(f"{entry.card.describe()}\n{'file':<12}{entry.path}", record(entry, True), as_json)
    else:
        _list(as_json)


def _list(as_json: bool) -> None:
    from napari_diffmap.cli.terminal import finish
    from napari_diffmap.models import registry

    entries = registry.models()
    for entry in entries:
        if entry.problem:
            click.echo(f"warning: {entry.problem}", err=True)
    folder = registry.user_folder()
    lines = [one_line(entry) for entry in entries if not entry.problem]
    finish(
        "\n".join(lines) or f"no models yet: add one with --add FILE, it is kept in {folder}",
        {"models": [record(entry) for entry in entries], "folder": str(folder)},
        as_json,
    )


def one_line(entry: ModelEntry) -> str:
    """Name, task, phases or materials, kV, size and place of a model that can be used."""
    card = entry.card
    assert card is not None
    low, high = card.voltage_kv
    voltage = f" {low:g} kV," if low == high else f" {low:g}–{high:g} kV,"
    return (
        f"{entry.name}: {card.task}, {' + '.join(card.subjects)},"
        f"{'' if card.task == 'defects' else voltage} {entry.nbytes / 1e6:.3g} MB;"
        f" {'shipped' if entry.shipped else entry.path}"
    )


def record(entry: ModelEntry, whole: bool = False) -> dict[str, Any]:
    """A model as JSON has it, on demand with its whole card."""
    card = entry.card
    found: dict[str, Any] = {
        "name": entry.name,
        "file": str(entry.path),
        "bytes": entry.nbytes,
        "shipped": entry.shipped,
        "problem": entry.problem or None,
    }
    if card is not None:
        found |= {
            "task": card.task,
            "phases": [phase.name for phase in card.phases],
            "materials": list(card.materials),
            "voltage_kv": None if card.task == "defects" else card.voltage_kv,
        }
        if whole:
            found["card"] = card.model_dump(mode="json")
    return found
