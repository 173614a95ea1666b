"""The bundled sample, mapped with every setting as it comes, against its truth."""

from __future__ import annotations

import numpy as np

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.crystal.sample import sample_scan
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations
from napari_diffmap.maps.ambiguity import Ambiguity
from napari_diffmap.maps.quaternions import disorientation

RIGHT_DEG, SURE = 3.0, 0.9


def table() -> str:
    """Rows as in ``docs/accuracy.md``."""
    scan, truth = sample_scan()
    names = list(truth.phases)
    run = map_orientations(calibrated(scan), make_method(names))
    if run.map is None:
        raise run.result.error or RuntimeError("no map")
    found, phases = run.map, load_phases(names)
    phase = found.phase_ids[..., 0]
    error = np.full(phase.shape, np.inf)
    turned = error.copy()
    for i, crystal in enumerate(phases):
        here = (phase == i) & (truth.phase_ids == i)
        answers, wanted = found.rotations[..., 0, :][here], truth.rotations[here]
        error[here] = disorientation(answers, wanted, crystal.symmetry)
        turned[here] = disorientation(answers, wanted, crystal.symmetry, half_turn=True)
    single = (truth.phase_ids >= 0) & ~truth.overlap & ~truth.bad
    both = truth.overlap & ~truth.bad & (truth.phase_ids >= 0)
    either = np.minimum(error, turned) < RIGHT_DEG
    right, sure = error < RIGHT_DEG, found.reliability >= SURE
    marked = found.ambiguity == Ambiguity.OVERLAP
    rows = {
        f"single crystals within {RIGHT_DEG:g}° of the truth": (
            f"{right[single].mean():.1%} of {single.sum()}"
            f" ({either[single].mean():.1%} if a turn by 180° counts as right)"
        ),
        "median error": f"{np.median(error[single]):.2f}°",
        "phase right": f"{(phase == truth.phase_ids)[single].mean():.1%}",
        f"called reliable (≥ {SURE:g})": (
            f"{sure[single].mean():.0%}, of these right {right[single & sure].mean():.1%}"
        ),
        "of the positions where two grains overlap, the stronger one right": (
            f"{right[both].mean():.0%}"
        ),
        "… and marked as overlap": f"{marked[both].mean():.0%}",
        "patterns/s": f"{run.result.done.sum() / run.result.seconds:.0f}",
    }
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
