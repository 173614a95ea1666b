"""The answers of a search: distinct orientations of every pattern, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.crystal.simulate import excitation_errors
from napari_diffmap.methods.orientation.refine import Model
from napari_diffmap.methods.orientation.rotations import disorientation, pick


@dataclass(eq=False)
class Answers:
    """Distinct answers of a batch, best first.

    Attributes
    ----------
    matrices
        ``(b, n, 3, 3)`` crystal → laboratory (Oᵀ).
    phase
        ``(b, n)`` index of the phase, -1 where there is no answer.
    score
        ``(b, n)`` log odds over the largest that the measured spots allow, 0–1; −1
        where there is no answer.
    odds
        ``(b, n)`` log odds of the answer against a pattern without a crystal.
    explained
        ``(b, n)`` share of the measured amplitude that the answer explains.
    found
        ``(b, n)`` share of the predicted amplitude that is measured.
    rival, rival_phase
        ``(b,)`` largest log odds of a distinct answer of the winner's phase (twins
        and coincidences) and of another phase; 0 where there is none.
    unexplained
        ``(b, p)`` bool: clear spots that the best answer leaves.
    number
        ``(b, n, s)`` reflections followed.
    known
        ``(b,)`` probability, as a network says, that the pattern is of a crystal it was
        trained for; 1 where none was asked.
    """

    matrices: Tensor
    phase: Tensor
    score: Tensor
    odds: Tensor
    explained: Tensor
    found: Tensor
    rival: Tensor
    rival_phase: Tensor
    unexplained: Tensor
    number: Tensor
    known: Tensor

    def take(self, index: Tensor) -> Answers:
        """Those of some of the patterns."""
        return Answers(*(getattr(self, field.name)[index] for field in fields(self)))

    def replaced(self, rows: Tensor, others: Answers) -> Answers:
        """With those of some patterns in place of the own."""
        columns = {}
        for field in fields(self):
            mine, new = getattr(self, field.name), getattr(others, field.name)
            if mine.dim() > 1:  # lists of reflections are as long as the longest
                short = new.shape[-1] - mine.shape[-1]
                mine = torch.nn.functional.pad(mine, (0, max(0, short)))
                new = torch.nn.functional.pad(new, (0, max(0, -short)))
            columns[field.name] = mine.index_copy(0, rows, new)
        return Answers(**columns)

    @staticmethod
    def joined(pieces: Sequence[Answers]) -> Answers:
        """Answers of consecutive batches as one; spots padded to the longest list."""
        width = max(piece.unexplained.shape[1] for piece in pieces)
        for piece in pieces:
            short = width - piece.unexplained.shape[1]
            piece.unexplained = torch.nn.functional.pad(piece.unexplained, (0, short))
        return Answers(
            *(torch.cat([getattr(p, field.name) for p in pieces]) for field in fields(Answers))
        )


def same(
    operators: Sequence[Tensor], matrices: Tensor, phase: Tensor, best: Tensor, within_deg: float
) -> Tensor:
    """Which orientations are the same answer as one of them.

    Parameters
    ----------
    operators
        Symmetry of each phase.
    matrices, phase
        ``(b, k, 3, 3)`` and ``(b, k)``.
    best
        ``(b, 1)`` which of the k.
    within_deg
        Nearer than this is the same, degrees.

    Returns
    -------
    Tensor
        ``(b, k)`` bool.
    """
    reference = pick(matrices, best)
    found = torch.zeros_like(phase, dtype=torch.bool)
    for i, symmetry in enumerate(operators):
        of_phase = (phase == i) & (phase.gather(1, best) == i)
        angle = disorientation(matrices, reference, symmetry)
        found |= of_phase & (angle < np.deg2rad(within_deg))
    return found


def repeats(
    operators: Sequence[Tensor], first: Answers, other: Answers, within_deg: float
) -> Tensor:
    """Which of the first answers are the best of the other ones, ``(b, n)`` bool."""
    matrices = torch.cat((other.matrices[:, :1], first.matrices), dim=1)
    phase = torch.cat((other.phase[:, :1], first.phase), dim=1)
    reference = torch.zeros(len(phase), 1, dtype=torch.long, device=phase.device)
    return same(operators, matrices, phase, reference, within_deg)[:, 1:]


def put(
    operators: Sequence[Tensor],
    first: Answers,
    rows: Tensor,
    place: int,
    chosen: Answers,
    within_deg: float,
) -> None:
    """Insert best answers at a place of some rows; what they repeat, or the last, goes.

    Parameters
    ----------
    operators
        Symmetry of each phase.
    first
        Answers that are changed, in place.
    rows, place
        Which patterns, ``(r,)``, and which place.
    chosen
        Answers of which the best are inserted, one for each of the rows.
    within_deg
        Nearer than this is the same, degrees.
    """
    n = first.phase.shape[1]
    if place >= n:
        return
    repeated = repeats(operators, first.take(rows), chosen, within_deg)[:, place:]
    gone = torch.where(repeated.any(dim=1), place + repeated.int().argmax(dim=1), n - 1)
    places = torch.arange(n, device=rows.device)
    shifted = (places > place) & (places <= gone[:, None])
    source = places - shifted.long()
    for name in ("matrices", "phase", "score", "odds", "explained", "found", "number"):
        mine = getattr(first, name)
        wanted = source.reshape(*source.shape, *([1] * (mine.dim() - 2)))
        moved = mine[rows].gather(1, wanted.expand(*source.shape, *mine.shape[2:]))
        moved[:, place] = getattr(chosen, name)[:, 0]
        mine[rows] = moved


def predicted(models: Sequence[Model], answers: Answers, least: float) -> tuple[Tensor, Tensor]:
    """Where the best answers show spots of more than `least` of their strongest height.

    Parameters
    ----------
    models
        Reflections of each phase.
    answers
        Of a batch.
    least
        Share of the strongest height.

    Returns
    -------
    kx, ky
        ``(b, s)`` places, 1/Å; far away where there is none.
    """
    far = torch.full_like(answers.number[:, 0], 1e3, dtype=torch.float32)
    kx, ky, optics = far, far.clone(), models[0].optics
    for i, model in enumerate(models):
        rows = torch.nonzero(answers.phase[:, 0] == i).reshape(-1)
        number = answers.number[rows, 0]
        k = torch.matmul(model.g[number], answers.matrices[rows, 0].transpose(-1, -2))
        s = excitation_errors(k, optics.wavelength)
        height = model.height[number] * torch.exp(-0.5 * (s / model.sigma[number]) ** 2)
        q = torch.hypot(k[..., 0], k[..., 1])
        height = height * ((q >= optics.q_min) & (q <= optics.q_max))
        seen = height > least * height.amax(dim=1, keepdim=True)
        kx[rows] = torch.where(seen, k[..., 0], 1e3)
        ky[rows] = torch.where(seen, k[..., 1], 1e3)
    return kx, ky
