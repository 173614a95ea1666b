"""From a recipe to a network that learns, and from a model file to one that proposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.errors import BadInputError, ModelError
from napari_diffmap.methods.networks.grid import OrientationGrid
from napari_diffmap.methods.networks.inputs import PolarInput, SquareInput
from napari_diffmap.methods.networks.proposer import DensityProposer, ModesProposer
from napari_diffmap.methods.networks.recipe import TrainingRecipe
from napari_diffmap.methods.networks.search import Proposer
from napari_diffmap.methods.networks.tasks import DensityTask, ModesTask, OrientationTask
from napari_diffmap.models.card import ModelCard, PhaseNote
from napari_diffmap.models.families import POLAR, build
from napari_diffmap.models.polar import PolarNet

#: Cells of one crystal differ by no more than this share between its CIF and a card.
_SAME_CELL = 0.02


def seen_by(options: Mapping[str, Any], q_max: float) -> PolarInput:
    """The polar grid of a network; its options may say ``rings`` and ``bins`` of it."""
    return PolarInput(
        q_max=q_max, rings=int(options.get("rings", 40)), angles=int(options.get("bins", 72))
    )


def new_network(
    recipe: TrainingRecipe, phases: Sequence[CrystalPhase], device: str = "cpu"
) -> tuple[nn.Module, OrientationTask, dict[str, Any]]:
    """The untrained network of a recipe, what it learns from, and what its builder was given.

    Raises
    ------
    BadInputError
        If the family is unknown, or the recipe has more phases than it can learn.
    """
    torch.manual_seed(recipe.plan.seed)
    d, plan = recipe.domain, recipe.plan
    options: dict[str, Any] = dict(recipe.options)
    common: dict[str, Any] = {
        "pool": recipe.pool,
        "seed": plan.seed,
        "device": device,
        "held_out": recipe.held_out,
    }
    task: OrientationTask
    if recipe.family == POLAR:
        seen = seen_by(options, d.q_max[1])
        grid = OrientationGrid(phases, recipe.zone_step_deg, recipe.angles)
        options = {k: v for k, v in options.items() if k not in ("rings", "bins")}
        options |= {"channels": seen.channels, "columns": grid.columns}
        options |= {"zone_step_deg": recipe.zone_step_deg, "angles": recipe.angles}
        options["stride"] = seen.angles // grid.angles
        if seen.angles != options["stride"] * grid.angles:
            raise BadInputError(
                f"{seen.angles} bins are no multiple of {grid.angles} angles: change one of them"
            )
        task = DensityTask(phases, d, seen, grid, **common)
    else:
        if len(phases) > 1:
            raise BadInputError(
                f"a {recipe.family} network learns one phase: name one, or take {POLAR}"
            )
        square = SquareInput(q_max=d.q_max[1], size=int(options.get("size", 64)))
        options["channels"] = square.channels
        task = ModesTask(phases, d, square, **common)
    network = build(recipe.family, options)
    if recipe.start:
        _start_from(recipe.start, network, recipe.family, options, phases)
    return network.to(device), task, options


def _start_from(
    name: str,
    network: nn.Module,
    family: str,
    options: Mapping[str, Any],
    phases: Sequence[CrystalPhase],
) -> None:
    """Take the weights of a model."""
    from napari_diffmap.models.registry import find
    from napari_diffmap.models.weights import read_model

    card, state = read_model(find(name, "orientation").path)
    _check_cells(card, phases)
    same = card.network.family == family and dict(card.network.options) == dict(options)
    if not same or [note.name for note in card.phases] != [phase.name for phase in phases]:
        raise BadInputError(
            f"{card.name} is another network than the recipe's: give the family, options, limits"
            " and phases of its card"
        )
    network.load_state_dict(dict(state))


def load_proposer(
    card: ModelCard,
    state: Mapping[str, Tensor],
    phases: Sequence[CrystalPhase],
    device: str | torch.device = "cpu",
) -> Proposer:
    """A model as a proposer of orientations of the phases that a sample may be.

    Raises
    ------
    ModelError
        If weights and card do not belong together.
    BadInputError
        If it was trained for other crystals.
    """
    _check_cells(card, phases)
    options = card.network.options
    network = build(card.network.family, options)
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise ModelError(
            f"{card.name}: its weights are not those of its card: get the file anew"
        ) from error
    names, wanted = [note.name for note in card.phases], [phase.name for phase in phases]
    if card.network.family != POLAR:
        square = SquareInput(q_max=card.q_max, size=int(options.get("size", 64)))  # type: ignore[arg-type]
        return ModesProposer(network, square, names[0], wanted, device)
    own = [_phase_of(note) for note in card.phases]
    grid = OrientationGrid(own, float(options["zone_step_deg"]), int(options["angles"]))  # type: ignore[arg-type]
    if grid.columns != options["columns"]:
        raise ModelError(f"{card.name}: its crystals do not make its {options['columns']} columns")
    stride = int(options["stride"])  # type: ignore[arg-type]
    rings = (int(options["channels"]) - 1) // 2  # type: ignore[arg-type]
    seen = PolarInput(q_max=card.q_max, rings=rings, angles=stride * grid.angles)
    if names != wanted:
        places = [names.index(name) for name in wanted]
        assert isinstance(network, PolarNet)
        network.keep(torch.cat([torch.nonzero(grid.phase == i)[:, 0] for i in places]))
        grid = OrientationGrid([own[i] for i in places], grid.zone_step_deg, grid.angles)
    return DensityProposer(
        network,
        seen,
        grid,
        device=device,
        temperature=card.calibration.get("temperature", 1.0),
        phase_temperature=card.calibration.get("phase_temperature", 1.0),
    )


def phase_notes(phases: Sequence[CrystalPhase]) -> tuple[PhaseNote, ...]:
    """What a card says of crystals; their CIFs are in it, so that a model file is enough."""
    notes = []
    for phase in phases:
        cif = "" if phase.source is None else Path(phase.source).read_text(encoding="utf-8")
        notes.append(
            PhaseNote(
                name=phase.name,
                formula=phase.formula,
                space_group=phase.space_group,
                cell=cell_of(phase),
                cif=cif,
            )
        )
    return tuple(notes)


def cell_of(phase: CrystalPhase) -> tuple[float, float, float, float, float, float]:
    """a, b, c in Å, α, β, γ in degrees."""
    lengths = np.linalg.norm(phase.base, axis=1)
    unit = phase.base / lengths[:, None]
    angles = [np.degrees(np.arccos(unit[i] @ unit[j])) for i, j in ((1, 2), (0, 2), (0, 1))]
    a, b, c = (round(float(v), 5) for v in lengths)
    alpha, beta, gamma = (round(float(v), 4) for v in angles)
    return a, b, c, alpha, beta, gamma


def _phase_of(note: PhaseNote) -> CrystalPhase:
    """The crystal that a card describes."""
    import tempfile

    from napari_diffmap.crystal.phases import load_phase

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{note.name}.cif"
        path.write_text(note.cif, encoding="utf-8")
        return load_phase(path)


def _check_cells(card: ModelCard, phases: Sequence[CrystalPhase]) -> None:
    """The crystals asked for are those of the card, not only of the same name."""
    known = {note.name: note for note in card.phases}
    for phase in phases:
        note = known.get(phase.name)
        if note is None:
            raise BadInputError(
                f"{card.name} was trained for {', '.join(known)}, not for {phase.name}:"
                " take another network or the templates"
            )
        if not np.allclose(cell_of(phase), note.cell, rtol=_SAME_CELL):
            raise BadInputError(
                f"{card.name} was trained for a {phase.name} of another cell: take another"
                " network or the templates"
            )
