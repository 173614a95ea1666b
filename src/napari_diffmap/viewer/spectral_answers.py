"""The answers of a spectral map at one position: correlation and share of each reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.viewer.answers import doubt_line

if TYPE_CHECKING:
    from napari_diffmap.maps import SpectralMap


@dataclass(frozen=True)
class SpectralAnswer:
    """One answer at one position, in numbers a user reads.

    Attributes
    ----------
    phase, color
        Name and colour of the reference.
    score
        Pearson correlation with it; NaN where it is not known.
    fraction, error
        Its share in the spectrum (0–1) and the standard deviation; NaN where not known.
    """

    phase: str
    color: str
    score: float
    fraction: float
    error: float


def spectral_answers(found: SpectralMap, y: int, x: int) -> tuple[SpectralAnswer, ...]:
    """Answers kept at a position, best first; empty where nothing was mapped."""
    told = []
    for rank in np.flatnonzero(found.phase_ids[y, x] >= 0):
        number = int(found.phase_ids[y, x, rank])
        phase = found.phases[number]
        told.append(
            SpectralAnswer(
                phase.name,
                phase.color,
                float(found.scores[y, x, rank]),
                float(found.fractions[y, x, number]),
                float(found.fraction_errors[y, x, number]),
            )
        )
    return tuple(told)


def spectral_line(found: SpectralMap, y: int, x: int) -> str:
    """Reliability, cause of doubt and composition at a position, in words."""
    parts = [doubt_line(found, y, x)]
    composition = found.composition
    if composition is not None and np.isfinite(composition[y, x]):
        error = found.extra.get("composition_error")
        spread = "" if error is None or np.isnan(error[y, x]) else f" ± {error[y, x]:.2f}"
        parts.append(f"composition {composition[y, x]:.2f}{spread}")
    return " · ".join(part for part in parts if part) or "no answer here"


def spectral_html(answers: Sequence[SpectralAnswer], line: str) -> str:
    """Answers as a small table, the first bold, the doubt in words."""
    rows = ""
    for rank, answer in enumerate(answers, start=1):
        spread = "" if np.isnan(answer.error) else f" ± {100 * answer.error:.0f}"
        cells = (
            str(rank),
            f'<span style="color:{answer.color}">■</span> {escape(answer.phase)}',
            "" if np.isnan(answer.score) else f"r {answer.score:.4f}",
            "" if np.isnan(answer.fraction) else f"{100 * answer.fraction:.0f}{spread} %",
        )
        inner = "".join(
            f'<td style="padding-right:8px; white-space:nowrap">{cell}</td>' for cell in cells
        )
        rows += f'<tr style="font-weight:{"bold" if rank == 1 else "normal"}">{inner}</tr>'
    return f"<table>{rows}</table><span>{escape(line)}</span>"


def answers_text(found: SpectralMap, y: int, x: int, most: int = 3) -> str:
    """What the window says of the answers at a position, as rich text."""
    return spectral_html(spectral_answers(found, y, x)[:most], spectral_line(found, y, x))
