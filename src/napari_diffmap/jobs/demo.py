"""The main job on the bundled scan, compared with its known truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import DiffmapError
from napari_diffmap.jobs.comparison import write_comparison
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.jobs.results import write_results
from napari_diffmap.maps.ambiguity import Ambiguity
from napari_diffmap.methods.orientation.parameters import OrientationParameters

if TYPE_CHECKING:
    from napari_diffmap.crystal.sample import SampleTruth
    from napari_diffmap.maps import OrientationMap


PHASES = ("LiNiO2", "NiO")
#: The model that maps the scan, too.
NETWORK = "cathode-polar"


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo leaves.

    Attributes
    ----------
    scan_file
        The bundled scan in the user's cache.
    summary
        What ``summary.json`` holds, with a ``truth`` entry.
    error
        Why it ended early, if it did.
    beside
        Folder of the map by a network.
    """

    scan_file: Path
    summary: dict[str, Any]
    error: DiffmapError | None
    beside: Path | None = None


def run_demo(
    folder: Path,
    *,
    device: str = "auto",
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
) -> DemoOutcome:
    """Open the bundled scan, map it with templates and a network, write everything to `folder`.

    The scan is calibrated by its own header; the centre is measured as for any
    other scan.  Nothing of the truth is used before the comparison.
    """
    from napari_diffmap.crystal.sample import sample_scan

    scan, truth = sample_scan()
    scan = calibrated(scan)
    method = make_method(PHASES)
    run = map_orientations(scan, method, device=device, control=control, on_progress=on_progress)
    run.summary["truth"] = compare_with_truth(run.map, truth)
    write_results(run, folder)
    if scan.source is None:
        raise DiffmapError("the bundled scan has no file: clear the cache folder and try again")
    if run.result.error is not None:
        return DemoOutcome(scan.source, run.summary, run.result.error)
    engine = make_method(PHASES, OrientationParameters(engine=NETWORK))
    other = map_orientations(scan, engine, device=device, control=control, on_progress=on_progress)
    other.summary["truth"] = compare_with_truth(other.map, truth)
    beside = folder / NETWORK
    beside.mkdir(exist_ok=True)
    write_results(other, beside)
    summary = {**run.summary, "network": other.summary}
    if other.result.error is None:
        caption = "; ".join(
            f"{name}: {100 * each['truth']['within_3_deg']:.1f} % of the positions with one"
            f" crystal within 3° of the truth"
            for name, each in (("templates", run.summary), (NETWORK, other.summary))
        )
        names = ("templates", NETWORK)
        summary["comparison"] = write_comparison(run.map, other.map, names, folder, caption=caption)
    return DemoOutcome(scan.source, summary, other.result.error, beside)


def compare_with_truth(found: OrientationMap, truth: SampleTruth) -> dict[str, Any]:
    """How right a map of the bundled scan is.

    Only positions with one crystal and a good frame count; overlaps are
    reported apart.  An answer is right when its phase is right and its
    disorientation from the truth is at most 3 degrees.

    Parameters
    ----------
    found
        Map of the bundled scan, phases in the sample's order.
    truth
        The sample's truth.

    Returns
    -------
    dict
        ``positions``, ``median_deg`` (right phase), ``within_3_deg``,
        ``within_3_deg_or_turned_180`` (the turn about the beam allowed),
        ``phase_right``, ``overlap_within_3_deg`` (the stronger crystal),
        ``overlap_marked`` (as overlap), and of
        the positions called reliable (probability at least 0.9): their share and
        how many of them are right.
    """
    from napari_diffmap.maps.quaternions import disorientation, laue_operators

    angle = np.full(found.shape, np.inf)
    turned = np.full(found.shape, np.inf)
    phase_right = found.best_phase_ids == truth.phase_ids
    for i, phase in enumerate(found.phases):
        here = phase_right & (truth.phase_ids == i)
        best, true = found.best_rotations[here], truth.rotations[here]
        operators = laue_operators(phase)
        angle[here] = disorientation(true, best, operators)
        turned[here] = np.minimum(
            angle[here], disorientation(true, best, operators, half_turn=True)
        )
    single, overlap = truth.single, truth.overlap & ~truth.bad & (truth.phase_ids >= 0)
    right = angle <= 3
    with np.errstate(invalid="ignore"):
        sure = single & (found.reliability >= 0.9)
    return {
        "positions": int(single.sum()),
        "median_deg": _median(angle[single & phase_right]),
        "within_3_deg": _share(right[single]),
        "within_3_deg_or_turned_180": _share(turned[single] <= 3),
        "phase_right": _share(phase_right[single]),
        "overlap_within_3_deg": _share(right[overlap]),
        "overlap_marked": _share(found.ambiguity[overlap] == Ambiguity.OVERLAP),
        "called_reliable": _share(sure[single]),
        "reliable_and_right": _share(right[sure]),
    }


def _share(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if flags.size else None


def _median(values: NDArray[np.float64]) -> float | None:
    return float(np.median(values)) if values.size else None
