"""The main job on the bundled scan, compared with its known truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.errors import DiffmapError
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations
from napari_diffmap.jobs.pipeline import OnProgress
from napari_diffmap.jobs.results import write_results

if TYPE_CHECKING:
    from napari_diffmap.crystal.sample import SampleTruth
    from napari_diffmap.maps import OrientationMap


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
    """

    scan_file: Path
    summary: dict[str, Any]
    error: DiffmapError | None


def run_demo(
    folder: Path,
    *,
    device: str = "auto",
    control: JobControl | None = None,
    on_progress: OnProgress | None = None,
) -> DemoOutcome:
    """Open the bundled scan, map it, write everything to `folder`.

    The scan is calibrated by its own header; the centre is measured as for any
    other scan.  Nothing of the truth is used before the comparison.
    """
    from napari_diffmap.crystal.sample import sample_scan

    scan, truth = sample_scan()
    scan = calibrated(scan)
    method = make_method(("LiNiO2", "NiO"))
    run = map_orientations(scan, method, device=device, control=control, on_progress=on_progress)
    summary = {**run.summary, "truth": compare_with_truth(run.map, truth)}
    write_results(run, scan, folder)
    (folder / "summary.json").write_text(
        json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    if scan.source is None:
        raise DiffmapError("the bundled scan has no file: clear the cache folder and try again")
    return DemoOutcome(scan.source, summary, run.result.error)
