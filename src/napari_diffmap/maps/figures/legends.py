"""What stands beside a picture of a map: colour keys, shares, lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.figures.sheet_parts import Block, Pen, Sample, legend, shortened

if TYPE_CHECKING:
    from napari_diffmap.maps.phase_map import PhaseMap
    from napari_diffmap.maps.phases import PhaseLike

#: Where there is no answer or no value.
GREY = "#808080"
#: Edge of a colour key, alone and beside others.
KEY, SMALL_KEY = 230, 190


def by_key(phases: list[PhaseLike]) -> dict[str, PhaseLike]:
    """Phases that share a colour key (group and kind of cell) under their joined names."""
    groups: dict[tuple[str, bool], list[PhaseLike]] = {}
    for phase in phases:
        gamma = phase.orix.structure.lattice.abcABG()[5]
        groups.setdefault((phase.point_group.laue.name, abs(gamma - 120) < 0.1), []).append(phase)
    return {
        f"{', '.join(p.name for p in same)} ({key[0]})": same[0] for key, same in groups.items()
    }


def key_block(name: str, phase: PhaseLike, size: int) -> Block:
    """A phase's colour key of `size` pixels below its name."""

    def draw(pen: Pen, x: float, top: float) -> None:
        from napari_diffmap.maps.figures.ipf_key import draw_key

        f = pen.factor
        pen.text(x, top - 12 * f, shortened(name, KEY + 18, bold=True), weight="bold")
        draw_key(pen.axes, phase, (x, top - (size + 24) * f, size * f, size * f))

    return Block(size + 34, draw)


def trust(found: PhaseMap) -> list[Block]:
    """How much of a picture of answers is none, and how much of the rest is in doubt."""
    missing, doubtful = ~found.indexed, found.ambiguous & found.indexed
    samples = []
    if missing.any():
        samples.append(Sample(GREY, "no answer", percent(missing, missing.size)))
    if doubtful.any():
        share = percent(doubtful, int(found.indexed.sum()))
        samples.append(Sample("none", "of the answers in doubt", share, "text"))
    return [legend("", samples)] if samples else []


def percent(mask: NDArray[np.bool_], total: int) -> str:
    """Share of a mask in `total`; what is there is never called 0 %."""
    share = 100 * np.count_nonzero(mask) / total
    if 0 < share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f} %"


def length_text(length: float, unit: str) -> str:
    """A length in ``nm`` or ``pixel`` in words."""
    if unit == "pixel":
        return f"{length:.0f} pixels"
    if length < 1000:
        return f"{length:.0f} nm"
    return f"{length / 1000:.{1 if length < 1e5 else 0}f} µm"
